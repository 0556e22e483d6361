//! Writes the fuzzer's first inputs: each file of each capture, for each parser that reads it.
//!
//!     seeds FOLDER CAPTURE...

use std::{env, error::Error, fs, path::PathBuf};

#[path = "../../node-agent/src/kernel/mod.rs"]
#[allow(
    dead_code,
    reason = "only the catalogue and the captures' form are used here"
)]
mod kernel;

use kernel::{capture::sections, catalogue::PARSERS};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().ok_or("seeds FOLDER CAPTURE...")?;
    fs::create_dir_all(&folder)?;
    let mut written = 0;
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
                fs::write(folder.join(format!("seed-{written}")), input)?;
                written += 1;
            }
        }
    }
    println!(
        "{written} seeds for {} parsers in {}",
        PARSERS.len(),
        folder.display()
    );
    Ok(())
}
