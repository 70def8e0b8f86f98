//! `lowbit edge deploy` and `lowbit edge swap`, as their users meet them.

use std::process::Command;

use serde_json::Value;

use super::server::{Fault, Printer, When};
use super::*;

const DONE: i32 = 0;
const GATE: i32 = 1;
const BAD_INPUT: i32 = 2;
const PEER: i32 = 3;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs the tool with the password of these tests in LOWBIT_TEST_SECRET. The password is never seen.
fn lowbit(arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lowbit"));
    command.arg("edge").args(arguments).env("LOWBIT_TEST_SECRET", SECRET).env_remove("LOWBIT_TEST_UNSET");
    // A proxy that is not there, to be left alone.
    command.env("http_proxy", "http://127.0.0.1:9").env("ALL_PROXY", "http://127.0.0.1:9");
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let ran = Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) };
    assert!(!has_secret(&ran.out) && !has_secret(&ran.err), "{arguments:?}: {}{}", ran.out, ran.err);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    ran
}

/// With the password of these tests.
fn known(command: &str, printer: &Printer, rest: &[&str]) -> Ran {
    let host = printer.url();
    lowbit(&[&[command, "--host", &host, "--password-env", "LOWBIT_TEST_SECRET"], rest].concat())
}

fn refused(ran: &Ran, code: i32, word: &str) {
    assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
    assert!(
        ran.err.starts_with("error: ") && ran.err.lines().count() <= 2 && ran.err.contains(word),
        "{}",
        ran.err
    );
}

fn printer() -> Printer {
    let printer = Printer::new(&[(HOOKED, LAYERS)]);
    printer.state().password = SECRET.into();
    printer
}

#[test]
fn deploy_says_first_and_does_then() {
    let printer = printer();
    let dry = known("deploy", &printer, &[]);
    assert_eq!(dry.code, DONE, "{}", dry.err);
    for word in [
        HOOK,
        "nothing was written; --yes does it",
        "there is none",
        "back up",
        "would be written",
        MACRO_NAME,
    ] {
        assert!(dry.out.contains(word), "{word}: {}", dry.out);
    }
    assert_eq!(printer.file(HOOKED).unwrap(), LAYERS);
    let json = known("deploy", &printer, &["--yes", "--json"]);
    let document: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((json.code, &document["changed"], &document["write"]), (DONE, &true.into(), &true.into()));
    assert_eq!(document["steps"].as_array().unwrap().len(), 5, "{document}");
    assert_eq!(printer.file(HOOKED).unwrap(), hooked(LAYERS));
    let again = known("deploy", &printer, &["--yes"]);
    assert!(again.code == DONE && again.out.contains("nothing was written"), "{}", again.out);
    assert!(printer.state().sessions.is_empty());
}

#[test]
fn what_the_users_file_calls_is_said_quietly_too() {
    let printer = printer();
    printer.state().files.insert(HOOKED.into(), b"M98 P\"sys/M573.g\"\n".to_vec());
    let ran = known("deploy", &printer, &["--quiet"]);
    assert!(ran.code == DONE && ran.out.contains("line 1 calls another file"), "{}", ran.out);
    printer.state().files.remove(HOOKED);
    let ran = known("deploy", &printer, &[]);
    assert!(ran.err.contains("M98 P\"beforeLayerChange.g\""), "{}", ran.err);
}

#[test]
fn help_says_what_must_be_known() {
    for (command, words) in [
        ("deploy", &["M98 P\"beforeLayerChange.g\"", "sets its clock", "UTC"][..]),
        ("swap", &["TIMEOUT_WARNING: exit code 1", "ERROR: exit code 3", "sets its clock"]),
    ] {
        let ran = lowbit(&[command, "--help"]);
        for word in words {
            assert!(ran.out.contains(word), "{word}: {}", ran.out);
        }
    }
}

#[test]
fn deploy_fails_with_the_state_that_it_leaves() {
    let printer = printer();
    printer.fail(When::Named("upload sys/beforeLayerChange.g.lowbit-new"), Fault::Err1);
    let ran = known("deploy", &printer, &["--yes", "--json"]);
    refused(&ran, PEER, "sys/beforeLayerChange.g was not written: it answered {\"err\":1} (");
    refused(&ran, PEER, "look at its card, and try again; it is as it was");
    assert_eq!(ran.out, "");
    assert_eq!(printer.file(HOOKED).unwrap(), LAYERS);
}

#[test]
fn swap_has_three_ends() {
    let printer = printer();
    printer.state().files.insert(MACRO_NAME.into(), MACRO.into());
    let constants = ["--tau", "0.05", "--gamma", "0.3"];
    let dry = known("swap", &printer, &constants);
    assert!(dry.code == DONE && dry.out.contains("M573 P0.05 Q0.3\nnothing was sent"), "{}", dry.out);
    let dry = known("swap", &printer, &[&constants[..], &["--json"]].concat());
    assert_eq!(serde_json::from_str::<Value>(&dry.out).unwrap()["status"], Value::Null);
    assert!(printer.state().lines.is_empty());

    let sent = [&constants[..], &["--yes", "--json"]].concat();
    // The 50 ms are real, and other work runs on this machine.
    let document = (0..10)
        .map(|_| known("swap", &printer, &sent))
        .find(|ran| ran.code == DONE)
        .map(|ran| serde_json::from_str::<Value>(&ran.out).unwrap())
        .unwrap();
    assert_eq!(
        (&document["status"], &document["confirmed"]),
        (&"SUCCESS".into(), &true.into()),
        "{document}"
    );
    assert!(document["milliseconds"].as_f64().unwrap() < 51.0 && document["budget_milliseconds"] == 50.0);
    assert_eq!((&document["tau"], &document["gamma"]), (&0.05.into(), &0.3.into()));

    printer.fail(When::Named("gcode M573 P0.05 Q0.3"), Fault::Late);
    let late = known("swap", &printer, &sent);
    refused(
        &late,
        GATE,
        "TIMEOUT_WARNING: no answer within 50 ms; the printer may have taken the constants, or not",
    );
    assert_eq!(serde_json::from_str::<Value>(&late.out).unwrap()["status"], "TIMEOUT_WARNING");
    let late = known("swap", &printer, &[&constants[..], &["--yes"]].concat());
    assert!(late.out.contains("TIMEOUT_WARNING: ") && late.out.contains("of 50 ms"), "{}", late.out);

    printer.fail(When::Named("gcode M573 P0.05 Q0.3"), Fault::Status(500));
    let refusal = known("swap", &printer, &sent);
    if refusal.code != GATE {
        refused(&refusal, PEER, "ERROR: HTTP 500");
        assert_eq!(serde_json::from_str::<Value>(&refusal.out).unwrap()["status"], "ERROR");
    }
}

#[test]
fn what_is_wrong_is_refused_before_anything_is_sent() {
    let printer = printer();
    let url = printer.url();
    for (tau, gamma, word) in [
        ("0.0009", "0.3", "tau must be 0.001 to 0.5 s"),
        ("0.51", "0.3", "tau must be"),
        ("-0.05", "0.3", "tau must be"),
        ("nan", "0.3", "tau must be"),
        ("0.05", "1.1", "gamma must be 0 to 1"),
        ("0.05", "inf", "gamma must be"),
    ] {
        let ran = lowbit(&["swap", "--host", &url, "--tau", tau, "--gamma", gamma, "--yes"]);
        refused(&ran, BAD_INPUT, word);
    }
    for (host, word) in [
        ("https://duet.local", "plain HTTP"),
        ("http://me:hünter 2+%@duet.local", "--password-env"),
        ("http://duet.local/rr_connect?password=hünter 2+%", "end behind the host"),
        ("hünter 2+%", "no URL"),
        ("http://", "no name"),
    ] {
        refused(&lowbit(&["deploy", "--host", host]), BAD_INPUT, word);
    }
    refused(
        &lowbit(&["deploy", "--host", &url, "--password-env", "LOWBIT_TEST_UNSET"]),
        BAD_INPUT,
        "the environment variable LOWBIT_TEST_UNSET is not set",
    );
    assert!(printer.state().requests.is_empty());
    // That of a printer without a password is tried where none is named.
    refused(&lowbit(&["deploy", "--host", &url]), PEER, "it refused the password");
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    refused(
        &lowbit(&["deploy", "--host", &format!("http://{address}"), "--json"]),
        PEER,
        "connection refused",
    );
    printer.state().password = "reprap".into();
    assert_eq!(lowbit(&["deploy", "--host", &url]).code, DONE);
}
