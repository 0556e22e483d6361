use std::io;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

async fn until(token: CancellationToken) -> Result<(), BoxError> {
    token.cancelled().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_last_stage_stops_only_after_work_in_flight() {
    let tasks = Tasks::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let (stopping, finishing) = (tasks.stopping(), tasks.finishing());
    let log = Arc::clone(&order);
    tasks.spawn("work", async move {
        stopping.cancelled().await;
        tokio::time::sleep(Duration::from_secs(7)).await;
        log.lock().push("in-flight work done");
        Ok::<(), BoxError>(())
    });
    let log = Arc::clone(&order);
    tasks.spawn_last("lease", async move {
        finishing.cancelled().await;
        log.lock().push("lease released");
        Ok::<(), BoxError>(())
    });
    assert_eq!(tasks.running(), ["work", "lease"]);
    let outcome = tasks.drain(LIMIT).await;
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_eq!(*order.lock(), ["in-flight work done", "lease released"]);
    assert_eq!(tasks.running(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_error_stops_everything_and_is_told_with_its_cause() {
    let tasks = Tasks::new();
    tasks.spawn("steady", until(tasks.stopping()));
    tasks.spawn("broken", async {
        let cause = io::Error::other("no such node");
        Err(crate::admin::AdminError::Serve(cause))
    });
    tasks.stopping().cancelled().await;
    let outcome = tasks.drain(LIMIT).await;
    assert_eq!(
        outcome.failures,
        ["broken: admin server failed: no such node"]
    );
    assert!(!outcome.is_clean());
}

#[tokio::test(start_paused = true)]
async fn an_early_return_and_a_panic_are_failures() {
    let tasks = Tasks::new();
    tasks.spawn("early", async { Ok::<(), BoxError>(()) });
    tasks.stopping().cancelled().await;
    tasks.spawn("loud", async {
        tokio::task::yield_now().await;
        assert!(std::hint::black_box(false), "index {} is gone", 3);
        Ok::<(), BoxError>(())
    });
    let outcome = tasks.drain(LIMIT).await;
    assert_eq!(
        outcome.failures,
        [
            "early: ended before the process was asked to stop",
            "loud: panicked: index 3 is gone"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_finite_task_may_end_but_not_fail() {
    let tasks = Tasks::new();
    tasks.spawn_once("migrate", async { Ok::<(), BoxError>(()) });
    tokio::task::yield_now().await;
    assert!(!tasks.stopping().is_cancelled());
    tasks.spawn_once("migrate again", async { Err("disk full") });
    tasks.stopping().cancelled().await;
    assert_eq!(
        tasks.drain(LIMIT).await.failures,
        ["migrate again: disk full"]
    );
}

#[tokio::test(start_paused = true)]
async fn work_that_does_not_end_is_aborted_and_named_and_the_last_stage_still_runs() {
    let tasks = Tasks::new();
    let released = Arc::new(Mutex::new(false));
    tasks.spawn("stuck", std::future::pending::<Result<(), BoxError>>());
    let (finishing, flag) = (tasks.finishing(), Arc::clone(&released));
    tasks.spawn_last("lease", async move {
        finishing.cancelled().await;
        *flag.lock() = true;
        Ok::<(), BoxError>(())
    });
    let outcome = tasks.drain(LIMIT).await;
    assert_eq!(outcome.unfinished, ["stuck"]);
    assert!(outcome.failures.is_empty());
    assert!(!outcome.is_clean());
    assert!(*released.lock());
}

#[tokio::test]
async fn a_thread_is_supervised_like_a_task() {
    let tasks = Tasks::new();
    let stopping = tasks.stopping();
    tasks.spawn_thread("sampler", move || {
        while !stopping.is_cancelled() {
            std::thread::yield_now();
        }
        Ok::<(), BoxError>(())
    });
    tasks.spawn_thread("faulty", || Err("cgroup vanished"));
    tasks.stopping().cancelled().await;
    let outcome = tasks.drain(LIMIT).await;
    assert_eq!(outcome.failures, ["faulty: cgroup vanished"]);
    assert!(outcome.unfinished.is_empty());
}
