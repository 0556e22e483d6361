//! Wishes about devices: the annotation `device_enhancement` and those of others.

use std::collections::BTreeMap;

use super::{
    Affinity, CardSelector, Near,
    error::{RequestError, quote},
    keys,
    table::{ANNOTATIONS, Wish},
};
use crate::{
    placement::machine::{MOST, Mask, Scope},
    qos::NumaSet,
};

const CARDS: &str = "a number of cards, 1 to 64, or such numbers by container as main=2,side=1";
const LIST: &str = "a list with commas and at least one entry";
const NEAR: &str =
    "switch, switch_tree, root, numa or socket, with required: or preferred: before it";
const NVLINK: &str = "required or preferred";
const RAILS: &str = "rails below 64 such as 0-3,5";
const IN_ORDER: &str = "a number of cards for each container such as 2,0,1";
const FLAG: &str = "\"true\" or \"false\"";

/// What a pod wishes of its devices.
#[derive(Debug, Default)]
pub(super) struct DeviceWishes {
    pub(super) selector: CardSelector,
    pub(super) affinity: Affinity,
    /// Over how many cards, for each container that is not named.
    cards: Option<u8>,
    by_name: Vec<(String, u8)>,
    /// By the order of app containers.
    in_order: Vec<u8>,
}

impl DeviceWishes {
    pub(super) fn read(annotations: &BTreeMap<String, String>) -> Result<Self, RequestError> {
        let mut wishes = Self::default();
        for (annotation, wish) in ANNOTATIONS {
            if let Some(value) = annotations.get(annotation) {
                wishes.take_foreign(annotation, wish, value)?;
            }
        }
        if let Some(text) = annotations.get(keys::DEVICE_ENHANCEMENT) {
            let map: BTreeMap<String, String> = serde_json::from_str(text).map_err(|_| {
                let expected = "a JSON object of strings such as {\"gpu_cards\":\"2\"}";
                RequestError::annotation(keys::DEVICE_ENHANCEMENT, None, text, expected)
            })?;
            for (key, value) in &map {
                wishes.take(key, value)?;
            }
        }
        Ok(wishes)
    }

    /// Over how many cards the shares of a container are spread. `app` is its place among the app containers.
    pub(super) fn spread(&self, name: &str, app: Option<usize>) -> Option<u8> {
        let named = self.by_name.iter().find(|(other, _)| other == name);
        named
            .map(|(_, cards)| *cards)
            .or(self.cards)
            .or_else(|| self.in_order.get(app?).copied())
            .filter(|cards| *cards > 0)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), RequestError> {
        use keys::device as k;
        let wrong = |key: &'static str, expected| {
            RequestError::annotation(keys::DEVICE_ENHANCEMENT, Some(key), value, expected)
        };
        let near = |key: &'static str| near(value).ok_or_else(|| wrong(key, NEAR)).map(Some);
        let texts = |key: &'static str| list(value).ok_or_else(|| wrong(key, LIST));
        match key {
            k::GPU_CARDS => {
                if value.contains('=') {
                    self.by_name = by_name(value).ok_or_else(|| wrong(k::GPU_CARDS, CARDS))?;
                } else {
                    self.cards = Some(cards(value).ok_or_else(|| wrong(k::GPU_CARDS, CARDS))?);
                }
            }
            k::GPU_MODELS => self.selector.models = lower(texts(k::GPU_MODELS)?),
            k::GPU_MODELS_EXCLUDED => {
                self.selector.models_excluded = lower(texts(k::GPU_MODELS_EXCLUDED)?);
            }
            k::GPU_UUIDS => self.selector.uuids = texts(k::GPU_UUIDS)?,
            k::GPU_UUIDS_EXCLUDED => {
                self.selector.uuids_excluded = texts(k::GPU_UUIDS_EXCLUDED)?;
            }
            k::GPU_RDMA_AFFINITY => self.affinity.gpu_nic = near(k::GPU_RDMA_AFFINITY)?,
            k::GPU_AFFINITY => self.affinity.gpus = near(k::GPU_AFFINITY)?,
            k::RDMA_AFFINITY => self.affinity.nics = near(k::RDMA_AFFINITY)?,
            k::NVLINK => {
                self.affinity.nvlink = match value {
                    "required" => Some(true),
                    "preferred" => Some(false),
                    _ => return Err(wrong(k::NVLINK, NVLINK)),
                }
            }
            k::RDMA_RAILS => {
                let rails = NumaSet::parse(value)
                    .filter(|rails| rails.iter().all(|rail| (rail as usize) < MOST))
                    .ok_or_else(|| wrong(k::RDMA_RAILS, RAILS))?;
                let mask: Mask = rails.iter().map(|rail| rail as usize).collect();
                self.affinity.rails = Some(mask);
            }
            k::RAIL_ORDER => {
                self.affinity.rail_order = flag(value).ok_or_else(|| wrong(k::RAIL_ORDER, FLAG))?;
            }
            other => {
                return Err(RequestError::UnknownKey {
                    annotation: keys::DEVICE_ENHANCEMENT,
                    key: quote(other),
                });
            }
        }
        Ok(())
    }

    fn take_foreign(
        &mut self,
        annotation: &'static str,
        wish: Wish,
        value: &str,
    ) -> Result<(), RequestError> {
        let wrong = |expected| RequestError::annotation(annotation, None, value, expected);
        let texts = || list(value).ok_or_else(|| wrong(LIST));
        match wish {
            Wish::Models => self.selector.models = lower(texts()?),
            Wish::ModelsExcluded => self.selector.models_excluded = lower(texts()?),
            Wish::Uuids => self.selector.uuids = texts()?,
            Wish::UuidsExcluded => self.selector.uuids_excluded = texts()?,
            Wish::CardsInOrder => {
                let counts: Option<Vec<u8>> = value
                    .split(',')
                    .map(|count| match count.trim() {
                        "0" => Some(0),
                        count => cards(count),
                    })
                    .collect();
                self.in_order = counts.ok_or_else(|| wrong(IN_ORDER))?;
            }
            Wish::OneNuma => {
                if flag(value).ok_or_else(|| wrong(FLAG))? {
                    self.affinity.gpus = Some(Near {
                        scope: Scope::Numa,
                        required: true,
                    });
                }
            }
        }
        Ok(())
    }
}

fn cards(text: &str) -> Option<u8> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|cards| plain && (1..=MOST).contains(&usize::from(*cards)))
}

fn by_name(text: &str) -> Option<Vec<(String, u8)>> {
    text.split(',')
        .map(|part| {
            let (name, count) = part.split_once('=')?;
            Some((name.trim().to_owned(), cards(count.trim())?))
        })
        .collect()
}

fn list(text: &str) -> Option<Box<[Box<str>]>> {
    let parts: Box<[Box<str>]> = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(Into::into)
        .collect();
    (!parts.is_empty()).then_some(parts)
}

fn lower(mut texts: Box<[Box<str>]>) -> Box<[Box<str>]> {
    for text in &mut texts {
        text.make_ascii_lowercase();
    }
    texts
}

fn near(text: &str) -> Option<Near> {
    let (required, scope) = match text.split_once(':') {
        Some(("required", scope)) => (true, scope),
        Some(("preferred", scope)) => (false, scope),
        Some(_) => return None,
        None => (false, text),
    };
    let scope = match scope {
        "switch" => Scope::Switch,
        "switch_tree" => Scope::SwitchTree,
        "root" => Scope::Root,
        "numa" => Scope::Numa,
        "socket" => Scope::Socket,
        _ => return None,
    };
    Some(Near { scope, required })
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}
