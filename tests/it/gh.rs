//! The stand-in of gh (`tests/fixtures/gh`) in a directory of its own, which can be put on a `PATH`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::skip::have;
use crate::sshd::Codespace;

/// A call of the stand-in.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Call {
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) pid: u32,
}

/// An installed stand-in.
pub(crate) struct Gh {
    dir: tempfile::TempDir,
    codespaces: Mutex<serde_json::Map<String, Value>>,
}

impl Gh {
    /// `None`: python3 is missing, and the test was said to be skipped.
    pub(crate) fn install() -> Option<Self> {
        if !have("python3", "--version") {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        // A link: a copy just written could still be open for writing in a child that another test forks.
        symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gh"), dir.path().join("gh")).unwrap();
        Some(Self { dir, codespaces: Mutex::default() })
    }

    /// The directory for `PATH`.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The program.
    pub(crate) fn program(&self) -> PathBuf {
        self.dir.path().join("gh")
    }

    /// Leads that name to a running sshd.
    pub(crate) fn leads_to(&self, name: &str, codespace: &Codespace) {
        self.entry(name, json!({"port": codespace.port(), "user": codespace.user(), "authorized_keys": codespace.authorized_keys()}));
    }

    /// Sets keys of that name's entry: `fail` and `code`, `hang`, `sshd`, `authorize`; see the stand-in.
    pub(crate) fn entry(&self, name: &str, keys: Value) {
        let mut codespaces = self.codespaces.lock().unwrap();
        let entry = codespaces.entry(name).or_insert_with(|| json!({}));
        for (key, value) in keys.as_object().unwrap() {
            entry[key] = value.clone();
        }
        self.put("codespaces.json", &Value::Object(codespaces.clone()).to_string());
    }

    /// What `gh --version` says.
    pub(crate) fn version(&self, version: &str) {
        self.put("version", version);
    }

    /// What `gh auth token` says.
    pub(crate) fn login(&self, token: &str) {
        self.put("login", token);
    }

    /// Every call so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let log = fs::read_to_string(self.dir.path().join("calls.jsonl")).unwrap_or_default();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn put(&self, name: &str, content: &str) {
        let fresh = tempfile::NamedTempFile::new_in(self.dir.path()).unwrap();
        fs::write(fresh.path(), content).unwrap();
        fresh.persist(self.dir.path().join(name)).unwrap();
    }
}
