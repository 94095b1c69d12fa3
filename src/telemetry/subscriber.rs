//! The process's one subscriber: who hears which span and event.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
};

use super::export;
use crate::{
    config::{LogConfig, LogFormat, TracingConfig},
    error::{Code, Coded},
};

/// How long the end waits for the collector to take the last spans.
const FLUSH: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("log.level `{level}` cannot be read: {source}")]
    Level { level: String, source: tracing_subscriber::filter::ParseError },
    #[error("spans cannot be exported to {endpoint}: {source}")]
    Exporter { endpoint: String, source: ExporterBuildError },
    #[error("logging is set up already in this process")]
    Twice(#[from] tracing::subscriber::SetGlobalDefaultError),
}

impl Coded for TelemetryError {
    fn code(&self) -> Code {
        match self {
            TelemetryError::Level { .. } | TelemetryError::Exporter { .. } => Code::Invalid,
            TelemetryError::Twice(_) => Code::Internal,
        }
    }
}

/// Hands the last spans over when it is dropped, waiting 3 s at most. Keep it until everything else has stopped.
#[must_use = "dropping it stops the export of spans"]
pub struct TelemetryGuard(Option<SdkTracerProvider>);

impl TelemetryGuard {
    /// The same as dropping it, for straight-line shutdown code. Blocks the calling thread.
    pub fn shutdown(self) {}
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take()
            && let Err(error) = provider.shutdown_with_timeout(FLUSH)
        {
            tracing::warn!(%error, "the collector did not take the last spans");
        }
    }
}

/// Sets up logging to standard error and, where enabled, the export of spans, for the whole process. Panics of any thread
/// are logged as errors.
///
/// # Errors
/// A level or endpoint that cannot be read, or a second call in one process. A collector that is away is no error.
pub fn init(log: &LogConfig, tracing: &TracingConfig) -> Result<TelemetryGuard, TelemetryError> {
    let text = match log.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => io::stderr().is_terminal(),
    };
    let (subscriber, guard) = build(log, tracing, text, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber)?;
    log_panics();
    Ok(guard)
}

fn build<W>(
    log: &LogConfig,
    tracing: &TracingConfig,
    text: bool,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + use<W>, TelemetryGuard), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // The Delta library tells of every snapshot that it reads; whoever wants that can name it in `log.level`.
    let filter = EnvFilter::builder()
        .parse(format!("delta_kernel=warn,delta_kernel_default_engine=warn,{}", log.level))
        .map_err(|source| TelemetryError::Level { level: log.level.clone(), source })?;
    let lines = if text {
        fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(writer).boxed()
    } else {
        fmt::layer().json().flatten_event(true).with_writer(writer).boxed()
    };
    let provider = tracing
        .enabled
        .then(|| export::start(tracing))
        .transpose()
        .map_err(|source| TelemetryError::Exporter { endpoint: tracing.endpoint.clone(), source })?;
    let (provider, tracer) = provider.unzip();
    // Our own spans only: those of the HTTP client that exports would beget further ones for ever.
    let spans = tracer.map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_filter(Targets::new().with_target("larder", LevelFilter::DEBUG))
    });
    let subscriber = Registry::default().with(lines.with_filter(filter)).with(spans);
    Ok((subscriber, TelemetryGuard(provider)))
}

fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let backtrace = std::backtrace::Backtrace::capture();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(
            thread = thread.name().unwrap_or("unnamed"),
            place,
            %backtrace,
            "panic: {}",
            panic.payload_as_str().unwrap_or("no message")
        );
    }));
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        sync::{Arc, Mutex, mpsc},
        thread,
        time::Instant,
    };

    use super::*;
    use crate::config::Config;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: &str, text: bool) -> String {
        let log = LogConfig { level: level.to_owned(), ..Config::default().log };
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let (subscriber, _guard) =
            build(&log, &Config::default().tracing, text, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(table = "weather", "sealed");
            tracing::debug!("detail");
        });
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_have_their_fields_and_the_level_filters() {
        let lines = logged("info", false);
        let line: serde_json::Value = serde_json::from_str(lines.trim_end()).unwrap();
        assert_eq!(line["message"], "sealed");
        assert_eq!(line["table"], "weather");
        assert_eq!(line["level"], "INFO");
        assert_eq!(logged("debug", false).lines().count(), 2);
        assert_eq!(logged("warn,larder::telemetry=debug", true).lines().count(), 2);
        assert_eq!(logged("warn", true), "");
    }

    #[test]
    fn a_level_that_cannot_be_read_is_named() {
        let log = LogConfig { level: "larder=loud".into(), ..Config::default().log };
        let error = build(&log, &Config::default().tracing, true, io::sink).err().unwrap();
        assert!(error.to_string().contains("larder=loud"), "{error}");
    }

    fn traced(endpoint: String) -> (Duration, Duration) {
        let tracing =
            TracingConfig { enabled: true, endpoint, sample_ratio: 1.0, ..Config::default().tracing };
        let (subscriber, guard) = build(&Config::default().log, &tracing, true, io::sink).unwrap();
        let started = Instant::now();
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..3 * 4096 {
                let _entered = tracing::info_span!("read", n).entered();
            }
        });
        let working = started.elapsed();
        let started = Instant::now();
        guard.shutdown();
        (working, started.elapsed())
    }

    #[test]
    fn a_collector_that_refuses_or_hangs_delays_nothing() {
        // Accepts connections into its backlog and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for address in [gone, silent.local_addr().unwrap()] {
            let (working, ending) = traced(format!("http://{address}/v1/traces"));
            assert!(working < Duration::from_secs(3), "{address}: spans took {working:?}");
            assert!(ending < FLUSH + Duration::from_secs(3), "{address}: the end took {ending:?}");
        }
    }

    #[test]
    fn spans_reach_the_collector_before_the_guard_is_gone() {
        let collector = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = collector.local_addr().unwrap();
        let (send, received) = mpsc::channel();
        thread::spawn(move || {
            let (mut stream, _) = collector.accept().unwrap();
            let mut bytes = vec![0; 64 << 10];
            let mut length = 0;
            while !bytes[..length].windows(9).any(|part| part == b"weather-1") {
                length += stream.read(&mut bytes[length..]).unwrap();
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            send.send(bytes[..length].to_vec()).unwrap();
        });
        let tracing = TracingConfig {
            enabled: true,
            endpoint: format!("http://{address}/v1/traces"),
            sample_ratio: 1.0,
            ..Config::default().tracing
        };
        let (subscriber, guard) = build(&Config::default().log, &tracing, true, io::sink).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let _entered = tracing::info_span!("seal", table = "weather-1").entered();
        });
        guard.shutdown();
        let request = received.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(request.starts_with(b"POST /v1/traces HTTP/1.1"));
    }
}
