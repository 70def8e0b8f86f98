//! What a loop consumes, made ahead of it by other threads. Both ends of every channel live in here, so neither side can
//! wait for one that has gone: however the loop ends, its ends are dropped before its threads are waited for.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use crate::{Error, Result};

/// How far the threads run ahead.
#[derive(Clone, Copy, Debug)]
pub struct Ahead {
    /// Threads, at least one.
    pub threads: usize,
    /// Finished results of each that wait to be taken; it works at one more meanwhile.
    pub waiting: usize,
}

/// Results in the order of their jobs.
#[derive(Debug)]
pub struct Feed<T> {
    /// Of each thread, which has every so manieth job.
    results: Vec<Receiver<Result<T>>>,
    next: usize,
}

impl<T> Feed<T> {
    /// The result of the next job. It waits for it.
    ///
    /// # Errors
    /// Those of the work; [`Error::Fault`] behind the last job, and once its thread has ended with an error.
    pub fn next(&mut self) -> Result<T> {
        let turn = self.next % self.results.len().max(1);
        self.next += 1;
        let ended = || Error::Fault("more was asked of a thread than it had to do".into());
        self.results.get(turn).and_then(|results| results.recv().ok()).ok_or_else(ended)?
    }
}

/// Does `work` for every job on threads of its own, each with a state `S` of its own, while `take` takes the results in
/// the order of the jobs. The work stops when `take` returns.
///
/// # Errors
/// Those of `take`, which hears an error of a job when it asks for that job's result, and a panic as [`Error::Fault`]. So of
/// errors of both sides counts the one that the loop comes to first, in the order of the jobs.
pub fn in_order<J, S: Default, T: Send, R>(
    ahead: Ahead,
    jobs: impl Iterator<Item = J> + Clone + Send,
    work: impl Fn(&mut S, J) -> Result<T> + Sync,
    take: impl FnOnce(&mut Feed<T>) -> Result<R>,
) -> Result<R> {
    let threads = ahead.threads.max(1);
    thread::scope(|scope| {
        // It belongs to this closure, whose end, by whatever way, lets go of threads that wait to hand something over.
        let mut feed = Feed { results: Vec::with_capacity(threads), next: 0 };
        for turn in 0..threads {
            let (send, receive) = sync_channel(ahead.waiting);
            let (mut jobs, work) = (jobs.clone().skip(turn).step_by(threads), &work);
            let run = move || {
                let mut state = S::default();
                loop {
                    let done = caught(|| jobs.next().map(|job| work(&mut state, job)).transpose());
                    let failed = done.is_err();
                    // Sending fails when nobody waits any more.
                    let Some(done) = done.transpose() else { return };
                    if send.send(done).is_err() || failed {
                        return;
                    }
                }
            };
            thread::Builder::new().spawn_scoped(scope, run).map_err(|error| Error::io("a thread", error))?;
            feed.results.push(receive);
        }
        take(&mut feed)
    })
}

/// A panic of `work` as an error.
fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    // What it leaves behind is not used again.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(fault(panic.as_ref())))
}

/// What a thread that panicked has said.
pub fn fault(panic: &(dyn Any + Send)) -> Error {
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::Fault(format!("a thread ended: {}", said.unwrap_or("for no reason that it gave")))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const JOBS: usize = 9;

    fn ways() -> impl Iterator<Item = Ahead> {
        // Without room for what is finished, each hand-over is a rendezvous: nothing can be left behind in a channel.
        let of = |threads| [0, 1, 2, 20].map(|waiting| Ahead { threads, waiting });
        [1, 2, 3, 12].into_iter().flat_map(of)
    }

    fn broken(side: &str, at: usize) -> Error {
        Error::Input(format!("{side} {at}"))
    }

    /// Work that fails at one job, if at any, and a loop that fails behind one result.
    fn run(
        ahead: Ahead,
        work_fails: Option<usize>,
        panics: bool,
        loop_fails: Option<usize>,
    ) -> Result<Vec<usize>> {
        let work = |count: &mut usize, job: usize| {
            *count += 1;
            assert!(!(panics && work_fails == Some(job)), "panic {job}");
            if work_fails == Some(job) { Err(broken("work", job)) } else { Ok(job) }
        };
        in_order(ahead, 0..JOBS, work, |feed| {
            let mut taken = Vec::new();
            for at in 0..JOBS {
                taken.push(feed.next()?);
                if loop_fails == Some(at) {
                    return Err(broken("loop", at));
                }
            }
            Ok(taken)
        })
    }

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        for ahead in ways() {
            assert_eq!(run(ahead, None, false, None).unwrap(), (0..JOBS).collect::<Vec<_>>(), "{ahead:?}");
        }
    }

    #[test]
    fn whichever_side_fails_and_wherever_it_ends_with_the_error_that_the_loop_comes_to_first() {
        let places = || (0..JOBS).map(Some).chain([None]);
        for ahead in ways() {
            for (work, fails) in places().flat_map(|work| places().map(move |fails| (work, fails))) {
                let expected = match (work, fails) {
                    (None, None) => continue,
                    (Some(work), Some(fails)) if fails < work => format!("loop {fails}"),
                    (Some(work), _) => format!("work {work}"),
                    (None, Some(fails)) => format!("loop {fails}"),
                };
                let found = run(ahead, work, false, fails).unwrap_err().to_string();
                assert_eq!(found, expected, "{ahead:?}");
            }
        }
    }

    #[test]
    fn a_panic_of_the_work_is_an_error_and_one_of_the_loop_ends_the_threads() {
        for ahead in ways() {
            for at in 0..JOBS {
                let error = run(ahead, Some(at), true, None).unwrap_err();
                let fault = format!("panic {at}");
                assert!(matches!(&error, Error::Fault(text) if text.contains(&fault)), "{error}");
                let looped = catch_unwind(|| {
                    in_order(
                        ahead,
                        0..JOBS,
                        |(): &mut (), job| Ok(job),
                        |feed| -> Result<()> {
                            (0..=at).try_for_each(|_| feed.next().map(|_| ()))?;
                            panic!("loop {at}")
                        },
                    )
                });
                assert!(looped.is_err());
            }
        }
    }

    #[test]
    fn a_loop_that_wants_less_or_more_than_there_is_ends_too() {
        for ahead in ways() {
            let begun = AtomicUsize::new(0);
            let work = |(): &mut (), job: usize| {
                begun.fetch_add(1, Ordering::Relaxed);
                Ok(job)
            };
            let first = in_order(ahead, 0.., work, Feed::next).unwrap();
            assert_eq!(first, 0);
            let most = ahead.threads * (ahead.waiting + 2);
            assert!(begun.into_inner() <= most, "{ahead:?}");

            // An error that is not heeded does not bring the job back.
            let work = |(): &mut (), job: usize| if job == 1 { Err(broken("work", job)) } else { Ok(job) };
            let after = in_order(ahead, 0..JOBS, work, |feed| {
                (0..2 * JOBS).for_each(|_| drop(feed.next()));
                feed.next()
            });
            assert!(matches!(after, Err(Error::Fault(_))), "{after:?}");
        }
    }
}
