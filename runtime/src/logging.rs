//! Logs: text or JSON lines on standard error, with a level that can be changed while the process runs.

use std::{fmt, sync::Arc};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt::MakeWriter, layer::SubscriberExt, registry::LookupSpan, reload,
};

use crate::flags::{LogArgs, LogFormat};

/// Why logging could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter text does not parse.
    #[error("log filter `{filter}` does not parse")]
    Filter {
        /// The text as given.
        filter: String,
        /// What the parser says.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Another subscriber is already installed in this process.
    #[error("a log subscriber is already installed")]
    AlreadyInstalled(#[source] tracing::subscriber::SetGlobalDefaultError),
    /// The filter's subscriber is gone, or none was ever installed.
    #[error("the log filter cannot be changed: {0}")]
    Detached(String),
}

/// Reads and changes the log filter of the running process.
#[derive(Clone)]
pub struct LogControl {
    handle: Option<Arc<reload::Handle<EnvFilter, Registry>>>,
}

impl LogControl {
    /// A control that changes nothing, for tests that install no subscriber.
    pub const fn detached() -> Self {
        Self { handle: None }
    }

    /// The filter in force, or an empty text where there is none.
    pub fn filter(&self) -> String {
        self.handle
            .as_ref()
            .and_then(|handle| handle.with_current(ToString::to_string).ok())
            .unwrap_or_default()
    }

    /// Replaces the filter, for example with `debug` or `info,kube=debug`.
    pub fn set_filter(&self, filter: &str) -> Result<(), LoggingError> {
        let parsed = parse(filter)?;
        let handle = self
            .handle
            .as_ref()
            .ok_or_else(|| LoggingError::Detached("no subscriber".to_owned()))?;
        handle
            .reload(parsed)
            .map_err(|error| LoggingError::Detached(error.to_string()))
    }
}

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogControl")
            .field("filter", &self.filter())
            .finish()
    }
}

/// Installs the process-wide subscriber on standard error.
pub fn init(args: &LogArgs) -> Result<LogControl, LoggingError> {
    let (subscriber, control) = subscriber(args, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(LoggingError::AlreadyInstalled)?;
    Ok(control)
}

/// Builds the subscriber without installing it; `writer` receives the lines.
pub(crate) fn subscriber<W>(
    args: &LogArgs,
    writer: W,
) -> Result<(impl Subscriber + use<W>, LogControl), LoggingError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(parse(&args.level)?);
    let lines = match args.format {
        LogFormat::Text => text(writer),
        LogFormat::Json => json(writer),
    };
    let control = LogControl {
        handle: Some(Arc::new(handle)),
    };
    Ok((Registry::default().with(filter).with(lines), control))
}

fn text<S, W>(writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // Colour codes would end up in files: containers' standard error is not a terminal.
    tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(writer)
        .boxed()
}

fn json<S, W>(writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(writer)
        .boxed()
}

fn parse(filter: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::try_new(filter).map_err(|source| LoggingError::Filter {
        filter: filter.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut self.0.lock())).unwrap()
        }
    }

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn args(level: &str, format: LogFormat) -> LogArgs {
        LogArgs {
            level: level.to_owned(),
            format,
        }
    }

    #[test]
    fn the_filter_changes_while_running() {
        let captured = Captured::default();
        let writer = captured.clone();
        let (subscriber, control) =
            subscriber(&args("info", LogFormat::Text), move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("quiet");
            tracing::info!(node = "n1", "loud");
            assert_eq!(control.filter(), "info");
            control.set_filter("debug").unwrap();
            tracing::debug!("now seen");
        });
        let lines = captured.take();
        assert!(!lines.contains("quiet"), "{lines}");
        assert!(
            lines.contains("loud") && lines.contains("node=\"n1\""),
            "{lines}"
        );
        assert!(lines.contains("now seen"), "{lines}");
    }

    #[test]
    fn json_lines_carry_fields_and_the_span() {
        let captured = Captured::default();
        let writer = captured.clone();
        let (subscriber, _control) =
            subscriber(&args("info", LogFormat::Json), move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::info_span!("run", task = "capacity").entered();
            tracing::info!(nodes = 3, "published");
        });
        let line: serde_json::Value = serde_json::from_str(&captured.take()).unwrap();
        assert_eq!(line["message"], "published");
        assert_eq!(line["nodes"], 3);
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["span"]["task"], "capacity");
    }

    #[test]
    fn a_bad_filter_is_named_and_leaves_the_old_one() {
        let (_subscriber, control) = subscriber(&args("warn", LogFormat::Text), io::sink).unwrap();
        let error = control.set_filter("katalyst=loud").unwrap_err();
        assert!(error.to_string().contains("katalyst=loud"), "{error}");
        assert_eq!(control.filter(), "warn");
        assert!(subscriber_error("=,=").contains("=,="));
    }

    fn subscriber_error(level: &str) -> String {
        match subscriber(&args(level, LogFormat::Text), io::sink) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_detached_control_says_so() {
        let control = LogControl::detached();
        assert_eq!(control.filter(), "");
        assert!(matches!(
            control.set_filter("info"),
            Err(LoggingError::Detached(_))
        ));
    }
}
