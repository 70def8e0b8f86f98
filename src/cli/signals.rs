//! Signals that end the tool, SIGINT and SIGTERM: at once, or when a command that asked for them has kept what it has.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Ends the process at a signal as if nobody listened, but for hidden files of outputs that are not whole: they are removed. A signal
/// that the process was started to ignore stays ignored.
#[cfg(unix)]
pub fn end_at_once() -> io::Result<()> {
    use lowbit::internals::io::output::remove_unfinished;
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    let heeded: Vec<i32> = [SIGINT, SIGTERM].into_iter().filter(|&signal| !is_ignored(signal)).collect();
    let mut signals = Signals::new(heeded)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in &mut signals {
            if !ENDS_BY_ITSELF.load(Ordering::SeqCst) {
                remove_unfinished();
                // What it returns for is a signal that has no such handler; these have one.
                let _ = emulate_default_handler(signal);
            }
        }
    })?;
    Ok(())
}

/// The same where signals are no files' matter.
#[cfg(not(unix))]
pub fn end_at_once() -> io::Result<()> {
    Ok(())
}

/// Whether a command waits for a signal by [`stop`].
static ENDS_BY_ITSELF: AtomicBool = AtomicBool::new(false);

/// What the first signal sets, for a command that then ends by itself; a second one ends the process at once.
///
/// # Errors
/// Those of the system.
pub fn stop() -> io::Result<Arc<AtomicBool>> {
    ENDS_BY_ITSELF.store(true, Ordering::SeqCst);
    let stop = Arc::new(AtomicBool::new(false));
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        // In this order: the first signal finds the flag not yet set.
        flag::register_conditional_shutdown(signal, code, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Whether the process was started to ignore a signal, as shells start what runs in the background. Only Linux says so without unsafe code.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}
