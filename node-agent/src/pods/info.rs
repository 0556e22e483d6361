//! One pod, trimmed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use katalyst_core::{
    qos::{Level, PodQos},
    reclaimed::Reclaimed,
};
use katalyst_crds::translate;

use super::asks::Asks;
use crate::cgroup::PodUid;

/// kubelet writes a static pod's hash here; it names the pod's group.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";
/// A mirror object stands for a static pod.
const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";
/// Lowest priority of `system-cluster-critical` and `system-node-critical`.
const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// What the agent keeps of a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct PodInfo {
    /// UID that kubelet uses for the pod's group.
    pub uid: PodUid,
    /// UID of the object.
    pub object_uid: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Katalyst's quality-of-service level; `shared_cores` where the annotation is missing or malformed.
    pub level: Level,
    /// Reclaimed resources asked for; zero where an amount cannot be read.
    pub requests: Reclaimed,
    /// What it asks of CPUs, memory nodes and devices.
    pub asks: Asks,
    /// What is malformed: annotation or amount, key and value.
    pub problems: Vec<String>,
    /// Kubernetes priority.
    pub priority: i32,
    /// When kubelet acknowledged it.
    pub started: Option<Timestamp>,
    /// Deletion was asked for.
    pub terminating: bool,
    /// Its containers ended for good.
    pub finished: bool,
    /// Never a victim of eviction: of a DaemonSet, static, mirror, critical, or `system_cores`.
    pub protected: bool,
}

impl PodInfo {
    /// Trims a pod. `None` for an object without name or UID, which no API server sends.
    pub fn from_pod(pod: &Pod) -> Option<Self> {
        let metadata = &pod.metadata;
        let annotations = metadata.annotations.clone().unwrap_or_default();
        let object_uid = metadata.uid.clone()?;
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        let parsed = translate::qos(pod);
        let level = parsed.qos.level;
        let mut problems: Vec<String> = parsed.errors.iter().map(ToString::to_string).collect();
        let requests = translate::requests(pod).unwrap_or_else(|error| {
            problems.push(crate::chain(&error));
            Reclaimed::ZERO
        });
        let asks = Asks::from_pod(pod, &parsed.qos, &mut problems);
        let priority = spec.and_then(|spec| spec.priority).unwrap_or(0);
        let of_daemon_set = metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| owner.controller == Some(true) && owner.kind == "DaemonSet");
        let is_static = annotations.contains_key(CONFIG_MIRROR);
        Some(Self {
            uid: PodUid::new(
                annotations
                    .get(CONFIG_HASH)
                    .filter(|_| is_static)
                    .unwrap_or(&object_uid),
            ),
            object_uid,
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone()?,
            level,
            requests,
            asks,
            problems,
            priority,
            started: status
                .and_then(|status| status.start_time.as_ref())
                .map(|time| time.0),
            terminating: metadata.deletion_timestamp.is_some(),
            finished: translate::is_terminal(pod),
            protected: of_daemon_set
                || is_static
                || priority >= CRITICAL_PRIORITY
                || level == Level::System,
        })
    }

    /// A pod of which only the annotations are known: the container runtime starts it and the API server has not told of it yet.
    pub fn from_annotations(
        uid: PodUid,
        namespace: &str,
        name: &str,
        annotations: &BTreeMap<String, String>,
    ) -> Self {
        let parsed = PodQos::parse(annotations);
        let mut problems: Vec<String> = parsed.errors.iter().map(ToString::to_string).collect();
        let asks = Asks::from_annotations(annotations, &parsed.qos, &mut problems);
        Self {
            object_uid: uid.as_str().to_owned(),
            uid,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            level: parsed.qos.level,
            requests: Reclaimed::ZERO,
            asks,
            problems,
            priority: 0,
            started: None,
            terminating: false,
            finished: false,
            protected: false,
        }
    }

    /// Whether the agent holds it.
    pub fn is_reclaimed(&self) -> bool {
        self.level == Level::Reclaimed
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(json: serde_json::Value) -> PodInfo {
        PodInfo::from_pod(&serde_json::from_value(json).unwrap()).unwrap()
    }

    #[test]
    fn a_reclaimed_pod() {
        let info = pod(serde_json::json!({
            "metadata": {"name": "b", "namespace": "n", "uid": "1-2",
                "annotations": {"katalyst.kubewharf.io/qos_level": "reclaimed_cores"}},
            "spec": {"priority": 7, "containers": [{"name": "c", "resources": {"requests": {
                "resource.katalyst.kubewharf.io/reclaimed_millicpu": "2k"}}}]},
            "status": {"phase": "Running", "startTime": "2026-11-20T10:00:00Z"},
        }));
        assert!(
            info.is_reclaimed() && !info.protected && !info.finished && info.problems.is_empty()
        );
        assert_eq!(info.requests.cpu.get(), 2000);
        assert_eq!(
            (info.full_name().as_str(), info.uid.as_str(), info.priority),
            ("n/b", "1-2", 7)
        );
    }

    #[test]
    fn a_malformed_level_is_shared_and_named() {
        let info = pod(serde_json::json!({
            "metadata": {"name": "b", "namespace": "n", "uid": "1",
                "annotations": {"katalyst.kubewharf.io/qos_level": "reclaimed"}},
            "spec": {"containers": []},
        }));
        assert!(!info.is_reclaimed());
        assert!(
            info.problems[0].contains("reclaimed"),
            "{:?}",
            info.problems
        );
    }

    #[test]
    fn an_amount_that_cannot_be_read_is_named() {
        let info = pod(serde_json::json!({
            "metadata": {"name": "b", "namespace": "n", "uid": "1",
                "annotations": {"katalyst.kubewharf.io/qos_level": "reclaimed_cores"}},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {
                "resource.katalyst.kubewharf.io/reclaimed_memory": "lots"}}}]},
        }));
        assert!(info.is_reclaimed() && info.requests.is_zero());
        assert!(info.problems[0].contains("lots"), "{:?}", info.problems);
    }

    #[test]
    fn a_mirror_pods_group_has_the_hash() {
        let info = pod(serde_json::json!({
            "metadata": {"name": "etcd", "namespace": "kube-system", "uid": "object",
                "annotations": {"kubernetes.io/config.hash": "0f0f", "kubernetes.io/config.mirror": "0f0f"}},
            "spec": {"containers": []},
        }));
        assert_eq!(
            (info.uid.as_str(), info.object_uid.as_str()),
            ("0f0f", "object")
        );
        assert!(info.protected);
    }

    #[test]
    fn daemons_are_protected() {
        let info = pod(serde_json::json!({
            "metadata": {"name": "d", "uid": "1", "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "x", "uid": "2", "controller": true}]},
            "spec": {"containers": []},
        }));
        assert!(info.protected);
    }
}
