//! What a pod on a node holds of it: what it requests, and where the record in its annotations says that this lies.
//!
//! What cannot be read is told by the caller and counts for nothing; requests cannot change and always count.

use k8s_openapi::api::core::v1::Pod;
use katalyst_core::placement::Allocation;
use katalyst_crds::translate::placement::allocation;

/// What the pod holds, and what is wrong with what it says.
pub fn held(pod: &Pod) -> (Allocation, Option<String>) {
    let (allocation, errors) = allocation(pod);
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let defect = (!errors.is_empty()).then(|| errors.join("; "));
    (allocation, defect)
}
