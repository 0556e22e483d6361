//! A scenario of isolation: a service that takes far more than it asked for, on a crowded machine, gets CPUs of its own.

use super::pod::PodSpec;
use super::pools::cpus;
use super::stage::Stage;
use super::suite::Scenario;
use super::wait::wait_until;
use super::work::Kind;
use crate::scenario::{Outcome, Verdict};

/// A fifth of so many CPUs is one, the least that isolation needs.
const LEAST_CPUS: usize = 5;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "isolation",
        claim: "A service that runs wild on a crowded machine gets CPUs of its own and the others theirs; restore gives everybody all CPUs back",
        run: isolation,
    }]
}

fn isolation(stage: &Stage<'_>) -> Outcome {
    let all = stage.place.cpus.len();
    if all < LEAST_CPUS {
        return Ok(Verdict::Skipped(format!(
            "{all} CPUs: a fifth of them, the most that isolation takes, is less than one"
        )));
    }
    let mut wild = stage.start_pod(
        &PodSpec::service("wild", 500, 64),
        Kind::Burn { threads: all },
    )?;
    let mut service = stage.start_pod(&PodSpec::service("service", 500, 64), Kind::Sleep)?;
    let mut setup = stage.agent();
    setup.flags.push("--isolate-wild-pods".to_owned());
    let mut agent = setup.start()?;
    agent.wait_sampled(stage.limit(10))?;
    let (own, rest) = wait_until("CPUs of the wild pod's own", stage.limit(60), || {
        let (own, rest) = (cpus(&wild)?, cpus(&service)?);
        let shown = || {
            format!(
                "wild on {own}, service on {rest}; {:?}",
                agent
                    .pools()
                    .ok()
                    .and_then(|state| state.get("wild").cloned())
            )
        };
        if own.is_disjoint(&rest) && !own.is_empty() && !rest.is_empty() {
            Ok((own.clone(), rest.clone()))
        } else {
            Err(shown())
        }
    })?;
    if stage.place.whole_cores(&own) != own {
        return Err(format!("{own} are no whole cores"));
    }
    agent.kill()?;
    setup.restore()?;
    for pod in [&wild, &service] {
        if cpus(pod)?.len() < all {
            return Err(format!(
                "after a restore {} runs on {}",
                pod.spec.name,
                cpus(pod)?
            ));
        }
    }
    wild.lives()?;
    service.lives()?;
    Ok(Verdict::Shown(format!(
        "{all} threads of a pod that asked for half a CPU have CPUs {own}, the other service {rest}"
    )))
}
