//! Where a pod with GPUs goes so that the least compute stays behind that nobody will use.
//!
//! One trait, [`PackingPolicy`] (its module shows the calls), and one policy a file:
//!
//! | policy | cost of a node | knows |
//! |---|---|---|
//! | [`BestFit`] | free CPU and compute after the pod | the pod |
//! | [`Fgd`] | growth of what typical pods cannot use | popularity of classes |
//! | [`Rollout`] | growth of what stays idle when drawn arrivals have filled the node | popularity of classes |
//!
//! Fit is not decided here, beyond CPU and cards. A state is small ([`NodeState`]), classes are learned from arrivals ([`Arrivals`]), costs become an extender's scores in [`scores`].
//! `docs/packing.md` has the figures.

mod arrivals;
mod best_fit;
mod demand;
mod draw;
mod fgd;
pub mod fragment;
mod models;
mod name;
mod node;
mod pod;
mod policy;
mod rollout;
mod rounding;
mod score;
mod table;

pub use arrivals::Arrivals;
pub use best_fit::BestFit;
pub use demand::Scarcity;
pub use fgd::Fgd;
pub use models::{ModelId, ModelSet};
pub use name::{PolicyName, UnknownPolicy};
pub use node::{Card, CardSet, MAX_CARDS, NodeState};
pub use pod::{PodClass, WHOLE_CARD};
pub use policy::{Budget, PackingPolicy, Placement};
pub use rollout::{Params as RolloutParams, Rollout};
pub use rounding::Rounding;
pub use score::{MAX_SCORE, scores};
pub use table::{Capacity, ClassTable, TYPICAL_SHARE};
