//! A loopback stand-in of GitHub's API: canned answers by method and path, and a record of what was asked.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With the query.
    pub(crate) target: String,
    pub(crate) authorization: String,
}

#[derive(Default)]
struct Inside {
    answers: HashMap<(String, String), (u16, String)>,
    asked: Vec<Asked>,
    stopped: bool,
}

/// The running stand-in; it stops when dropped.
pub(crate) struct Api {
    port: u16,
    inside: Arc<Mutex<Inside>>,
    serving: Option<JoinHandle<()>>,
}

impl Api {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let inside = Arc::new(Mutex::new(Inside::default()));
        let shared = Arc::clone(&inside);
        let serving = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.lock().unwrap().stopped {
                    return;
                }
                let shared = Arc::clone(&shared);
                // A client that hangs up early is its own affair.
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { port, inside, serving: Some(serving) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on `method path` (without a query) gets this answer.
    pub(crate) fn answer(&self, method: &str, path: &str, status: u16, body: &str) {
        self.inside.lock().unwrap().answers.insert((method.to_owned(), path.to_owned()), (status, body.to_owned()));
    }

    /// From now on there is a codespace of that name and state.
    pub(crate) fn codespace(&self, name: &str, state: &str) {
        let body = serde_json::json!({"name": name, "state": state, "pending_operation": false});
        self.answer("GET", &format!("/user/codespaces/{name}"), 200, &body.to_string());
    }

    /// Everything asked so far, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.inside.lock().unwrap().asked.clone()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.inside.lock().unwrap().stopped = true;
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(serving) = self.serving.take() {
            serving.join().unwrap();
        }
    }
}

/// One request, one answer, end of the connection.
fn serve(stream: TcpStream, inside: &Mutex<Inside>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let (mut authorization, mut length) = (String::new(), 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => value.clone_into(&mut authorization),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    reader.take(length).read_to_end(&mut Vec::new()).ok()?;
    let path = target.split('?').next()?.to_owned();
    let (status, body) = {
        let mut inside = inside.lock().unwrap();
        inside.asked.push(Asked { method: method.clone(), target, authorization });
        inside.answers.get(&(method, path)).cloned().unwrap_or_else(|| (404, r#"{"message":"Not Found"}"#.to_owned()))
    };
    write!(&stream, "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()
}
