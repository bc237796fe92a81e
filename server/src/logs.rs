//! Logs: structured lines on standard error.
//!
//! Our own lines carry a request id, never a header and never the `Debug` form of a request:
//! that of the protocol crate prints customer keys. Dependencies are held to warnings, and the
//! protocol crate to silence: it would print whole replies when one fails; the access line has
//! the status.

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::config::{Log, LogFormat, LogLevel};

/// Installs the log writer of the process.
pub(crate) fn install(log: &Log) {
    let level = match log.level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
    };
    let targets = Targets::new()
        .with_default(tracing::Level::WARN.min(level))
        .with_target("s3s", tracing::level_filters::LevelFilter::OFF)
        .with_target("strongroom", level);
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines = match log.format {
        LogFormat::Text => lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(targets))
        .init();
}
