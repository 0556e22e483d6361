use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;

use super::*;
use crate::index::CnrFacts;
use crate::testing::{cnr, node, reporting, view};

const START: f64 = 1_800_000_000.0;

struct Bench {
    planner: Planner,
    rng: StdRng,
}

impl Bench {
    fn new() -> Self {
        let rules = Rules {
            params: Params::default(),
            pace: Pace::default(),
            grace_seconds: 45.0,
        };
        Self {
            planner: Planner::new(rules, START),
            rng: StdRng::seed_from_u64(7),
        }
    }

    fn plan(&mut self, view: &NodeView, after: f64) -> Option<Write> {
        self.planner.plan(view, START + after)
    }

    /// Carries out what is planned, and returns its reason with what then stands in the CNR.
    fn settle(&mut self, cnr: &mut CnrFacts, after: f64) -> Option<&'static str> {
        let view = view().node(node("n1", &[])).cnr(cnr.clone()).build();
        let write = self.plan(&view, after)?;
        if let Some(status) = write.body.get("status") {
            cnr.ours = status.clone();
        }
        self.planner.written(&write, START + after, &mut self.rng);
        Some(write.target.reason())
    }
}

fn offered(cnr: &CnrFacts) -> u64 {
    let text =
        &cnr.ours["resources"]["allocatable"]["resource.katalyst.kubewharf.io/reclaimed_millicpu"];
    text.as_str().unwrap().parse().unwrap()
}

#[test]
fn a_cnr_is_made_before_its_status_and_nothing_is_written_twice() {
    let mut bench = Bench::new();
    let missing = bench
        .plan(&view().node(node("n1", &[])).build(), 0.0)
        .unwrap();
    assert_eq!(
        (missing.target.part(), missing.target.reason()),
        ("object", "missing")
    );
    let mut cnr = cnr("n1");
    assert_eq!(bench.settle(&mut cnr, 1.0), Some("first"));
    assert_eq!(cnr.ours["conditions"][1]["status"], "True", "AgentNotFound");
    assert_eq!(bench.settle(&mut cnr, 2.0), None);
    assert_eq!(
        bench.settle(&mut cnr, 9999.0),
        None,
        "no heartbeat is written for nothing"
    );
}

#[test]
fn raises_too_small_to_write_add_up() {
    let mut bench = Bench::new();
    let mut cnr = reporting("n1", START, 4000);
    assert_eq!(bench.settle(&mut cnr, 0.0), Some("first"));
    assert_eq!(
        offered(&cnr),
        0,
        "the first offer starts its slope at what is allocated"
    );
    // One CPU a minute is 1.7 % of the machine in 10 s; looked at every second.
    let writes: Vec<_> = (1..=60)
        .filter_map(|second| bench.settle(&mut cnr, f64::from(second)))
        .collect();
    assert_eq!(writes, ["raised"; 6]);
    assert!((950..=1000).contains(&offered(&cnr)), "{}", offered(&cnr));
    cnr.report = crate::testing::report(START + 61.0, 9000);
    assert_eq!(bench.settle(&mut cnr, 61.0), Some("lowered"));
    assert_eq!(offered(&cnr), 0);
}

#[test]
fn a_new_leader_goes_on_from_what_stands_without_a_jump() {
    let mut cnr = reporting("n1", START, 4000);
    let mut before = Bench::new();
    before.settle(&mut cnr, 0.0);
    before.settle(&mut cnr, 120.0);
    let stood = offered(&cnr);
    assert_eq!(stood, 2000);
    // An hour later another process takes the lead: the hour gives no right to a raise.
    let mut after = Bench::new();
    after.planner.started_at += 3600.0;
    assert_eq!(after.settle(&mut cnr, 3600.0), None);
    assert_eq!(after.settle(&mut cnr, 3630.0), Some("raised"));
    assert_eq!(offered(&cnr), 2500);
}

#[test]
fn a_status_edited_by_hand_is_restored_and_keeps_its_history() {
    let mut bench = Bench::new();
    let mut cnr = reporting("n1", START, 4000);
    bench.settle(&mut cnr, 0.0);
    bench.settle(&mut cnr, 60.0);
    let stood = cnr.ours.clone();
    for nonsense in [
        json!("banana"),
        json!({"resources": {"allocatable": {"x": 5}}, "conditions": 3}),
        json!({}),
    ] {
        cnr.ours = nonsense;
        let mut bench = Bench {
            planner: Bench::new().planner,
            rng: StdRng::seed_from_u64(7),
        };
        // A leader that wrote it, and one that comes upon it.
        let reason = bench.settle(&mut cnr, 61.0).unwrap();
        assert!(matches!(reason, "unreadable" | "first"), "{reason}");
        assert!(cnr.ours["resources"]["allocatable"].is_object());
    }
    cnr.ours = stood.clone();
    cnr.ours["resources"]["allocatable"]["resource.katalyst.kubewharf.io/reclaimed_millicpu"] =
        json!("999999");
    assert_eq!(bench.settle(&mut cnr, 62.0), Some("repaired"));
    assert!(
        offered(&cnr) <= 1040,
        "{}: the hand's number is not where the slope starts",
        offered(&cnr)
    );
    // Whoever insists is answered ever more slowly.
    let mut repairs = 0;
    for second in 63..183 {
        cnr.ours["reclaim"]["message"] = json!("mine");
        repairs += u32::from(bench.settle(&mut cnr, f64::from(second)) == Some("repaired"));
    }
    assert!((4..12).contains(&repairs), "{repairs}");
}

#[test]
fn an_unreadable_cnr_is_complained_about_once() {
    let mut bench = Bench::new();
    let mut cnr = cnr("n1");
    cnr.ours = json!({"resources": "banana"});
    let seen = view().node(node("n1", &[])).cnr(cnr.clone()).build();
    assert!(bench.plan(&seen, 0.0).is_some());
    assert!(bench.planner.complaint("n1").unwrap().contains("banana"));
    assert_eq!(bench.planner.complaint("n1"), None);
    bench.settle(&mut cnr, 1.0);
    cnr.report =
        crate::index::Report::Malformed("status.nodeMetricStatus.capacity is missing".into());
    assert_eq!(bench.settle(&mut cnr, 2.0), Some("agent"));
    assert!(
        bench
            .planner
            .complaint("n1")
            .unwrap()
            .contains("capacity is missing")
    );
    assert_eq!(bench.planner.complaint("n1"), None);
    cnr.report = crate::testing::report(START, 4000);
    assert_eq!(bench.settle(&mut cnr, 3.0), Some("agent"));
    assert_eq!(bench.planner.complaint("n1"), None);
}

#[test]
fn an_agent_never_seen_gets_its_time_before_it_is_called_silent() {
    let mut bench = Bench::new();
    let mut cnr = reporting("n1", START, 4000);
    Bench::new().settle(&mut cnr, 0.0);
    let silent = || view().node(node("n1", &[])).cnr(cnr.clone()).age(500.0);
    assert_eq!(bench.plan(&silent().unwitnessed().build(), 44.0), None);
    assert_eq!(
        bench
            .plan(&silent().unwitnessed().build(), 45.0)
            .unwrap()
            .target
            .reason(),
        "agent"
    );
    let mut bench = Bench::new();
    assert_eq!(
        bench.plan(&silent().build(), 1.0).unwrap().target.reason(),
        "agent",
        "seen to fall silent"
    );
}

#[test]
fn a_failed_write_waits_and_then_goes_on() {
    let mut bench = Bench::new();
    let seen = view()
        .node(node("n1", &[]))
        .cnr(reporting("n1", START, 4000))
        .build();
    assert!(bench.plan(&seen, 0.0).is_some());
    assert!(
        bench
            .planner
            .failed("n1", "forbidden".into(), START, &mut bench.rng),
        "news"
    );
    assert_eq!(bench.plan(&seen, 0.1), None);
    let due = bench.planner.next_due(START).unwrap();
    assert!((START + 0.5..=START + 1.0).contains(&due));
    assert!(bench.plan(&seen, 1.0).is_some());
    assert!(
        !bench
            .planner
            .failed("n1", "forbidden".into(), START + 1.0, &mut bench.rng),
        "no news"
    );
    assert!(bench.planner.next_due(START + 1.0).unwrap() >= START + 2.0);
    assert!(bench.planner.next_due(START + 99.0).is_none());
}

#[test]
fn a_deleted_node_is_forgotten_and_its_cnr_left_to_garbage_collection() {
    let mut bench = Bench::new();
    let mut facts = cnr("n1");
    bench.settle(&mut facts, 0.0);
    assert_eq!(bench.planner.totals().never_reported, 1);
    assert_eq!(bench.plan(&view().cnr(facts).build(), 1.0), None);
    assert_eq!(bench.planner.totals(), Totals::default());
}

#[test]
fn dry_run_says_each_thing_once() {
    let mut bench = Bench::new();
    let missing = view().node(node("n1", &[])).build();
    let write = bench.plan(&missing, 0.0).unwrap();
    bench.planner.printed(&write, START);
    assert_eq!(bench.plan(&missing, 100.0), None);
    let mut other = view()
        .node(node("n2", &[]))
        .cnr(reporting("n2", START, 4000))
        .build();
    other.name = "n2".into();
    let write = bench.plan(&other, 0.0).unwrap();
    bench.planner.printed(&write, START);
    assert_eq!(bench.plan(&other, 1.0), None);
    assert_eq!(bench.plan(&other, 30.0).unwrap().target.reason(), "raised");
}
