//! `kind up`: which engine and which node image, and a clean machine when it fails.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;

use super::{
    clear,
    create::{self, Image},
    docker::Docker,
    engine_data,
    lock::Lock,
    node_image, packages,
    progress::Progress,
    settings::{Settings, Shape},
    state::{Engine, State},
    supervisor,
};
use crate::{cache::Cache, image::catalogue, toolchain};

/// The node image that kind 0.33 itself would choose.
const PUBLISHED_IMAGE: &str =
    "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5";

/// Families of the toolchain that a node image is made of, kind itself included.
const FAMILIES: [&str; 7] = [
    "kubernetes",
    "etcd",
    "containerd",
    "runc",
    "cni",
    "coredns",
    "kind",
];

/// Options of `kind up`.
#[derive(Debug, Args)]
pub(super) struct Up {
    #[command(flatten)]
    shape: Shape,
    /// Start a container engine in private namespaces even if one can be reached.
    #[arg(long, env = "KATALYST_KIND_PRIVATE")]
    private: bool,
    /// Published node image to use with a reachable engine.
    #[arg(long, env = "KATALYST_KIND_IMAGE", default_value = PUBLISHED_IMAGE)]
    image: String,
}

/// Starts a cluster in the engine that is there, or in one of its own.
pub(super) fn run(settings: &Settings, options: &Up) -> anyhow::Result<()> {
    let progress = Progress::start();
    let _lock = Lock::take(&settings.lock_file(), Duration::from_secs(1))
        .context("another command works on this cluster")?;
    if let Some(state) = State::read(settings).filter(|state| state.ready && state.lives()) {
        ensure!(
            state.shape == options.shape,
            "a cluster of another shape runs ({:?}); `kind down` first",
            state.shape
        );
        report(settings, &progress, "was already running");
        return Ok(());
    }
    let (cache, kind_cache) = Settings::cache()?;
    let found = Docker::of_environment(&cache);
    let reachable = !options.private && found.answers();
    if reachable {
        let version = found.version()?;
        progress.step(&format!("container engine {} is reachable", version.trim()));
        toolchain::ensure(&cache, &["kind"])?;
        settings.create()?;
        let image = if found.has_image(&options.image) || pull(&found, &options.image, &progress) {
            Image::Published(options.image.clone())
        } else {
            progress.step("the published node image cannot be pulled; making one");
            toolchain::ensure(&cache, &FAMILIES)?;
            Image::HomeMade(node_image::ensure(&cache, &kind_cache, &progress)?)
        };
        in_reachable_engine(settings, &options.shape, &found, &image, &progress)?;
    } else {
        ensure!(
            rustix::process::geteuid().is_root(),
            "no container engine answers, and starting one in private namespaces needs root"
        );
        clear::clear(settings, false)?;
        Lock::take(&engine_data::lease(&kind_cache), Duration::ZERO).context(
            "a private kind cluster runs in another run folder; there can be one at a time",
        )?;
        if let Err(error) = in_private_engine(settings, &options.shape, &cache, &progress) {
            clear::clear(settings, true).context("clear up after a failed start")?;
            return Err(error);
        }
    }
    report(settings, &progress, "is ready");
    Ok(())
}

fn pull(docker: &Docker, image: &str, progress: &Progress) -> bool {
    progress.step(&format!("pull {image}"));
    docker
        .client()
        .args(["pull", "--quiet", image])
        .within(Duration::from_secs(60 * 10))
        .succeeds()
}

fn in_private_engine(
    settings: &Settings,
    shape: &Shape,
    cache: &Cache,
    progress: &Progress,
) -> anyhow::Result<()> {
    settings.create()?;
    settings.install_program()?;
    toolchain::ensure(cache, &FAMILIES)?;
    packages::ensure(packages::ENGINE, progress)?;
    catalogue::ensure_base(cache)?;
    node_image::ensure(cache, &cache.kind(), progress)?;
    supervisor::start(settings, shape, progress)
}

fn in_reachable_engine(
    settings: &Settings,
    shape: &Shape,
    docker: &Docker,
    image: &Image,
    progress: &Progress,
) -> anyhow::Result<()> {
    catalogue::ensure_base(&Settings::cache()?.0)?;
    create::delete(settings, docker)?;
    let state = |ready| State {
        engine: Engine::Reachable,
        shape: shape.clone(),
        node_image: image.reference().to_owned(),
        ready,
    };
    state(false).write(settings)?;
    if let Err(error) = create::create(settings, shape, docker, image, progress) {
        create::delete(settings, docker).context("clear up after a failed start")?;
        return Err(error);
    }
    state(true).write(settings)
}

fn report(settings: &Settings, progress: &Progress, what: &str) {
    progress.step(&format!("the kind cluster {what}"));
    println!("export KUBECONFIG={}", settings.kubeconfig().display());
    if let Some(State {
        engine: Engine::Private(_),
        ..
    }) = State::read(settings)
    {
        println!(
            "export DOCKER_HOST=unix://{}",
            settings.engine_socket().display()
        );
    }
}
