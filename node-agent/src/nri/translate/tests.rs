use super::{super::placer::MemoryPolicy, *};

fn cpus(text: &str) -> Option<CpuSet> {
    CpuSet::parse(text).ok()
}

#[test]
fn what_is_held_already_is_not_sent() {
    let held = Resources {
        cpus: cpus("0-3"),
        mems: NumaSet::parse("0"),
        cpu_shares: Some(1024),
        ..Resources::default()
    };
    let wanted = Adjustment {
        cpus: cpus("0-3"),
        mems: NumaSet::parse("0"),
        cpu_shares: Some(1024),
        ..Adjustment::default()
    };
    let mut problems = Vec::new();
    assert_eq!(update("c", &wanted, &held, &mut problems), None);
    let moved = Adjustment {
        mems: NumaSet::parse("1"),
        ..wanted
    };
    let sent = update("c", &moved, &held, &mut problems).unwrap();
    let cpu = sent.linux.unwrap().resources.unwrap().cpu.unwrap();
    assert_eq!(
        (cpu.mems.as_str(), cpu.cpus.as_str(), cpu.shares),
        ("1", "", None)
    );
    assert_eq!((sent.container_id.as_str(), problems), ("c", vec![]));
}

#[test]
fn a_value_that_would_fail_the_container_is_left_out_and_named() {
    let wanted = Adjustment {
        cpus: Some(CpuSet::new()),
        cpu_shares: Some(1),
        cpu_quota: Some(10),
        cpu_period: Some(10),
        memory_limit: Some(Bytes::new(0)),
        unified: [("../memory.high".to_owned(), "1".to_owned())].into(),
        env: vec![
            ("A=B".to_owned(), "1".to_owned()),
            ("-PATH".to_owned(), String::new()),
        ],
        devices: vec![DeviceNode {
            path: "dev/x".into(),
            kind: DeviceKind::Character,
            major: 1,
            minor: 3,
            mode: None,
            uid: None,
            gid: None,
        }],
        ..Adjustment::default()
    };
    let mut problems = Vec::new();
    assert_eq!(creation(&wanted, Features::default(), &mut problems), None);
    assert_eq!(problems.len(), 9, "{problems:#?}");
}

#[test]
fn newer_parts_go_only_to_runtimes_that_have_them() {
    let wanted = Adjustment {
        scheduling: Some(Scheduling::Idle),
        memory_policy: NumaSet::parse("1").map(|nodes| MemoryPolicy {
            mode: PolicyMode::Bind,
            nodes,
        }),
        ..Adjustment::default()
    };
    let mut problems = Vec::new();
    assert_eq!(creation(&wanted, Features::default(), &mut problems), None);
    assert_eq!(problems.len(), 2, "{problems:?}");
    let features = Features {
        scheduling: true,
        memory_policy: true,
    };
    let linux = creation(&wanted, features, &mut problems)
        .unwrap()
        .linux
        .unwrap();
    assert_eq!(linux.scheduler.unwrap().policy, 6);
    let policy = linux.memory_policy.unwrap();
    assert_eq!((policy.mode, policy.nodes.as_str()), (2, "1"));
}

#[test]
fn an_update_shows_what_would_be_held_after_it() {
    let container = wire::Container {
        linux: Some(wire::LinuxContainer {
            resources: Some(wire::LinuxResources {
                cpu: Some(wire::LinuxCpu {
                    cpus: "0-1".to_owned(),
                    shares: Some(wire::OptionalU64 { value: 512 }),
                    ..wire::LinuxCpu::default()
                }),
                memory: Some(wire::LinuxMemory {
                    limit: Some(wire::OptionalI64 { value: -1 }),
                }),
                ..wire::LinuxResources::default()
            }),
            ..wire::LinuxContainer::default()
        }),
        ..wire::Container::default()
    };
    let requested = wire::LinuxResources {
        cpu: Some(wire::LinuxCpu {
            shares: Some(wire::OptionalU64 { value: 2048 }),
            quota: Some(wire::OptionalI64 { value: 0 }),
            ..wire::LinuxCpu::default()
        }),
        ..wire::LinuxResources::default()
    };
    let resources = running_container(container, Some(&requested)).resources;
    assert_eq!(
        resources,
        Resources {
            cpus: cpus("0-1"),
            cpu_shares: Some(2048),
            ..Resources::default()
        }
    );
}
