//! One line of a transcript as it is looked at: a handful of top-level strings, whatever else the line holds.
//!
//! Promises: any JSON object is taken, with values of any type; anything else is no line. Nothing is allocated for what is not
//! looked at.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The top-level fields that are looked at. A field twice makes the line unreadable, as any other fault does.
#[derive(Deserialize)]
pub(super) struct Line<'a> {
    #[serde(rename = "type", default, borrow)]
    pub(super) kind: Text<'a>,
    #[serde(default, borrow)]
    pub(super) timestamp: Text<'a>,
    #[serde(rename = "cwd", default, borrow)]
    pub(super) working_directory: Text<'a>,
    #[serde(rename = "customTitle", default, borrow)]
    pub(super) custom_title: Text<'a>,
    #[serde(rename = "lastPrompt", default, borrow)]
    pub(super) last_prompt: Text<'a>,
}

/// A string, or any other JSON value, which counts as none.
#[derive(Default)]
pub(super) struct Text<'a>(pub(super) Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Text)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_kind_counts_as_none_and_the_others_are_read() {
        for value in ["true", "-1", "1", "1.5", "null", "[[1],{\"a\":2},\"x\"]", "{\"a\":{\"b\":[1]},\"c\":\"x\"}"] {
            let line = format!("{{\"customTitle\":{value},\"lastPrompt\":\"b\\u0041\"}}");
            let Line { custom_title, last_prompt, .. } = serde_json::from_str(&line).unwrap();
            assert_eq!((custom_title.0, last_prompt.0.as_deref()), (None, Some("bA")), "{value}");
        }
    }
}
