//! The record of devices that the scheduler chose for a pod: the annotation
//! [`DEVICE_ALLOCATION`](crate::constants::annotation::DEVICE_ALLOCATION), written in the Binding and read by the node.
//!
//! ```json
//! {"containers": {"main": {
//!   "gpus": [{"uuid": "GPU-8f6d…", "index": 0, "percent": 50, "memoryMiB": 8192, "devices": ["/dev/nvidia0"]}],
//!   "nics": [{"name": "mlx5_0", "interface": "eth1", "devices": ["/dev/infiniband/uverbs0"]}]}}}
//! ```
//!
//! A card is named by its UUID, because an index changes when a card is lost; the index is for people and for cards without a UUID.
//! `percent` and `memoryMiB` are the part of the card that the pod may use; both absent for a whole card. `percent` 0 promises memory and no compute.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::constants::annotation;

/// Devices of a pod's containers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceAllocation {
    /// By the container's name.
    pub containers: BTreeMap<String, ContainerDevices>,
}

/// Devices of one container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerDevices {
    /// GPUs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<AllocatedGpu>,
    /// Network and RDMA cards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<AllocatedNic>,
}

/// A GPU, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocatedGpu {
    /// The card's own name, such as `GPU-8f6d…`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// Its number on the node when it was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// Part of its compute, 0 to 100; the whole where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// Part of its memory; the whole where absent.
    #[serde(default, rename = "memoryMiB", skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// Device nodes to put into the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
}

/// A network or RDMA card.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocatedNic {
    /// The RDMA device, such as `mlx5_0`, or the interface where there is none.
    pub name: String,
    /// Its network interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Device nodes to put into the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
}

/// A record that means nothing.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// Not the JSON described.
    #[error("annotation {}", annotation::DEVICE_ALLOCATION)]
    Json(#[from] serde_json::Error),
    /// A value that names no device.
    #[error(
        "annotation {}: container {container}: {field} is {value:?}, not {expected}",
        annotation::DEVICE_ALLOCATION
    )]
    Value {
        /// Container.
        container: String,
        /// Field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl DeviceAllocation {
    /// Reads the annotation; `None` where there is none.
    ///
    /// # Errors
    ///
    /// The field that means nothing. No part of such a record is used: half of what a job was given is not what it was given.
    pub fn parse(annotations: &BTreeMap<String, String>) -> Result<Option<Self>, DeviceError> {
        let Some(text) = annotations.get(annotation::DEVICE_ALLOCATION) else {
            return Ok(None);
        };
        let allocation: Self = serde_json::from_str(text)?;
        for (container, devices) in &allocation.containers {
            devices.check(container)?;
        }
        Ok(Some(allocation))
    }
}

impl ContainerDevices {
    fn check(&self, container: &str) -> Result<(), DeviceError> {
        let wrong = |field, value: &str, expected| DeviceError::Value {
            container: container.to_owned(),
            field,
            value: value.chars().take(80).collect(),
            expected,
        };
        for gpu in &self.gpus {
            if !gpu.uuid.bytes().all(is_name_byte) || (gpu.uuid.is_empty() && gpu.index.is_none()) {
                return Err(wrong("gpus.uuid", &gpu.uuid, "a card's UUID"));
            }
            if let Some(percent) = gpu.percent.filter(|percent| *percent > 100) {
                let value = percent.to_string();
                return Err(wrong("gpus.percent", &value, "0 to 100"));
            }
        }
        let paths = (self.gpus.iter().flat_map(|gpu| &gpu.devices))
            .chain(self.nics.iter().flat_map(|nic| &nic.devices));
        for path in paths {
            if !is_device_path(path) {
                return Err(wrong("devices", path, "a path below /dev"));
            }
        }
        Ok(())
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b':')
}

/// Below `/dev`, without a way out of it.
fn is_device_path(path: &str) -> bool {
    path.strip_prefix("/dev/").is_some_and(|rest| {
        !rest.is_empty()
            && rest.bytes().all(is_name_byte)
            && rest.split('/').all(|part| !matches!(part, "" | "." | ".."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<DeviceAllocation>, DeviceError> {
        DeviceAllocation::parse(&BTreeMap::from([(
            annotation::DEVICE_ALLOCATION.to_owned(),
            text.to_owned(),
        )]))
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = r#"{"containers":{"main":{"gpus":[{"uuid":"GPU-8f6d-1","index":0,"percent":50,"memoryMiB":8192,"devices":["/dev/nvidia0"]}],"nics":[{"name":"mlx5_0","interface":"eth1","devices":["/dev/infiniband/uverbs0"]}]}}}"#;
        let allocation = parse(text).unwrap().unwrap();
        assert_eq!(
            allocation.containers["main"].gpus[0].memory_mib,
            Some(8_192)
        );
        assert_eq!(serde_json::to_string(&allocation).unwrap(), text);
        assert_eq!(DeviceAllocation::parse(&BTreeMap::new()).unwrap(), None);
    }

    #[test]
    fn what_means_nothing_is_named() {
        for (devices, named) in [
            (r#"{"gpus":[{"uuid":"GPU 1"}]}"#, "gpus.uuid"),
            (r#"{"gpus":[{}]}"#, "gpus.uuid"),
            (r#"{"gpus":[{"index":0,"percent":101}]}"#, "gpus.percent"),
            (
                r#"{"gpus":[{"index":0,"devices":["/dev/../etc/shadow"]}]}"#,
                "devices",
            ),
            (r#"{"nics":[{"name":"a","devices":["/dev/"]}]}"#, "devices"),
        ] {
            let text = format!(r#"{{"containers":{{"c":{devices}}}}}"#);
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(named), "{devices}: {error}");
        }
        assert!(matches!(parse("[]"), Err(DeviceError::Json(_))));
    }
}
