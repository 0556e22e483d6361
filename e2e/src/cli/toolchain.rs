//! `katalyst-e2e toolchain`.

use clap::Subcommand;

use crate::{
    cache::Cache,
    toolchain::{self, family::FAMILIES},
};

/// Commands about the programs that clusters run.
#[derive(Debug, Subcommand)]
pub(super) enum ToolchainCommand {
    /// Build what the cache lacks. Nothing to do costs milliseconds; from nothing about 10 minutes on two CPUs.
    Build {
        /// Only these families; may be repeated.
        #[arg(long, value_name = "FAMILY")]
        only: Vec<String>,
    },
    /// List the families, their programs, and whether they are built.
    List,
}

impl ToolchainCommand {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let cache = Cache::from_env()?;
        match self {
            Self::Build { only } => {
                let names: Vec<&str> = only.iter().map(String::as_str).collect();
                toolchain::ensure(&cache, &names)?;
                println!("toolchain is ready in {}", cache.bin().display());
            }
            Self::List => {
                for family in FAMILIES {
                    let state = if toolchain::is_built(&cache, family.name)? {
                        "built"
                    } else {
                        "missing"
                    };
                    let programs: Vec<_> = family
                        .files()
                        .map(|program| program.display().to_string())
                        .collect();
                    println!("{:<14} {state:<8} {}", family.name, programs.join(" "));
                }
            }
        }
        Ok(0)
    }
}
