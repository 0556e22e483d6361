//! How busy the machine is, by its own report: CPU and memory, each the higher of what is in use and of what is to be expected (the peak of services in the
//! agent's window, or a prediction). Without a report it says nothing against the node.

use crate::placement::node::Load;

pub(super) fn term(load: Load) -> f64 {
    let expected = |now: f32, predicted: f32| f64::from(now.max(predicted).clamp(0.0, 1.0));
    let cpu = expected(load.cpu, load.predicted_cpu);
    let memory = expected(load.memory, load.predicted_memory);
    1.0 - f64::midpoint(cpu, memory)
}
