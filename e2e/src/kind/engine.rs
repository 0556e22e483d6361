//! A private container engine: the first process of its own mount, network and process namespaces.
//!
//! Everything the engine starts ends with this process, mounts and network links with it. Only cgroups and files outlive it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use rustix::process::{WaitOptions, waitpid};

use super::{
    engine_data,
    lock::Lock,
    oci_runtime, relay,
    settings::{CGROUP, Settings},
    tool::Tool,
};

/// Directories of the distribution's own container programs. The toolchain's containerd and runc are for the nodes, not for
/// this engine, which is older.
const SYSTEM_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The kernel's description of this process.
const STATUS: &str = "/proc/self/status";

/// Runs the engine until it ends; `port` is where the API server will be published. Must be the first process of its namespaces.
pub fn run(settings: &Settings, port: u16) -> anyhow::Result<()> {
    anyhow::ensure!(
        std::process::id() == 1,
        "the engine needs its own process namespace"
    );
    let (_, kind_cache) = Settings::cache()?;
    let _lease = Lock::take(&engine_data::lease(&kind_cache), Duration::from_secs(1))?;
    Tool::new("mount")
        .args(["-t", "tmpfs", "tmpfs", "/run"])
        .run()?;
    // Lock files of the packet filter's programs live there.
    fs::create_dir_all("/run/lock").context("create /run/lock")?;
    Tool::new("ip").args(["link", "set", "lo", "up"]).run()?;
    let forward = "/proc/sys/net/ipv4/ip_forward";
    fs::write(forward, "1").with_context(|| format!("write {forward}"))?;
    relay::socket_to_port(&settings.api_socket(), port)?;
    let daemon = daemon(settings, &kind_cache)?;
    // The first process also collects every orphan of its namespace.
    loop {
        match waitpid(None, WaitOptions::empty()) {
            Ok(Some((id, status))) if id.as_raw_pid().unsigned_abs() == daemon => {
                bail!(
                    "dockerd ended ({status:?}); see {}",
                    settings.log("dockerd").display()
                );
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("wait for dockerd"),
        }
    }
}

fn daemon(settings: &Settings, kind_cache: &Path) -> anyhow::Result<u32> {
    let run = settings.run.join("docker");
    let tool = Tool::new("dockerd")
        .arg("--data-root")
        .arg(engine_data::folder(kind_cache))
        .arg("--exec-root")
        .arg(run.join("exec"))
        .arg("--pidfile")
        .arg(run.join("pid"))
        .args([
            "--host",
            &format!("unix://{}", settings.engine_socket().display()),
        ])
        .args(["--cgroup-parent", &format!("/{CGROUP}")])
        .args(["--storage-driver", "overlay2"])
        .args(["--userland-proxy-path", "/usr/sbin/docker-proxy"])
        .env("PATH", SYSTEM_PATH);
    let tool = match runtime(settings)? {
        None => tool,
        Some(wrapper) => tool
            .args(["--add-runtime", &format!("katalyst={wrapper}")])
            .args(["--default-runtime", "katalyst"]),
    };
    let log = settings.log("dockerd");
    let file = fs::File::create(&log).with_context(|| format!("create {}", log.display()))?;
    let twin = file.try_clone().context("log of dockerd")?;
    let child = tool
        .command()
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(twin)
        .spawn();
    Ok(child.context("start dockerd")?.id())
}

/// The runtime wrapper, where this machine needs one: a script, because an engine takes a program without arguments.
fn runtime(settings: &Settings) -> anyhow::Result<Option<String>> {
    let status = fs::read_to_string(STATUS).with_context(|| format!("read {STATUS}"))?;
    let missing = oci_runtime::missing_capabilities(&status)
        .with_context(|| format!("{STATUS}: no CapBnd line"))?;
    if missing.is_empty() {
        return Ok(None);
    }
    let path = settings.run.join("oci-runtime");
    fs::write(&path, script(&settings.program()))
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("write {}", path.display()))?;
    Ok(Some(path.to_string_lossy().into_owned()))
}

fn script(program: &Path) -> String {
    format!(
        "#!/bin/sh\nexec '{}' kind oci-runtime -- \"$@\"\n",
        program.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_hands_arguments_through() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("oci-runtime");
        fs::write(&path, script(Path::new("/bin/echo"))).unwrap();
        let printed = Tool::new("sh")
            .arg(&path)
            .args(["--root", "/a b", "create"])
            .run()
            .unwrap();
        assert_eq!(printed, "kind oci-runtime -- --root /a b create\n");
    }
}
