//! The sentence that explains an offer to a person.

use katalyst_core::capacity::{Explanation, LimitedBy};
use katalyst_core::units::{Bytes, Millicpu};

use super::{Decision, readable};

/// One sentence: what is offered, and the rule that set each of the two numbers.
pub(super) fn sentence(decision: &Decision) -> String {
    let (agent, estimate) = (&decision.agent, decision.as_written());
    let (offered_cpu, offered_memory) = (estimate.offer.cpu, readable(estimate.offer.memory));
    if !agent.is_ready() {
        let kept = if estimate.offer.is_zero() {
            "nothing is offered".to_owned()
        } else {
            format!(
                "only what runs already keeps its place ({offered_cpu} CPU, {offered_memory} memory)"
            )
        };
        return format!("{}, so {kept}", agent.message());
    }
    let cpu = because(&estimate.cpu, |value| Millicpu::new(value).to_string());
    let memory = because(&estimate.memory, |value| readable(Bytes::new(value)));
    format!("offers {offered_cpu} CPU ({cpu}) and {offered_memory} memory ({memory})")
}

fn because(explanation: &Explanation, unit: impl Fn(u64) -> String) -> String {
    let Explanation {
        capacity,
        service_peak,
        margin,
        reserve,
        estimate,
        previous,
        allocated,
        ..
    } = *explanation;
    match explanation.limited_by {
        LimitedBy::CapacityMinusPeak => format!(
            "{} of the machine less services' peak of {}, margin {} and reserve {}",
            unit(capacity),
            unit(service_peak),
            unit(margin),
            unit(reserve)
        ),
        LimitedBy::SlopeUp => format!(
            "on its way up from {} to {}",
            unit(previous),
            unit(estimate)
        ),
        LimitedBy::AllocatedFloor => format!(
            "the {} already allocated, above the estimate of {}",
            unit(allocated),
            unit(estimate)
        ),
        LimitedBy::AtRisk => format!(
            "far below the {} allocated: services need the machine",
            unit(allocated)
        ),
        LimitedBy::Stale => "the report is too old".to_owned(),
    }
}
