//! From events and spans to lines of the log.
//!
//! Promises: one event is one [`Line`], handed to a queue that nobody waits for. Texts are bounded. Never: other crates' chatter
//! below a warning, because they log headers and bytes there, and a token is a header.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;

use chrono::{DurationRound as _, TimeDelta};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::NonBlocking;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::Clock;
use super::line::{Fields, Level, Line, Span};
use super::writer::Shared;
use crate::config::LogLevel;

/// The target of every module of ours begins so.
const OURS: &str = env!("CARGO_CRATE_NAME");

/// Bytes of one text in a line.
const LONGEST_TEXT: usize = 4096;

/// What is logged at a level.
pub(super) fn wanted(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_target(OURS, level).with_default(level.min(LevelFilter::WARN))
}

/// Makes lines of events.
pub(super) struct Lines {
    pub(super) queue: NonBlocking,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Clock,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut said = Said::default();
        attributes.record(&mut said);
        span.extensions_mut().insert(said.fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut said = Said::default();
        values.record(&mut said);
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            said.fields.0.into_iter().for_each(|(name, value)| fields.set(&name, value));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let now = (self.clock)();
        // The precision that is written.
        let time = now.duration_trunc(TimeDelta::milliseconds(1)).unwrap_or(now).with_timezone(&chrono::Local).fixed_offset();
        let mut line = Line::new(time, level(*event.metadata().level()), &said.message);
        line.fields = said.fields;
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            line.spans.push(Span { name: span.name().to_owned(), fields: span.extensions().get::<Fields>().cloned().unwrap_or_default() });
        }
        let target = event.metadata().target();
        let ours = target.strip_prefix(OURS).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        line.target = (!ours).then(|| target.to_owned());
        let written = line.written(self.shared.settings().format);
        // The queue counts what it drops.
        let _ = self.queue.clone().write_all(format!("{written}\n").as_bytes());
    }
}

fn level(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => Level::Trace,
    }
}

/// What an event or a span says.
#[derive(Default)]
struct Said {
    message: String,
    fields: Fields,
}

impl Said {
    fn text(&mut self, field: &Field, mut text: String) {
        if text.len() > LONGEST_TEXT {
            text.truncate(text.floor_char_boundary(LONGEST_TEXT));
            text.push('…');
        }
        if field.name() == "message" {
            self.message = text;
        } else {
            self.value(field, Value::String(text));
        }
    }

    fn value(&mut self, field: &Field, value: Value) {
        self.fields.set(field.name(), value);
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.value(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.value(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.value(field, value.into());
    }
}
