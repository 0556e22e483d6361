//! Apply and assert: no runtime, no client.

use super::*;
use crate::testing::{cnr, node, reporting};

fn pod(node: &str, cpu: u64) -> PodFacts {
    PodFacts {
        node: node.to_owned(),
        request: Reclaimed::new(cpu, 0),
    }
}

fn key(name: &str) -> PodKey {
    PodKey::new("ns", name)
}

fn version(mut facts: CnrFacts, version: u64) -> CnrFacts {
    facts.resource_version = Some(version);
    facts
}

#[test]
fn every_change_marks_its_node_and_nothing_else() {
    let mut index = Index::default();
    index.apply_node(node("n1", &[]));
    index.apply_node(node("n2", &[]));
    assert_eq!(index.take_dirty(), ["n1", "n2"]);
    index.apply_node(node("n1", &[]));
    assert!(index.take_dirty().is_empty(), "the same again is no change");
    index.apply_node(node("n1", &[("zone", "a")]));
    index.apply_cnr(cnr("n2"), 0.0);
    assert_eq!(index.take_dirty(), ["n1", "n2"]);
    index.apply_pod(key("a"), Some(pod("n1", 100)));
    assert_eq!(index.take_dirty(), ["n1"]);
    index.apply_pod(key("a"), Some(pod("n1", 100)));
    index.apply_pod(key("other-class"), None);
    assert!(index.take_dirty().is_empty());
}

#[test]
fn allocated_follows_pods_as_they_come_finish_and_move() {
    let mut index = Index::default();
    let allocated = |index: &Index, name: &str| {
        index
            .view(name, 0.0)
            .map(|view| (view.allocated.cpu.get(), view.pods))
    };
    index.apply_pod(key("a"), Some(pod("n1", 100)));
    index.apply_pod(key("b"), Some(pod("n1", 50)));
    assert_eq!(allocated(&index, "n1"), Some((150, 2)));
    // Finished: it is still there and holds nothing.
    index.apply_pod(key("a"), None);
    assert_eq!(allocated(&index, "n1"), Some((50, 1)));
    // Deleted and recreated on another node, and the watch showed only the end.
    index.apply_pod(key("b"), Some(pod("n2", 70)));
    assert_eq!(allocated(&index, "n1"), None);
    assert_eq!(allocated(&index, "n2"), Some((70, 1)));
    index.delete_pod(&key("b"));
    assert_eq!(allocated(&index, "n2"), None);
    assert_eq!(index.take_dirty(), ["n1", "n2"]);
    assert_eq!(index.count(Kind::Pod), 0);
}

#[test]
fn a_list_removes_what_it_does_not_name_and_keeps_the_old_until_it_is_complete() {
    let mut index = Index::default();
    for kind in Kind::ALL {
        index.begin_list(kind);
    }
    index.apply_node(node("n1", &[]));
    index.apply_node(node("n2", &[]));
    index.apply_cnr(cnr("n1"), 0.0);
    index.apply_cnr(cnr("n2"), 0.0);
    index.apply_pod(key("a"), Some(pod("n1", 1)));
    index.apply_pod(key("b"), Some(pod("n1", 2)));
    assert!(!index.is_complete());
    for kind in Kind::ALL {
        index.end_list(kind);
    }
    assert!(index.is_complete());

    index.begin_list(Kind::Pod);
    index.apply_pod(key("b"), Some(pod("n1", 2)));
    assert_eq!(
        index.view("n1", 0.0).unwrap().pods,
        2,
        "an interrupted list takes nothing away"
    );
    index.begin_list(Kind::Pod);
    index.apply_pod(key("a"), Some(pod("n1", 1)));
    index.end_list(Kind::Pod);
    assert_eq!(
        index.view("n1", 0.0).unwrap().allocated,
        Reclaimed::new(1, 0)
    );

    index.begin_list(Kind::Cnr);
    index.apply_cnr(cnr("n1"), 0.0);
    index.end_list(Kind::Cnr);
    assert!(index.view("n2", 0.0).unwrap().cnr.is_none());
    index.begin_list(Kind::Node);
    index.apply_node(node("n1", &[]));
    index.end_list(Kind::Node);
    assert!(
        index.view("n2", 0.0).is_none(),
        "nothing is known of it any more"
    );
    assert_eq!(index.names(), ["n1"]);
}

#[test]
fn an_older_version_than_the_one_held_is_dropped_unless_it_is_listed() {
    let mut index = Index::default();
    index.apply_cnr(version(reporting("n1", 10.0, 2), 20), 10.0);
    index.apply_cnr(version(reporting("n1", 9.0, 1), 19), 11.0);
    assert_eq!(
        index
            .view("n1", 11.0)
            .unwrap()
            .cnr
            .unwrap()
            .resource_version,
        Some(20)
    );
    // A list is the truth even if it looks older: etcd may have been restored.
    index.begin_list(Kind::Cnr);
    index.apply_cnr(version(reporting("n1", 9.0, 1), 5), 12.0);
    index.end_list(Kind::Cnr);
    assert_eq!(
        index
            .view("n1", 12.0)
            .unwrap()
            .cnr
            .unwrap()
            .resource_version,
        Some(5)
    );
    // Another object of the same name starts its versions where it likes.
    let mut successor = version(cnr("n1"), 1);
    successor.uid = "other".into();
    index.apply_cnr(successor, 13.0);
    assert_eq!(
        index
            .view("n1", 13.0)
            .unwrap()
            .cnr
            .unwrap()
            .resource_version,
        Some(1)
    );
}

fn age(index: &Index, now: f64) -> f64 {
    index.view("n1", now).unwrap().report_age_seconds
}

#[test]
fn ages_are_what_this_process_saw() {
    let mut index = Index::default();
    assert!(index.view("n1", 0.0).is_none());
    index.apply_cnr(cnr("n1"), 1000.0);
    assert!(age(&index, 1000.0).is_infinite());
    // First sight has to believe the time stamp, but never one from the future.
    index.apply_cnr(reporting("n1", 990.0, 1), 1000.0);
    assert!((age(&index, 1000.0) - 10.0).abs() < 1e-9);
    assert!(!index.view("n1", 1000.0).unwrap().report_witnessed);
    // A node whose clock is an hour late still reports: the change was seen.
    index.apply_cnr(reporting("n1", -2600.0, 1), 1005.0);
    assert!((age(&index, 1006.0) - 1.0).abs() < 1e-9);
    assert!(index.view("n1", 1000.0).unwrap().report_witnessed);
    // Our own write shows the same report again, which does not make it younger.
    index.apply_cnr(reporting("n1", -2600.0, 1), 1050.0);
    assert!((age(&index, 1066.0) - 61.0).abs() < 1e-9);
    // A report that became unreadable does not renew anything either.
    let mut nonsense = cnr("n1");
    nonsense.report = Report::Malformed("x".into());
    index.apply_cnr(nonsense, 1070.0);
    assert!((age(&index, 1071.0) - 66.0).abs() < 1e-9);
}

#[test]
fn a_time_stamp_of_the_future_is_taken_for_now() {
    let mut index = Index::default();
    index.apply_cnr(reporting("n1", 9e9, 1), 1000.0);
    assert!((age(&index, 1061.0) - 61.0).abs() < 1e-9);
}

#[test]
fn no_report_ages_while_the_watch_is_down() {
    let mut index = Index::default();
    index.apply_cnr(reporting("n1", 1000.0, 1), 1000.0);
    index.watch_failed(Kind::Cnr, 1010.0);
    index.watch_failed(Kind::Cnr, 1050.0);
    index.watch_failed(Kind::Pod, 1011.0);
    assert!((age(&index, 1130.0) - 10.0).abs() < 1e-9);
    index.watch_works(Kind::Pod, 1130.0);
    assert!(
        (age(&index, 1130.0) - 10.0).abs() < 1e-9,
        "the watch on pods says nothing about reports"
    );
    index.watch_works(Kind::Cnr, 1130.0);
    assert!((age(&index, 1131.0) - 11.0).abs() < 1e-9);
    assert!(
        (age(&index, 1181.0) - 61.0).abs() < 1e-9,
        "silence after the outage counts"
    );
}

#[test]
fn a_new_cnr_of_the_same_name_starts_without_a_report() {
    let mut index = Index::default();
    index.apply_cnr(reporting("n1", 1000.0, 1), 1000.0);
    index.delete_cnr("n1");
    assert!(index.view("n1", 1000.0).is_none());
    index.apply_cnr(cnr("n1"), 1001.0);
    assert!(age(&index, 1001.0).is_infinite());
}
