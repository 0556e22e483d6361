//! The pods of this node as the API server knows them: a watch (`watch`), trimmed to what the agent needs (`info`).

mod asks;
mod index;
mod info;
mod watch;

pub use asks::Asks;
pub use index::PodIndex;
pub use info::PodInfo;
pub use watch::{PodSinks, watch_pods};
