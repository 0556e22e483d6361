//! Nodes and pods of the openb traces (Alibaba, cluster-trace-gpu-v2023), from CSV files.
//!
//! A row that does not parse costs itself: it is left out and named. Units: milli of a CPU and of a card, MiB, seconds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use katalyst_core::packing::{Card, ModelId, ModelSet, NodeState, PodClass, WHOLE_CARD};
use thiserror::Error;

/// A file that could not be used at all.
#[derive(Debug, Error)]
pub enum TraceError {
    /// No pod list or no node list.
    #[error("no {what} in {folder} nor in its folder openb", folder = .folder.display())]
    Missing {
        /// What was looked for.
        what: &'static str,
        /// Where.
        folder: PathBuf,
    },
    /// It could not be read.
    #[error("read {path}: {source}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing in it could be used.
    #[error("{path}: no row could be used; the first was refused because {first}", path = .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// Why the first row was refused.
        first: String,
    },
}

/// A row that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file} line {line}: {reason}")]
pub struct BadRow {
    /// The file's name.
    pub file: String,
    /// Its line, from one.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// A pod of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct TracePod {
    /// Its name.
    pub name: String,
    /// What it asks for.
    pub class: PodClass,
    /// Its selector as written; equal selectors written differently are different classes to the benchmark.
    pub selector: String,
    /// When it came and went, seconds; `None` when the file does not say.
    pub lifetime: Option<(f64, f64)>,
}

/// A node of the cluster, empty.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceNode {
    /// Its name.
    pub name: String,
    /// Everything free.
    pub state: NodeState,
}

/// Names of GPU models by number.
#[derive(Debug, Clone, Default)]
pub struct Models(BTreeMap<String, ModelId>);

impl Models {
    fn id(&mut self, name: &str) -> Result<ModelId, String> {
        if let Some(id) = self.0.get(name) {
            return Ok(*id);
        }
        let id = u8::try_from(self.0.len())
            .ok()
            .and_then(ModelId::new)
            .ok_or_else(|| format!("model {name:?} is one more than {}", ModelId::COUNT))?;
        self.0.insert(name.to_owned(), id);
        Ok(id)
    }
}

/// Files of a folder.
#[derive(Debug, Clone)]
pub struct Folder {
    /// Its list of nodes.
    pub nodes: PathBuf,
    /// Its lists of pods, by name of the trace (`openb_pod_list_default`).
    pub pods: BTreeMap<String, PathBuf>,
}

/// Looks into the folder, or into `openb` below it.
pub fn find(folder: &Path) -> Result<Folder, TraceError> {
    let missing = |what| TraceError::Missing {
        what,
        folder: folder.to_owned(),
    };
    let at = [folder.to_owned(), folder.join("openb")]
        .into_iter()
        .find(|f| f.join("openb_node_list_gpu_node.csv").is_file())
        .ok_or_else(|| missing("openb_node_list_gpu_node.csv"))?;
    let entries = fs::read_dir(&at).map_err(|source| TraceError::Read {
        path: at.clone(),
        source,
    })?;
    let pods: BTreeMap<String, PathBuf> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let trace = name.strip_suffix(".csv")?;
            trace
                .starts_with("openb_pod_list_")
                .then(|| (trace.to_owned(), entry.path()))
        })
        .collect();
    if pods.is_empty() {
        return Err(missing("openb_pod_list_*.csv"));
    }
    Ok(Folder {
        nodes: at.join("openb_node_list_gpu_node.csv"),
        pods,
    })
}

/// Fields of a row by the names in the header.
struct Row<'a> {
    header: &'a [&'a str],
    fields: Vec<&'a str>,
}

impl<'a> Row<'a> {
    fn text(&self, column: &str) -> Option<&'a str> {
        let at = self.header.iter().position(|name| *name == column)?;
        self.fields.get(at).map(|field| field.trim())
    }

    fn number<T: std::str::FromStr>(&self, column: &str) -> Result<T, String>
    where
        T::Err: std::fmt::Display,
    {
        let text = self
            .text(column)
            .ok_or_else(|| format!("{column} is missing"))?;
        text.parse()
            .map_err(|error| format!("{column} {text:?}: {error}"))
    }
}

fn rows<T>(
    path: &Path,
    mut read: impl FnMut(&Row<'_>) -> Result<T, String>,
) -> Result<(Vec<T>, Vec<BadRow>), TraceError> {
    let bytes = fs::read(path).map_err(|source| TraceError::Read {
        path: path.to_owned(),
        source,
    })?;
    // Bytes that are no text cost their row, not the file.
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let header: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .trim_start_matches('\u{feff}')
        .split(',')
        .map(str::trim)
        .collect();
    let file = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for (index, line) in lines
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let row = Row {
            header: &header,
            fields: line.split(',').collect(),
        };
        match read(&row) {
            Ok(value) => good.push(value),
            Err(reason) => bad.push(BadRow {
                file: file.clone(),
                line: index + 2,
                reason,
            }),
        }
    }
    if good.is_empty() {
        return Err(TraceError::Empty {
            path: path.to_owned(),
            first: bad
                .first()
                .map_or_else(|| "there is none".to_owned(), ToString::to_string),
        });
    }
    Ok((good, bad))
}

/// Reads the nodes, sorted by name.
pub fn nodes(
    path: &Path,
    models: &mut Models,
) -> Result<(Vec<TraceNode>, Vec<BadRow>), TraceError> {
    let (mut nodes, bad) = rows(path, |row| {
        let cards: usize = row.number("gpu")?;
        if cards > katalyst_core::packing::MAX_CARDS {
            return Err(format!("gpu {cards}: more cards than a state holds"));
        }
        let model = models.id(row.text("model").unwrap_or_default())?;
        Ok(TraceNode {
            name: row.text("sn").unwrap_or_default().to_owned(),
            state: NodeState::new(
                row.number("cpu_milli")?,
                row.number("memory_mib")?,
                model,
                std::iter::repeat_n(Card::FREE, cards),
            ),
        })
    })?;
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((nodes, bad))
}

/// Reads the pods, sorted by name. Compute is cut at a whole card; a pod without cards has no selector.
pub fn pods(path: &Path, models: &mut Models) -> Result<(Vec<TracePod>, Vec<BadRow>), TraceError> {
    let (mut pods, bad) = rows(path, |row| {
        let cards: u8 = row.number("num_gpu")?;
        let asked: u32 = row.number("gpu_milli")?;
        let selector = if cards == 0 {
            ""
        } else {
            row.text("gpu_spec").unwrap_or_default()
        };
        let accepted = selector
            .split('|')
            .filter(|name| !name.is_empty())
            .map(|name| models.id(name))
            .collect::<Result<Vec<ModelId>, String>>()?;
        let models = if accepted.is_empty() {
            ModelSet::ANY
        } else {
            accepted.into_iter().collect()
        };
        let lifetime = match (
            row.number::<f64>("creation_time"),
            row.number::<f64>("deletion_time"),
        ) {
            (Ok(from), Ok(to)) if from.is_finite() && to.is_finite() && to > from => {
                Some((from, to))
            }
            _ => None,
        };
        Ok(TracePod {
            name: row.text("name").unwrap_or_default().to_owned(),
            class: PodClass {
                cpu_milli: row.number("cpu_milli")?,
                memory_mib: row.number("memory_mib")?,
                card_milli: if cards == 0 {
                    0
                } else {
                    asked.min(u32::from(WHOLE_CARD)) as u16
                },
                card_memory_mib: 0,
                cards,
                models,
            },
            selector: selector.to_owned(),
            lifetime,
        })
    })?;
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((pods, bad))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_bad_row_costs_itself_and_is_named() {
        let (_folder, path) = file(
            "openb_pod_list_x.csv",
            "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n\
             b,1000,10,1,500,G2|P100,LS,Running,5,9,6\n\
             a,x,10,1,500,,LS,Running,0,1,0\n\
             c,1000,10,0,500,G2,LS,Running,9,5,6\n",
        );
        let mut models = Models::default();
        let (pods, bad) = pods(&path, &mut models).unwrap();
        assert_eq!(pods.len(), 2);
        assert_eq!(pods[0].lifetime, Some((5.0, 9.0)));
        assert_eq!(pods[0].class.card_milli, 500);
        assert_eq!(models.0.len(), 2, "a selector without cards names no model");
        assert_eq!((pods[1].class.card_milli, pods[1].lifetime), (0, None));
        assert_eq!(pods[1].class.models, ModelSet::ANY);
        let named = bad[0].to_string();
        assert!(
            named.contains("line 3") && named.contains("cpu_milli \"x\""),
            "{named}"
        );
    }

    #[test]
    fn a_file_without_a_good_row_is_refused() {
        let (_folder, path) = file("n.csv", "sn,cpu_milli,memory_mib,gpu,model\na,1,1,99,G2\n");
        let error = nodes(&path, &mut Models::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("more cards"), "{error}");
    }

    #[test]
    fn the_folder_or_its_parent_will_do() {
        let folder = tempfile::tempdir().unwrap();
        let openb = folder.path().join("openb");
        fs::create_dir(&openb).unwrap();
        for name in ["openb_node_list_gpu_node.csv", "openb_pod_list_a.csv"] {
            fs::write(openb.join(name), "").unwrap();
        }
        let traces = |at: &Path| find(at).unwrap().pods.into_keys().collect::<Vec<_>>();
        assert_eq!(traces(folder.path()), ["openb_pod_list_a"]);
        assert_eq!(traces(&openb), ["openb_pod_list_a"]);
        assert!(find(&openb.join("no")).is_err());
    }
}
