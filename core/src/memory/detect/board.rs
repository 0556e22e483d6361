//! All measures of a machine together: how short is it, where, and who says so.
//!
//! | rule | severity |
//! |---|---|
//! | available memory of a place is critical | Critical |
//! | available memory or watermarks warn, and somebody is harmed critically | Critical |
//! | watermarks are critical, and somebody is harmed | Critical |
//! | available memory warns; or watermarks warn and somebody is harmed | Warning |
//! | the forecast warns, or reclaimed pods do not get what they were promised | Warning, and nothing beyond stopping new batch pods |
//!
//! Harm without shortage (a service that runs into its own limit, a first read of a large file) is nobody's fault on the node and starts nothing. A place is the machine or, where
//! it has several, a NUMA node. Kernel counters of harm are the machine's; they speak for a node only where that node's watermarks warn.

use serde::Serialize;

use super::{
    Detector, Reading, Severity, available, forecast, pressure, reclaim, refault, satisfaction,
    stall, swap, watermark,
};
use crate::units::Bytes;

/// Where counters are.
const VMSTAT: &str = "/proc/vmstat";

/// Where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The whole machine.
    #[default]
    Machine,
    /// One NUMA node of several.
    Node(u32),
}

/// A value that comes from a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<T> {
    /// Read.
    Value(T),
    /// Not read this time, because what was read says that it cannot matter.
    NotNow,
    /// The kernel has no such file.
    Missing(&'static str),
}

/// Memory of a place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlaceMemory {
    /// Where.
    pub place: Place,
    /// All of it.
    pub total: Bytes,
    /// What can be had.
    pub available: Bytes,
    /// Sum of the low watermarks; zero where not known.
    pub low: Bytes,
    /// See [`watermark::position`].
    pub position: Source<f64>,
}

/// Counters of `/proc/vmstat` since boot. `None`: the kernel has no such counter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VmCounters {
    /// Pages that kswapd looked at and took.
    pub kswapd: Option<reclaim::Scanned>,
    /// Pages that tasks looked at and took.
    pub direct: Option<reclaim::Scanned>,
    /// Allocations that stalled.
    pub stalls: Option<u64>,
    /// Pages that came back.
    pub refaults: Option<u64>,
    /// Pages that came back from swap.
    pub swapped_in: Option<u64>,
}

/// One reading of everything.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Seconds on a clock that only goes forward.
    pub now: f64,
    /// CPUs.
    pub cpus: u32,
    /// Bytes of a page.
    pub page: u64,
    /// The machine.
    pub machine: PlaceMemory,
    /// Its NUMA nodes, where there are several.
    pub nodes: &'a [PlaceMemory],
    /// Counters.
    pub vm: Source<VmCounters>,
    /// Microseconds that services waited for memory: some, full.
    pub services: Source<(u64, u64)>,
    /// Swap: free, total.
    pub swap: (Bytes, Bytes),
    /// What reclaimed pods were promised, and what they may have.
    pub promised: (Bytes, Bytes),
}

/// One measure's reading, for a person.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Seen {
    /// Where.
    pub place: Place,
    /// Which measure.
    pub measure: &'static str,
    /// Its reading.
    pub reading: Reading,
}

/// What the board says of a place that is short.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Default)]
pub struct Short {
    /// Where.
    pub place: Place,
    /// How badly.
    pub severity: Severity,
    /// What is missing until it is over.
    pub shortage: Bytes,
    /// Only new batch pods are to be stopped: nobody is short yet.
    pub only_stop: bool,
}

/// What the board says; kept and written over, so that a reading allocates nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Assessment {
    /// When, seconds.
    pub at: f64,
    /// The worst of `short`.
    pub severity: Severity,
    /// Places that are short, the machine first.
    pub short: Vec<Short>,
    /// Every measure.
    pub seen: Vec<Seen>,
}

/// Detectors of one place.
#[derive(Debug, Clone)]
struct Watch {
    place: Place,
    watermark: Detector,
    last_watermark: Reading,
    available: Detector,
    trend: forecast::Trend,
    forecast: Detector,
}

/// All detectors.
#[derive(Debug, Clone)]
pub struct Board {
    places: Vec<Watch>,
    kswapd: Detector,
    direct: Detector,
    stall: Detector,
    some: Detector,
    full: Detector,
    refault: Detector,
    swap_in: Detector,
    swap_room: Detector,
    satisfaction: Detector,
    before: Option<(f64, VmCounters)>,
    services_before: Option<(f64, u64, u64)>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            kswapd: reclaim::kswapd(),
            direct: reclaim::direct(),
            stall: stall::detector(),
            some: pressure::some(),
            full: pressure::full(),
            refault: refault::detector(),
            swap_in: swap::coming_in(),
            swap_room: swap::room(),
            satisfaction: satisfaction::detector(),
            before: None,
            services_before: None,
        }
    }
}

impl Board {
    /// Takes a reading and writes what it says over `into`.
    pub fn observe(&mut self, sample: &Sample<'_>, into: &mut Assessment) {
        into.at = sample.now;
        into.severity = Severity::Calm;
        into.short.clear();
        into.seen.clear();
        let harm = self.harm(sample, &mut into.seen);
        let promised = self.satisfaction.judge(
            sample.now,
            satisfaction::value(sample.promised.1, sample.promised.0),
        );
        into.seen.push(Seen {
            place: Place::Machine,
            measure: "satisfaction",
            reading: promised,
        });
        self.places.retain(|watch| {
            watch.place == Place::Machine
                || sample.nodes.iter().any(|node| node.place == watch.place)
        });
        for memory in std::iter::once(&sample.machine).chain(sample.nodes) {
            let same = |watch: &Watch| watch.place == memory.place;
            if !self.places.iter().any(same) {
                self.places.push(Watch::new(memory.place));
            }
            let Some(watch) = self.places.iter_mut().find(|watch| same(watch)) else {
                continue;
            };
            let mut short = watch.judge(sample.now, memory, harm, &mut into.seen);
            if memory.place == Place::Machine
                && short.severity == Severity::Calm
                && promised.severity() > Severity::Calm
            {
                short.severity = Severity::Warning;
                short.only_stop = true;
            }
            if short.severity > Severity::Calm {
                into.severity = into.severity.max(short.severity);
                into.short.push(short);
            }
        }
    }

    /// How much the measures of harm say, the worst of them.
    fn harm(&mut self, sample: &Sample<'_>, seen: &mut Vec<Seen>) -> Severity {
        let now = sample.now;
        let pages = sample.machine.total.get() / sample.page.max(1);
        let mut worst = Severity::Calm;
        let mut say = |measure, reading: Reading, harms: bool| {
            if harms {
                worst = worst.max(reading.severity());
            }
            seen.push(Seen {
                place: Place::Machine,
                measure,
                reading,
            });
        };
        match sample.vm {
            Source::Value(vm) => {
                let before = self.before.replace((now, vm));
                let seconds = before.map_or(0.0, |(at, _)| now - at);
                let old = before.map(|(_, old)| old).unwrap_or_default();
                let difference = |new: Option<u64>, old: Option<u64>| new?.checked_sub(old?);
                let effort = |new: Option<reclaim::Scanned>, old: Option<reclaim::Scanned>| {
                    let (new, old) = (new?, old?);
                    let between = reclaim::Scanned {
                        scanned: new.scanned.checked_sub(old.scanned)?,
                        stolen: new.stolen.checked_sub(old.stolen)?,
                    };
                    between.effort(seconds, pages)
                };
                let part = |new: Option<u64>, old: Option<u64>| {
                    refault::value(difference(new, old)?, seconds, pages)
                };
                let mut one = |measure, detector: &mut Detector, has: bool, value, harms| {
                    let reading = if has {
                        detector.judge(now, value)
                    } else {
                        detector.off(VMSTAT)
                    };
                    say(measure, reading, harms);
                };
                one(
                    "kswapd",
                    &mut self.kswapd,
                    vm.kswapd.is_some(),
                    effort(vm.kswapd, old.kswapd),
                    false,
                );
                one(
                    "direct-reclaim",
                    &mut self.direct,
                    vm.direct.is_some(),
                    effort(vm.direct, old.direct),
                    true,
                );
                one(
                    "stalls",
                    &mut self.stall,
                    vm.stalls.is_some(),
                    difference(vm.stalls, old.stalls)
                        .and_then(|stalls| stall::value(stalls, seconds, sample.cpus)),
                    true,
                );
                one(
                    "refaults",
                    &mut self.refault,
                    vm.refaults.is_some(),
                    part(vm.refaults, old.refaults),
                    true,
                );
                if sample.swap.1 > Bytes::ZERO {
                    one(
                        "swap-in",
                        &mut self.swap_in,
                        vm.swapped_in.is_some(),
                        part(vm.swapped_in, old.swapped_in),
                        true,
                    );
                }
            }
            Source::NotNow => {}
            Source::Missing(file) => {
                self.before = None;
                for (measure, detector) in [
                    ("kswapd", &mut self.kswapd),
                    ("direct-reclaim", &mut self.direct),
                    ("stalls", &mut self.stall),
                    ("refaults", &mut self.refault),
                    ("swap-in", &mut self.swap_in),
                ] {
                    say(measure, detector.off(file), false);
                }
            }
        }
        match sample.services {
            Source::Value((some, full)) => {
                let before = self.services_before.replace((now, some, full));
                let share = |pick: fn(&(f64, u64, u64)) -> u64, total| {
                    let before = before.as_ref()?;
                    pressure::share(pick(before), total, now - before.0)
                };
                let value = share(|before| before.1, some);
                say("pressure-some", self.some.judge(now, value), true);
                let value = share(|before| before.2, full);
                say("pressure-full", self.full.judge(now, value), true);
            }
            Source::NotNow => {}
            Source::Missing(file) => {
                self.services_before = None;
                say("pressure-some", self.some.off(file), false);
                say("pressure-full", self.full.off(file), false);
            }
        }
        let room = match swap::free_part(sample.swap.0, sample.swap.1) {
            Some(part) => self.swap_room.judge(now, Some(part)),
            None => self.swap_room.off(swap::NO_SWAP),
        };
        say("swap-room", room, false);
        worst
    }
}

impl Watch {
    fn new(place: Place) -> Self {
        Self {
            place,
            watermark: watermark::detector(),
            last_watermark: Reading::Learning,
            available: available::detector(),
            trend: forecast::Trend::default(),
            forecast: forecast::detector(),
        }
    }

    fn judge(
        &mut self,
        now: f64,
        memory: &PlaceMemory,
        harm: Severity,
        seen: &mut Vec<Seen>,
    ) -> Short {
        let floor = available::floor(memory.total, memory.low);
        let available = self
            .available
            .judge(now, available::value(memory.available, floor));
        self.last_watermark = match memory.position {
            Source::Value(position) => self.watermark.judge(now, Some(position)),
            Source::NotNow => self.last_watermark,
            Source::Missing(file) => self.watermark.off(file),
        };
        self.trend.push(now, memory.available);
        let forecast = self
            .forecast
            .judge(now, self.trend.seconds_left(memory.total));
        for (measure, reading) in [
            ("available", available),
            ("watermark", self.last_watermark),
            ("forecast", forecast),
        ] {
            seen.push(Seen {
                place: self.place,
                measure,
                reading,
            });
        }
        let (had, mark) = (available.severity(), self.last_watermark.severity());
        let harm = match self.place {
            Place::Node(_) if mark == Severity::Calm => Severity::Calm,
            Place::Machine | Place::Node(_) => harm,
        };
        let warned = had.max(mark) >= Severity::Warning;
        let severity = if had == Severity::Critical
            || (warned && harm == Severity::Critical)
            || (mark == Severity::Critical && harm >= Severity::Warning)
        {
            Severity::Critical
        } else if had >= Severity::Warning
            || (mark >= Severity::Warning && harm >= Severity::Warning)
        {
            Severity::Warning
        } else {
            Severity::Calm
        };
        let only_stop = severity == Severity::Calm && forecast.severity() > Severity::Calm;
        Short {
            place: self.place,
            severity: if only_stop {
                Severity::Warning
            } else {
                severity
            },
            shortage: available::shortage(memory.available, floor).max(floor.scale(0.5)),
            only_stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const TOTAL: u64 = 1_000 * MIB;

    fn memory(place: Place, available: u64, position: f64) -> PlaceMemory {
        PlaceMemory {
            place,
            total: Bytes::new(TOTAL),
            available: Bytes::new(available * MIB),
            low: Bytes::new(10 * MIB),
            position: Source::Value(position),
        }
    }

    fn sample(now: u32, machine: PlaceMemory, nodes: &[PlaceMemory], stalls: u64) -> Sample<'_> {
        Sample {
            now: f64::from(now),
            cpus: 2,
            page: 4_096,
            machine,
            nodes,
            vm: Source::Value(VmCounters {
                stalls: Some(stalls),
                ..VmCounters::default()
            }),
            services: Source::Missing("memory.pressure"),
            swap: (Bytes::ZERO, Bytes::ZERO),
            promised: (Bytes::ZERO, Bytes::ZERO),
        }
    }

    /// Severity after ten seconds of the same.
    fn after_ten(available: u64, position: f64, stalls_a_second: u64) -> Assessment {
        let mut board = Board::default();
        let mut said = Assessment::default();
        for second in 0..10 {
            let machine = memory(Place::Machine, available, position);
            let sample = sample(second, machine, &[], u64::from(second) * stalls_a_second);
            board.observe(&sample, &mut said);
        }
        said
    }

    #[test]
    fn rules() {
        for (available, position, stalls, severity) in [
            (500, 2.0, 0, Severity::Calm),
            // Free pages alone say nothing, and neither do stalls.
            (500, 0.5, 0, Severity::Calm),
            (500, 2.0, 200, Severity::Calm),
            (500, 0.5, 3, Severity::Warning),
            (500, 0.5, 200, Severity::Critical),
            (500, 0.1, 3, Severity::Critical),
            (15, 2.0, 0, Severity::Warning),
            (5, 2.0, 0, Severity::Critical),
        ] {
            let said = after_ten(available, position, stalls);
            assert_eq!(
                said.severity, severity,
                "{available} MiB, position {position}, {stalls} stalls: {:?}",
                said.seen
            );
        }
    }

    #[test]
    fn one_node_of_two_is_short_alone() {
        let mut board = Board::default();
        let mut said = Assessment::default();
        for second in 0..4 {
            let nodes = [
                memory(Place::Node(0), 5, 0.1),
                memory(Place::Node(1), 400, 5.0),
            ];
            let machine = memory(Place::Machine, 405, 5.0);
            board.observe(&sample(second, machine, &nodes, 0), &mut said);
        }
        assert_eq!(said.short.len(), 1, "{said:?}");
        assert_eq!(said.short[0].place, Place::Node(0));
        assert_eq!(said.short[0].severity, Severity::Critical);
        // 1.5 times the floor of 20 MiB is missing but for the 5.
        assert_eq!(said.short[0].shortage, Bytes::new(25 * MIB));
    }

    #[test]
    fn a_forecast_only_stops_new_pods() {
        let mut board = Board::default();
        let mut said = Assessment::default();
        for second in 0..10_u32 {
            let available = 400 - u64::from(second) * 25;
            let machine = memory(Place::Machine, available, 9.0);
            board.observe(&sample(second, machine, &[], 0), &mut said);
        }
        assert_eq!(said.severity, Severity::Warning);
        assert!(said.short[0].only_stop, "{said:?}");
    }

    #[test]
    fn a_missing_file_is_off_and_named() {
        let said = after_ten(500, 2.0, 0);
        let of = |measure| {
            said.seen
                .iter()
                .find(|seen| seen.measure == measure)
                .map(|seen| seen.reading)
        };
        assert_eq!(of("pressure-some"), Some(Reading::Off("memory.pressure")));
        assert_eq!(of("kswapd"), Some(Reading::Off("/proc/vmstat")));
        assert_eq!(of("swap-room"), Some(Reading::Off(swap::NO_SWAP)));
        assert!(matches!(of("stalls"), Some(Reading::On { .. })));
    }
}
