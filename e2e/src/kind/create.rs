//! Makes the cluster with kind in a container engine that answers, and waits until it can be used.

use std::{fs, time::Duration};

use anyhow::Context;

use super::{
    config,
    docker::Docker,
    node_image::NodeImage,
    progress::Progress,
    routes,
    settings::{CLUSTER, Settings, Shape},
};
use crate::image::catalogue;

/// Which image the nodes run.
#[derive(Debug, Clone)]
pub enum Image {
    /// Published by the kind project.
    Published(String),
    /// Made here.
    HomeMade(NodeImage),
}

impl Image {
    /// Its name.
    pub fn reference(&self) -> &str {
        match self {
            Self::Published(reference) => reference,
            Self::HomeMade(image) => &image.reference,
        }
    }
}

/// Creates the cluster. An earlier one of the same name must be gone.
pub fn create(
    settings: &Settings,
    shape: &Shape,
    docker: &Docker,
    image: &Image,
    progress: &Progress,
) -> anyhow::Result<()> {
    if let Image::HomeMade(made) = image
        && !docker.has_image(&made.reference)
    {
        progress.step("load the node image into the engine");
        docker.load_image(&made.archive, &made.reference)?;
    }
    if !docker.is_reachable_engine() {
        network(docker)?;
    }
    let config = config::write(settings, shape)?;
    progress.step(&format!(
        "kind create cluster: 1 control plane, {} workers",
        shape.workers
    ));
    docker
        .kind()
        .args([
            "create",
            "cluster",
            "--name",
            CLUSTER,
            "--retain",
            "--image",
            image.reference(),
        ])
        .arg("--config")
        .arg(&config)
        .arg("--kubeconfig")
        .arg(settings.kubeconfig())
        .within(Duration::from_secs(60 * 8))
        .run_by_line(&settings.log("kind"), |line| {
            if let Some(done) = line.trim_start().strip_prefix('✓') {
                progress.step(&format!("kind:{done}"));
            }
        })?;
    if matches!(image, Image::HomeMade(_)) {
        routes::set(docker, usize::from(shape.workers) + 1)?;
    }
    let archives = catalogue::archives(&Settings::cache()?.0);
    progress.step(&format!("load {} images into the nodes", archives.len()));
    docker.load_archives(&archives)?;
    wait(docker, progress)
}

/// The network that kind would make, with a fixed range and without IPv6, which a private network namespace need not have.
fn network(docker: &Docker) -> anyhow::Result<()> {
    let masquerade = "com.docker.network.bridge.enable_ip_masquerade=true";
    let create = docker.client().args([
        "network", "create", "--driver", "bridge", "--opt", masquerade,
    ]);
    create
        .args([
            "--subnet",
            "172.18.0.0/16",
            "--gateway",
            "172.18.0.1",
            "kind",
        ])
        .run()?;
    Ok(())
}

fn wait(docker: &Docker, progress: &Progress) -> anyhow::Result<()> {
    let wait = |what: &[&str]| {
        let limit = Duration::from_secs(60 * 3);
        docker
            .kubectl()
            .arg("wait")
            .args(what)
            .arg("--timeout=150s")
            .within(limit)
            .run()
    };
    wait(&["--for=condition=Ready", "nodes", "--all"]).context("nodes Ready")?;
    progress.step("all nodes Ready");
    wait(&["--for=create", "serviceaccount/default"]).context("default service account")?;
    let system = ["--namespace", "kube-system"];
    wait(&[&system[..], &["--for=condition=Ready", "pods", "--all"]].concat())
        .context("system pods Ready")?;
    progress.step("all system pods Ready");
    Ok(())
}

/// Removes a cluster from an engine that is not ours.
pub fn delete(settings: &Settings, docker: &Docker) -> anyhow::Result<()> {
    let kubeconfig = settings.kubeconfig();
    docker
        .kind()
        .args(["delete", "cluster", "--name", CLUSTER, "--kubeconfig"])
        .arg(&kubeconfig)
        .within(Duration::from_secs(60 * 2))
        .run()?;
    if kubeconfig.exists() {
        fs::remove_file(&kubeconfig).with_context(|| format!("remove {}", kubeconfig.display()))?;
    }
    Ok(())
}
