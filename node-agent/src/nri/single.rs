//! One plugin on a node.
//!
//! A runtime takes any number of connections under one name, and then refuses containers that two of them adjust ("both tried to set …",
//! koordinator#2334). So the plugin holds a lock (`flock(2)`) on a file of the node while it runs; the kernel gives it up when the
//! process ends, however it ends. A second agent waits and says for whom.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// The lock, held until dropped.
#[derive(Debug)]
pub struct Single {
    _file: File,
}

/// Whether this process is the plugin.
#[derive(Debug)]
pub enum Claim {
    /// It is.
    Held(Single),
    /// Another is; what it wrote about itself.
    Taken(String),
}

impl Single {
    /// Tries to take the lock on `path`.
    pub fn claim(path: &Path) -> io::Result<Claim> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut who = String::new();
                file.take(64).read_to_string(&mut who)?;
                return Ok(Claim::Taken(format!("process {}", who.trim())));
            }
            Err(error) => return Err(error.into()),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Claim::Held(Self { _file: file }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_claim_names_the_holder_and_succeeds_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/nri.lock");
        let Claim::Held(first) = Single::claim(&path).unwrap() else {
            panic!("not held");
        };
        let Claim::Taken(who) = Single::claim(&path).unwrap() else {
            panic!("held twice");
        };
        assert_eq!(who, format!("process {}", std::process::id()));
        drop(first);
        assert!(matches!(Single::claim(&path).unwrap(), Claim::Held(_)));
    }
}
