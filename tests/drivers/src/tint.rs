//! Every shader through Chromium's WGSL compiler, in a browser without a window: naga lets pass what WGSL forbids.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lowbit::internals::gpu::Reflection;
use serde::{Deserialize, Serialize};

use crate::child::Ended;
use crate::family;
use crate::specs::{self, Shader};

/// A shader that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Serialize)]
struct Asked {
    label: String,
    code: String,
}

/// What the page says: of a shader, or that it has ended.
#[derive(Debug, Deserialize)]
struct Said {
    label: Option<String>,
    problem: Option<String>,
}

/// Counts, and what was refused.
#[derive(Debug, Default)]
pub struct Summary {
    pub accepted: usize,
    /// Those that need what this browser's device lacks: f16, 64-bit integers and matrices.
    pub skipped: usize,
    pub refused: Vec<(String, String)>,
}

/// Compiles every shader.
pub fn all(folder: &Path, only: &[String]) -> Result<Summary> {
    let mut summary = Summary::default();
    let mut asked: Vec<Asked> = Vec::new();
    for Shader { spec, .. } in specs::all(only)? {
        let shader = Reflection::of(&spec)?;
        let needs = shader.needs;
        if needs.f16 || needs.int64 || needs.matrices.is_some() {
            summary.skipped += 1;
            continue;
        }
        asked.push(Asked { label: spec.label(), code: shader.text.clone() });
    }
    let shaders: Arc<[u8]> = serde_json::to_vec(&asked)?.into();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let (sender, said) = channel();
    std::thread::spawn(move || {
        // Browsers open connections that they may never use: each has a thread.
        for stream in listener.incoming().flatten() {
            let (shaders, sender) = (Arc::clone(&shaders), sender.clone());
            // Whatever goes wrong on a connection, the browser's silence tells.
            std::thread::spawn(move || answer(stream, &shaders, &sender));
        }
    });
    let profile = folder.join(format!("profile-{}", std::process::id()));
    let browser = Ended(browser(folder, &profile, port)?);
    let mut left = asked.len();
    let end = loop {
        let one: Said = said
            .recv_timeout(PATIENCE)
            .with_context(|| format!("the browser said nothing of {left} shaders"))?;
        match (one.label, one.problem) {
            (None, end) => break end,
            (Some(_), None) => summary.accepted += 1,
            (Some(label), Some(problem)) => summary.refused.push((label, problem)),
        }
        left = left.saturating_sub(1);
    };
    drop(browser);
    let _ = std::fs::remove_dir_all(profile);
    match end {
        Some(problem) => bail!("the browser's page failed: {problem}"),
        None if left > 0 => bail!("the browser left out {left} shaders"),
        None => Ok(summary),
    }
}

fn browser(folder: &Path, profile: &Path, port: u16) -> Result<Child> {
    let root = family::whole(folder, "chromium")?;
    let programs = root.join("usr/lib/chromium");
    let folders = ["usr/lib", "lib"].map(|folder| root.join(folder).join("x86_64-linux-gnu"));
    // Packages that are not installed have no alternatives set up, and some libraries lie a folder deeper.
    let deeper = ["pulseaudio", "blas", "lapack"].map(|folder| folders[0].join(folder));
    let libraries: Vec<String> =
        folders.iter().chain(&deeper).map(|path| path.display().to_string()).collect();
    Command::new(programs.join("chromium"))
        .env("LD_LIBRARY_PATH", libraries.join(":"))
        .args(["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("http://127.0.0.1:{port}/"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting Chromium")
}

/// One request of the page's.
fn answer(stream: TcpStream, shaders: &[u8], said: &Sender<Said>) -> Result<()> {
    let mut reader = BufReader::new(&stream);
    let (mut request, mut length) = (String::new(), 0);
    reader.read_line(&mut request)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (kind, content): (&str, &[u8]) = match request.split(' ').nth(1) {
        Some("/shaders") => ("application/json", shaders),
        Some("/said") => {
            said.send(serde_json::from_slice(&body)?)?;
            ("text/plain", b"")
        }
        _ => ("text/html", include_bytes!("tint.html")),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        content.len()
    );
    let mut writer = &stream;
    writer.write_all(head.as_bytes())?;
    writer.write_all(content)?;
    Ok(())
}
