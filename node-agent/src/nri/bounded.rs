//! A placer that is asked within a budget.
//!
//! One thread asks, so that the answers for a pod keep the order of its events. A question whose budget has ended is answered without the
//! placer. If the question was pure, it is not even asked any more; what the placer must know about (a sandbox came, a pod is gone) is told
//! late. The queue is bounded: beyond it questions are answered at once without the placer. A list of everything is gone through until its
//! budget ends and no further: its pods are known from the API server as well, and new containers are waiting.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::placer::{Adjustment, NewContainer, Placer, RunningContainer, Sandbox};

/// Questions that may wait. A runtime asks one after the other, so there are rarely two.
const QUEUE: usize = 64;

/// What the runtime reported.
#[derive(Debug)]
pub enum Question {
    /// A sandbox came.
    Sandbox(Box<Sandbox>),
    /// A container is to be created.
    Container(Box<(Sandbox, NewContainer)>),
    /// A container is to be updated.
    Running(Box<(Sandbox, RunningContainer)>),
    /// Everything that exists: sandboxes by identifier, containers with the identifier of their sandbox.
    Everything(BTreeMap<String, Sandbox>, Vec<(String, RunningContainer)>),
    /// Nothing of a pod runs any more, by UID.
    Stopped(String),
    /// Pods are gone, by UID.
    Removed(Vec<String>),
}

/// What the placer said.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// It knows.
    Told,
    /// For the container in question; empty for none.
    Adjustment(Box<Adjustment>),
    /// The container must not be created; why.
    Refused(String),
    /// For each container that should change.
    Adjustments(Vec<(RunningContainer, Adjustment)>),
}

struct Job {
    question: Question,
    deadline: Instant,
    reply: oneshot::Sender<Answer>,
}

/// The way to the thread that asks. The thread ends when this is dropped.
#[derive(Debug)]
pub struct BoundedPlacer {
    jobs: mpsc::SyncSender<Job>,
}

impl BoundedPlacer {
    /// The way, and the body of the thread.
    pub fn new(placer: Arc<dyn Placer>) -> (Self, impl FnOnce() + Send + 'static) {
        let (jobs, queue) = mpsc::sync_channel(QUEUE);
        (Self { jobs }, move || serve(placer.as_ref(), &queue))
    }

    /// Asks. `None` where the budget ended or the queue is full.
    pub async fn ask(&self, question: Question, budget: Duration) -> Option<Answer> {
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now() + budget;
        self.jobs
            .try_send(Job {
                question,
                deadline,
                reply,
            })
            .ok()?;
        tokio::time::timeout(budget, answer).await.ok()?.ok()
    }
}

fn serve(placer: &dyn Placer, queue: &mpsc::Receiver<Job>) {
    while let Ok(Job {
        question,
        deadline,
        reply,
    }) = queue.recv()
    {
        if let Some(answer) = put(placer, question, deadline) {
            // Nobody waits any more when the budget ended.
            let _late = reply.send(answer);
        }
    }
}

/// Puts one question; `None` for one that nobody waits for.
fn put(placer: &dyn Placer, question: Question, deadline: Instant) -> Option<Answer> {
    let late = || Instant::now() >= deadline;
    match question {
        Question::Sandbox(pod) => {
            placer.sandbox(&pod);
            Some(Answer::Told)
        }
        Question::Stopped(uid) => {
            placer.stopped(&uid);
            Some(Answer::Told)
        }
        Question::Removed(uids) => {
            for uid in uids {
                placer.removed(&uid);
            }
            Some(Answer::Told)
        }
        Question::Container(_) | Question::Running(_) if late() => None,
        Question::Container(of) => {
            let (pod, container) = *of;
            Some(match placer.container(&pod, &container) {
                Ok(adjustment) => Answer::Adjustment(Box::new(adjustment)),
                Err(refused) => Answer::Refused(refused.0),
            })
        }
        Question::Running(of) => {
            let (pod, container) = *of;
            let adjustment = placer.running(&pod, &container).unwrap_or_default();
            Some(Answer::Adjustment(Box::new(adjustment)))
        }
        Question::Everything(pods, containers) => {
            // A sandbox without a container is mostly that of a pod that ended, and waits to be collected.
            let inhabited: BTreeSet<&String> = containers.iter().map(|(id, _)| id).collect();
            let pods_told = pods.values().filter(|pod| inhabited.contains(&pod.id));
            for pod in pods_told.take_while(|_| !late()) {
                placer.sandbox(pod);
            }
            let adjustments = containers
                .into_iter()
                .take_while(|_| !late())
                .filter_map(|(sandbox, container)| {
                    let adjustment = placer.running(pods.get(&sandbox)?, &container)?;
                    Some((container, adjustment))
                })
                .collect();
            Some(Answer::Adjustments(adjustments))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::double::Double, *};

    const LONG: Duration = Duration::from_secs(60);

    fn asked(double: &Arc<Double>) -> BoundedPlacer {
        let (bounded, body) = BoundedPlacer::new(Arc::clone(double) as Arc<dyn Placer>);
        std::thread::spawn(body);
        bounded
    }

    fn pod(id: &str) -> Sandbox {
        Sandbox {
            id: id.to_owned(),
            uid: format!("uid-{id}"),
            ..Sandbox::default()
        }
    }

    #[tokio::test]
    async fn behind_a_slow_answer_events_are_told_late_and_questions_dropped() {
        let double = Arc::new(Double::default());
        let gate = double.close();
        let bounded = asked(&double);
        let slow = bounded
            .ask(Question::Sandbox(Box::new(pod("a"))), Duration::ZERO)
            .await;
        let container = Question::Container(Box::new((pod("b"), NewContainer::default())));
        let dropped = bounded.ask(container, Duration::ZERO).await;
        let late = bounded
            .ask(Question::Sandbox(Box::new(pod("c"))), Duration::ZERO)
            .await;
        assert_eq!((slow, dropped, late), (None, None, None));
        drop(gate);
        let answer = bounded
            .ask(Question::Removed(vec!["uid-a".to_owned()]), LONG)
            .await;
        assert_eq!(answer, Some(Answer::Told));
        assert_eq!(double.seen(), ["sandbox a", "sandbox c", "removed uid-a"]);
    }

    #[tokio::test]
    async fn a_full_queue_is_answered_at_once() {
        let double = Arc::new(Double::default());
        let gate = double.close();
        let bounded = asked(&double);
        bounded
            .ask(Question::Sandbox(Box::new(pod("a"))), Duration::ZERO)
            .await;
        for _ in 0..2 * QUEUE {
            bounded
                .ask(Question::Removed(Vec::new()), Duration::ZERO)
                .await;
        }
        assert_eq!(bounded.ask(Question::Removed(Vec::new()), LONG).await, None);
        drop(gate);
    }

    #[tokio::test]
    async fn a_list_stops_where_its_budget_ends() {
        let double = Arc::new(Double::default());
        let bounded = asked(&double);
        let pods = [("a".to_owned(), pod("a"))].into();
        let everything = Question::Everything(pods, Vec::new());
        bounded.ask(everything, Duration::ZERO).await;
        let answer = bounded
            .ask(Question::Removed(vec!["x".to_owned()]), LONG)
            .await;
        assert_eq!(answer, Some(Answer::Told));
        assert_eq!(double.seen(), ["removed x"]);
    }

    #[tokio::test]
    async fn everything_is_told_before_its_containers_are_asked_for() {
        let double = Arc::new(Double::default());
        double.pin("0-1");
        let bounded = asked(&double);
        let pods = [("a".to_owned(), pod("a")), ("b".to_owned(), pod("b"))].into();
        let container = |id: &str| RunningContainer {
            id: id.to_owned(),
            ..RunningContainer::default()
        };
        let containers = vec![
            ("b".to_owned(), container("b1")),
            ("gone".to_owned(), container("x")),
        ];
        let Some(Answer::Adjustments(adjustments)) = bounded
            .ask(Question::Everything(pods, containers), LONG)
            .await
        else {
            panic!("no answer");
        };
        let ids: Vec<&str> = adjustments
            .iter()
            .map(|(container, _)| container.id.as_str())
            .collect();
        assert_eq!(ids, ["b1"]);
        assert_eq!(double.seen(), ["sandbox b", "running b1"]);
    }
}
