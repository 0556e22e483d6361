//! `memory.numa_stat`: a group's memory on each NUMA node.
//!
//! Version 1 (`memory.rst`, since 3.2) counts pages and prints two sets of lines, `total=.. N0=..` without and `hierarchical_total=.. N0=..` with
//! descendants (since 3.16, when the hierarchy is used). Version 2 (`cgroup-v2.rst`, since 5.10) counts bytes, `anon N0=.. N1=..`, always with
//! descendants. Nodes that are online but without memory are listed; node numbers may have gaps. Kernels without `CONFIG_NUMA` have no file.

/// More nodes than any kernel has (`CONFIG_NODES_SHIFT` is at most 10); a longer list is a damaged file.
const MAX_NODES: usize = 1_024;

/// A group's memory on one NUMA node, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeMemory {
    /// Kernel's number of the node.
    pub node: u32,
    /// Memory of processes.
    pub anon: u64,
    /// Page cache, shared memory included.
    pub file: u64,
    /// Locked memory; also inside `anon` or `file` on version 2, apart on version 1.
    pub unevictable: u64,
}

impl NodeMemory {
    /// Process memory and page cache.
    pub fn total(&self) -> u64 {
        self.anon.saturating_add(self.file)
    }
}

/// A group's memory on every node, ascending by node. Reused from sample to sample, it allocates only when nodes appear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumaStat {
    nodes: Vec<NodeMemory>,
}

impl NumaStat {
    /// Nothing read yet.
    pub const fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    /// The nodes.
    pub fn nodes(&self) -> &[NodeMemory] {
        &self.nodes
    }

    /// Reads the version 1 file in place of what was here; `page_size` in bytes. False where the file names no node.
    pub fn read_v1(&mut self, text: &str, page_size: u64) -> bool {
        self.nodes.clear();
        let hierarchical = text
            .lines()
            .any(|line| line.starts_with("hierarchical_total="));
        for line in text.lines() {
            let line = match (hierarchical, line.strip_prefix("hierarchical_")) {
                (true, Some(rest)) => rest,
                (false, None) => line,
                _ => continue,
            };
            let mut words = line.split_whitespace();
            let kind = words.next().and_then(|word| word.split('=').next());
            self.take(kind, words, page_size);
        }
        !self.nodes.is_empty()
    }

    /// Reads the version 2 file in place of what was here. False where the file names no node.
    pub fn read_v2(&mut self, text: &str) -> bool {
        self.nodes.clear();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let kind = words.next();
            self.take(kind, words, 1);
        }
        !self.nodes.is_empty()
    }

    fn take<'a>(
        &mut self,
        kind: Option<&str>,
        words: impl Iterator<Item = &'a str>,
        bytes_each: u64,
    ) {
        let field: fn(&mut NodeMemory) -> &mut u64 = match kind {
            Some("anon") => |node| &mut node.anon,
            Some("file") => |node| &mut node.file,
            Some("unevictable") => |node| &mut node.unevictable,
            _ => return,
        };
        for (node, value) in words.filter_map(node_value) {
            if let Some(entry) = self.entry(node) {
                *field(entry) = value.saturating_mul(bytes_each);
            }
        }
    }

    fn entry(&mut self, node: u32) -> Option<&mut NodeMemory> {
        let at = match self.nodes.binary_search_by_key(&node, |memory| memory.node) {
            Ok(at) => at,
            Err(_) if self.nodes.len() >= MAX_NODES => return None,
            Err(at) => {
                let new = NodeMemory {
                    node,
                    ..NodeMemory::default()
                };
                self.nodes.insert(at, new);
                at
            }
        };
        self.nodes.get_mut(at)
    }
}

/// `N3=17`.
fn node_value(word: &str) -> Option<(u32, u64)> {
    let (node, value) = word.strip_prefix('N')?.split_once('=')?;
    Some((node.parse().ok()?, value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(node: u32, anon: u64, file: u64, unevictable: u64) -> NodeMemory {
        NodeMemory {
            node,
            anon,
            file,
            unevictable,
        }
    }

    #[test]
    fn version_1_takes_the_lines_with_descendants_in_pages() {
        let text = "total=4925 N0=4925 N1=0\nfile=786 N0=786 N1=0\nanon=374 N0=374 N1=0\nunevictable=3765 N0=3765 N1=0\nhierarchical_total=30 N0=20 N1=10\nhierarchical_file=12 N0=11 N1=1\nhierarchical_anon=18 N0=9 N1=9\nhierarchical_unevictable=0 N0=0 N1=0\n";
        let mut stat = NumaStat::new();
        assert!(stat.read_v1(text, 4096));
        assert_eq!(
            stat.nodes(),
            [
                memory(0, 9 * 4096, 11 * 4096, 0),
                memory(1, 9 * 4096, 4096, 0)
            ]
        );
        assert_eq!(stat.nodes()[1].total(), 10 * 4096);
    }

    #[test]
    fn version_1_without_hierarchy() {
        let mut stat = NumaStat::new();
        assert!(stat.read_v1(
            "total=3 N0=3\nfile=1 N0=1\nanon=2 N0=2\nunevictable=0 N0=0\n",
            4096
        ));
        assert_eq!(stat.nodes(), [memory(0, 8192, 4096, 0)]);
    }

    #[test]
    fn version_2_is_bytes_and_forgets_the_last_sample() {
        let mut stat = NumaStat::new();
        assert!(stat.read_v2(
            "anon N0=4096 N3=8192\nfile N0=1 N3=2\nkernel_stack N0=16 N3=0\nunevictable N0=0 N3=5\n"
        ));
        assert_eq!(stat.nodes(), [memory(0, 4096, 1, 0), memory(3, 8192, 2, 5)]);
        assert!(!stat.read_v2(""));
        assert!(stat.nodes().is_empty());
    }

    #[test]
    fn a_damaged_file_is_bounded() {
        let words: Vec<String> = (0..5_000).map(|node| format!("N{node}=1")).collect();
        let mut stat = NumaStat::new();
        assert!(stat.read_v2(&format!("anon {}\n", words.join(" "))));
        assert_eq!(stat.nodes().len(), MAX_NODES);
        assert!(!stat.read_v2("anon N=1 Nx=2 N1 N2=-3\n"));
    }
}
