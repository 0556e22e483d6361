//! Running other programs: one way to start them, bound their time, and report their failure.

use std::{
    ffi::{OsStr, OsString},
    io::{BufRead as _, Read, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// How often a running program is looked at. Short against every deadline here (seconds), cheap for the machine.
const POLL: Duration = Duration::from_millis(20);

/// Lines of a failed program's output that a message repeats.
const REPORTED_LINES: usize = 12;

/// A program with its arguments and environment.
#[derive(Debug, Clone)]
pub struct Tool {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    deadline: Duration,
}

impl Tool {
    /// A program looked up in `PATH` or given by path; its deadline is one minute.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            deadline: Duration::from_secs(60),
        }
    }

    /// A program in private mount and process namespaces. It and all it starts end when this process ends, however that
    /// happens, and its mounts go with it.
    pub fn contained(program: impl AsRef<OsStr>) -> Self {
        Self::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
            ])
            .args(["--mount-proc", "--propagation", "private"])
            .arg(program)
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(|a| a.as_ref().into()));
        self
    }

    /// Sets one environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().into()));
        self
    }

    /// The longest time that [`Tool::run`] and its relatives wait.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The command for callers that wait themselves. Standard input is empty unless they set it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    /// The command line, for messages.
    pub fn describe(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.arguments);
        words
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Runs to success and returns standard output.
    pub fn run(&self) -> anyhow::Result<String> {
        let output = self.output(None)?;
        self.check(output.status, &[&output.stderr, &output.stdout])?;
        String::from_utf8(output.stdout)
            .with_context(|| format!("`{}` printed no UTF-8", self.describe()))
    }

    /// Runs to success with standard input from `input`.
    pub fn run_with_input(&self, input: &[u8]) -> anyhow::Result<String> {
        let output = self.output(Some(input))?;
        self.check(output.status, &[&output.stderr, &output.stdout])?;
        String::from_utf8(output.stdout)
            .with_context(|| format!("`{}` printed no UTF-8", self.describe()))
    }

    /// Runs to success with all output appended to the file `log`.
    pub fn run_logged(&self, log: &Path) -> anyhow::Result<()> {
        let file = std::fs::File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("open {}", log.display()))?;
        let start = file.metadata().map_or(0, |metadata| metadata.len());
        let second = file
            .try_clone()
            .with_context(|| format!("open {} twice", log.display()))?;
        let mut command = self.command();
        command.stdout(file).stderr(second);
        let mut child = command
            .spawn()
            .with_context(|| format!("start `{}`", self.describe()))?;
        let status = self.wait(&mut child)?;
        if status.success() {
            return Ok(());
        }
        let text = std::fs::read(log).unwrap_or_default();
        let own = text
            .get(usize::try_from(start).unwrap_or(0)..)
            .unwrap_or_default();
        self.check(status, &[own])
            .with_context(|| format!("see {}", log.display()))
    }

    /// Runs to success, giving each line of its output to `line` as it comes and appending it to the file `log`.
    pub fn run_by_line(&self, log: &Path, mut line: impl FnMut(&str) + Send) -> anyhow::Result<()> {
        let file = std::fs::File::options().create(true).append(true).open(log);
        let mut file = file.with_context(|| format!("open {}", log.display()))?;
        let mut command = self.command();
        let (reader, writer) = std::io::pipe().context("make a pipe")?;
        command
            .stdout(writer.try_clone().context("share a pipe")?)
            .stderr(writer);
        let mut child = command
            .spawn()
            .with_context(|| format!("start `{}`", self.describe()))?;
        // The command holds ends of the pipe; only the program's own may keep it open.
        drop(command);
        let (status, text) = thread::scope(|scope| {
            let lines = scope.spawn(move || {
                let mut text = String::new();
                for found in std::io::BufReader::new(reader)
                    .lines()
                    .map_while(Result::ok)
                {
                    writeln!(file, "{found}").ok();
                    line(&found);
                    text += &found;
                    text.push('\n');
                }
                text
            });
            let status = self.wait(&mut child);
            (status, lines.join().unwrap_or_default())
        });
        self.check(status?, &[text.as_bytes()])
            .with_context(|| format!("see {}", log.display()))
    }

    /// Whether the program ran and answered with success. A program that is missing or too slow did not.
    pub fn succeeds(&self) -> bool {
        self.output(None)
            .is_ok_and(|output| output.status.success())
    }

    fn output(&self, input: Option<&[u8]>) -> anyhow::Result<Output> {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command
            .spawn()
            .with_context(|| format!("start `{}`", self.describe()))?;
        let (stdout, stderr, stdin) =
            (child.stdout.take(), child.stderr.take(), child.stdin.take());
        thread::scope(|scope| {
            let stdout = scope.spawn(move || drain(stdout));
            let stderr = scope.spawn(move || drain(stderr));
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // A program that does not read all of its input ends the pipe early; its status tells whether that is a failure.
                scope.spawn(move || stdin.write_all(input).is_ok());
            }
            let status = self.wait(&mut child)?;
            let joined =
                |handle: thread::ScopedJoinHandle<'_, Vec<u8>>| handle.join().unwrap_or_default();
            Ok(Output {
                status,
                stdout: joined(stdout),
                stderr: joined(stderr),
            })
        })
    }

    fn wait(&self, child: &mut Child) -> anyhow::Result<ExitStatus> {
        let end = Instant::now() + self.deadline;
        loop {
            if let Some(status) = child
                .try_wait()
                .with_context(|| format!("wait for `{}`", self.describe()))?
            {
                return Ok(status);
            }
            if Instant::now() >= end {
                child
                    .kill()
                    .and_then(|()| child.wait())
                    .with_context(|| format!("end `{}`", self.describe()))?;
                bail!(
                    "`{}` took longer than {} s",
                    self.describe(),
                    self.deadline.as_secs()
                );
            }
            thread::sleep(POLL);
        }
    }

    fn check(&self, status: ExitStatus, texts: &[&[u8]]) -> anyhow::Result<()> {
        if status.success() {
            return Ok(());
        }
        let text = texts
            .iter()
            .find(|text| !text.is_empty())
            .map(|text| String::from_utf8_lossy(text));
        bail!(
            "`{}` failed ({status}):\n{}",
            self.describe(),
            tail(text.as_deref().unwrap_or_default())
        )
    }
}

/// The last lines of a text, those that a person reads first.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(REPORTED_LINES)..)
        .unwrap_or_default()
        .join("\n")
}

fn drain(source: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut source) = source {
        // A read error here follows the program's end; what was read so far is what there is.
        source.read_to_end(&mut bytes).ok();
    }
    bytes
}

/// Waits until `condition` holds, looking every `every`, at most `deadline`; the error of the last look explains a failure.
pub fn wait_for<T>(
    what: &str,
    deadline: Duration,
    every: Duration,
    mut condition: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let end = Instant::now() + deadline;
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= end => {
                return Err(error.context(format!("{what}: not within {} s", deadline.as_secs())));
            }
            Err(_) => thread::sleep(every),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_names_the_command_and_its_last_words() {
        let error = Tool::new("sh")
            .args(["-c", "echo first; echo why >&2; exit 3"])
            .run()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("exit status: 3") && error.ends_with("why"),
            "{error}"
        );
    }

    #[test]
    fn a_slow_program_is_ended() {
        let tool = Tool::new("sleep")
            .arg("60")
            .within(Duration::from_millis(50));
        assert!(tool.run().unwrap_err().to_string().contains("took longer"));
    }

    #[test]
    fn input_reaches_the_program() {
        assert_eq!(Tool::new("cat").run_with_input(b"hello").unwrap(), "hello");
    }

    #[test]
    fn tail_keeps_the_end() {
        let text: String = (0..100)
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .join("\n");
        assert!(tail(&text).starts_with("88\n") && tail(&text).ends_with("99"));
    }
}
