use katalyst_core::capacity::LimitedBy;
use katalyst_core::units::Millicpu;
use serde_json::{Value, json};

use super::*;
use crate::testing::{GIB, cnr, node, reporting, view};

fn ready(peak: u64) -> crate::testing::ViewBuilder {
    view()
        .node(node("n1", &[]))
        .cnr(reporting("n1", 1000.0, peak))
}

fn published(cpu: u64, memory: u64, at: f64) -> Published {
    Published {
        offer: Reclaimed::new(cpu, memory),
        at_seconds: at,
    }
}

fn at(seconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

#[test]
fn the_offer_climbs_by_its_slope_and_falls_at_once() {
    let params = Params::default();
    // 10 CPUs, peak 4, margin 0.4, reserve 0.5: 5.1 remain. The slope is one CPU a minute.
    let offer = |peak, previous: &Published, now| {
        decide(
            &ready(peak).build(),
            &params,
            Some(previous),
            Reclaimed::ZERO,
            now,
        )
        .estimate
        .cpu
    };
    let minute = offer(4000, &published(1000, 0, 1000.0), 1060.0);
    assert_eq!(
        (minute.offered, minute.limited_by),
        (2000, LimitedBy::SlopeUp)
    );
    let there = offer(4000, &published(5000, 0, 1000.0), 1060.0);
    assert_eq!(
        (there.offered, there.limited_by),
        (5100, LimitedBy::CapacityMinusPeak)
    );
    let surge = offer(8000, &published(5100, 0, 1060.0), 1060.1);
    assert_eq!(
        (surge.offered, surge.limited_by),
        (700, LimitedBy::CapacityMinusPeak)
    );
}

#[test]
fn a_silent_agent_leaves_what_runs_and_nothing_more() {
    let previous = published(5000, 50 * GIB, 1000.0);
    let silent = decide(
        &ready(1000).allocated(1500, GIB).age(61.0).build(),
        &Params::default(),
        Some(&previous),
        Reclaimed::ZERO,
        1061.0,
    );
    assert_eq!(
        silent.agent,
        Agent::Silent {
            limit_seconds: 60.0
        }
    );
    assert_eq!(silent.estimate.offer, Reclaimed::new(1500, GIB));
    assert_eq!(silent.estimate.cpu.limited_by, LimitedBy::Stale);
    let idle = decide(
        &ready(1000).age(61.0).build(),
        &Params::default(),
        Some(&previous),
        Reclaimed::ZERO,
        1061.0,
    );
    assert!(idle.estimate.offer.is_zero());
}

#[test]
fn a_missing_or_unreadable_report_is_stale_whatever_its_age() {
    let mut nonsense = cnr("n1");
    nonsense.report = Report::Malformed("status.nodeMetricStatus.capacity is missing".into());
    for (facts, agent) in [
        (cnr("n1"), "AgentNeverReported"),
        (nonsense, "AgentReportMalformed"),
    ] {
        let decision = decide(
            &view().cnr(facts).allocated(100, 0).age(1.0).build(),
            &Params::default(),
            None,
            Reclaimed::ZERO,
            0.0,
        );
        assert_eq!(decision.agent.reason(), agent);
        assert_eq!(decision.estimate.offer, Reclaimed::new(100, 0));
        assert_eq!(decision.estimate.memory.limited_by, LimitedBy::Stale);
    }
}

#[test]
fn a_report_that_became_unreadable_takes_nothing_from_what_runs() {
    let mut nonsense = cnr("n1");
    nonsense.report = Report::Malformed("status.nodeMetricStatus.capacity is missing".into());
    let seen = view().cnr(nonsense).allocated(1500, GIB).build();
    let machine = Reclaimed::new(10_000, 100 * GIB);
    let decision = decide(&seen, &Params::default(), None, machine, 1000.0);
    let standing = Standing::of(&decision, 1000.0);
    assert_eq!(standing.offered, Reclaimed::new(1500, GIB));
    assert_eq!(standing.capacity, machine);
    // Where no machine was ever known, the schema refuses any offer.
    let decision = decide(&seen, &Params::default(), None, Reclaimed::ZERO, 1000.0);
    let body = patch("n1", &decision, &json!({}), at(0));
    let standing = Standing::of(&decision, 1_800_000_000.0);
    assert_eq!(standing.offered, Reclaimed::ZERO);
    assert_eq!(read_standing(&body["status"]), Ok(Some(standing)));
}

fn status(decision: &Decision, live: &Value, now: jiff::Timestamp) -> Value {
    patch("n1", decision, live, now)["status"].clone()
}

#[test]
fn the_patch_holds_our_fields_only_and_reads_back() {
    let decision = decide(
        &ready(4000).allocated(300, GIB).build(),
        &Params::default(),
        Some(&published(2000, 20 * GIB, 1000.0)),
        Reclaimed::ZERO,
        1000.0,
    );
    let body = patch("n1", &decision, &json!({}), at(0));
    let status = body["status"].as_object().unwrap();
    assert_eq!(
        status.keys().collect::<Vec<_>>(),
        ["conditions", "reclaim", "resources"]
    );
    assert_eq!(
        status["resources"]["allocatable"],
        json!({
            "resource.katalyst.kubewharf.io/reclaimed_memory": "20Gi",
            "resource.katalyst.kubewharf.io/reclaimed_millicpu": "2000",
        })
    );
    assert_eq!(
        status["resources"]["capacity"]["resource.katalyst.kubewharf.io/reclaimed_millicpu"],
        "10000"
    );
    assert_eq!(status["reclaim"]["cpu"]["servicePeak"], "4");
    assert_eq!(status["reclaim"]["cpu"]["limitedBy"], "SlopeUp");
    let message = status["reclaim"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("offers 2 CPU (on its way up from 2 to 5100m)"),
        "{message}"
    );

    let standing = read_standing(&body["status"]).unwrap().unwrap();
    assert_eq!(standing, Standing::of(&decision, 1_800_000_000.0));
    assert_eq!(
        due(&standing, &decision, Pace::default(), 1_900_000_000.0),
        None
    );
}

#[test]
fn conditions_change_their_transition_time_only_when_they_flip() {
    let params = Params::default();
    let decide_at = |age| {
        decide(
            &ready(1000).age(age).build(),
            &params,
            None,
            Reclaimed::ZERO,
            1000.0,
        )
    };
    let first = status(&decide_at(1.0), &json!({}), at(0));
    assert_eq!(first["conditions"][0]["type"], "AgentReady");
    assert_eq!(first["conditions"][0]["status"], "True");
    assert_eq!(first["conditions"][1]["type"], "AgentNotFound");
    assert_eq!(first["conditions"][1]["status"], "False");
    let second = status(&decide_at(2.0), &first, at(30));
    assert_eq!(
        second["conditions"][0]["lastTransitionTime"],
        first["conditions"][0]["lastTransitionTime"]
    );
    assert_ne!(
        second["conditions"][0]["lastHeartbeatTime"],
        first["conditions"][0]["lastHeartbeatTime"]
    );
    let third = status(&decide_at(61.0), &second, at(90));
    assert_eq!(third["conditions"][0]["status"], "False");
    assert_eq!(third["conditions"][0]["reason"], "AgentSilent");
    assert_eq!(
        third["conditions"][0]["lastTransitionTime"],
        third["reclaim"]["computedTime"]
    );
    assert_eq!(
        third["conditions"][1]["lastTransitionTime"],
        first["conditions"][1]["lastTransitionTime"]
    );
    let message = third["reclaim"]["message"].as_str().unwrap();
    assert_eq!(
        message,
        "the node agent has not reported for more than 60 s, so nothing is offered"
    );
}

#[test]
fn nonsense_that_stands_is_named_and_nothing_is_nothing() {
    assert_eq!(read_standing(&json!({})), Ok(None));
    for (live, part) in [
        (json!({"resources": "banana"}), "status"),
        (
            json!({"conditions": [{"type": "X", "status": "True"}]}),
            "status.reclaim is missing",
        ),
        (
            json!({"resources": {}, "reclaim": {"cpu": {}, "memory": {}}}),
            "resources.allocatable is missing",
        ),
    ] {
        let error = read_standing(&live).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let decision = decide(
        &ready(4000).build(),
        &Params::default(),
        None,
        Reclaimed::ZERO,
        1000.0,
    );
    let mut live = status(&decision, &json!({}), at(0));
    live["resources"]["allocatable"]["resource.katalyst.kubewharf.io/reclaimed_millicpu"] =
        json!("lots");
    assert!(
        read_standing(&live)
            .unwrap_err()
            .to_string()
            .contains("lots")
    );
}

fn standing(cpu: u64) -> (Standing, Decision) {
    let mut decision = decide(
        &ready(4000).build(),
        &Params::default(),
        Some(&published(cpu, 0, 1000.0)),
        Reclaimed::ZERO,
        1000.0,
    );
    decision.estimate.cpu.limited_by = LimitedBy::CapacityMinusPeak;
    (Standing::of(&decision, 1000.0), decision)
}

fn with_cpu(decision: &Decision, cpu: u64) -> Decision {
    let mut decision = decision.clone();
    decision.estimate.offer.cpu = Millicpu::new(cpu);
    decision.estimate.cpu.offered = cpu;
    decision
}

#[test]
fn a_fall_is_written_at_once_and_a_raise_can_wait() {
    let (standing, decision) = standing(3000);
    let due_at = |cpu, now| due(&standing, &with_cpu(&decision, cpu), Pace::default(), now);
    assert_eq!(due_at(2900, 1000.1), Some(StatusReason::Lowered));
    assert_eq!(due_at(2901, 1000.1), None, "less than 1 % of the machine");
    assert_eq!(due_at(3100, 1009.9), None);
    assert_eq!(due_at(3100, 1010.0), Some(StatusReason::Raised));
    assert_eq!(due_at(3099, 9999.0), None);
}

#[test]
fn rules_and_agents_that_change_are_written_at_once_and_other_reasons_lazily() {
    let (standing, decision) = standing(3000);
    let with_rule = |rule| {
        let mut decision = decision.clone();
        decision.estimate.cpu.limited_by = rule;
        decision
    };
    let pace = Pace::default();
    assert_eq!(
        due(&standing, &with_rule(LimitedBy::AtRisk), pace, 1000.1),
        Some(StatusReason::Rule)
    );
    assert_eq!(
        due(&standing, &with_rule(LimitedBy::SlopeUp), pace, 1059.9),
        None,
        "both follow the estimate"
    );
    assert_eq!(
        due(&standing, &with_rule(LimitedBy::SlopeUp), pace, 1060.0),
        Some(StatusReason::Explanation)
    );
    let mut silent = decision.clone();
    silent.agent = Agent::Silent {
        limit_seconds: 60.0,
    };
    assert_eq!(
        due(&standing, &silent, pace, 1000.1),
        Some(StatusReason::Agent)
    );
    let mut more_pods = decision.clone();
    more_pods.estimate.cpu.allocated += 500;
    assert_eq!(due(&standing, &more_pods, pace, 1001.0), None);
    assert_eq!(
        due(&standing, &more_pods, pace, 1010.0),
        Some(StatusReason::Allocated)
    );
    assert_eq!(
        due(&standing, &decision, pace, 9e9),
        None,
        "the same again is never written"
    );
}

#[test]
fn only_what_we_wrote_has_to_stand() {
    let ours = json!({"resources": {"allocatable": {"a": "1"}}, "conditions": [{"type": "A", "status": "True"}]});
    let with_theirs = json!({
        "resources": {"allocatable": {"a": "1", "b": "2"}, "resourcePools": []},
        "conditions": [{"type": "Theirs", "status": "True"}, {"type": "A", "status": "True", "x": 1}],
        "reclaim": {},
    });
    assert!(holds(&with_theirs, &ours));
    for broken in [
        json!({"resources": {"allocatable": {"a": "2"}}, "conditions": ours["conditions"]}),
        json!({"resources": {"allocatable": {"a": 1}}, "conditions": ours["conditions"]}),
        json!({"resources": "banana", "conditions": ours["conditions"]}),
        json!({"resources": ours["resources"], "conditions": []}),
        json!({"resources": ours["resources"], "conditions": [{"type": "A", "status": "False"}]}),
        json!({}),
        json!(null),
    ] {
        assert!(!holds(&broken, &ours), "{broken}");
    }
}
