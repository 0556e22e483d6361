//! A plan in words.

use super::{Pool, PoolPlan, PoolReason};

impl Pool {
    /// One line: the CPUs and which rule made them so.
    pub fn explain(&self) -> String {
        let count = self.cpus.len();
        let numbers = format!(
            "{} pods request {} and use {}",
            self.pods, self.requested, self.used
        );
        let why = match self.reason {
            PoolReason::Configured => "as configured".to_owned(),
            PoolReason::Pods => "what its pods were given".to_owned(),
            PoolReason::Requests => "its requests in whole cores".to_owned(),
            PoolReason::Use => "its use with a margin, in whole cores".to_owned(),
            PoolReason::Minimum => "the least size of a pool".to_owned(),
            PoolReason::Holding => self.shrinking.map_or_else(
                || "about to shrink".to_owned(),
                |wait| {
                    format!(
                        "too large since {:.0} s, most wanted since is {}",
                        wait.since_seconds, wait.largest_wanted
                    )
                },
            ),
            PoolReason::Remainder => "what nobody else has".to_owned(),
            PoolReason::Together => {
                "pools do not fit beside each other, so they run together".to_owned()
            }
            PoolReason::Short => format!("wants {}, there is no more", self.wanted),
            PoolReason::Overlap => "nothing is left for it, so it overlaps with others".to_owned(),
        };
        format!("{count} CPUs ({}): {why}; {numbers}", self.cpus)
    }
}

impl PoolPlan {
    /// A line for each pool and each refusal.
    pub fn explain(&self) -> Vec<String> {
        let pools = self
            .pools
            .iter()
            .map(|(name, pool)| format!("{name}: {}", pool.explain()));
        pools
            .chain(self.refused.iter().map(ToString::to_string))
            .collect()
    }

    /// One line for a pod.
    pub fn explain_pod(&self, uid: &str) -> Option<String> {
        let (held, reason) = (self.pods.get(uid)?, self.reasons.get(uid)?);
        let mems = held
            .mems
            .as_ref()
            .map_or_else(|| "all".to_owned(), ToString::to_string);
        let refusals = self.refused.iter().filter(|refusal| refusal.uid == uid);
        let refused = refusals.fold(String::new(), |text, refusal| {
            text + "; refused: " + &refusal.to_string()
        });
        Some(format!(
            "{} in pool {}: CPUs {}, memory nodes {mems}{refused}",
            reason, held.pool, held.cpus
        ))
    }
}
