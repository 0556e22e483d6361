//! From names to numbers.

use std::{collections::BTreeMap, sync::Arc};

use super::{Alignment, Card, Groups, MOST, Machine, Nic, Scope, Zone};
use crate::{
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};

/// A NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ZoneSpec {
    /// Its number.
    pub id: u32,
    /// Its socket.
    pub socket: u32,
    /// CPU that can be given out.
    pub cpu: Millicpu,
    /// Memory that can be given out.
    pub memory: Bytes,
    /// Reclaimed amounts it offers.
    pub reclaimed: Option<Reclaimed>,
    /// Distances to others, by number.
    pub distances: BTreeMap<u32, u32>,
}

/// Where a device hangs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spot {
    /// Its bus address. Devices are ordered by it.
    pub address: String,
    /// Its root complex; empty where unknown.
    pub root: String,
    /// The switches above it, the nearest to the root first.
    pub switches: Vec<String>,
    /// Number of its NUMA node.
    pub numa: Option<u32>,
}

/// A GPU.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CardSpec {
    /// UUID; empty where it has none.
    pub uuid: String,
    /// Number of its device node.
    pub index: Option<u32>,
    /// Model.
    pub model: String,
    /// Memory; zero where unknown.
    pub memory: Bytes,
    /// It may be given out.
    pub healthy: bool,
    /// It is NVIDIA's.
    pub nvidia: bool,
    /// Where it hangs.
    pub spot: Spot,
    /// NVLinks to other cards, by bus address.
    pub links: Vec<(String, u32)>,
}

/// An RDMA network card.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NicSpec {
    /// Name.
    pub name: String,
    /// Interface.
    pub interface: Option<String>,
    /// It passes data.
    pub up: bool,
    /// Its rail; its place among the machine's cards where nothing says so.
    pub rail: Option<u8>,
    /// Where it hangs.
    pub spot: Spot,
}

/// A machine in names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MachineSpec {
    /// NUMA nodes, in any order.
    pub zones: Vec<ZoneSpec>,
    /// GPUs, in any order.
    pub cards: Vec<CardSpec>,
    /// RDMA network cards, in any order.
    pub nics: Vec<NicSpec>,
    /// How kubelet aligns pods.
    pub alignment: Alignment,
    /// Threads of a physical core; one where unknown.
    pub threads: u8,
}

impl Machine {
    /// Numbers what has names.
    pub fn new(spec: MachineSpec) -> Self {
        let MachineSpec {
            zones: mut zone_specs,
            cards: mut card_specs,
            nics: mut nic_specs,
            alignment,
            threads,
        } = spec;
        zone_specs.sort_by_key(|zone| zone.id);
        zone_specs.dedup_by_key(|zone| zone.id);
        card_specs.sort_by(|a, b| a.spot.address.cmp(&b.spot.address));
        nic_specs.sort_by(|a, b| {
            a.spot
                .address
                .cmp(&b.spot.address)
                .then_with(|| a.name.cmp(&b.name))
        });
        let beyond = |len: usize| len.saturating_sub(MOST);
        let left_out =
            beyond(zone_specs.len()) + beyond(card_specs.len()) + beyond(nic_specs.len());
        zone_specs.truncate(MOST);
        card_specs.truncate(MOST);
        nic_specs.truncate(MOST);

        let mut numbering = Numbering::new(&zone_specs);
        let mut texts = Texts::default();
        let links = links(&card_specs);
        let cards: Box<[Card]> = card_specs
            .into_iter()
            .map(|card| Card {
                uuid: card.uuid.into(),
                index: card.index,
                model: texts.shared(&card.model),
                mib: u32::try_from(card.memory.get() >> 20).unwrap_or(u32::MAX),
                healthy: card.healthy,
                nvidia: card.nvidia,
                zone: numbering.zone(&card.spot),
                groups: numbering.groups(&card.spot),
            })
            .collect();
        let nics: Box<[Nic]> = (0..=u8::MAX)
            .zip(nic_specs)
            .map(|(place, nic)| Nic {
                name: nic.name.into(),
                interface: nic.interface.map(Into::into),
                up: nic.up,
                rail: nic.rail.unwrap_or(place),
                zone: numbering.zone(&nic.spot),
                groups: numbering.groups(&nic.spot),
            })
            .collect();
        let distances = zone_specs
            .iter()
            .flat_map(|from| {
                zone_specs.iter().map(|to| {
                    let stated = from.distances.get(&to.id).copied();
                    stated.unwrap_or(if from.id == to.id {
                        super::LOCAL
                    } else {
                        super::REMOTE
                    })
                })
            })
            .collect();
        let zones = zone_specs
            .into_iter()
            .map(|zone| Zone {
                id: zone.id,
                socket: zone.socket,
                cpu: zone.cpu,
                memory: zone.memory,
                reclaimed: zone.reclaimed,
            })
            .collect();
        Self {
            zones,
            distances,
            uniform_links: uniform(&links, cards.len()),
            cards,
            nics,
            links,
            alignment,
            threads: threads.max(1),
            left_out,
        }
    }
}

/// Numbers of groups, given in the order of their first member.
struct Numbering<'a> {
    zones: &'a [ZoneSpec],
    known: [BTreeMap<String, u8>; Scope::ALL.len()],
    next: [u8; Scope::ALL.len()],
}

impl<'a> Numbering<'a> {
    fn new(zones: &'a [ZoneSpec]) -> Self {
        Self {
            zones,
            known: Default::default(),
            next: Default::default(),
        }
    }

    fn zone(&self, spot: &Spot) -> Option<u8> {
        let id = spot.numa?;
        let position = self.zones.iter().position(|zone| zone.id == id)?;
        u8::try_from(position).ok()
    }

    fn groups(&mut self, spot: &Spot) -> Groups {
        let zone = self
            .zone(spot)
            .and_then(|position| self.zones.get(usize::from(position)));
        let root = Some(spot.root.as_str()).filter(|root| !root.is_empty());
        // Below no switch at all, a device is as near to its neighbours as their common root is.
        let names = [
            spot.switches.last().cloned(),
            spot.switches.first().cloned(),
            root.map(str::to_owned),
            zone.map(|zone| zone.id.to_string()),
            zone.map(|zone| zone.socket.to_string()),
        ];
        let mut groups = [0; Scope::ALL.len()];
        let tables = self.known.iter_mut().zip(&mut self.next);
        for ((group, name), (known, next)) in groups.iter_mut().zip(names).zip(tables) {
            let mut fresh = || {
                let number = *next;
                // At most 128 devices: never reached.
                *next = next.saturating_add(1);
                number
            };
            *group = match name {
                Some(name) => *known.entry(name).or_insert_with(fresh),
                None => fresh(),
            };
        }
        Groups(groups)
    }
}

/// Texts that many devices share.
#[derive(Default)]
struct Texts(BTreeMap<String, Arc<str>>);

impl Texts {
    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = text.into();
        self.0.insert(text.to_owned(), Arc::clone(&shared));
        shared
    }
}

/// Links between cards, the fewer of what both ends say: a link that one end does not know cannot be relied upon. Empty without any.
fn links(cards: &[CardSpec]) -> Box<[u8]> {
    let stated = |from: &CardSpec, to: &CardSpec| {
        from.links
            .iter()
            .find(|(address, _)| *address == to.spot.address)
            .map_or(0, |(_, count)| u8::try_from(*count).unwrap_or(u8::MAX))
    };
    let all: Box<[u8]> = cards
        .iter()
        .flat_map(|from| {
            cards
                .iter()
                .map(move |to| stated(from, to).min(stated(to, from)))
        })
        .collect();
    if all.iter().all(|count| *count == 0) {
        return Box::default();
    }
    all
}

fn uniform(links: &[u8], cards: usize) -> bool {
    let mut pairs = links
        .iter()
        .enumerate()
        .filter(|(at, _)| at / cards.max(1) != at % cards.max(1))
        .map(|(_, count)| *count);
    let first = pairs.next();
    pairs.all(|count| Some(count) == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(address: &str, root: &str, switches: &[&str], numa: Option<u32>) -> CardSpec {
        CardSpec {
            uuid: format!("GPU-{address}"),
            model: "H100".to_owned(),
            memory: Bytes::new(80 << 30),
            healthy: true,
            spot: Spot {
                address: address.to_owned(),
                root: root.to_owned(),
                switches: switches.iter().map(|&name| name.to_owned()).collect(),
                numa,
            },
            ..CardSpec::default()
        }
    }

    fn zone(id: u32, socket: u32) -> ZoneSpec {
        ZoneSpec {
            id,
            socket,
            ..ZoneSpec::default()
        }
    }

    #[test]
    fn groups_are_as_near_as_names_say_and_unknown_is_far() {
        let machine = Machine::new(MachineSpec {
            zones: vec![zone(4, 1), zone(1, 0), zone(3, 0)],
            cards: vec![
                card("05", "r1", &["top", "right"], Some(3)),
                card("01", "r0", &["top", "left"], Some(1)),
                card("02", "r0", &["top", "left"], Some(1)),
                card("07", "", &[], None),
                card("08", "", &[], Some(9)),
            ],
            ..MachineSpec::default()
        });
        let ids: Vec<_> = machine.zones().iter().map(|zone| zone.id).collect();
        assert_eq!((ids, machine.zone_position(4)), (vec![1, 3, 4], Some(2)));
        let [first, second, third, fourth, fifth] = machine.cards() else {
            panic!("five cards");
        };
        let near =
            |a: &Card, b: &Card| Scope::ALL.map(|scope| a.groups.at(scope) == b.groups.at(scope));
        assert_eq!(near(first, second), [true; 5]);
        assert_eq!(near(first, third), [false, true, false, false, true]);
        assert_eq!(near(fourth, fifth), [false; 5]);
        assert_eq!(near(first, fourth), [false; 5]);
        assert_eq!((first.zone, fifth.zone), (Some(0), None));
    }

    #[test]
    fn links_need_both_ends() {
        let mut one = card("01", "r", &[], None);
        let mut two = card("02", "r", &[], None);
        one.links = vec![("02".to_owned(), 18)];
        let machine = |cards| {
            Machine::new(MachineSpec {
                cards,
                ..MachineSpec::default()
            })
        };
        assert!(!machine(vec![one.clone(), two.clone()]).has_links());
        two.links = vec![("01".to_owned(), 12)];
        let both = machine(vec![one.clone(), two.clone()]);
        assert_eq!((both.links(0, 1), both.links(1, 0)), (12, 12));
        assert!(both.uniform_links());
        let third = machine(vec![one, two, card("03", "r", &[], None)]);
        assert!(!third.uniform_links());
    }

    #[test]
    fn what_is_beyond_the_sets_is_counted() {
        let cards = (0..70).map(|at| card(&format!("{at:03}"), "r", &[], None));
        let machine = Machine::new(MachineSpec {
            cards: cards.collect(),
            ..MachineSpec::default()
        });
        assert_eq!((machine.cards().len(), machine.left_out()), (MOST, 6));
    }
}
