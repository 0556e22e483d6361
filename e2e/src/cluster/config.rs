//! What a cluster looks like: defaults, a YAML file, environment variables and flags, the later ones stronger.

use std::{
    fs,
    path::{Path, PathBuf},
};

use katalyst_crds::yaml;
use serde::{Deserialize, Serialize};

use super::error::{ClusterError, at};
use crate::cache::Cache;

/// Name of a cluster when none is given.
pub const DEFAULT_NAME: &str = "default";

/// Most virtual machines: each costs about 1 GiB and their addresses come from one small network.
const MOST_VMS: u8 = 16;
/// Most hollow nodes; beyond it the control plane on one machine is what is measured.
const MOST_HOLLOW: u32 = 5_000;

/// Container runtime of the host node; machines have the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
pub enum Runtime {
    /// containerd 2.4.
    #[default]
    #[serde(rename = "containerd")]
    #[value(name = "containerd")]
    Containerd,
    /// containerd 2.1.
    #[serde(rename = "containerd-2.1")]
    #[value(name = "containerd-2.1")]
    Containerd21,
    /// containerd 1.7; kubelet 1.36 is the last one that runs with it.
    #[serde(rename = "containerd-1.7")]
    #[value(name = "containerd-1.7")]
    Containerd17,
}

impl Runtime {
    /// The family that builds it.
    pub const fn family(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Containerd21 => "containerd-2.1",
            Self::Containerd17 => "containerd-1.7",
        }
    }

    /// Where its programs are.
    pub fn folder(self, cache: &Cache) -> PathBuf {
        match self {
            Self::Containerd => cache.bin(),
            other => cache.bin().join(other.family()),
        }
    }
}

/// A cluster, fully decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// Name of the cluster and of its run directory.
    pub name: String,
    /// Virtual-machine nodes that join.
    pub vms: u8,
    /// Hollow nodes, played by kwok.
    pub hollow: u32,
    /// Container runtime of the host node.
    pub runtime: Runtime,
    /// Port on 127.0.0.1 of this machine where the API server is reached.
    pub port: u16,
    /// `KubeSchedulerConfiguration`, with `__KUBECONFIG__` in place of a path. Without one kube-scheduler runs with its defaults.
    pub scheduler_config: Option<PathBuf>,
    /// Image archives to load into every node, beside all those in the cache.
    pub images: Vec<PathBuf>,
    /// Seconds within which the start must be complete.
    pub start_timeout_seconds: u64,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            name: DEFAULT_NAME.to_owned(),
            vms: 0,
            hollow: 0,
            runtime: Runtime::default(),
            port: 16_443,
            scheduler_config: default_scheduler_config(),
            images: Vec::new(),
            start_timeout_seconds: 240,
        }
    }
}

/// Settings of a cluster as a person gives them; what is not given comes from the file, then from the defaults.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ClusterOptions {
    /// Virtual-machine nodes (cgroup v2, two NUMA nodes) that join the cluster [default: 0].
    #[arg(long, env = "VMS", value_name = "N")]
    pub vms: Option<u8>,
    /// Hollow nodes (kwok), for scale [default: 0].
    #[arg(long, env = "HOLLOW", value_name = "N")]
    pub hollow: Option<u32>,
    /// Container runtime of the host node [default: containerd].
    #[arg(long, env = "KATALYST_RUNTIME", value_enum)]
    pub runtime: Option<Runtime>,
    /// Port on 127.0.0.1 where the API server is reached [default: 16443].
    #[arg(long, env = "KATALYST_PORT")]
    pub port: Option<u16>,
    /// KubeSchedulerConfiguration with `__KUBECONFIG__` in place of a path
    /// [default: manifests/scheduler/kube-scheduler-config.yaml where it exists].
    #[arg(long, env = "KATALYST_SCHEDULER_CONFIG", value_name = "FILE")]
    pub scheduler_config: Option<PathBuf>,
    /// Image archive to load into every node, beside those of `image build`; may be repeated.
    #[arg(long = "image", value_name = "TAR")]
    pub images: Vec<PathBuf>,
    /// Seconds within which the start must be complete [default: 240].
    #[arg(long, value_name = "SECONDS")]
    pub start_timeout: Option<u64>,
    /// YAML file with these settings (`vms`, `hollow`, `runtime`, `port`, `schedulerConfig`, `images`, `startTimeoutSeconds`).
    #[arg(long, env = "KATALYST_CLUSTER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl ClusterOptions {
    /// The cluster called `name` with these settings over those of the file over the defaults.
    pub fn resolve(&self, name: &str) -> Result<ClusterConfig, ClusterError> {
        let base = match &self.config {
            Some(file) => ClusterConfig::read(file)?,
            None => ClusterConfig::default(),
        };
        let mut images = base.images;
        images.extend(self.images.iter().cloned());
        let config = ClusterConfig {
            name: name.to_owned(),
            vms: self.vms.unwrap_or(base.vms),
            hollow: self.hollow.unwrap_or(base.hollow),
            runtime: self.runtime.unwrap_or(base.runtime),
            port: self.port.unwrap_or(base.port),
            scheduler_config: self.scheduler_config.clone().or(base.scheduler_config),
            images: images
                .into_iter()
                .map(|image| std::path::absolute(&image).map_err(at(image)))
                .collect::<Result<_, _>>()?,
            start_timeout_seconds: self.start_timeout.unwrap_or(base.start_timeout_seconds),
        };
        config.validate()?;
        Ok(config)
    }
}

impl ClusterConfig {
    fn read(file: &Path) -> Result<Self, ClusterError> {
        let text = fs::read_to_string(file).map_err(at(file))?;
        yaml::read("settings", &text).map_err(|error| ClusterError::Format {
            path: file.to_owned(),
            reason: error.to_string(),
        })
    }

    /// Checks every field, so that nothing is started for a cluster that cannot be.
    fn validate(&self) -> Result<(), ClusterError> {
        check_name(&self.name)?;
        let wrong = |field, reason: String| Err(ClusterError::Config { field, reason });
        if self.vms > MOST_VMS {
            return wrong("vms", format!("{} is more than {MOST_VMS}", self.vms));
        }
        if self.hollow > MOST_HOLLOW {
            return wrong(
                "hollow",
                format!("{} is more than {MOST_HOLLOW}", self.hollow),
            );
        }
        if self.port < 1024 {
            return wrong("port", format!("{} is below 1024", self.port));
        }
        if let Some(file) = &self.scheduler_config
            && !file.is_file()
        {
            return wrong("schedulerConfig", format!("no file {}", file.display()));
        }
        if let Some(image) = self.images.iter().find(|image| !image.is_file()) {
            return wrong("images", format!("no file {}", image.display()));
        }
        Ok(())
    }

    /// Name of the cgroup, in every hierarchy, below which everything of this cluster's pods lives.
    pub fn cgroup(&self) -> String {
        if self.name == DEFAULT_NAME {
            "katalyst-e2e".to_owned()
        } else {
            format!("katalyst-e2e-{}", self.name)
        }
    }
}

/// Checks a name that becomes part of paths, cgroups and messages.
pub fn check_name(name: &str) -> Result<(), ClusterError> {
    let good = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    let inner = |character: char| good(character) || character == '-';
    if !name.is_empty()
        && name.len() <= 20
        && name.starts_with(good)
        && name.ends_with(good)
        && name.chars().all(inner)
    {
        return Ok(());
    }
    Err(ClusterError::Config {
        field: "name",
        reason: format!("{name:?} is not 1 to 20 lower-case letters, digits and inner dashes"),
    })
}

/// The scheduler configuration of this source tree, where the program still sees it.
fn default_scheduler_config() -> Option<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()?
        .join("manifests/scheduler/kube-scheduler-config.yaml");
    file.is_file().then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_beat_the_file_and_the_file_beats_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.yaml");
        fs::write(&file, "vms: 2\nhollow: 7\nruntime: containerd-1.7\n").unwrap();
        let options = ClusterOptions {
            vms: Some(1),
            config: Some(file),
            ..ClusterOptions::default()
        };
        let config = options.resolve("a").unwrap();
        assert_eq!((config.vms, config.hollow, config.port), (1, 7, 16_443));
        assert_eq!(config.runtime, Runtime::Containerd17);
    }

    #[test]
    fn unknown_field_of_the_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.yaml");
        fs::write(&file, "vm: 2\n").unwrap();
        let options = ClusterOptions {
            config: Some(file),
            ..ClusterOptions::default()
        };
        let error = options.resolve("a").unwrap_err().to_string();
        assert!(error.contains("vm") && error.contains("c.yaml"), "{error}");
    }

    #[test]
    fn bad_values_name_their_field() {
        for (options, field) in [
            (
                ClusterOptions {
                    vms: Some(200),
                    ..ClusterOptions::default()
                },
                "vms",
            ),
            (
                ClusterOptions {
                    port: Some(80),
                    ..ClusterOptions::default()
                },
                "port",
            ),
            (
                ClusterOptions {
                    scheduler_config: Some("/nonexistent".into()),
                    ..ClusterOptions::default()
                },
                "schedulerConfig",
            ),
            (
                ClusterOptions {
                    images: vec!["/nonexistent".into()],
                    ..ClusterOptions::default()
                },
                "images",
            ),
        ] {
            let error = options.resolve("a").unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn names_are_safe_in_paths() {
        for name in [
            "",
            "A",
            "a/b",
            "..",
            "-a",
            "a-",
            "aaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
        check_name("default").unwrap();
        check_name("e2e-7").unwrap();
    }

    #[test]
    fn default_cluster_has_the_documented_cgroup() {
        let mut config = ClusterConfig::default();
        assert_eq!(config.cgroup(), "katalyst-e2e");
        config.name = "b".to_owned();
        assert_eq!(config.cgroup(), "katalyst-e2e-b");
    }
}
