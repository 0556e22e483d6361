//! Who runs in this process, and in which order everything stops.
//!
//! Every task has a name and an owner: [`Tasks`]. The first unexpected end (an error, a panic, or a return
//! before the stop) stops all others and makes the exit code non-zero. The order of a stop:
//!
//! 1. [`Tasks::stopping`] is cancelled: loops take no new work, servers accept no more connections;
//! 2. work in flight finishes, within a time limit; what remains is aborted and named in the log;
//! 3. [`Tasks::finishing`] is cancelled: the tasks of the last stage run, such as releasing the lease.

use std::{any::Any, collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use crate::BoxError;

/// Limit for the last stage. Releasing a lease is one request; the kubelet's own grace period must not end first.
const LAST_STAGE_LIMIT: Duration = Duration::from_secs(5);

/// The tasks of one process. Clones share the same set.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    stopping: CancellationToken,
    finishing: CancellationToken,
    work: Stage,
    last: Stage,
    failures: Mutex<Vec<String>>,
}

#[derive(Debug, Default)]
struct Stage {
    tracker: TaskTracker,
    running: Mutex<BTreeMap<u64, Running>>,
}

#[derive(Debug)]
struct Running {
    name: Arc<str>,
    /// Absent for a thread, which cannot be aborted.
    abort: Option<AbortHandle>,
}

/// When a task may end without an error.
#[derive(Clone, Copy)]
enum End {
    /// Only once the stop has begun.
    AfterStop,
    /// At any time.
    AnyTime,
}

/// How the process ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// One line for each task that failed or ended too early, in the order of their ends.
    pub failures: Vec<String>,
    /// Names of the tasks that did not finish within their limit.
    pub unfinished: Vec<String>,
}

impl Outcome {
    /// Whether everything ended as it should.
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty() && self.unfinished.is_empty()
    }
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the process takes no new work. Loops select on it.
    pub fn stopping(&self) -> CancellationToken {
        self.inner.stopping.clone()
    }

    /// Cancelled when work in flight has finished. Tasks of the last stage select on it.
    pub fn finishing(&self) -> CancellationToken {
        self.inner.finishing.clone()
    }

    /// Spawns a task that runs until [`Tasks::stopping`] and then finishes what it has begun.
    pub fn spawn<F, E>(&self, name: impl Into<Arc<str>>, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        self.supervise(Which::Work, name.into(), End::AfterStop, future);
    }

    /// Spawns a task that is done when it is done, such as a migration at start. An error still stops everything.
    pub fn spawn_once<F, E>(&self, name: impl Into<Arc<str>>, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        self.supervise(Which::Work, name.into(), End::AnyTime, future);
    }

    /// Spawns a task of the last stage: it runs until [`Tasks::finishing`], when no other work is left.
    pub fn spawn_last<F, E>(&self, name: impl Into<Arc<str>>, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        self.supervise(Which::Last, name.into(), End::AfterStop, future);
    }

    /// Runs `body` on a thread of its own, for loops of blocking file access. It must watch [`Tasks::stopping`]
    /// (`is_cancelled`) and return soon after; a thread cannot be aborted.
    pub fn spawn_thread<F, E>(&self, name: impl Into<Arc<str>>, body: F)
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        let name = name.into();
        let (done, result) = tokio::sync::oneshot::channel();
        let spawned = std::thread::Builder::new()
            .name(name.to_string())
            .spawn(move || {
                let ended = std::panic::catch_unwind(AssertUnwindSafe(body));
                // The receiver is gone only after the drain has given up on this thread; nobody is left to tell.
                let _undelivered = done.send(ended.map(|result| result.map_err(Into::into)));
            });
        let name_of_thread = Arc::clone(&name);
        let watch = async move {
            match (spawned, result.await) {
                (Err(error), _) => Err(BoxError::from(format!("thread does not start: {error}"))),
                (Ok(_), Ok(Ok(result))) => result,
                (Ok(_), Ok(Err(panic))) => Err(panic_text(panic.as_ref()).into()),
                (Ok(_), Err(_closed)) => Err("thread vanished".into()),
            }
        };
        self.supervise(Which::Work, name_of_thread, End::AfterStop, watch);
    }

    /// Begins an orderly stop.
    pub fn stop(&self) {
        self.inner.stopping.cancel();
    }

    /// Records that `what` failed and begins the stop; the process will exit non-zero.
    pub fn fail(&self, what: &str, error: impl Into<BoxError>) {
        let line = format!("{what}: {}", chain(error.into().as_ref()));
        tracing::error!("{line}");
        self.inner.failures.lock().push(line);
        self.stop();
    }

    /// Names of the tasks that still run, last stage included.
    pub fn running(&self) -> Vec<String> {
        let Inner { work, last, .. } = &*self.inner;
        work.names().into_iter().chain(last.names()).collect()
    }

    /// Begins the stop if nobody has, and goes through it. `limit` bounds step 2.
    pub async fn drain(&self, limit: Duration) -> Outcome {
        let Inner {
            stopping,
            finishing,
            work,
            last,
            failures,
        } = &*self.inner;
        stopping.cancel();
        let mut unfinished = work.finish(limit).await;
        finishing.cancel();
        unfinished.extend(last.finish(LAST_STAGE_LIMIT).await);
        for name in &unfinished {
            tracing::error!(task = name, "did not finish in time and was abandoned");
        }
        Outcome {
            failures: failures.lock().clone(),
            unfinished,
        }
    }

    fn supervise<F, E>(&self, which: Which, name: Arc<str>, end: End, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        let tasks = self.clone();
        let span = tracing::info_span!("run", task = &*name);
        let supervised_name = Arc::clone(&name);
        let id = self.stage(which).enter(name);
        let supervised = async move {
            let ended = AssertUnwindSafe(future).catch_unwind().await;
            tasks.ended(&supervised_name, end, ended);
            tasks.stage(which).leave(id);
        };
        let handle = self.stage(which).tracker.spawn(supervised.instrument(span));
        self.stage(which).arm(id, handle.abort_handle());
    }

    fn ended<E: Into<BoxError>>(
        &self,
        name: &str,
        end: End,
        ended: Result<Result<(), E>, Box<dyn Any + Send>>,
    ) {
        match (ended, end) {
            (Ok(Ok(())), End::AnyTime) => tracing::debug!("task done"),
            (Ok(Ok(())), End::AfterStop) if self.inner.stopping.is_cancelled() => {
                tracing::debug!("task stopped");
            }
            (Ok(Ok(())), End::AfterStop) => {
                self.fail(name, "ended before the process was asked to stop");
            }
            (Ok(Err(error)), _) => self.fail(name, error),
            (Err(panic), _) => self.fail(name, panic_text(panic.as_ref())),
        }
    }

    fn stage(&self, which: Which) -> &Stage {
        match which {
            Which::Work => &self.inner.work,
            Which::Last => &self.inner.last,
        }
    }
}

#[derive(Clone, Copy)]
enum Which {
    Work,
    Last,
}

impl Stage {
    fn enter(&self, name: Arc<str>) -> u64 {
        let mut running = self.running.lock();
        let id = running.last_key_value().map_or(0, |(id, _)| id + 1);
        running.insert(id, Running { name, abort: None });
        id
    }

    fn arm(&self, id: u64, abort: AbortHandle) {
        if let Some(running) = self.running.lock().get_mut(&id) {
            running.abort = Some(abort);
        }
    }

    fn leave(&self, id: u64) {
        self.running.lock().remove(&id);
    }

    fn names(&self) -> Vec<String> {
        self.running
            .lock()
            .values()
            .map(|running| running.name.to_string())
            .collect()
    }

    /// Waits for all tasks; those still running after `limit` are aborted and named.
    async fn finish(&self, limit: Duration) -> Vec<String> {
        self.tracker.close();
        if tokio::time::timeout(limit, self.tracker.wait())
            .await
            .is_ok()
        {
            return Vec::new();
        }
        let running = std::mem::take(&mut *self.running.lock());
        for abort in running
            .values()
            .filter_map(|running| running.abort.as_ref())
        {
            abort.abort();
        }
        running
            .into_values()
            .map(|running| running.name.to_string())
            .collect()
    }
}

/// An error and its causes on one line, leaving out a cause that its parent already prints.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    // kube prints a refusal of the API server twice over, once as a debug structure.
    let words = |error: &(dyn std::error::Error + 'static)| match error.downcast_ref() {
        Some(kube::Error::Api(status)) => status.message.clone(),
        _ => error.to_string(),
    };
    let mut line = words(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = words(error);
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

/// What a panic said.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)");
    format!("panicked: {text}")
}

#[cfg(test)]
mod tests;
