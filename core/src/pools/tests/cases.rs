//! One rule a test.

use crate::cpu_set::CpuSet;
use crate::pools::{PoolInput, PoolParams, plan_pools};
use crate::qos::Level;

use super::machines::regular;
use super::world::pod;

#[test]
fn a_node_without_wishes_keeps_everybody_everywhere() {
    let topology = regular(2, 4, 2, 1);
    let pods = [
        pod("a", Level::Shared, 3000),
        pod("b", Level::Reclaimed, 3000),
        pod("c", Level::System, 100),
    ];
    let input = PoolInput {
        topology: &topology,
        reserved: &CpuSet::new(),
        pods: &pods,
        previous: None,
        now_seconds: 0.0,
    };
    let plan = plan_pools(&input, &PoolParams::default());
    for held in plan.pods.values() {
        assert_eq!(
            (held.cpus.to_string().as_str(), &held.mems),
            ("0-15", &None)
        );
    }
}
