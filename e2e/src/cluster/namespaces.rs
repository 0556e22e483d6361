//! What is done once inside fresh namespaces: private folders, the network, and the end of every process.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change},
    process::{Pid, Signal, getpid, kill_process},
};

use super::{
    error::{ClusterError, at, system},
    host_node, network,
    run_dir::RunDir,
};
use crate::program;

/// Covers the folders in which a node keeps its state, so that the node finds every folder at its usual place and the
/// machine keeps nothing of it.
pub(super) fn mount_private_folders(run: &RunDir) -> Result<(), ClusterError> {
    // Shared among the cluster's own mount namespaces, so that pods may ask for propagation; the machine is cut off already.
    mount_change(
        "/",
        MountPropagationFlags::REC | MountPropagationFlags::SHARED,
    )
    .map_err(system("make mounts shared"))?;
    for (own, place) in [(run.var_lib(), "/var/lib"), (run.var_log(), "/var/log")] {
        fs::create_dir_all(&own).map_err(at(&own))?;
        mount_bind(&own, place).map_err(system(format!("bind {} to {place}", own.display())))?;
        mount_change(place, MountPropagationFlags::SHARED)
            .map_err(system(format!("share {place}")))?;
    }
    mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), c"mode=755")
        .map_err(system("mount a tmpfs on /run"))?;
    mount_change("/run", MountPropagationFlags::SHARED).map_err(system("share /run"))?;
    for folder in host_node::folders() {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    Ok(())
}

/// Makes the network of a cluster with so many machines.
pub(super) fn make_network(run: &RunDir, machines: u8) -> Result<(), ClusterError> {
    let batch = run.file("network.batch");
    fs::write(&batch, network::batch(machines)).map_err(at(&batch))?;
    program::run(Command::new("ip").arg("-batch").arg(&batch))?;
    let forward = Path::new("/proc/sys/net/ipv4/ip_forward");
    fs::write(forward, "1").map_err(at(forward))
}

/// Kills every process of the namespace except its first one and this one, and waits until they are gone.
pub(super) fn kill_all_others(limit: Duration) -> Result<(), ClusterError> {
    const POLL: Duration = Duration::from_millis(10);
    let deadline = Instant::now() + limit;
    loop {
        let others = others()?;
        if others.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(ClusterError::Timeout {
                what: "the end of every process of the cluster".to_owned(),
                seconds: limit.as_secs(),
                last: format!("{} are left", others.len()),
            });
        }
        for pid in others {
            match kill_process(pid, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(system("kill")(error)),
            }
        }
        std::thread::sleep(POLL);
    }
}

fn others() -> Result<Vec<Pid>, ClusterError> {
    let proc = Path::new("/proc");
    let own = getpid();
    let mut found = Vec::new();
    for entry in fs::read_dir(proc).map_err(at(proc))? {
        let name = entry.map_err(at(proc))?.file_name();
        let number: Option<i32> = name.to_str().and_then(|name| name.parse().ok());
        if let Some(pid) = number.and_then(Pid::from_raw)
            && pid != own
            && !pid.is_init()
        {
            found.push(pid);
        }
    }
    Ok(found)
}
