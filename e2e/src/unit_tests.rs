//! What `cargo test` printed, as a report: how many tests ran in each binary.

use crate::report::Row;

/// Counts of one test binary.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that were ignored.
    pub ignored: u64,
}

/// Reads every `Running ...` / `test result: ...` pair of the output; (binary, counts) in order.
pub fn parse(output: &str) -> Vec<(String, Counts)> {
    let mut binary = String::new();
    let mut found = Vec::new();
    for line in output.lines() {
        let line = line.trim_start();
        if let Some(rest) = line.strip_prefix("Running ") {
            // `unittests src/lib.rs (target/debug/deps/katalyst_core-0123456789abcdef)`
            let file = rest
                .rsplit('/')
                .next()
                .unwrap_or(rest)
                .trim_end_matches(')');
            file.rsplit_once('-')
                .map_or(file, |(name, _)| name)
                .clone_into(&mut binary);
        } else if let Some(rest) = line.strip_prefix("test result: ") {
            found.push((std::mem::take(&mut binary), counts(rest)));
        }
    }
    found
}

fn counts(text: &str) -> Counts {
    let number = |word: &str| -> u64 {
        text.split([';', '.'])
            .find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
            .unwrap_or(0)
    };
    Counts {
        passed: number("passed"),
        failed: number("failed"),
        ignored: number("ignored"),
    }
}

/// Rows of the report and the totals.
pub fn summarise(output: &str) -> (Vec<Row>, Counts) {
    let mut total = Counts::default();
    let mut rows = Vec::new();
    for (binary, counts) in parse(output) {
        total.passed += counts.passed;
        total.failed += counts.failed;
        total.ignored += counts.ignored;
        if counts != Counts::default() {
            let mut row = Row::figure(
                &binary,
                &format!("tests of {binary} that passed"),
                counts.passed as f64,
                "count",
                "no cluster, no root",
            );
            row.bar = format!("{} failed", 0);
            row.holds = Some(counts.failed == 0);
            rows.push(row);
        }
    }
    (rows, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "     Running unittests src/lib.rs (target/debug/deps/katalyst_core-00ff00ff00ff00ff)\n\nrunning 2 tests\ntest result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.18s\n     Running unittests src/main.rs (target/debug/deps/katalyst_e2e-00ff00ff00ff00ff)\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";

    #[test]
    fn results_are_added_up() {
        let (rows, total) = summarise(OUTPUT);
        assert_eq!(
            total,
            Counts {
                passed: 2,
                failed: 1,
                ignored: 1
            }
        );
        assert_eq!(rows[0].id, "katalyst_core");
        assert_eq!(
            rows.iter().map(|r| r.holds).collect::<Vec<_>>(),
            [Some(true), Some(false)]
        );
    }
}
