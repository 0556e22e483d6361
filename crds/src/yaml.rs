//! YAML, behind one module, so that the library that reads and writes it can be changed in one place.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is not the YAML that was expected, or a value could not be written as YAML.
#[derive(Debug, Error)]
#[error("{what}: {source}")]
pub struct YamlError {
    what: String,
    source: serde_yaml::Error,
}

/// Reads one document; `what` names it in the error, for instance a file name.
pub fn read<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, YamlError> {
    serde_yaml::from_str(text).map_err(|source| YamlError {
        what: what.to_owned(),
        source,
    })
}

/// Reads every document of a text that separates them by `---`; empty ones are left out.
pub fn read_all<T: DeserializeOwned>(what: &str, text: &str) -> Result<Vec<T>, YamlError> {
    let named = |source| YamlError {
        what: what.to_owned(),
        source,
    };
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = serde_yaml::Value::deserialize(document).map_err(named)?;
        if !value.is_null() {
            documents.push(serde_yaml::from_value(value).map_err(named)?);
        }
    }
    Ok(documents)
}

/// Writes one document; `what` names it in the error.
pub fn write<T: Serialize>(what: &str, value: &T) -> Result<String, YamlError> {
    serde_yaml::to_string(value).map_err(|source| YamlError {
        what: what.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote() {
        let text = write("numbers", &vec![1, 2]).unwrap();
        assert_eq!(read::<Vec<i32>>("numbers", &text).unwrap(), vec![1, 2]);
    }

    #[test]
    fn reads_every_document_and_skips_empty_ones() {
        let all: Vec<i32> = read_all("numbers", "---\n1\n---\n\n---\n2\n").unwrap();
        assert_eq!(all, vec![1, 2]);
    }

    #[test]
    fn names_the_document_in_the_error() {
        let error = read::<Vec<i32>>("some-file.yaml", "a: b").unwrap_err();
        assert!(error.to_string().starts_with("some-file.yaml: "), "{error}");
    }
}
