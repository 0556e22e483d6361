//! Flags of the memset binder.

use std::path::Path;

use clap::Args;
use katalyst_core::{quantity::parse_bytes, rebind::RebindParams, units::Bytes};

use super::{RebindConfig, RebindPods};

/// NUMA nodes that run out of memory.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "NUMA nodes that run out of memory")]
pub struct RebindArgs {
    /// Whose pages may leave a NUMA node that runs out of memory, while another has plenty. `batch` touches reclaimed pods only: a service
    /// waits for each page that it needs while that page moves. `all` also moves shared pods that are not bound, where batch does not suffice.
    #[arg(long, env = "KATALYST_MEMORY_REBIND", value_enum, default_value_t = RebindPods::Batch)]
    pub memory_rebind: RebindPods,
    /// Most bytes that move in an hour, and so in one move. Up to kernel 6.18 no process enters a cpuset of this node, so that no container
    /// starts, until a move is done: some 2 s for 4 GiB.
    #[arg(long, env = "KATALYST_MEMORY_REBIND_HOURLY", default_value = "4Gi", value_parser = bytes, value_name = "QUANTITY")]
    pub memory_rebind_hourly: Bytes,
    /// A NUMA node runs out of memory when less than this part of it is free or can be dropped (or less than twice the kernel's low watermarks).
    #[arg(long, env = "KATALYST_MEMORY_REBIND_HOT_FRACTION", default_value_t = RebindParams::default().hot_fraction, value_parser = fraction)]
    pub memory_rebind_hot_fraction: f64,
    /// Pods with less on such a node stay.
    #[arg(long, env = "KATALYST_MEMORY_REBIND_SMALLEST", default_value = "128Mi", value_parser = bytes, value_name = "QUANTITY")]
    pub memory_rebind_smallest: Bytes,
}

impl RebindArgs {
    /// The settings for the node below `root`.
    pub fn config(&self, root: &Path) -> RebindConfig {
        let params = RebindParams {
            most_in_interval: self.memory_rebind_hourly,
            hot_fraction: self.memory_rebind_hot_fraction,
            smallest: self.memory_rebind_smallest,
            ..RebindParams::default()
        };
        RebindConfig {
            params,
            ..RebindConfig::new(root.to_owned(), self.memory_rebind)
        }
    }
}

fn bytes(text: &str) -> Result<Bytes, String> {
    parse_bytes(text).map_err(|error| error.to_string())
}

/// Above a half no node could be cool, which is twice the room of a hot one.
fn fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=0.5).contains(&value) => Ok(value),
        _ => Err(format!("`{text}` is not a fraction between 0 and 0.5")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        rebind: RebindArgs,
    }

    #[test]
    fn defaults_are_the_binders_own() {
        let flags = Flags::parse_from(["x"]).rebind;
        let config = flags.config(Path::new("/"));
        assert_eq!(config.params, RebindParams::default());
        assert_eq!(config.pods, RebindPods::Batch);
        assert!(Flags::try_parse_from(["x", "--memory-rebind-hot-fraction=0.6"]).is_err());
    }
}
