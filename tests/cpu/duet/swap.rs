//! Swaps, in time and late.

use std::time::{Duration, Instant};

use lowbit::internals::edge::duet::{Constants, Deadlines, Status, Swap, swap};

use super::server::{Fault, Printer, When};
use super::*;

const LINE: &str = "gcode M573 P0.05 Q0.3";

fn printer() -> Printer {
    let printer = Printer::new(&[(MACRO_NAME, MACRO.as_bytes())]);
    printer.state().password = SECRET.into();
    printer
}

fn swapped(printer: &Printer, deadlines: Deadlines) -> Swap {
    let session = open(printer, SECRET, deadlines).unwrap();
    swap(&session, Constants::new(0.05, 0.3).unwrap())
}

/// Long enough to answer in, and short for replies that do not come.
fn patient() -> Deadlines {
    Deadlines { transfer: Duration::from_millis(500), ..quick() }
}

#[test]
fn a_swap_is_sent_once_and_confirmed() {
    let printer = printer();
    // What was said before is not taken for the answer.
    printer.state().reply = "Error: heater 1 fault\n".into();
    let done = swapped(&printer, patient());
    assert_eq!((done.status, done.confirmed, done.buffer), (Status::Success, true, Some(237)), "{done:?}");
    assert_eq!(done.reply.as_deref(), Some("M573: tau 0.05 s, gamma 0.3"));
    assert_eq!(printer.state().lines, ["M573 P0.05 Q0.3"]);
    assert!(done.milliseconds > 0.0 && done.problem.is_none());
    assert!(printer.state().violations.is_empty() && printer.state().sessions.is_empty());
}

#[test]
fn a_refusal_is_an_error_and_a_full_buffer_is_none() {
    let printer = printer();
    let answers = |answer: &str| {
        printer.state().gcode = Some(answer.to_owned());
        swapped(&printer, patient())
    };
    let refused = answers("{\"err\":1}");
    assert_eq!(refused.status, Status::Error);
    assert!(refused.problem.unwrap().contains("the constants are the old ones"));
    // It has been taken, and fills the buffer.
    let full = answers("{\"buff\":0}");
    assert_eq!((full.status, full.buffer, full.confirmed), (Status::Success, Some(0), false));
    assert!(full.problem.unwrap().contains("no reply yet"));
    for answer in ["{}", "[]", "{\"buff\":-1}", "{\"buff\":\"x\"}", "", "{\"buff\":", "{\"err\":0}"] {
        assert_eq!(answers(answer).status, Status::TimeoutWarning, "{answer}");
    }
}

#[test]
fn what_the_printer_says_counts() {
    let printer = printer();
    printer.state().files.clear();
    let done = swapped(&printer, patient());
    assert_eq!(done.status, Status::Error, "{done:?}");
    assert!(done.reply.unwrap().contains("not supported"));
    // Older firmware has an M573 of its own.
    let old = said("reprap", &["Average heater 0 PWM: 0.000"]);
    assert!(
        old.status == Status::Success
            && !old.confirmed
            && old.problem.unwrap().contains("nothing that it said")
    );
    assert_eq!(said("reprap", &["  Error: M573: P (tau) must be"]).status, Status::Error);
    // Neither escapes of terminals nor the password are passed on.
    let odd = said(SECRET, &["\u{1b}[31mhünter 2+%\u{7} it"]);
    assert_eq!(odd.reply.as_deref(), Some("[31m*** it"));
    // That of printers which have none is no secret.
    assert_eq!(said("reprap", &["reprap it"]).reply.as_deref(), Some("reprap it"));
}

/// A swap on a printer that takes any line, and then says these, one behind the other.
fn said(password: &str, replies: &[&str]) -> Swap {
    let printer = Printer::new(&[]);
    {
        let mut state = printer.state();
        (state.gcode, state.password) = (Some("{\"buff\":100}".into()), password.into());
    }
    let session = open(&printer, password, patient()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let wait = |ready: &dyn Fn() -> bool| {
                (0..2000).take_while(|_| !ready()).for_each(|_| std::thread::sleep(Duration::from_millis(1)));
            };
            wait(&|| printer.state().requests.iter().any(|what| what == LINE));
            for reply in replies {
                wait(&|| printer.state().reply.is_empty());
                printer.state().reply = (*reply).into();
            }
        });
        swap(&session, Constants::new(0.05, 0.3).unwrap())
    })
}

#[test]
fn replies_of_others_decide_nothing() {
    // The hook of a layer announces the old constants, a heater fails, and then the macro runs.
    let new = "M573: tau 0.05 s, gamma 0.3";
    for before in ["M573: tau 0.02 s, gamma 0.1\n", "Error: Heater 2 fault\n", "Warning: M5730 is odd\n"] {
        for replies in [&[before, new][..], &[&format!("{before}{new}\n")], &[&format!("{new}\n{before}")]] {
            let done = said("reprap", replies);
            assert_eq!((done.status, done.confirmed), (Status::Success, true), "{replies:?}: {done:?}");
            assert!(done.problem.is_none(), "{done:?}");
        }
        let open = said("reprap", &[before]);
        assert_eq!((open.status, open.confirmed), (Status::Success, false), "{open:?}");
        assert!(open.problem.unwrap().contains("nothing that it said announces them"));
    }
    for replies in [
        &["Layer 4\nError: M573: Command is not supported"][..],
        &["M573: tau 0.02 s, gamma 0.1", "Layer 4", "Error: in file M573.g line 9: no"],
    ] {
        let failed = said("reprap", replies);
        assert_eq!((failed.status, failed.confirmed), (Status::Error, false), "{failed:?}");
        assert!(failed.problem.unwrap().contains("its constants are the old ones"));
    }
}

#[test]
fn an_old_reply_that_comes_again_is_not_the_answer() {
    // The macro is gone, and it had announced the same constants; other clients are open, so that this is kept for them.
    let printer = printer();
    {
        let mut state = printer.state();
        state.files.clear();
        state.other_sessions = 3;
        state.reply = "M573: tau 0.05 s, gamma 0.3\n".into();
    }
    let done = swapped(&printer, patient());
    assert_eq!((done.status, done.confirmed), (Status::Error, false), "{done:?}");
    assert!(done.reply.unwrap().starts_with("Warning"));
}

#[test]
fn a_password_in_the_numbers_does_not_hide_an_announcement() {
    let done = said("5", &["M573: tau 0.05 s, gamma 0.3"]);
    assert!(done.confirmed, "{done:?}");
    assert_eq!(done.reply.as_deref(), Some("M***73: tau 0.0*** s, gamma 0.3"));
}

#[test]
fn what_is_late_or_lost_may_have_been_taken() {
    for (fault, taken) in [
        (Fault::Late, true),
        (Fault::LateBefore, false),
        (Fault::Trickle, true),
        (Fault::DropAfter, true),
        (Fault::DropHeaders, true),
        (Fault::DropBody, true),
        (Fault::DropBefore, false),
        (Fault::Done503, true),
        (Fault::Garbage, true),
        (Fault::Empty, true),
        (Fault::Endless, true),
        (Fault::NoHttp, true),
    ] {
        let printer = printer();
        printer.fail(When::Named(LINE), fault);
        let started = Instant::now();
        let deadlines = Deadlines { swap: Duration::from_millis(50), ..patient() };
        let late = swapped(&printer, deadlines);
        assert_eq!(late.status, Status::TimeoutWarning, "{fault:?}: {late:?}");
        let problem = late.problem.unwrap();
        assert!(problem.contains("may have taken") && !has_secret(&problem), "{fault:?}: {problem}");
        if matches!(fault, Fault::Late | Fault::LateBefore | Fault::Trickle) {
            assert!(late.milliseconds >= 49.0, "{fault:?}: {} ms", late.milliseconds);
            assert!(problem.contains("no answer within 50 ms"), "{problem}");
        }
        assert_eq!(late.confirmed, taken || fault == Fault::LateBefore, "{fault:?} {:?}", started.elapsed());
        // It is never sent twice.
        assert_eq!(printer.state().requests.iter().filter(|what| *what == LINE).count(), 1, "{fault:?}");
    }
}

#[test]
fn a_status_that_refuses_is_an_error() {
    for fault in [
        Fault::Err1,
        Fault::Status(401),
        Fault::Status(403),
        Fault::Status(404),
        Fault::Status(500),
        Fault::Redirect,
    ] {
        let printer = printer();
        printer.fail(When::Named(LINE), fault);
        let refused = swapped(&printer, patient());
        assert_eq!((refused.status, refused.reply), (Status::Error, None), "{fault:?}");
        assert!(printer.state().lines.is_empty());
    }
}
