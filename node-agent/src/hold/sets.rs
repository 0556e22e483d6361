//! Sets of CPUs and memory nodes of a tree of groups: what each can get, what must be on record, in which order.
//!
//! In version 1 a set is cut to what the parent group has, since the kernel refuses anything else. A pod whose parent has none of the
//! CPUs it should get is a problem and stays as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use katalyst_core::cpu_set::CpuSet;

use super::{
    apply::Problem,
    knob::Knob,
    order::{Move, order},
    plan::{Change, Found, Planner},
    setting::{Setting, Wanted},
};
use crate::cgroup::{Version, file};

/// A group above one that is looked at.
#[derive(Clone)]
struct Above {
    target: Option<CpuSet>,
    /// It was changed by us before this run, so the groups below began under our rule, or may have.
    ours: bool,
}

/// A bound on the work for groups that containers made below their own.
const MAX_GROUPS: usize = 10_000;

impl Planner<'_> {
    /// The sets of one kind: cut to what is possible, then in the order that the kernel takes.
    pub(super) fn tree(&mut self, knob: Knob, mut found: Vec<Found>) {
        found.sort_by(|a, b| a.setting.group.cmp(&b.setting.group));
        found.dedup_by(|b, a| a.setting.group == b.setting.group);
        self.add_copies(&mut found);
        let mut targets: BTreeMap<PathBuf, Above> = BTreeMap::new();
        let mut moves = Vec::new();
        let mut of = Vec::new();
        for Found { setting, current } in found {
            let above = setting
                .group
                .ancestors()
                .skip(1)
                .find_map(|group| targets.get(group))
                .cloned();
            let on_record = self.records.old(&setting.group, knob).is_some();
            let ours = self.is_ours(&setting, &current, above.as_ref());
            if setting.wanted == Wanted::Old && !on_record && !ours {
                let stays = CpuSet::parse(&current).ok().filter(|set| !set.is_empty());
                let above = Above {
                    target: stays,
                    ours: false,
                };
                targets.insert(setting.group, above);
                continue;
            }
            let below_ours = above.is_some();
            let Some((from, to)) = self.cut(&setting, &current, above.as_ref()) else {
                continue;
            };
            if setting.wanted == Wanted::Old {
                // On record too where it is not: this run may be cut short after the group above.
                self.note(&setting, &current, from != to, ours);
                self.plan.restored.push((setting.group.clone(), knob));
            } else if below_ours && from.is_none() {
                // In version 2 an empty set below one of ours already means the parent's.
                continue;
            } else {
                // A group in a tree of ours is on record even where it holds what it should: an explicit set of somebody else's must not be
                // taken for a copy of ours later.
                let in_ours = below_ours && from.is_some();
                self.note(&setting, &current, from != to || in_ours, ours);
            }
            let above = Above {
                target: to.clone(),
                ours: ours || on_record,
            };
            targets.insert(setting.group.clone(), above);
            moves.push(Move {
                group: setting.group.clone(),
                current: from,
                target: to,
            });
            of.push((setting.pod, current));
        }
        for (index, to) in order(self.hierarchy.version(), &moves) {
            let (Some(of_move), Some((pod, from))) = (moves.get(index), of.get_mut(index)) else {
                continue;
            };
            let to = to.map(|to| to.to_string()).unwrap_or_default();
            let to = knob.spelled(&to).to_owned();
            self.plan.changes.push(Change {
                pod: pod.clone(),
                group: of_move.group.clone(),
                knob,
                from: std::mem::replace(from, to.trim().to_owned()),
                to,
            });
        }
    }

    /// Groups that began below one that is put back and that have not been looked at since: the runtime gave them a copy of what the
    /// group above held (version 1), or what we told it (version 2). They are put back with it.
    fn add_copies(&self, found: &mut Vec<Found>) {
        let mut known: BTreeSet<PathBuf> =
            found.iter().map(|of| of.setting.group.clone()).collect();
        let mut index = 0_usize;
        while let Some(Found { setting, current }) = found.get(index) {
            index = index.saturating_add(1);
            if setting.wanted != Wanted::Old || current.is_empty() || index > MAX_GROUPS {
                continue;
            }
            let dir = self
                .hierarchy
                .dir(setting.knob.controller(), &setting.group);
            let copies: Vec<Found> = fs::read_dir(dir)
                .into_iter()
                .flatten()
                .filter_map(|entry| {
                    let entry = entry
                        .ok()
                        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))?;
                    let group = setting.group.join(entry.file_name());
                    let text = file::read(&entry.path().join(setting.knob.file())).ok()?;
                    (setting.knob.same(&text, current) && known.insert(group.clone())).then(|| {
                        Found {
                            setting: Setting {
                                group,
                                ..setting.clone()
                            },
                            current: text.trim().to_owned(),
                        }
                    })
                })
                .collect();
            found.extend(copies);
        }
        found.sort_by(|a, b| a.setting.group.cmp(&b.setting.group));
    }

    /// Whether what a group holds without a record is our doing: it began its life below a group that we had changed, or the records were
    /// lost and its pod is narrower than the class, which nobody else makes it.
    fn is_ours(&self, setting: &Setting, current: &str, above: Option<&Above>) -> bool {
        if let Some(above) = above {
            return above.ours;
        }
        if let Some(parent) = setting.group.parent()
            && self.records.old(parent, setting.knob).is_some()
        {
            return true;
        }
        if !self.untrusted.contains(&setting.pod) {
            return false;
        }
        match self.hierarchy.version() {
            Version::V1 => {
                let parent = setting.group.parent().unwrap_or(Path::new(""));
                let path = self.hierarchy.dir(setting.knob.controller(), parent);
                file::read(&path.join(setting.knob.file()))
                    .is_ok_and(|parent| !setting.knob.same(&parent, current))
            }
            Version::V2 => !current.is_empty(),
        }
    }

    /// What a group has and what it can get. `above`: what the group above it will have, where that is known.
    fn cut(
        &mut self,
        setting: &Setting,
        current: &str,
        above: Option<&Above>,
    ) -> Option<(Option<CpuSet>, Option<CpuSet>)> {
        let text = match &setting.wanted {
            Wanted::Value(value) => value.clone(),
            Wanted::Old => self
                .old_value(setting)
                .unwrap_or_else(|| setting.default_text())
                .to_owned(),
        };
        let parse = |text: &str| {
            CpuSet::parse(text)
                .ok()
                .map(|set| (!set.is_empty()).then_some(set))
        };
        let (Some(from), Some(wanted)) = (parse(current), parse(&text)) else {
            self.plan.problems.push(Problem::NoSet {
                path: self.path(setting),
                shown: current.to_owned(),
                wanted: text,
            });
            return None;
        };
        match self.hierarchy.version() {
            Version::V2 => Some((from, wanted)),
            Version::V1 => {
                let parent = match above {
                    Some(above) => above.target.clone().unwrap_or_default(),
                    None => self.parent_set(setting)?,
                };
                let to = match &wanted {
                    None => parent.clone(),
                    Some(wanted) => wanted.intersection(&parent),
                };
                let to = if to.is_empty() && setting.wanted == Wanted::Old {
                    // The CPUs of then are gone; what is left is the parent's.
                    parent.clone()
                } else {
                    to
                };
                if to.is_empty() {
                    self.plan.problems.push(Problem::OutsideParent {
                        path: self.path(setting),
                        wanted: text,
                        parent: parent.to_string(),
                    });
                    return None;
                }
                Some((Some(from.unwrap_or_default()), Some(to)))
            }
        }
    }

    fn path(&self, setting: &Setting) -> PathBuf {
        self.hierarchy
            .dir(setting.knob.controller(), &setting.group)
            .join(setting.knob.file())
    }

    fn parent_set(&mut self, setting: &Setting) -> Option<CpuSet> {
        let parent = setting.group.parent().unwrap_or(Path::new(""));
        let path = self
            .hierarchy
            .dir(setting.knob.controller(), parent)
            .join(setting.knob.file());
        match file::read_as(&path, |text| CpuSet::parse(text).ok()) {
            Ok(set) => Some(set),
            Err(error) if error.is_gone() => None,
            Err(error) => {
                self.plan.problems.push(error.into());
                None
            }
        }
    }
}
