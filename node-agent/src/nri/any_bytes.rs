//! Any bytes as what a runtime sends, read to the end as the plugin reads it: for the fuzzer and for property tests.
//!
//! The first byte chooses: the whole way from the socket (multiplexer, ttrpc, message), or one message by itself, since a fuzzer that has to find two
//! lengths and a method first sees little of messages. What must hold of any answer is asserted here: nothing is read that was not sent, a frame
//! survives the way back, values that leave are ones that a runtime and a kernel take, and what a container holds needs no update.

use std::path::PathBuf;

use prost::Message;

use super::{
    features::Features,
    messages as wire,
    mux::Channel,
    placer::{Adjustment, DeviceKind, DeviceNode, Resources},
    translate, ttrpc,
    wire::{Incoming, decode, outgoing},
};

/// What the first byte chooses, modulo their number: the socket (by an empty name), or the message of a method. New ones go to the end: the corpus
/// of the fuzzer selects by position.
pub const KINDS: [&str; 8] = [
    "",
    "Configure",
    "Synchronize",
    "RunPodSandbox",
    "CreateContainer",
    "UpdateContainer",
    "StateChange",
    "RegisterPlugin",
];

/// Reads any bytes.
pub fn read(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else {
        return;
    };
    match KINDS.iter().cycle().nth(usize::from(*first)) {
        Some(&"") => socket(rest),
        Some(method) => message(method, rest),
        None => {}
    }
}

/// Bytes of the socket, cut as the second byte says.
fn socket(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first() else {
        return;
    };
    let mut incoming = Incoming::default();
    let mut taken = 0_usize;
    for part in bytes.chunks(usize::from(*cut).saturating_add(1)) {
        taken = taken.saturating_add(part.len());
        let Ok(frames) = incoming.feed(part) else {
            return;
        };
        for (channel, frame) in frames {
            assert!(frame.data.len() <= taken, "more than was sent");
            survives(channel, &frame);
            match frame.kind {
                ttrpc::REQUEST => {
                    if let Ok(request) = decode::<wire::Request>("a request", &frame.data) {
                        message(&request.method, &request.payload);
                    }
                }
                ttrpc::RESPONSE => message("RegisterPlugin", &frame.data),
                _ => {}
            }
        }
    }
}

/// A frame that was read is written and read again as itself.
fn survives(channel: Channel, frame: &ttrpc::Frame) {
    let again = outgoing(channel, frame)
        .ok()
        .and_then(|bytes| Incoming::default().feed(&bytes).ok());
    assert_eq!(again, Some(vec![(channel, frame.clone())]));
}

fn message(method: &str, payload: &[u8]) {
    match method {
        "Configure" => {
            if let Ok(request) = decode::<wire::ConfigureRequest>(method, payload) {
                let features = Features::of(
                    &request.nri_version,
                    &request.runtime_name,
                    &request.runtime_version,
                );
                assert!(features.scheduling || !features.memory_policy);
            }
        }
        "Synchronize" => {
            let Ok(request) = decode::<wire::SynchronizeRequest>(method, payload) else {
                return;
            };
            for pod in request.pods {
                let id = pod.id.clone();
                assert_eq!(translate::sandbox(pod).id, id);
            }
            for container in request.containers {
                holds_what_it_holds(container, None);
            }
        }
        "RunPodSandbox" | "StopPodSandbox" | "RemovePodSandbox" => {
            if let Ok(wire::PodRequest { pod: Some(pod) }) = decode(method, payload) {
                let labels = pod.labels.len();
                assert_eq!(translate::sandbox(pod).labels.len(), labels);
            }
        }
        "CreateContainer" => {
            let request = decode::<wire::ContainerRequest>(method, payload);
            if let Some(container) = request.ok().and_then(|request| request.container) {
                creation(container);
            }
        }
        "UpdateContainer" => {
            let Ok(request) = decode::<wire::ContainerRequest>(method, payload) else {
                return;
            };
            if let Some(container) = request.container {
                holds_what_it_holds(container, request.linux_resources.as_ref());
            }
        }
        "StateChange" => {
            if let Ok(event) = decode::<wire::StateChangeEvent>(method, payload) {
                let pod = event.pod.map(translate::sandbox);
                assert!(pod.is_none_or(|pod| pod.uid.len() <= payload.len()));
            }
        }
        "RegisterPlugin" => {
            if let Ok(response) = decode::<wire::Response>(method, payload) {
                assert!(response.payload.len() <= payload.len());
            }
        }
        _ => {}
    }
}

/// An adjustment made of what the message says of the container; the answer reads back, and holds only what a runtime takes.
fn creation(container: wire::Container) {
    let devices: Vec<DeviceNode> = (container.linux.iter())
        .flat_map(|linux| &linux.devices)
        .map(device)
        .collect();
    let new = translate::new_container(container);
    let adjustment = Adjustment {
        env: (new.env.iter())
            .map(|line| line.split_once('=').unwrap_or((line, "")))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        devices,
        ..wanted(&new.resources)
    };
    let mut problems = Vec::new();
    let Some(answer) = translate::creation(&adjustment, Features::default(), &mut problems) else {
        return;
    };
    let bytes = answer.encode_to_vec();
    assert_eq!(
        decode::<wire::ContainerAdjustment>("answer", &bytes).ok(),
        Some(answer.clone())
    );
    for variable in &answer.env {
        assert!(!variable.key.is_empty() && !variable.key.starts_with('-'));
        assert!(!variable.key.contains(['=', '\0']) && !variable.value.contains('\0'));
    }
    let Some(linux) = answer.linux else { return };
    assert!(linux.devices.iter().all(|node| node.path.starts_with('/')));
    assert!(linux.scheduler.is_none() && linux.memory_policy.is_none());
    let cpu = linux.resources.and_then(|resources| resources.cpu);
    let shares = cpu.and_then(|cpu| cpu.shares);
    assert!(shares.is_none_or(|shares| (2..=262_144).contains(&shares.value)));
}

/// An update to what a container holds changes nothing.
fn holds_what_it_holds(container: wire::Container, requested: Option<&wire::LinuxResources>) {
    let running = translate::running_container(container, requested);
    let same = wanted(&running.resources);
    let mut problems = Vec::new();
    let update = translate::update(&running.id, &same, &running.resources, &mut problems);
    assert_eq!((update, problems), (None, Vec::new()));
}

fn wanted(held: &Resources) -> Adjustment {
    Adjustment {
        cpus: held.cpus.clone(),
        mems: held.mems.clone(),
        cpu_shares: held.cpu_shares,
        cpu_quota: held.cpu_quota,
        cpu_period: held.cpu_period,
        memory_limit: held.memory_limit,
        ..Adjustment::default()
    }
}

fn device(from: &wire::LinuxDevice) -> DeviceNode {
    DeviceNode {
        path: PathBuf::from(&from.path),
        kind: match from.r#type.as_str() {
            "b" => DeviceKind::Block,
            "p" => DeviceKind::Fifo,
            _ => DeviceKind::Character,
        },
        major: u32::try_from(from.major).unwrap_or_default(),
        minor: u32::try_from(from.minor).unwrap_or_default(),
        mode: from.file_mode.map(|mode| mode.value),
        uid: from.uid.map(|uid| uid.value),
        gid: from.gid.map(|gid| gid.value),
    }
}

/// First inputs for the fuzzer: one of each kind, and a short conversation as it goes over the socket.
///
/// # Errors
///
/// Never: what is encoded here is far below the protocol's limits.
pub fn seeds() -> Result<Vec<Vec<u8>>, super::wire::WireError> {
    let container = wire::Container {
        id: "c1".to_owned(),
        pod_sandbox_id: "s1".to_owned(),
        name: "main".to_owned(),
        state: wire::ContainerState::Running.into(),
        env: vec!["PATH=/bin".to_owned(), "A".to_owned()],
        linux: Some(wire::LinuxContainer {
            devices: vec![wire::LinuxDevice {
                path: "/dev/null".to_owned(),
                r#type: "c".to_owned(),
                major: 1,
                minor: 3,
                file_mode: Some(wire::OptionalU32 { value: 0o666 }),
                uid: None,
                gid: None,
            }],
            resources: Some(wire::LinuxResources {
                memory: Some(wire::LinuxMemory {
                    limit: Some(wire::OptionalI64 { value: 1 << 20 }),
                }),
                cpu: Some(wire::LinuxCpu {
                    shares: Some(wire::OptionalU64 { value: 1024 }),
                    quota: Some(wire::OptionalI64 { value: -1 }),
                    period: Some(wire::OptionalU64 { value: 100_000 }),
                    cpus: "0-3,8".to_owned(),
                    mems: "0".to_owned(),
                }),
                unified: [("memory.high".to_owned(), "max".to_owned())].into(),
            }),
            cgroups_path: "/kubepods/pod1/c1".to_owned(),
        }),
    };
    let pod = wire::PodSandbox {
        id: "s1".to_owned(),
        name: "p".to_owned(),
        uid: "u1".to_owned(),
        namespace: "n".to_owned(),
        labels: [("a".to_owned(), "b".to_owned())].into(),
        annotations: [("katalyst.kubewharf.io/qos_level".to_owned(), "x".to_owned())].into(),
        linux: Some(wire::LinuxPodSandbox {
            cgroup_parent: "/kubepods/pod1".to_owned(),
        }),
    };
    let configure = wire::ConfigureRequest {
        runtime_name: "containerd".to_owned(),
        runtime_version: "v2.1.9".to_owned(),
        request_timeout: 2_000,
        nri_version: "v0.12.3".to_owned(),
    };
    let synchronize = wire::SynchronizeRequest {
        pods: vec![pod.clone()],
        containers: vec![container.clone()],
        more: true,
    };
    let of_pod = wire::PodRequest {
        pod: Some(pod.clone()),
    };
    let of_container = wire::ContainerRequest {
        pod: Some(pod.clone()),
        container: Some(container.clone()),
        linux_resources: container
            .linux
            .as_ref()
            .and_then(|linux| linux.resources.clone()),
    };
    let event = wire::StateChangeEvent {
        event: wire::Event::RemovePodSandbox.into(),
        pod: Some(pod),
        container: Some(container),
    };
    let refused = wire::Response {
        status: Some(wire::Status {
            code: 2,
            message: "no".to_owned(),
        }),
        payload: Vec::new(),
    };
    let messages: [(&str, Vec<u8>); 7] = [
        ("Configure", configure.encode_to_vec()),
        ("Synchronize", synchronize.encode_to_vec()),
        ("RunPodSandbox", of_pod.encode_to_vec()),
        ("CreateContainer", of_container.encode_to_vec()),
        ("UpdateContainer", of_container.encode_to_vec()),
        ("StateChange", event.encode_to_vec()),
        ("RegisterPlugin", refused.encode_to_vec()),
    ];
    let mut seeds = Vec::new();
    let mut conversation = Vec::new();
    for (kind, (method, payload)) in (1_u8..).zip(&messages) {
        seeds.push([&[kind], payload.as_slice()].concat());
        let request = wire::Request {
            service: "nri.pkg.api.v1alpha1.Plugin".to_owned(),
            method: (*method).to_owned(),
            payload: payload.clone(),
            timeout_nano: 0,
        };
        let frame = ttrpc::Frame {
            stream: u32::from(kind),
            kind: ttrpc::REQUEST,
            data: request.encode_to_vec(),
        };
        let bytes = outgoing(Channel::Plugin, &frame)?;
        seeds.push([&[0, u8::MAX], bytes.as_slice()].concat());
        conversation.extend(bytes);
    }
    seeds.push([&[0, 7], conversation.as_slice()].concat());
    Ok(seeds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seeds_are_read_as_what_they_are() {
        let seeds = seeds().unwrap();
        for seed in &seeds {
            read(seed);
        }
        for (kind, method) in KINDS.iter().enumerate() {
            assert!(
                seeds.iter().any(|seed| usize::from(seed[0]) == kind),
                "no seed of {method:?}"
            );
        }
        let conversation = seeds.last().unwrap();
        let frames = Incoming::default().feed(&conversation[2..]).unwrap();
        assert_eq!(frames.len(), KINDS.len() - 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            read(&bytes);
        }

        #[test]
        fn seeds_with_a_byte_changed_are_read(at in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let seeds = seeds().unwrap();
            let mut seed = at.get(&seeds).clone();
            let place = place.index(seed.len());
            seed[place] = byte;
            read(&seed);
        }
    }
}
