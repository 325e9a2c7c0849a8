//! GitHub's answers: a row by itself, and a whole answer (status, headers, body) over a loopback connection, because headers are
//! read where the connection is.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use claude_session_sync::codespace::github::{Codespace, GitHub, Patience, install_crypto};
use claude_session_sync::codespace::token::{Token, TokenSource};

use super::is_plain;

const TOKEN: &str = "ghp_the0token0that0is0never0shown00000000";

pub(super) fn row(bytes: &[u8]) {
    if let Ok(codespace) = serde_json::from_slice::<Codespace>(bytes) {
        is_fit(&codespace);
    }
}

fn is_fit(codespace: &Codespace) {
    let name = codespace.name.as_str();
    assert!(!name.is_empty() && !name.starts_with('-') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name}");
    is_plain(&codespace.state.to_string());
    codespace.display_name.iter().for_each(|text| is_plain(text));
    codespace.repository.iter().for_each(|repository| is_plain(&repository.to_string()));
    codespace.web_url.iter().for_each(|text| is_plain(text));
    assert!(codespace.recent_folders.len() <= 20);
    for folder in &codespace.recent_folders {
        assert!(folder.starts_with('/') && !folder.chars().any(char::is_control), "{folder:?}");
    }
}

/// A GitHub of this process: gives every request the same answer, and keeps what was asked.
struct Stub {
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<Mutex<Vec<String>>>,
    github: GitHub,
    runtime: tokio::runtime::Runtime,
}

impl Stub {
    fn start() -> Self {
        install_crypto();
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (answer, asked) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (of_thread, heard) = (Arc::clone(&answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = of_thread.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let request = converse(stream, &answer);
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            }
        });
        let token = Token::new(TOKEN.as_bytes(), TokenSource::Variable("GH_TOKEN")).expect("a good token");
        let short = Duration::from_millis(500);
        let patience = Patience { connect: short, whole: short, delay: Duration::ZERO, retries: 0 };
        let github = GitHub::with_patience(&url, token, "check", patience).expect("a client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { answer, asked, github, runtime }
    }
}

/// Reads one request and answers it: what was asked, headers and all.
fn converse(mut stream: TcpStream, answer: &[u8]) -> String {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(read) if read > 0 => request.extend_from_slice(&piece[..read]),
            _ => break,
        }
    }
    // Who asks may have hung up.
    let _ = stream.write_all(answer);
    String::from_utf8_lossy(&request).into_owned()
}

/// `STATUS`, lines of headers, an empty line, the body.
pub(super) fn answer(bytes: &[u8]) {
    thread_local! {
        static STUB: Stub = Stub::start();
    }
    let cut = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let (head, body) = (&bytes[..cut], bytes.get(cut + 2..).unwrap_or_default());
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = lines.next().unwrap_or_default();
    let mut answer = [b"HTTP/1.1 ", status, b" X\r\n"].concat();
    // A tag would be remembered from one run to the next.
    for line in lines.filter(|line| !line.to_ascii_lowercase().starts_with(b"etag")) {
        answer.extend([line, b"\r\n"].concat());
    }
    answer.extend_from_slice(b"Connection: close\r\n\r\n");
    answer.extend_from_slice(body);
    STUB.with(|stub| {
        *stub.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
        let listed = stub.runtime.block_on(stub.github.codespaces());
        let asked = std::mem::take(&mut *stub.asked.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(asked.len() <= 50 && asked.iter().all(|request| request.starts_with("GET /")), "{asked:?}");
        match listed {
            Ok(listing) => {
                listing.codespaces.iter().for_each(is_fit);
                listing.unreadable.iter().for_each(|why| is_plain(why));
            }
            Err(error) => {
                let texts = [error.to_string(), error.hint().unwrap_or_default()];
                texts.iter().for_each(|text| is_plain(text));
                assert!(!texts.concat().contains(TOKEN));
                let _ = error.wait(std::time::SystemTime::UNIX_EPOCH.into());
            }
        }
    });
}
