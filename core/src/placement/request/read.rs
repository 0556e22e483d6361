//! Reads a pod.

use std::collections::BTreeMap;

use super::{
    ContainerRequest, NumaRequest, PodRequest, RequestError, Role, Toleration, cards::Amounts,
    table, table::Means, wishes::DeviceWishes,
};
use crate::{
    placement::machine::{MOST, Scope},
    qos::{Level, NumaWish, PodQos, QosError},
    quantity::{QuantityError, parse_bytes, parse_count, parse_millicpu},
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};

const RECLAIMED_MILLICPU: &str = "resource.katalyst.kubewharf.io/reclaimed_millicpu";
const RECLAIMED_MEMORY: &str = "resource.katalyst.kubewharf.io/reclaimed_memory";

/// A pod, in whoever's form.
#[derive(Debug, Clone, Copy)]
pub struct PodSource<'a> {
    /// Its annotations.
    pub annotations: &'a BTreeMap<String, String>,
    /// Its containers: init containers in their order, then app containers in theirs.
    pub containers: &'a [ContainerSource<'a>],
    /// Its tolerations.
    pub tolerations: &'a [Toleration],
    /// CPU and memory that the pod states as a whole (`spec.resources`), for each of them.
    pub stated: (Option<Millicpu>, Option<Bytes>),
    /// CPU and memory of its runtime class (`spec.overhead`).
    pub overhead: (Millicpu, Bytes),
}

/// A container.
#[derive(Debug, Clone)]
pub struct ContainerSource<'a> {
    /// Name.
    pub name: &'a str,
    /// When it runs.
    pub role: Role,
    /// Its requests, and its limits of what it does not request: names with amounts in Kubernetes' notation. Names of no interest may be left out.
    pub resources: Vec<(&'a str, &'a str)>,
    /// It has limits of CPU and memory that equal its requests.
    pub guaranteed: bool,
}

impl PodRequest {
    /// Reads a pod.
    ///
    /// # Errors
    ///
    /// The first value that means nothing. Wishes that merely have no effect are no errors, as they are none for Katalyst.
    pub fn read(source: &PodSource<'_>) -> Result<Self, RequestError> {
        let parsed = PodQos::parse(source.annotations);
        if let Some(error) = parsed.errors.into_iter().find(QosError::is_malformed) {
            return Err(error.into());
        }
        let qos = parsed.qos;
        let wishes = DeviceWishes::read(source.annotations)?;
        let mut total = Totals::default();
        let mut containers = Vec::with_capacity(source.containers.len());
        let mut apps = 0;
        for container in source.containers {
            let app = (container.role == Role::App).then_some(apps);
            apps += usize::from(container.role == Role::App);
            let (request, reclaimed) = read_container(container, &wishes, app)?;
            total.take(container.role, request.cpu, request.memory, reclaimed);
            containers.push(request);
        }
        let (cpu, memory) = total.compute();
        let mut affinity = wishes.affinity;
        if qos.network.topology_affinity_restricted && affinity.nics.is_none() {
            affinity.nics = Some(super::Near {
                scope: Scope::Numa,
                required: true,
            });
        }
        let containers = containers.into_boxed_slice();
        Ok(Self {
            level: qos.level,
            reclaimed: total.reclaimed(),
            cpu: source.stated.0.unwrap_or(cpu) + source.overhead.0,
            memory: source.stated.1.unwrap_or(memory) + source.overhead.1,
            guaranteed: !source.containers.is_empty()
                && source.containers.iter().all(|each| each.guaranteed),
            numa: numa(&qos),
            tolerations: source.tolerations.into(),
            containers,
            cards: wishes.selector,
            affinity,
        })
    }
}

fn numa(qos: &PodQos) -> NumaRequest {
    if !qos.memory.numa_binding {
        return NumaRequest::None;
    }
    let ids = match &qos.cpu.numa {
        NumaWish::Ids(ids) => Some(ids.clone()),
        NumaWish::Any | NumaWish::Number(_) => None,
    };
    if qos.level != Level::Dedicated {
        return NumaRequest::One { among: ids };
    }
    NumaRequest::Set {
        exclusive: qos.memory.numa_exclusive,
        count: match qos.cpu.numa {
            NumaWish::Number(count) => Some(count),
            NumaWish::Any | NumaWish::Ids(_) => None,
        },
        ids,
        even: qos.cpu.distribute_evenly_across_numa,
        by_socket: qos.cpu.align_by_socket,
    }
}

fn read_container(
    source: &ContainerSource<'_>,
    wishes: &DeviceWishes,
    app: Option<usize>,
) -> Result<(ContainerRequest, Option<Reclaimed>), RequestError> {
    let mut request = ContainerRequest {
        name: source.name.into(),
        role: source.role,
        ..ContainerRequest::default()
    };
    let mut reclaimed: Option<Reclaimed> = None;
    let mut amounts = Amounts::default();
    for &(name, text) in &source.resources {
        let wrong = |error: QuantityError| RequestError::Quantity {
            container: source.name.to_owned(),
            resource: name.to_owned(),
            source: error,
        };
        match name {
            "cpu" => request.cpu = parse_millicpu(text).map_err(wrong)?,
            "memory" => request.memory = parse_bytes(text).map_err(wrong)?,
            RECLAIMED_MILLICPU => {
                let cpu = Millicpu::new(parse_count(text).map_err(wrong)?);
                reclaimed.get_or_insert_default().cpu = cpu;
            }
            RECLAIMED_MEMORY => {
                let memory = parse_bytes(text).map_err(wrong)?;
                reclaimed.get_or_insert_default().memory = memory;
            }
            _ => {
                let Some(row) = table::find(name) else {
                    continue;
                };
                let value = parse_count(text).map_err(wrong)?;
                if row.means == Means::Nics {
                    request.nics = u8::try_from(value)
                        .ok()
                        .filter(|nics| usize::from(*nics) <= MOST)
                        .ok_or(RequestError::Amount {
                            container: source.name.to_owned(),
                            resource: row.name,
                            value,
                            expected: "a number of network cards, 0 to 64",
                        })?;
                } else {
                    amounts.take(source.name, row, value)?;
                }
            }
        }
    }
    request.gpus = amounts.resolve(source.name, wishes.spread(source.name, app))?;
    Ok((request, reclaimed))
}

/// Kubernetes' rule for each resource: the most of the app and sidecar containers together and of each init container with the sidecars that
/// started before it.
#[derive(Default)]
struct Totals {
    apps: [u64; 4],
    sidecars: [u64; 4],
    starting: [u64; 4],
    names_reclaimed: bool,
}

impl Totals {
    fn take(&mut self, role: Role, cpu: Millicpu, memory: Bytes, reclaimed: Option<Reclaimed>) {
        self.names_reclaimed |= reclaimed.is_some();
        let reclaimed = reclaimed.unwrap_or_default();
        let amounts = [
            cpu.get(),
            memory.get(),
            reclaimed.cpu.get(),
            reclaimed.memory.get(),
        ];
        let each = self
            .apps
            .iter_mut()
            .zip(&mut self.sidecars)
            .zip(&mut self.starting)
            .zip(amounts);
        for (((apps, sidecars), starting), amount) in each {
            match role {
                Role::App => *apps = apps.saturating_add(amount),
                Role::Sidecar => *sidecars = sidecars.saturating_add(amount),
                Role::Init => *starting = (*starting).max(sidecars.saturating_add(amount)),
            }
        }
    }

    fn most(&self) -> [u64; 4] {
        let mut most = self.starting;
        for ((most, apps), sidecars) in most.iter_mut().zip(self.apps).zip(self.sidecars) {
            *most = (*most).max(apps.saturating_add(sidecars));
        }
        most
    }

    fn compute(&self) -> (Millicpu, Bytes) {
        let [cpu, memory, ..] = self.most();
        (Millicpu::new(cpu), Bytes::new(memory))
    }

    fn reclaimed(&self) -> Option<Reclaimed> {
        let [_, _, cpu, memory] = self.most();
        self.names_reclaimed.then(|| Reclaimed::new(cpu, memory))
    }
}
