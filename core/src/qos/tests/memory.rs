//! The keys of `memory_enhancement`.

use rstest::rstest;

use super::*;
use crate::memory::offload::Policy;

#[rstest]
#[case(Level::Shared, r#"{"numa_binding":"true"}"#, true, false)]
#[case(Level::Shared, r#"{"numa_binding":"false"}"#, false, false)]
#[case(
    Level::Dedicated,
    r#"{"numa_binding":"true","numa_exclusive":"true"}"#,
    true,
    true
)]
#[case(
    Level::Dedicated,
    r#"{"numa_binding":true,"numa_exclusive":true}"#,
    true,
    true
)]
#[case(
    Level::Shared,
    r#"{"numa_binding":"true","numa_exclusive":"false"}"#,
    true,
    false
)]
fn numa_binding(
    #[case] level: Level,
    #[case] map: &str,
    #[case] binding: bool,
    #[case] exclusive: bool,
) {
    let memory = clean(level, keys::MEMORY_ENHANCEMENT, map).memory;
    assert_eq!(
        (memory.numa_binding, memory.numa_exclusive),
        (binding, exclusive)
    );
}

#[rstest]
#[case(Level::Dedicated, r#"{"numa_exclusive":"true"}"#, false)]
#[case(
    Level::Shared,
    r#"{"numa_binding":"true","numa_exclusive":"true"}"#,
    true
)]
#[case(
    Level::Reclaimed,
    r#"{"numa_binding":"true","numa_exclusive":"true"}"#,
    true
)]
#[case(
    Level::System,
    r#"{"numa_binding":"true","numa_exclusive":"true"}"#,
    true
)]
fn numa_exclusive_needs_dedicated_and_binding(
    #[case] level: Level,
    #[case] map: &str,
    #[case] binding: bool,
) {
    let (qos, error) = wrong(level, keys::MEMORY_ENHANCEMENT, map);
    assert_eq!(
        (qos.memory.numa_binding, qos.memory.numa_exclusive),
        (binding, false)
    );
    assert!(
        matches!(
            error,
            QosError::NoEffect {
                key: Some("numa_exclusive"),
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn rss_overuse() {
    let map = r#"{"rss_overuse_threshold":"1.05"}"#;
    let qos = clean(Level::Shared, keys::MEMORY_ENHANCEMENT, map);
    assert_eq!(qos.memory.rss_overuse_threshold, Some(1.05));
    for value in ["0", "-1", "inf", "5%"] {
        let map = format!(r#"{{"rss_overuse_threshold":"{value}"}}"#);
        let (qos, error) = wrong(Level::Shared, keys::MEMORY_ENHANCEMENT, &map);
        assert_eq!(qos.memory.rss_overuse_threshold, None);
        assert!(error.is_malformed());
    }
}

#[rstest]
#[case(Level::Reclaimed, "-100", OomPriority::Score(-100))]
#[case(Level::Reclaimed, "-1", OomPriority::Score(-1))]
#[case(Level::Shared, "99", OomPriority::Score(99))]
#[case(Level::Dedicated, "150", OomPriority::Score(150))]
#[case(Level::System, "299", OomPriority::Score(299))]
#[case(Level::Reclaimed, "300", OomPriority::Highest)]
#[case(Level::System, "-300", OomPriority::Ignored)]
fn oom_priorities(#[case] level: Level, #[case] value: &str, #[case] priority: OomPriority) {
    let map = format!(r#"{{"oom_priority":"{value}"}}"#);
    assert_eq!(
        clean(level, keys::MEMORY_ENHANCEMENT, &map)
            .memory
            .oom_priority,
        priority
    );
    assert_eq!(priority.score().to_string(), value);
}

#[rstest]
#[case(Level::Reclaimed, "0", -1, false)]
#[case(Level::Reclaimed, "-101", -100, false)]
#[case(Level::Shared, "100", 99, false)]
#[case(Level::Shared, "-1", 0, false)]
#[case(Level::System, "301", 299, false)]
#[case(Level::Dedicated, "9000000000", 199, false)]
#[case(Level::Dedicated, "high", 100, true)]
#[case(Level::Dedicated, "99999999999999999999", 100, true)]
fn oom_priorities_refused(
    #[case] level: Level,
    #[case] value: &str,
    #[case] score: i32,
    #[case] malformed: bool,
) {
    let map = format!(r#"{{"oom_priority":"{value}"}}"#);
    let (qos, error) = wrong(level, keys::MEMORY_ENHANCEMENT, &map);
    assert_eq!(qos.memory.oom_priority, OomPriority::Score(score));
    assert_eq!(error.is_malformed(), malformed, "{error}");
}

#[rstest]
#[case(Level::Reclaimed, -100)]
#[case(Level::Shared, 0)]
#[case(Level::Dedicated, 100)]
#[case(Level::System, 200)]
fn oom_priority_without_a_wish(#[case] level: Level, #[case] score: i32) {
    assert_eq!(plain(level).memory.oom_priority.score(), score);
}

#[rstest]
#[case(Level::Reclaimed, "{}", Policy::Default)]
#[case(Level::Shared, "{}", Policy::None)]
#[case(
    Level::Shared,
    r#"{"memory_reclaim":"conservative"}"#,
    Policy::Conservative
)]
#[case(Level::Reclaimed, r#"{"memory_reclaim":"none"}"#, Policy::None)]
fn reclaim(#[case] level: Level, #[case] map: &str, #[case] policy: Policy) {
    assert_eq!(
        clean(level, keys::MEMORY_ENHANCEMENT, map).memory.reclaim,
        policy
    );
}
