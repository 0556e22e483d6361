//! The task that acquires, renews and releases the lease.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};
use rand::rngs::StdRng;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    JITTER, Leader, Leadership, LeaseConfig, LeaseError,
    record::{Observed, Standing, first},
};
use crate::{backoff::jittered, shutdown::chain};

/// Field manager of the Lease's fields.
const FIELD_MANAGER: &str = "katalyst-leader-election";

/// One process's part in the election; [`Elector::run`] plays it.
#[derive(Debug)]
#[must_use = "nothing is acquired until `run` is awaited"]
pub struct Elector {
    api: Api<Lease>,
    config: LeaseConfig,
    rng: StdRng,
    state: watch::Sender<Leadership>,
    observed: Option<Observed>,
}

/// What one attempt met.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("{verb}")]
    Api {
        verb: &'static str,
        #[source]
        source: kube::Error,
    },
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

/// Makes an elector and the view on it. `client` must not retry by itself ([`crate::Clients::unretried`]), since the
/// election has deadlines of its own; `rng` spreads the attempts of several candidates.
pub fn elector(client: Client, config: LeaseConfig, rng: StdRng) -> (Elector, Leader) {
    let (state, view) = watch::channel(Leadership::Waiting { holder: None });
    let elector = Elector {
        api: Api::namespaced(client, &config.namespace),
        config,
        rng,
        state,
        observed: None,
    };
    (elector, Leader::new(view))
}

impl Elector {
    /// Acquires the lease and keeps it until `release`, then gives it up and returns `Ok`. Losing it is an error: the
    /// caller decides what to do, and ending the process is the safe choice.
    pub async fn run(mut self, release: CancellationToken) -> Result<(), LeaseError> {
        let Some(mut until) = self.acquire(&release).await else {
            return Ok(());
        };
        tracing::info!(
            lease = self.config.object(),
            identity = self.config.identity,
            "leading"
        );
        let mut last = String::from("none");
        loop {
            let pause = jittered(self.config.retry_period, 0.1, &mut self.rng);
            let next = (Instant::now() + pause).min(until);
            tokio::select! {
                biased;
                () = release.cancelled() => return self.give_up().await,
                () = tokio::time::sleep_until(next) => {}
            }
            let sent = Instant::now();
            if sent >= until {
                return Err(self.lost_by_time(last));
            }
            let limit = self.config.attempt_limit().min(until - sent);
            let met = tokio::select! {
                biased;
                () = release.cancelled() => return self.give_up().await,
                met = self.attempt(limit) => met,
            };
            match met {
                Ok(Standing::Mine) => until = self.lead_from(sent),
                Ok(Standing::Other(holder)) => {
                    self.publish(Leadership::Lost);
                    let lease = self.config.object();
                    return Err(LeaseError::Taken { lease, holder });
                }
                Ok(Standing::Free) => {}
                Err(error) => {
                    last = chain(&error);
                    tracing::warn!(
                        lease = self.config.object(),
                        error = last,
                        "lease not renewed"
                    );
                }
            }
        }
    }

    /// Returns the end of the first leadership, or `None` when released before.
    async fn acquire(&mut self, release: &CancellationToken) -> Option<Instant> {
        let limit = self.config.attempt_limit();
        let mut complaint = String::new();
        loop {
            let sent = Instant::now();
            let met = tokio::select! {
                biased;
                () = release.cancelled() => {
                    // The dropped request may have been carried out.
                    self.vacate().await;
                    return None;
                }
                met = self.attempt(limit) => met,
            };
            match met {
                Ok(Standing::Mine) => return Some(self.lead_from(sent)),
                Ok(Standing::Other(holder)) => self.publish(Leadership::Waiting {
                    holder: Some(holder),
                }),
                Ok(Standing::Free) => {}
                Err(error) => {
                    let text = chain(&error);
                    // Once for each cause, not once for each attempt.
                    if text != complaint {
                        tracing::warn!(
                            lease = self.config.object(),
                            error = text,
                            "lease not acquired"
                        );
                        complaint = text;
                    }
                }
            }
            let pause = jittered(self.config.retry_period, JITTER, &mut self.rng);
            tokio::select! {
                biased;
                () = release.cancelled() => return None,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn attempt(&mut self, limit: Duration) -> Result<Standing, AttemptError> {
        tokio::time::timeout(limit, self.try_claim())
            .await
            .unwrap_or(Err(AttemptError::TimedOut(limit)))
    }

    /// One try: claim or renew if the rules allow. `Free` means that someone else wrote first; try again later.
    async fn try_claim(&mut self) -> Result<Standing, AttemptError> {
        // The leader renews on the copy it holds: one request. Only a conflict makes it read.
        if let Some(observed) = &self.observed
            && observed.standing(&self.config, Instant::now()) == Standing::Mine
            && let Some(standing) = self
                .write(observed.claim(&self.config, Timestamp::now()))
                .await?
        {
            return Ok(standing);
        }
        let read = self.api.get_opt(&self.config.name).await;
        let Some(lease) = read.map_err(|source| AttemptError::Api {
            verb: "get",
            source,
        })?
        else {
            return self.create().await;
        };
        let now = Instant::now();
        let observed = Observed::note(self.observed.take(), lease, now);
        let standing = observed.standing(&self.config, now);
        let claim = observed.claim(&self.config, Timestamp::now());
        self.observed = Some(observed);
        match standing {
            Standing::Other(holder) => Ok(Standing::Other(holder)),
            Standing::Mine | Standing::Free => {
                Ok(self.write(claim).await?.unwrap_or(Standing::Free))
            }
        }
    }

    /// Writes on condition of an unchanged resource version. `None` when it has changed or the object is gone.
    async fn write(&mut self, lease: Lease) -> Result<Option<Standing>, AttemptError> {
        match self.api.replace(&self.config.name, &params(), &lease).await {
            Ok(written) => {
                self.observed = Some(Observed::note(
                    self.observed.take(),
                    written,
                    Instant::now(),
                ));
                Ok(Some(Standing::Mine))
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
            Err(source) => Err(AttemptError::Api {
                verb: "update",
                source,
            }),
        }
    }

    async fn create(&mut self) -> Result<Standing, AttemptError> {
        let lease = first(&self.config, Timestamp::now());
        match self.api.create(&params(), &lease).await {
            Ok(written) => {
                self.observed = Some(Observed::note(None, written, Instant::now()));
                Ok(Standing::Mine)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Standing::Free),
            Err(source) => Err(AttemptError::Api {
                verb: "create",
                source,
            }),
        }
    }

    /// Leadership lasts from the moment the request was sent: others count from later, when they see the change.
    fn lead_from(&self, sent: Instant) -> Instant {
        let until = sent + self.config.renew_deadline;
        let term = self.observed.as_ref().map_or(0, Observed::term);
        self.publish(Leadership::Leading {
            term,
            until: Some(until),
        });
        until
    }

    fn lost_by_time(&self, last: String) -> LeaseError {
        self.publish(Leadership::Lost);
        LeaseError::NotRenewed {
            lease: self.config.object(),
            deadline: self.config.renew_deadline,
            last,
        }
    }

    /// The orderly end: act no more, then tell the others.
    async fn give_up(mut self) -> Result<(), LeaseError> {
        self.publish(Leadership::Released);
        self.vacate().await;
        Ok(())
    }

    /// Clears the holder if it is this process. Reads first, since a renewal may just have been cut off. A failure only
    /// makes the successor wait out the lease.
    async fn vacate(&mut self) {
        let limit = self.config.attempt_limit().min(Duration::from_secs(3));
        let lease = self.config.object();
        match tokio::time::timeout(limit, self.try_vacate()).await {
            Ok(Ok(())) => tracing::info!(lease, "lease released"),
            Ok(Err(error)) => tracing::warn!(lease, error = chain(&error), "lease not released"),
            Err(_elapsed) => tracing::warn!(lease, "lease not released within {limit:?}"),
        }
    }

    async fn try_vacate(&mut self) -> Result<(), kube::Error> {
        let Some(lease) = self.api.get_opt(&self.config.name).await? else {
            return Ok(());
        };
        let now = Instant::now();
        let observed = Observed::note(self.observed.take(), lease, now);
        if observed.standing(&self.config, now) == Standing::Mine {
            let vacated = observed.vacate(Timestamp::now());
            self.api
                .replace(&self.config.name, &params(), &vacated)
                .await?;
        }
        Ok(())
    }

    /// Views wake up only when the kind of state, the holder or the term changes, not at each renewal.
    fn publish(&self, new: Leadership) {
        self.state.send_if_modified(|old| {
            let renewal = matches!(
                (&*old, &new),
                (Leadership::Leading { term: a, .. }, Leadership::Leading { term: b, .. }) if a == b
            );
            let wakes = !renewal && *old != new;
            *old = new;
            wakes
        });
    }
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}
