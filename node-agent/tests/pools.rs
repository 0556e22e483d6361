//! The pools against fixture trees of both cgroup versions and both drivers: pods in, cpusets out, and back again.

#![expect(
    clippy::unwrap_used,
    reason = "a fixture of tests: a panic is the test's failure"
)]

mod node;

use std::{sync::Arc, time::Duration};

use katalyst_core::{cpu_set::CpuSet, pools::PoolParams, qos::Level};
use katalyst_node_agent::{
    cgroup::PodUid,
    hold::{Records, restore_all},
    metrics::AgentMetrics,
    pods::PodInfo,
    pools::{Pools, PoolsConfig, PoolsView},
    rebind::{RebindConfig, RebindPods},
    reflex::Reflex,
};
use node::{Layout, MIB, Node};
use tokio::sync::watch;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn container_name(layout: Layout) -> String {
    match layout {
        Layout::V1Cgroupfs | Layout::V2Cgroupfs => ID.to_owned(),
        Layout::V1Systemd => format!("cri-containerd-{ID}.scope"),
        Layout::V2Systemd => format!("crio-{ID}.scope"),
    }
}

/// A reflex with pools; `reserved`: CPUs kept for the system.
fn reflex(node: &Node, reserved: Option<&str>) -> Reflex {
    reflex_and_view(node, reserved).0
}

fn reflex_and_view(
    node: &Node,
    reserved: Option<&str>,
) -> (Reflex, watch::Receiver<Arc<PoolsView>>) {
    let mut reflex = node.reflex();
    let metrics = AgentMetrics::register(&katalyst_runtime::Metrics::new("test", "0"));
    let config = PoolsConfig {
        root: node.root().to_owned(),
        kubelet: "/var/lib/kubelet".into(),
        reserved: reserved.map(|cpus| CpuSet::parse(cpus).unwrap()),
        params: PoolParams::default(),
        interval: Duration::from_secs(5),
        isolate: false,
        rebind: RebindConfig::new(node.root().to_owned(), RebindPods::Batch),
    };
    let pools = Pools::new(config, node.notices.clone(), metrics.pools, None);
    let view = pools.view();
    reflex.set_pools(pools);
    (reflex, view)
}

/// What a group's file names where nobody restricts it.
fn free(layout: Layout) -> &'static str {
    if layout.version() == 1 { "0-3" } else { "" }
}

fn run(node: &mut Node, reflex: &mut Reflex) {
    node.run(1_000, &[]);
    node.tick(reflex);
}

#[test]
fn a_node_where_nobody_wishes_anything_has_nothing_written() {
    for layout in Layout::ALL {
        let mut node = Node::with_cpusets(layout);
        node.service("aaaa-1111");
        node.pod("bbbb-2222", Level::Reclaimed, 1_000, 64 * MIB);
        node.container("aaaa-1111", ID);
        let mut reflex = reflex(&node, None);
        for _ in 0..8 {
            run(&mut node, &mut reflex);
        }
        for uid in ["aaaa-1111", "bbbb-2222"] {
            assert_eq!(node.cpus(&node.group_of(uid)), free(layout), "{layout:?}");
        }
        let (records, _) = Records::load(&node.state_dir()).unwrap();
        let pods: Vec<_> = records.pods().into_iter().cloned().collect();
        assert_eq!(
            pods,
            [PodUid::new("bbbb-2222")],
            "only the ceiling's limits"
        );
    }
}

#[test]
fn reserved_cpus_are_kept_free_and_given_back() {
    for layout in Layout::ALL {
        let mut node = Node::with_cpusets(layout);
        node.service("aaaa-1111");
        node.container("aaaa-1111", &container_name(layout));
        let pod = node.group_of("aaaa-1111");
        let container = format!("{pod}/{}", container_name(layout));
        let mut agent = reflex(&node, Some("0"));
        run(&mut node, &mut agent);
        run(&mut node, &mut agent);
        assert_eq!(node.cpus(&pod), "1-3", "{layout:?}");
        // Version 2 inherits.
        let expected = if layout.version() == 1 { "1-3" } else { "" };
        assert_eq!(node.cpus(&container), expected, "{layout:?}");

        // A pod that comes between two passes, before its containers.
        node.service("bbbb-2222");
        assert!(!node.look(&mut agent), "no reason of the ceiling's");
        let late = node.group_of("bbbb-2222");
        assert_eq!(node.cpus(&late), "1-3", "{layout:?}");
        node.container("bbbb-2222", ID);

        // What somebody else wrote is written again.
        node.set_cpus(&pod, "0-3");
        for _ in 0..6 {
            run(&mut node, &mut agent);
        }
        assert_eq!(node.cpus(&pod), "1-3", "{layout:?}");

        // Started without reserved CPUs, it gives them back.
        drop(agent);
        let mut agent = reflex(&node, None);
        run(&mut node, &mut agent);
        run(&mut node, &mut agent);
        for group in [&pod, &container, &late, &format!("{late}/{ID}")] {
            assert_eq!(node.cpus(group), free(layout), "{layout:?}: {group}");
        }
        let notices = node.notices.texts();
        assert!(
            notices
                .iter()
                .all(|text| text.starts_with("kubelet") || text.starts_with("topology")),
            "{layout:?}: {notices:?}"
        );
    }
}

#[test]
fn without_pools_what_pools_wrote_is_put_back() {
    let mut node = Node::with_cpusets(Layout::V1Cgroupfs);
    node.service("aaaa-1111");
    let pod = node.group_of("aaaa-1111");
    let mut with = reflex(&node, Some("0"));
    run(&mut node, &mut with);
    run(&mut node, &mut with);
    assert_eq!(node.cpus(&pod), "1-3");
    drop(with);
    let mut without = node.reflex();
    run(&mut node, &mut without);
    run(&mut node, &mut without);
    assert_eq!(node.cpus(&pod), "0-3");
}

#[test]
fn an_uninstall_puts_everything_back() {
    for layout in Layout::ALL {
        let mut node = Node::with_cpusets(layout);
        node.service("aaaa-1111");
        node.pod("bbbb-2222", Level::Reclaimed, 1_000, 64 * MIB);
        node.container("aaaa-1111", ID);
        let mut agent = reflex(&node, Some("0"));
        run(&mut node, &mut agent);
        run(&mut node, &mut agent);
        // The runtime copies the set of then.
        node.container("bbbb-2222", ID);
        drop(agent);
        let (mut records, _) = Records::load(&node.state_dir()).unwrap();
        let restored = restore_all(&node.hierarchy(), &mut records).unwrap();
        assert!(restored.problems.is_empty(), "{:?}", restored.problems);
        for uid in ["aaaa-1111", "bbbb-2222"] {
            let pod = node.group_of(uid);
            for group in [&pod, &format!("{pod}/{ID}")] {
                assert_eq!(node.cpus(group), free(layout), "{layout:?}: {group}");
            }
        }
        assert_eq!(node.files("bbbb-2222"), node.fresh_files());
    }
}

#[test]
fn what_kubelet_gave_away_is_left_alone() {
    for layout in [Layout::V1Cgroupfs, Layout::V2Systemd] {
        let mut node = Node::with_cpusets(layout);
        node.write_file(
            "var/lib/kubelet/cpu_manager_state",
            r#"{"policyName":"static","defaultCpuSet":"0-1","entries":{"aaaa-1111":{"c":"2-3"}},"checksum":1}"#,
        );
        node.service("aaaa-1111");
        node.service("bbbb-2222");
        for (uid, cpus) in [("aaaa-1111", "2-3"), ("bbbb-2222", "0-1")] {
            node.container(uid, ID);
            node.set_cpus(&format!("{}/{ID}", node.group_of(uid)), cpus);
        }
        // Of what kubelet gives to all, one more CPU is reserved here.
        let mut agent = reflex(&node, Some("0"));
        run(&mut node, &mut agent);
        run(&mut node, &mut agent);
        let cpus = |uid: &str| {
            let pod = node.group_of(uid);
            (node.cpus(&pod), node.cpus(&format!("{pod}/{ID}")))
        };
        let kept = (free(layout).to_owned(), "2-3".to_owned());
        assert_eq!(cpus("aaaa-1111"), kept, "{layout:?}");
        // Version 1 refuses the set that kubelet names for a new container where the pod's group is narrower.
        let pod = if layout.version() == 1 { "0-3" } else { "1" };
        let shared = (pod.to_owned(), "1".to_owned());
        assert_eq!(cpus("bbbb-2222"), shared, "{layout:?}");
        let notices = node.notices.texts().join("\n");
        assert!(notices.contains("static: 1 pods keep"), "{notices}");

        drop(agent);
        let (mut records, _) = Records::load(&node.state_dir()).unwrap();
        restore_all(&node.hierarchy(), &mut records).unwrap();
        let before = (free(layout).to_owned(), "0-1".to_owned());
        assert_eq!(cpus("bbbb-2222"), before, "{layout:?}");
    }
}

#[test]
fn a_pod_that_only_the_runtime_knows_has_its_room_at_once() {
    let mut node = Node::with_cpusets(Layout::V2Cgroupfs);
    let (mut agent, view) = reflex_and_view(&node, Some("0"));
    run(&mut node, &mut agent);
    run(&mut node, &mut agent);
    node.group("aaaa-1111", "besteffort");
    let annotations = [("katalyst.kubewharf.io/qos_level", "reclaimed_cores")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let pod = PodInfo::from_annotations(PodUid::new("aaaa-1111"), "n", "p", &annotations);
    agent.admit(&node.turn(), pod);
    assert_eq!(node.cpus(&node.group_of("aaaa-1111")), "1-3");
    assert_ne!(
        node.knob("aaaa-1111", "cpu.max"),
        "max 100000",
        "it is held"
    );
    // The API server never told of it. Its group goes, and with it its place, long before the runtime removes its sandbox.
    let uid = PodUid::new("aaaa-1111");
    assert!(view.borrow().pods.contains_key(&uid));
    node.remove("aaaa-1111");
    for _ in 0..6 {
        run(&mut node, &mut agent);
    }
    assert!(!view.borrow().pods.contains_key(&uid));
}

#[test]
fn without_a_complete_list_of_pods_nothing_is_placed() {
    let mut node = Node::with_cpusets(Layout::V2Cgroupfs);
    node.service("aaaa-1111");
    node.index.synced = false;
    let mut agent = reflex(&node, Some("0"));
    run(&mut node, &mut agent);
    run(&mut node, &mut agent);
    assert_eq!(node.cpus(&node.group_of("aaaa-1111")), "");
}

#[test]
fn without_the_controller_pools_are_off_and_say_so() {
    let mut node = Node::new(Layout::V2Cgroupfs);
    node.service("aaaa-1111");
    let mut agent = reflex(&node, Some("0"));
    run(&mut node, &mut agent);
    run(&mut node, &mut agent);
    let notices = node.notices.texts().join("\n");
    assert!(notices.contains("cpuset controller"), "{notices}");
}
