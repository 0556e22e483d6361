//! From a container's amounts to cards and the share of each.
//!
//! Totals are divided by the number of cards and must divide exactly: a percent or a MiB that is nobody's would be counted by a quota and used by none.
//! A share without memory gets memory in the same proportion. Compute that makes up whole cards gives whole cards; memory beside them is then the least that a
//! card must have (Katalyst) or an error (Volcengine, whose users rely on it).

use super::{
    CardAmount, CardMemory, GpuRequest,
    error::RequestError,
    table::{Dialect, Means, Resource},
};
use crate::placement::machine::MOST;

const MIB: u64 = 1 << 20;

/// The amounts of one container.
#[derive(Debug, Default)]
pub(super) struct Amounts {
    cards: Option<Amount>,
    compute: Option<Amount>,
    memory: Option<Amount>,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
struct Amount {
    row: &'static Resource,
    value: u64,
}

impl Amount {
    fn wrong(self, container: &str, expected: &'static str) -> RequestError {
        RequestError::Amount {
            container: container.to_owned(),
            resource: self.row.name,
            value: self.value,
            expected,
        }
    }
}

impl Amounts {
    /// Takes an amount in. Of HAMi's two words for memory, MiB go before percent, and zero percent is none, as there.
    pub(super) fn take(
        &mut self,
        container: &str,
        row: &'static Resource,
        value: u64,
    ) -> Result<(), RequestError> {
        let amount = Amount { row, value };
        let known = [self.cards, self.compute, self.memory];
        if let Some(other) = known
            .into_iter()
            .flatten()
            .find(|other| other.row.dialect != row.dialect)
        {
            return Err(RequestError::Mixed {
                container: container.to_owned(),
                one: other.row.name,
                other: row.name,
            });
        }
        match row.means {
            Means::Cards => self.cards = Some(amount),
            Means::MilliTotal | Means::PercentTotal | Means::PercentEach => {
                self.compute = Some(amount);
            }
            Means::BytesTotal | Means::MibTotal | Means::MibEach => self.memory = Some(amount),
            Means::MemoryPercentEach => {
                if value > 0 && self.memory.is_none() {
                    self.memory = Some(amount);
                }
            }
            Means::Nics => {}
        }
        Ok(())
    }

    /// The container's cards; `spread` is over how many its totals are to be spread, where the pod says so.
    pub(super) fn resolve(
        self,
        container: &str,
        spread: Option<u8>,
    ) -> Result<Option<GpuRequest>, RequestError> {
        let first = self.cards.or(self.compute).or(self.memory);
        match first.map(|amount| amount.row.dialect) {
            None => Ok(None),
            Some(Dialect::Hami) => self.each(container),
            Some(dialect) => self.total(container, spread, dialect),
        }
    }

    fn each(self, container: &str) -> Result<Option<GpuRequest>, RequestError> {
        let percent = within(self.compute, 100, container, "0 to 100 percent of a card")?;
        let memory = match self.memory {
            Some(amount) if amount.row.means == Means::MemoryPercentEach => {
                let percent = within(Some(amount), 100, container, "0 to 100 percent of a card")?;
                percent.map(|percent| CardMemory::Percent(percent as u8))
            }
            Some(amount) if amount.value > 0 => {
                let mib = u32::try_from(amount.value)
                    .map_err(|_| amount.wrong(container, "MiB of a card"))?;
                Some(CardMemory::Mib(mib))
            }
            _ => None,
        };
        let most = MOST as u64;
        let cards = within(self.cards, most, container, "a number of cards, 0 to 64")?.unwrap_or(1);
        if cards == 0 {
            return Ok(None);
        }
        let all = matches!(memory, None | Some(CardMemory::Percent(100)));
        let amount = match percent {
            // All of the memory, and compute not mentioned: the card is the pod's alone.
            None if all => CardAmount::Whole { at_least_mib: 0 },
            Some(100) => CardAmount::Whole {
                at_least_mib: match memory {
                    Some(CardMemory::Mib(mib)) => mib,
                    _ => 0,
                },
            },
            percent => CardAmount::Part {
                percent: percent.unwrap_or(0) as u8,
                memory: memory.unwrap_or(CardMemory::Percent(100)),
            },
        };
        Ok(Some(GpuRequest {
            cards: cards as u8,
            amount,
        }))
    }

    fn total(
        self,
        container: &str,
        spread: Option<u8>,
        dialect: Dialect,
    ) -> Result<Option<GpuRequest>, RequestError> {
        let compute = self.compute.filter(|amount| amount.value > 0);
        let memory = self.memory.filter(|amount| amount.value > 0);
        let Some(any) = compute.or(memory) else {
            return Ok(None);
        };
        let milli = compute.map_or(0, |amount| match amount.row.means {
            Means::PercentTotal => amount.value.saturating_mul(10),
            _ => amount.value,
        });
        let cards = match spread {
            Some(cards) => u64::from(cards.max(1)),
            None if milli > 1000 => milli / 1000,
            None => 1,
        };
        if cards > MOST as u64 {
            return Err(any.wrong(container, "at most 64 cards"));
        }
        let each = milli / cards;
        if let Some(compute) = compute {
            if !milli.is_multiple_of(cards * 10) || each == 0 {
                let expected = "whole percents of each card";
                return Err(compute.wrong(container, expected));
            }
            if each > 1000 || (spread.is_none() && milli > 1000 && !milli.is_multiple_of(1000)) {
                let expected =
                    "a part of one card or whole cards; a part of several needs their number";
                return Err(compute.wrong(container, expected));
            }
        } else if dialect == Dialect::Volcengine {
            return Err(any.wrong(container, "memory with mgpu-core beside it"));
        }
        let mib = memory
            .map(|amount| {
                let unit = if amount.row.means == Means::BytesTotal {
                    MIB
                } else {
                    1
                };
                let exact = amount.value.is_multiple_of(cards * unit);
                u32::try_from(amount.value / unit / cards)
                    .ok()
                    .filter(|_| exact)
                    .ok_or_else(|| amount.wrong(container, "whole MiB of each card"))
            })
            .transpose()?;
        let amount = if each == 1000 {
            if let (Some(memory), Dialect::Volcengine) = (memory, dialect) {
                return Err(memory.wrong(container, "absent: whole cards come with their memory"));
            }
            CardAmount::Whole {
                at_least_mib: mib.unwrap_or(0),
            }
        } else {
            let percent = (each / 10) as u8;
            CardAmount::Part {
                percent,
                memory: mib.map_or(CardMemory::Percent(percent), CardMemory::Mib),
            }
        };
        Ok(Some(GpuRequest {
            cards: cards as u8,
            amount,
        }))
    }
}

fn within(
    amount: Option<Amount>,
    most: u64,
    container: &str,
    expected: &'static str,
) -> Result<Option<u64>, RequestError> {
    match amount {
        Some(amount) if amount.value > most => Err(amount.wrong(container, expected)),
        amount => Ok(amount.map(|amount| amount.value)),
    }
}
