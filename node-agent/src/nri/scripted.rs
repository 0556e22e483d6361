//! The runtime's side of a connection, for tests: what the test says, in its order.

use prost::Message;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use super::{
    messages as wire,
    mux::Channel,
    ttrpc::Frame,
    wire::{Incoming, decode, outgoing},
};

pub(super) struct Runtime {
    stream: UnixStream,
    incoming: Incoming,
    frames: std::collections::VecDeque<(Channel, Frame)>,
    stream_id: u32,
}

impl Runtime {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            incoming: Incoming::default(),
            frames: std::collections::VecDeque::new(),
            stream_id: 1,
        }
    }

    /// The next frame; `None` when the plugin closed.
    pub(super) async fn next(&mut self) -> Option<(Channel, Frame)> {
        let mut buffer = [0; 4096];
        while self.frames.is_empty() {
            let taken = self.stream.read(&mut buffer).await.unwrap_or(0);
            if taken == 0 {
                return None;
            }
            self.frames
                .extend(self.incoming.feed(&buffer[..taken]).unwrap());
        }
        self.frames.pop_front()
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(super) async fn send(&mut self, channel: Channel, frame: &Frame) {
        self.write(&outgoing(channel, frame).unwrap()).await;
    }

    /// Takes the registration and answers it.
    pub(super) async fn register(&mut self) -> wire::RegisterPluginRequest {
        let (channel, frame) = self.next().await.unwrap();
        let request: wire::Request = decode("request", &frame.data).unwrap();
        assert_eq!(
            (channel, request.method.as_str()),
            (Channel::Runtime, "RegisterPlugin")
        );
        self.send(Channel::Runtime, &Frame::response(frame.stream, Vec::new()))
            .await;
        decode("registration", &request.payload).unwrap()
    }

    /// Sends a call and returns the whole response.
    pub(super) async fn exchange(
        &mut self,
        method: &str,
        message: &impl Message,
    ) -> wire::Response {
        let service = "nri.pkg.api.v1alpha1.Plugin";
        let frame = Frame::request(self.stream_id, service, method, message);
        self.send(Channel::Plugin, &frame).await;
        let (channel, answer) = self.next().await.unwrap();
        assert_eq!((channel, answer.stream), (Channel::Plugin, self.stream_id));
        self.stream_id += 2;
        decode("response", &answer.data).unwrap()
    }

    /// Sends a call and reads its answer.
    pub(super) async fn call<A: Message + Default>(
        &mut self,
        method: &str,
        message: &impl Message,
    ) -> A {
        let response = self.exchange(method, message).await;
        assert_eq!(response.status, None, "{method}");
        decode(method, &response.payload).unwrap()
    }

    /// Registration, Configure of a containerd of today, and an empty list.
    pub(super) async fn greet(&mut self) {
        self.register().await;
        let _events: wire::ConfigureResponse = self.call("Configure", &configure()).await;
        let _updates: wire::SynchronizeResponse = self
            .call("Synchronize", &wire::SynchronizeRequest::default())
            .await;
    }
}

pub(super) fn configure() -> wire::ConfigureRequest {
    wire::ConfigureRequest {
        runtime_name: "containerd".to_owned(),
        runtime_version: "v2.4.2".to_owned(),
        request_timeout: 2_000,
        nri_version: "v0.12.3".to_owned(),
    }
}

pub(super) fn pod(id: &str, uid: &str) -> wire::PodSandbox {
    wire::PodSandbox {
        id: id.to_owned(),
        uid: uid.to_owned(),
        ..wire::PodSandbox::default()
    }
}

pub(super) fn pod_request(id: &str, uid: &str) -> wire::PodRequest {
    wire::PodRequest {
        pod: Some(pod(id, uid)),
    }
}

pub(super) fn container(id: &str, sandbox: &str, cpus: &str) -> wire::Container {
    let cpu = wire::LinuxCpu {
        cpus: cpus.to_owned(),
        ..wire::LinuxCpu::default()
    };
    wire::Container {
        id: id.to_owned(),
        pod_sandbox_id: sandbox.to_owned(),
        state: wire::ContainerState::Running.into(),
        linux: Some(wire::LinuxContainer {
            resources: Some(wire::LinuxResources {
                cpu: Some(cpu),
                ..wire::LinuxResources::default()
            }),
            ..wire::LinuxContainer::default()
        }),
        ..wire::Container::default()
    }
}

pub(super) fn container_request(id: &str, sandbox: &str) -> wire::ContainerRequest {
    wire::ContainerRequest {
        pod: Some(pod(sandbox, &format!("uid-{sandbox}"))),
        container: Some(container(id, sandbox, "")),
        linux_resources: None,
    }
}
