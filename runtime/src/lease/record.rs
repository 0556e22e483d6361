//! The rules of the election, without I/O: what a candidate has seen, and what it may write.

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use tokio::time::Instant;

use super::LeaseConfig;

/// The last copy of the lease, and since when it has looked like this *here*.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    pub(super) lease: Lease,
    since: Instant,
}

/// Who the lease belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// This process.
    Mine,
    /// Nobody, or a holder that showed no sign of life for the lease's duration.
    Free,
    /// Another process, still within its time.
    Other(String),
}

impl Observed {
    /// Notes a copy read or written at `now`. Only a change of the spec counts as a sign of life of its holder.
    pub(super) fn note(previous: Option<Self>, lease: Lease, now: Instant) -> Self {
        let since = previous
            .filter(|observed| observed.lease.spec == lease.spec)
            .map_or(now, |observed| observed.since);
        Self { lease, since }
    }

    pub(super) fn standing(&self, config: &LeaseConfig, now: Instant) -> Standing {
        let Some(spec) = &self.lease.spec else {
            return Standing::Free;
        };
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder == config.identity {
            return Standing::Mine;
        }
        // The holder's own promise counts, which may differ from ours after a change of flags.
        let duration = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(config.duration, std::time::Duration::from_secs);
        if holder.is_empty() || now.saturating_duration_since(self.since) >= duration {
            Standing::Free
        } else {
            Standing::Other(holder.to_owned())
        }
    }

    /// How often the lease has changed hands; grows with each leader, so it orders their writes.
    pub(super) fn term(&self) -> i32 {
        let spec = self.lease.spec.as_ref();
        spec.and_then(|spec| spec.lease_transitions)
            .unwrap_or_default()
    }

    /// The object to write to claim or renew the lease, on condition that it has not changed since it was read.
    pub(super) fn claim(&self, config: &LeaseConfig, wall: Timestamp) -> Lease {
        let mut lease = self.lease.clone();
        let old = lease.spec.take().unwrap_or_default();
        let renews = old.holder_identity.as_deref() == Some(config.identity.as_str());
        let now = MicroTime(wall);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(config.identity.clone()),
            lease_duration_seconds: seconds(config),
            acquire_time: if renews {
                old.acquire_time
            } else {
                Some(now.clone())
            },
            renew_time: Some(now),
            lease_transitions: Some(old.lease_transitions.unwrap_or_default() + i32::from(!renews)),
            ..old
        });
        lease
    }

    /// The object to write to give the lease up. The short duration lets old clients take it at once, too.
    pub(super) fn vacate(&self, wall: Timestamp) -> Lease {
        let mut lease = self.lease.clone();
        let old = lease.spec.take().unwrap_or_default();
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            acquire_time: Some(MicroTime(wall)),
            renew_time: Some(MicroTime(wall)),
            ..old
        });
        lease
    }
}

/// The first copy, where no lease exists.
pub(super) fn first(config: &LeaseConfig, wall: Timestamp) -> Lease {
    let now = MicroTime(wall);
    Lease {
        metadata: ObjectMeta {
            name: Some(config.name.clone()),
            namespace: Some(config.namespace.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(config.identity.clone()),
            lease_duration_seconds: seconds(config),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(0),
            ..LeaseSpec::default()
        }),
    }
}

fn seconds(config: &LeaseConfig) -> Option<i32> {
    i32::try_from(config.duration.as_secs()).ok()
}
