//! Electors against a small scripted API, on a paused clock.

use std::{convert::Infallible, sync::Arc};

use axum::body::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Client, client::Body};
use parking_lot::Mutex;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use super::*;

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/katalyst-system/leases";

/// How the scripted API answers.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum Mode {
    #[default]
    Ok,
    Down,
    Silent,
    /// Carries a write out but never answers it.
    LosesAnswers,
    /// Answers after three seconds.
    Slow,
}

#[derive(Default)]
struct Server {
    lease: Option<Lease>,
    version: u64,
    mode: Mode,
    requests: Vec<String>,
}

/// An API server that keeps one Lease and checks resource versions.
#[derive(Clone, Default)]
struct Leases(Arc<Mutex<Server>>);

impl Leases {
    fn client(&self) -> Client {
        let leases = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let leases = leases.clone();
            async move { Ok::<_, Infallible>(leases.answer(request).await) }
        });
        Client::new(service, "katalyst-system")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if self.0.lock().mode == Mode::Slow {
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        let answer = {
            let mut server = self.0.lock();
            server.requests.push(head.method.to_string());
            match server.mode {
                Mode::Ok | Mode::Slow => Some(server.handle(&head.method, head.uri.path(), &body)),
                Mode::Down => Some(failure(StatusCode::SERVICE_UNAVAILABLE)),
                Mode::Silent => None,
                Mode::LosesAnswers => {
                    server.handle(&head.method, head.uri.path(), &body);
                    None
                }
            }
        };
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    fn set(&self, mode: Mode) {
        self.0.lock().mode = mode;
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().requests)
    }

    /// Writes as another process would: unconditionally, with a new version.
    fn overwrite(&self, change: impl FnOnce(&mut k8s_openapi::api::coordination::v1::LeaseSpec)) {
        let mut server = self.0.lock();
        let mut lease = server.lease.clone().unwrap_or_default();
        change(lease.spec.get_or_insert_default());
        server.store(lease);
    }

    fn spec(&self) -> Value {
        let server = self.0.lock();
        serde_json::to_value(server.lease.as_ref().and_then(|lease| lease.spec.clone())).unwrap()
    }
}

impl Server {
    fn store(&mut self, mut lease: Lease) -> Response<Full<Bytes>> {
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        lease.metadata.name = Some("controllers".to_owned());
        self.lease = Some(lease.clone());
        Response::new(serde_json::to_vec(&lease).unwrap().into())
    }

    fn handle(&mut self, method: &Method, path: &str, body: &[u8]) -> Response<Full<Bytes>> {
        let object = format!("{PATH}/controllers");
        match (method, &self.lease) {
            (&Method::GET, Some(lease)) if path == object => {
                Response::new(serde_json::to_vec(lease).unwrap().into())
            }
            (&Method::GET | &Method::PUT, None) if path == object => failure(StatusCode::NOT_FOUND),
            (&Method::POST, Some(_)) if path == PATH => failure(StatusCode::CONFLICT),
            (&Method::POST, None) if path == PATH => {
                self.store(serde_json::from_slice(body).unwrap())
            }
            (&Method::PUT, Some(stored)) if path == object => {
                let lease: Lease = serde_json::from_slice(body).unwrap();
                assert!(
                    lease.metadata.resource_version.is_some(),
                    "an unconditional write"
                );
                if lease.metadata.resource_version == stored.metadata.resource_version {
                    self.store(lease)
                } else {
                    failure(StatusCode::CONFLICT)
                }
            }
            other => panic!("unexpected request {other:?} {path}"),
        }
    }
}

fn failure(code: StatusCode) -> Response<Full<Bytes>> {
    let reason = match code {
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::CONFLICT => "Conflict",
        _ => "ServiceUnavailable",
    };
    let body = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code.as_u16(),
        "reason": reason, "message": "scripted", "metadata": {}});
    let mut response = Response::new(Full::from(serde_json::to_vec(&body).unwrap()));
    *response.status_mut() = code;
    response
}

fn config(identity: &str) -> LeaseConfig {
    LeaseConfig {
        namespace: "katalyst-system".to_owned(),
        name: "controllers".to_owned(),
        identity: identity.to_owned(),
        duration: Duration::from_secs(15),
        renew_deadline: Duration::from_secs(10),
        retry_period: Duration::from_secs(2),
    }
}

struct Candidate {
    leader: Leader,
    release: CancellationToken,
    run: JoinHandle<Result<(), LeaseError>>,
}

impl Candidate {
    fn start(leases: &Leases, identity: &str) -> Self {
        let rng = StdRng::seed_from_u64(identity.len() as u64);
        let (elector, leader) = elector(leases.client(), config(identity), rng);
        let release = CancellationToken::new();
        let run = tokio::spawn(elector.run(release.clone()));
        Self {
            leader,
            release,
            run,
        }
    }

    /// Waits for leadership; the paused clock jumps ahead, so the limit is virtual.
    async fn elected(&self) -> Duration {
        let begun = Instant::now();
        tokio::time::timeout(Duration::from_secs(600), self.leader.elected())
            .await
            .expect("not elected in 10 min");
        begun.elapsed()
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn an_absent_lease_is_created_and_renewed_with_one_request_each() {
    let leases = Leases::default();
    let a = Candidate::start(&leases, "a");
    a.elected().await;
    assert_eq!(leases.requests(), ["GET", "POST"]);
    assert_eq!(leases.spec()["holderIdentity"], "a");
    assert_eq!(leases.spec()["leaseDurationSeconds"], 15);
    assert_eq!(leases.spec()["leaseTransitions"], 0);
    let mut view = a.leader.clone();
    view.changed().await;
    pass(60).await;
    assert!(a.leader.is_current());
    let renewals = leases.requests();
    assert!((25..=30).contains(&renewals.len()), "{renewals:?}");
    assert!(
        renewals.iter().all(|method| method == "PUT"),
        "{renewals:?}"
    );
    let woken = tokio::time::timeout(Duration::from_secs(5), view.changed()).await;
    assert!(woken.is_err(), "a renewal woke a view");
}

#[tokio::test(start_paused = true)]
async fn a_follower_waits_while_the_leader_renews_and_follows_its_release_at_once() {
    let leases = Leases::default();
    let a = Candidate::start(&leases, "a");
    a.elected().await;
    let b = Candidate::start(&leases, "bb");
    pass(120).await;
    assert!(a.leader.is_current() && !b.leader.is_current());
    assert_eq!(
        b.leader.state(),
        Leadership::Waiting {
            holder: Some("a".to_owned())
        }
    );

    a.release.cancel();
    a.run.await.unwrap().unwrap();
    assert_eq!(a.leader.state(), Leadership::Released);
    assert!(!a.leader.is_current());
    assert_eq!(leases.spec()["holderIdentity"], "");
    let waited = b.elected().await;
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    assert!(matches!(
        b.leader.state(),
        Leadership::Leading { term: 1, .. }
    ));
    assert_eq!(leases.spec()["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_dead_holder_is_replaced_only_after_its_own_duration_was_watched() {
    let leases = Leases::default();
    // Renewed years ago by its clock: that must not count.
    leases.overwrite(|spec| {
        spec.holder_identity = Some("dead".to_owned());
        spec.lease_duration_seconds = Some(40);
        spec.lease_transitions = Some(7);
    });
    let a = Candidate::start(&leases, "a");
    let waited = a.elected().await;
    assert!(Duration::from_secs(40) <= waited, "{waited:?}");
    assert!(waited < Duration::from_secs(46), "{waited:?}");
    assert!(matches!(
        a.leader.state(),
        Leadership::Leading { term: 8, .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn of_two_candidates_for_a_dead_lease_one_wins() {
    let leases = Leases::default();
    leases.overwrite(|spec| spec.holder_identity = Some("dead".to_owned()));
    let (a, b) = (
        Candidate::start(&leases, "a"),
        Candidate::start(&leases, "bb"),
    );
    tokio::select! {
        _ = a.elected() => {}
        _ = b.elected() => {}
    }
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(a.leader.is_current() != b.leader.is_current());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stolen_lease_ends_leadership_at_the_next_renewal() {
    let leases = Leases::default();
    let a = Candidate::start(&leases, "a");
    a.elected().await;
    leases.overwrite(|spec| spec.holder_identity = Some("thief".to_owned()));
    let error = a.run.await.unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "lease katalyst-system/controllers was lost to thief"
    );
    assert_eq!(a.leader.state(), Leadership::Lost);
    assert_eq!(leases.spec()["holderIdentity"], "thief");
}

#[tokio::test(start_paused = true)]
async fn leadership_ends_by_the_clock_before_anyone_else_may_take_over() {
    for mode in [Mode::Down, Mode::Silent] {
        let leases = Leases::default();
        let a = Candidate::start(&leases, "a");
        a.elected().await;
        let b = Candidate::start(&leases, "bb");
        pass(30).await;
        leases.set(mode);
        let cut = Instant::now();
        let error = a.run.await.unwrap().unwrap_err();
        assert!(matches!(error, LeaseError::NotRenewed { .. }), "{error}");
        assert!(
            cut.elapsed() <= Duration::from_secs(10),
            "{:?}",
            cut.elapsed()
        );
        assert!(!a.leader.is_current() && !b.leader.is_current());
        leases.set(Mode::Ok);
        b.elected().await;
        assert!(
            cut.elapsed() >= Duration::from_secs(12),
            "{:?}",
            cut.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_view_expires_even_when_the_renewing_task_is_gone() {
    let leases = Leases::default();
    let a = Candidate::start(&leases, "a");
    a.elected().await;
    a.run.abort();
    assert!(a.leader.remaining().unwrap() <= Duration::from_secs(10));
    pass(9).await;
    assert!(a.leader.is_current());
    pass(1).await;
    assert!(!a.leader.is_current());
    assert_eq!(a.leader.remaining(), None);
}

#[tokio::test(start_paused = true)]
async fn leadership_counts_from_the_sending_of_a_renewal() {
    let leases = Leases::default();
    let a = Candidate::start(&leases, "a");
    a.elected().await;
    leases.requests();
    leases.set(Mode::Slow);
    // Once the first leadership (answered at once) is used up, what is left never exceeds 10 s - 3 s.
    pass(10).await;
    for _ in 0..200 {
        let left = a.leader.remaining().expect("lost by slow answers");
        assert!(left <= Duration::from_secs(7), "{left:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(leases.requests().len() >= 5);
}

#[tokio::test(start_paused = true)]
async fn short_outages_and_lost_answers_do_not_cost_the_leadership() {
    let leases = Leases::default();
    let a = Candidate::start(&leases, "a");
    a.elected().await;
    for mode in [Mode::Down, Mode::LosesAnswers, Mode::Silent] {
        leases.set(mode);
        pass(4).await;
        leases.set(Mode::Ok);
        pass(20).await;
        assert!(a.leader.is_current());
        assert_eq!(leases.spec()["leaseTransitions"], 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_clears_a_claim_whose_answer_was_lost() {
    let leases = Leases::default();
    leases.set(Mode::LosesAnswers);
    leases.overwrite(|spec| spec.holder_identity = Some(String::new()));
    let a = Candidate::start(&leases, "a");
    // The first GET is cut off after the attempt's limit; let the API answer reads, then lose the write.
    pass(1).await;
    leases.set(Mode::Ok);
    a.elected().await;
    leases.set(Mode::LosesAnswers);
    while !leases.requests().contains(&"PUT".to_owned()) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    leases.set(Mode::Ok);
    a.release.cancel();
    a.run.await.unwrap().unwrap();
    assert_eq!(leases.spec()["holderIdentity"], "");
}

#[tokio::test(start_paused = true)]
async fn a_release_does_not_touch_another_holder_and_ends_without_the_api() {
    let leases = Leases::default();
    let a = Candidate::start(&leases, "a");
    a.elected().await;
    leases.overwrite(|spec| spec.holder_identity = Some("thief".to_owned()));
    a.release.cancel();
    a.run.await.unwrap().unwrap();
    assert_eq!(leases.spec()["holderIdentity"], "thief");

    leases.set(Mode::Silent);
    let b = Candidate::start(&leases, "bb");
    pass(1).await;
    let begun = Instant::now();
    b.release.cancel();
    b.run.await.unwrap().unwrap();
    assert!(
        begun.elapsed() <= Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_made_again_by_its_leader() {
    let leases = Leases::default();
    let a = Candidate::start(&leases, "a");
    a.elected().await;
    leases.0.lock().lease = None;
    pass(6).await;
    assert!(a.leader.is_current());
    assert_eq!(leases.spec()["holderIdentity"], "a");
}

#[test]
fn contradictory_durations_are_refused() {
    let with = |change: fn(&mut LeaseConfig)| {
        let mut config = config("a");
        change(&mut config);
        config.check().map_err(|error| error.to_string())
    };
    assert_eq!(with(|_| {}), Ok(()));
    let fractional = with(|config| config.duration = Duration::from_millis(15_500));
    assert!(fractional.unwrap_err().contains("whole seconds"));
    let late = with(|config| config.renew_deadline = Duration::from_secs(15));
    assert_eq!(
        late.unwrap_err(),
        "lease renew deadline is 15s, but must be below the lease duration"
    );
    assert!(with(|config| config.retry_period = Duration::from_secs(9)).is_err());
    assert!(with(|config| config.retry_period = Duration::ZERO).is_err());
}

#[test]
fn the_state_is_described_for_people() {
    assert_eq!(
        Leader::always().describe(),
        json!({"state": "leading", "term": 0, "secondsLeft": null})
    );
    assert_eq!(Leader::always().remaining(), Some(Duration::MAX));
    let (_sender, view) = tokio::sync::watch::channel(Leadership::Lost);
    assert_eq!(
        Leader::from_channel(view).describe(),
        json!({"state": "lost"})
    );
}
