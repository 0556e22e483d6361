//! What the plugin answers to each call of the runtime.
//!
//! An error to CreateContainer fails the container. So a late placement, a container without a pod, a value that the kernel would refuse are none: the
//! container goes its way without it, the status says so, and the reconciler makes up for it. Devices cannot be made up for: a container whose record
//! of devices cannot be followed is refused.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use katalyst_crds::constants::annotation;
use prost::Message as _;

use super::{
    bounded::{Answer, BoundedPlacer, Question},
    features::Features,
    live::{Live, MAX_OBJECTS},
    messages::{self as wire, ContainerState, Event},
    placer::{Adjustment, RunningContainer, Sandbox},
    status::Status,
    translate,
    ttrpc::Frame,
    wire::{WireError, decode},
};

/// The plugin's side of the socket.
pub(super) const PLUGIN_SERVICE: &str = "nri.pkg.api.v1alpha1.Plugin";

/// Events that the plugin wants. Every other one would cost each container a round trip for nothing.
const EVENTS: [Event; 5] = [
    Event::RunPodSandbox,
    Event::StopPodSandbox,
    Event::RemovePodSandbox,
    Event::CreateContainer,
    Event::UpdateContainer,
];

/// Updates in the answer to Synchronize. Each is a run of the OCI runtime (tens of milliseconds), one after the other, and nothing else is
/// created on the node meanwhile; the reconciler does the others with one write each.
const MAX_SYNC_UPDATES: usize = 16;

/// Part of the runtime's own limit after which Synchronize is answered without the placement.
const SYNC_PART: u32 = 2;
/// Part of the runtime's own limit that any other answer may take.
const ANSWER_PART: u32 = 4;
/// Limit of runtimes that do not announce theirs (`DefaultPluginRequestTimeout`).
const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// gRPC: no such method.
pub(super) const UNIMPLEMENTED: i32 = 12;
/// gRPC: the state of things does not allow it. Of all codes only a deadline that ended makes a runtime drop the plugin.
pub(super) const FAILED_PRECONDITION: i32 = 9;

/// Answers the calls of one connection.
#[derive(Debug)]
pub struct Answers<'a> {
    placer: &'a BoundedPlacer,
    status: &'a Status,
    budget: Duration,
    /// What the runtime said of its own limit.
    request_timeout: Duration,
    features: Features,
    /// The list so far, while it comes in parts.
    pods: BTreeMap<String, Sandbox>,
    containers: Vec<(String, RunningContainer)>,
    /// Outlives the connection: what is gone at the next Synchronize is told.
    live: &'a mut Live,
}

impl<'a> Answers<'a> {
    /// With what outlives the connection; each answer takes at most `budget`.
    pub fn new(
        placer: &'a BoundedPlacer,
        status: &'a Status,
        budget: Duration,
        live: &'a mut Live,
    ) -> Self {
        Self {
            placer,
            status,
            budget,
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            features: Features::default(),
            pods: BTreeMap::new(),
            containers: Vec::new(),
            live,
        }
    }

    /// The answer to a call of the runtime.
    pub async fn answer(&mut self, frame: &Frame) -> Result<Frame, WireError> {
        let began = Instant::now();
        let request: wire::Request = decode("a request", &frame.data)?;
        let (method, payload) = (request.method.as_str(), request.payload.as_slice());
        if request.service != PLUGIN_SERVICE {
            let what = format!("no service {}", request.service);
            return Ok(Frame::refusal(frame.stream, UNIMPLEMENTED, what));
        }
        let (event, answer) = match method {
            "Configure" => ("Configure", self.configure(&decode(method, payload)?)),
            "Synchronize" => (
                "Synchronize",
                self.synchronize(decode(method, payload)?).await?,
            ),
            "RunPodSandbox" => {
                let request: wire::PodRequest = decode(method, payload)?;
                self.pod_came(request.pod).await;
                ("RunPodSandbox", Vec::new())
            }
            "StopPodSandbox" => {
                let request: wire::PodRequest = decode(method, payload)?;
                self.pod_stopped(request.pod).await;
                ("StopPodSandbox", Vec::new())
            }
            "RemovePodSandbox" => {
                let request: wire::PodRequest = decode(method, payload)?;
                self.pod_left(request.pod).await;
                ("RemovePodSandbox", Vec::new())
            }
            "CreateContainer" => match self.create(decode(method, payload)?).await {
                Ok(answer) => ("CreateContainer", answer),
                Err(refused) => {
                    let seconds = began.elapsed().as_secs_f64();
                    self.status.answered("CreateContainer", seconds);
                    return Ok(Frame::refusal(frame.stream, FAILED_PRECONDITION, refused));
                }
            },
            "UpdateContainer" => (
                "UpdateContainer",
                self.update(decode(method, payload)?).await,
            ),
            "StateChange" => (
                "StateChange",
                self.state_change(decode(method, payload)?).await,
            ),
            "Shutdown" => {
                tracing::info!("the container runtime stops");
                ("Shutdown", Vec::new())
            }
            // Events that were not asked for; every one takes an empty answer.
            "UpdatePodSandbox"
            | "PostUpdatePodSandbox"
            | "PostCreateContainer"
            | "StartContainer"
            | "PostStartContainer"
            | "PostUpdateContainer"
            | "StopContainer"
            | "RemoveContainer"
            | "ValidateContainerAdjustment" => ("other", Vec::new()),
            _ => {
                let what = format!("no method {method}");
                return Ok(Frame::refusal(frame.stream, UNIMPLEMENTED, what));
            }
        };
        self.status.answered(event, began.elapsed().as_secs_f64());
        Ok(Frame::response(frame.stream, answer))
    }

    fn configure(&mut self, request: &wire::ConfigureRequest) -> Vec<u8> {
        let wire::ConfigureRequest {
            runtime_name,
            runtime_version,
            request_timeout,
            nri_version,
        } = request;
        self.features = Features::of(nri_version, runtime_name, runtime_version);
        if let Some(limit) = u64::try_from(*request_timeout)
            .ok()
            .filter(|limit| *limit > 0)
        {
            self.request_timeout = Duration::from_millis(limit);
        }
        self.status.configured(
            format!("{runtime_name} {runtime_version}"),
            nri_version.clone(),
            self.features,
        );
        let events = EVENTS
            .into_iter()
            .fold(0, |mask, event| mask | 1 << (event as i32 - 1));
        wire::ConfigureResponse { events }.encode_to_vec()
    }

    /// The budget of one question: ours, or less where the runtime is impatient.
    fn budget(&self) -> Duration {
        self.budget.min(self.request_timeout / ANSWER_PART)
    }

    async fn synchronize(
        &mut self,
        request: wire::SynchronizeRequest,
    ) -> Result<Vec<u8>, WireError> {
        let wire::SynchronizeRequest {
            pods,
            containers,
            more,
        } = request;
        let objects = [
            self.pods.len(),
            self.containers.len(),
            pods.len(),
            containers.len(),
        ];
        if objects.into_iter().fold(0, usize::saturating_add) > MAX_OBJECTS {
            return Err(WireError::TooMany { limit: MAX_OBJECTS });
        }
        for pod in pods {
            let pod = translate::sandbox(pod);
            self.pods.insert(pod.id.clone(), pod);
        }
        let exists = [
            ContainerState::Created,
            ContainerState::Running,
            ContainerState::Paused,
        ];
        self.containers.extend(
            containers
                .into_iter()
                .filter(|container| exists.contains(&container.state()))
                .map(|mut container| {
                    let sandbox = std::mem::take(&mut container.pod_sandbox_id);
                    (sandbox, translate::running_container(container, None))
                }),
        );
        if more {
            return Ok(wire::SynchronizeResponse {
                update: Vec::new(),
                more,
            }
            .encode_to_vec());
        }
        let pods = std::mem::take(&mut self.pods);
        let containers = std::mem::take(&mut self.containers);
        let gone = self.live.replace(&pods);
        tracing::info!(
            pods = pods.len(),
            containers = containers.len(),
            "synchronized with the container runtime"
        );
        let deadline = Instant::now() + self.request_timeout / SYNC_PART;
        self.ask("Synchronize", Question::Removed(gone), deadline)
            .await;
        let answer = self
            .ask(
                "Synchronize",
                Question::Everything(pods, containers),
                deadline,
            )
            .await;
        let mut update = Vec::new();
        if let Some(Answer::Adjustments(adjustments)) = answer {
            for (container, adjustment) in &adjustments {
                update.extend(self.updated(container, adjustment));
            }
            update.truncate(MAX_SYNC_UPDATES);
        }
        self.status.adjusted("Synchronize", update.len() as u64);
        self.status.synchronized();
        Ok(wire::SynchronizeResponse {
            update,
            more: false,
        }
        .encode_to_vec())
    }

    async fn pod_came(&mut self, pod: Option<wire::PodSandbox>) {
        let Some(pod) = known(pod) else { return };
        self.live.add(&pod);
        self.ask_in_budget("RunPodSandbox", Question::Sandbox(Box::new(pod)))
            .await;
    }

    /// kubelet stops a pod's sandbox when its last container has ended, and removes it when it needs the room.
    async fn pod_stopped(&mut self, pod: Option<wire::PodSandbox>) {
        let Some(pod) = known(pod) else { return };
        if self.live.stop(&pod) {
            self.ask_in_budget("StopPodSandbox", Question::Stopped(pod.uid))
                .await;
        }
    }

    async fn pod_left(&mut self, pod: Option<wire::PodSandbox>) {
        let Some(pod) = known(pod) else { return };
        if self.live.remove(&pod) {
            self.ask_in_budget("RemovePodSandbox", Question::Removed(vec![pod.uid]))
                .await;
        }
    }

    /// The answer, or why the container must not be created: the one answer that is an error.
    async fn create(&mut self, request: wire::ContainerRequest) -> Result<Vec<u8>, String> {
        let (Some(pod), Some(container)) = (known(request.pod), request.container) else {
            return Ok(Vec::new());
        };
        let needs_answer = pod.annotations.contains_key(annotation::DEVICE_ALLOCATION);
        let id = container.id.clone();
        let container = translate::new_container(container);
        let question = Question::Container(Box::new((pod, container)));
        let adjustment = match self.ask_in_budget("CreateContainer", question).await {
            Some(Answer::Adjustment(adjustment)) => adjustment,
            Some(Answer::Refused(sentence)) => return Err(sentence),
            // A container would start without the devices of its record, and stay so; the next try comes in seconds.
            _ if needs_answer => {
                return Err("katalyst: its devices could not be given in time".to_owned());
            }
            _ => return Ok(Vec::new()),
        };
        self.status.in_time();
        let mut problems = Vec::new();
        let adjust = translate::creation(&adjustment, self.features, &mut problems);
        self.status.left_out(&id, &problems);
        if adjust.is_some() {
            self.status.adjusted("CreateContainer", 1);
        }
        Ok(wire::CreateContainerResponse { adjust }.encode_to_vec())
    }

    /// kubelet updates a container. The OCI runtime then writes everything that it has on record for the container, so that CPUs written
    /// meanwhile by the reconciler would be undone; the answer puts them into the same update.
    async fn update(&mut self, request: wire::ContainerRequest) -> Vec<u8> {
        let (Some(pod), Some(container)) = (known(request.pod), request.container) else {
            return Vec::new();
        };
        let container = translate::running_container(container, request.linux_resources.as_ref());
        let question = Question::Running(Box::new((pod, container.clone())));
        let Some(Answer::Adjustment(adjustment)) =
            self.ask_in_budget("UpdateContainer", question).await
        else {
            return Vec::new();
        };
        let update: Vec<_> = self.updated(&container, &adjustment).into_iter().collect();
        self.status.adjusted("UpdateContainer", update.len() as u64);
        wire::UpdateContainerResponse { update }.encode_to_vec()
    }

    fn updated(
        &self,
        container: &RunningContainer,
        adjustment: &Adjustment,
    ) -> Option<wire::ContainerUpdate> {
        let mut problems = Vec::new();
        let update = translate::update(
            &container.id,
            adjustment,
            &container.resources,
            &mut problems,
        );
        self.status.left_out(&container.id, &problems);
        update
    }

    /// How NRI before 0.12 tells most events.
    async fn state_change(&mut self, event: wire::StateChangeEvent) -> Vec<u8> {
        match event.event() {
            Event::RunPodSandbox => self.pod_came(event.pod).await,
            Event::StopPodSandbox => self.pod_stopped(event.pod).await,
            Event::RemovePodSandbox => self.pod_left(event.pod).await,
            _ => {}
        }
        Vec::new()
    }

    async fn ask_in_budget(&self, event: &'static str, question: Question) -> Option<Answer> {
        self.ask(event, question, Instant::now() + self.budget())
            .await
    }

    async fn ask(
        &self,
        event: &'static str,
        question: Question,
        deadline: Instant,
    ) -> Option<Answer> {
        let budget = deadline.saturating_duration_since(Instant::now());
        let answer = self.placer.ask(question, budget).await;
        if answer.is_none() {
            self.status.late(event, budget);
        }
        answer
    }
}

/// A pod that can be named. containerd sends an identifier alone when a container outlives its sandbox.
fn known(pod: Option<wire::PodSandbox>) -> Option<Sandbox> {
    pod.map(translate::sandbox)
        .filter(|pod| !pod.uid.is_empty())
}
