//! The candidate nodes of a question, by name or as objects.

use std::borrow::Cow;

use serde::Deserialize;

use crate::wire::{ExtenderArgs, Name};

/// Why the candidates cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("Nodes.items[{index}].metadata.name: {source}")]
pub struct CandidateError {
    index: usize,
    source: serde_json::Error,
}

#[derive(Deserialize)]
struct NamedNode<'a> {
    #[serde(borrow)]
    metadata: NodeMetadata<'a>,
}

#[derive(Deserialize)]
struct NodeMetadata<'a> {
    #[serde(borrow)]
    name: Name<'a>,
}

/// Names of the candidates, in the order of the question; empty where it holds neither names nor objects.
pub(super) fn names<'a>(args: &'a ExtenderArgs<'_>) -> Result<Vec<Cow<'a, str>>, CandidateError> {
    if let Some(names) = &args.node_names {
        return Ok(names
            .iter()
            .map(|name| Cow::Borrowed(name.as_ref()))
            .collect());
    }
    let items = args.nodes.iter().flat_map(|list| &list.items);
    let parse = |(index, item): (usize, &&'a serde_json::value::RawValue)| {
        let node: NamedNode<'a> =
            serde_json::from_str(item.get()).map_err(|source| CandidateError { index, source })?;
        Ok(node.metadata.name.0)
    };
    items.enumerate().map(parse).collect()
}
