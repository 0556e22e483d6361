//! Flags of the plugin.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args};
use katalyst_runtime::flags::duration;

/// The container runtime's hook.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Container runtime (NRI)")]
pub struct NriArgs {
    /// Let the container runtime ask before it creates a container, so that pods start on their CPUs and memory nodes. Off by itself where
    /// the runtime has no NRI.
    #[arg(long, env = "KATALYST_NRI", default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub nri: bool,
    /// The runtime's NRI socket.
    #[arg(
        long,
        env = "KATALYST_NRI_SOCKET",
        default_value = "/var/run/nri/nri.sock",
        value_name = "FILE"
    )]
    pub nri_socket: PathBuf,
    /// Place in the order in which the runtime asks its plugins: two digits, lower first.
    #[arg(long, env = "KATALYST_NRI_PLUGIN_INDEX", default_value = "50", value_parser = index, value_name = "NN")]
    pub nri_plugin_index: String,
    /// Longest time for an answer; a later one is given without the placement, which the reconciler then makes true.
    #[arg(long, env = "KATALYST_NRI_BUDGET", default_value = "200ms", value_parser = duration)]
    pub nri_budget: Duration,
}

fn index(text: &str) -> Result<String, String> {
    if text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not two digits"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        nri: NriArgs,
    }

    #[test]
    fn defaults_and_refusals() {
        let defaults = Cli::parse_from(["agent"]).nri;
        assert!(defaults.nri && defaults.nri_budget == Duration::from_millis(200));
        assert!(!Cli::parse_from(["agent", "--nri=false"]).nri.nri);
        assert!(Cli::try_parse_from(["agent", "--nri-plugin-index=5"]).is_err());
    }
}
