//! The parts of the schemas that are no rules: enums, list keys, ranges, defaults, bounds; and what they owe to Katalyst.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a look-up that fails fails the test"
)]

use katalyst_core::qos::Level;
use katalyst_crds::constants::zone;
use katalyst_crds::node::CustomNodeResource;
use katalyst_crds::workload::ServiceProfileDescriptor;
use katalyst_crds::{schema, yaml};
use rstest::rstest;
use serde_json::{Value, json};

fn definition(kind: &str) -> Value {
    let all = serde_json::to_value(schema::definitions().unwrap()).unwrap();
    let found = all
        .as_array()
        .unwrap()
        .iter()
        .find(|d| d["spec"]["names"]["kind"] == kind);
    found.unwrap().clone()
}

/// The schema of a field, given as `status.topologyZone[].type`.
fn field(kind: &str, path: &str) -> Value {
    let mut place = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    for step in path.split('.') {
        let name = step.trim_end_matches("[]");
        place = place["properties"][name].clone();
        if step.ends_with("[]") {
            place = place["items"].clone();
        }
    }
    assert!(place.is_object(), "{kind} has no {path}");
    place
}

const CNR: &str = "CustomNodeResource";
const SPD: &str = "ServiceProfileDescriptor";

#[rstest]
#[case("spec.taints[].qosLevel")]
#[case("status.nodeMetricStatus.groupMetric[].QoSLevel")]
fn levels_are_the_four(#[case] path: &str) {
    let mut names: Vec<_> = Level::ALL.map(Level::as_str).into();
    names.sort_unstable();
    let mut allowed: Vec<String> =
        serde_json::from_value(field(CNR, path)["enum"].clone()).unwrap();
    allowed.sort_unstable();
    assert_eq!(allowed, names);
}

#[rstest]
#[case("status.topologyZone[].type")]
#[case("status.topologyZone[].siblings[].type")]
fn zones_are_the_known_kinds(#[case] path: &str) {
    assert_eq!(field(CNR, path)["enum"], json!(zone::ALL));
}

#[test]
fn the_topology_policy_defaults_to_what_its_values_know() {
    let policy = field(CNR, "status.topologyPolicy");
    assert_eq!(policy["default"], json!("None"));
    assert!(
        policy["enum"]
            .as_array()
            .unwrap()
            .contains(&policy["default"])
    );
}

#[rstest]
#[case(CNR, "spec.nodeResourceProperties", &["propertyName"])]
#[case(CNR, "spec.taints", &["key", "effect", "qosLevel"])]
#[case(CNR, "status.conditions", &["type"])]
#[case(CNR, "status.topologyZone", &["type", "name"])]
#[case(CNR, "status.topologyZone[].siblings", &["type", "name"])]
#[case(CNR, "status.topologyZone[].attributes", &["name"])]
#[case(CNR, "status.topologyZone[].allocations", &["consumer"])]
#[case(CNR, "status.resources.resourcePackages", &["packageName"])]
#[case(CNR, "status.resources.resourcePools", &["poolName"])]
#[case(CNR, "status.nodeMetricStatus.groupMetric", &["QoSLevel"])]
#[case(CNR, "status.nodeMetricStatus.groupMetric[].numaUsage", &["numaId"])]
#[case(CNR, "status.nodeMetricStatus.nodeMetric.numaUsage", &["numaId"])]
#[case(SPD, "spec.extendedIndicator", &["name"])]
#[case(SPD, "spec.businessIndicator", &["name"])]
#[case(SPD, "spec.businessIndicator[].indicators", &["indicatorLevel"])]
#[case(SPD, "spec.systemIndicator", &["name"])]
#[case(SPD, "status.businessStatus", &["name"])]
fn lists_have_keys(#[case] kind: &str, #[case] path: &str, #[case] keys: &[&str]) {
    let list = field(kind, path);
    assert_eq!(list["x-kubernetes-list-type"], json!("map"));
    assert_eq!(list["x-kubernetes-list-map-keys"], json!(keys));
    // A key must be there in every item.
    let required = list["items"]["required"].as_array().unwrap();
    assert!(
        keys.iter().all(|key| required.contains(&json!(key))),
        "{path}"
    );
}

#[rstest]
#[case("spec.baselinePercent")]
#[case("spec.extendedIndicator[].baselinePercent")]
fn baselines_are_percents(#[case] path: &str) {
    let percent = field(SPD, path);
    assert_eq!(percent["minimum"].as_f64(), Some(0.0));
    assert_eq!(percent["maximum"].as_f64(), Some(100.0));
}

#[test]
fn zones_below_the_first_level_are_not_validated() {
    assert_eq!(
        field(CNR, "status.topologyZone[].children"),
        json!({ "x-kubernetes-preserve-unknown-fields": true, "description": field(CNR, "status.topologyZone[].children")["description"] })
    );
}

/// What a schema does not require, an apply of one half may leave out.
#[test]
fn no_half_of_a_status_requires_the_other() {
    assert_eq!(field(CNR, "status").get("required"), None);
    assert_eq!(field(CNR, "spec").get("required"), None);
    assert_eq!(field(CNR, "spec")["default"], json!({}));
    // An SPD without a target is about nothing, so its `spec` has no default.
    assert_eq!(field(SPD, "spec")["required"], json!(["targetRef"]));
    assert_eq!(field(SPD, "spec").get("default"), None);
}

#[rstest]
#[case(CNR, "customnoderesources.node.katalyst.kubewharf.io", "Cluster", &["kcnr", "cnr"])]
#[case(SPD, "serviceprofiledescriptors.workload.katalyst.kubewharf.io", "Namespaced", &["spd", "serviceprofile"])]
fn names(#[case] kind: &str, #[case] name: &str, #[case] scope: &str, #[case] short: &[&str]) {
    let definition = definition(kind);
    assert_eq!(definition["metadata"]["name"], json!(name));
    assert_eq!(definition["spec"]["scope"], json!(scope));
    assert_eq!(definition["spec"]["names"]["shortNames"], json!(short));
    let version = &definition["spec"]["versions"][0];
    assert_eq!(version["name"], json!("v1alpha1"));
    assert_eq!(version["subresources"]["status"], json!({}));
}

/// Lists without an end and quantities without a length would cost too much for the API server's estimate of the rules.
#[test]
fn every_list_and_every_quantity_is_bounded() {
    fn walk(path: &str, schema: &Value) {
        if schema["type"] == "array" {
            assert!(schema["maxItems"].is_number(), "{path}");
        }
        if schema["x-kubernetes-int-or-string"] == true {
            assert!(schema["maxLength"].is_number(), "{path}");
        }
        if schema["additionalProperties"].is_object() {
            assert!(schema["maxProperties"].is_number(), "{path}");
            walk(&format!("{path}[*]"), &schema["additionalProperties"]);
        }
        if schema["items"].is_object() {
            walk(&format!("{path}[]"), &schema["items"]);
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), field);
        }
    }
    for kind in [CNR, SPD] {
        let schema = &definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        walk(kind, schema);
    }
}

/// An object in the shape that Katalyst's agents and controllers write.
const KATALYST_CNR: &str = r#"
apiVersion: node.katalyst.kubewharf.io/v1alpha1
kind: CustomNodeResource
metadata: {name: node-1, labels: {pool: batch}}
spec:
  nodeResourceProperties:
  - {propertyName: numa_count, propertyQuantity: 2}
  - {propertyName: cis, propertyValues: [avx2, avx512]}
  taints:
  - {key: node.katalyst.kubewharf.io/CPUPressure, effect: NoSchedule, qosLevel: reclaimed_cores, timeAdded: null}
status:
  resources:
    allocatable: {resource.katalyst.kubewharf.io/reclaimed_millicpu: 4k, resource.katalyst.kubewharf.io/reclaimed_memory: 8Gi}
    capacity: {resource.katalyst.kubewharf.io/reclaimed_millicpu: 4000, resource.katalyst.kubewharf.io/reclaimed_memory: 8Gi}
  topologyPolicy: none
  topologyZone:
  - type: Socket
    name: "0"
    resources: {}
    children:
    - type: Numa
      name: "0"
      resources: {allocatable: {cpu: "24", memory: 96Gi}}
      allocations: [{consumer: default/web/uid-1, requests: {cpu: "2"}}]
      siblings: [{type: Numa, name: "1", attributes: [{name: numa_distance, value: "20"}]}]
  conditions:
  - {type: AgentReady, status: "True", lastHeartbeatTime: 2026-01-01T00:00:00Z, reason: "", message: ""}
  nodeMetricStatus:
    updateTime: 2026-01-01T00:00:00Z
    nodeMetric: {numaUsage: [{numaId: 0, usage: {cpu: "1", memory: 1Gi}}], genericUsage: {cpu: "1", memory: 1Gi}}
    groupMetric: [{QoSLevel: shared_cores, genericUsage: {cpu: "1"}, podList: [default/web]}]
"#;

#[test]
fn an_object_katalyst_writes_is_read_whole_and_written_the_same() {
    let given: Value = yaml::read("cnr", KATALYST_CNR).unwrap();
    let cnr: CustomNodeResource = serde_json::from_value(given.clone()).unwrap();
    let written = serde_json::to_value(&cnr).unwrap();
    // Numbers become text and an absent time goes away; nothing else changes.
    let mut expected = given;
    expected["spec"]["nodeResourceProperties"][0]["propertyQuantity"] = json!("2");
    expected["spec"]["taints"][0]
        .as_object_mut()
        .unwrap()
        .remove("timeAdded");
    expected["status"]["resources"]["capacity"]["resource.katalyst.kubewharf.io/reclaimed_millicpu"] =
        json!("4000");
    assert_eq!(written, expected);
}

#[test]
fn children_that_are_no_zones_do_not_make_the_object_unreadable() {
    let cnr: CustomNodeResource = serde_json::from_value(json!({
        "apiVersion": "node.katalyst.kubewharf.io/v1alpha1",
        "kind": "CustomNodeResource",
        "metadata": { "name": "node-1" },
        "spec": {},
        "status": { "topologyZone": [{ "type": "Socket", "name": "0", "children": [{ "speed": 3 }] }] },
    }))
    .unwrap();
    assert!(
        cnr.status.unwrap().topology_zone[0]
            .children
            .zones()
            .is_empty()
    );
}

const KATALYST_SPD: &str = r"
apiVersion: workload.katalyst.kubewharf.io/v1alpha1
kind: ServiceProfileDescriptor
metadata: {name: web, namespace: default}
spec:
  targetRef: {kind: Deployment, name: web, apiVersion: apps/v1}
  baselinePercent: 10
  extendedIndicator:
  - {name: TransparentMemoryOffloading, baselinePercent: 0, indicators: {apiVersion: config.katalyst.kubewharf.io/v1alpha1, config: {enableTMO: true}}}
  businessIndicator: [{name: RPCLatency, indicators: [{indicatorLevel: LowerBound, value: 100.5}, {indicatorLevel: UpperBound, value: 200.0}]}]
  systemIndicator: [{name: cpu_sched_wait, indicators: [{indicatorLevel: UpperBound, value: 460.0}]}]
status:
  aggMetrics:
  - {aggregator: avg, scope: recommender, items: [{timestamp: 2026-01-01T00:00:00Z, window: 1h0m0s, containers: [{name: web, usage: {cpu: 500m}}]}]}
  businessStatus: [{name: RPCLatency, current: 90.5}]
";

#[test]
fn a_profile_katalyst_writes_is_read_whole_and_written_the_same() {
    let given: Value = yaml::read("spd", KATALYST_SPD).unwrap();
    let spd: ServiceProfileDescriptor = serde_json::from_value(given.clone()).unwrap();
    let written = serde_json::to_value(&spd).unwrap();
    assert_eq!(written, given);
}
