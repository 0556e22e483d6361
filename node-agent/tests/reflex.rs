//! The reflex against fixture trees of both cgroup versions and both drivers: pods in, files out.

mod allocations;
mod node;
mod thread;

use katalyst_core::{qos::Level, reclaimed::Reclaimed};
use katalyst_node_agent::{
    cgroup::PodUid,
    hold::{Records, restore_all},
};
use node::{Layout, MIB, Node};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever runs and however long: the quotas stay under the ceiling, and pods that are not reclaimed keep their files.
    #[test]
    fn the_ceiling_holds_and_others_are_untouched(
        layout in proptest::sample::select(Layout::ALL.to_vec()),
        pods in proptest::collection::vec((any::<bool>(), 0..4_000_u64), 1..6),
        steps in proptest::collection::vec((100..2_000_u64, proptest::collection::vec(0..2_000_u64, 6)), 1..6),
    ) {
        let mut node = Node::new(layout);
        let uids: Vec<String> = (0..pods.len()).map(|n| format!("pod{n}-x")).collect();
        for (uid, (reclaimed, request)) in uids.iter().zip(&pods) {
            let level = if *reclaimed { Level::Reclaimed } else { Level::Shared };
            node.pod(uid, level, *request, 64 * MIB);
        }
        let mut reflex = node.reflex();
        node.tick(&mut reflex);
        for (millis, used) in steps {
            let used: Vec<(&str, u64)> = uids.iter().map(String::as_str).zip(used).collect();
            node.run(millis, &used);
            let snapshot = node.tick(&mut reflex).unwrap();
            let held: Vec<&String> = uids.iter().zip(&pods).filter(|(_, (reclaimed, _))| *reclaimed).map(|(uid, _)| uid).collect();
            let sum: u64 = held.iter().filter_map(|uid| quota(&node, uid)).sum();
            prop_assert!(sum <= snapshot.ceiling.value.cpu.get().max(10 * held.len() as u64));
            prop_assert_eq!(held.iter().filter_map(|uid| quota(&node, uid)).count(), held.len());
            for (uid, _) in uids.iter().zip(&pods).filter(|(_, (reclaimed, _))| !reclaimed) {
                prop_assert_eq!(node.files(uid), node.fresh_files());
            }
        }
        drop(reflex);
        let (mut records, _) = Records::load(&node.state_dir()).unwrap();
        restore_all(&node.hierarchy(), &mut records).unwrap();
        for uid in &uids {
            prop_assert_eq!(node.files(uid), node.fresh_files());
        }
    }
}

/// The quota that a pod's files show, thousandths of a CPU.
fn quota(node: &Node, uid: &str) -> Option<u64> {
    match node.layout.version() {
        1 => node
            .knob(uid, "cpu.cfs_quota_us")
            .parse()
            .ok()
            .map(|micros: u64| micros / 100),
        _ => node
            .knob(uid, "cpu.max")
            .split_whitespace()
            .next()?
            .parse()
            .ok()
            .map(|micros: u64| micros / 100),
    }
}

fn memory_file(node: &Node) -> &'static str {
    if node.layout.version() == 1 {
        "memory.limit_in_bytes"
    } else {
        "memory.max"
    }
}

#[test]
fn pods_in_files_out_on_every_layout() {
    for layout in Layout::ALL {
        let mut node = Node::new(layout);
        node.pod("aaaa-1111", Level::Reclaimed, 2_000, 512 * MIB);
        node.pod("bbbb-2222", Level::Reclaimed, 1_000, 256 * MIB);
        node.pod("cccc-3333", Level::Shared, 0, 0);
        node.service("dddd-4444");
        let others: Vec<_> = ["cccc-3333", "dddd-4444"]
            .iter()
            .map(|uid| node.files(uid))
            .collect();

        // Of 4 CPUs, services use 1 and reclaimed pods 1.
        let mut reflex = node.reflex();
        assert!(
            node.tick(&mut reflex).is_none(),
            "{layout:?}: one reading is no rate"
        );
        node.run(
            1_000,
            &[("aaaa-1111", 600), ("bbbb-2222", 400), ("dddd-4444", 900)],
        );
        let snapshot = node.tick(&mut reflex).unwrap();

        assert_eq!(snapshot.capacity.cpu.get(), 4_000, "{layout:?}");
        assert_eq!(snapshot.reclaimed.cpu.get(), 1_000, "{layout:?}");
        assert_eq!(snapshot.service.cpu.get(), 1_000, "{layout:?}");
        // 4000 - 5 % - 1000 * 1.1
        assert_eq!(snapshot.ceiling.value.cpu.get(), 2_700, "{layout:?}");
        let sum = quota(&node, "aaaa-1111").unwrap() + quota(&node, "bbbb-2222").unwrap();
        assert!((2_600..=2_700).contains(&sum), "{layout:?}: {sum}");
        assert_eq!(
            node.knob("aaaa-1111", memory_file(&node)),
            (512 * MIB).to_string()
        );
        assert_eq!(node.knob("bbbb-2222", "cpu.idle"), "1");
        let after: Vec<_> = ["cccc-3333", "dddd-4444"]
            .iter()
            .map(|uid| node.files(uid))
            .collect();
        assert_eq!(
            others, after,
            "{layout:?}: pods that are not reclaimed are not touched"
        );

        // A surge of services: the ceiling falls within one tick.
        node.run(
            1_000,
            &[("aaaa-1111", 600), ("bbbb-2222", 400), ("dddd-4444", 2_400)],
        );
        let surge = node.tick(&mut reflex).unwrap();
        assert!(
            surge.ceiling.value.cpu.get() <= 1_100,
            "{layout:?}: {:?}",
            surge.ceiling
        );
        let sum = quota(&node, "aaaa-1111").unwrap() + quota(&node, "bbbb-2222").unwrap();
        assert!(sum <= surge.ceiling.value.cpu.get(), "{layout:?}: {sum}");

        // Uninstall.
        drop(reflex);
        let (mut records, _) = Records::load(&node.state_dir()).unwrap();
        let restored = restore_all(&node.hierarchy(), &mut records).unwrap();
        assert!(restored.problems.is_empty(), "{:?}", restored.problems);
        for uid in ["aaaa-1111", "bbbb-2222"] {
            assert_eq!(node.files(uid), node.fresh_files(), "{layout:?}: {uid}");
        }
    }
}

#[test]
fn a_pod_that_just_started_is_limited_before_the_next_tick() {
    let mut node = Node::new(Layout::V1Cgroupfs);
    node.service("dddd-4444");
    let mut reflex = node.reflex();
    node.tick(&mut reflex);
    node.run(1_000, &[("dddd-4444", 1_000)]);
    node.tick(&mut reflex).unwrap();
    assert!(!node.look(&mut reflex), "nothing new");

    node.pod("aaaa-1111", Level::Reclaimed, 1_000, 64 * MIB);
    assert!(node.look(&mut reflex));
    assert!(quota(&node, "aaaa-1111").is_some_and(|quota| quota <= 2_700));
    assert!(!node.look(&mut reflex), "already limited");
}

#[test]
fn a_group_that_vanishes_costs_nothing_else() {
    let mut node = Node::new(Layout::V2Cgroupfs);
    node.pod("aaaa-1111", Level::Reclaimed, 1_000, 64 * MIB);
    node.pod("bbbb-2222", Level::Reclaimed, 1_000, 64 * MIB);
    let mut reflex = node.reflex();
    node.tick(&mut reflex);
    node.run(1_000, &[("aaaa-1111", 500), ("bbbb-2222", 1_500)]);
    node.tick(&mut reflex).unwrap();

    // It used 0.8 CPUs in its last second; its class group knows.
    node.run(1_000, &[("aaaa-1111", 500), ("bbbb-2222", 800)]);
    node.remove("bbbb-2222");
    let snapshot = node.tick(&mut reflex).unwrap();
    assert_eq!(snapshot.reclaimed.cpu.get(), 1_300);
    assert_eq!(snapshot.service.cpu.get(), 0, "an exit is not a surge");
    assert_eq!(snapshot.limits.len(), 1);
    assert!(
        node.notices.texts().is_empty(),
        "{:?}",
        node.notices.texts()
    );

    node.run(1_000, &[("aaaa-1111", 500)]);
    node.tick(&mut reflex).unwrap();
    let (records, _) = Records::load(&node.state_dir()).unwrap();
    assert_eq!(
        records.pods().into_iter().collect::<Vec<_>>(),
        [&PodUid::new("aaaa-1111")]
    );
}

#[test]
fn kubelets_tree_may_vanish_and_come_back_elsewhere() {
    let mut node = Node::new(Layout::V2Systemd);
    node.pod("aaaa-1111", Level::Reclaimed, 1_000, 64 * MIB);
    let mut reflex = node.reflex();
    node.tick(&mut reflex);
    node.run(1_000, &[]);
    node.tick(&mut reflex).unwrap();

    node.move_tree(Layout::V2Cgroupfs);
    assert!(node.tick(&mut reflex).is_none());
    node.run(1_000, &[]);
    node.tick(&mut reflex);
    node.run(1_000, &[]);
    let snapshot = node.tick(&mut reflex).unwrap();
    assert!(
        snapshot.kubepods.ends_with("kubepods"),
        "{}",
        snapshot.kubepods
    );
    assert!(quota(&node, "aaaa-1111").is_some());
    assert!(
        node.notices.texts().is_empty(),
        "{:?}",
        node.notices.texts()
    );
}

#[test]
fn a_damaged_record_is_replaced_by_kubelets_values() {
    let mut node = Node::new(Layout::V1Systemd);
    node.pod("aaaa-1111", Level::Reclaimed, 1_000, 64 * MIB);
    // Limits of an earlier run, whose record is damaged.
    node.set_knob("aaaa-1111", "cpu.cfs_quota_us", "12300");
    std::fs::create_dir_all(node.state_dir()).unwrap();
    std::fs::write(
        node.state_dir().join("cgroup-records.json"),
        "{\"version\":1,",
    )
    .unwrap();

    let mut reflex = node.reflex();
    node.tick(&mut reflex);
    node.run(1_000, &[("aaaa-1111", 100)]);
    node.tick(&mut reflex).unwrap();
    assert_ne!(node.knob("aaaa-1111", "cpu.cfs_quota_us"), "12300");

    let (mut records, _) = Records::load(&node.state_dir()).unwrap();
    restore_all(&node.hierarchy(), &mut records).unwrap();
    assert_eq!(node.knob("aaaa-1111", "cpu.cfs_quota_us"), "-1");
    assert_eq!(node.knob("aaaa-1111", "memory.limit_in_bytes"), "-1");
}

#[test]
fn a_restart_changes_nothing_and_remembers_the_first_values() {
    let mut node = Node::new(Layout::V2Cgroupfs);
    node.pod("aaaa-1111", Level::Reclaimed, 1_000, 64 * MIB);
    let mut reflex = node.reflex();
    node.tick(&mut reflex);
    node.run(1_000, &[("aaaa-1111", 500)]);
    node.tick(&mut reflex).unwrap();
    let before = node.files("aaaa-1111");
    drop(reflex);

    // The API server is away: the index is empty, and the record says which pods are reclaimed.
    let known = std::mem::take(&mut node.index);
    let mut reflex = node.reflex();
    node.tick(&mut reflex);
    assert_eq!(node.files("aaaa-1111"), before);
    node.run(1_000, &[("aaaa-1111", 500)]);
    let snapshot = node.tick(&mut reflex).unwrap();
    assert_eq!(snapshot.reclaimed.cpu.get(), 500);
    assert_eq!(node.files("aaaa-1111"), before);

    node.index = known;
    node.run(1_000, &[("aaaa-1111", 500)]);
    node.tick(&mut reflex).unwrap();
    let (mut records, _) = Records::load(&node.state_dir()).unwrap();
    restore_all(&node.hierarchy(), &mut records).unwrap();
    assert_eq!(node.files("aaaa-1111"), node.fresh_files());
}

#[test]
fn a_pod_that_is_not_reclaimed_any_more_gets_its_values_back() {
    let mut node = Node::new(Layout::V2Systemd);
    node.pod("aaaa-1111", Level::Reclaimed, 1_000, 64 * MIB);
    let mut reflex = node.reflex();
    node.tick(&mut reflex);
    node.run(1_000, &[]);
    node.tick(&mut reflex).unwrap();
    assert!(quota(&node, "aaaa-1111").is_some());

    node.know("aaaa-1111", Level::Shared, 0, 0);
    node.run(1_000, &[]);
    node.tick(&mut reflex).unwrap();
    assert_eq!(node.files("aaaa-1111"), node.fresh_files());
}

#[test]
fn what_another_writer_undoes_is_done_again() {
    let mut node = Node::new(Layout::V1Systemd);
    node.pod("aaaa-1111", Level::Reclaimed, 1_000, 64 * MIB);
    let mut reflex = node.reflex();
    node.tick(&mut reflex);
    node.run(1_000, &[]);
    node.tick(&mut reflex).unwrap();
    let held = node.files("aaaa-1111");
    // systemd, at a daemon-reload.
    node.set_knob("aaaa-1111", "cpu.cfs_quota_us", "-1");
    node.run(1_000, &[]);
    node.tick(&mut reflex).unwrap();
    assert_eq!(node.files("aaaa-1111"), held);
}

#[test]
fn a_dry_run_writes_nothing() {
    let mut node = Node::new(Layout::V2Cgroupfs);
    node.pod("aaaa-1111", Level::Reclaimed, 1_000, 64 * MIB);
    let mut reflex = node.reflex_with(|config| config.dry_run = true);
    node.tick(&mut reflex);
    node.run(1_000, &[]);
    let snapshot = node.tick(&mut reflex).unwrap();
    assert_eq!(snapshot.limits.len(), 1);
    assert_eq!(node.files("aaaa-1111"), node.fresh_files());
    assert!(!node.state_dir().exists());
}

#[test]
fn after_a_restore_a_running_agent_is_silent_until_it_starts_again() {
    let mut node = Node::new(Layout::V2Cgroupfs);
    node.pod("aaaa-1111", Level::Reclaimed, 1_000, 64 * MIB);
    let mut reflex = node.reflex();
    node.tick(&mut reflex);
    node.run(1_000, &[]);
    node.tick(&mut reflex).unwrap();

    let restored =
        katalyst_node_agent::restore::restore(node.root(), &node.state_dir(), true).unwrap();
    assert_eq!(restored.pods, 1);
    assert_eq!(node.files("aaaa-1111"), node.fresh_files());
    node.run(1_000, &[]);
    node.tick(&mut reflex).unwrap();
    assert_eq!(node.files("aaaa-1111"), node.fresh_files());
    assert!(
        node.notices
            .texts()
            .iter()
            .any(|text| text.starts_with("stand-down"))
    );

    let mut again = node.reflex();
    node.tick(&mut again);
    node.run(1_000, &[]);
    node.tick(&mut again).unwrap();
    assert!(quota(&node, "aaaa-1111").is_some());
}

#[test]
fn a_surge_is_answered_before_the_next_tick() {
    let mut node = Node::new(Layout::V1Cgroupfs);
    node.pod("aaaa-1111", Level::Reclaimed, 1_000, 64 * MIB);
    node.service("dddd-4444");
    let mut reflex = node.reflex();
    node.tick(&mut reflex);
    node.run(1_000, &[("aaaa-1111", 1_000), ("dddd-4444", 400)]);
    node.tick(&mut reflex).unwrap();
    assert!(
        !node.look(&mut reflex),
        "the first glance has nothing to compare with"
    );
    node.run(250, &[("aaaa-1111", 1_000), ("dddd-4444", 600)]);
    assert!(!node.look(&mut reflex), "small changes wait for the tick");
    let before = quota(&node, "aaaa-1111").unwrap();

    node.run(250, &[("aaaa-1111", 1_000), ("dddd-4444", 2_900)]);
    assert!(node.look(&mut reflex));
    let after = quota(&node, "aaaa-1111").unwrap();
    assert!(after <= 500, "from {before} to {after}");

    // The long window does not take what lasted a moment.
    node.run(500, &[("aaaa-1111", 400), ("dddd-4444", 400)]);
    let snapshot = node.tick(&mut reflex).unwrap();
    assert!(snapshot.service_peak.usage.cpu < snapshot.recent_peak.cpu);
    assert!(snapshot.ceiling.value.cpu.get() <= 500);
}

#[test]
fn each_numa_node_is_measured() {
    for layout in Layout::ALL {
        let mut node = Node::new(layout);
        node.two_nodes();
        node.pod("aaaa-1111", Level::Reclaimed, 1_000, 64 * MIB);
        node.service("dddd-4444");
        node.memory_on_nodes("aaaa-1111", [24, 8]);
        let mut reflex = node.reflex();
        node.tick(&mut reflex);
        node.run(1_000, &[("aaaa-1111", 600), ("dddd-4444", 900)]);
        let snapshot = node.tick(&mut reflex).unwrap();

        // The fixture runs everything on the first CPU; 100 thousandths are the system's.
        let [first, second] = [0, 1].map(|at| snapshot.numa[at]);
        assert_eq!(first.machine, Reclaimed::new(1_600, 3 << 30), "{layout:?}");
        assert_eq!(first.reclaimed, Reclaimed::new(600, 24 * MIB), "{layout:?}");
        assert_eq!(
            first.service,
            Reclaimed::new(1_000, (3 << 30) - 24 * MIB),
            "{layout:?}"
        );
        assert_eq!(first.cpu_estimated, layout.version() == 2, "{layout:?}");
        assert_eq!(second.machine, Reclaimed::new(0, 1 << 30), "{layout:?}");
        let batch = &snapshot.pods[0];
        assert_eq!(
            batch
                .memory_nodes
                .iter()
                .map(|(node, bytes)| (*node, bytes.get()))
                .collect::<Vec<_>>(),
            [(0, 24 * MIB), (1, 8 * MIB)],
            "{layout:?}"
        );
    }
}

#[test]
fn batch_that_burns_more_is_no_surge() {
    for layout in Layout::ALL {
        let mut node = Node::new(layout);
        node.pod("aaaa-1111", Level::Reclaimed, 1_000, 64 * MIB);
        // Asks for ordinary resources too, so kubelet puts it beside the services.
        node.service("bbbb-2222");
        node.know("bbbb-2222", Level::Reclaimed, 1_000, 64 * MIB);
        // Best-effort, and a service all the same.
        node.pod("cccc-3333", Level::Shared, 0, 0);
        let calm = [("aaaa-1111", 100), ("bbbb-2222", 100), ("cccc-3333", 300)];
        let mut reflex = node.reflex();
        node.tick(&mut reflex);
        node.run(1_000, &calm);
        node.tick(&mut reflex).unwrap();
        for burst in ["aaaa-1111", "bbbb-2222"] {
            let used = calm.map(|(uid, cpu)| (uid, if uid == burst { 2_500 } else { cpu }));
            node.run(250, &used);
            assert!(!node.glance(&mut reflex), "{layout:?}: {burst}");
            node.run(250, &calm);
            assert!(!node.glance(&mut reflex), "{layout:?}");
        }
        // What no batch pod explains is a surge, and each glance of it lowers the ceiling no further than it is high.
        let before = quota(&node, "aaaa-1111").unwrap();
        node.run_elsewhere(250, 2_000, &calm);
        assert!(node.glance(&mut reflex), "{layout:?}");
        assert!(quota(&node, "aaaa-1111").unwrap() < before, "{layout:?}");
        node.run_elsewhere(250, 2_000, &calm);
        assert!(!node.glance(&mut reflex), "{layout:?}: known by now");
    }
}
