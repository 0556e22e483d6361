//! Byte for byte against what `pkg/api` of containerd/nri v0.12.3 writes for the same values (deterministic marshalling, Go).

use super::*;

const REGISTER: &str = "0a086b6174616c797374120235301a0776302e31322e33";
const CONFIGURE: &str =
    "0a0178120a636f6e7461696e6572641a0676322e342e3220882728d00f320776302e31322e33";
const CONFIGURED: &str = "108d01";
const SYNCHRONIZE: &str = concat!(
    "0a440a017312016e1a017522026e732a060a016c12013132060a01611201323a0472756e6342131a0e2f6b756265706f64732f706f64752201784809",
    "520831302e302e302e31129a010a01631201731a02636e20033a0273684203413d424a040a022f6d52005a7712200a092f6465762f63617264120163",
    "18c30120012a0308b603320208053a0208061a3d0a070a05088080c00312200a03088008120b08ffffffffffffffffff011a0408a08d063203302d33",
    "3a013132100a0b6d656d6f72792e68696768120131220208032a102f6b756265706f64732f706f64752f63600870011801",
);
const SYNCHRONIZED: &str = concat!(
    "0a460a0163123f0a3d0a070a05088080c00312200a03088008120b08ffffffffffffffffff011a0408a08d063203302d333a013132100a0b6d656d6f",
    "72792e6869676812013118011001",
);
const UPDATE: &str = concat!(
    "0a440a017312016e1a017522026e732a060a016c12013132060a01611201323a0472756e6342131a0e2f6b756265706f64732f706f64752201784809",
    "520831302e302e302e31129a010a01631201731a02636e20033a0273684203413d424a040a022f6d52005a7712200a092f6465762f63617264120163",
    "18c30120012a0308b603320208053a0208061a3d0a070a05088080c00312200a03088008120b08ffffffffffffffffff011a0408a08d063203302d33",
    "3a013132100a0b6d656d6f72792e68696768120131220208032a102f6b756265706f64732f706f64752f63600870011a3d0a070a05088080c0031220",
    "0a03088008120b08ffffffffffffffffff011a0408a08d063203302d333a013132100a0b6d656d6f72792e68696768120131",
);
const UPDATED: &str = concat!(
    "0a440a0163123f0a3d0a070a05088080c00312200a03088008120b08ffffffffffffffffff011a0408a08d063203302d333a013132100a0b6d656d6f",
    "72792e68696768120131",
);
const STATE_CHANGE: &str = concat!(
    "080312440a017312016e1a017522026e732a060a016c12013132060a01611201323a0472756e6342131a0e2f6b756265706f64732f706f6475220178",
    "4809520831302e302e302e31",
);
const CREATED: &str = concat!(
    "0a7822060a014b120156326e0a200a092f6465762f6361726412016318c30120012a0308b603320208053a020806123d0a070a05088080c00312200a",
    "03088008120b08ffffffffffffffffff011a0408a08d063203302d333a013132100a0b6d656d6f72792e686967681201315202080662070805120330",
    "2d31",
);

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    hex.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

fn resources() -> LinuxResources {
    LinuxResources {
        memory: Some(LinuxMemory {
            limit: Some(OptionalI64 { value: 7 << 20 }),
        }),
        cpu: Some(LinuxCpu {
            shares: Some(OptionalU64 { value: 1024 }),
            quota: Some(OptionalI64 { value: -1 }),
            period: Some(OptionalU64 { value: 100_000 }),
            cpus: "0-3".to_owned(),
            mems: "1".to_owned(),
        }),
        unified: [("memory.high".to_owned(), "1".to_owned())].into(),
    }
}

fn device() -> LinuxDevice {
    LinuxDevice {
        path: "/dev/card".to_owned(),
        r#type: "c".to_owned(),
        major: 195,
        minor: 1,
        file_mode: Some(OptionalU32 { value: 0o666 }),
        uid: Some(OptionalU32 { value: 5 }),
        gid: Some(OptionalU32 { value: 6 }),
    }
}

fn pod() -> PodSandbox {
    PodSandbox {
        id: "s".to_owned(),
        name: "n".to_owned(),
        uid: "u".to_owned(),
        namespace: "ns".to_owned(),
        labels: [("l".to_owned(), "1".to_owned())].into(),
        annotations: [("a".to_owned(), "2".to_owned())].into(),
        linux: Some(LinuxPodSandbox {
            cgroup_parent: "/kubepods/podu".to_owned(),
        }),
    }
}

fn container() -> Container {
    Container {
        id: "c".to_owned(),
        pod_sandbox_id: "s".to_owned(),
        name: "cn".to_owned(),
        state: ContainerState::Running.into(),
        env: vec!["A=B".to_owned()],
        linux: Some(LinuxContainer {
            devices: vec![device()],
            resources: Some(resources()),
            cgroups_path: "/kubepods/podu/c".to_owned(),
        }),
    }
}

fn update(ignore_failure: bool) -> ContainerUpdate {
    ContainerUpdate {
        container_id: "c".to_owned(),
        linux: Some(LinuxContainerUpdate {
            resources: Some(resources()),
        }),
        ignore_failure,
    }
}

#[test]
fn what_the_plugin_writes_is_what_go_writes() {
    let register = RegisterPluginRequest {
        plugin_name: "katalyst".to_owned(),
        plugin_idx: "50".to_owned(),
        nri_version: "v0.12.3".to_owned(),
    };
    assert_eq!(register.encode_to_vec(), bytes(REGISTER));
    assert_eq!(
        ConfigureResponse { events: 141 }.encode_to_vec(),
        bytes(CONFIGURED)
    );
    let synchronized = SynchronizeResponse {
        update: vec![update(true)],
        more: true,
    };
    assert_eq!(synchronized.encode_to_vec(), bytes(SYNCHRONIZED));
    let updated = UpdateContainerResponse {
        update: vec![update(false)],
    };
    assert_eq!(updated.encode_to_vec(), bytes(UPDATED));
    let created = CreateContainerResponse {
        adjust: Some(ContainerAdjustment {
            env: vec![KeyValue {
                key: "K".to_owned(),
                value: "V".to_owned(),
            }],
            linux: Some(LinuxContainerAdjustment {
                devices: vec![device()],
                resources: Some(resources()),
                scheduler: Some(LinuxScheduler {
                    policy: SchedulerPolicy::Idle.into(),
                }),
                memory_policy: Some(LinuxMemoryPolicy {
                    mode: MemoryPolicyMode::PreferredMany.into(),
                    nodes: "0-1".to_owned(),
                }),
            }),
            cdi_devices: Vec::new(),
        }),
    };
    assert_eq!(created.encode_to_vec(), bytes(CREATED));
}

#[test]
fn what_go_writes_is_read_and_the_rest_of_it_skipped() {
    let configure = ConfigureRequest {
        runtime_name: "containerd".to_owned(),
        runtime_version: "v2.4.2".to_owned(),
        request_timeout: 2_000,
        nri_version: "v0.12.3".to_owned(),
    };
    assert_eq!(ConfigureRequest::decode(&*bytes(CONFIGURE)), Ok(configure));
    let list = SynchronizeRequest {
        pods: vec![pod()],
        containers: vec![container()],
        more: true,
    };
    assert_eq!(SynchronizeRequest::decode(&*bytes(SYNCHRONIZE)), Ok(list));
    let request = ContainerRequest {
        pod: Some(pod()),
        container: Some(container()),
        linux_resources: Some(resources()),
    };
    assert_eq!(ContainerRequest::decode(&*bytes(UPDATE)), Ok(request));
    let event = StateChangeEvent {
        event: Event::RemovePodSandbox.into(),
        pod: Some(pod()),
        container: None,
    };
    assert_eq!(StateChangeEvent::decode(&*bytes(STATE_CHANGE)), Ok(event));
}

#[test]
fn names_of_cdi_are_the_eighth_field() {
    let adjust = ContainerAdjustment {
        cdi_devices: vec![CdiDevice {
            name: "a/b=c".to_owned(),
        }],
        ..ContainerAdjustment::default()
    };
    // `ContainerAdjustment.CDI_devices = 8`, `CDIDevice.name = 1`.
    assert_eq!(adjust.encode_to_vec(), b"\x42\x07\x0a\x05a/b=c");
}
