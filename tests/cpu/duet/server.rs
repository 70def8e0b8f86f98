//! A printer that speaks RepRapFirmware's HTTP, strictly, and fails when it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The firmware's buffer for the line and the headers of a request.
const REQUEST: usize = 1460;
/// Longer than any deadline of a test that is meant to pass it.
pub const LATE: Duration = Duration::from_millis(400);

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// HTTP 200 with `{"err":1}`; nothing is done.
    Err1,
    /// Another status; nothing is done.
    Status(u16),
    /// It is done, but there is no buffer for the answer.
    Done503,
    /// The printer dies: a rename has only deleted what was in its way, nothing else is done, and nothing is answered
    /// any more.
    Dies,
    /// A rename has only deleted what was in its way, and says so; nothing else is done.
    HalfMoved,
    /// The connection is closed; nothing is done.
    DropBefore,
    /// It is done, and the connection is closed.
    DropAfter,
    /// It is done, and the connection is closed among the headers.
    DropHeaders,
    /// The connection is closed in the middle of an upload, or of the answer of anything else.
    DropBody,
    /// It is done, and the answer comes late.
    Late,
    /// It is done late.
    LateBefore,
    /// It is done, and the answer comes a byte at a time.
    Trickle,
    /// It is done, and the answer is no JSON; a file is sent as it is.
    Garbage,
    /// It is done, and the answer is nothing at all.
    Empty,
    /// It is done, and the answer is no HTTP.
    NoHttp,
    /// A redirect to the same place.
    Redirect,
    /// It is done, and the answer never ends.
    Endless,
    /// A file with one byte changed.
    WrongBytes,
    /// Half of a file, sent or stored as if it were whole. A rename that leaves half of it.
    Truncate,
    /// It is done, and the answer has no length: a file could be cut.
    Unbounded,
}

/// Which requests a fault is for.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Of all, from 0.
    Nth(usize),
    /// This one and all behind it.
    From(usize),
    /// All with this description, such as `download sys/M573.g`.
    Named(&'static str),
}

#[derive(Default)]
pub struct State {
    pub files: BTreeMap<String, Vec<u8>>,
    pub password: String,
    /// Whether sessions have keys; else they are known by address.
    pub keyless: bool,
    /// Whether an upload writes into the file itself, as old firmware does, and a broken one leaves it cut.
    pub truncating: bool,
    pub sessions: BTreeSet<u64>,
    pub most_sessions: usize,
    pub fault: Option<(When, Fault)>,
    /// What `rr_gcode` answers, if not what the firmware does.
    pub gcode: Option<String>,
    pub reply: String,
    /// Sessions of other clients, each of which has to fetch a reply before it is forgotten. They never do, so that every
    /// fetch counts for one of them.
    pub other_sessions: usize,
    fetched: usize,
    /// Every request that was read, in order.
    pub requests: Vec<String>,
    /// What G-code was taken.
    pub lines: Vec<String>,
    /// What no client may do.
    pub violations: Vec<String>,
    dead: bool,
    accepted: usize,
    opened: u64,
}

pub struct Printer {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Printer {
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = Arc::new(Mutex::new(State {
            files: files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect(),
            password: "reprap".into(),
            most_sessions: 8,
            ..State::default()
        }));
        let ended = Arc::new(AtomicBool::new(false));
        let address = listener.local_addr().unwrap();
        let (of_thread, end) = (state.clone(), ended.clone());
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let state = of_thread.clone();
                let index = {
                    let mut state = state.lock().unwrap();
                    state.accepted += 1;
                    state.accepted - 1
                };
                thread::spawn(move || serve(stream, index, &state));
            }
        });
        Self { address, state, ended, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn fail(&self, when: When, fault: Fault) {
        let mut state = self.state();
        state.accepted = 0;
        state.dead = false;
        state.fault = Some((when, fault));
    }

    /// No fault any more, and so much later that all sessions have ended.
    pub fn heal(&self) {
        let mut state = self.state();
        state.fault = None;
        state.dead = false;
        state.sessions.clear();
    }

    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        self.state().files.get(name).cloned()
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Request {
    post: bool,
    /// Behind `/rr_`.
    name: String,
    query: BTreeMap<String, String>,
    key: Option<u64>,
    length: Option<usize>,
    /// What came of the body with the headers.
    rest: Vec<u8>,
}

/// A status, a body, and whether it is JSON.
struct Answer(u16, Vec<u8>);

impl Answer {
    fn json(text: impl Into<String>) -> Self {
        Self(200, text.into().into_bytes())
    }
}

fn serve(mut stream: TcpStream, index: usize, state: &Mutex<State>) {
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let request = match read(&mut stream) {
        Ok(Some(request)) => request,
        Ok(None) => return,
        Err((status, problem)) => {
            state.lock().unwrap().violations.push(problem);
            return send(&mut stream, &Answer(status, Vec::new()), false);
        }
    };
    let what = describe(&request);
    let fault = {
        let mut state = state.lock().unwrap();
        if state.dead {
            return;
        }
        state.requests.push(what.clone());
        state.fault.filter(|(when, _)| match when {
            When::Nth(n) => index == *n,
            When::From(n) => index >= *n,
            When::Named(name) => *name == what,
        })
    };
    let (once, fault) = (matches!(fault, Some((When::Nth(_), _))), fault.map(|(_, fault)| fault));
    let mut body = request.rest.clone();
    let length = request.length.unwrap_or(0);
    let stop = if fault == Some(Fault::DropBody) && request.post { length / 2 } else { length };
    while body.len() < stop {
        let mut piece = vec![0; stop - body.len()];
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => body.extend_from_slice(&piece[..count]),
        }
    }
    body.truncate(stop);
    match fault {
        Some(Fault::Err1) => return send(&mut stream, &Answer::json("{\"err\":1}"), false),
        Some(Fault::Status(status)) => return send(&mut stream, &Answer(status, b"no".to_vec()), false),
        Some(Fault::DropBefore) => return,
        Some(Fault::Dies | Fault::HalfMoved) => {
            let mut state = state.lock().unwrap();
            let known = state.sessions.contains(&request.key.unwrap_or(0));
            if known && request.name == "move" && request.query["deleteexisting"] == "yes" {
                state.files.remove(&request.query["new"]);
            }
            state.dead = fault == Some(Fault::Dies);
            if state.dead {
                return;
            }
            return send(&mut stream, &Answer::json("{\"err\":1}"), false);
        }
        Some(Fault::Redirect) => {
            let _ = write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: /rr_{}\r\nContent-Length: 0\r\n\r\n",
                request.name
            );
            return;
        }
        Some(Fault::LateBefore) => thread::sleep(LATE),
        _ => {}
    }
    let cut = fault == Some(Fault::Truncate);
    if cut && request.post {
        body.truncate(length / 2);
    }
    let mut answer = state.lock().unwrap().answer(&request, &body, cut && request.post);
    if cut && !request.post && answer.0 == 200 {
        match request.name.as_str() {
            "download" => answer.1.truncate(answer.1.len() / 2),
            "move" if once => {
                let mut state = state.lock().unwrap();
                if let Some(file) = state.files.get_mut(&request.query["new"]) {
                    file.truncate(file.len() / 2);
                }
            }
            _ => {}
        }
    }
    let file = request.name == "download";
    match fault {
        Some(Fault::Done503) => send(&mut stream, &Answer(503, Vec::new()), false),
        Some(Fault::DropAfter) => {}
        Some(Fault::DropHeaders) => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le");
        }
        Some(Fault::DropBody) => {
            let length = answer.1.len().max(2);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            let _ = stream.write_all(&answer.1[..answer.1.len() / 2]);
        }
        Some(Fault::Late) => {
            thread::sleep(LATE);
            send(&mut stream, &answer, false);
        }
        Some(Fault::Trickle) => {
            let bytes = [b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n".to_vec(), vec![b' '; 64]].concat();
            for byte in bytes {
                thread::sleep(Duration::from_millis(10));
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
            }
        }
        Some(Fault::Garbage) if !file => send(&mut stream, &Answer::json("{\"err\":"), false),
        Some(Fault::Empty) if !file => send(&mut stream, &Answer::json(""), false),
        Some(Fault::NoHttp) => {
            let _ = stream.write_all(b"220 smtp ready\r\n\r\n");
        }
        Some(Fault::Endless) => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b' '; 4096]).is_ok() {}
        }
        Some(Fault::WrongBytes) if file && answer.0 == 200 => {
            if let Some(byte) = answer.1.last_mut() {
                *byte ^= 1;
            }
            send(&mut stream, &answer, false);
        }
        Some(Fault::WrongBytes) => send(&mut stream, &Answer::json("[1]"), false),
        Some(Fault::Unbounded) => send(&mut stream, &answer, true),
        _ => send(&mut stream, &answer, false),
    }
}

/// Reads the line and the headers of a request, as strictly as the firmware does.
fn read(stream: &mut TcpStream) -> Result<Option<Request>, (u16, String)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let mut piece = [0; 2048];
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return Ok(None),
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
        }
    };
    let head =
        String::from_utf8(bytes[..end].to_vec()).map_err(|_| (400, "a head that is no text".to_owned()))?;
    if head.len() > REQUEST {
        return Err((414, format!("a head of {} bytes", head.len())));
    }
    let mut lines = head.split("\r\n");
    let words: Vec<&str> = lines.next().unwrap().split(' ').collect();
    let [method @ ("GET" | "POST"), target, "HTTP/1.1"] = words[..] else {
        return Err((400, format!("the line {words:?}")));
    };
    let (path, text) = target.split_once('?').unwrap_or((target, ""));
    let Some(name) = path.strip_prefix("/rr_") else { return Err((404, format!("the path {path}"))) };
    let mut query = BTreeMap::new();
    for part in text.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').ok_or((500, format!("a key without a value: {part}")))?;
        let value = decoded(value).ok_or((400, format!("an escape that is not uppercase: {part}")))?;
        query.insert(name.to_owned(), value);
    }
    if query.len() > 5 {
        return Err((500, "too many keys".into()));
    }
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    if headers.contains_key("transfer-encoding") || headers.contains_key("expect") {
        return Err((500, "a header that the firmware does not know".into()));
    }
    let number = |name: &str| headers.get(name).map(|value| value.parse::<u64>().unwrap());
    Ok(Some(Request {
        post: method == "POST",
        name: name.to_owned(),
        query,
        key: number("x-session-key"),
        length: number("content-length").map(|length| length as usize),
        rest: bytes[end + 4..].to_vec(),
    }))
}

/// A value of a query: uppercase escapes, and `+` for a space.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut made = Vec::new();
    while let Some(byte) = bytes.next() {
        let digit = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'A'..=b'F' => Some(c - b'A' + 10),
            _ => None,
        };
        made.push(match byte {
            b'+' => b' ',
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(made).ok()
}

fn describe(request: &Request) -> String {
    let of = |key: &str| request.query.get(key).map_or(String::new(), |value| format!(" {value}"));
    match request.name.as_str() {
        "connect" => "connect".to_owned(),
        "move" => format!("move{}{}", of("old"), of("new")),
        name => format!("{name}{}{}", of("name"), of("gcode")),
    }
}

fn send(stream: &mut TcpStream, answer: &Answer, unbounded: bool) {
    let reason = if answer.0 == 200 { "OK" } else { "Your Duet rejected the HTTP request" };
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\nCache-Control: no-cache\r\n", answer.0).into_bytes();
    // The firmware's own refusals end with the connection.
    if answer.0 == 200 && !unbounded {
        bytes.extend(format!("Content-Length: {}\r\n", answer.1.len()).bytes());
    }
    bytes.extend(b"Connection: close\r\n\r\n");
    bytes.extend(&answer.1);
    let _ = stream.write_all(&bytes);
}

impl State {
    fn answer(&mut self, request: &Request, body: &[u8], cut: bool) -> Answer {
        let of = |key: &str| request.query.get(key).cloned().unwrap_or_default();
        let err = |wrong: bool| Answer::json(format!("{{\"err\":{}}}", u8::from(wrong)));
        if request.name == "connect" && !request.post {
            if of("password") != self.password {
                return err(true);
            }
            if self.sessions.len() >= self.most_sessions {
                return Answer::json("{\"err\":2}");
            }
            if of("sessionKey") != "yes" || of("time").len() != 19 {
                self.violations.push("rr_connect without time or sessionKey".into());
            }
            self.opened += 1;
            let key = if self.keyless { 0 } else { 4_000_000_000 + self.opened };
            self.sessions.insert(key);
            let shown = if self.keyless { String::new() } else { format!(",\"sessionKey\":{key}") };
            return Answer::json(format!(
                "{{\"err\":0,\"sessionTimeout\":8000,\"boardType\":\"duet2wifi\"{shown}}}"
            ));
        }
        if !self.sessions.contains(&request.key.unwrap_or(0)) {
            return Answer(if request.post { 500 } else { 401 }, b"not authorized".to_vec());
        }
        if request.post != (request.name == "upload") {
            self.violations.push(format!("the wrong method for {}", request.name));
            return Answer(500, Vec::new());
        }
        match request.name.as_str() {
            "disconnect" => err(!self.sessions.remove(&request.key.unwrap_or(0))),
            "download" => match self.files.get(&of("name")) {
                Some(file) => Answer(200, file.clone()),
                None => Answer(404, b"file not found".to_vec()),
            },
            "upload" => self.upload(request, body, cut),
            "delete" => err(self.files.remove(&of("name")).is_none()),
            "move" => {
                let (old, new) = (of("old"), of("new"));
                let free = of("deleteexisting") == "yes" || !self.files.contains_key(&new);
                match self.files.contains_key(&old) && free {
                    true => {
                        let file = self.files.remove(&old).unwrap();
                        self.files.insert(new, file);
                        err(false)
                    }
                    false => err(true),
                }
            }
            "gcode" => {
                if let Some(answer) = &self.gcode {
                    return Answer::json(answer.clone());
                }
                let line = of("gcode");
                let numbers = line.strip_prefix("M573 P").and_then(|rest| rest.split_once(" Q"));
                self.reply += &match numbers {
                    Some((tau, gamma)) if self.files.contains_key("sys/M573.g") => {
                        format!("M573: tau {tau} s, gamma {gamma}\n")
                    }
                    _ => "Warning: M573: Command is not supported\n".into(),
                };
                self.lines.push(line);
                Answer::json("{\"buff\":237}")
            }
            "reply" if self.fetched < self.other_sessions && !self.reply.is_empty() => {
                self.fetched += 1;
                Answer(200, self.reply.clone().into_bytes())
            }
            "reply" => {
                self.fetched = 0;
                Answer(200, std::mem::take(&mut self.reply).into_bytes())
            }
            _ => Answer(500, b"Unknown request".to_vec()),
        }
    }

    fn upload(&mut self, request: &Request, body: &[u8], cut: bool) -> Answer {
        let Some(length) = request.length else {
            self.violations.push("an upload without Content-Length".into());
            return Answer(500, Vec::new());
        };
        let name = request.query["name"].clone();
        if length == 0 {
            self.violations.push(format!("{name}: an empty upload"));
        }
        if cut {
            // The firmware believes that it is whole.
            self.files.insert(name, body.to_vec());
            return Answer::json("{\"err\":0}");
        }
        let whole = body.len() == length
            && request.query.get("crc32").is_none_or(|crc| {
                let wanted = u32::from_str_radix(crc, 16);
                wanted == Ok(crc32fast::hash(body))
            });
        if whole || self.truncating {
            self.files.insert(name, body.to_vec());
        }
        Answer::json(format!("{{\"err\":{}}}", u8::from(!whole)))
    }
}
