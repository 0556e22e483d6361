//! The zones of the report, built again when the machine or the pods changed.

use std::{sync::Arc, time::Instant};

use katalyst_core::cpu_set::CpuSet;
use katalyst_crds::node::TopologyZone;

use super::zones::{Consumer, ZoneInput, zones};
use crate::{
    notices::Notices,
    pods::PodIndex,
    topology::{self, Note, Sensed, Sensor},
};

/// Problems named in the notice; a person reads no more.
const NAMED: usize = 3;

/// What the zones were built of.
struct Built {
    sensed: Arc<Sensed>,
    pods: Arc<PodIndex>,
    zones: Arc<Vec<TopologyZone>>,
}

/// Keeps the zones.
pub(super) struct Machine {
    sensor: Option<Sensor>,
    started: Instant,
    built: Option<Built>,
    notices: Notices,
}

impl Machine {
    pub(super) fn new(sensor: Sensor, notices: Notices) -> Self {
        Self {
            sensor: Some(sensor),
            started: Instant::now(),
            built: None,
            notices,
        }
    }

    /// The zones as of now. Reading the machine happens on a thread for blocking work: a driver's library can take seconds to answer.
    pub(super) async fn zones(
        &mut self,
        pods: &Arc<PodIndex>,
    ) -> Result<Arc<Vec<TopologyZone>>, tokio::task::JoinError> {
        let sensed = self.look().await?;
        if let Some(built) = &self.built
            && Arc::ptr_eq(&built.sensed, &sensed)
            && Arc::ptr_eq(&built.pods, pods)
        {
            return Ok(built.zones.clone());
        }
        let (zones, problems) = zones(ZoneInput {
            sensed: &sensed,
            reserved: &CpuSet::new(),
            consumers: &consumers(pods),
        });
        let mut notes = sensed.notes.clone();
        notes.extend(note(&problems));
        topology::tell(&self.notices, &notes);
        let zones = Arc::new(zones);
        self.built = Some(Built {
            sensed,
            pods: pods.clone(),
            zones: zones.clone(),
        });
        Ok(zones)
    }

    async fn look(&mut self) -> Result<Arc<Sensed>, tokio::task::JoinError> {
        let Some(mut sensor) = self.sensor.take() else {
            // Only after a cancelled look: there is no other taker.
            return Ok(Arc::default());
        };
        let now = self.started.elapsed();
        let (sensor, sensed) = tokio::task::spawn_blocking(move || {
            let sensed = sensor.look(now);
            (sensor, sensed)
        })
        .await?;
        self.sensor = Some(sensor);
        Ok(sensed)
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

/// The pods that hold a part of a zone.
fn consumers(_pods: &PodIndex) -> Vec<Consumer> {
    Vec::new()
}
