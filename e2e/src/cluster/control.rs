//! Requests to a running cluster: its state, and faults for tests. One JSON object a line over a unix socket.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};

use super::{component::ComponentStatus, components::Components, error::ClusterError, machines};

/// How a component is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// SIGTERM: it may tidy up.
    Term,
    /// SIGKILL: as in a crash.
    #[default]
    Kill,
}

impl Ending {
    fn signal(self) -> Signal {
        match self {
            Self::Term => Signal::TERM,
            Self::Kill => Signal::KILL,
        }
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "request"
)]
pub enum Request {
    /// State of every component.
    Status,
    /// End a component.
    Stop {
        /// Which.
        component: String,
        /// How.
        ending: Ending,
        /// Start it again after so many milliseconds; the answer comes before that.
        start_after_millis: Option<u64>,
    },
    /// Start a component that ended; answered when it takes requests again, where it does.
    Start {
        /// Which.
        component: String,
    },
    /// End a component and start it again at once; answered when it takes requests again, where it does.
    Restart {
        /// Which.
        component: String,
        /// How.
        ending: Ending,
    },
    /// Freeze a component.
    Pause {
        /// Which.
        component: String,
        /// Thaw it after so many milliseconds; the answer comes before that.
        resume_after_millis: Option<u64>,
    },
    /// Thaw a component.
    Resume {
        /// Which.
        component: String,
    },
    /// Load an image archive into one node, or into every node.
    LoadImage {
        /// The archive.
        archive: PathBuf,
        /// The node; every one without.
        node: Option<String>,
    },
}

impl Request {
    /// How long its answer may take.
    pub fn limit(&self) -> Duration {
        match self {
            // An emulated machine unpacks a few megabytes a second, and every machine does it at the same time.
            Self::LoadImage { .. } => machines::IMPORT_LIMIT + ANSWER,
            _ => ANSWER,
        }
    }
}

/// How long a component may take to answer a request; a stop takes at most 20 s.
const ANSWER: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// It is done; the state after it.
    Done(Vec<ComponentStatus>),
    /// It could not be done.
    Refused(String),
}

/// What takes requests that are not about components.
pub(super) trait ImageLoader: Send + Sync + 'static {
    /// Loads an archive into the named node, or into every node.
    fn load(
        &self,
        archive: &Path,
        node: Option<&str>,
    ) -> impl std::future::Future<Output = Result<(), ClusterError>> + Send;
}

/// Sends one request and waits for its answer.
pub fn call(socket: &Path, request: &Request) -> Result<Vec<ComponentStatus>, ClusterError> {
    let failed =
        |error: std::io::Error| ClusterError::Control(format!("{}: {error}", socket.display()));
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    stream
        .set_read_timeout(Some(request.limit()))
        .map_err(failed)?;
    let line = serde_json::to_string(request)
        .map_err(|error| ClusterError::Control(format!("request: {error}")))?;
    stream
        .write_all(format!("{line}\n").as_bytes())
        .map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => ClusterError::Timeout {
                what: format!("the answer to {line}"),
                seconds: request.limit().as_secs(),
                last: "the supervisor still works on it".to_owned(),
            },
            _ => failed(error),
        })?;
    match serde_json::from_str(&answer) {
        Ok(Reply::Done(status)) => Ok(status),
        Ok(Reply::Refused(reason)) => Err(ClusterError::Control(reason)),
        Err(error) => Err(ClusterError::Control(format!("answer {answer:?}: {error}"))),
    }
}

/// Answers requests until the process ends.
pub(super) async fn serve(
    listener: UnixListener,
    components: Components,
    images: std::sync::Arc<impl ImageLoader>,
) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                eprintln!("control socket: {error}");
                continue;
            }
        };
        let (components, images) = (components.clone(), images.clone());
        tokio::spawn(async move {
            let (read, mut write) = stream.into_split();
            let mut lines = tokio::io::BufReader::new(read).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let reply = match answer(&line, &components, &*images).await {
                    Ok(()) => Reply::Done(components.status()),
                    Err(error) => Reply::Refused(error.to_string()),
                };
                let Ok(text) = serde_json::to_string(&reply) else {
                    return;
                };
                if write
                    .write_all(format!("{text}\n").as_bytes())
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
    }
}

async fn answer(
    line: &str,
    components: &Components,
    images: &impl ImageLoader,
) -> Result<(), ClusterError> {
    let request: Request = serde_json::from_str(line)
        .map_err(|error| ClusterError::Control(format!("request {line:?}: {error}")))?;
    eprintln!("request: {request:?}");
    match request {
        Request::Status => Ok(()),
        Request::Stop {
            component,
            ending,
            start_after_millis,
        } => {
            components.stop(&component, ending.signal()).await?;
            later(start_after_millis, components.clone(), move |components| {
                components.start_again(&component)
            });
            Ok(())
        }
        Request::Start { component } => {
            components.start_again(&component)?;
            components.wait_for_endpoint(&component).await
        }
        Request::Restart { component, ending } => {
            components.stop(&component, ending.signal()).await?;
            components.start_again(&component)?;
            components.wait_for_endpoint(&component).await
        }
        Request::Pause {
            component,
            resume_after_millis,
        } => {
            components.pause(&component)?;
            later(resume_after_millis, components.clone(), move |components| {
                components.resume(&component)
            });
            Ok(())
        }
        Request::Resume { component } => components.resume(&component),
        Request::LoadImage { archive, node } => images.load(&archive, node.as_deref()).await,
    }
}

fn later(
    millis: Option<u64>,
    components: Components,
    act: impl FnOnce(&Components) -> Result<(), ClusterError> + Send + 'static,
) {
    let Some(millis) = millis else {
        return;
    };
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        // Somebody may have done it by hand in the meantime; that is worth a line, no more.
        if let Err(error) = act(&components) {
            eprintln!("delayed request: {error}");
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::component::{ComponentSpec, ComponentState};

    struct NoImages;

    impl ImageLoader for NoImages {
        async fn load(&self, archive: &Path, _node: Option<&str>) -> Result<(), ClusterError> {
            Err(ClusterError::Control(format!("no {}", archive.display())))
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn faults_go_over_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("c.sock");
        let components = Components::new(folder.path().to_owned(), "/usr/bin:/bin".to_owned());
        components
            .start(ComponentSpec::new("a", "/bin/sleep", ["1000"]))
            .unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(serve(listener, components, Arc::new(NoImages)));
        let send = async |request: Request| {
            let socket = socket.clone();
            tokio::task::spawn_blocking(move || call(&socket, &request))
                .await
                .unwrap()
        };
        let named = || "a".to_owned();
        let paused = send(Request::Pause {
            component: named(),
            resume_after_millis: None,
        })
        .await
        .unwrap();
        assert!(matches!(paused[0].state, ComponentState::Paused { .. }));
        let restarted = send(Request::Restart {
            component: named(),
            ending: Ending::Kill,
        })
        .await
        .unwrap();
        assert_eq!(restarted[0].starts, 2);
        let stopped = send(Request::Stop {
            component: named(),
            ending: Ending::Term,
            start_after_millis: None,
        })
        .await
        .unwrap();
        assert_eq!(stopped[0].state, ComponentState::Stopped);
        let refused = send(Request::Resume { component: named() }).await;
        assert!(refused.unwrap_err().to_string().contains("stopped"));
        let refused = send(Request::LoadImage {
            archive: "x.tar".into(),
            node: None,
        })
        .await;
        assert!(refused.unwrap_err().to_string().contains("x.tar"));
    }
}
