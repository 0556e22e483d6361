//! `katalyst-e2e image`.

use std::path::PathBuf;

use anyhow::bail;
use clap::Subcommand;

use crate::{cache::Cache, image::catalogue};

/// Commands about container images.
#[derive(Debug, Subcommand)]
pub(super) enum ImageCommand {
    /// Write image archives: pause, busybox, and each of our programs that is there.
    Build {
        /// Folder with our static programs.
        #[arg(
            long,
            value_name = "FOLDER",
            default_value = "target/x86_64-unknown-linux-gnu/release"
        )]
        binaries: PathBuf,
        /// Fail when one of our programs is not there.
        #[arg(long)]
        all: bool,
    },
    /// List the archives in the cache.
    List,
}

impl ImageCommand {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let cache = Cache::from_env()?;
        match self {
            Self::Build { binaries, all } => {
                catalogue::ensure_base(&cache)?;
                let (written, absent) = catalogue::build_products(&cache, &binaries)?;
                for archive in written {
                    println!("{}  {}", archive.name, archive.path.display());
                }
                if !absent.is_empty() {
                    let text = format!("not in {}: {}", binaries.display(), absent.join(" "));
                    if all {
                        bail!("{text}");
                    }
                    eprintln!("{text}");
                }
            }
            Self::List => {
                for archive in catalogue::archives(&cache) {
                    println!("{}", archive.display());
                }
            }
        }
        Ok(0)
    }
}
