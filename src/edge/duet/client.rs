//! The HTTP interface of RepRapFirmware: one session, and its requests.
//!
//! Each request has a deadline over all of it: connection, request and answer. No redirect is followed, no proxy of the
//! environment is used, every request has a connection of its own (RepRapFirmware closes them), and nothing is repeated
//! but a read or an upload that was answered with 503, which the printer sends when it is short of buffers.

use std::env::{self, VarError};
use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use ureq::config::Config;
use ureq::http::{Request, Response};
use ureq::{Agent, AsSendBody, Body};

use super::Host;
use crate::Error;

/// Larger answers are refused: macros are small, and a wrong server must not fill the memory.
const LARGEST: usize = 1 << 20;
/// RepRapFirmware's buffer for a request: its line and its headers.
const REQUEST: usize = 1460;
/// What the method, the version and the headers take of that, at most.
const HEADERS: usize = 400;
/// How often a read or an upload is tried while the printer is short of buffers.
pub(super) const TRIES: usize = 4;
/// What RepRapFirmware takes where no password was set.
const NO_PASSWORD: &str = "reprap";
/// An answer to `rr_connect` that is none, such as the page of another web server.
const NO_PRINTER: &str =
    "its answer to rr_connect cannot be read; is this a Duet3D printer? Check the address and the port";

/// RepRapFirmware takes uppercase escapes only, and reads `+` as a space: nothing but these is sent as it is.
const ESCAPED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'/');

/// A printer's password. It is in no output and in no error.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// The password in the environment variable `name`.
    ///
    /// # Errors
    /// [`Error::Input`] if it is not set, or no text.
    pub fn from_env(name: &str) -> crate::Result<Self> {
        match env::var(name) {
            Ok(text) => Ok(Self(text)),
            Err(VarError::NotPresent) => Err(Error::Input(format!(
                "`password-env`: the environment variable {} is not set",
                name.escape_debug()
            ))),
            Err(VarError::NotUnicode(_)) => Err(Error::Input(format!(
                "`password-env`: the environment variable {} is not UTF-8",
                name.escape_debug()
            ))),
        }
    }
}

/// `reprap`, which RepRapFirmware takes where none was set.
impl Default for Password {
    fn default() -> Self {
        Self(NO_PASSWORD.to_owned())
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// How long to wait, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For every request but the swap's: from the connection to the last byte of the answer.
    pub transfer: Duration,
    /// For the G-code of a swap: from the connection to the last byte of the answer.
    pub swap: Duration,
    /// Between two tries.
    pub pause: Duration,
}

/// 2 s for transfers, 50 ms for a swap.
impl Default for Deadlines {
    fn default() -> Self {
        Self {
            transfer: Duration::from_secs(2),
            swap: Duration::from_millis(50),
            pause: Duration::from_millis(150),
        }
    }
}

/// Why a request failed. No text of the HTTP crate is in it: that may hold the URL, and so the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There was no connection: nothing was asked.
    Unreached(String),
    /// The printer said no, and did nothing.
    Refused(String),
    /// 503. It is sent when an answer finds no buffer, which can be after the printer did what was asked.
    Busy,
    /// No answer, or none that can be read: whether the printer did what was asked is not known.
    Lost(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreached(text) | Self::Refused(text) | Self::Lost(text) => f.write_str(text),
            Self::Busy => {
                f.write_str("it is short of buffers and stays so (HTTP 503); try again when it is less busy")
            }
        }
    }
}

/// What requests but downloads answer.
#[derive(Deserialize)]
struct Reply {
    err: Option<i64>,
    buff: Option<u64>,
    #[serde(rename = "sessionKey")]
    session_key: Option<u64>,
}

/// An answer, with any status.
struct Answer {
    status: u16,
    /// Whether its end was known: by a length, or by chunks.
    bounded: bool,
    body: Vec<u8>,
}

/// How requests go to a printer.
struct Wire {
    host: Host,
    address: SocketAddr,
    agent: Agent,
    key: Option<u64>,
}

/// A session with a printer. It is closed when it is dropped.
pub struct Session {
    wire: Wire,
    password: Password,
    pub(super) deadlines: Deadlines,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wire { host, address, .. } = &self.wire;
        f.debug_struct("Session").field("host", host).field("address", address).finish_non_exhaustive()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The printer forgets a session by itself, after some seconds.
        let _ = self.wire.send(self.deadlines.transfer / 4, "disconnect", &[], None);
    }
}

impl Session {
    /// Resolves the name, connects and gives the password.
    ///
    /// The password is in the URL of that request, as the firmware wants it. A program that has the HTTP crate log at the
    /// level `trace` would see it there; lowbit logs nothing. The time is in it too, in UTC: a printer whose clock is not
    /// set sets it by that, which is all that a session by itself changes.
    ///
    /// A name with several addresses is tried at each, within one deadline: an address that does not answer at all takes
    /// all of it, so that the next one is tried only where a connection was refused. Give the address then.
    ///
    /// # Errors
    /// [`Error::Peer`] if the printer cannot be reached, or refuses.
    pub fn open(host: &Host, password: Password, deadlines: Deadlines) -> crate::Result<Self> {
        let peer = |problem: String| Error::Peer { host: host.to_string(), problem };
        let config = Config::builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .max_response_header_size(16 << 10)
            // Pieces that a socket takes at once, so that the deadline is looked at between them.
            .output_buffer_size(8 << 10)
            .user_agent("lowbit")
            .accept_encoding("identity")
            .build();
        let agent = Agent::new_with_config(config);
        let started = Instant::now();
        let mut last = Fault::Unreached("it has no address".into());
        for address in host.addresses(deadlines.transfer).map_err(peer)? {
            let mut wire = Wire { host: host.clone(), address, agent: agent.clone(), key: None };
            let left = deadlines.transfer.saturating_sub(started.elapsed());
            match wire.connect(&password, Deadlines { transfer: left, ..deadlines }) {
                Ok(key) => {
                    wire.key = key;
                    return Ok(Self { wire, password, deadlines });
                }
                Err(fault @ Fault::Unreached(_)) => last = fault,
                Err(fault) => return Err(peer(fault.to_string())),
            }
        }
        Err(peer(last.to_string()))
    }

    /// Where the printer is.
    pub fn host(&self) -> &Host {
        &self.wire.host
    }

    /// An error of this printer.
    pub(super) fn peer(&self, problem: impl Into<String>) -> Error {
        Error::Peer { host: self.wire.host.to_string(), problem: problem.into() }
    }

    /// A file's bytes, or `None` if the printer says that there is no such file: 404 and nothing else.
    pub(super) fn download(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        let answer = self.patiently(|| self.send("download", &[("name", name)], None))?;
        match answer.status {
            404 => Ok(None),
            // The firmware always says how long a file is. Without that, a cut file would look whole.
            200 if !answer.bounded => Err(Fault::Lost("it sent a file without its length".into())),
            // No macro is JSON: this is an error where a file should be.
            200 if serde_json::from_slice::<Reply>(&answer.body).is_ok_and(|reply| reply.err.is_some()) => {
                Err(Fault::Refused("it sent {\"err\":…} instead of the file".into()))
            }
            200 => Ok(Some(answer.body)),
            status => Err(refused(status)),
        }
    }

    /// Uploads a file, over whatever has its name.
    pub(super) fn upload(&self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.is_empty() {
            return Err(Fault::Unreached("an empty file is never uploaded".into()));
        }
        let (time, crc32) = (timestamp(SystemTime::now()), crc32(bytes));
        let query = [("name", name), ("time", &time), ("crc32", &crc32)];
        self.patiently(|| agreed(&self.send("upload", &query, Some(bytes))?))
    }

    /// Renames a file. Another file of the new name is replaced, or in the way.
    pub(super) fn rename(&self, old: &str, new: &str, replace: bool) -> Result<(), Fault> {
        let query = [("old", old), ("new", new), ("deleteexisting", if replace { "yes" } else { "no" })];
        agreed(&self.send("move", &query, None)?)
    }

    /// Deletes a file.
    pub(super) fn delete(&self, name: &str) -> Result<(), Fault> {
        agreed(&self.send("delete", &[("name", name)], None)?)
    }

    /// Gives the printer a line of G-code, within the deadline of a swap, and says how much room its buffer has left.
    pub(super) fn gcode(&self, line: &str) -> Result<u64, Fault> {
        let reply = reply(&self.wire.send(self.deadlines.swap, "gcode", &[("gcode", line)], None)?)?;
        match (reply.err, reply.buff) {
            // The firmware counts what is left behind the line that it has taken, so 0 is no refusal.
            (None | Some(0), Some(left)) => Ok(left),
            (Some(err), _) if err != 0 => Err(Fault::Refused(format!(
                "it did not take the line ({{\"err\":{err}}}): its G-code buffer is full; try again"
            ))),
            _ => Err(Fault::Lost("its answer cannot be read".into())),
        }
    }

    /// What G-code has said since the last call, without control characters. It may hold the password: [`Session::shown`]
    /// is what may be printed.
    ///
    /// RepRapFirmware has one store of replies for all channels, and keeps each until every session has fetched it. A fetch
    /// counts as any session's, so that this may take a reply away from another client, and get one twice.
    pub(super) fn replies(&self) -> Result<String, Fault> {
        let answer = self.send("reply", &[], None)?;
        if answer.status != 200 {
            return Err(refused(answer.status));
        }
        let text = String::from_utf8_lossy(&answer.body);
        let text: String = text.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
        Ok(text.trim().to_owned())
    }

    /// A text of the printer without the password, in either form. That of printers which have none is no secret.
    pub(super) fn shown(&self, text: &str) -> String {
        let Password(secret) = &self.password;
        if secret.is_empty() || secret == NO_PASSWORD {
            return text.to_owned();
        }
        text.replace(secret, "***").replace(&escaped(secret), "***")
    }

    fn send(&self, request: &str, query: &[(&str, &str)], body: Option<&[u8]>) -> Result<Answer, Fault> {
        self.wire.send(self.deadlines.transfer, request, query, body)
    }

    /// Repeats what may be repeated.
    fn patiently<T>(&self, ask: impl FnMut() -> Result<T, Fault>) -> Result<T, Fault> {
        patiently(self.deadlines.pause, ask)
    }
}

/// Repeats what may be repeated while the printer is short of buffers.
fn patiently<T>(pause: Duration, mut ask: impl FnMut() -> Result<T, Fault>) -> Result<T, Fault> {
    for _ in 1..TRIES {
        match ask() {
            Err(Fault::Busy) => std::thread::sleep(pause),
            done => return done,
        }
    }
    ask()
}

impl Wire {
    /// Opens a session, and gives its key if there is one.
    fn connect(&self, password: &Password, deadlines: Deadlines) -> Result<Option<u64>, Fault> {
        let time = timestamp(SystemTime::now());
        let query = [("password", password.0.as_str()), ("time", &time), ("sessionKey", "yes")];
        let ask = || self.send(deadlines.transfer, "connect", &query, None);
        let answer = patiently(deadlines.pause, ask)?;
        let reply = reply(&answer).map_err(|fault| match fault {
            Fault::Lost(_) => Fault::Lost(NO_PRINTER.into()),
            fault => fault,
        })?;
        match reply.err {
            // A key of 0 is none.
            Some(0) => Ok(reply.session_key.filter(|&key| key != 0)),
            Some(1) => Err(Fault::Refused(
                "it refused the password; name the environment variable that holds the right one by `password-env`".into(),
            )),
            Some(2) => Err(Fault::Refused(
                "it has no session free; close its web page elsewhere, or try again in ten seconds".into(),
            )),
            Some(err) => Err(Fault::Refused(format!("it refused the session ({{\"err\":{err}}})"))),
            None => Err(Fault::Lost(NO_PRINTER.into())),
        }
    }

    /// Sends one request. The answer has any status but 503.
    fn send(
        &self,
        deadline: Duration,
        request: &str,
        query: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Answer, Fault> {
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let path = format!("/rr_{request}?{}", query.join("&"));
        let path = path.trim_end_matches('?');
        if path.len() + HEADERS > REQUEST {
            let problem =
                format!("rr_{request} would be longer than the {REQUEST} bytes that it reads of a request");
            return Err(Fault::Unreached(problem));
        }
        if deadline.is_zero() {
            return Err(Fault::Unreached("no time was left to connect".into()));
        }
        // By its address: the name was resolved once, and looking it up is in no deadline.
        let mut parts = Request::builder()
            .method(if body.is_some() { "POST" } else { "GET" })
            .uri(format!("http://{}{path}", self.address))
            .header("host", self.host.authority());
        if let Some(key) = self.key {
            parts = parts.header("x-session-key", key.to_string());
        }
        let mut response = match body {
            None => self.run(parts.body(()), deadline),
            Some(bytes) => self.run(parts.body(bytes), deadline),
        }?;
        if response.status() == 503 {
            return Err(Fault::Busy);
        }
        let (status, bounded) = (response.status().as_u16(), bounded(&response)?);
        let mut body = Vec::new();
        let read = response.body_mut().as_reader().take(LARGEST as u64 + 1).read_to_end(&mut body);
        read.map_err(|error| fault(&error.into(), deadline))?;
        if body.len() > LARGEST {
            return Err(Fault::Lost(format!(
                "its answer is larger than {} MiB; is this a Duet3D printer? Check the address and the port",
                LARGEST >> 20
            )));
        }
        Ok(Answer { status, bounded, body })
    }

    fn run<B: AsSendBody>(
        &self,
        request: Result<Request<B>, ureq::http::Error>,
        deadline: Duration,
    ) -> Result<Response<Body>, Fault> {
        let request = request.map_err(|_| Fault::Unreached("the request cannot be written".into()))?;
        let request = self.agent.configure_request(request).timeout_global(Some(deadline)).build();
        self.agent.run(request).map_err(|error| fault(&error, deadline))
    }
}

/// Whether the end of a body is known by more than the end of the connection.
fn bounded(response: &Response<Body>) -> Result<bool, Fault> {
    let headers = response.headers();
    if headers.get("content-encoding").is_some_and(|encoding| encoding != "identity") {
        return Err(Fault::Lost("it packed its answer, which was not asked for".into()));
    }
    Ok(headers.contains_key("content-length") || headers.contains_key("transfer-encoding"))
}

/// What went wrong, in words of our own.
fn fault(error: &ureq::Error, deadline: Duration) -> Fault {
    use std::io::ErrorKind;
    match error {
        ureq::Error::Timeout(_) => {
            Fault::Lost(format!("no answer within {:.0} ms", deadline.as_secs_f64() * 1e3))
        }
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused => Fault::Unreached(
                "nothing listens there (connection refused); check the address and the port".into(),
            ),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
                Fault::Unreached("it cannot be reached; check the address and the network".into())
            }
            _ => Fault::Lost("the connection broke before its answer was whole".into()),
        },
        ureq::Error::LargeResponseHeader(..) => {
            Fault::Lost("its answer is too large; is this a Duet3D printer?".into())
        }
        ureq::Error::ConnectionFailed => Fault::Unreached("it cannot be reached".into()),
        _ => Fault::Lost(
            "its answer is no HTTP; is this a Duet3D printer? Check the address and the port".into(),
        ),
    }
}

/// A status that says no.
fn refused(status: u16) -> Fault {
    let meaning = match status {
        401 | 403 => ": it does not know the session, which may have ended",
        300..=399 => ": it redirects, which is not followed; give the printer's own address",
        404 => ": it does not know the request; is this a Duet3D printer?",
        _ => "",
    };
    Fault::Refused(format!("HTTP {status}{meaning}"))
}

/// An answer as JSON.
fn reply(answer: &Answer) -> Result<Reply, Fault> {
    if answer.status != 200 {
        return Err(refused(answer.status));
    }
    serde_json::from_slice(&answer.body).map_err(|_| Fault::Lost("its answer cannot be read".into()))
}

/// Whether an answer is `{"err":0}`.
fn agreed(answer: &Answer) -> Result<(), Fault> {
    match reply(answer)?.err {
        Some(0) => Ok(()),
        Some(err) => Err(Fault::Refused(format!(
            "it answered {{\"err\":{err}}} (a card that is full or protected, or a broken upload); look at its card, and try again"
        ))),
        None => Err(Fault::Lost("its answer cannot be read".into())),
    }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, &ESCAPED).to_string()
}

/// The CRC-32 of zlib, as RepRapFirmware reads it.
pub(super) fn crc32(bytes: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(bytes))
}

/// A time as RepRapFirmware reads it, in UTC.
fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{:02}-{:02}T{hour:02}:{minute:02}:{:02}", month + 1, days + 1, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_uppercase_and_leave_no_plus_or_space() {
        assert_eq!(escaped("M573 P0.05 Q1+ä"), "M573%20P0.05%20Q1%2B%C3%A4");
        assert_eq!(escaped("sys/M573.g"), "sys/M573.g");
        assert_eq!(escaped("&=?#%\"\r\n"), "%26%3D%3F%23%25%22%0D%0A");
    }

    #[test]
    fn times_and_checksums_are_those_of_the_firmware() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_735_689_599, "2024-12-31T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
        assert_eq!(crc32(b"123456789"), "cbf43926");
        assert_eq!(crc32(b"\x2c\x1d"), format!("{:08x}", crc32fast::hash(b"\x2c\x1d")));
    }

    #[test]
    fn a_password_is_not_shown() {
        assert!(!format!("{:?}", Password::from("hunter2")).contains("hunter2"));
    }
}
