//! The images that the clusters use, and how each is made.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::Command,
};

use super::{Archive, ImageError, ImageFile, ImageSpec, write};
use crate::{
    cache::Cache,
    program,
    toolchain::packages::{self, Probe, Requirement},
};

/// Image of the container that holds a pod's namespaces.
pub const PAUSE: &str = "katalyst.local/pause:1";
/// Image with a shell and the usual small programs.
pub const BUSYBOX: &str = "katalyst.local/busybox:1";

/// An image that holds one of our programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    /// Image name.
    pub image: &'static str,
    /// File name of the program.
    pub program: &'static str,
    /// File name of the archive in the cache.
    pub archive: &'static str,
}

const fn product(image: &'static str, program: &'static str, archive: &'static str) -> Product {
    Product {
        image,
        program,
        archive,
    }
}

/// Our own images.
pub const PRODUCTS: &[Product] = &[
    product(
        "katalyst.local/node-agent:dev",
        "katalyst-node-agent",
        "node-agent.tar",
    ),
    product(
        "katalyst.local/scheduler-extender:dev",
        "katalyst-scheduler-extender",
        "scheduler-extender.tar",
    ),
    product(
        "katalyst.local/controllers:dev",
        "katalyst-controllers",
        "controllers.tar",
    ),
    product(
        "katalyst.local/workload:dev",
        "katalyst-workload",
        "workload.tar",
    ),
];

const PAUSE_SOURCE: &str = include_str!("pause.c");
const COMPILER: &[Requirement] = &[
    Requirement {
        probe: Probe::Program("gcc"),
        package: "gcc",
    },
    Requirement {
        probe: Probe::File("/usr/include/stdlib.h"),
        package: "libc6-dev",
    },
];
const SHELL: &[Requirement] = &[Requirement {
    probe: Probe::File("/bin/busybox"),
    package: "busybox-static",
}];

/// Writes the pause and busybox archives into the cache, unless they are there.
pub fn ensure_base(cache: &Cache) -> Result<Vec<PathBuf>, ImageError> {
    let folder = cache.create(cache.images())?;
    let pause = folder.join("pause.tar");
    if !pause.is_file() {
        write(&pause_image(&folder)?, &pause)?;
    }
    let busybox = folder.join("busybox.tar");
    if !busybox.is_file() {
        packages::ensure(SHELL)?;
        write(&busybox_image(Path::new("/bin/busybox"))?, &busybox)?;
    }
    Ok(vec![pause, busybox])
}

/// Writes an archive for each of our programs found in `binaries`; returns them and the programs not found.
pub fn build_products(
    cache: &Cache,
    binaries: &Path,
) -> Result<(Vec<Archive>, Vec<&'static str>), ImageError> {
    let folder = cache.create(cache.images())?;
    let mut written = Vec::new();
    let mut absent = Vec::new();
    for product in PRODUCTS {
        let program = binaries.join(product.program);
        if program.is_file() {
            let spec = program_image(product.image, &program)?;
            written.push(write(&spec, &folder.join(product.archive))?);
        } else {
            absent.push(product.program);
        }
    }
    Ok((written, absent))
}

/// Every archive in the cache, sorted by name.
pub fn archives(cache: &Cache) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(cache.images())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "tar"))
        .collect();
    found.sort();
    found
}

/// An image with one static program, and the few files that a program expects around it.
pub fn program_image(image: &str, program: &Path) -> Result<ImageSpec, ImageError> {
    refuse_dynamic(program)?;
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let inside = format!("usr/bin/{name}");
    Ok(ImageSpec {
        entrypoint: vec![format!("/{inside}")],
        ..ImageSpec::new(image)
    }
    .with(ImageFile::bytes(
        "etc/passwd",
        0o644,
        "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n",
    ))
    .with(ImageFile::bytes(
        "etc/group",
        0o644,
        "root:x:0:\nnonroot:x:65532:\n",
    ))
    .with(ImageFile::directory("tmp", 0o1777))
    .with(ImageFile::copy(&inside, 0o755, program)))
}

fn pause_image(folder: &Path) -> Result<ImageSpec, ImageError> {
    packages::ensure(COMPILER)?;
    let source = folder.join("pause.c");
    let output = folder.join("pause");
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ImageError::File { path, source }
    };
    fs::write(&source, PAUSE_SOURCE).map_err(failed(&source))?;
    program::run(
        Command::new("gcc")
            .args(["-Os", "-static", "-s", "-o"])
            .args([&output, &source]),
    )?;
    let bytes = fs::read(&output).map_err(failed(&output))?;
    for file in [&source, &output] {
        fs::remove_file(file).map_err(failed(file))?;
    }
    Ok(ImageSpec {
        entrypoint: vec!["/pause".to_owned()],
        user: "65535:65535".to_owned(),
        ..ImageSpec::new(PAUSE)
    }
    .with(ImageFile::bytes("pause", 0o755, bytes)))
}

fn busybox_image(program: &Path) -> Result<ImageSpec, ImageError> {
    refuse_dynamic(program)?;
    let names = program::run(Command::new(program).arg("--list"))?;
    let mut spec = ImageSpec {
        command: vec!["/bin/sh".to_owned()],
        ..ImageSpec::new(BUSYBOX)
    }
    .with(ImageFile::bytes(
        "etc/passwd",
        0o644,
        "root:x:0:0:root:/root:/bin/sh\n",
    ))
    .with(ImageFile::bytes("etc/group", 0o644, "root:x:0:\n"))
    .with(ImageFile::directory("root", 0o700))
    .with(ImageFile::directory("tmp", 0o1777))
    .with(ImageFile::copy("bin/busybox", 0o755, program));
    for name in names.lines().filter(|name| *name != "busybox") {
        spec = spec.with(ImageFile::symlink(&format!("bin/{name}"), "busybox"));
    }
    Ok(spec)
}

/// An image holds no libraries, so a program that asks for a loader would fail only in the pod, with a
/// message ("no such file") that misleads.
fn refuse_dynamic(program: &Path) -> Result<(), ImageError> {
    let loader = has_interpreter(program).map_err(|source| ImageError::File {
        path: program.to_owned(),
        source,
    })?;
    if loader {
        return Err(ImageError::Dynamic {
            path: program.to_owned(),
        });
    }
    Ok(())
}

/// Whether a 64-bit little-endian ELF file has a `PT_INTERP` program header.
pub(crate) fn has_interpreter(program: &Path) -> io::Result<bool> {
    const PT_INTERP: u32 = 3;
    // Program headers follow the file header in every linker's output.
    let mut start = Vec::new();
    File::open(program)?.take(4096).read_to_end(&mut start)?;
    if start.get(..4) != Some(b"\x7fELF") {
        return Ok(false);
    }
    let number = |at: usize, size: usize| -> u64 {
        let bytes = start.get(at..at + size).unwrap_or_default();
        bytes
            .iter()
            .rev()
            .fold(0, |value, byte| (value << 8) | u64::from(*byte))
    };
    let (table, entry, count) = (number(32, 8), number(54, 2), number(56, 2));
    Ok((0..count).any(|index| {
        let at = table.saturating_add(index * entry);
        usize::try_from(at).is_ok_and(|at| number(at, 4) == u64::from(PT_INTERP))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dynamic_program_is_refused() {
        assert!(has_interpreter(Path::new("/bin/sh")).unwrap());
        let error = refuse_dynamic(Path::new("/bin/sh")).unwrap_err();
        assert!(error.to_string().contains("crt-static"), "{error}");
    }

    #[test]
    fn absent_programs_are_reported_and_cost_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let (written, absent) = build_products(&cache, folder.path()).unwrap();
        assert!(written.is_empty());
        assert_eq!(absent.len(), PRODUCTS.len());
        assert!(archives(&cache).is_empty());
    }

    #[test]
    fn product_becomes_an_archive() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache"));
        fs::write(folder.path().join("katalyst-controllers"), "static").unwrap();
        let (written, absent) = build_products(&cache, folder.path()).unwrap();
        assert_eq!(absent.len(), PRODUCTS.len() - 1);
        assert_eq!(written[0].name, "katalyst.local/controllers:dev");
        assert_eq!(archives(&cache), [cache.images().join("controllers.tar")]);
    }
}
