//! What the runtime wrapper (`katalyst-e2e kind oci-runtime`) changes in a container before runc sees it.
//!
//! `docker run --privileged` writes every capability the engine knows into the container's `config.json`. runc must then raise
//! each of them, and fails with "operation not permitted" when the machine's bounding set lacks one (a virtual machine
//! without `CAP_SYS_RESOURCE` is common in CI). The wrapper removes what cannot be granted, and nothing else, then becomes
//! runc. On a machine with a full bounding set the files stay untouched.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Names the real runtime; without it `runc` is looked up in `PATH`.
pub const REAL_RUNTIME_ENV: &str = "KATALYST_REAL_RUNC";

const SYS_RESOURCE: &str = "CAP_SYS_RESOURCE";

/// Capabilities in the kernel's bit order (`include/uapi/linux/capability.h`).
const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    SYS_RESOURCE,
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Why the wrapper could not prepare or start the runtime.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the container could not be read or written.
    #[error("{action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of the container is not JSON.
    #[error("{path} is not JSON: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The process status has no readable bounding set.
    #[error("/proc/self/status: no hexadecimal CapBnd line")]
    BoundingSet,
    /// The real runtime did not start.
    #[error("start the runtime {runtime:?}: {source}")]
    Exec {
        /// The program that was tried.
        runtime: OsString,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Capabilities that the bounding set in `status` (the text of `/proc/self/status`) lacks; `None` when the text has no
/// readable `CapBnd` line.
pub fn missing_capabilities(status: &str) -> Option<BTreeSet<&'static str>> {
    let hex = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))?;
    let bounding = u64::from_str_radix(hex.trim(), 16).ok()?;
    let lacks = |bit: usize| bounding >> bit & 1 == 0;
    Some(
        CAPABILITIES
            .into_iter()
            .enumerate()
            .filter(|(bit, _)| lacks(*bit))
            .map(|(_, name)| name)
            .collect(),
    )
}

/// The file that a runtime command line makes runc read, and how.
#[derive(Debug, PartialEq, Eq)]
pub enum SpecFile {
    /// `create` and `run`: a whole container, `config.json` of the bundle.
    Container(PathBuf),
    /// `exec --process FILE`: one process.
    Process(PathBuf),
}

/// Finds the file to rewrite in the arguments of an OCI runtime (without the program name).
pub fn spec_file<S: AsRef<OsStr>>(arguments: &[S]) -> Option<SpecFile> {
    let text: Vec<&str> = arguments
        .iter()
        .filter_map(|a| a.as_ref().to_str())
        .collect();
    let command = *text
        .iter()
        .find(|a| matches!(**a, "create" | "run" | "restore" | "exec"))?;
    let option = |long: &str, short: &str| {
        let following = |name: &str| {
            text.windows(2)
                .find_map(|pair| (pair.first() == Some(&name)).then(|| pair.get(1)).flatten())
        };
        following(long)
            .or_else(|| following(short))
            .copied()
            .or_else(|| {
                text.iter()
                    .find_map(|a| a.strip_prefix(long)?.strip_prefix('='))
            })
    };
    if command == "exec" {
        option("--process", "-p").map(|file| SpecFile::Process(file.into()))
    } else {
        Some(SpecFile::Container(
            Path::new(option("--bundle", "-b").unwrap_or(".")).join("config.json"),
        ))
    }
}

/// Removes from an OCI `process` object what a machine without `missing` cannot grant. Without `CAP_SYS_RESOURCE` the
/// resource limits and the OOM score go too: raising a hard limit or lowering the score needs it, and inheriting is harmless.
pub fn restrict_process(process: &mut Value, missing: &BTreeSet<&str>) {
    if let Some(sets) = process
        .get_mut("capabilities")
        .and_then(Value::as_object_mut)
    {
        for set in sets.values_mut().filter_map(Value::as_array_mut) {
            set.retain(|name| name.as_str().is_none_or(|name| !missing.contains(name)));
        }
    }
    if missing.contains(SYS_RESOURCE)
        && let Some(process) = process.as_object_mut()
    {
        process.remove("oomScoreAdj");
        process.remove("rlimits");
    }
}

/// Rewrites the file that the command line names, if any, then replaces this process by the real runtime. Returns only on
/// failure.
pub fn become_runtime(arguments: &[OsString]) -> Error {
    match prepare(arguments) {
        Ok(()) => {
            let runtime = std::env::var_os(REAL_RUNTIME_ENV).unwrap_or_else(|| "runc".into());
            let source = Command::new(&runtime).args(arguments).exec();
            Error::Exec { runtime, source }
        }
        Err(error) => error,
    }
}

fn prepare(arguments: &[OsString]) -> Result<(), Error> {
    let Some(file) = spec_file(arguments) else {
        return Ok(());
    };
    let status_path = Path::new("/proc/self/status");
    let status = fs::read_to_string(status_path).map_err(|source| Error::File {
        action: "read",
        path: status_path.into(),
        source,
    })?;
    let missing = missing_capabilities(&status).ok_or(Error::BoundingSet)?;
    if missing.is_empty() {
        return Ok(());
    }
    match file {
        SpecFile::Container(path) => rewrite(&path, |config| {
            if let Some(process) = config.get_mut("process") {
                restrict_process(process, &missing);
            }
        }),
        SpecFile::Process(path) => rewrite(&path, |process| restrict_process(process, &missing)),
    }
}

fn rewrite(path: &Path, change: impl FnOnce(&mut Value)) -> Result<(), Error> {
    let file_error = |action| {
        move |source| Error::File {
            action,
            path: path.to_owned(),
            source,
        }
    };
    let json_error = |source| Error::Json {
        path: path.to_owned(),
        source,
    };
    let mut value =
        serde_json::from_slice(&fs::read(path).map_err(file_error("read"))?).map_err(json_error)?;
    change(&mut value);
    // In place: the engine owns the file's name, owner and mode.
    fs::write(path, serde_json::to_vec(&value).map_err(json_error)?).map_err(file_error("write"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn full_bounding_set_misses_nothing() {
        assert_eq!(
            missing_capabilities("Name:\tx\nCapBnd:\t000001ffffffffff\n"),
            Some(BTreeSet::new())
        );
    }

    #[test]
    fn missing_bit_is_named() {
        assert_eq!(
            missing_capabilities("CapBnd:\t000001fffeffffff\n"),
            Some(BTreeSet::from(["CAP_SYS_RESOURCE"]))
        );
        let bits = missing_capabilities("CapBnd:\t000001fffffffffe\n");
        assert_eq!(bits, Some(BTreeSet::from(["CAP_CHOWN"])));
    }

    #[test]
    fn unreadable_status_is_not_a_full_set() {
        assert_eq!(missing_capabilities("CapEff:\t0\n"), None);
        assert_eq!(missing_capabilities("CapBnd:\tzz\n"), None);
    }

    #[test]
    fn finds_the_bundle_and_the_process_file() {
        let container = |path: &str| Some(SpecFile::Container(path.into()));
        let create = [
            "--root",
            "/r",
            "--log",
            "/l",
            "create",
            "--bundle",
            "/b",
            "--pid-file",
            "/p",
            "id",
        ];
        assert_eq!(spec_file(&create), container("/b/config.json"));
        assert_eq!(
            spec_file(&["run", "--bundle=/b2", "id"]),
            container("/b2/config.json")
        );
        assert_eq!(spec_file(&["run", "id"]), container("./config.json"));
        assert_eq!(
            spec_file(&["exec", "--process", "/x.json", "id"]),
            Some(SpecFile::Process("/x.json".into()))
        );
        assert_eq!(spec_file(&["exec", "id", "sh"]), None);
        assert_eq!(spec_file(&["--root", "/r", "delete", "id"]), None);
    }

    #[test]
    fn only_what_cannot_be_granted_goes() {
        let mut process = json!({
            "args": ["/sbin/init"], "oomScoreAdj": -999, "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1, "soft": 1}],
            "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "effective": ["CAP_SYS_RESOURCE"]}
        });
        restrict_process(&mut process, &BTreeSet::from(["CAP_SYS_RESOURCE"]));
        let expected = json!({"args": ["/sbin/init"], "capabilities": {"bounding": ["CAP_CHOWN"], "effective": []}});
        assert_eq!(process, expected);
    }

    #[test]
    fn limits_stay_when_they_can_be_set() {
        let before = json!({"oomScoreAdj": 5, "rlimits": [], "capabilities": {"bounding": ["CAP_BPF", "CAP_KILL"]}});
        let mut process = before.clone();
        restrict_process(&mut process, &BTreeSet::new());
        assert_eq!(process, before);
        restrict_process(&mut process, &BTreeSet::from(["CAP_BPF"]));
        assert_eq!(
            process,
            json!({"oomScoreAdj": 5, "rlimits": [], "capabilities": {"bounding": ["CAP_KILL"]}})
        );
    }

    #[test]
    fn large_numbers_survive_the_rewrite() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        fs::write(
            &path,
            r#"{"linux":{"resources":{"memory":{"limit":18446744073709551615}}},"process":{}}"#,
        )
        .unwrap();
        rewrite(&path, |_| ()).unwrap();
        assert!(
            fs::read_to_string(&path)
                .unwrap()
                .contains("18446744073709551615")
        );
    }
}
