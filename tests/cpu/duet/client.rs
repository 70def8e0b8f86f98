//! Requests, and how they fail.

use std::time::Duration;

use lowbit::internals::edge::duet::{Deadlines, deploy};

use super::server::{Fault, Printer, When};
use super::*;

#[test]
fn a_session_is_opened_and_closed_by_its_key() {
    for keyless in [false, true] {
        let printer = Printer::new(&[]);
        printer.state().password = SECRET.into();
        printer.state().keyless = keyless;
        let session = open(&printer, SECRET, quick()).unwrap();
        assert_eq!(printer.state().sessions.len(), 1);
        assert!(!has_secret(&format!("{session:?}")));
        deploy(&session, false).unwrap();
        drop(session);
        let state = printer.state();
        assert!(state.sessions.is_empty() && state.violations.is_empty(), "{:?}", state.violations);
        assert_eq!(
            state.requests,
            [
                "connect",
                "download sys/M573.g",
                "download sys/beforeLayerChange.g",
                "download sys/beforeLayerChange.g.lowbit-new",
                "disconnect"
            ]
        );
    }
}

#[test]
fn a_session_that_is_refused_says_why() {
    let printer = Printer::new(&[]);
    let refused = |password: &str| {
        let error = open(&printer, password, quick()).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        let text = error.to_string();
        assert!(!has_secret(&text) && text.starts_with(&printer.url()), "{text}");
        text
    };
    assert!(refused(SECRET).contains("`password-env`"));
    assert!(refused(&"x".repeat(2000)).contains("1460 bytes"));
    printer.state().most_sessions = 0;
    assert!(refused("reprap").contains("no session free"));
    for (fault, word) in [
        (Fault::Status(404), "is this a Duet3D printer"),
        (Fault::Status(500), "HTTP 500"),
        (Fault::Status(503), "HTTP 503"),
        (Fault::Redirect, "redirects"),
        (Fault::Garbage, "cannot be read; is this a Duet3D printer?"),
        (Fault::WrongBytes, "cannot be read; is this a Duet3D printer?"),
        (Fault::NoHttp, "no HTTP; is this a Duet3D printer?"),
        (Fault::Endless, "larger than 1 MiB; is this a Duet3D printer?"),
        (Fault::DropBefore, "broke"),
        (Fault::DropHeaders, "broke"),
        (Fault::DropBody, "broke"),
    ] {
        printer.fail(When::Named("connect"), fault);
        assert!(refused("reprap").contains(word), "{fault:?}: {}", refused("reprap"));
    }
    // A passing shortage of buffers is waited for.
    printer.state().most_sessions = 8;
    printer.fail(When::Nth(0), Fault::Status(503));
    open(&printer, "reprap", quick()).unwrap();
    assert!(printer.state().violations.is_empty());
}

#[test]
fn a_deadline_is_over_the_whole_of_a_request() {
    let printer = Printer::new(&[]);
    let deadlines = Deadlines { transfer: Duration::from_millis(120), ..quick() };
    for fault in [Fault::Late, Fault::LateBefore, Fault::Trickle] {
        printer.fail(When::Named("connect"), fault);
        let text = open(&printer, "reprap", deadlines).unwrap_err().to_string();
        // The server answers in the end, and its trickle never pauses for long: without the deadline this would not fail.
        assert!(text.contains("no answer within 120 ms"), "{fault:?}: {text}");
    }
}

#[test]
fn a_printer_that_is_not_there_is_said_to_be() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let open = |host: &str| {
        let error = Session::open(&host.parse().unwrap(), Password::default(), quick()).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        error.to_string()
    };
    assert!(open(&format!("http://{address}")).contains("connection refused"));
    assert!(open("http://no-such-host.invalid").contains("no such host is known"));
}
