//! Any bytes as requests: always an answer of the protocol, and nothing given twice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod any_bytes;
#[path = "any_bytes/seeds.rs"]
#[allow(unreachable_pub, reason = "the fuzzer uses it too")]
mod seeds;

use any_bytes::{END, VERBS, answer};
use proptest::prelude::*;
use seeds::seeds;

#[test]
fn seeds_are_understood() {
    let seeds = seeds();
    for (number, verb) in VERBS.iter().enumerate() {
        let understood = seeds
            .iter()
            .flat_map(|seed| seed.split(|byte| *byte == END))
            .filter(|request| usize::from(request[0]) % VERBS.len() == number)
            .map(answer)
            .sum::<usize>();
        // A pod that nobody has asked about is looked up, and the stand-in has none: see the next test.
        assert!(understood > 0 || *verb == "bind", "no seed of {verb}");
    }
}

#[test]
fn a_pod_goes_all_its_way() {
    let longest = seeds().iter().map(|seed| answer(seed)).max();
    assert_eq!(longest, Some(4), "filter, prioritize, bind and bind again");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        answer(&bytes);
    }

    #[test]
    fn seeds_with_a_byte_changed_are_answered(
        at in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        let seeds = seeds();
        let mut seed = at.get(&seeds).clone();
        let place = place.index(seed.len());
        seed[place] = byte;
        answer(&seed);
    }
}
