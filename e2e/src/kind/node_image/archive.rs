//! Packs a node tree as an archive for `docker load`. Unlike `docker import`, that keeps the stop signal, by which the node's
//! init shuts down in order.

use std::{
    fs::{self, File},
    io,
    path::Path,
    time::Duration,
};

use anyhow::Context;
use serde_json::{Value, json};

use super::super::{settings::remove, tool::Tool};

/// Writes `tree` as the image `reference` to `out`. The layer is not compressed: the archive never leaves the machine.
pub(super) fn write(tree: &Path, reference: &str, out: &Path) -> anyhow::Result<()> {
    let layer = out.with_extension("layer");
    Tool::new("tar")
        .arg("--create")
        .arg("--file")
        .arg(&layer)
        // Directories of running systems, which an engine mounts over.
        .args([
            "--numeric-owner",
            "--exclude=./dev/*",
            "--exclude=./proc/*",
            "--exclude=./sys/*",
        ])
        .arg("--directory")
        .arg(tree)
        .arg(".")
        .within(Duration::from_secs(60 * 5))
        .run()?;
    let sum = Tool::new("sha256sum")
        .arg(&layer)
        .within(Duration::from_secs(60 * 2))
        .run()?;
    let sum = sum
        .split_whitespace()
        .next()
        .context("sha256sum printed nothing")?;
    let partial = out.with_extension("part");
    pack(&layer, sum, reference, &partial)
        .with_context(|| format!("write {}", partial.display()))?;
    fs::rename(&partial, out).with_context(|| format!("rename to {}", out.display()))?;
    remove(&layer)
}

fn pack(layer: &Path, sum: &str, reference: &str, out: &Path) -> io::Result<()> {
    let mut archive = tar::Builder::new(File::create(out)?);
    let manifest =
        json!([{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]);
    for (name, value) in [
        ("config.json", configuration(sum)),
        ("manifest.json", manifest),
    ] {
        let bytes = value.to_string().into_bytes();
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes.as_slice())?;
    }
    archive.append_file("layer.tar", &mut File::open(layer)?)?;
    archive.into_inner()?.sync_data()
}

/// The same settings as kind's own Dockerfile ends with.
fn configuration(sum: &str) -> Value {
    json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "container=docker"],
            "Entrypoint": ["/usr/local/bin/entrypoint", "/sbin/init"],
            "StopSignal": "SIGRTMIN+3",
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{sum}")]},
        "history": [{"created_by": "katalyst-e2e kind"}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_names_its_layer() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        fs::create_dir_all(tree.join("dev")).unwrap();
        fs::write(tree.join("dev/null"), "").unwrap();
        fs::write(tree.join("file"), "x").unwrap();
        let out = folder.path().join("image.tar");
        write(&tree, "a.test/b:1", &out).unwrap();
        let names = Tool::new("tar").arg("-tf").arg(&out).run().unwrap();
        assert_eq!(names, "config.json\nmanifest.json\nlayer.tar\n");
        let layer = "tar -xOf \"$0\" layer.tar | tar -t";
        let files = Tool::new("sh").args(["-c", layer]).arg(&out).run().unwrap();
        assert!(
            files.contains("./file\n") && !files.contains("./dev/null"),
            "{files}"
        );
        let config = Tool::new("tar")
            .arg("-xOf")
            .arg(&out)
            .arg("config.json")
            .run()
            .unwrap();
        assert!(config.contains("SIGRTMIN+3"), "{config}");
    }
}
