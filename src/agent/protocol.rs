//! The control socket's language: one JSON object a line, each way.
//!
//! The socket is `agent.sock` in the runtime directory (0700), 0600, for its user alone. A client sends one request, and may send
//! more on the same connection, each after the answer to the one before:
//!
//! | request | answer |
//! |---|---|
//! | `{"request":"status"}` | `{"answer":"status","version":1,…}` with all of [`AgentStatus`] |
//! | `{"request":"sync"}` | `{"answer":"done"}`; the bell was rung, the pass itself is not waited for |
//! | `{"request":"watch"}` | the full status as above, then `{"answer":"change","version":1,"change":{…}}` for each change: a JSON merge patch (RFC 7396) of the object before. The connection is the watcher's until it closes it |
//! | `{"request":"reload"}` | `{"answer":"done"}`, or `{"answer":"refused","reason":…}`: the configuration is wrong, and the one before holds |
//! | `{"request":"stop"}` | `{"answer":"done"}`; the agent ends within 10 s |
//!
//! What is no request is answered by `{"answer":"refused","reason":…}`, and the connection is closed.
//! Bounds: a request has at most [`LONGEST_REQUEST`] bytes and comes within 10 s of its first byte; a client that does not read is dropped.

use serde::{Deserialize, Serialize};

use super::status::AgentStatus;

/// The version of this language.
pub const VERSION: u32 = 1;
/// Longest request, with its newline.
pub const LONGEST_REQUEST: usize = 4096;
/// The socket's name in the runtime directory.
pub const SOCKET: &str = "agent.sock";

/// A line from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// What it asks.
    pub request: Request,
}

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// What the agent is doing.
    Status,
    /// Ring the bell.
    Sync,
    /// What it is doing, and every change of it.
    Watch,
    /// Read the configuration anew.
    Reload,
    /// End.
    Stop,
}

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// What it is doing.
    Status {
        /// The version of this language.
        version: u32,
        /// All of it.
        #[serde(flatten)]
        status: Box<AgentStatus>,
    },
    /// What changed.
    Change {
        /// The version of this language.
        version: u32,
        /// A merge patch.
        change: serde_json::Value,
    },
    /// It is done, or begun.
    Done,
    /// It is not.
    Refused {
        /// Why.
        reason: String,
    },
}

/// The merge patch (RFC 7396) that makes one value of another; none if they are equal.
#[must_use]
pub fn patch(before: &serde_json::Value, after: &serde_json::Value) -> Option<serde_json::Value> {
    use serde_json::Value;
    match (before, after) {
        _ if before == after => None,
        (Value::Object(before), Value::Object(after)) => {
            let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), Value::Null));
            let changed = after.iter().filter_map(|(key, value)| Some((key.clone(), patch(before.get(key).unwrap_or(&Value::Null), value)?)));
            Some(Value::Object(gone.chain(changed).collect()))
        }
        _ => Some(after.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_holds_what_changed_and_nothing_else() {
        let (before, after) = (json!({"a": 1, "b": {"c": 2, "d": 3}, "e": [1]}), json!({"a": 1, "b": {"c": 4, "d": 3}, "e": [1, 2]}));
        assert_eq!(patch(&before, &after), Some(json!({"b": {"c": 4}, "e": [1, 2]})));
        assert_eq!(patch(&before, &before), None);
        assert_eq!(patch(&json!({"a": 1, "b": 2}), &json!({"b": 2})), Some(json!({"a": null})));
    }

    #[test]
    fn a_request_is_one_of_five_words() {
        let parse = |text: &str| serde_json::from_str::<Line>(text).map(|line| line.request);
        assert_eq!(parse("{\"request\":\"sync\"}").unwrap(), Request::Sync);
        for wrong in ["", "{}", "{\"request\":\"format\"}", "{\"request\":\"sync\",\"path\":\"/\"}", "\"sync\"", "[]", "{\"request\":7}"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
