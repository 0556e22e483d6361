//! First inputs for the fuzzer: what kube-scheduler sends, verb by verb, and a pod's whole way. Needs nothing of the extender.

/// Golden questions, and the number of the verb that each is for.
const GOLDEN: [(u8, &str); 8] = [
    (0, include_str!("../golden/filter_names.json")),
    (0, include_str!("../golden/filter_nodes.json")),
    (0, include_str!("../golden/filter_neither.json")),
    (1, include_str!("../golden/filter_unlabelled.json")),
    (2, include_str!("../golden/filter_bad_annotation.json")),
    (3, include_str!("../golden/preempt_meta.json")),
    (3, include_str!("../golden/preempt_objects.json")),
    (4, include_str!("../golden/bind.json")),
];

/// Annotations and resources of pods, as JSON.
const KINDS: [(&str, &str); 8] = [
    (
        r#"{"katalyst.kubewharf.io/qos_level":"reclaimed_cores"}"#,
        r#"{"resource.katalyst.kubewharf.io/reclaimed_millicpu":"500","resource.katalyst.kubewharf.io/reclaimed_memory":"64Mi"}"#,
    ),
    (
        r#"{"katalyst.kubewharf.io/qos_level":"dedicated_cores","katalyst.kubewharf.io/memory_enhancement":"{\"numa_binding\":\"true\",\"numa_exclusive\":\"true\"}"}"#,
        r#"{"cpu":"2","memory":"1Gi"}"#,
    ),
    (
        "{}",
        r#"{"cpu":"100m","resource.katalyst.kubewharf.io/milligpu":"250"}"#,
    ),
    (
        r#"{"katalyst.kubewharf.io/device_enhancement":"{\"gpu_cards\":\"2\",\"nvlink\":\"preferred\",\"gpu_models\":\"H100\"}"}"#,
        r#"{"resource.katalyst.kubewharf.io/milligpu":"500","resource.katalyst.kubewharf.io/gpu_memory":"20Gi"}"#,
    ),
    (
        r#"{"katalyst.kubewharf.io/device_enhancement":"{\"gpu_rdma_affinity\":\"required:switch\",\"rail_order\":\"true\",\"rdma_rails\":\"0-3\"}"}"#,
        r#"{"resource.katalyst.kubewharf.io/milligpu":"2k","resource.katalyst.kubewharf.io/rdma_nic":"2"}"#,
    ),
    (
        r#"{"nvidia.com/use-gputype":"h100","nvidia.com/numa-bind":"true"}"#,
        r#"{"nvidia.com/gpu":"2","nvidia.com/gpumem":"1024","nvidia.com/gpucores":"30"}"#,
    ),
    (
        r#"{"vke.volcengine.com/container-multiple-gpu":"2"}"#,
        r#"{"vke.volcengine.com/mgpu-core":"60","vke.volcengine.com/mgpu-memory":"2048"}"#,
    ),
    (r#"{"katalyst.kubewharf.io/qos_level":"?"}"#, "{}"),
];

/// All of them.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = GOLDEN
        .iter()
        .map(|(verb, body)| request(*verb, body))
        .collect();
    for (annotations, amounts) in KINDS {
        let pod = format!(
            r#"{{"metadata":{{"name":"p","namespace":"n","uid":"u","annotations":{annotations}}},"spec":{{"priority":7,"containers":[{{"name":"main","resources":{{"requests":{amounts},"limits":{amounts}}}}}]}}}}"#
        );
        let asked = format!(
            r#"{{"Pod":{pod},"Nodes":null,"NodeNames":["node-a","node-b","node-c","node-d"]}}"#
        );
        let bind = r#"{"PodName":"p","PodNamespace":"n","PodUID":"u","Node":"node-a"}"#;
        let preempt = format!(
            r#"{{"Pod":{pod},"NodeNameToVictims":null,"NodeNameToMetaVictims":{{"node-a":{{"Pods":[{{"UID":"victim-1"}}],"NumPDBViolations":0}},"node-b":{{"Pods":null}}}}}}"#
        );
        let way = [
            request(0, &asked),
            request(2, &asked),
            request(4, bind),
            request(4, bind),
        ];
        seeds.push(way.join(&u8::MAX));
        seeds.push([request(0, &asked), request(14, bind), request(3, &preempt)].join(&u8::MAX));
    }
    seeds
}

fn request(verb: u8, body: &str) -> Vec<u8> {
    [&[verb], body.trim_end().as_bytes()].concat()
}
