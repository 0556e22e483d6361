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
    /// Reads a pod that is to be placed.
    ///
    /// # Errors
    ///
    /// The first value that means nothing. Wishes that merely have no effect are no errors, as they are none for Katalyst.
    pub fn read(source: &PodSource<'_>) -> Result<Self, RequestError> {
        let (request, errors) = Self::read_placed(source);
        errors.into_iter().next().map_or(Ok(request), Err)
    }

    /// Reads a pod that has been placed already and holds what it holds, whatever is wrong with it: with everything that means nothing, which counts as
    /// not said.
    pub fn read_placed(source: &PodSource<'_>) -> (Self, Vec<RequestError>) {
        let parsed = PodQos::parse(source.annotations);
        let mut errors: Vec<RequestError> = parsed
            .errors
            .into_iter()
            .filter(QosError::is_malformed)
            .map(Into::into)
            .collect();
        let qos = parsed.qos;
        let wishes = DeviceWishes::read(source.annotations).unwrap_or_else(|error| {
            errors.push(error);
            DeviceWishes::default()
        });
        let mut total = Totals::default();
        let mut containers = Vec::with_capacity(source.containers.len());
        let mut apps = 0;
        for container in source.containers {
            let app = (container.role == Role::App).then_some(apps);
            apps += usize::from(container.role == Role::App);
            let (request, reclaimed) = read_container(container, &wishes, app, &mut errors);
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
        let request = Self {
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
        };
        (request, errors)
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
    errors: &mut Vec<RequestError>,
) -> (ContainerRequest, Option<Reclaimed>) {
    let mut reader = Reader {
        request: ContainerRequest {
            name: source.name.into(),
            role: source.role,
            ..ContainerRequest::default()
        },
        reclaimed: None,
        amounts: Amounts::default(),
    };
    for &(name, text) in &source.resources {
        errors.extend(reader.resource(name, text).err());
    }
    let Reader {
        mut request,
        reclaimed,
        amounts,
    } = reader;
    match amounts.resolve(source.name, wishes.spread(source.name, app)) {
        Ok(gpus) => request.gpus = gpus,
        Err(error) => errors.push(error),
    }
    (request, reclaimed)
}

/// A container while its resources are read.
struct Reader {
    request: ContainerRequest,
    reclaimed: Option<Reclaimed>,
    amounts: Amounts,
}

impl Reader {
    fn resource(&mut self, name: &str, text: &str) -> Result<(), RequestError> {
        let container = &*self.request.name;
        let wrong = |source: QuantityError| RequestError::Quantity {
            container: container.to_owned(),
            resource: name.to_owned(),
            source,
        };
        match name {
            "cpu" => self.request.cpu = parse_millicpu(text).map_err(wrong)?,
            "memory" => self.request.memory = parse_bytes(text).map_err(wrong)?,
            RECLAIMED_MILLICPU => {
                let cpu = Millicpu::new(parse_count(text).map_err(wrong)?);
                self.reclaimed.get_or_insert_default().cpu = cpu;
            }
            RECLAIMED_MEMORY => {
                let memory = parse_bytes(text).map_err(wrong)?;
                self.reclaimed.get_or_insert_default().memory = memory;
            }
            _ => {
                let Some(row) = table::find(name) else {
                    return Ok(());
                };
                let value = parse_count(text).map_err(wrong)?;
                if row.means != Means::Nics {
                    return self.amounts.take(container, row, value);
                }
                self.request.nics = u8::try_from(value)
                    .ok()
                    .filter(|nics| usize::from(*nics) <= MOST)
                    .ok_or_else(|| RequestError::Amount {
                        container: container.to_owned(),
                        resource: row.name,
                        value,
                        expected: "a number of network cards, 0 to 64",
                    })?;
            }
        }
        Ok(())
    }
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
