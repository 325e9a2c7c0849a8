//! Transcripts of the shapes that the real client writes: prompts and answers with times, long lines between them, lines without
//! a working directory at the beginning, lines without a time at the end, times that go back a little.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::Bytes;

/// The n-th session id of a test.
pub(crate) fn id(n: u32) -> String {
    format!("{n:08x}-51c4-4e00-8a05-674dde6aa368")
}

/// A conversation. Clones of it that say different things are diverged copies.
#[derive(Debug, Clone)]
pub(crate) struct Talk {
    pub(crate) id: String,
    pub(crate) cwd: String,
    pub(crate) bytes: Bytes,
    /// The time of the newest message.
    pub(crate) at: DateTime<Utc>,
    parent: Value,
    prompt: String,
}

impl Talk {
    /// A conversation in `cwd` that began so many minutes ago, with one prompt and its answer, at rest.
    pub(crate) fn begun(id: &str, cwd: &str, minutes_ago: i64, text: &str) -> Self {
        let now = Utc::now() - TimeDelta::minutes(minutes_ago);
        let talk = Self { id: id.to_owned(), cwd: cwd.to_owned(), bytes: Bytes::default(), at: now, parent: Value::Null, prompt: String::new() };
        let queued = json!({"type": "queue-operation", "operation": "enqueue", "timestamp": talk.time(0), "sessionId": id, "content": text});
        talk.line(&queued).line(&json!({"type": "mode", "mode": "default", "sessionId": id})).says(text).rests()
    }

    /// The same bytes, in the project of another working directory: as a copy of it lies on another machine.
    pub(crate) fn in_project_of(self, cwd: &str) -> Self {
        Self { cwd: cwd.to_owned(), ..self }
    }

    /// The same bytes under another id.
    pub(crate) fn called(self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self }
    }

    /// One more line, as it is.
    pub(crate) fn line(mut self, line: &Value) -> Self {
        self.bytes.0.extend_from_slice(line.to_string().as_bytes());
        self.bytes.0.push(b'\n');
        self
    }

    /// One more line of any bytes, with its newline.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.0.extend_from_slice(bytes);
        self
    }

    /// Later by so many seconds.
    pub(crate) fn after(mut self, seconds: i64) -> Self {
        self.at += TimeDelta::seconds(seconds);
        self
    }

    /// A prompt and its answer, ten seconds later than what was said before.
    pub(crate) fn says(self, text: &str) -> Self {
        let talk = self.after(10);
        let id = talk.id.clone();
        let (prompt, context, answer) = (talk.uuid("prompt", text), talk.uuid("context", text), talk.uuid("answer", text));
        let user = json!({"parentUuid": talk.parent, "isSidechain": false, "type": "user", "message": {"role": "user", "content": text},
            "uuid": prompt, "timestamp": talk.time(-5000), "userType": "external", "cwd": talk.cwd, "sessionId": id, "version": "2.1.329", "gitBranch": "main"});
        let attachment = json!({"parentUuid": prompt, "type": "attachment", "attachment": {"type": "skill_listing", "content": "s".repeat(9000)},
            "uuid": context, "timestamp": talk.time(-5001), "cwd": talk.cwd, "sessionId": id});
        let shape = json!({"type": "api-request-shape", "sessionId": id, "timestamp": talk.time(-4000), "shape": {"system": "y".repeat(38_000)}});
        let said = json!({"parentUuid": context, "isSidechain": false, "message": {"role": "assistant", "content": [{"type": "text", "text": format!("re: {text}")}]},
            "type": "assistant", "uuid": answer, "timestamp": talk.time(0), "cwd": talk.cwd, "sessionId": id});
        let late = json!({"type": "queue-operation", "operation": "dequeue", "timestamp": talk.time(-2750), "sessionId": id});
        let mut talk = talk.line(&user).line(&attachment).line(&shape).line(&said).line(&late);
        (talk.parent, talk.prompt) = (Value::String(answer), text.to_owned());
        talk
    }

    /// What the client writes at the end of a sitting: lines without a time.
    pub(crate) fn rests(self) -> Self {
        let (id, leaf, prompt) = (self.id.clone(), self.parent.clone(), self.prompt.clone());
        self.line(&json!({"type": "last-prompt", "lastPrompt": prompt, "leafUuid": leaf, "sessionId": id}))
            .line(&json!({"type": "atis-latch", "atis": "", "sessionId": id}))
            .line(&json!({"type": "cost-state", "sessionId": id, "totalCostUSD": 0.0008, "startTime": 1_795_171_297_855_u64}))
    }

    /// A name that the user gave it.
    pub(crate) fn titled(self, title: &str) -> Self {
        let id = self.id.clone();
        self.line(&json!({"type": "custom-title", "customTitle": title, "sessionId": id}))
    }

    /// The same session, holding these bytes.
    pub(crate) fn holding(self, bytes: &[u8]) -> Self {
        Self { bytes: Bytes(bytes.to_vec()), ..self }
    }

    /// The bytes up to the last newline.
    pub(crate) fn complete(&self) -> &[u8] {
        let end = self.bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        &self.bytes[..end]
    }

    /// The id and the bytes of the session that this copy becomes where it lost, by the law and not by the program: UUIDv5 of the
    /// session and the digest of the copy, and one more line.
    pub(crate) fn fork_id(&self) -> String {
        let digest: String = crate::remote_far::sha256(self.complete()).iter().map(|byte| format!("{byte:02x}")).collect();
        Uuid::new_v5(&self.id.parse().unwrap(), digest.as_bytes()).to_string()
    }

    fn time(&self, milliseconds: i64) -> String {
        (self.at + TimeDelta::milliseconds(milliseconds)).to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    fn uuid(&self, what: &str, text: &str) -> String {
        Uuid::new_v5(&self.id.parse().unwrap(), format!("{what} {text} {}", self.bytes.len()).as_bytes()).to_string()
    }
}
