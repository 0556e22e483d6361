//! Texts of several kernel files in one, a line `=== PATH` before each: how `tests/fixtures/capture.sh` writes a machine down. Not a file of the
//! kernel; tests and the fuzzer's seeds are read with it.

/// Each file of a capture with its text. Links (`=== link PATH`) keep the word in their path.
pub fn sections(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("\n=== ")
        .map(|section| section.strip_prefix("=== ").unwrap_or(section))
        .filter_map(|section| section.split_once('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_their_texts() {
        let text = "=== uname\nLinux\n=== /proc/loadavg\n1 2\n3\n=== /empty\n\n=== link /a\n../b\n";
        let all: Vec<_> = sections(text).collect();
        assert_eq!(
            all,
            [
                ("uname", "Linux"),
                ("/proc/loadavg", "1 2\n3"),
                ("/empty", ""),
                ("link /a", "../b\n")
            ]
        );
    }
}
