//! The question of filter and prioritize, read in one pass: each candidate's name is looked up as it goes by, in a table that stands ready.
//!
//! Names are borrowed from the question where they hold no escapes, and nothing else is kept of them. Time and memory are linear in the
//! length of the question, which the server bounds; nesting is bounded by the parser (128).

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Name, NodeList, WirePod, straight};

/// A table of names. Positions are the table's own.
pub trait Names {
    /// The position of a name, which came after the one at position `after` in the question.
    fn find(&self, name: &str, after: Option<u32>) -> Option<u32>;

    /// The position and length of the name that `find` would try first after `after`, where `rest` begins with it and a quote.
    fn begins(&self, rest: &[u8], after: Option<u32>) -> Option<(u32, usize)> {
        let _ = (rest, after);
        None
    }
}

/// Knows no name.
impl Names for () {
    fn find(&self, _: &str, _: Option<u32>) -> Option<u32> {
        None
    }
}

/// A candidate node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its position in the table of names, where it is known.
    pub slot: Option<u32>,
}

/// The question of filter and prioritize.
#[derive(Debug, Default)]
pub struct ExtenderArgs<'a> {
    /// The pod to place.
    pub pod: Option<WirePod<'a>>,
    /// Candidates as objects, where the scheduler is configured with `nodeCacheCapable: false`, in the order of `candidates`.
    pub nodes: Option<Vec<&'a RawValue>>,
    /// The candidates; empty where the question holds neither names nor objects. Names go before objects.
    pub candidates: Vec<Candidate<'a>>,
    /// The question held names.
    pub by_name: bool,
}

impl<'a> ExtenderArgs<'a> {
    /// Reads a question and looks its names up.
    pub fn read(body: &'a [u8], names: &impl Names) -> Result<Self, serde_json::Error> {
        // Once for all of it, and not name by name.
        let text = std::str::from_utf8(body).map_err(serde::de::Error::custom)?;
        if let Some(args) = straight::read(text, names) {
            return Ok(args);
        }
        let mut parser = serde_json::Deserializer::from_str(text);
        let args = Question(names, body.len() / USUAL_NAME).deserialize(&mut parser)?;
        parser.end()?;
        Ok(args)
    }
}

/// Bytes of the usual name with quotes and comma, or fewer: room is made for so many at once.
pub(super) const USUAL_NAME: usize = 24;
/// No more room than that is made on the word of a length.
pub(super) const MOST_ROOM: usize = 16_384;

/// The table, and about how many names there may be.
struct Question<'n, N>(&'n N, usize);

impl<'de, N: Names> DeserializeSeed<'de> for Question<'_, N> {
    type Value = ExtenderArgs<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, N: Names> Visitor<'de> for Question<'_, N> {
    type Value = ExtenderArgs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with Pod, Nodes and NodeNames")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut args = ExtenderArgs::default();
        let mut listed: Option<(Vec<&'de RawValue>, Vec<Candidate<'de>>)> = None;
        while let Some(key) = map.next_key::<Name<'de>>()? {
            match key.as_ref() {
                "Pod" => args.pod = map.next_value()?,
                "NodeNames" => {
                    if let Some(candidates) = map.next_value_seed(List(self.0, self.1))? {
                        args.candidates = candidates;
                        args.by_name = true;
                    }
                }
                "Nodes" => {
                    listed = map
                        .next_value::<Option<NodeList<'de>>>()?
                        .map(|list| objects(list, self.0))
                        .transpose()
                        .map_err(serde::de::Error::custom)?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if let Some((items, candidates)) = listed
            && !args.by_name
        {
            args.nodes = Some(items);
            args.candidates = candidates;
        }
        Ok(args)
    }
}

/// A list of names or null.
struct List<'n, N>(&'n N, usize);

impl<'de, N: Names> DeserializeSeed<'de> for List<'_, N> {
    type Value = Option<Vec<Candidate<'de>>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, N: Names> Visitor<'de> for List<'_, N> {
    type Value = Option<Vec<Candidate<'de>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of node names or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Self::Value, A::Error> {
        let mut candidates = Vec::with_capacity(self.1.min(MOST_ROOM));
        let mut before = None;
        while let Some(Name(name)) = names.next_element()? {
            let next = candidate(name, self.0, before);
            before = next.slot;
            candidates.push(next);
        }
        Ok(Some(candidates))
    }
}

fn candidate<'a>(name: Cow<'a, str>, names: &impl Names, before: Option<u32>) -> Candidate<'a> {
    let slot = names.find(&name, before);
    Candidate { name, slot }
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

type Objects<'a> = (Vec<&'a RawValue>, Vec<Candidate<'a>>);

fn objects<'a>(list: NodeList<'a>, names: &impl Names) -> Result<Objects<'a>, String> {
    let mut candidates = Vec::with_capacity(list.items.len());
    for (index, item) in list.items.iter().enumerate() {
        let node: NamedNode<'a> = serde_json::from_str(item.get())
            .map_err(|error| format!("Nodes.items[{index}].metadata.name: {error}"))?;
        let before = candidates.last().and_then(|last: &Candidate<'_>| last.slot);
        candidates.push(candidate(node.metadata.name.0, names, before));
    }
    Ok((list.items, candidates))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Two;

    impl Names for Two {
        fn find(&self, name: &str, _: Option<u32>) -> Option<u32> {
            match name {
                "a" => Some(0),
                "b\"" => Some(1),
                _ => None,
            }
        }
    }

    #[test]
    fn names_are_looked_up_and_borrowed() {
        let body = br#"{"NodeNames":["a","b\"","c"],"Extra":[1,{"x":2}],"Pod":{"metadata":{"name":"p"}},"Nodes":null}"#;
        let args = ExtenderArgs::read(body, &Two).unwrap();
        let slots: Vec<_> = args.candidates.iter().map(|each| each.slot).collect();
        assert_eq!(slots, [Some(0), Some(1), None]);
        assert!(matches!(args.candidates[0].name, Cow::Borrowed("a")));
        assert_eq!(args.pod.unwrap().metadata.name, "p");
        assert!(args.by_name && args.nodes.is_none());
    }

    #[test]
    fn an_object_without_a_name_is_named_by_its_place() {
        let body = br#"{"Nodes":{"items":[{"metadata":{"name":"a"}},{"metadata":{}}]}}"#;
        let error = ExtenderArgs::read(body, &()).unwrap_err().to_string();
        assert!(error.contains("Nodes.items[1].metadata.name"), "{error}");
    }

    #[test]
    fn bytes_after_the_question_are_an_error() {
        assert!(ExtenderArgs::read(br#"{"NodeNames":[]}x"#, &()).is_err());
    }
}
