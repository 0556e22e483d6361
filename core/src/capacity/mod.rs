//! Reclaimable capacity of a node: the first estimator.
//!
//! What may be offered is the machine, minus the highest use by anything but batch pods seen in the recent window, minus a margin on
//! that peak and a fixed reserve:
//!
//! ```text
//! estimate = capacity - peak * (1 + margin) - capacity * reserve
//! ```
//!
//! The published offer then follows the estimate with four rules, in this order:
//!
//! 1. **stale**: a report older than [`Params::stale_after_seconds`] never raises anything: the offer is what is already allocated (zero where nothing is);
//! 2. **slope**: upwards at most [`Params::raise_per_minute`] of the machine a minute, downwards at once;
//! 3. **floor**: not below what is allocated, because lowering the number alone frees nothing;
//! 4. **at risk**: unless the estimate carries less than [`Params::risk_fraction`] of what is allocated: then the truth is published and the
//!    agent's eviction follows from it.
//!
//! Memory and CPU use the same arithmetic. Peak-with-margin is the baseline that Katalyst (`cpu headroom`), Koordinator
//! (`estimateByUsage` with a reserve ratio) and Crane share; better predictors replace the peak, not the rules.

mod estimate;
mod window;

pub use estimate::{Estimate, Explanation, LimitedBy, Observation, Params, Published, estimate};
pub use window::WindowPeak;
