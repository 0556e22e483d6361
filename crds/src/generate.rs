//! The committed YAML of the definitions: what it must contain, writing it, and telling when it is stale.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;

use crate::schema::{self, SchemaError};
use crate::yaml::{self, YamlError};

const HEADER: &str = "# Generated from the types of katalyst-crds by `cargo run -p katalyst-crds --bin crdgen`. Do not edit.\n";

/// Why the YAML could not be made, written or compared.
#[derive(Debug, Error)]
pub enum GenerateError {
    /// A definition could not be finished.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A definition could not be written as YAML.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// A file could not be read or written.
    #[error("{action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Every file of the folder, by name: one for each definition, and a `kustomization.yaml` that lists them.
pub fn files() -> Result<BTreeMap<String, String>, GenerateError> {
    let mut files = BTreeMap::new();
    let mut resources = Vec::new();
    for definition in schema::definitions()? {
        let name = format!(
            "{}_{}.yaml",
            definition.spec.group, definition.spec.names.plural
        );
        resources.push(format!("  - {name}\n"));
        let text = yaml::write(&name, &definition)?;
        files.insert(name, format!("{HEADER}{text}"));
    }
    let kustomization = format!(
        "{HEADER}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{}",
        resources.concat()
    );
    files.insert("kustomization.yaml".to_owned(), kustomization);
    Ok(files)
}

/// Writes every file into `folder`.
pub fn write(folder: &Path) -> Result<(), GenerateError> {
    fs::create_dir_all(folder).map_err(file("create", folder))?;
    for (name, text) in files()? {
        let path = folder.join(name);
        fs::write(&path, text).map_err(file("write", &path))?;
    }
    Ok(())
}

/// The files of `folder` that are missing, differ from the types, or belong to no definition.
pub fn stale(folder: &Path) -> Result<Vec<String>, GenerateError> {
    let expected = files()?;
    let mut stale = Vec::new();
    for (name, text) in &expected {
        let path = folder.join(name);
        match fs::read_to_string(&path) {
            Ok(found) if found == *text => {}
            Ok(_) => stale.push(format!("{name} differs")),
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                stale.push(format!("{name} is missing"));
            }
            Err(source) => return Err(file("read", &path)(source)),
        }
    }
    for entry in fs::read_dir(folder).map_err(file("list", folder))? {
        let name = entry.map_err(file("list", folder))?.file_name();
        let name = name.to_string_lossy();
        if !expected.contains_key(name.as_ref()) {
            stale.push(format!("{name} belongs to no definition"));
        }
    }
    Ok(stale)
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GenerateError {
    let path = path.to_owned();
    move |source| GenerateError::File {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_files_are_current() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
        assert_eq!(
            stale(&folder).unwrap(),
            Vec::<String>::new(),
            "run `cargo run -p katalyst-crds --bin crdgen` and commit crds/yaml"
        );
    }
}
