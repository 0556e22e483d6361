//! Finds the kernel proper (an ELF program) inside a distribution's compressed boot image.
//!
//! An emulator boots the bare ELF kernel through its PVH entry, which skips the decompressor: that alone takes seconds when
//! every instruction is emulated. Where the payload lies is read from the image's header
//! (`Documentation/arch/x86/boot.rst`: `setup_sects`, `payload_offset`, `payload_length`; protocol 2.08 and newer).

use std::fs;
use std::path::Path;

use super::decompress;
use super::error::{VmError, at};

const SETUP_SECTORS: usize = 0x1f1;
const SIGNATURE: usize = 0x202;
const VERSION: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
const SECTOR: usize = 512;

/// A compression the kernel's build offers, with the program that undoes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    Gzip,
    Xz,
    Zstd,
    Lz4,
}

impl Compression {
    fn of(payload: &[u8]) -> Option<Self> {
        match payload {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [0x02, 0x21, 0x4c, 0x18, ..] => Some(Self::Lz4),
            _ => None,
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
        }
    }

    /// Bytes behind the compressed stream. The kernel's build appends the unpacked size to every format but gzip, which has it already.
    fn trailer(self) -> usize {
        match self {
            Self::Gzip => 0,
            Self::Xz | Self::Zstd | Self::Lz4 => 4,
        }
    }
}

/// Unpacks the kernel in the boot image `image` into the file `vmlinux`.
///
/// # Errors
/// When the image has no such header, its payload has an unknown format, or does not unpack to an ELF program.
pub fn extract(image: &[u8], vmlinux: &Path) -> Result<(), VmError> {
    let payload = payload(image)?;
    let compression = Compression::of(payload).ok_or_else(|| {
        malformed(format!(
            "payload starts with {:02x?}, no known compression",
            first(payload)
        ))
    })?;
    let stream = payload
        .get(..payload.len().saturating_sub(compression.trailer()))
        .unwrap_or_default();

    let packed = vmlinux.with_extension("packed");
    fs::write(&packed, stream).map_err(at("write", &packed))?;
    let kernel = decompress::with(compression.program(), &packed);
    fs::remove_file(&packed).map_err(at("remove", &packed))?;
    let kernel = kernel?;
    if !kernel.starts_with(b"\x7fELF") {
        return Err(malformed(format!(
            "the payload unpacks to {:02x?}..., which is no ELF program",
            first(&kernel)
        )));
    }
    fs::write(vmlinux, kernel).map_err(at("write", vmlinux))
}

fn payload(image: &[u8]) -> Result<&[u8], VmError> {
    if image.get(SIGNATURE..SIGNATURE + 4) != Some(b"HdrS".as_slice()) {
        return Err(malformed(
            "no boot header (\"HdrS\" at offset 0x202)".to_owned(),
        ));
    }
    let version = bytes::<2>(image, VERSION).map(u16::from_le_bytes)?;
    if version < 0x208 {
        return Err(malformed(format!(
            "boot protocol {version:#x} is older than 0x208, which introduced the payload's position"
        )));
    }
    // Zero sectors mean four, for compatibility with the oldest loaders.
    let sectors = match bytes::<1>(image, SETUP_SECTORS)? {
        [0] => 4,
        [count] => usize::from(count),
    };
    let offset = bytes::<4>(image, PAYLOAD_OFFSET).map(u32::from_le_bytes)? as usize;
    let length = bytes::<4>(image, PAYLOAD_LENGTH).map(u32::from_le_bytes)? as usize;
    let start = (sectors + 1) * SECTOR + offset;
    image.get(start..start + length).ok_or_else(|| {
        malformed(format!(
            "payload {start}+{length} lies outside the image of {} bytes",
            image.len()
        ))
    })
}

fn bytes<const N: usize>(image: &[u8], offset: usize) -> Result<[u8; N], VmError> {
    image
        .get(offset..offset + N)
        .and_then(|field| field.try_into().ok())
        .ok_or_else(|| malformed(format!("ends before its header does (offset {offset:#x})")))
}

fn first(bytes: &[u8]) -> &[u8] {
    bytes.get(..bytes.len().min(6)).unwrap_or_default()
}

fn malformed(reason: String) -> VmError {
    VmError::KernelImage { reason }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::process::Command;

    use super::*;

    /// A boot image with two setup sectors and `payload` 32 bytes into its protected-mode part.
    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 3 * SECTOR + 32];
        image[SETUP_SECTORS] = 2;
        image[SIGNATURE..SIGNATURE + 4].copy_from_slice(b"HdrS");
        image[VERSION..VERSION + 2].copy_from_slice(&0x20f_u16.to_le_bytes());
        image[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&32_u32.to_le_bytes());
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4]
            .copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend_from_slice(payload);
        image.extend_from_slice(b"signature");
        image
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn compress(program: &str, args: &[&str], data: &[u8]) -> Vec<u8> {
        let input = tempfile::NamedTempFile::new().unwrap();
        fs::write(input.path(), data).unwrap();
        let output = Command::new(program)
            .args(args)
            .arg("-c")
            .stdin(File::open(input.path()).unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    #[test]
    fn every_compression_is_undone() {
        let kernel = b"\x7fELF and the rest of a kernel".repeat(100);
        let with_size = |mut stream: Vec<u8>| {
            stream.extend_from_slice(&(kernel.len() as u32).to_le_bytes());
            stream
        };
        let payloads = [
            gzip(&kernel),
            with_size(compress("xz", &["--check=crc32"], &kernel)),
            with_size(compress("zstd", &["-q"], &kernel)),
            with_size(compress("lz4", &["-q", "-l"], &kernel)),
        ];
        let directory = tempfile::tempdir().unwrap();
        let vmlinux = directory.path().join("vmlinux");
        for payload in payloads {
            extract(&image(&payload), &vmlinux).unwrap();
            assert_eq!(fs::read(&vmlinux).unwrap(), kernel);
        }
    }

    #[test]
    fn what_is_no_kernel_is_refused_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let vmlinux = directory.path().join("vmlinux");
        let mut cut = image(&gzip(b"\x7fELF"));
        cut.truncate(3 * SECTOR + 40);
        for (image, reason) in [
            (b"MZ".to_vec(), "HdrS"),
            (image(b"plain"), "no known compression"),
            (image(&gzip(b"text")), "no ELF"),
            (cut, "outside the image"),
        ] {
            let error = extract(&image, &vmlinux).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
