//! `katalyst-e2e fuzz`: what the product reads from others under the fuzzer, each target for a given CPU time.
//!
//! The fuzzer (libFuzzer, in `fuzz/`) is built with the stable compiler: the coverage counters are a pass of LLVM that `-C` flags switch on, the same
//! that cargo-fuzz passes with `--sanitizer none`. The parsers are safe Rust, so an address sanitizer would find nothing more.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::{program, report, report::Row};

/// Coverage counters at every edge, and comparisons for the fuzzer to learn from.
const INSTRUMENT: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
     -Cllvm-args=-simplifycfg-branch-fold-threshold=0 --cfg fuzzing";
/// The longest input the fuzzer makes; real files and lists are longer only by repetition.
const LONGEST: &str = "-max_len=4096";
/// An input that takes longer is a finding.
const HANG: &str = "-timeout=10";
/// Memory beyond which an input is a finding, MiB.
const MEMORY: &str = "-rss_limit_mb=512";

/// One program of `fuzz/`.
#[derive(Debug)]
struct Target {
    /// Program, and folder of its corpus.
    name: &'static str,
    /// Begins the identifiers of its rows.
    prefix: &'static str,
    /// What it feeds.
    feeds: &'static str,
    /// Feature of `fuzz/` that brings what it needs; empty where it needs no more than the others. Everything that a feature brings is built with
    /// counters, so that targets which need little stay quick to build.
    feature: &'static str,
}

/// All of them.
const TARGETS: [Target; 3] = [
    Target {
        name: "kernel",
        prefix: "fuzz",
        feeds: "every parser of a kernel's file",
        feature: "",
    },
    Target {
        name: "nri",
        prefix: "fuzz-nri",
        feeds: "a container runtime's messages",
        feature: "",
    },
    Target {
        name: "requests",
        prefix: "fuzz-requests",
        feeds: "kube-scheduler's requests, answered by the extender over a small cluster",
        feature: "requests",
    },
];

/// Flags of `katalyst-e2e fuzz`.
#[derive(Debug, Args)]
pub struct FuzzArgs {
    /// Only this target.
    #[arg(long, value_parser = TARGETS.map(|target| target.name))]
    target: Option<String>,
    /// CPU seconds of fuzzing for each target.
    #[arg(long, env = "FUZZ_SECONDS", default_value_t = 300)]
    seconds: u64,
    /// The repository.
    #[arg(long, default_value = ".")]
    root: PathBuf,
}

/// What libFuzzer says at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counts {
    executions: u64,
    edges: u64,
    corpus: u64,
    peak_mebibytes: u64,
}

/// Builds, seeds, fuzzes, reports. The exit status says whether there was a finding.
///
/// # Errors
/// When something cannot be built or started.
pub fn run(args: &FuzzArgs) -> anyhow::Result<u8> {
    let host = host()?;
    let fuzz = args.root.join("fuzz");
    let build = |bin: &str, feature: &str, flags: &str| {
        let mut command = Command::new("cargo");
        command
            .args(["build", "--locked", "--release", "--target", &host])
            .args(["--bin", bin, "--features", feature, "--manifest-path"])
            .arg(fuzz.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(args.root.join("target/fuzz").join(bin))
            .env("RUSTFLAGS", flags)
            .stdin(Stdio::null());
        let status = command.status().context(program::line(&command))?;
        if !status.success() {
            bail!("{} failed: {status}", program::line(&command));
        }
        Ok(args
            .root
            .join("target/fuzz")
            .join(bin)
            .join(&host)
            .join("release")
            .join(bin))
    };
    let seeds = build("seeds", "", "")?;
    let corpus = args.root.join("target/fuzz/corpus");
    let mut command = Command::new(seeds);
    command.arg(&corpus).args(captures(&args.root)?);
    print!("{}", program::run(&mut command)?);

    let mut all = Vec::new();
    let mut findings = false;
    for target in TARGETS {
        if args.target.as_ref().is_some_and(|only| only != target.name) {
            continue;
        }
        let program = build(target.name, target.feature, INSTRUMENT)?;
        let artifacts = args.root.join("target/fuzz/findings").join(target.name);
        fs::create_dir_all(&artifacts).with_context(|| artifacts.display().to_string())?;
        let place = Place {
            corpus: corpus.join(target.name),
            artifacts,
        };
        println!("{}: {}", target.name, target.feeds);
        let (rows, finding) = fuzz_target(&target, &program, &place, args.seconds)?;
        all.extend(rows);
        findings |= finding;
    }
    report::publish("fuzz", &all)?;
    Ok(u8::from(findings))
}

/// Where a target's inputs are.
struct Place {
    corpus: PathBuf,
    artifacts: PathBuf,
}

/// Fuzzes until so much CPU time is spent, or there is a finding.
fn fuzz_target(
    target: &Target,
    program: &Path,
    place: &Place,
    seconds: u64,
) -> anyhow::Result<(Vec<Row>, bool)> {
    let mut total = Counts::default();
    let start = children_seconds()?;
    let mut finding = false;
    loop {
        let used = (children_seconds()? - start).max(0.0);
        let left = seconds as f64 - used;
        if left < 1.0 || finding {
            break;
        }
        let (counts, failed) = fuzz_for(program, place, left.ceil() as u64)?;
        finding = failed;
        if !failed && counts.executions == 0 {
            bail!("the fuzzer ran nothing");
        }
        total = Counts {
            executions: total.executions + counts.executions,
            peak_mebibytes: total.peak_mebibytes.max(counts.peak_mebibytes),
            ..counts
        };
    }
    let cpu = children_seconds()? - start;
    Ok((rows(target, total, cpu, seconds as f64, finding), finding))
}

fn rows(target: &Target, counts: Counts, cpu: f64, bar: f64, finding: bool) -> Vec<Row> {
    let place = format!("{}, libFuzzer, stable compiler", target.feeds);
    let id = |what: &str| format!("{}-{what}", target.prefix);
    vec![
        Row::at_most(
            &id("findings"),
            "findings: panics, hangs, broken assertions, memory",
            f64::from(u8::from(finding)),
            "count",
            0.0,
            &place,
        ),
        Row::at_least(
            &id("cpu"),
            "CPU time spent",
            cpu,
            "s",
            bar.floor() - 1.0,
            &place,
        ),
        Row::figure(
            &id("executions"),
            "inputs tried",
            counts.executions as f64,
            "count",
            &place,
        ),
        Row::figure(
            &id("edges"),
            "edges of the code reached",
            counts.edges as f64,
            "count",
            &place,
        ),
        Row::figure(
            &id("corpus"),
            "inputs kept because they reach something new",
            counts.corpus as f64,
            "count",
            &place,
        ),
        Row::figure(
            &id("peak-memory"),
            "memory at its highest",
            counts.peak_mebibytes as f64,
            "MiB",
            &place,
        ),
    ]
}

/// One run of the fuzzer. It counts time on the wall, a busy machine gives less: the caller runs again for the rest.
fn fuzz_for(fuzzer: &Path, place: &Place, seconds: u64) -> anyhow::Result<(Counts, bool)> {
    let Place { corpus, artifacts } = place;
    let mut command = Command::new(fuzzer);
    command
        .arg(format!("-max_total_time={seconds}"))
        .args(["-print_final_stats=1", LONGEST, HANG, MEMORY])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(corpus)
        .stdin(Stdio::null());
    let output = command.output().context(program::line(&command))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let counts = parse(&text);
    println!("{} inputs, {} edges", counts.executions, counts.edges);
    if !output.status.success() {
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines
            .get(lines.len().saturating_sub(40)..)
            .unwrap_or(&lines);
        eprintln!("{}", tail.join("\n"));
        eprintln!(
            "a finding: keep its input as a test of the parser; it is in {}",
            artifacts.display()
        );
    }
    Ok((counts, !output.status.success()))
}

/// Reads `stat::number_of_executed_units: 17` and the last `#17 DONE cov: 5 ft: 9 corp: 3/20b`.
fn parse(text: &str) -> Counts {
    let statistic = |name: &str| {
        text.lines()
            .filter_map(|line| line.strip_prefix("stat::")?.strip_prefix(name))
            .filter_map(|rest| rest.strip_prefix(':')?.trim().parse().ok())
            .next_back()
            .unwrap_or(0)
    };
    let progress = |name: &str| {
        text.lines()
            .filter(|line| line.starts_with('#'))
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                words.find(|word| *word == name)?;
                words.next()?.split('/').next()?.parse().ok()
            })
            .next_back()
            .unwrap_or(0)
    };
    Counts {
        executions: statistic("number_of_executed_units"),
        edges: progress("cov:"),
        corpus: progress("corp:"),
        peak_mebibytes: statistic("peak_rss_mb"),
    }
}

fn captures(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = root.join("node-agent/tests/fixtures");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .with_context(|| folder.display().to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .collect();
    files.sort();
    Ok(files)
}

/// The compiler's own target, such as `x86_64-unknown-linux-gnu`. Naming it keeps the counters out of build scripts.
fn host() -> anyhow::Result<String> {
    let version = program::run(Command::new("rustc").arg("-vV"))?;
    version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc -vV names no host")
}

/// CPU time of all children that ended, seconds: `cutime` and `cstime` of `/proc/self/stat`, in hundredths.
fn children_seconds() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    let ticks =
        children_ticks(&text).context("/proc/self/stat has fewer fields than proc(5) says")?;
    Ok(ticks as f64 / 100.0)
}

fn children_ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name in parentheses, and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(13);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuzzers_last_words() {
        let text = "INFO: Seed: 1\n#2\tINITED cov: 11 ft: 12 corp: 1/1b exec/s: 0 rss: 40Mb\n#4096\tpulse  cov: 90 ft: 200 corp: 33/2Kb lim: 4 exec/s: 2048 rss: 41Mb\n#9000\tDONE   cov: 101 ft: 260 corp: 40/3Kb lim: 4 exec/s: 3000 rss: 42Mb\nstat::number_of_executed_units: 9000\nstat::average_exec_per_sec:     3000\nstat::peak_rss_mb:              42\n";
        assert_eq!(
            parse(text),
            Counts {
                executions: 9_000,
                edges: 101,
                corpus: 40,
                peak_mebibytes: 42
            }
        );
        assert_eq!(parse(""), Counts::default());
    }

    #[test]
    fn cpu_time_of_children() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 100 200 0 0 1 2 300 45 20 0 1 0 1234\n";
        assert_eq!(children_ticks(stat), Some(345));
        assert_eq!(children_ticks("7 (a"), None);
    }

    #[test]
    fn a_finding_fails_its_bar() {
        let rows = rows(&TARGETS[1], Counts::default(), 300.2, 300.0, true);
        assert_eq!(rows[0].id, "fuzz-nri-findings");
        assert_eq!(rows[0].holds, Some(false));
        assert_eq!(rows[1].holds, Some(true));
    }
}
