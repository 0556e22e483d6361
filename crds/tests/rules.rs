//! The validation rules of the definitions, each with what it lets pass and what it refuses.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a look-up that fails fails the test"
)]

use std::collections::BTreeSet;

use katalyst_crds::schema;
use kube_cel::Validator;
use rstest::rstest;
use serde_json::{Value, json};

/// The finished schema of a kind, as the API server gets it.
fn schema_of(kind: &str) -> Value {
    let definition = schema::definitions()
        .unwrap()
        .into_iter()
        .find(|d| d.spec.names.kind == kind)
        .unwrap();
    let version = serde_json::to_value(&definition.spec.versions[0]).unwrap();
    version["schema"]["openAPIV3Schema"].clone()
}

/// The messages of the rules that refuse the object.
fn refusals(kind: &str, object: &Value) -> Vec<String> {
    match Validator::new().validate(&schema_of(kind), object, None) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.into_vec().into_iter().map(|e| e.message).collect(),
    }
}

fn cnr(part: &str, value: Value) -> Value {
    let mut object = json!({ "spec": {}, "status": {} });
    let mut place = &mut object;
    for step in part.split('/') {
        place = &mut place[step];
    }
    *place = value;
    object
}

const CPU: &str = "resource.katalyst.kubewharf.io/reclaimed_millicpu";

#[rstest]
#[case::values(json!([{ "propertyName": "arch", "propertyValues": ["amd64"] }]))]
#[case::quantity(json!([{ "propertyName": "bandwidth", "propertyQuantity": 25 }]))]
#[case::both(json!([{ "propertyName": "x", "propertyValues": ["a"], "propertyQuantity": "1" }]))]
fn a_property_with_a_value_passes(#[case] properties: Value) {
    let object = cnr("spec/nodeResourceProperties", properties);
    assert_eq!(
        refusals("CustomNodeResource", &object),
        Vec::<String>::new()
    );
}

#[test]
fn a_property_without_a_value_is_refused() {
    let object = cnr(
        "spec/nodeResourceProperties",
        json!([{ "propertyName": "arch" }]),
    );
    assert_eq!(
        refusals("CustomNodeResource", &object),
        ["a property needs propertyValues or propertyQuantity"]
    );
}

const ABOVE_CAPACITY: &str = "allocatable must not exceed capacity";

#[rstest]
#[case::no_capacity(json!({ "allocatable": { CPU: "4k" } }))]
#[case::other_capacity(json!({ "allocatable": { CPU: "4k" }, "capacity": { "cpu": "1" } }))]
#[case::equal_in_another_notation(json!({ "allocatable": { CPU: "4k" }, "capacity": { CPU: "4000" } }))]
#[case::numbers(json!({ "allocatable": { CPU: 3999 }, "capacity": { CPU: 4000 } }))]
#[case::text_and_number(json!({ "allocatable": { CPU: "4k" }, "capacity": { CPU: 4000 } }))]
#[case::number_and_text(json!({ "allocatable": { CPU: 4000 }, "capacity": { CPU: "4k" } }))]
#[case::nothing(json!({ "allocatable": { CPU: "0" }, "capacity": { CPU: 0 } }))]
fn allocatable_within_capacity_passes(#[case] resources: Value) {
    let object = cnr("status/resources", resources);
    assert_eq!(
        refusals("CustomNodeResource", &object),
        Vec::<String>::new()
    );
}

#[rstest]
#[case::text(json!({ "allocatable": { CPU: "4001" }, "capacity": { CPU: "4k" } }))]
#[case::numbers(json!({ "allocatable": { CPU: 4001 }, "capacity": { CPU: 4000 } }))]
#[case::text_and_number(json!({ "allocatable": { CPU: "5k" }, "capacity": { CPU: 4000 } }))]
#[case::number_and_text(json!({ "allocatable": { CPU: 5000 }, "capacity": { CPU: "4k" } }))]
#[case::memory(json!({ "allocatable": { "memory": "1.1Gi" }, "capacity": { "memory": "1Gi" } }))]
fn allocatable_above_capacity_is_refused(#[case] resources: Value) {
    let object = cnr("status/resources", resources.clone());
    assert_eq!(refusals("CustomNodeResource", &object), [ABOVE_CAPACITY]);
    // The same rule holds for each zone.
    let zones = json!([{ "type": "Socket", "name": "0", "resources": resources }]);
    let object = cnr("status/topologyZone", zones);
    assert_eq!(refusals("CustomNodeResource", &object), [ABOVE_CAPACITY]);
}

#[rstest]
#[case(json!({ "allocatable": { CPU: "-1" } }), "an allocatable amount must not be negative")]
#[case(json!({ "allocatable": { CPU: -1 } }), "an allocatable amount must not be negative")]
#[case(json!({ "capacity": { "memory": "-1Gi" } }), "a capacity must not be negative")]
fn negative_amounts_are_refused(#[case] resources: Value, #[case] message: &str) {
    let object = cnr("status/resources", resources);
    assert_eq!(refusals("CustomNodeResource", &object), [message]);
}

#[rstest]
#[case(json!({ "allocatable": { CPU: "1.5" } }), "allocatable reclaimed_millicpu must be a whole number of thousandths")]
#[case(json!({ "allocatable": { CPU: "500m" } }), "allocatable reclaimed_millicpu must be a whole number of thousandths")]
#[case(json!({ "capacity": { CPU: "0.1" } }), "reclaimed_millicpu of capacity must be a whole number of thousandths")]
fn parts_of_a_thousandth_are_refused(#[case] resources: Value, #[case] message: &str) {
    let object = cnr("status/resources", resources);
    assert_eq!(refusals("CustomNodeResource", &object), [message]);
}

#[test]
fn a_pool_cannot_be_guaranteed_more_than_it_may_have() {
    let pool = |least: &str| json!([{ "poolName": "gpu", "minAllocatable": { "cpu": least }, "maxAllocatable": { "cpu": "2" } }]);
    let object = |least: &str| cnr("status/resources", json!({ "resourcePools": pool(least) }));
    assert_eq!(
        refusals("CustomNodeResource", &object("2")),
        Vec::<String>::new()
    );
    assert_eq!(
        refusals("CustomNodeResource", &object("2100m")),
        ["minAllocatable must not exceed maxAllocatable"]
    );
}

#[rstest]
#[case(json!({ "servicePeak": { "windowSeconds": 60, "filledSeconds": 60 } }), None)]
#[case(json!({ "servicePeak": { "filledSeconds": 60 } }), None)]
#[case(json!({ "servicePeak": { "windowSeconds": 60, "filledSeconds": 61 } }), Some("filledSeconds must not exceed windowSeconds"))]
#[case(json!({ "servicePeak": { "usage": { "cpu": "-1" } } }), Some("a usage must not be negative"))]
#[case(json!({ "reclaimedCeiling": { "cpu": "0" } }), None)]
#[case(json!({ "reclaimedCeiling": { "cpu": "-100m" } }), Some("the ceiling of reclaimed pods must not be negative"))]
#[case(json!({ "capacity": { "cpu": -4 } }), Some("a capacity must not be negative"))]
fn reports(#[case] report: Value, #[case] message: Option<&str>) {
    let object = cnr("status/nodeMetricStatus", report);
    let expected: Vec<_> = message.into_iter().collect();
    assert_eq!(refusals("CustomNodeResource", &object), expected);
}

#[rstest]
#[case(json!({ "offered": "4", "capacity": "4000m", "allocated": 0, "servicePeak": "0" }), None)]
#[case(json!({ "offered": "4" }), None)]
#[case(json!({ "offered": "4001m", "capacity": 4 }), Some("no more can be offered than the machine has"))]
#[case(json!({ "offered": "-1" }), Some("an offer must not be negative"))]
#[case(json!({ "allocated": "-1" }), Some("an allocated amount must not be negative"))]
#[case(json!({ "servicePeak": "-1" }), Some("a usage must not be negative"))]
fn explanations(#[case] explanation: Value, #[case] message: Option<&str>) {
    let expected: Vec<_> = message.into_iter().collect();
    for resource in ["cpu", "memory"] {
        let object = cnr(&format!("status/reclaim/{resource}"), explanation.clone());
        assert_eq!(refusals("CustomNodeResource", &object), expected);
    }
}

#[rstest]
#[case(json!([]), None)]
#[case(json!([{ "indicatorLevel": "LowerBound", "value": 10.5 }]), None)]
#[case(json!([{ "indicatorLevel": "LowerBound", "value": 10.5 }, { "indicatorLevel": "UpperBound", "value": 10.5 }]), None)]
#[case(json!([{ "indicatorLevel": "UpperBound", "value": 10.25 }, { "indicatorLevel": "LowerBound", "value": 10.5 }]), Some("LowerBound must not exceed UpperBound"))]
fn indicator_bounds(#[case] bounds: Value, #[case] message: Option<&str>) {
    let expected: Vec<_> = message.into_iter().collect();
    for list in ["businessIndicator", "systemIndicator"] {
        let object = json!({ "spec": {
            "targetRef": { "kind": "Deployment", "name": "web" },
            list: [{ "name": "RPCLatency", "indicators": bounds }],
        } });
        assert_eq!(refusals("ServiceProfileDescriptor", &object), expected);
    }
}

/// Every message of the schemas, so that a new rule without a test above is noticed.
#[test]
fn every_rule_has_a_message_that_is_tested() {
    fn collect(schema: &Value, messages: &mut BTreeSet<String>) {
        match schema {
            Value::Object(fields) => {
                for rule in fields
                    .get("x-kubernetes-validations")
                    .into_iter()
                    .filter_map(Value::as_array)
                    .flatten()
                {
                    messages.insert(rule["message"].as_str().unwrap().to_owned());
                }
                fields.values().for_each(|value| collect(value, messages));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, messages)),
            _ => {}
        }
    }
    let mut messages = BTreeSet::new();
    for kind in ["CustomNodeResource", "ServiceProfileDescriptor"] {
        collect(&schema_of(kind), &mut messages);
    }
    let source = include_str!("rules.rs");
    let untested: Vec<_> = messages
        .iter()
        .filter(|m| !source.contains(m.as_str()))
        .collect();
    assert_eq!(untested, Vec::<&String>::new());
    assert_eq!(messages.len(), 14);
}
