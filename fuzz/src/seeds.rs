//! Writes the fuzzers' first inputs: each file of each capture for each parser of kernel files that reads it, the messages of a container runtime, and
//! the requests of kube-scheduler.
//!
//!     seeds FOLDER CAPTURE...
//!
//! Below the folder, each target has one of its own name.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

#[path = "../../node-agent/src/kernel/mod.rs"]
#[allow(
    dead_code,
    reason = "only the catalogue and the captures' form are used here"
)]
mod kernel;

#[path = "../../node-agent/src/nri"]
#[allow(dead_code, reason = "only the seeds are used here")]
mod nri {
    pub mod any_bytes;
    pub mod features;
    pub mod messages;
    pub mod mux;
    pub mod placer;
    pub mod translate;
    pub mod ttrpc;
    pub mod wire;
}

#[path = "../../scheduler-extender/tests/any_bytes/seeds.rs"]
mod requests;

use kernel::{capture::sections, catalogue::PARSERS};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().ok_or("seeds FOLDER CAPTURE...")?;
    let mut files = Vec::new();
    for capture in arguments {
        let text = fs::read_to_string(&capture)?;
        for (path, text) in sections(&text) {
            for (number, _) in PARSERS
                .iter()
                .enumerate()
                .filter(|(_, each)| each.reads(path))
            {
                let mut input = vec![u8::try_from(number)?];
                input.extend(text.as_bytes());
                files.push(input);
            }
        }
    }
    write(&folder.join("kernel"), &files)?;
    write(&folder.join("nri"), &nri::any_bytes::seeds()?)?;
    write(&folder.join("requests"), &requests::seeds())
}

fn write(folder: &Path, seeds: &[Vec<u8>]) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{number}")), seed)?;
    }
    println!("{} seeds in {}", seeds.len(), folder.display());
    Ok(())
}
