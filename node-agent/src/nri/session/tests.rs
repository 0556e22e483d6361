use std::{sync::Arc, time::Duration};

use katalyst_core::qos::NumaSet;
use katalyst_crds::constants::annotation;
use katalyst_runtime::Metrics as Registry;
use prost::Message as _;
use tokio::net::UnixStream;

use super::{
    super::{
        answers::{FAILED_PRECONDITION, PLUGIN_SERVICE, UNIMPLEMENTED},
        bounded::BoundedPlacer,
        double::Double,
        live::{Live, MAX_OBJECTS},
        messages::{ContainerState, Event},
        placer::{Adjustment, DeviceKind, DeviceNode, Placer},
        scripted::{Runtime, configure, container, container_request, pod, pod_request},
        status::{Phase, Status},
    },
    *,
};
use crate::notices::Notices;

const LONG: Duration = Duration::from_secs(60);

/// A session against a scripted runtime.
struct Fixture {
    double: Arc<Double>,
    status: Status,
    runtime: Runtime,
    ended: tokio::task::JoinHandle<(End, Live)>,
}

fn start(budget: Duration) -> Fixture {
    let double = Arc::new(Double::default());
    let (placer, body) = BoundedPlacer::new(Arc::clone(&double) as Arc<dyn Placer>);
    std::thread::spawn(body);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let status = Status::new(Notices::new(), &Registry::new("agent", "0"));
    let session_status = status.clone();
    let ended = tokio::spawn(async move {
        let mut live = Live::default();
        let session = Session::new(
            ours,
            Answers::new(&placer, &session_status, budget, &mut live),
        );
        let identity = Identity {
            name: "katalyst".to_owned(),
            index: "50".to_owned(),
        };
        let end = session.run(&identity, &CancellationToken::new()).await;
        (end, live)
    });
    Fixture {
        double,
        status,
        runtime: Runtime::new(theirs),
        ended,
    }
}

/// A budget that does not end in a test; the runtime's own limit would shorten it.
fn patient() -> wire::ConfigureRequest {
    wire::ConfigureRequest {
        request_timeout: 600_000,
        ..configure()
    }
}

async fn greeted(budget: Duration) -> Fixture {
    let mut fixture = start(budget);
    fixture.runtime.register().await;
    let _events: wire::ConfigureResponse = fixture.runtime.call("Configure", &patient()).await;
    let _list: wire::SynchronizeResponse = fixture
        .runtime
        .call("Synchronize", &wire::SynchronizeRequest::default())
        .await;
    fixture
}

#[tokio::test]
async fn registers_and_subscribes_to_five_events() {
    let mut fixture = start(LONG);
    let registration = fixture.runtime.register().await;
    assert_eq!(
        (
            registration.plugin_name.as_str(),
            registration.plugin_idx.as_str()
        ),
        ("katalyst", "50")
    );
    let subscribed: wire::ConfigureResponse = fixture.runtime.call("Configure", &patient()).await;
    // RunPodSandbox 1, StopPodSandbox 2, RemovePodSandbox 3, CreateContainer 4, UpdateContainer 8.
    assert_eq!(subscribed.events, 0b1000_1111);
    assert_eq!(fixture.status.state().phase, Phase::Registered);
    let state = fixture.status.state();
    assert_eq!(state.runtime.as_deref(), Some("containerd v2.4.2"));
    assert!(state.features.memory_policy);
}

#[tokio::test]
async fn a_list_in_parts_is_answered_at_its_end_with_what_differs() {
    let mut fixture = start(LONG);
    fixture.double.pin("2-3");
    fixture.runtime.register().await;
    let _events: wire::ConfigureResponse = fixture.runtime.call("Configure", &patient()).await;
    let first = wire::SynchronizeRequest {
        pods: vec![pod("s1", "u1")],
        containers: vec![],
        more: true,
    };
    let answer: wire::SynchronizeResponse = fixture.runtime.call("Synchronize", &first).await;
    assert!(answer.more && answer.update.is_empty());
    let mut stopped = container("stopped", "s1", "0");
    stopped.state = ContainerState::Stopped.into();
    let last = wire::SynchronizeRequest {
        pods: vec![],
        containers: vec![
            container("moved", "s1", "0-1"),
            container("right", "s1", "2-3"),
            stopped,
        ],
        more: false,
    };
    let answer: wire::SynchronizeResponse = fixture.runtime.call("Synchronize", &last).await;
    let updated: Vec<&str> = answer
        .update
        .iter()
        .map(|update| update.container_id.as_str())
        .collect();
    assert_eq!((updated, answer.more), (vec!["moved"], false));
    assert_eq!(
        fixture.double.seen(),
        ["sandbox s1", "running moved", "running right"]
    );
    assert_eq!(fixture.status.state().phase, Phase::Synchronized);
}

#[tokio::test]
async fn a_new_container_gets_cpus_memory_environment_and_devices() {
    let mut fixture = greeted(LONG).await;
    fixture.double.answer(Adjustment {
        cpus: katalyst_core::cpu_set::CpuSet::parse("4-7").ok(),
        mems: NumaSet::parse("1"),
        env: vec![("NUMA".to_owned(), "1".to_owned())],
        devices: vec![DeviceNode {
            path: "/dev/card".into(),
            kind: DeviceKind::Character,
            major: 1,
            minor: 3,
            mode: Some(0o666),
            uid: None,
            gid: None,
        }],
        ..Adjustment::default()
    });
    let answer: wire::CreateContainerResponse = fixture
        .runtime
        .call("CreateContainer", &container_request("c", "s"))
        .await;
    let adjust = answer.adjust.unwrap();
    let linux = adjust.linux.unwrap();
    let cpu = linux.resources.unwrap().cpu.unwrap();
    assert_eq!((cpu.cpus.as_str(), cpu.mems.as_str()), ("4-7", "1"));
    assert_eq!(
        (adjust.env[0].key.as_str(), adjust.env[0].value.as_str()),
        ("NUMA", "1")
    );
    assert_eq!(
        (linux.devices[0].path.as_str(), linux.devices[0].minor),
        ("/dev/card", 3)
    );
    assert_eq!(fixture.status.state().adjusted, 1);
}

#[tokio::test]
async fn a_slow_placer_gives_an_empty_answer_and_the_next_one_counts_again() {
    let mut fixture = greeted(Duration::from_millis(20)).await;
    fixture.double.pin("4-7");
    let gate = fixture.double.close();
    // The gate is opened only after the answer: it cannot have waited for the placer.
    let answer: wire::CreateContainerResponse = fixture
        .runtime
        .call("CreateContainer", &container_request("c", "s"))
        .await;
    assert_eq!(answer.adjust, None);
    assert_eq!(fixture.status.state().late, 1);
    drop(gate);
    let answered = tokio::time::timeout(LONG, async {
        loop {
            let answer: wire::CreateContainerResponse = fixture
                .runtime
                .call("CreateContainer", &container_request("c", "s"))
                .await;
            if answer.adjust.is_some() {
                break;
            }
        }
    });
    answered.await.unwrap();
}

#[tokio::test]
async fn an_update_of_kubelet_carries_the_placement_along() {
    let mut fixture = greeted(LONG).await;
    fixture.double.pin("4-7");
    let answer: wire::UpdateContainerResponse = fixture
        .runtime
        .call("UpdateContainer", &container_request("c", "s"))
        .await;
    let update = answer.update.into_iter().next().unwrap();
    assert_eq!(update.container_id, "c");
    assert_eq!(
        update.linux.unwrap().resources.unwrap().cpu.unwrap().cpus,
        "4-7"
    );
}

#[tokio::test]
async fn a_pod_is_gone_with_its_last_sandbox_by_either_way_of_telling() {
    let mut fixture = greeted(LONG).await;
    let _told: wire::Empty = fixture
        .runtime
        .call("RunPodSandbox", &pod_request("old", "u"))
        .await;
    let event = |event: Event, id: &str| wire::StateChangeEvent {
        event: event.into(),
        pod: Some(pod(id, "u")),
        container: None,
    };
    let _told: wire::Empty = fixture
        .runtime
        .call("StateChange", &event(Event::RunPodSandbox, "new"))
        .await;
    let _told: wire::Empty = fixture
        .runtime
        .call("RemovePodSandbox", &pod_request("old", "u"))
        .await;
    let _told: wire::Empty = fixture
        .runtime
        .call("StateChange", &event(Event::RemovePodSandbox, "new"))
        .await;
    assert_eq!(
        fixture.double.seen(),
        ["sandbox old", "sandbox new", "removed u"]
    );
}

#[tokio::test]
async fn what_was_not_asked_for_gets_an_empty_answer_and_what_is_unknown_a_refusal() {
    let mut fixture = greeted(LONG).await;
    let nobody = wire::ContainerRequest::default();
    for method in [
        "StopContainer",
        "PostUpdateContainer",
        "ValidateContainerAdjustment",
        "Shutdown",
        "CreateContainer",
    ] {
        let response = fixture.runtime.exchange(method, &nobody).await;
        assert_eq!(
            (response.status, response.payload),
            (None, vec![]),
            "{method}"
        );
    }
    let response = fixture.runtime.exchange("Levitate", &nobody).await;
    assert_eq!(response.status.unwrap().code, UNIMPLEMENTED);
    assert!(fixture.double.seen().is_empty());
}

#[tokio::test]
async fn a_message_that_cannot_be_read_ends_the_connection() {
    let mut fixture = greeted(LONG).await;
    let garbage = wire::Request {
        service: PLUGIN_SERVICE.to_owned(),
        method: "CreateContainer".to_owned(),
        payload: vec![0xff; 16],
        timeout_nano: 0,
    };
    let frame = Frame {
        stream: 99,
        kind: ttrpc::REQUEST,
        data: garbage.encode_to_vec(),
    };
    fixture.runtime.send(Channel::Plugin, &frame).await;
    assert!(fixture.runtime.next().await.is_none());
    let (end, _) = fixture.ended.await.unwrap();
    assert!(
        crate::chain(&end).contains("CreateContainer cannot be read"),
        "{}",
        crate::chain(&end)
    );
}

#[tokio::test]
async fn an_oversized_frame_and_a_refused_registration_end_the_connection() {
    let mut fixture = greeted(LONG).await;
    fixture.runtime.write(&[0, 0, 0, 1, 0x7f, 0, 0, 0]).await;
    let (end, _) = fixture.ended.await.unwrap();
    assert!(
        matches!(end, End::Wire(WireError::Oversized { .. })),
        "{end:?}"
    );

    let mut fixture = start(LONG);
    let (_, frame) = fixture.runtime.next().await.unwrap();
    fixture
        .runtime
        .send(
            Channel::Runtime,
            &Frame::refusal(frame.stream, 3, "no".to_owned()),
        )
        .await;
    let (end, _) = fixture.ended.await.unwrap();
    assert!(matches!(&end, End::Refused(why) if why == "no"), "{end:?}");
}

#[tokio::test]
async fn a_connection_torn_in_a_message_is_told_from_one_that_ended() {
    let mut fixture = greeted(LONG).await;
    fixture.runtime.write(&[0, 0, 0]).await;
    drop(fixture.runtime);
    assert!(matches!(fixture.ended.await.unwrap().0, End::Torn));
    let fixture = greeted(LONG).await;
    drop(fixture.runtime);
    assert!(matches!(fixture.ended.await.unwrap().0, End::Closed));
}

#[tokio::test]
async fn pods_that_vanished_between_two_connections_are_told() {
    let double = Arc::new(Double::default());
    let (placer, body) = BoundedPlacer::new(Arc::clone(&double) as Arc<dyn Placer>);
    std::thread::spawn(body);
    let status = Status::new(Notices::new(), &Registry::new("agent", "0"));
    let identity = Identity {
        name: "katalyst".to_owned(),
        index: "50".to_owned(),
    };
    let stopping = CancellationToken::new();
    let mut live = Live::default();
    for pods in [
        vec![pod("s1", "u1"), pod("s2", "u2")],
        vec![pod("s3", "u2")],
    ] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let session = Session::new(ours, Answers::new(&placer, &status, LONG, &mut live));
        let script = async {
            let mut runtime = Runtime::new(theirs);
            runtime.register().await;
            let _events: wire::ConfigureResponse = runtime.call("Configure", &patient()).await;
            let list = wire::SynchronizeRequest {
                pods,
                ..wire::SynchronizeRequest::default()
            };
            let _list: wire::SynchronizeResponse = runtime.call("Synchronize", &list).await;
        };
        let (end, ()) = tokio::join!(session.run(&identity, &stopping), script);
        assert!(matches!(end, End::Closed), "{end:?}");
    }
    assert_eq!(double.seen(), ["removed u1"]);
}

#[tokio::test]
async fn a_list_without_end_is_refused() {
    let mut fixture = start(LONG);
    fixture.runtime.register().await;
    let _events: wire::ConfigureResponse = fixture.runtime.call("Configure", &patient()).await;
    let many = wire::SynchronizeRequest {
        pods: vec![wire::PodSandbox::default(); MAX_OBJECTS + 1],
        containers: vec![],
        more: true,
    };
    let frame = Frame::request(77, PLUGIN_SERVICE, "Synchronize", &many);
    fixture.runtime.send(Channel::Plugin, &frame).await;
    let (end, _) = fixture.ended.await.unwrap();
    assert!(
        matches!(end, End::Wire(WireError::TooMany { .. })),
        "{end:?}"
    );
}

#[tokio::test]
async fn a_pod_is_stopped_with_its_last_sandbox_and_told_once() {
    let mut fixture = greeted(LONG).await;
    for id in ["old", "new"] {
        let _told: wire::Empty = fixture
            .runtime
            .call("RunPodSandbox", &pod_request(id, "u"))
            .await;
    }
    for id in ["old", "new", "new"] {
        let _told: wire::Empty = fixture
            .runtime
            .call("StopPodSandbox", &pod_request(id, "u"))
            .await;
    }
    let _told: wire::Empty = fixture
        .runtime
        .call("RemovePodSandbox", &pod_request("new", "u"))
        .await;
    assert_eq!(
        fixture.double.seen(),
        ["sandbox old", "sandbox new", "stopped u", "removed u"]
    );
}

#[tokio::test]
async fn a_container_that_must_not_be_created_is_refused_with_the_reason() {
    let mut fixture = greeted(LONG).await;
    fixture.double.refuse("card GPU-1 is held");
    let response = fixture
        .runtime
        .exchange("CreateContainer", &container_request("c", "s"))
        .await;
    let status = response.status.unwrap();
    assert_eq!(
        (status.code, status.message.as_str()),
        (FAILED_PRECONDITION, "card GPU-1 is held")
    );
}

#[tokio::test]
async fn without_an_answer_in_time_only_a_container_with_devices_is_refused() {
    let mut fixture = greeted(Duration::from_millis(20)).await;
    let _gate = fixture.double.close();
    let plain = container_request("c", "s");
    let response = fixture.runtime.exchange("CreateContainer", &plain).await;
    assert_eq!(response.status, None);
    let mut with_devices = plain;
    let annotations = &mut with_devices.pod.as_mut().unwrap().annotations;
    annotations.insert(annotation::DEVICE_ALLOCATION.to_owned(), "{}".to_owned());
    let response = fixture
        .runtime
        .exchange("CreateContainer", &with_devices)
        .await;
    assert!(response.status.unwrap().message.contains("in time"));
}
