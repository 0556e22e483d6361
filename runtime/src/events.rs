//! Kubernetes Events, sent in the background.
//!
//! An Event tells people what happened; it must never hold up or fail what it tells about. So publishing only puts it
//! into a bounded queue. What does not fit, or is refused, is counted and logged. Equal events within 6 minutes become
//! one object with a count (kube's recorder). Needs `create` and `patch` on `events.k8s.io/events`.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{BoxError, Clients, Process};

/// Events that wait for the API. A burst of one event a pod on a full node (a few hundred) fits.
const QUEUE: usize = 512;

/// The API refuses longer notes (events.k8s.io/v1: 1 kB).
const NOTE_BYTES: usize = 1024;

/// Publishes Events. Clones share one queue.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<(ObjectReference, Event)>,
    dropped: Counter,
}

impl Events {
    /// Spawns the task that sends them. It finishes the queue when the process stops.
    pub(crate) fn start(process: &Process, clients: &Clients) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let dropped = process.metrics.add(
            "events_dropped",
            "Kubernetes Events that were not delivered",
            Counter::default(),
        );
        // One refusal is final: an Event is not worth a retry against a struggling API server.
        let recorder = Recorder::new(clients.unretried.clone(), process.component.name.into());
        let sending = send(waiting, recorder, dropped.clone(), process.tasks.stopping());
        process.tasks.spawn("events", sending);
        Self { queue, dropped }
    }

    /// Something normal happened to `about`. `reason` and `action` are PascalCase constants of the caller, `note` is a
    /// sentence with the numbers; it is cut at 1 kB.
    pub fn normal(
        &self,
        about: ObjectReference,
        action: &'static str,
        reason: &'static str,
        note: &str,
    ) {
        self.publish(about, EventType::Normal, action, reason, note);
    }

    /// Something happened to `about` that a person may have to look at. See [`Events::normal`].
    pub fn warning(
        &self,
        about: ObjectReference,
        action: &'static str,
        reason: &'static str,
        note: &str,
    ) {
        self.publish(about, EventType::Warning, action, reason, note);
    }

    fn publish(
        &self,
        about: ObjectReference,
        type_: EventType,
        action: &str,
        reason: &str,
        note: &str,
    ) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(cut(note).to_owned()),
            action: action.to_owned(),
            secondary: None,
        };
        if self.queue.try_send((about, event)).is_err() {
            self.dropped.inc();
        }
    }
}

async fn send(
    mut waiting: mpsc::Receiver<(ObjectReference, Event)>,
    recorder: Recorder,
    dropped: Counter,
    stopping: CancellationToken,
) -> Result<(), BoxError> {
    loop {
        let next = tokio::select! {
            biased;
            next = waiting.recv() => next,
            () = stopping.cancelled() => None,
        };
        let Some((about, event)) = next else {
            // All senders are gone, or the queue is empty and the process stops: nothing is left to do before the stop.
            stopping.cancelled().await;
            return Ok(());
        };
        if let Err(error) = recorder.publish(&event, &about).await {
            dropped.inc();
            let (kind, name) = (
                about.kind.unwrap_or_default(),
                about.name.unwrap_or_default(),
            );
            tracing::warn!(%error, kind, name, reason = event.reason, "event not delivered");
        }
    }
}

/// The longest prefix of whole characters that the API accepts.
fn cut(note: &str) -> &str {
    if note.len() <= NOTE_BYTES {
        return note;
    }
    // A character has at most four bytes, so one of these ends is a boundary.
    (NOTE_BYTES - 3..=NOTE_BYTES)
        .rev()
        .find_map(|end| note.get(..end))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

    use axum::body::Body as AnswerBody;
    use http::{Request, Response, StatusCode};
    use kube::{Client, client::Body};
    use parking_lot::Mutex;
    use serde_json::Value;
    use tower::service_fn;

    use super::*;
    use crate::{Component, logging::LogControl};

    fn process() -> Process {
        let component = Component {
            name: "katalyst-test",
            version: "0",
            admin_addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        Process::new(component, LogControl::detached())
    }

    /// An API that stores what is posted and answers with `code`.
    fn api(code: StatusCode) -> (Clients, Arc<Mutex<Vec<Value>>>) {
        let posted = Arc::new(Mutex::new(Vec::new()));
        let store = Arc::clone(&posted);
        let service = service_fn(move |request: Request<Body>| {
            let store = Arc::clone(&store);
            async move {
                let bytes = request.into_body().collect_bytes().await.unwrap();
                store.lock().push(serde_json::from_slice(&bytes).unwrap());
                let mut response = Response::new(AnswerBody::from(bytes));
                *response.status_mut() = code;
                Ok::<_, Infallible>(response)
            }
        });
        (Clients::single(Client::new(service, "default")), posted)
    }

    fn pod() -> ObjectReference {
        ObjectReference {
            kind: Some("Pod".to_owned()),
            name: Some("batch-1".to_owned()),
            namespace: Some("jobs".to_owned()),
            ..ObjectReference::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_finished_before_the_process_stops() {
        let process = process();
        let (clients, posted) = api(StatusCode::CREATED);
        let events = Events::start(&process, &clients);
        events.warning(pod(), "Evict", "MemoryPressure", &"é".repeat(1000));
        events.normal(pod(), "Evict", "Recovered", "calm again");
        assert!(
            process
                .tasks
                .drain(Duration::from_secs(20))
                .await
                .is_clean()
        );
        let posted = posted.lock();
        assert_eq!(posted[0]["reason"], "MemoryPressure");
        assert_eq!(posted[0]["type"], "Warning");
        assert_eq!(posted[0]["reportingController"], "katalyst-test");
        assert_eq!(posted[0]["note"].as_str().unwrap().len(), 1024);
        assert_eq!(posted[1]["type"], "Normal");
        assert_eq!(posted.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn refused_and_surplus_events_are_counted_and_cost_nothing_else() {
        let process = process();
        let (clients, _) = api(StatusCode::FORBIDDEN);
        let events = Events::start(&process, &clients);
        // The sending task has had no turn yet: the queue fills up.
        for _ in 0..QUEUE + 3 {
            events.normal(pod(), "Evict", "Reason", "note");
        }
        assert_eq!(events.dropped.get(), 3);
        assert!(
            process
                .tasks
                .drain(Duration::from_secs(20))
                .await
                .is_clean()
        );
        assert_eq!(events.dropped.get(), QUEUE as u64 + 3);
    }
}
