//! One line of the log as a value, and its two forms: text for people, and one JSON object.
//!
//! Text is `TIME LEVEL SPAN{key=value …} … message key=value …`; a JSON line is
//! `{"version":1,"time":…,"level":…,"spans":[{"name":…,"fields":{…}}],"message":…,"fields":{…}}`, outermost span first, and
//! `"target"` where another crate speaks. A value that a reader could take for something else is a JSON string in both.
//!
//! Promises: what is written reads back as the same value, from either form; a written line holds no newline and nothing that
//! acts on a terminal. Never: a guess. What is not exactly one of the two forms is no line of ours.

mod scan;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};

use chrono::{DateTime, FixedOffset, SecondsFormat};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::config::LogFormat;
use crate::reconcile::plain::plain_json;
use scan::{Scanner, quoted, shown};

/// The format of a JSON line. Another one is not read.
pub const VERSION: u32 = 1;

/// How grave a line is; the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A failure.
    Error,
    /// What looks wrong.
    Warn,
    /// What was done.
    Info,
    /// A step.
    Debug,
    /// A file.
    Trace,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// As it stands in a line of text.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
            Self::Trace => "TRACE",
        }
    }
}

/// Names and values in the order in which they were given. A value is a text, a number or a boolean.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields(pub Vec<(String, Value)>);

impl Fields {
    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Gives a name a value, the last one counts.
    pub fn set(&mut self, name: &str, value: Value) {
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }
}

/// A span that a line was said in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// `pass`, `codespace` or `transfer`.
    pub name: String,
    /// What is said of it.
    pub fields: Fields,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// [`VERSION`].
    #[serde(deserialize_with = "known_version")]
    version: u32,
    /// Local time with its offset, in milliseconds.
    #[serde(serialize_with = "with_offset")]
    pub time: DateTime<FixedOffset>,
    /// How grave.
    pub level: Level,
    /// Outermost first.
    pub spans: Vec<Span>,
    /// What happened, in fixed words.
    pub message: String,
    /// What differs from time to time.
    pub fields: Fields,
    /// The module that speaks, where it is another crate's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// The name under which a text line carries [`Line::target`].
const TARGET: &str = "target";

impl Line {
    /// A line outside of every span.
    #[must_use]
    pub fn new(time: DateTime<FixedOffset>, level: Level, message: &str) -> Self {
        Self { version: VERSION, time, level, spans: Vec::new(), message: message.to_owned(), fields: Fields::default(), target: None }
    }

    /// A line of either form, without its newline.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with('{') { serde_json::from_str(text).ok() } else { Self::parse_text(text) }
    }

    /// The line in a form, without a newline.
    #[must_use]
    pub fn written(&self, format: LogFormat) -> String {
        match format {
            LogFormat::Text => self.to_string(),
            LogFormat::Json => serde_json::to_string(self).map(|json| plain_json(&json).into_owned()).unwrap_or_default(),
        }
    }

    /// What a span says of itself.
    #[must_use]
    pub fn span(&self, name: &str, field: &str) -> Option<&str> {
        self.spans.iter().rev().find(|span| span.name == name)?.fields.get(field)?.as_str()
    }

    fn parse_text(text: &str) -> Option<Self> {
        let (time, rest) = text.split_once(' ')?;
        let time = DateTime::parse_from_rfc3339(time).ok()?;
        let level = Level::ALL.into_iter().find(|level| rest.strip_prefix(level.word()).is_some_and(|after| after.starts_with(' ')))?;
        let mut rest = rest.get(Level::Error.word().len() + 1..)?;
        let mut line = Self::new(time, level, "");
        while let Some((span, after)) = Scanner(rest).span() {
            line.spans.push(span);
            rest = after.strip_prefix(' ')?;
        }
        let (message, mut rest) = Scanner(rest).message()?;
        line.message = message;
        while !rest.is_empty() {
            let (name, value, after) = Scanner(rest.strip_prefix(' ')?).field("")?;
            line.fields.0.push((name.to_owned(), value));
            rest = after;
        }
        if let Some(Value::String(target)) = line.fields.get(TARGET) {
            line.target = Some(target.clone());
            line.fields.0.retain(|(name, _)| name != TARGET);
        }
        Some(line)
    }
}

/// The text form.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:5} ", self.time.to_rfc3339_opts(SecondsFormat::Millis, false), self.level.word())?;
        for span in &self.spans {
            let fields: Vec<String> = span.fields.0.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
            write!(f, "{}{{{}}} ", span.name, fields.join(" "))?;
        }
        f.write_str(&self.said())
    }
}

impl Line {
    /// The message and its fields, as in the text form.
    #[must_use]
    pub fn said(&self) -> String {
        let bare =
            Scanner(&self.message).span().is_none() && Scanner(&self.message).message().is_some_and(|(read, rest)| read == self.message && rest.is_empty());
        let mut text = if bare { self.message.clone() } else { quoted(&self.message) };
        for (name, value) in &self.fields.0 {
            let _ = write!(text, " {name}={}", shown(value));
        }
        if let Some(target) = &self.target {
            let _ = write!(text, " {TARGET}={}", shown(&Value::String(target.clone())));
        }
        text
    }
}

fn with_offset<S: Serializer>(time: &DateTime<FixedOffset>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Millis, false))
}

fn known_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let version = u32::deserialize(deserializer)?;
    if version == VERSION { Ok(version) } else { Err(serde::de::Error::custom("another version")) }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

/// In the order of the file, which a map of serde_json would lose.
impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ordered;
        impl<'de> Visitor<'de> for Ordered {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names with texts, numbers and booleans")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if matches!(value, Value::Array(_) | Value::Object(_) | Value::Null) || Scanner(&name).name() != Some((&name, "")) {
                        return Err(serde::de::Error::custom("no field of ours"));
                    }
                    fields.0.push((name, value));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Ordered)
    }
}
