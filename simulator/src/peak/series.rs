//! Series files for judging: every value as it is in the file, gaps filled with the value before.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::path::Path;

use crate::trace::{TraceError, open};

/// Reads `series,values` files; gaps (`-1`) take the last value before them, at the beginning the first after.
pub fn read(path: &Path) -> Result<BTreeMap<String, Vec<f64>>, TraceError> {
    let mut series = BTreeMap::new();
    for row in rows(path)? {
        let (line, text) = row?;
        let wrong = |reason: String| TraceError::Line {
            path: path.to_owned(),
            line,
            reason,
        };
        let (name, values) = text
            .split_once(',')
            .ok_or_else(|| wrong("series,values was expected".to_owned()))?;
        let values = values
            .split_ascii_whitespace()
            .map(|text| {
                text.parse::<f64>()
                    .map_err(|e| wrong(format!("{text:?}: {e}")))
            })
            .collect::<Result<Vec<f64>, _>>()?;
        series.insert(name.to_owned(), filled(values));
    }
    Ok(series)
}

/// The lines of a file after its header, with their numbers.
pub fn rows(
    path: &Path,
) -> Result<impl Iterator<Item = Result<(usize, String), TraceError>> + use<>, TraceError> {
    let path = path.to_owned();
    Ok(open(&path)?
        .lines()
        .enumerate()
        .skip(1)
        .map(move |(index, line)| {
            line.map(|line| (index + 1, line))
                .map_err(|source| TraceError::Read {
                    path: path.clone(),
                    source,
                })
        }))
}

fn filled(mut values: Vec<f64>) -> Vec<f64> {
    let mut last = values.iter().copied().find(|v| *v >= 0.0).unwrap_or(0.0);
    for value in &mut values {
        if *value < 0.0 {
            *value = last;
        } else {
            last = *value;
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_take_the_value_before_and_the_first_ones_the_one_after() {
        assert_eq!(
            filled(vec![-1.0, 3.0, -1.0, -1.0, 5.0]),
            [3.0, 3.0, 3.0, 3.0, 5.0]
        );
        assert_eq!(filled(vec![-1.0]), [0.0]);
    }

    #[test]
    fn a_bad_value_names_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "series,values\na,1 2\nb,1 x\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(
            error.contains("line 3") && error.contains("\"x\""),
            "{error}"
        );
    }
}
