//! The memset binder against fixture trees: a NUMA node runs out of memory, a batch pod leaves it, and comes to have all nodes again.

mod node;

use std::{sync::Arc, time::Duration};

use katalyst_core::{pools::PoolParams, qos::Level, units::Bytes};
use katalyst_node_agent::{
    hold::{Knob, Records, restore_all},
    metrics::AgentMetrics,
    pools::{Pools, PoolsConfig, PoolsView},
    rebind::{RebindConfig, RebindPods},
    reflex::{Reflex, ReflexConfig},
};
use node::{Layout, MIB, Node};
use tokio::sync::watch;

const BATCH: &str = "bbbb-2222";
const SERVICE: &str = "aaaa-1111";
const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

type View = watch::Receiver<Arc<PoolsView>>;

/// A node whose first half is nearly full: a service has 200 MiB of it, a batch pod 256 MiB.
fn hot(layout: Layout) -> Node {
    let mut node = Node::with_memory_nodes(layout);
    node.service(SERVICE);
    node.pod(BATCH, Level::Reclaimed, 1_000, 2_048 * MIB);
    node.container(BATCH, CONTAINER);
    node.memory_on_nodes(SERVICE, [200, 0]);
    node.memory_on_nodes(BATCH, [256, 8]);
    node.free_on_node(0, 50);
    node.free_on_node(1, 3_072);
    node
}

fn agent(node: &Node, pods: RebindPods, change: impl FnOnce(&mut ReflexConfig)) -> (Reflex, View) {
    let mut reflex = node.reflex_with(change);
    let metrics = AgentMetrics::register(&katalyst_runtime::Metrics::new("test", "0"));
    let config = PoolsConfig {
        root: node.root().to_owned(),
        kubelet: "/var/lib/kubelet".into(),
        reserved: None,
        params: PoolParams::default(),
        interval: Duration::from_secs(5),
        isolate: false,
        rebind: RebindConfig::new(node.root().to_owned(), pods),
    };
    let pools = Pools::new(config, node.notices.clone(), metrics.pools, None);
    let view = pools.view();
    reflex.set_pools(pools);
    (reflex, view)
}

fn run(node: &mut Node, agent: &mut Reflex, seconds: u64) {
    for _ in 0..seconds {
        node.run(1_000, &[]);
        node.tick(agent);
    }
}

/// Memory nodes of a pod's group and of its container's.
fn mems(node: &Node, uid: &str) -> String {
    let group = node.group_of(uid);
    let own = node.mems(&group);
    let container = format!("{group}/{CONTAINER}");
    if uid == BATCH {
        format!("{own} {}", node.mems(&container))
    } else {
        own
    }
}

fn free(layout: Layout) -> &'static str {
    if layout.version() == 1 { "0-1" } else { "" }
}

#[test]
fn a_batch_pod_leaves_a_hot_node_and_comes_back_when_it_is_cool() {
    for layout in [Layout::V1Cgroupfs, Layout::V2Systemd] {
        let mut node = hot(layout);
        let before = mems(&node, BATCH);
        let (mut reflex, view) = agent(&node, RebindPods::Batch, |_| {});
        run(&mut node, &mut reflex, 4);
        let moved = if layout.version() == 1 { "1 1" } else { "1 " };
        assert_eq!(mems(&node, BATCH).trim(), moved.trim(), "{layout:?}");
        assert_eq!(mems(&node, SERVICE), free(layout), "{layout:?}");
        let seen = view.borrow().rebind.clone();
        assert_eq!(seen.plan.changes.len(), 1, "{seen:?}");
        assert!(seen.under_way.is_some() && seen.away.len() == 1);
        assert!(seen.nodes.iter().any(|of| of.node == 0 && of.hot));

        // The kernel has moved the pages; the hour's budget and the cool-down begin.
        node.memory_on_nodes(BATCH, [6, 258]);
        node.free_on_node(0, 300);
        node.free_on_node(1, 2_822);
        run(&mut node, &mut reflex, 20);
        let seen = view.borrow().rebind.clone();
        let last = seen.last.unwrap();
        assert_eq!(last.moved, Some(Bytes::new(250 << 20)), "{layout:?}");
        assert_eq!(seen.moved_in_hour, Bytes::new(256 << 20));
        assert!(seen.under_way.is_none());
        assert_eq!(mems(&node, BATCH).trim(), moved.trim(), "{layout:?}");

        // A restarted agent finds it away, and gives it all nodes when the cool-down is over.
        drop(reflex);
        let (mut reflex, view) = agent(&node, RebindPods::Batch, |_| {});
        run(&mut node, &mut reflex, 4);
        assert_eq!(mems(&node, BATCH).trim(), moved.trim(), "{layout:?}");
        assert_eq!(view.borrow().rebind.away.len(), 1);
        node.run(900_000, &[]);
        run(&mut node, &mut reflex, 12);
        assert_eq!(mems(&node, BATCH), before, "{layout:?}");
        drop(reflex);
        let (records, _) = Records::load(&node.state_dir()).unwrap();
        assert!(
            records.pods_with(Knob::moves_pages).is_empty(),
            "{layout:?}: {records:?}"
        );
    }
}

#[test]
fn restore_gives_all_nodes_back() {
    for layout in [Layout::V1Systemd, Layout::V2Cgroupfs] {
        let mut node = hot(layout);
        let before = mems(&node, BATCH);
        let (mut reflex, _view) = agent(&node, RebindPods::Batch, |_| {});
        run(&mut node, &mut reflex, 4);
        assert_ne!(mems(&node, BATCH), before, "{layout:?}");
        drop(reflex);
        let (mut records, _) = Records::load(&node.state_dir()).unwrap();
        restore_all(&node.hierarchy(), &mut records).unwrap();
        assert_eq!(mems(&node, BATCH), before, "{layout:?}");
    }
}

#[test]
fn who_may_be_moved_is_the_administrators_to_say() {
    let layout = Layout::V2Cgroupfs;
    for (pods, batch) in [(RebindPods::Off, [256, 0]), (RebindPods::Batch, [0, 0])] {
        let mut node = hot(layout);
        node.memory_on_nodes(BATCH, batch);
        let (mut reflex, view) = agent(&node, pods, |_| {});
        run(&mut node, &mut reflex, 4);
        assert_eq!(mems(&node, SERVICE) + mems(&node, BATCH).trim(), "");
        assert!(view.borrow().rebind.away.is_empty());
    }
    let mut node = hot(layout);
    node.memory_on_nodes(BATCH, [0, 0]);
    let (mut reflex, _view) = agent(&node, RebindPods::All, |_| {});
    run(&mut node, &mut reflex, 4);
    assert_eq!(mems(&node, SERVICE), "1");
}

#[test]
fn a_dry_run_decides_and_writes_nothing() {
    let mut node = hot(Layout::V2Cgroupfs);
    let (mut reflex, view) = agent(&node, RebindPods::Batch, |config| config.dry_run = true);
    run(&mut node, &mut reflex, 4);
    assert_eq!(mems(&node, BATCH).trim(), "");
    assert_eq!(view.borrow().rebind.plan.changes.len(), 1);
}

#[test]
fn a_pod_that_stays_says_why() {
    let mut node = hot(Layout::V2Cgroupfs);
    node.memory_on_nodes(BATCH, [64, 0]);
    let (mut reflex, view) = agent(&node, RebindPods::Batch, |_| {});
    run(&mut node, &mut reflex, 4);
    let seen = view.borrow().rebind.clone();
    assert_eq!(seen.plan.skipped.len(), 1);
    assert_eq!(seen.plan.skipped.first().unwrap().reason.as_str(), "small");
    let json = serde_json::json!(**view.borrow());
    assert_eq!(
        json.pointer("/rebind/plan/skipped/0/reason").unwrap(),
        "small"
    );
}
