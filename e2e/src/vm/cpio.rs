//! Writes the archive format of Linux initial file systems ("newc", `Documentation/driver-api/early-userspace/buffer-format.rst`).
//!
//! The archive stays uncompressed: under emulation, decompressing costs more than reading.

/// File type bits of `st_mode`.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// Archives end at a multiple of this, as cpio writes them, in bytes.
const BLOCK: usize = 512;

/// An archive under construction. Entries appear in the order of the calls; parents must come first.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// An archive without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory (mode 0755). `path` is relative, without a leading slash.
    pub fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY | 0o755, (0, 0), &[]);
    }

    /// Adds a regular file with the permission bits `mode`.
    pub fn file(&mut self, path: &str, mode: u32, data: &[u8]) {
        self.entry(path, REGULAR | mode, (0, 0), data);
    }

    /// Adds a character device (mode 0600).
    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.entry(path, CHARACTER_DEVICE | 0o600, (major, minor), &[]);
    }

    /// Closes the archive and returns its bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
            .resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, (major, minor): (u32, u32), data: &[u8]) {
        self.entries += 1;
        let name_size = path.len() as u32 + 1;
        // inode, mode, uid, gid, links, mtime, size, device (2), special device (2), name size, checksum
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            data.len() as u32,
            0,
            0,
            major,
            minor,
            name_size,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(data);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn entries_are_aligned_and_the_archive_ends_at_a_block() {
        let mut archive = Archive::new();
        archive.directory("bin");
        archive.file("bin/a", 0o755, b"12345");
        archive.character_device("console", 5, 1);
        let bytes = archive.finish();
        assert_eq!(bytes.len() % BLOCK, 0);
        let text = String::from_utf8_lossy(&bytes);
        let starts: Vec<_> = text.match_indices("070701").map(|(at, _)| at % 4).collect();
        assert_eq!(
            starts,
            [0, 0, 0, 0],
            "three entries and the trailer, each on a boundary of four"
        );
    }

    #[test]
    fn an_independent_reader_finds_the_same_files() {
        let mut archive = Archive::new();
        archive.directory("etc");
        archive.file("etc/odd", 0o640, b"seven b");
        archive.file("empty", 0o755, b"");
        let target = tempfile::tempdir().unwrap();
        let mut reader = Command::new("busybox")
            .args(["cpio", "-i", "-d"])
            .current_dir(target.path())
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        reader
            .stdin
            .take()
            .unwrap()
            .write_all(&archive.finish())
            .unwrap();
        assert!(reader.wait().unwrap().success());
        let odd = target.path().join("etc/odd");
        assert_eq!(std::fs::read(&odd).unwrap(), b"seven b");
        assert_eq!(
            std::fs::metadata(&odd).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(
            std::fs::metadata(target.path().join("empty"))
                .unwrap()
                .len(),
            0
        );
    }
}
