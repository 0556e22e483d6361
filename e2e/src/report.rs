//! What a command measured: a table for a person and `target/reports/NAME.json` for everything else.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// One measured line.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Row {
    /// Short stable name.
    pub id: String,
    /// What the value shows, in words.
    pub shows: String,
    /// What was measured.
    pub value: f64,
    /// Its unit (`ms`, `fraction`, `count`).
    pub unit: String,
    /// The bar it is held against, in words (`<= 1000`), or `-`. Other programs' reports may give a number alone, or null.
    #[serde(deserialize_with = "any_bar")]
    pub bar: String,
    /// Whether the bar was met; `null` where there is none or nothing was measured.
    pub holds: Option<bool>,
    /// Where it was measured (node, kernel, build).
    #[serde(rename = "where")]
    pub place: String,
}

impl Row {
    /// A line without a bar.
    pub fn figure(id: &str, shows: &str, value: f64, unit: &str, place: &str) -> Self {
        Self {
            id: id.into(),
            shows: shows.into(),
            value,
            unit: unit.into(),
            bar: "-".into(),
            holds: None,
            place: place.into(),
        }
    }

    /// A line that holds when the value is at most `bar`.
    pub fn at_most(id: &str, shows: &str, value: f64, unit: &str, bar: f64, place: &str) -> Self {
        Self {
            bar: format!("<= {bar}"),
            holds: Some(value <= bar),
            ..Self::figure(id, shows, value, unit, place)
        }
    }

    /// A line that holds when the value is at least `bar`.
    pub fn at_least(id: &str, shows: &str, value: f64, unit: &str, bar: f64, place: &str) -> Self {
        Self {
            bar: format!(">= {bar}"),
            holds: Some(value >= bar),
            ..Self::figure(id, shows, value, unit, place)
        }
    }
}

/// Why a report cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("report {path}: {reason}")]
pub struct ReportError {
    /// The file.
    pub path: PathBuf,
    /// What went wrong.
    pub reason: String,
}

/// Where reports lie: `$KATALYST_REPORTS`, else `target/reports`.
pub fn directory() -> PathBuf {
    std::env::var_os("KATALYST_REPORTS")
        .map_or_else(|| PathBuf::from("target/reports"), PathBuf::from)
}

/// Writes `NAME.json` and prints the table.
pub fn publish(name: &str, rows: &[Row]) -> Result<(), ReportError> {
    let path = directory().join(format!("{name}.json"));
    let error = |reason: String| ReportError {
        path: path.clone(),
        reason,
    };
    let text = serde_json::to_string_pretty(rows).map_err(|e| error(e.to_string()))?;
    fs::create_dir_all(directory())
        .and_then(|()| fs::write(&path, text))
        .map_err(|e| error(e.to_string()))?;
    println!("{}", table(name, rows));
    println!("written to {}", path.display());
    Ok(())
}

/// A bar in whatever form a report has it.
fn any_bar<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Null => "-".to_owned(),
        serde_json::Value::String(words) => words,
        other => other.to_string(),
    })
}

/// All reports of the directory, as tables. One that cannot be read costs only itself: the error about it comes after the tables of the others.
pub fn print_all(directory: &Path) -> Result<usize, ReportError> {
    let error = |path: &Path, reason: String| ReportError {
        path: path.to_owned(),
        reason,
    };
    let mut paths: Vec<PathBuf> = match fs::read_dir(directory) {
        Ok(entries) => entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|p| p.extension().is_some_and(|e| e == "json"))
            .collect(),
        Err(problem) => {
            return Err(error(
                directory,
                format!("{problem}; run make test, e2e, demo or bench first"),
            ));
        }
    };
    paths.sort();
    let mut wrong = None;
    for path in &paths {
        let rows = fs::read_to_string(path)
            .map_err(|e| error(path, e.to_string()))
            .and_then(|text| {
                serde_json::from_str::<Vec<Row>>(&text).map_err(|e| error(path, e.to_string()))
            });
        match rows {
            Ok(rows) => println!(
                "{}",
                table(
                    &path.file_stem().unwrap_or_default().to_string_lossy(),
                    &rows
                )
            ),
            Err(problem) => wrong = wrong.or(Some(problem)),
        }
    }
    wrong.map_or(Ok(paths.len()), Err)
}

/// A table for a person.
pub fn table(name: &str, rows: &[Row]) -> String {
    let mut cells: Vec<[String; 5]> =
        vec![["what", "value", "bar", "holds", "where"].map(str::to_owned)];
    for row in rows {
        let holds = match row.holds {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "-",
        };
        cells.push([
            row.shows.clone(),
            format!("{} {}", number(row.value), row.unit),
            row.bar.clone(),
            holds.to_owned(),
            row.place.clone(),
        ]);
    }
    let widths: Vec<usize> = (0..5)
        .map(|column| {
            cells
                .iter()
                .filter_map(|line| line.get(column))
                .map(|c| c.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = format!("== {name}\n");
    for line in &cells {
        let mut shown = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            // Writing to a string cannot fail.
            write!(shown, "{cell:<width$}  ").ok();
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 || value.fract().abs() < f64::EPSILON {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_judged_and_shown() {
        let rows = [
            Row::at_most("a", "surge to lowered ceiling", 812.0, "ms", 1000.0, "host"),
            Row::at_least("b", "x", 1.0, "count", 2.0, "host"),
        ];
        assert_eq!(rows[0].holds, Some(true));
        assert_eq!(rows[1].holds, Some(false));
        let text = table("bench", &rows);
        assert!(text.contains("812 ms") && text.contains("NO"), "{text}");
    }

    #[test]
    fn rows_survive_json() {
        let row = Row::figure("a", "b", 1.5, "ms", "here");
        let text = serde_json::to_string(&row).unwrap();
        assert!(text.contains("\"where\":\"here\""));
        assert_eq!(serde_json::from_str::<Row>(&text).unwrap(), row);
    }

    #[test]
    fn a_bar_may_be_a_number_or_missing_and_a_bad_report_costs_only_itself() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        let row = |bar: &str| {
            format!(
                r#"[{{"id":"a","shows":"b","value":1,"unit":"ms","bar":{bar},"holds":true,"where":"c"}}]"#
            )
        };
        for (bar, words) in [("1000.0", "1000.0"), ("null", "-"), (r#""<= 5""#, "<= 5")] {
            let rows: Vec<Row> = serde_json::from_str(&row(bar)).unwrap();
            assert_eq!(rows[0].bar, words);
        }
        write("good.json", &row("5"));
        assert_eq!(print_all(directory.path()).unwrap(), 1);
        write("bad.json", "[");
        let problem = print_all(directory.path()).unwrap_err().to_string();
        assert!(problem.contains("bad.json"), "{problem}");
    }
}
