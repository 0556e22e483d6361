//! The baseline: the same question answered as HAMi's extender (v2.10) does it, over the same kind of connection.
//!
//! For each filter it adds up the usage of every node anew, from the cards that nodes registered and from what each pod holds, judges every candidate,
//! and returns the best alone, so that kube-scheduler asks for no scores. What it does besides is left out in its favour: a lock around all of
//! it, and a write to the API server before it answers.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use k8s_openapi::api::core::v1::Pod;
use katalyst_core::placement::CardShare;
use katalyst_scheduler_extender::http::MAX_BODY;
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, Server, serve};
use crate::nodes::{self, CARDS};

/// Containers that may share a card (`deviceSplitCount`).
const SPLIT: u32 = 10;

struct Registered {
    /// UUID and memory in MiB of each card.
    nodes: HashMap<String, Vec<(String, u32)>>,
    pods: Vec<Holder>,
}

/// A pod: its node, and UUID, MiB and percent of each card.
struct Holder {
    node: String,
    cards: Vec<(String, u32, u32)>,
}

struct Usage<'a> {
    uuid: &'a str,
    memory: u32,
    used_memory: u32,
    used_cores: u32,
    slots: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Asked {
    pod: Pod,
    node_names: Vec<String>,
}

/// Serves the baseline with the cluster's nodes and pods.
pub(crate) fn start(cluster: &Cluster, count: usize) -> Result<Server> {
    let mut registered = Registered {
        nodes: HashMap::new(),
        pods: Vec::new(),
    };
    for index in 0..count {
        let name = nodes::name(index);
        let node = cluster.extender.ledger().node(&name);
        let memory = node.machine().cards().first().map_or(0, |card| card.mib);
        let cards = (0..CARDS).map(|card| (nodes::card(index, card), memory));
        registered.nodes.insert(name.clone(), cards.collect());
        for (_, held) in node.pods().filter(|(_, held)| !held.cards.is_empty()) {
            let cards = held.cards.iter().map(|card| match card.share {
                CardShare::Whole => (card.uuid.to_string(), memory, 100),
                CardShare::Part { percent, mib } => {
                    (card.uuid.to_string(), mib, u32::from(percent))
                }
            });
            registered.pods.push(Holder {
                node: name.clone(),
                cards: cards.collect(),
            });
        }
    }
    let routes = Router::new()
        .route("/filter", post(filter))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(registered));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    serve(runtime, routes, CancellationToken::new())
}

async fn filter(State(registered): State<Arc<Registered>>, body: Bytes) -> Response {
    let asked: Asked = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let best = registered.best(&asked);
    let answer =
        json!({"NodeNames": best.into_iter().collect::<Vec<_>>(), "FailedNodes": {}, "Error": ""});
    answer.to_string().into_response()
}

impl Registered {
    fn best<'a>(&self, asked: &'a Asked) -> Option<&'a str> {
        let cores = percent(&asked.pod);
        let mut usage: HashMap<&str, Vec<Usage<'_>>> = self
            .nodes
            .iter()
            .map(|(node, cards)| {
                let cards = cards.iter().map(|(uuid, memory)| Usage {
                    uuid,
                    memory: *memory,
                    used_memory: 0,
                    used_cores: 0,
                    slots: 0,
                });
                (node.as_str(), cards.collect())
            })
            .collect();
        for held in &self.pods {
            let Some(cards) = usage.get_mut(held.node.as_str()) else {
                continue;
            };
            for (uuid, memory, cores) in &held.cards {
                for card in cards.iter_mut().filter(|card| card.uuid == uuid) {
                    card.used_memory += memory;
                    card.used_cores += cores;
                    card.slots += 1;
                }
            }
        }
        let mut best: Option<(f32, &str)> = None;
        for name in &asked.node_names {
            let Some(cards) = usage.get(name.as_str()) else {
                continue;
            };
            let fits = cards.iter().any(|card| {
                card.slots < SPLIT
                    && card.used_cores + cores <= 100
                    && card.used_memory + card.memory * cores / 100 <= card.memory
            });
            let sum = |of: fn(&Usage<'_>) -> u32| cards.iter().map(of).sum::<u32>() as f32;
            let all = cards.len() as f32;
            let score = 10.0
                * (sum(|card| card.slots) / (all * SPLIT as f32)
                    + sum(|card| card.used_cores) / (all * 100.0)
                    + sum(|card| card.used_memory) / sum(|card| card.memory));
            if fits && best.is_none_or(|(other, _)| score > other) {
                best = Some((score, name));
            }
        }
        best.map(|(_, name)| name)
    }
}

fn percent(pod: &Pod) -> u32 {
    let amounts = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .filter_map(|container| container.resources.as_ref()?.limits.as_ref());
    let milli = amounts
        .filter_map(|limits| limits.get("resource.katalyst.kubewharf.io/milligpu"))
        .filter_map(|amount| amount.0.parse::<u32>().ok());
    milli.sum::<u32>() / 10
}
