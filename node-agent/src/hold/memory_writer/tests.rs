//! A thread that may be in the kernel for as long as it likes, and an executor that never waits for it.

use std::{
    fs,
    path::Path,
    sync::mpsc,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    hold::{Execution, Executor, Purpose, Setting, restore_all},
    metrics::AgentMetrics,
    notices::Notices,
};

/// Far longer than any of this takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// A pod with sets and a quota, on version 2.
fn node() -> (tempfile::TempDir, Hierarchy) {
    let root = tempfile::tempdir().unwrap();
    let base = root.path().join("sys/fs/cgroup");
    for (file, text) in [
        ("cgroup.controllers", "cpu cpuset memory"),
        ("a/cpuset.cpus", ""),
        ("a/cpuset.mems", ""),
        ("a/cpu.max", "max 100000"),
    ] {
        let path = base.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let hierarchy = Hierarchy::detect(root.path()).unwrap();
    (root, hierarchy)
}

fn executor(root: &Path, writer: MemoryWriter) -> Executor {
    let metrics = AgentMetrics::register(&katalyst_runtime::Metrics::new("test", "0"));
    let mut executor = Executor::new(root.join("state"), false, Notices::new(), metrics);
    executor.set_memory_writer(writer);
    executor
}

/// A writer that waits for leave before each job and says when it has begun.
fn slow() -> (MemoryWriter, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (begun, seen) = mpsc::channel();
    let (leave, wait) = mpsc::channel();
    let writer = MemoryWriter::with(
        || {},
        move |job, _| {
            begun.send(()).ok();
            match wait.recv() {
                Ok(()) => apply(&job.hierarchy, &job.changes, None),
                Err(_) => Outcome::default(),
            }
        },
    )
    .unwrap();
    (writer, seen, leave)
}

fn setting(knob: Knob, value: &str) -> Setting {
    Setting::value(&PodUid::new("a"), Path::new("a"), knob, value)
}

fn place(executor: &mut Executor, hierarchy: &Hierarchy, cpus: &str, mems: &str) -> Execution {
    let settings = vec![
        setting(Knob::CpusetCpus, cpus),
        setting(Knob::CpusetMems, mems),
    ];
    executor.execute(hierarchy, Purpose::Pools, settings)
}

fn read(root: &Path, file: &str) -> String {
    fs::read_to_string(root.join("sys/fs/cgroup/a").join(file)).unwrap()
}

fn settled(executor: &mut Executor) {
    let began = Instant::now();
    while !executor.settle(Duration::from_millis(1)) {
        assert!(began.elapsed() < DEADLINE, "the job is never done");
    }
}

#[test]
fn nobody_waits_for_pages_and_cpusets_are_left_alone_meanwhile() {
    let (root, hierarchy) = node();
    let (writer, begun, leave) = slow();
    let mut executor = executor(root.path(), writer);
    let execution = place(&mut executor, &hierarchy, "0-1", "1");
    assert!(execution.pending && execution.problems.is_empty());
    begun.recv_timeout(DEADLINE).unwrap();
    assert_eq!(read(root.path(), "cpuset.cpus"), "0-1");
    assert_eq!(read(root.path(), "cpuset.mems"), "");
    // What is under way is on record, for whoever comes after a crash in this very moment.
    let (mut records, _) = Records::load(&root.path().join("state")).unwrap();
    assert_eq!(records.old(Path::new("a"), Knob::CpusetMems), Some(""));

    // Limits go on; cpusets wait, since the kernel would make their writer wait.
    let limits = vec![setting(Knob::CpuMax, "5000 100000")];
    let execution = executor.execute(&hierarchy, Purpose::Limits, limits);
    assert!(!execution.pending && execution.written == 1);
    let execution = place(&mut executor, &hierarchy, "2-3", "0");
    assert!(execution.pending && execution.changes.is_empty());
    executor.leave(&hierarchy, &PodUid::new("a"));
    assert!(executor.records().has(&PodUid::new("a")));

    leave.send(()).unwrap();
    settled(&mut executor);
    assert_eq!(read(root.path(), "cpuset.mems"), "1");
    assert!(executor.last_move().is_some());
    leave.send(()).unwrap();
    place(&mut executor, &hierarchy, "2-3", "0");
    settled(&mut executor);
    assert_eq!(read(root.path(), "cpuset.cpus"), "2-3");
    assert_eq!(read(root.path(), "cpuset.mems"), "0");
    let again = place(&mut executor, &hierarchy, "2-3", "0");
    assert!(again.changes.is_empty() && !again.pending);

    drop(executor);
    records = Records::load(&root.path().join("state")).unwrap().0;
    restore_all(&hierarchy, &mut records).unwrap();
    assert_eq!(read(root.path(), "cpuset.mems"), "\n");
}

#[test]
fn records_end_when_the_old_value_is_back_and_not_before() {
    let (root, hierarchy) = node();
    let (writer, _begun, leave) = slow();
    let mut executor = executor(root.path(), writer);
    leave.send(()).unwrap();
    place(&mut executor, &hierarchy, "0-1", "1");
    settled(&mut executor);
    let old = || {
        [Knob::CpusetCpus, Knob::CpusetMems]
            .map(|knob| Setting::old(&PodUid::new("a"), Path::new("a"), knob))
            .to_vec()
    };
    executor.execute(&hierarchy, Purpose::Pools, old());
    let has = |executor: &Executor, knob| executor.records().old(Path::new("a"), knob).is_some();
    assert!(!has(&executor, Knob::CpusetCpus) && has(&executor, Knob::CpusetMems));
    leave.send(()).unwrap();
    settled(&mut executor);
    assert!(!has(&executor, Knob::CpusetMems));
}

#[test]
fn a_write_that_never_returns_ends_nothing_but_moves() {
    let (root, hierarchy) = node();
    let (writer, begun, _leave) = slow();
    let mut executor = executor(root.path(), writer);
    place(&mut executor, &hierarchy, "0-1", "1");
    begun.recv_timeout(DEADLINE).unwrap();
    for micros in [5_000, 6_000, 7_000] {
        let limits = vec![setting(Knob::CpuMax, &format!("{micros} 100000"))];
        let execution = executor.execute(&hierarchy, Purpose::Limits, limits);
        assert_eq!(execution.written, 1);
    }
    executor.finish(Duration::from_millis(1));
    assert!(executor.moves_pages());
    // Returns though the thread does not.
    drop(executor);
    assert_eq!(read(root.path(), "cpu.max"), "7000 100000");
}

#[test]
fn the_thread_writes_rings_and_obeys_a_restore() {
    let (root, hierarchy) = node();
    let (ring, rung) = mpsc::channel();
    let writer = MemoryWriter::start(move || ring.send(()).unwrap()).unwrap();
    let mut executor = executor(root.path(), writer);
    place(&mut executor, &hierarchy, "0-1", "1");
    rung.recv_timeout(DEADLINE).unwrap();
    settled(&mut executor);
    assert_eq!(read(root.path(), "cpuset.mems"), "1");
    drop(executor);

    let mut writer = MemoryWriter::start(|| {}).unwrap();
    let state_dir = root.path().join("state");
    Records::stand_down(&state_dir).unwrap();
    let job = Job {
        hierarchy,
        state_dir: state_dir.clone(),
        changes: vec![Change {
            pod: PodUid::new("a"),
            group: PathBuf::from("a"),
            knob: Knob::CpusetMems,
            from: "1".to_owned(),
            to: "0".to_owned(),
        }],
    };
    assert!(writer.hand_over(job, Vec::new()));
    let done = writer.take_done(DEADLINE).unwrap();
    assert!(done.outcome.stopped && done.outcome.written == 0);
    assert_eq!(read(root.path(), "cpuset.mems"), "1");
}

#[test]
fn a_restore_waits_for_moves_but_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let held = Records::lock_memory(dir.path()).unwrap();
    let patience = Duration::from_millis(1);
    assert!(Records::lock_memory_within(dir.path(), patience).is_none());
    drop(held);
    assert!(Records::lock_memory_within(dir.path(), patience).is_some());
}
