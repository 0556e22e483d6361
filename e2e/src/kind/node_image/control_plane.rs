//! The images that kubeadm starts on a node, made from the toolchain's programs: kubeadm itself says under which names.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::super::tool::Tool;
use crate::{
    cache::Cache,
    image::{self, ImageFile, ImageSpec, catalogue},
};

/// Users that an image needs so that a pod's `runAsUser` has a name.
const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";

/// Programs of the packet filter that kube-proxy calls; the first two are files, the rest links to the second.
const FILTERS: [&str; 8] = [
    "nft",
    "xtables-nft-multi",
    "iptables",
    "iptables-save",
    "iptables-restore",
    "ip6tables",
    "ip6tables-save",
    "ip6tables-restore",
];

/// Extensions of the packet filter, below the root of the tree.
const EXTENSIONS: &str = "usr/lib/x86_64-linux-gnu/xtables";

/// The names of all images of `version`, as kubeadm would pull them.
pub(super) fn references(cache: &Cache, version: &str) -> anyhow::Result<Vec<String>> {
    let listed = Tool::new(cache.program("kubeadm"))
        .args(["config", "images", "list", "--kubernetes-version", version])
        .run()?;
    Ok(listed.lines().map(str::to_owned).collect())
}

/// The reference among `references` whose last path element is `name`.
pub(super) fn reference<'a>(references: &'a [String], name: &str) -> anyhow::Result<&'a str> {
    let matches = |full: &&String| {
        let last = full.rsplit('/').next().unwrap_or_default();
        last.split(':').next() == Some(name)
    };
    let found = references.iter().find(matches);
    found
        .map(String::as_str)
        .with_context(|| format!("kubeadm names no image {name}: {references:?}"))
}

/// Writes one archive an image into `folder`, taking libraries of the packet filter from `tree`.
pub(super) fn write(
    cache: &Cache,
    references: &[String],
    tree: &Path,
    folder: &Path,
) -> anyhow::Result<Vec<PathBuf>> {
    let mut archives = Vec::new();
    for full in references {
        let last = full.rsplit('/').next().unwrap_or_default();
        let name = last.split(':').next().unwrap_or_default();
        let out = folder.join(format!("{name}.tar"));
        match name {
            "pause" => pause(cache, full, &out)?,
            "coredns" => {
                let program = ImageFile::copy("coredns", 0o755, cache.program("coredns"));
                store(&started_by(full, "/coredns").with(program), &out)?;
            }
            "kube-proxy" => store(&with_filters(program(cache, full, name), tree)?, &out)?,
            "etcd" | "kube-apiserver" | "kube-controller-manager" | "kube-scheduler" => {
                store(&program(cache, full, name), &out)?;
            }
            _ => bail!("kubeadm names an image that nothing here can make: {full}"),
        }
        archives.push(out);
    }
    Ok(archives)
}

fn store(spec: &ImageSpec, out: &Path) -> anyhow::Result<()> {
    image::write(spec, out)?;
    Ok(())
}

fn started_by(name: &str, program: &str) -> ImageSpec {
    ImageSpec {
        entrypoint: vec![program.to_owned()],
        ..ImageSpec::new(name)
    }
}

/// One static program where kubeadm's manifests look for it: they name it without a path.
fn program(cache: &Cache, full: &str, name: &str) -> ImageSpec {
    let inside = format!("usr/bin/{name}");
    started_by(full, &format!("/{inside}"))
        .with(ImageFile::bytes("etc/passwd", 0o644, PASSWD))
        .with(ImageFile::directory("tmp", 0o1777))
        .with(ImageFile::directory("run", 0o755))
        .with(ImageFile::copy(&inside, 0o755, cache.program(name)))
        // kubeadm runs kube-proxy by its full path in the upstream image.
        .with(ImageFile::symlink(
            &format!("usr/local/bin/{name}"),
            &format!("/{inside}"),
        ))
}

/// The cached pause image under the name that kubeadm wants.
fn pause(cache: &Cache, full: &str, out: &Path) -> anyhow::Result<()> {
    let made = catalogue::ensure_base(cache)?;
    let base = made.first().context("no pause image was made")?;
    let program = pause_program(base)?;
    store(
        &started_by(full, "/pause").with(ImageFile::bytes("pause", 0o755, program)),
        out,
    )
}

/// Takes the program out of the archive at `base`: its one layer is gzip, its one file is `pause`.
fn pause_program(base: &Path) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let read = || -> std::io::Result<Option<Vec<u8>>> {
        for entry in tar::Archive::new(fs::File::open(base)?).entries()? {
            let mut blob = Vec::new();
            entry?.read_to_end(&mut blob)?;
            if !blob.starts_with(&[0x1f, 0x8b]) {
                continue;
            }
            let layer = flate2::read::GzDecoder::new(blob.as_slice());
            for entry in tar::Archive::new(layer).entries()? {
                let mut entry = entry?;
                if entry.path()?.as_os_str() == "pause" {
                    let mut program = Vec::new();
                    entry.read_to_end(&mut program)?;
                    return Ok(Some(program));
                }
            }
        }
        Ok(None)
    };
    read()
        .with_context(|| format!("read {}", base.display()))?
        .with_context(|| format!("{} holds no program `pause`", base.display()))
}

/// Adds the packet filter's programs with every library that they load.
fn with_filters(mut spec: ImageSpec, tree: &Path) -> anyhow::Result<ImageSpec> {
    for name in FILTERS {
        let inside = format!("usr/sbin/{name}");
        spec = match name {
            "nft" | "xtables-nft-multi" => {
                spec.with(ImageFile::copy(&inside, 0o755, tree.join(&inside)))
            }
            _ => spec.with(ImageFile::symlink(&inside, "xtables-nft-multi")),
        };
    }
    let extensions = tree.join(EXTENSIONS);
    let list = fs::read_dir(&extensions);
    let mut names = BTreeSet::new();
    for entry in list.with_context(|| format!("list {}", extensions.display()))? {
        let entry = entry.with_context(|| format!("list {}", extensions.display()))?;
        names.insert(entry.file_name().to_string_lossy().into_owned());
    }
    for name in &names {
        let inside = format!("{EXTENSIONS}/{name}");
        spec = spec.with(ImageFile::copy(&inside, 0o755, tree.join(&inside)));
    }
    // The dynamic loader itself tells what it would load, as the tree resolves it.
    let printed = Tool::new("chroot")
        .arg(tree)
        .args(["ldd", "/usr/sbin/nft", "/usr/sbin/xtables-nft-multi"])
        .args(names.iter().map(|name| format!("/{EXTENSIONS}/{name}")))
        .run()?;
    let libraries = libraries(&printed);
    // Links in the tree are absolute, and would lead into this machine's own libraries.
    let resolved = Tool::new("chroot")
        .arg(tree)
        .args(["readlink", "-f"])
        .args(&libraries)
        .run()?;
    for (library, file) in libraries.iter().zip(resolved.lines()) {
        let source = tree.join(file.trim_start_matches('/'));
        spec = spec.with(ImageFile::copy(library, 0o755, source));
    }
    Ok(spec)
}

/// Absolute paths of shared libraries in the output of `ldd`.
fn libraries(printed: &str) -> BTreeSet<String> {
    let words = printed.split_whitespace();
    words
        .filter(|word| word.starts_with('/') && !word.ends_with(':') && word.contains(".so"))
        .filter(|word| !word.contains("/xtables/"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_by_their_last_part() {
        let all = [
            "r.test/kube-apiserver:v1".to_owned(),
            "r.test/coredns/coredns:v2".to_owned(),
        ];
        assert_eq!(
            reference(&all, "coredns").unwrap(),
            "r.test/coredns/coredns:v2"
        );
        assert!(
            reference(&all, "pause")
                .unwrap_err()
                .to_string()
                .contains("pause")
        );
    }

    #[test]
    fn libraries_of_ldd() {
        let printed = "/usr/sbin/nft:\n\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x3)\n/usr/lib/y/xtables/libxt_a.so:\n\tstatically linked\n";
        let found: Vec<_> = libraries(printed).into_iter().collect();
        assert_eq!(found, ["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
    }
}
