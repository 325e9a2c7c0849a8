//! The four answers of a far side. The bytes stand behind a good marker; `end @` at the end of a line is the end with the nonce,
//! so that whole answers can be found.

use std::time::Duration;

use claude_session_sync::codespace::wire::{
    Answer, DataSource, FarPath, Fetched, Forget, HashWant, Hashes, Listing, Nonce, Operation, PutAnswer, PutFile, PutRequest, Range, VaultDrop, WireError,
};
use claude_session_sync::reconcile::manifest::{ProjectName, StorePath};

use super::is_plain;

const SESSION: &str = "6f869d7b-ce51-4e00-8a05-674dde6aa368";
const FORGOTTEN: &str = "7f869d7b-ce51-4e00-8a05-674dde6aa368";
const LONGEST_ERROR: usize = 4096;

fn path(name: &str) -> StorePath {
    format!("-p/{name}").parse().expect("a good path")
}

fn transcript() -> StorePath {
    path(&format!("{SESSION}.jsonl"))
}

/// The bytes as the answer to this call.
fn sent(bytes: &[u8], nonce: &Nonce) -> Vec<u8> {
    let mut answer = format!("css1 {}\n", nonce.as_str()).into_bytes();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"end @\n") {
            Some(before) => answer.extend(before.iter().copied().chain(format!("end {}\n", nonce.as_str()).bytes())),
            None => answer.extend_from_slice(line),
        }
    }
    answer
}

/// Reads to the end of what the future does; an error's text is plain and short.
fn read<T>(bytes: &[u8], reading: impl AsyncFnOnce(Answer<&[u8]>) -> Result<T, WireError>) -> Option<T> {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    }
    let nonce = Nonce::random();
    let answer = sent(bytes, &nonce);
    let read = RUNTIME.with(|runtime| runtime.block_on(async { reading(Answer::open(answer.as_slice(), &nonce, Duration::from_secs(5)).await?).await }));
    read.map_err(|error| {
        let text = error.to_string();
        is_plain(&text);
        assert!(text.len() < LONGEST_ERROR, "an error of {} bytes", text.len());
    })
    .ok()
}

pub(super) fn list(bytes: &[u8]) {
    let Some(listing) = read(bytes, async |mut answer| Listing::read(&mut answer).await) else { return };
    is_plain(&listing.claude);
    assert!(listing.claude.starts_with('/'));
    for file in &listing.files {
        let text = file.path.to_string();
        assert_eq!(text.parse().as_ref(), Ok(&file.path));
        assert!(text.split('/').all(|part| !part.is_empty() && !part.starts_with(['.', '-']) || part == file.path.project.as_str()), "{text}");
        assert_eq!(file.token.stamp(), file.stamp);
    }
    assert!(listing.files.windows(2).all(|pair| pair[0].path < pair[1].path), "sorted, each once");
    for skipped in &listing.skipped {
        is_plain(&skipped.name);
        is_plain(&skipped.why);
        assert!(skipped.name.len() <= 512);
    }
    for (project, directory) in &listing.working_directories {
        assert_eq!(ProjectName::of(directory), *project);
        is_line(directory);
    }
    for root in &listing.roots {
        is_line(&root.path);
        root.remotes.iter().for_each(|remote| is_line(remote));
    }
    for live in &listing.live {
        assert!(listing.registry);
        live.status.iter().for_each(|status| is_plain(status));
    }
    assert!(listing.skipped.len() <= 1000 && listing.pushed.len() <= 2000 && listing.agents.len() <= 64);
}

/// It can stand on a line of a request.
#[track_caller]
fn is_line(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?} breaks a line");
}

pub(super) fn hash(bytes: &[u8]) {
    let path = FarPath::Store(transcript());
    let wants = [None, Some(0), Some(7)].map(|first| HashWant { path: path.clone(), first });
    // With bytes behind the digests, and without.
    for ahead in [&[][..], &ranges(&[3])] {
        let hashes = read(bytes, async |mut answer| {
            let hashes = Hashes::read(&mut answer, &wants).await?;
            fetch(answer, ahead).await.map(|()| hashes)
        });
        assert_eq!(hashes.and_then(|hashes| hashes.get(&path, Some(8))), None, "what was not asked");
    }
}

pub(super) fn get(bytes: &[u8]) {
    read(bytes, async |answer| fetch(answer, &ranges(&[0, 3, 100])).await);
}

fn ranges(lengths: &[u64]) -> Vec<Range> {
    lengths.iter().map(|length| Range { path: FarPath::Store(transcript()), offset: 5, length: *length }).collect()
}

async fn fetch(mut answer: Answer<&[u8]>, ranges: &[Range]) -> Result<(), WireError> {
    for range in ranges {
        let mut data = Vec::new();
        let fetched = answer.fetch(range, &mut data).await?;
        assert_eq!(data.len() as u64, if fetched == Fetched::Data { range.length } else { 0 });
    }
    answer.finish().await
}

pub(super) fn put(bytes: &[u8]) {
    let file = |n: u32| PutFile {
        n,
        operation: Operation::Create,
        size: 1,
        sha256: [0; 32],
        path: path(&format!("{SESSION}/s{n}")),
        mtime: 0,
        data: DataSource { path: "/dev/null".into(), offset: 0, len: 1 },
    };
    let object = format!("{SESSION}.4.0123456789abcdef.{}-1", "0".repeat(32));
    let drop = VaultDrop { name: object.parse().expect("a good name"), size: 4 };
    let forget = Forget { session: FORGOTTEN.parse().expect("a good id"), date: chrono::DateTime::UNIX_EPOCH };
    let request = PutRequest {
        claude: "/c".to_owned(),
        replica: None,
        agent: None,
        need_kib: None,
        files: vec![file(1), file(3)],
        drops: vec![drop.clone()],
        forgets: vec![forget],
    };
    let Some(read) = read(bytes, async |mut answer| PutAnswer::read(&mut answer, &request).await) else { return };
    assert_eq!(read.outcomes.keys().copied().collect::<Vec<_>>(), [1, 3]);
    assert_eq!(read.drops.keys().collect::<Vec<_>>(), [&drop.name]);
    assert_eq!(read.forgets.keys().map(ToString::to_string).collect::<Vec<_>>(), [FORGOTTEN]);
    is_plain(
        &read
            .outcomes
            .values()
            .map(|outcome| if let claude_session_sync::codespace::wire::Outcome::Failed(why) = outcome { why } else { "" })
            .collect::<String>(),
    );
}
