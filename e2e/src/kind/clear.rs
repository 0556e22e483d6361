//! Removes all that a private cluster leaves on the machine, however it ended.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::{
    cgroups, engine_data,
    settings::{Settings, remove},
    state::{Engine, Identity, State},
};

/// kind mounts this folder of the host into its nodes; a machine without kernel packages has none.
const MODULES: &str = "/usr/lib/modules";

/// Remembers in the run folder that the machine had no folder of kernel modules.
const MADE_MODULES: &str = "made-modules-folder";

/// Excludes other commands that change the cluster, until it is dropped or its process ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its lock on the file")] File);

impl Lock {
    /// Waits at most `patience` for the lock.
    pub fn take(settings: &Settings, patience: Duration) -> anyhow::Result<Self> {
        let path = settings.lock_file();
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        }
        let file = File::create(&path).with_context(|| format!("open {}", path.display()))?;
        let end = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(fs::TryLockError::WouldBlock) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(fs::TryLockError::WouldBlock) => {
                    bail!(
                        "another command works on this cluster: {} is locked",
                        path.display()
                    )
                }
                Err(fs::TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("lock {}", path.display()));
                }
            }
        }
    }
}

/// Makes the folder that kind mounts, if the machine lacks it.
pub fn make_modules_folder(settings: &Settings) -> anyhow::Result<()> {
    let path = Path::new(MODULES);
    if !path.exists() {
        let mark = settings.run.join(MADE_MODULES);
        File::create(&mark).with_context(|| format!("create {}", mark.display()))?;
        fs::create_dir_all(path).with_context(|| format!("create {MODULES}"))?;
    }
    Ok(())
}

/// Ends the supervisor if it lives, then removes processes, cgroups and files. With `keep_logs` the logs stay in the run folder.
pub fn clear(settings: &Settings, keep_logs: bool) -> anyhow::Result<()> {
    if let Some(State {
        engine: Engine::Private(supervisor),
        ..
    }) = State::read(settings)
    {
        supervisor.end()?;
    }
    // The namespaces' processes end with the supervisor; their groups are empty a moment later.
    cgroups::remove()?;
    engine_data::sweep(&engine_data::folder(&Settings::cache()?.1))?;
    if settings.run.join(MADE_MODULES).exists() && Path::new(MODULES).exists() {
        // Something else may have put modules there meanwhile; then the folder stays.
        fs::remove_dir(MODULES).ok();
    }
    if !keep_logs {
        return remove(&settings.run);
    }
    let entries = fs::read_dir(&settings.run).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.extension().is_none_or(|extension| extension != "log") {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Waits in another process until the supervisor `owner` is gone (its end of standard input closes), then clears up after
/// it, unless somebody else has, or a new cluster lives in the same place.
pub fn after(settings: &Settings, owner: Identity) -> anyhow::Result<()> {
    std::io::stdin()
        .read_to_end(&mut Vec::new())
        .context("wait for the supervisor")?;
    let _lock = Lock::take(settings, Duration::from_secs(60 * 10))?;
    match State::read(settings) {
        Some(State {
            engine: Engine::Private(found),
            ..
        }) if found == owner => clear(settings, true),
        _ => Ok(()),
    }
}
