//! What a panic leaves behind: one line on a stream, which is the service manager's, and one in the log.
//!
//! Promises: the place in the program, always; the words only where they stand in the program as they are. Never: words that
//! were put together while it ran, because they may quote what was being read.

use std::io::Write;
use std::panic::{self, PanicHookInfo};
use std::sync::Mutex;

use crate::reconcile::plain::plain;

/// From now on, panics of this process are told on that stream and in the log.
pub fn tell(stream: Box<dyn Write + Send>) {
    let stream = Mutex::new(stream);
    panic::set_hook(Box::new(move |info| {
        let (place, words) = said(info);
        // A panic while this line is written must not wait for itself; and there is nobody else to tell.
        if let Ok(mut stream) = stream.try_lock() {
            let line = format!("claude-session-sync: panicked at {place}: {words}");
            let _ = writeln!(stream, "{}", plain(&line)).and_then(|()| stream.flush());
        }
        tracing::error!(%place, words, "panicked");
    }));
}

fn said(info: &PanicHookInfo<'_>) -> (String, &'static str) {
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    (place, info.payload().downcast_ref::<&'static str>().copied().unwrap_or("(the words are left out: they may quote a session)"))
}
