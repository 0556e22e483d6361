//! Leader election over a `coordination.k8s.io/v1` Lease, with the rules of client-go.
//!
//! - A candidate takes the lease when it has no holder, or when it has *seen no change* of it for the lease's own
//!   duration. Clocks are never compared across machines; the times in the object are for people.
//! - Every write carries the resource version it was decided on, so of two candidates one gets a conflict.
//! - The leader renews each retry period. It counts its leadership from the moment a renewal was *sent*, for the renew
//!   deadline, which is shorter than the lease's duration: it stops acting before anyone else may start.
//! - On an orderly stop the holder is cleared, so that a successor need not wait.
//!
//! Whoever writes as a leader calls [`Leader::is_current`] right before each batch of writes, and bounds the batch by
//! [`Leader::remaining`].
//!
//! Needs `get`, `create` and `update` on `coordination.k8s.io/leases` in the lease's namespace. The monotonic clock stands
//! still while a machine sleeps; a leader on a machine that was suspended learns of its loss at the next renewal.

mod elector;
mod record;
mod view;

use std::time::Duration;

use rand::{Rng, RngExt};

pub use elector::{Elector, elector};
pub use view::{Leader, Leadership};

use crate::flags::LeaseArgs;

/// Largest share of a retry period that is added at random between attempts (client-go's `JitterFactor`).
pub(crate) const JITTER: f64 = 1.2;

/// Which lease, who asks, and how fast.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeaseConfig {
    /// Namespace of the Lease object.
    pub namespace: String,
    /// Name of the Lease object.
    pub name: String,
    /// This process in `holderIdentity`; no two processes may share it.
    pub identity: String,
    /// How long others wait after the last change they saw. Whole seconds.
    pub duration: Duration,
    /// How long the leader acts on one successful renewal.
    pub renew_deadline: Duration,
    /// Time between attempts.
    pub retry_period: Duration,
}

/// Why an election could not begin, or how leadership ended.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The durations contradict each other.
    #[error("lease {field} is {value:?}, but must be {rule}")]
    Config {
        /// The setting.
        field: &'static str,
        /// Its value.
        value: Duration,
        /// What it must satisfy.
        rule: &'static str,
    },
    /// Another process holds the lease now.
    #[error("lease {lease} was lost to {holder}")]
    Taken {
        /// `namespace/name`.
        lease: String,
        /// Its identity.
        holder: String,
    },
    /// No renewal succeeded in time.
    #[error("lease {lease} could not be renewed within {deadline:?}; last error: {last}")]
    NotRenewed {
        /// `namespace/name`.
        lease: String,
        /// The renew deadline.
        deadline: Duration,
        /// What the last attempt met.
        last: String,
    },
}

impl LeaseConfig {
    /// Fills in what the flags leave open: the component's name, the client's namespace, and a unique identity from the
    /// host name (the pod name, in a pod) and random digits.
    pub fn from_args(
        args: &LeaseArgs,
        component: &str,
        namespace: &str,
        rng: &mut impl Rng,
    ) -> Result<Self, LeaseError> {
        let host = || {
            rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned()
        };
        let identity = args.lease_identity.clone().unwrap_or_else(host);
        let config = Self {
            namespace: args
                .lease_namespace
                .clone()
                .unwrap_or_else(|| namespace.to_owned()),
            name: args
                .lease_name
                .clone()
                .unwrap_or_else(|| component.to_owned()),
            identity: format!("{identity}_{:08x}", rng.random::<u32>()),
            duration: args.lease_duration,
            renew_deadline: args.lease_renew_deadline,
            retry_period: args.lease_retry_period,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), LeaseError> {
        let refuse = |field, value, rule| Err(LeaseError::Config { field, value, rule });
        if self.duration.as_secs() == 0 || self.duration.subsec_nanos() != 0 {
            return refuse("duration", self.duration, "whole seconds, at least one");
        }
        if self.renew_deadline >= self.duration {
            return refuse(
                "renew deadline",
                self.renew_deadline,
                "below the lease duration",
            );
        }
        if self.retry_period.is_zero() || self.retry_period.mul_f64(JITTER) >= self.renew_deadline {
            return refuse(
                "retry period",
                self.retry_period,
                "above zero and below the renew deadline divided by 1.2",
            );
        }
        Ok(())
    }

    /// `namespace/name`, for messages.
    pub(crate) fn object(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Limit of one attempt: two fit into the renew deadline, so one hung request does not cost the leadership.
    pub(crate) fn attempt_limit(&self) -> Duration {
        self.renew_deadline / 2
    }
}

#[cfg(test)]
mod tests;
