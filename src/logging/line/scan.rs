//! The words of a line of text: how a value is written so that it is found again, and how it is found.
//!
//! Promises: what [`shown`] and [`quoted`] write, a [`Scanner`] reads back as the same. Never: a word that is taken apart where it
//! could be taken apart in two ways; such a word is written as a JSON string.

use serde_json::Value;

use super::{Fields, Span};
use crate::reconcile::plain::{is_active, plain_json};

/// A value in a line of text: bare where it reads back as itself, else as JSON.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if is_bare(text) && bare_value(text) == *value => text.clone(),
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

pub(super) fn quoted(text: &str) -> String {
    plain_json(&Value::String(text.to_owned()).to_string()).into_owned()
}

/// Whether a text can stand between blanks, in braces, and be found again.
fn is_bare(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('"') && !text.chars().any(|c| c.is_whitespace() || is_active(c) || matches!(c, '{' | '}'))
}

/// A bare word is a number or a boolean where it looks exactly like one.
fn bare_value(word: &str) -> Value {
    match serde_json::from_str::<Value>(word) {
        Ok(value) if (value.is_number() || value.is_boolean()) && format!("{value}") == word => value,
        _ => Value::String(word.to_owned()),
    }
}

/// Reads from the beginning of a text, and gives back the rest.
pub(super) struct Scanner<'a>(pub(super) &'a str);

impl<'a> Scanner<'a> {
    /// A name, as Rust has them, with dots.
    pub(super) fn name(&self) -> Option<(&'a str, &'a str)> {
        let end = self.0.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(self.0.len());
        (end > 0 && !self.0.starts_with(|c: char| c.is_ascii_digit() || c == '.')).then(|| self.0.split_at(end))
    }

    /// `name=value`; a bare value ends at a blank or at one of `ends`.
    pub(super) fn field(&self, ends: &str) -> Option<(&'a str, Value, &'a str)> {
        let (name, rest) = self.name()?;
        let rest = rest.strip_prefix('=')?;
        if rest.starts_with('"') {
            let (text, rest) = Scanner(rest).string()?;
            return Some((name, Value::String(text), rest));
        }
        let (word, rest) = rest.split_at(rest.find(|c| c == ' ' || ends.contains(c)).unwrap_or(rest.len()));
        is_bare(word).then(|| (name, bare_value(word), rest))
    }

    /// A JSON string.
    fn string(&self) -> Option<(String, &'a str)> {
        let mut values = serde_json::Deserializer::from_str(self.0).into_iter::<String>();
        let text = values.next()?.ok()?;
        Some((text, &self.0[values.byte_offset()..]))
    }

    /// `name{key=value …}`.
    pub(super) fn span(&self) -> Option<(Span, &'a str)> {
        let (name, rest) = self.name()?;
        let mut rest = rest.strip_prefix('{')?;
        let mut span = Span { name: name.to_owned(), fields: Fields::default() };
        loop {
            if let Some(rest) = rest.strip_prefix('}') {
                return Some((span, rest));
            }
            if !span.fields.0.is_empty() {
                rest = rest.strip_prefix(' ')?;
            }
            let (name, value, after) = Scanner(rest).field("}")?;
            span.fields.0.push((name.to_owned(), value));
            rest = after;
        }
    }

    /// Words up to the first field; or a JSON string.
    pub(super) fn message(&self) -> Option<(String, &'a str)> {
        if self.0.starts_with('"') {
            return self.string();
        }
        let mut end = 0;
        for word in self.0.split(' ') {
            if Scanner(word).name().is_some_and(|(_, rest)| rest.starts_with('=')) {
                break;
            }
            if word.is_empty() || word.chars().any(|c| c.is_whitespace() || is_active(c)) {
                return None;
            }
            end += word.len() + usize::from(end > 0);
        }
        (end > 0).then(|| (self.0[..end].to_owned(), &self.0[end..]))
    }
}
