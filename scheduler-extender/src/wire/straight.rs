//! The question as kube-scheduler writes it, read without a parser where that comes to the same.
//!
//! Go's encoder writes `{"Pod":...,"Nodes":null,"NodeNames":["a","b"]}` with nothing between the tokens, and lists nodes in much the same
//! order each time. So each name is compared with the one that is expected there, in a table where their texts lie one after the other,
//! and only the pod goes through the parser. Whatever looks different is left to it as a whole.

use std::borrow::Cow;

use super::WirePod;
use super::args::{Candidate, ExtenderArgs, MOST_ROOM, Names, USUAL_NAME};

const POD: &str = "{\"Pod\":";
/// Within a string its quotes would be escaped, so it is a key wherever it stands.
const LIST: &str = ",\"Nodes\":null,\"NodeNames\":[";
const END: &str = "]}";

/// The question; `None` where the parser must tell.
pub(super) fn read<'a>(text: &'a str, names: &impl Names) -> Option<ExtenderArgs<'a>> {
    let (pod, rest) = text.strip_prefix(POD)?.split_once(LIST)?;
    let list = rest.trim_ascii_end().strip_suffix(END)?;
    let candidates = candidates(list, names)?;
    // A whole value, so the list that follows it is the question's own.
    let pod: Option<WirePod<'a>> = serde_json::from_str(pod).ok()?;
    Some(ExtenderArgs {
        pod,
        nodes: None,
        candidates,
        by_name: true,
    })
}

fn candidates<'a>(list: &'a str, names: &impl Names) -> Option<Vec<Candidate<'a>>> {
    let mut found = Vec::with_capacity((list.len() / USUAL_NAME).min(MOST_ROOM));
    let mut before = None;
    let mut at = 0;
    loop {
        let begin = at + 1;
        let rest = list.as_bytes().get(at..)?.strip_prefix(b"\"")?;
        let (slot, length) = if let Some((slot, length)) = names.begins(rest, before) {
            (Some(slot), length)
        } else {
            let length = plain(rest)?;
            (names.find(list.get(begin..begin + length)?, before), length)
        };
        before = slot;
        found.push(Candidate {
            name: Cow::Borrowed(list.get(begin..begin + length)?),
            slot,
        });
        // Behind the closing quote.
        at = begin + length + 1;
        match list.as_bytes().get(at) {
            Some(b',') => at += 1,
            Some(_) => return None,
            None => return Some(found),
        }
    }
}

/// The length of the string that begins there, where it holds nothing that a parser would change or refuse.
fn plain(rest: &[u8]) -> Option<usize> {
    let length = rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | ..0x20))?;
    (rest.get(length) == Some(&b'"')).then_some(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Knows `n0` to `n9`, and expects them in that order.
    struct Ten;

    impl Names for Ten {
        fn find(&self, name: &str, _: Option<u32>) -> Option<u32> {
            let number: u32 = name.strip_prefix('n')?.parse().ok()?;
            (number < 10 && name.len() == 2).then_some(number)
        }

        fn begins(&self, rest: &[u8], after: Option<u32>) -> Option<(u32, usize)> {
            let next = after.map_or(0, |after| after + 1);
            let name = format!("n{next}\"");
            (next < 10 && rest.starts_with(name.as_bytes())).then_some((next, 2))
        }
    }

    fn parsed(text: &str) -> Option<(bool, Vec<Candidate<'_>>)> {
        // A space after the brace is nothing that Go writes, so the parser reads it.
        ExtenderArgs::read(text.as_bytes(), &Ten)
            .ok()
            .map(|args| (args.pod.is_some(), args.candidates))
    }

    fn straight(text: &str) -> Option<(bool, Vec<Candidate<'_>>)> {
        read(text, &Ten).map(|args| (args.pod.is_some(), args.candidates))
    }

    #[test]
    fn kube_schedulers_question_is_read_straight() {
        let text = r#"{"Pod":{"metadata":{"name":"p"}},"Nodes":null,"NodeNames":["n0","n1","x","n7","n8"]}"#;
        let (pod, candidates) = straight(text).unwrap();
        let slots: Vec<_> = candidates.iter().map(|each| each.slot).collect();
        assert!(pod);
        assert_eq!(slots, [Some(0), Some(1), None, Some(7), Some(8)]);
        assert_eq!(candidates[2].name, "x");
        assert!(straight(&format!("{text}\n")).is_some());
    }

    #[test]
    fn what_looks_different_is_left_to_the_parser() {
        for text in [
            r#"{"Pod":null,"Nodes":null,"NodeNames":[]}"#,
            r#"{"Pod":null,"Nodes":null,"NodeNames":null}"#,
            r#"{"Pod":null,"Nodes":null,"NodeNames":["a\u0062"]}"#,
            r#"{"Pod":null,"Nodes":null,"NodeNames":["a",1]}"#,
            r#"{"Pod":null,"Nodes":null,"NodeNames":["a",]}"#,
            r#"{"Pod":null,"Nodes":null,"NodeNames":["a"],"More":[]}"#,
            r#"{"Pod":{"Pod":null,"Nodes":null,"NodeNames":["a"]},"NodeNames":["b"]}"#,
            "{\"Pod\":null,\"Nodes\":null,\"NodeNames\":[\"a\nb\"]}",
        ] {
            assert_eq!(straight(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_comes_to_the_same(
            names in prop::collection::vec("n[0-9]{1,2}|[a-z\"\\\\,\\]}\u{1}é]{0,4}", 0..12),
            pod in prop::sample::select(vec!["null", "{}", "{\"metadata\":{\"name\":\"p\"}}", "1", "{"]),
            end in prop::sample::select(vec!["", "\n", "x", ",\"A\":[\"n1\"]}"]),
            raw in any::<bool>(),
        ) {
            let list = if raw {
                format!("[\"{}\"]", names.join("\",\""))
            } else {
                serde_json::to_string(&names).unwrap()
            };
            let text = format!("{{\"Pod\":{pod},\"Nodes\":null,\"NodeNames\":{list}}}{end}");
            if let Some(found) = straight(&text) {
                let spaced = text.replacen('{', "{ ", 1);
                prop_assert_eq!(Some(found), parsed(&spaced));
            }
        }
    }
}
