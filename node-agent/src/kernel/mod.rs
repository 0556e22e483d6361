//! Parsers of kernel text, one file of the kernel each.
//!
//! Every parser is a pure function from `&str` to typed values. Unknown keys are ignored, a missing key is `None` (or zero where the kernel means
//! zero, said at the field), and no text makes one panic: the text comes from a kernel we have not met yet. What is an essential of a file
//! is not there: the whole answer is `None`. Reading the file is the caller's work.
//!
//! What is read each second allocates nothing: answers are `Copy`, an iterator, or a buffer that the caller keeps ([`memory_numa_stat::NumaStat`]).

pub mod capture;
pub mod catalogue;
pub mod cpu_limit;
pub mod cpu_stat;
pub mod cpu_topology;
pub mod cpuacct;
pub mod cpuset;
pub mod infiniband;
pub mod io_stat;
pub mod loadavg;
pub mod meminfo;
pub mod memory_events;
pub mod memory_numa_stat;
pub mod memory_stat;
pub mod node_distance;
pub mod number;
pub mod nvidia;
pub mod pci;
pub mod pressure;
pub mod proc_stat;
pub mod vmstat;
pub mod zoneinfo;

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

    use super::catalogue::PARSERS;

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s).{0,400}") {
            for parser in PARSERS {
                (parser.run)(&text);
            }
        }

        #[test]
        fn words_of_the_kernel_never_panic(words in proptest::collection::vec(
            prop_oneof![
                Just("cpu"), Just("cpu0 "), Just("max"), Just("-"), Just(","), Just("\n"), Just("some avg10="), Just("MemTotal:"), Just("Node 0 "),
                Just("Node 0, zone"), Just("kB"), Just("usage_usec"), Just("hierarchical_total="), Just("anon"), Just("N0="), Just("8:0 "), Just("rbytes="),
                Just("  pages free "), Just("pagesets"), Just("4:"), Just("Gb/sec"), Just("0x"), Just("Read"), Just("total_rss"), Just("/"), Just("."),
                Just(" "), Just("18446744073709551615"), Just("0-4294967295"), Just("8191"), Just("0"), Just("17"),
            ], 0..60)
        ) {
            let text = words.concat();
            for parser in PARSERS {
                (parser.run)(&text);
            }
        }
    }
}
