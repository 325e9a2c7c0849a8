//! One turn of a conversation as people read it: who spoke, when, and how it begins.
//!
//! Promises: any bytes are taken; what is no line of the user or of the assistant, or says nothing in words, is no turn. The text is
//! on one line, without control characters, and short. It is foreign still: what it says is not checked, and it is escaped where it
//! is shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::transcript::Moment;

/// Longest text kept, in characters.
const LONGEST_TEXT: usize = 240;

/// Who spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// The user.
    User,
    /// The assistant.
    Assistant,
}

/// What was said at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Who said it.
    pub who: Who,
    /// When, if the line says so.
    pub at: Option<Moment>,
    /// How it begins. Tools that were called stand in brackets.
    pub text: String,
}

#[derive(Deserialize)]
struct Said {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    timestamp: Value,
    #[serde(default)]
    message: Value,
}

impl Turn {
    /// The turn of a line; none where it is none. What a tool answered is not the user's word.
    #[must_use]
    pub fn of(line: &[u8]) -> Option<Self> {
        let said: Said = serde_json::from_slice(line).ok()?;
        let who = match said.kind.as_str() {
            "user" => Who::User,
            "assistant" => Who::Assistant,
            _ => return None,
        };
        let text = match said.message.get("content")? {
            Value::String(text) => text.clone(),
            Value::Array(blocks) => blocks.iter().filter_map(words).collect::<Vec<_>>().join(" "),
            _ => return None,
        };
        let text = shortened(&text);
        (!text.is_empty()).then(|| Self { who, at: said.timestamp.as_str().and_then(Moment::parse), text })
    }
}

fn words(block: &Value) -> Option<String> {
    let text = |name| block.get(name)?.as_str().map(str::to_owned);
    match block.get("type")?.as_str()? {
        "text" => text("text"),
        "tool_use" => text("name").map(|name| format!("[{name}]")),
        _ => None,
    }
}

fn shortened(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > 4 * LONGEST_TEXT {
            break;
        }
    }
    match line.char_indices().nth(LONGEST_TEXT) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<(Who, String)> {
        Turn::of(line.as_bytes()).map(|turn| (turn.who, turn.text))
    }

    #[test]
    fn a_prompt_and_an_answer_are_turns_in_words() {
        let prompt = r#"{"type":"user","timestamp":"2026-11-20T10:41:38.819Z","message":{"role":"user","content":"fix\n the\tbuild"}}"#;
        assert_eq!(of(prompt), Some((Who::User, "fix the build".to_owned())));
        assert!(Turn::of(prompt.as_bytes()).unwrap().at.is_some());
        let answer = r#"{"type":"assistant","message":{"content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"done"},{"type":"tool_use","name":"Bash"}]}}"#;
        assert_eq!(of(answer), Some((Who::Assistant, "done [Bash]".to_owned())));
    }

    #[test]
    fn what_says_nothing_in_words_is_no_turn() {
        for line in [
            r#"{"type":"user","message":{"content":[{"type":"tool_result","content":"a long output"}]}}"#,
            r#"{"type":"assistant","message":{"content":[{"type":"thinking","thinking":"hm"}]}}"#,
            r#"{"type":"system","message":{"content":"x"}}"#,
            r#"{"type":"user","message":{"content":7}}"#,
            r#"{"type":"user"}"#,
            r#"{"type":"user","message":{"content":" "#,
            "[]",
            "",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    fn a_text_is_cut_between_characters_and_holds_no_control() {
        let (_, text) = of(&format!(r#"{{"type":"user","message":{{"content":"a\u001b[31m{}"}}}}"#, "ä".repeat(5000))).unwrap();
        assert_eq!((text.chars().count(), text.contains('\u{1b}')), (LONGEST_TEXT + 1, false));
        let (_, text) = of(&format!(r#"{{"type":"user","message":{{"content":"{}"}}}}"#, "\u{1d11e} ".repeat(300))).unwrap();
        assert_eq!(text.chars().count(), LONGEST_TEXT + 1);
    }
}
