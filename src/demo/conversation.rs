//! Invented conversations, line by line in the shapes that the client writes.
//!
//! Promises: append only; every turn ends, as the client's do, in lines without a timestamp. Never: a line that the client
//! would not read.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

/// One prompt and its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn<'a> {
    pub(super) prompt: &'a str,
    pub(super) answer: &'a str,
    pub(super) at: DateTime<Utc>,
    /// A command that was run for it, and what it printed.
    pub(super) ran: Option<(&'a str, &'a str)>,
}

/// A session as one client writes it, from one working directory.
#[derive(Debug, Clone)]
pub(super) struct Conversation {
    session: Uuid,
    cwd: String,
    leaf: Option<Uuid>,
    turns: usize,
}

impl Conversation {
    /// A session whose first line is still to be written.
    pub(super) fn new(session: Uuid, cwd: &str) -> Self {
        Self { session, cwd: cwd.to_owned(), leaf: None, turns: 0 }
    }

    /// The same session, gone on with from another directory.
    pub(super) fn resumed_in(&self, cwd: &str) -> Self {
        Self { cwd: cwd.to_owned(), ..self.clone() }
    }

    /// What stands before the first prompt, and the name that `/rename` gave.
    pub(super) fn opening(&self, title: &str) -> String {
        let id = self.session;
        lines(&[
            json!({"type": "mode", "mode": "normal", "sessionId": id}),
            json!({"type": "permission-mode", "permissionMode": "default", "sessionId": id}),
            json!({"type": "custom-title", "customTitle": title, "sessionId": id}),
            json!({"type": "agent-name", "agentName": title, "sessionId": id}),
        ])
    }

    /// The lines of one turn.
    pub(super) fn turn(&mut self, turn: &Turn<'_>) -> String {
        let mut said = vec![self.spoken(turn.at, "user", json!({"role": "user", "content": turn.prompt}), turn.prompt)];
        if let Some((command, printed)) = turn.ran {
            let tool = format!("toolu_{}", self.id(command).simple());
            let call = json!([{"type": "tool_use", "id": tool, "name": "Bash", "input": {"command": command}}]);
            said.push(self.spoken(after(turn.at, 4), "assistant", message(call, "tool_use"), command));
            let result = json!([{"tool_use_id": tool, "type": "tool_result", "content": printed, "is_error": false}]);
            said.push(self.spoken(after(turn.at, 9), "user", json!({"role": "user", "content": result}), printed));
        }
        let answer = json!([{"type": "text", "text": turn.answer}]);
        said.push(self.spoken(after(turn.at, 20), "assistant", message(answer, "end_turn"), turn.answer));
        self.turns += 1;
        let id = self.session;
        said.push(json!({"type": "last-prompt", "lastPrompt": turn.prompt, "leafUuid": self.leaf, "sessionId": id}));
        said.push(json!({"type": "cost-state", "sessionId": id, "totalCostUSD": 0.01, "totalLinesAdded": 3 * self.turns, "hasUnknownModelCost": false}));
        lines(&said)
    }

    /// One line with a time and a place in the thread.
    fn spoken(&mut self, at: DateTime<Utc>, kind: &str, message: Value, text: &str) -> Value {
        let id = self.id(text);
        let parent = self.leaf.replace(id);
        json!({
            "parentUuid": parent, "isSidechain": false, "type": kind, "message": message, "uuid": id,
            "timestamp": at.to_rfc3339_opts(SecondsFormat::Millis, true), "userType": "external", "entrypoint": "cli",
            "cwd": self.cwd, "sessionId": self.session, "version": "2.1.329", "gitBranch": "main",
        })
    }

    /// The id of a line: the same whenever the same is said at the same place of the thread.
    fn id(&self, text: &str) -> Uuid {
        Uuid::new_v5(&self.leaf.unwrap_or(self.session), text.as_bytes())
    }
}

fn message(content: Value, stop: &str) -> Value {
    let usage = json!({"input_tokens": 100, "output_tokens": 20, "service_tier": "standard"});
    json!({"id": "msg_demo", "type": "message", "role": "assistant", "model": "claude-opus-5-5", "content": content, "stop_reason": stop, "usage": usage})
}

fn after(at: DateTime<Utc>, seconds: i64) -> DateTime<Utc> {
    at + chrono::TimeDelta::seconds(seconds)
}

fn lines(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}
