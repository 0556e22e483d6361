//! Server-side apply of one writer's half of a CNR's status.

use kube::Resource;
use serde_json::{Value, json};

use super::{CustomNodeResource, CustomNodeResourceStatus};

impl CustomNodeResource {
    /// The body of a server-side apply to the status subresource of the CNR of that name. Set in `status` only
    /// the fields the writer owns: applying a field takes it over, leaving one out gives it up.
    ///
    /// # Errors
    ///
    /// A number in an extension of the topology that JSON cannot hold.
    pub fn status_patch(
        name: &str,
        status: &CustomNodeResourceStatus,
    ) -> Result<Value, serde_json::Error> {
        Ok(json!({
            "apiVersion": Self::api_version(&()),
            "kind": Self::kind(&()),
            "metadata": { "name": name },
            "status": serde_json::to_value(status)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_holds_only_what_was_set() {
        let status = CustomNodeResourceStatus {
            topology_policy: Some("None".to_owned()),
            ..CustomNodeResourceStatus::default()
        };
        assert_eq!(
            CustomNodeResource::status_patch("node-1", &status).unwrap(),
            json!({
                "apiVersion": "node.katalyst.kubewharf.io/v1alpha1",
                "kind": "CustomNodeResource",
                "metadata": { "name": "node-1" },
                "status": { "topologyPolicy": "None" },
            })
        );
    }
}
