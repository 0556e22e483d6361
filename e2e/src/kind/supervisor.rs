//! The process behind a private cluster: it starts the engine, makes the cluster, and then stands for its life.
//!
//! ```text
//! kind up ──► supervise ──► (pdeathsig) setpriv, unshare ──► engine (first process of its namespaces) ──► dockerd ──► nodes
//!                 └──► clear-after (waits for the supervisor's end, then removes cgroups and files)
//! ```
//! Nothing has to end in order: killing any of them, in any way, ends all below it, and the clearing process does the rest.

use std::{
    fs::File,
    io::{BufRead as _, Read as _, Write as _},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, bail};

use super::{
    clear,
    create::{self, Image},
    docker::Docker,
    node_image,
    progress::Progress,
    relay, routes,
    settings::{Settings, Shape},
    state::{Engine, Identity, State},
    tool::{Tool, wait_for},
};

/// What the supervisor prints when the cluster can be used.
const READY: &str = "ready";

/// Starts the supervisor and waits until the cluster can be used. The caller holds the lock.
pub fn start(settings: &Settings, shape: &Shape, progress: &Progress) -> anyhow::Result<()> {
    let supervisor = this_program(settings)
        .arg("supervise")
        .args([
            "--workers",
            &shape.workers.to_string(),
            "--port",
            &shape.port.to_string(),
        ])
        .args(["--elapsed", &progress.elapsed().as_millis().to_string()]);
    // The other end of its input tells the supervisor that this command is gone, and that nobody wants the cluster.
    let mut command = supervisor.command();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start the supervisor")?;
    let mut said = String::new();
    let output = child.stdout.take().context("output of the supervisor")?;
    std::io::BufReader::new(output)
        .read_line(&mut said)
        .context("listen to the supervisor")?;
    if said.trim() == READY {
        return Ok(());
    }
    let status = child.wait().context("wait for the supervisor")?;
    bail!(
        "the cluster did not start ({status}); logs are in {}",
        settings.run.display()
    )
}

/// The supervisor's whole life. `progress` continues the time of the command that started it.
pub fn supervise(settings: &Settings, shape: &Shape, progress: &Progress) -> anyhow::Result<()> {
    rustix::process::setsid().context("leave the terminal's session")?;
    let own = Identity::of(std::process::id()).context("find this process")?;
    let mut state = State {
        engine: Engine::Private(own),
        shape: shape.clone(),
        node_image: String::new(),
        ready: false,
    };
    state.write(settings)?;
    let _clearer = clearer(settings, own)?;
    let ready = Arc::new(AtomicBool::new(false));
    end_with_starter(Arc::clone(&ready));
    // Taken first: a port in use is a mistake that should cost no minute.
    relay::port_to_socket(shape.port, &settings.api_socket())?;
    clear::make_modules_folder(settings)?;
    let mut engine = engine(settings, shape)?;
    let (cache, kind_cache) = Settings::cache()?;
    let docker = Docker::private(settings, &cache);
    progress.step("container engine in private namespaces");
    wait_for(
        "container engine",
        Duration::from_secs(30),
        Duration::from_millis(100),
        || {
            if let Some(status) = engine.try_wait()? {
                bail!(
                    "it ended ({status}); see {}",
                    settings.log("engine").display()
                );
            }
            docker.version()
        },
    )?;
    let image = Image::HomeMade(node_image::ensure(&cache, &kind_cache, progress)?);
    create::create(settings, shape, &docker, &image, progress)?;
    image.reference().clone_into(&mut state.node_image);
    state.ready = true;
    state.write(settings)?;
    ready.store(true, Ordering::SeqCst);
    println!("{READY}");
    std::io::stdout()
        .flush()
        .context("report to the starting command")?;
    detach(settings)?;
    keep_routes(&docker, usize::from(shape.workers) + 1);
    let status = engine.wait().context("wait for the engine")?;
    bail!("the engine ended ({status})")
}

/// This program's copy with the words that lead to a command of this module.
fn this_program(settings: &Settings) -> Tool {
    within(Tool::new(settings.program()), settings)
}

fn within(tool: Tool, settings: &Settings) -> Tool {
    tool.arg("kind")
        .arg("--run-dir")
        .arg(&settings.run)
        .arg("--manifests")
        .arg(&settings.manifests)
}

fn log(settings: &Settings, part: &str) -> anyhow::Result<(File, File)> {
    let path = settings.log(part);
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    let twin = file
        .try_clone()
        .with_context(|| format!("open {} twice", path.display()))?;
    Ok((file, twin))
}

fn clearer(settings: &Settings, own: Identity) -> anyhow::Result<Child> {
    let tool =
        this_program(settings).args(["clear-after", &own.id.to_string(), &own.birth.to_string()]);
    let (out, error) = log(settings, "clear")?;
    tool.command()
        .stdin(Stdio::piped())
        .stdout(out)
        .stderr(error)
        .spawn()
        .context("start the clearing process")
}

fn engine(settings: &Settings, shape: &Shape) -> anyhow::Result<Child> {
    // `contained` without a network of its own would let nodes reach, and change, the host's.
    let tool = within(
        Tool::contained("unshare")
            .arg("--net")
            .arg(settings.program()),
        settings,
    );
    let tool = tool.args(["engine", "--port", &shape.port.to_string()]);
    let (out, error) = log(settings, "engine")?;
    tool.command()
        .stdout(out)
        .stderr(error)
        .spawn()
        .context("start the engine")
}

/// Ends this process when the command that started it goes away before the cluster is ready.
fn end_with_starter(ready: Arc<AtomicBool>) {
    thread::spawn(move || {
        // An error of the pipe means the same as its end.
        std::io::stdin().read_to_end(&mut Vec::new()).ok();
        if !ready.load(Ordering::SeqCst) {
            std::process::exit(1);
        }
    });
}

/// From here on nobody listens: output goes to the log.
fn detach(settings: &Settings) -> anyhow::Result<()> {
    let (out, error) = log(settings, "supervisor")?;
    rustix::stdio::dup2_stdout(out).context("redirect the output")?;
    rustix::stdio::dup2_stderr(error).context("redirect the errors")
}

/// Sets the nodes' routes again whenever a node's container starts: they are lost with its network namespace.
fn keep_routes(docker: &Docker, nodes: usize) {
    let docker = docker.clone();
    thread::spawn(move || {
        let filters = [
            "--filter=type=container",
            "--filter=event=start",
            "--format={{.ID}}",
        ];
        let events = docker
            .client()
            .arg("events")
            .args(filters)
            .command()
            .stdout(Stdio::piped())
            .spawn();
        let Ok(Some(events)) = events.map(|child| child.stdout) else {
            return;
        };
        for _ in std::io::BufReader::new(events)
            .lines()
            .map_while(Result::ok)
        {
            if let Err(error) = routes::set(&docker, nodes) {
                eprintln!("routes between nodes: {error:#}");
            }
        }
    });
}
