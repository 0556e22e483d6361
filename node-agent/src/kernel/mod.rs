//! Parsers of kernel text, one file of the kernel each.
//!
//! Every parser is a pure function from `&str` to typed values. Unknown keys are ignored, a missing key is `None`, and no text makes
//! one panic: the text comes from a kernel we have not met yet. Reading the file is the caller's work.

pub mod cpu_limit;
pub mod cpu_list;
pub mod cpu_stat;
pub mod meminfo;
pub mod memory_stat;
pub mod number;
pub mod pressure;
pub mod proc_stat;

/// Splits a `key value` line of a flat keyed file (`cpu.stat`, `memory.stat`).
fn flat_keyed(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.trim().split_once(char::is_whitespace)?;
        Some((key, value.trim().parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s).{0,400}") {
            cpu_stat::parse_v1(&text);
            cpu_stat::parse_v2(&text);
            memory_stat::parse_v1(&text);
            memory_stat::parse_v2(&text);
            cpu_limit::parse_cpu_max(&text);
            cpu_limit::parse_cfs(&text, &text);
            number::parse(&text);
            number::parse_limit(&text);
            proc_stat::parse(&text);
            meminfo::parse(&text);
            meminfo::parse_node(&text);
            pressure::parse(&text);
            cpu_list::parse(&text);
        }

        #[test]
        fn words_of_the_kernel_never_panic(words in proptest::collection::vec(
            prop_oneof![
                Just("cpu".to_owned()), Just("max".to_owned()), Just("-".to_owned()), Just(",".to_owned()), Just("\n".to_owned()),
                Just("some avg10=".to_owned()), Just("MemTotal:".to_owned()), Just("kB".to_owned()), Just("usage_usec".to_owned()),
                Just(" ".to_owned()), Just("18446744073709551615".to_owned()), Just("0-4294967295".to_owned()), "[0-9]{1,20}",
            ], 0..40)
        ) {
            let text = words.concat();
            cpu_stat::parse_v2(&text);
            cpu_limit::parse_cpu_max(&text);
            proc_stat::parse(&text);
            meminfo::parse(&text);
            meminfo::parse_node(&text);
            pressure::parse(&text);
            cpu_list::parse(&text);
        }
    }
}
