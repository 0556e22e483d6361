use std::sync::Arc;

use katalyst_runtime::Metrics as Registry;
use tokio::net::UnixListener;

use super::{
    super::{
        double::Double,
        messages as wire,
        placer::Placer,
        scripted::{Runtime, container_request},
        status::Phase,
    },
    *,
};
use crate::notices::Notices;

const LONG: Duration = Duration::from_secs(60);

struct Fixture {
    dir: tempfile::TempDir,
    notices: Notices,
    status: Status,
    stopping: CancellationToken,
}

impl Fixture {
    fn new() -> Self {
        let notices = Notices::new();
        Self {
            dir: tempfile::tempdir().unwrap(),
            status: Status::new(notices.clone(), &Registry::new("agent", "0")),
            notices,
            stopping: CancellationToken::new(),
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("nri.sock")
    }

    fn start(&self) -> tokio::task::JoinHandle<Result<(), BoxError>> {
        let double = Arc::new(Double::default());
        double.pin("1");
        let (placer, body) = BoundedPlacer::new(double as Arc<dyn Placer>);
        std::thread::spawn(body);
        let config = PluginConfig {
            socket: self.socket(),
            lock: self.dir.path().join("nri.lock"),
            identity: Identity {
                name: "katalyst".to_owned(),
                index: "50".to_owned(),
            },
            budget: LONG,
        };
        tokio::spawn(run(
            config,
            placer,
            self.status.clone(),
            self.stopping.clone(),
        ))
    }

    /// Waits for a condition of the state.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(LONG, async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited
            .await
            .unwrap_or_else(|_| panic!("{what}: {:?}", self.status.state()));
    }
}

#[tokio::test]
async fn no_socket_is_a_notice_and_a_runtime_that_comes_and_goes_is_followed() {
    let fixture = Fixture::new();
    let running = fixture.start();
    fixture
        .until("notice", |of| {
            of.notices
                .texts()
                .iter()
                .any(|text| text.starts_with("nri: off: no runtime at"))
        })
        .await;
    for _ in 0..2 {
        let listener = UnixListener::bind(fixture.socket()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut runtime = Runtime::new(stream);
        runtime.greet().await;
        assert_eq!(fixture.status.state().phase, Phase::Synchronized);
        assert!(
            fixture.notices.texts().is_empty(),
            "{:?}",
            fixture.notices.texts()
        );
        let answer: wire::CreateContainerResponse = runtime
            .call("CreateContainer", &container_request("c", "s"))
            .await;
        assert!(answer.adjust.is_some());
        drop((runtime, listener));
        std::fs::remove_file(fixture.socket()).unwrap();
        fixture
            .until("end", |of| of.status.state().phase == Phase::Disconnected)
            .await;
    }
    fixture.stopping.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_second_agent_waits_for_the_first_one() {
    let fixture = Fixture::new();
    let Claim::Held(first) = Single::claim(&fixture.dir.path().join("nri.lock")).unwrap() else {
        panic!("not held");
    };
    let listener = UnixListener::bind(fixture.socket()).unwrap();
    let running = fixture.start();
    fixture
        .until("excluded", |of| of.status.state().phase == Phase::Excluded)
        .await;
    assert!(
        fixture.notices.texts()[0].contains("is this node's plugin"),
        "{:?}",
        fixture.notices.texts()
    );
    drop(first);
    let (stream, _) = listener.accept().await.unwrap();
    Runtime::new(stream).greet().await;
    fixture.stopping.cancel();
    running.await.unwrap().unwrap();
}
