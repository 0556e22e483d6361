//! The supervisor inside the namespaces: brings the cluster up, serves it, and takes it down.

use std::{
    fs,
    io::Read as _,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kube::Client;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::oneshot,
    time::timeout,
};

use super::{
    api, cgroups,
    components::Components,
    config::ClusterConfig,
    control,
    control_plane::{self, Site},
    error::{ClusterError, at},
    forward, hollow,
    host_node::{self, NodeFiles},
    images::NodeImages,
    machines, namespaces, network,
    run_dir::RunDir,
    state::{self, ProgressWriter},
    wait,
};
use crate::{
    cache::Cache,
    image::catalogue,
    pki::{Authority, CertificateFolder, Identity, names},
};

/// How long the end of all processes and cgroups may take.
const TEARDOWN: Duration = Duration::from_secs(10);

/// Runs the cluster of `run` until the supervisor outside goes away or the start fails.
pub async fn run(run: &RunDir) -> Result<(), ClusterError> {
    let Some(_lock) = run.try_lock_inner()? else {
        return Err(ClusterError::AlreadyRunning {
            name: run.name(),
            supervisor: String::new(),
        });
    };
    let config: ClusterConfig = state::read(&run.config())?;
    let progress = ProgressWriter::new(&run.progress())?;
    let mut outside = outside_is_gone();
    let limit = Duration::from_secs(config.start_timeout_seconds);
    let result = tokio::select! {
        result = timeout(limit, start(run, &config, &progress)) => {
            result.unwrap_or_else(|_| Err(ClusterError::Timeout {
                what: "the cluster".to_owned(),
                seconds: config.start_timeout_seconds,
                last: "still starting; --start-timeout allows more".to_owned(),
            }))
        }
        _ = &mut outside => {
            eprintln!("abandoned during the start");
            return teardown(&config);
        }
    };
    progress.finish(result.as_ref().err().map(ToString::to_string))?;
    if result.is_ok() {
        // An error means that the sender is gone, which is the message.
        drop(outside.await);
        eprintln!("stopping");
    }
    teardown(&config)?;
    result
}

/// Whoever started this process holds the other end of its standard input, for as long as it lives.
fn outside_is_gone() -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(count) if count > 0) {}
        drop(sender);
    });
    receiver
}

fn teardown(config: &ClusterConfig) -> Result<(), ClusterError> {
    namespaces::kill_all_others(TEARDOWN)?;
    cgroups::remove(Path::new(cgroups::ROOT), &config.cgroup(), TEARDOWN)
}

/// Brings everything up, in an order in which nothing waits for what could be done meanwhile.
async fn start(
    run: &RunDir,
    config: &ClusterConfig,
    progress: &ProgressWriter,
) -> Result<(), ClusterError> {
    let cache = Cache::from_env()?;
    namespaces::mount_private_folders(run)?;
    namespaces::make_network(run, config.vms)?;
    cgroups::create(Path::new(cgroups::ROOT), &config.cgroup())?;
    let (pki, authority) = CertificateFolder::create(&run.pki(), &network::api_server_names())?;
    let site = Site {
        cache: &cache,
        run,
        pki: &pki,
    };
    let scheduler_config = write_files(&site, config, &authority)?;
    progress.step("namespaces, network, cgroups and certificates made")?;

    // The runtime's own folder first: it finds its shim by name.
    let path = format!(
        "{}:{}:/usr/sbin:/usr/bin:/sbin:/bin",
        config.runtime.folder(&cache).display(),
        cache.bin().display()
    );
    let components = Components::new(run.logs(), path);
    let images = NodeImages::new(&cache, config);
    serve(run, config, &components, &images).await?;
    let machines = machines::start(&site, config, &authority, &components)?;
    let files = NodeFiles::new(&site);
    components.start(host_node::containerd(&site, &files, config.runtime))?;
    components.start(control_plane::etcd(&site))?;
    components.start(control_plane::api_server(&site))?;
    let client = api::client(&site.kubeconfig(names::ADMIN)).await?;

    let control_plane = async {
        let limit = Duration::from_secs(60);
        wait::until(
            "the API server to be ready",
            limit,
            &components,
            async || api::is_ready(&client).await,
        )
        .await?;
        progress.step("API server ready")?;
        components.start(control_plane::controller_manager(&site))?;
        components.start(control_plane::scheduler(&site, scheduler_config.as_deref()))?;
        components.start(control_plane::proxy(&site, &run.file("kube-proxy.yaml")))?;
        components.start(control_plane::dns(&site, &run.file("Corefile")))?;
        wait_for_runtime(&images, &components).await?;
        components.start(host_node::kubelet(&site, &files))?;
        wait_for_node(&client, &components, network::HOST_NODE).await?;
        progress.step(format!("{} Ready", network::HOST_NODE))?;
        let what = "the default service account";
        wait::until(what, limit, &components, async || {
            api::default_account_exists(&client).await
        })
        .await?;
        progress.step("default service account made")?;
        if config.hollow > 0 {
            hollow::start(&site, &client, &components, config.hollow).await?;
            progress.step(format!("{} hollow nodes Ready", config.hollow))?;
        }
        for machine in &machines {
            wait_for_node(&client, &components, machine).await?;
            progress.step(format!("{machine} Ready"))?;
        }
        Ok::<_, ClusterError>(())
    };
    let load = async {
        wait_for_runtime(&images, &components).await?;
        let mut archives = catalogue::archives(&cache);
        archives.extend(config.images.iter().cloned());
        for archive in &archives {
            images.load_on_host(archive).await?;
        }
        progress.step(format!("{} images loaded", archives.len()))
    };
    tokio::try_join!(control_plane, load)?;
    Ok(())
}

/// Opens the ways into the cluster: the control socket, and the API server's port and socket.
async fn serve(
    run: &RunDir,
    config: &ClusterConfig,
    components: &Components,
    images: &NodeImages,
) -> Result<(), ClusterError> {
    let bind = |path: PathBuf| UnixListener::bind(&path).map_err(at(path));
    let control = bind(run.control_socket())?;
    let api = bind(run.api_socket())?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, network::API_PORT));
    // The same port as outside, so that one kubeconfig is right on both sides.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port))
        .await
        .map_err(at(format!("127.0.0.1:{}", config.port)))?;
    tokio::spawn(control::serve(
        control,
        components.clone(),
        Arc::new(images.clone()),
    ));
    tokio::spawn(forward::unix_to_tcp(api, address));
    tokio::spawn(forward::tcp_to_tcp(port, address));
    Ok(())
}

/// Writes the configuration files; returns that of the scheduler where there is one.
fn write_files(
    site: &Site<'_>,
    config: &ClusterConfig,
    authority: &Authority,
) -> Result<Option<PathBuf>, ClusterError> {
    let identity = Identity::kubelet(network::HOST_NODE, &network::HOST_ADDRESS.to_string());
    site.pki
        .write(host_node::KUBELET_CERTIFICATE, &authority.issue(&identity)?)?;
    let inside = format!("https://127.0.0.1:{}", network::API_PORT);
    for name in [
        names::ADMIN,
        names::SCHEDULER,
        names::CONTROLLER_MANAGER,
        names::PROXY,
        host_node::KUBELET_CERTIFICATE,
    ] {
        let text = site.pki.kubeconfig(name, &inside)?;
        crate::pki::write_secret(&site.kubeconfig(name), &text)?;
    }
    let outside = format!("https://127.0.0.1:{}", config.port);
    let text = site.pki.kubeconfig(names::ADMIN, &outside)?;
    crate::pki::write_secret(&site.run.kubeconfig(), &text)?;

    let files = NodeFiles::new(site);
    write(
        &files.containerd,
        &host_node::containerd_config(site, &files, config.runtime),
    )?;
    write(
        &files.kubelet,
        &host_node::kubelet_config(site, &config.cgroup()),
    )?;
    fs::create_dir_all(&files.cni).map_err(at(&files.cni))?;
    write(
        &files.cni.join("10-pods.conflist"),
        &host_node::cni_config(&network::host_pod_network()),
    )?;
    write(
        &site.run.file("kube-proxy.yaml"),
        &control_plane::proxy_config(site),
    )?;
    write(&site.run.file("Corefile"), &control_plane::dns_config(site))?;
    let Some(template) = &config.scheduler_config else {
        return Ok(None);
    };
    let text = fs::read_to_string(template).map_err(at(template))?;
    let file = site.run.file("scheduler.yaml");
    let kubeconfig = site.kubeconfig(names::SCHEDULER);
    let text = control_plane::scheduler_config(&text, &kubeconfig).map_err(|error| {
        ClusterError::Format {
            path: template.clone(),
            reason: error.to_string(),
        }
    })?;
    write(&file, &text)?;
    Ok(Some(file))
}

async fn wait_for_runtime(
    images: &NodeImages,
    components: &Components,
) -> Result<(), ClusterError> {
    let limit = Duration::from_secs(30);
    wait::until("containerd to answer", limit, components, async || {
        images.runtime_answers().await
    })
    .await
}

async fn wait_for_node(
    client: &Client,
    components: &Components,
    name: &str,
) -> Result<(), ClusterError> {
    // The whole start has its own, usually earlier deadline.
    let limit = Duration::from_secs(600);
    let what = format!("node {name} to be Ready");
    wait::until(&what, limit, components, async || {
        api::node_is_ready(client, name).await
    })
    .await
}

fn write(path: &Path, text: &str) -> Result<(), ClusterError> {
    fs::write(path, text).map_err(at(path))
}
