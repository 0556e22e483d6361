//! The published table of reference predictors, to show that ours are the same before anything else is claimed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};

use super::series;

/// Scenario, horizon and predictor, as the first six columns name them.
pub type Key = [String; 6];

/// Fractions of a row, from `viol_mean` on.
pub type Values = Vec<f64>;

/// Splits a line of the table: a name with commas is in quotes.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => {
                if let Some(field) = fields.last_mut() {
                    field.push(other);
                }
            }
        }
    }
    fields
}

/// Reads a table in the columns of `sim-peak.csv`, packed or not.
pub fn read(path: &Path) -> anyhow::Result<BTreeMap<Key, Values>> {
    let mut table = BTreeMap::new();
    for row in series::rows(path)? {
        let (line, text) = row?;
        let fields = fields(text.trim_end());
        let Some((names, rest)) = fields.split_at_checked(6) else {
            bail!("{}, line {line}: six names were expected", path.display());
        };
        let values = rest
            .iter()
            .skip(2)
            .map(|text| text.parse::<f64>())
            .collect::<Result<Vec<f64>, _>>()
            .with_context(|| format!("{}, line {line}", path.display()))?;
        let key: Key = std::array::from_fn(|at| names.get(at).cloned().unwrap_or_default());
        table.insert(key, values);
    }
    Ok(table)
}

/// How our rows compare with the published ones.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// Rows of ours that were published.
    pub rows: usize,
    /// Published rows of the same scenarios that we lack.
    pub missing: Vec<Key>,
    /// The largest difference of savings or mean violations, in points, and its row.
    pub worst: Option<(f64, Key)>,
    /// The largest difference in any column, in points, and its row.
    pub worst_anywhere: Option<(f64, Key)>,
}

/// Compares. The key columns after the first five name scenario and horizon: published rows of other scenarios do not count.
pub fn compare(ours: &BTreeMap<Key, Values>, published: &BTreeMap<Key, Values>) -> Comparison {
    let mut result = Comparison::default();
    let grow = |worst: &mut Option<(f64, Key)>, difference: f64, key: &Key| {
        if worst.as_ref().is_none_or(|(most, _)| difference > *most) {
            *worst = Some((difference, key.clone()));
        }
    };
    for (key, values) in published {
        let Some(own) = ours.get(key) else {
            if ours
                .keys()
                .any(|k| k.iter().zip(key).take(5).all(|(a, b)| a == b))
            {
                result.missing.push(key.clone());
            }
            continue;
        };
        result.rows += 1;
        for (column, (a, b)) in own.iter().zip(values).enumerate() {
            let points = (a - b).abs() * 100.0;
            // viol_mean and savings, the two columns that are compared anywhere else.
            if column == 0 || column == 7 {
                grow(&mut result.worst, points, key);
            }
            grow(&mut result.worst_anywhere, points, key);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_commas_are_one_field() {
        assert_eq!(
            fields("a,\"max(N-sigma 5, RC p99)\",3"),
            ["a", "max(N-sigma 5, RC p99)", "3"]
        );
    }

    #[test]
    fn a_difference_and_a_missing_row_are_seen() {
        let key = |predictor: &str| -> Key {
            ["d", "cpu", "l", "p", "24h", predictor].map(str::to_owned)
        };
        let ours = BTreeMap::from([(key("a"), vec![0.1; 11])]);
        let mut other = vec![0.1; 11];
        other[7] = 0.102;
        let published = BTreeMap::from([(key("a"), other), (key("b"), vec![0.0; 11])]);
        let result = compare(&ours, &published);
        assert_eq!((result.rows, result.missing.len()), (1, 1));
        assert!((result.worst.unwrap().0 - 0.2).abs() < 1e-9);
    }
}
