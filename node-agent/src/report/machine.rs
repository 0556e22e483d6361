//! The zones of the report, built again when the machine or the pods changed.

use std::{path::PathBuf, sync::Arc, time::Instant};

use katalyst_crds::node::TopologyZone;

use super::{
    consumers::consumers,
    zones::{ZoneInput, zones},
};
use crate::{
    kubelet,
    notices::Notices,
    pods::PodIndex,
    pools::PoolsView,
    topology::{self, Note, Sensed, Sensor},
};

/// Problems named in the notice; a person reads no more.
const NAMED: usize = 3;

/// What the zones were built of.
struct Built {
    sensed: Arc<Sensed>,
    pods: Arc<PodIndex>,
    pools: Arc<PoolsView>,
    zones: Arc<Vec<TopologyZone>>,
}

/// The machine's part of the report.
pub(super) struct Told {
    /// The zones.
    pub(super) zones: Arc<Vec<TopologyZone>>,
    /// How kubelet aligns pods; `None` where its configuration cannot be read.
    pub(super) policy: Option<&'static str>,
    /// What they were built of.
    pub(super) sensed: Arc<Sensed>,
}

/// Keeps the zones.
pub(super) struct Machine {
    sensor: Option<Sensor>,
    kubelet: PathBuf,
    started: Instant,
    built: Option<Built>,
    notices: Notices,
}

impl Machine {
    /// `kubelet` is kubelet's directory.
    pub(super) fn new(sensor: Sensor, kubelet: PathBuf, notices: Notices) -> Self {
        Self {
            sensor: Some(sensor),
            kubelet,
            started: Instant::now(),
            built: None,
            notices,
        }
    }

    /// The machine as of now. Reading it happens on a thread for blocking work: a driver's library can take seconds to answer.
    pub(super) async fn tell(
        &mut self,
        pods: &Arc<PodIndex>,
        pools: &Arc<PoolsView>,
    ) -> Result<Told, tokio::task::JoinError> {
        let (sensed, policy) = self.look().await?;
        if let Some(built) = &self.built
            && Arc::ptr_eq(&built.sensed, &sensed)
            && Arc::ptr_eq(&built.pods, pods)
            && Arc::ptr_eq(&built.pools, pools)
        {
            let zones = built.zones.clone();
            return Ok(Told {
                zones,
                policy,
                sensed,
            });
        }
        let (zones, problems) = zones(ZoneInput {
            sensed: &sensed,
            reserved: &pools.reserved,
            consumers: &consumers(pods, pools, &sensed.topology),
        });
        let mut notes = sensed.notes.clone();
        notes.extend(note(&problems));
        topology::tell(&self.notices, &notes);
        let zones = Arc::new(zones);
        self.built = Some(Built {
            sensed: sensed.clone(),
            pods: pods.clone(),
            pools: pools.clone(),
            zones: zones.clone(),
        });
        Ok(Told {
            zones,
            policy,
            sensed,
        })
    }

    async fn look(
        &mut self,
    ) -> Result<(Arc<Sensed>, Option<&'static str>), tokio::task::JoinError> {
        let Some(mut sensor) = self.sensor.take() else {
            // Only after a cancelled look: there is no other taker.
            return Ok((Arc::default(), None));
        };
        let now = self.started.elapsed();
        let kubelet = self.kubelet.clone();
        let (sensor, sensed, policy) = tokio::task::spawn_blocking(move || {
            let sensed = sensor.look(now);
            (sensor, sensed, kubelet::topology_policy(&kubelet))
        })
        .await?;
        self.sensor = Some(sensor);
        Ok((sensed, policy))
    }
}

fn note(problems: &[String]) -> Option<Note> {
    let mut named: Vec<String> = problems.iter().take(NAMED).cloned().collect();
    if let Some(more) = problems.len().checked_sub(NAMED).filter(|more| *more > 0) {
        named.push(format!("and {more} more"));
    }
    let text = named.join("; ");
    (!text.is_empty()).then_some(Note {
        subject: "topology: allocations",
        text,
    })
}
