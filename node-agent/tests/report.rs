//! The report on the wire, and the watch on the node's pods.

mod api;

use std::{path::PathBuf, sync::Arc, time::Duration};

use api::{Server, respond, snapshot};
use jiff::Timestamp;
use katalyst_core::{
    qos::{Level, NumaSet},
    units::Millicpu,
};
use katalyst_node_agent::{
    cgroup::PodUid,
    events,
    metrics::AgentMetrics,
    notices::Notices,
    pods::{PodIndex, PodInfo, PodSinks, watch_pods},
    report::{AgentIdentity, Pacing, Publisher, publish},
};
use katalyst_runtime::Health;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn the_report_is_a_forced_apply_of_the_agents_half() {
    let (client, mut server) = Server::new();
    let registry = katalyst_runtime::Metrics::new("test", "0");
    let notices = Notices::new();
    let (ticks, snapshots) = watch::channel(None);
    let (_pods, pods) = watch::channel(Arc::new(PodIndex::from_iter([])));
    let (arrived, mut reported) = watch::channel(None);
    let publisher = Publisher {
        client,
        node: "n1".to_owned(),
        root: PathBuf::from("/nonexistent"),
        agent: AgentIdentity {
            version: "1.2.3".to_owned(),
            started: Timestamp::UNIX_EPOCH,
        },
        pacing: Pacing {
            min: Duration::from_secs(10),
            max: Duration::from_secs(20),
        },
        snapshots,
        pods,
        pools: watch::channel(Arc::default()).1,
        kubelet: PathBuf::from("/nonexistent"),
        sensed: watch::channel(Arc::default()).0,
        arrived,
        notices: notices.clone(),
        metrics: AgentMetrics::register(&registry),
    };
    let stopping = CancellationToken::new();
    let task = tokio::spawn(publish(publisher, stopping.clone()));

    // The controller has not made the object yet.
    ticks.send_replace(Some(Arc::new(snapshot(1_000))));
    let (_, answer) = server.next().await;
    respond(
        answer,
        404,
        r#"{"kind":"Status","apiVersion":"v1","status":"Failure","code":404,"reason":"NotFound","message":"x","metadata":{}}"#,
    );

    // Ticks go on until the pause after the failure has passed.
    let ticking = {
        let ticks = ticks.clone();
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(20));
            loop {
                beat.tick().await;
                ticks.send_replace(Some(Arc::new(snapshot(1_000))));
            }
        })
    };
    let (request, answer) = server.next().await;
    let of_the_api = || {
        let mut texts = notices.texts();
        texts.retain(|text| text.starts_with("api"));
        texts
    };
    assert_eq!(of_the_api().len(), 1, "{:?}", of_the_api());
    assert!(of_the_api()[0].contains("n1 does not exist"));
    assert!(
        notices
            .texts()
            .iter()
            .any(|text| text.starts_with("topology: ")),
        "a root without /sys is told: {:?}",
        notices.texts()
    );
    assert_eq!(request.method(), http::Method::PATCH);
    assert_eq!(
        request.uri().path(),
        "/apis/node.katalyst.kubewharf.io/v1alpha1/customnoderesources/n1/status"
    );
    let query = request.uri().query().unwrap();
    assert!(
        query.contains("fieldManager=katalyst-node-agent") && query.contains("force=true"),
        "{query}"
    );
    assert_eq!(
        request.headers()["content-type"],
        "application/apply-patch+yaml"
    );
    let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(body["metadata"], serde_json::json!({"name": "n1"}));
    assert_eq!(
        body["status"]["nodeMetricStatus"]["reclaimedCeiling"]["cpu"],
        "1"
    );
    assert_eq!(
        body["status"].as_object().unwrap().len(),
        2,
        "topologyZone and nodeMetricStatus only: {body}"
    );
    // Whatever the other half holds is not read.
    respond(
        answer,
        200,
        r#"{"status":{"resources":{"allocatable":"nonsense"}}}"#,
    );

    tokio::time::timeout(Duration::from_secs(10), reported.wait_for(Option::is_some))
        .await
        .unwrap()
        .unwrap();
    assert!(of_the_api().is_empty(), "{:?}", of_the_api());
    ticking.abort();
    stopping.cancel();
    task.await.unwrap().unwrap();
}

/// A machine of one CPU a NUMA node, in a directory.
#[expect(
    clippy::unwrap_used,
    reason = "a fixture of tests: a panic is the test's failure"
)]
fn machine(nodes: &str, cpus: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join("sys/devices/system").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("node/online", nodes);
    write("cpu/online", cpus);
    for id in [0, 1] {
        write(&format!("node/node{id}/cpulist"), &format!("{id}\n"));
        write(
            &format!("node/node{id}/meminfo"),
            &format!("Node {id} MemTotal: 1024 kB\n"),
        );
        write(
            &format!("cpu/cpu{id}/topology/physical_package_id"),
            &format!("{id}\n"),
        );
    }
    root
}

#[tokio::test]
async fn what_is_gone_from_the_machine_is_gone_from_the_next_report() {
    let (client, mut server) = Server::new();
    let root = machine("0-1\n", "0-1\n");
    let (ticks, snapshots) = watch::channel(Some(Arc::new(snapshot(1_000))));
    std::fs::write(
        root.path().join("config.yaml"),
        "topologyManagerPolicy: restricted\n",
    )
    .unwrap();
    let bound = |name: &str, nodes: &str| {
        let mut pod = api::pod(name, Level::Shared, 0);
        pod.asks.numa_bind_result = NumaSet::parse(nodes);
        pod.asks.cpu_request = Millicpu::new(500);
        pod
    };
    let index = PodIndex::from_iter([bound("good", "0"), bound("bad", "7")]);
    let (pod_list, pods) = watch::channel(Arc::new(index));
    let pools = watch::channel(Arc::default()).1;
    let notices = Notices::new();
    let publisher = Publisher {
        client,
        node: "n1".to_owned(),
        root: root.path().to_owned(),
        agent: AgentIdentity {
            version: "1.2.3".to_owned(),
            started: Timestamp::UNIX_EPOCH,
        },
        pacing: Pacing {
            min: Duration::ZERO,
            max: Duration::from_secs(3_600),
        },
        snapshots,
        pods,
        pools,
        kubelet: root.path().to_owned(),
        sensed: watch::channel(Arc::default()).0,
        arrived: watch::channel(None).0,
        notices: notices.clone(),
        metrics: AgentMetrics::register(&katalyst_runtime::Metrics::new("test", "0")),
    };
    let stopping = CancellationToken::new();
    let task = tokio::spawn(publish(publisher, stopping.clone()));
    let ticking = tokio::spawn(async move {
        let mut beat = tokio::time::interval(Duration::from_millis(20));
        loop {
            beat.tick().await;
            ticks.send_replace(Some(Arc::new(snapshot(1_000))));
        }
    });
    let status = |request: &http::Request<Vec<u8>>| {
        let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
        body["status"].clone()
    };

    let (request, answer) = server.next().await;
    let before = status(&request);
    assert_eq!(before["topologyPolicy"], "RestrictedContainerLevel");
    let zones = &before["topologyZone"];
    assert_eq!(zones.as_array().unwrap().len(), 2, "{zones}");
    let node = &zones[0]["children"][0];
    assert_eq!(node["siblings"][0]["name"], "1", "{node}");
    assert_eq!(
        node["allocations"],
        serde_json::json!([{"consumer": "test/good/good", "requests": {"cpu": "500m"}}]),
        "one pod that names a node that is not there costs itself"
    );
    assert!(
        notices.texts().iter().any(|text| text.contains("test/bad")),
        "{:?}",
        notices.texts()
    );
    respond(answer, 200, "{}");

    // The second socket goes offline, the pods end, kubelet's file is gone: no tick asks for a report, the change does. What is not there any
    // more is left out, so that the API server takes it away from the only manager that ever applied it.
    std::fs::remove_file(root.path().join("config.yaml")).unwrap();
    pod_list.send_replace(Arc::new(PodIndex::from_iter([])));
    for (file, text) in [("node/online", "0\n"), ("cpu/online", "0\n")] {
        std::fs::write(root.path().join("sys/devices/system").join(file), text).unwrap();
    }
    // These are written one after the other: a look between them makes a report of its own.
    let mut after = serde_json::Value::Null;
    for _ in 0..4 {
        let (request, answer) = server.next().await;
        after = status(&request);
        respond(answer, 200, "{}");
        let node = &after["topologyZone"][0]["children"][0];
        if node["attributes"][0]["value"] == "0" && node["siblings"].is_null() {
            break;
        }
    }
    assert_eq!(after["topologyPolicy"], serde_json::Value::Null, "{after}");
    let zones = &after["topologyZone"];
    assert_eq!(zones.as_array().unwrap().len(), 1, "{zones}");
    let node = &zones[0]["children"][0];
    assert_eq!(node["attributes"][0]["value"], "0", "{node}");
    for gone in ["siblings", "allocations"] {
        assert_eq!(node[gone], serde_json::Value::Null, "{node}");
    }
    ticking.abort();
    stopping.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn one_malformed_pod_costs_itself_and_not_the_list() {
    let (client, mut server) = Server::new();
    let notices = Notices::new();
    let health = Health::new();
    let (index, mut pods) = watch::channel(Arc::new(PodIndex::default()));
    let (event_sink, _queue) = events::channel();
    let sinks = PodSinks {
        index,
        notices: notices.clone(),
        events: event_sink,
        listed: health.gate("pods"),
    };
    let stopping = CancellationToken::new();
    let task = tokio::spawn({
        let stopping = stopping.clone();
        async move { watch_pods(client, "n1", sinks, stopping).await }
    });

    let (request, answer) = server.next().await;
    assert!(
        request
            .uri()
            .query()
            .unwrap()
            .contains("spec.nodeName%3Dn1"),
        "{}",
        request.uri()
    );
    let list = serde_json::json!({
        "kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "5"},
        "items": [
            {"metadata": {"name": "good", "namespace": "n", "uid": "1", "annotations": {"katalyst.kubewharf.io/qos_level": "reclaimed_cores"}},
             "spec": {"containers": []}},
            {"metadata": {"name": "unreadable", "namespace": "n", "uid": "2"}, "spec": {"containers": "none"}},
            {"metadata": {"name": "odd", "namespace": "n", "uid": "3", "annotations": {"katalyst.kubewharf.io/qos_level": "gold"}},
             "spec": {"containers": []}},
        ],
    });
    respond(answer, 200, &list.to_string());

    let synced = pods.wait_for(|index| index.synced);
    let index = tokio::time::timeout(Duration::from_secs(10), synced)
        .await
        .unwrap()
        .unwrap()
        .clone();
    assert!(
        index
            .get(&PodUid::new("1"))
            .is_some_and(PodInfo::is_reclaimed)
    );
    assert!(index.get(&PodUid::new("2")).is_none());
    assert!(
        index
            .get(&PodUid::new("3"))
            .is_some_and(|pod| !pod.is_reclaimed())
    );
    let texts = notices.texts();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(
        texts[0].contains("gold") && texts[1].contains("n/unreadable"),
        "{texts:?}"
    );
    assert!(health.pending().is_empty());
    stopping.cancel();
    task.await.unwrap().unwrap();
}
