//! What a private engine keeps on disk between clusters: images only.
//!
//! A cluster ends by the death of its namespaces, so the engine never gets to delete its containers, and would start them again.
//! They are removed here, while no engine runs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::settings::remove;

/// Containers, their writable layers, volumes and networks, below the engine's data folder.
const CONTAINERS: &str = "containers";
const LAYERS: &str = "overlay2";
const MOUNTS: &str = "image/overlay2/layerdb/mounts";
const REST: [&str; 4] = [CONTAINERS, "volumes", "network/files", "containerd"];

/// The private engine's data folder in the kind cache.
pub fn folder(kind_cache: &Path) -> PathBuf {
    kind_cache.join("docker")
}

/// Locked by the engine as long as it lives.
pub fn lease(kind_cache: &Path) -> PathBuf {
    kind_cache.join("docker.lock")
}

/// Removes all that is not an image.
pub fn sweep(data: &Path) -> anyhow::Result<()> {
    let mounts = data.join(MOUNTS);
    for container in entries(&mounts)? {
        for role in ["mount-id", "init-id"] {
            let layer = fs::read_to_string(container.join(role)).unwrap_or_default();
            // An empty or odd name must not lead out of the folder.
            let name = Path::new(layer.trim());
            if name.components().count() == 1 && name.file_name().is_some() {
                remove_layer(&data.join(LAYERS), name)?;
            }
        }
        remove(&container)?;
    }
    REST.iter().try_for_each(|part| remove(&data.join(part)))
}

fn remove_layer(layers: &Path, name: &Path) -> anyhow::Result<()> {
    let layer = layers.join(name);
    // The engine reaches a layer by a short link, whose name is in the layer.
    let link = fs::read_to_string(layer.join("link")).unwrap_or_default();
    if !link.is_empty() {
        remove(&layers.join("l").join(link.trim()))?;
    }
    remove(&layer)
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let list = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let paths: Result<Vec<_>, _> = list.map(|entry| entry.map(|entry| entry.path())).collect();
    paths.with_context(|| format!("list {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn containers_go_and_images_stay() {
        let data = tempfile::tempdir().unwrap();
        let at = |path: &str| data.path().join(path);
        file(&at("containers/c/config.v2.json"), "{}");
        file(&at("volumes/v/_data/f"), "");
        file(&at("image/overlay2/layerdb/mounts/c/mount-id"), "top");
        file(&at("image/overlay2/layerdb/mounts/c/init-id"), "top-init");
        file(&at("overlay2/top/link"), "SHORT");
        file(&at("overlay2/l/SHORT"), "");
        file(&at("overlay2/top-init/link"), "INIT");
        file(&at("overlay2/base/link"), "BASE");
        file(&at("overlay2/l/BASE"), "");
        file(&at("image/overlay2/repositories.json"), "{}");
        sweep(data.path()).unwrap();
        for gone in [
            "containers",
            "volumes",
            "overlay2/top",
            "overlay2/top-init",
            "overlay2/l/SHORT",
        ] {
            assert!(!at(gone).exists(), "{gone}");
        }
        for kept in [
            "overlay2/base",
            "overlay2/l/BASE",
            "image/overlay2/repositories.json",
        ] {
            assert!(at(kept).exists(), "{kept}");
        }
        sweep(data.path()).unwrap();
    }

    #[test]
    fn a_broken_record_removes_nothing_else() {
        let data = tempfile::tempdir().unwrap();
        let at = |path: &str| data.path().join(path);
        file(&at("image/overlay2/layerdb/mounts/c/mount-id"), "../image");
        file(&at("image/overlay2/layerdb/mounts/d/mount-id"), "");
        file(&at("overlay2/base/link"), "BASE");
        sweep(data.path()).unwrap();
        assert!(at("overlay2/base").exists() && at("image/overlay2").exists());
    }
}
