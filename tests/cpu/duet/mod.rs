//! The Duet3D printer: a server that is as strict as the firmware and fails as it can fail, and what is done with it.

mod cli;
mod client;
mod deploy;
mod server;
mod swap;

use std::time::Duration;

use lowbit::internals::edge::duet::{Deadlines, HOOK, HOOKED, MACRO, MACRO_NAME, Password, Session};
use server::Printer;

/// A password whose escapes differ from it.
const SECRET: &str = "hünter 2+%";
const SECRET_ESCAPED: &str = "h%C3%BCnter%202%2B%25";

/// A user's file, with the line endings of Windows and without a last one.
const LAYERS: &[u8] = b"; mine\r\nM117 layer \xe2\x98\x83\r\nM106 S255";

fn quick() -> Deadlines {
    Deadlines {
        transfer: Duration::from_secs(5),
        swap: Duration::from_secs(5),
        pause: Duration::from_millis(1),
    }
}

fn open(printer: &Printer, password: &str, deadlines: Deadlines) -> lowbit::internals::Result<Session> {
    Session::open(&printer.url().parse().unwrap(), Password::from(password), deadlines)
}

/// The user's file behind the hook.
fn hooked(before: &[u8]) -> Vec<u8> {
    [HOOK.as_bytes(), b"\r\n", before].concat()
}

/// Whether a text has the password in any form.
fn has_secret(text: &str) -> bool {
    ["hünter", "h%C3%BC", "h%c3%bc", SECRET, SECRET_ESCAPED, "password="]
        .iter()
        .any(|form| text.contains(form))
}
