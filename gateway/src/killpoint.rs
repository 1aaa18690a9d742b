//! Moments at which a test has the process killed, to see what a power cut there leaves behind.
//!
//! `TIDEGATE_KILL_AT=after-begin` ends the process by SIGKILL when it first passes that point, `after-begin:3` at the third time.
//! Builds for release have none of this.

/// The process passes the point of this name.
#[cfg(not(debug_assertions))]
#[inline]
pub(crate) fn pass(_name: &str) {}

/// The process passes the point of this name.
#[cfg(debug_assertions)]
pub(crate) fn pass(name: &str) {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    };
    static WANTED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("TIDEGATE_KILL_AT").ok()?;
        let (name, nth) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), nth.parse().ok()?))
    });
    let Some((_, nth)) = wanted.as_ref().filter(|(wanted, _)| wanted == name) else { return };
    if PASSED.fetch_add(1, Relaxed) + 1 == *nth {
        let own = rustix::process::getpid();
        // If it cannot be killed, the test that waits for its end fails.
        rustix::process::kill_process(own, rustix::process::Signal::KILL).ok();
    }
}
