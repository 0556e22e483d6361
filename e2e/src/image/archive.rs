//! OCI image archives written without a container engine.
//!
//! An archive is a tar file with an image layout: `oci-layout`, `index.json` and content-addressed blobs. `manifest.json`
//! is there too, so that `docker load` takes the same file. The same input gives the same bytes: times are zero,
//! owners are root, and entries are in the order given.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{ImageError, ImageSpec, layer};
use crate::hex;

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// A written archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// The file.
    pub path: PathBuf,
    /// Image name inside it.
    pub name: String,
    /// Digest of the manifest, `sha256:...`.
    pub digest: String,
}

struct Blob {
    hash: String,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            hash: hex(&Sha256::digest(&bytes)),
            bytes,
        }
    }

    fn digest(&self) -> String {
        format!("sha256:{}", self.hash)
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.hash)
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest(), "size": self.bytes.len()})
    }
}

/// Writes the image to `out` (replaced as a whole, never half written).
pub fn write(spec: &ImageSpec, out: &Path) -> Result<Archive, ImageError> {
    let tree = layer::tar(&spec.files)?;
    let difference = format!("sha256:{}", hex(&Sha256::digest(&tree)));
    let layer = Blob::new(compress(&tree).map_err(|source| file(out, source))?);
    let config = Blob::new(to_json(&configuration(spec, &difference)));
    let manifest = Blob::new(to_json(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": config.descriptor(CONFIG_TYPE),
        "layers": [layer.descriptor(LAYER_TYPE)],
    })));
    let mut entry = manifest.descriptor(MANIFEST_TYPE);
    if let Some(object) = entry.as_object_mut() {
        object.insert(
            "annotations".to_owned(),
            json!({
                "io.containerd.image.name": spec.name,
                "org.opencontainers.image.ref.name": tag(&spec.name),
            }),
        );
        object.insert(
            "platform".to_owned(),
            json!({"architecture": architecture(), "os": "linux"}),
        );
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]});
    let docker = json!([{
        "Config": config.path(), "RepoTags": [spec.name], "Layers": [layer.path()],
    }]);
    let partial = out.with_extension("partial");
    let write = || -> io::Result<()> {
        let mut archive = tar::Builder::new(fs::File::create(&partial)?);
        let version = to_json(&json!({"imageLayoutVersion": "1.0.0"}));
        layer::append_bytes(&mut archive, "oci-layout", 0o644, &version)?;
        layer::append_bytes(&mut archive, "index.json", 0o644, &to_json(&index))?;
        layer::append_bytes(&mut archive, "manifest.json", 0o644, &to_json(&docker))?;
        for blob in [&layer, &config, &manifest] {
            layer::append_bytes(&mut archive, &blob.path(), 0o644, &blob.bytes)?;
        }
        archive.into_inner()?;
        // An archive that says the same keeps its time, so that nothing made from it is made again.
        if fs::read(out).is_ok_and(|old| fs::read(&partial).is_ok_and(|new| old == new)) {
            return fs::remove_file(&partial);
        }
        fs::rename(&partial, out)
    };
    write().map_err(|source| file(out, source))?;
    Ok(Archive {
        path: out.to_owned(),
        name: spec.name.clone(),
        digest: manifest.digest(),
    })
}

fn configuration(spec: &ImageSpec, difference: &str) -> Value {
    let mut config = json!({"Env": spec.environment, "WorkingDir": "/"});
    if let Some(object) = config.as_object_mut() {
        for (key, words) in [("Entrypoint", &spec.entrypoint), ("Cmd", &spec.command)] {
            if !words.is_empty() {
                object.insert(key.to_owned(), json!(words));
            }
        }
        if !spec.user.is_empty() {
            object.insert("User".to_owned(), json!(spec.user));
        }
    }
    json!({
        "architecture": architecture(),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [difference]},
        "history": [{"created_by": "katalyst-e2e image build"}],
    })
}

/// Go's name of the architecture that this program was built for; images hold programs of the same build.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => tag,
        _ => "latest",
    }
}

fn compress(tree: &[u8]) -> io::Result<Vec<u8>> {
    // Fast, because these archives travel over a unix socket only.
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::fast());
    io::Write::write_all(&mut encoder, tree)?;
    encoder.finish()
}

fn to_json(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn file(path: &Path, source: io::Error) -> ImageError {
    ImageError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read as _};

    use super::*;
    use crate::image::ImageFile;

    fn spec() -> ImageSpec {
        ImageSpec {
            entrypoint: vec!["/bin/a".to_owned()],
            ..ImageSpec::new("example.test/a:1")
        }
        .with(ImageFile::bytes("bin/a", 0o755, b"program".to_vec()))
        .with(ImageFile::symlink("b", "bin/a"))
    }

    fn entries(path: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(fs::File::open(path).unwrap());
        let mut found = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            found.insert(name, bytes);
        }
        found
    }

    #[test]
    fn same_input_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("1.tar"), folder.path().join("2.tar"));
        let first = write(&spec(), &one).unwrap();
        let second = write(&spec(), &two).unwrap();
        assert_eq!(first.digest, second.digest);
        assert_eq!(fs::read(&one).unwrap(), fs::read(two).unwrap());
        let before = fs::metadata(&one).unwrap().modified().unwrap();
        write(&spec(), &one).unwrap();
        assert_eq!(fs::metadata(&one).unwrap().modified().unwrap(), before);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn index_leads_to_manifest_config_and_layer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        let archive = write(&spec(), &path).unwrap();
        let files = entries(&path);
        let json = |name: &str| -> Value { serde_json::from_slice(&files[name]).unwrap() };
        let blob = |digest: &Value| {
            format!(
                "blobs/sha256/{}",
                digest.as_str().unwrap().trim_start_matches("sha256:")
            )
        };
        let index = json("index.json");
        let entry = &index["manifests"][0];
        assert_eq!(entry["digest"], archive.digest);
        assert_eq!(
            entry["annotations"]["io.containerd.image.name"],
            "example.test/a:1"
        );
        let manifest = json(&blob(&entry["digest"]));
        let config = json(&blob(&manifest["config"]["digest"]));
        assert_eq!(config["config"]["Entrypoint"][0], "/bin/a");
        let layer = &files[&blob(&manifest["layers"][0]["digest"])];
        assert_eq!(manifest["layers"][0]["size"], layer.len());
        let mut tree = Vec::new();
        flate2::read::GzDecoder::new(layer.as_slice())
            .read_to_end(&mut tree)
            .unwrap();
        assert_eq!(
            config["rootfs"]["diff_ids"][0],
            format!("sha256:{}", hex(&Sha256::digest(&tree)))
        );
        for (name, bytes) in &files {
            if let Some(hash) = name.strip_prefix("blobs/sha256/") {
                assert_eq!(hash, hex(&Sha256::digest(bytes)));
            }
        }
    }

    #[test]
    fn tag_is_after_the_last_colon_of_the_last_part() {
        assert_eq!(tag("a.test/b:dev"), "dev");
        assert_eq!(tag("a.test:5000/b"), "latest");
    }
}
