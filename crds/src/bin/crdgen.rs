//! Writes the definitions' YAML into `crds/yaml`, or with `--check` tells whether it is current.

use std::path::Path;
use std::process::ExitCode;

use katalyst_crds::generate;

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.as_slice() {
        [] => generate::write(&folder).map(|()| Vec::new()),
        [flag] if flag == "--check" => generate::stale(&folder),
        _ => {
            eprintln!("usage: crdgen [--check]");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(stale) if stale.is_empty() => ExitCode::SUCCESS,
        Ok(stale) => {
            for line in stale {
                eprintln!("{line}");
            }
            eprintln!("run `cargo run -p katalyst-crds --bin crdgen` and commit crds/yaml");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
