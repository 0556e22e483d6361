//! Removes all that a private cluster leaves on the machine, however it ended.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
    time::Duration,
};

use anyhow::Context;

use super::{
    cgroups, engine_data,
    lock::Lock,
    settings::{Settings, remove},
    state::{Engine, Identity, State},
};

/// kind mounts this folder of the host into its nodes; a machine without kernel packages has none.
const MODULES: &str = "/usr/lib/modules";

/// Remembers in the run folder that the machine had no folder of kernel modules.
const MADE_MODULES: &str = "made-modules-folder";

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
    let private = match State::read(settings).map(|state| state.engine) {
        Some(Engine::Private(supervisor)) => {
            supervisor.end()?;
            true
        }
        _ => false,
    };
    let (_, kind_cache) = Settings::cache()?;
    let patience = Duration::from_secs(if private { 10 } else { 0 });
    match Lock::take(&engine_data::lease(&kind_cache), patience) {
        Ok(_lease) => {
            // The namespaces' processes end with the supervisor; their groups are empty a moment later.
            cgroups::remove()?;
            engine_data::sweep(&engine_data::folder(&kind_cache))?;
        }
        // An engine lives that belongs to a cluster in another run folder.
        Err(_) if !private => {}
        Err(error) => return Err(error),
    }
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
    let _lock = Lock::take(&settings.lock_file(), Duration::from_secs(60 * 10))?;
    match State::read(settings) {
        Some(State {
            engine: Engine::Private(found),
            ..
        }) if found == owner => clear(settings, true),
        _ => Ok(()),
    }
}
