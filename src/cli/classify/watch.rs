//! `lowbit classify watch`

use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::{ModelArguments, Session, Traced, about, check_outputs, files};
use lowbit::Error;
use lowbit::classify::latency::{DEADLINE_US, Times};
use lowbit::classify::watch::{Answer, BATCH, Level, Thresholds, Watcher};
use lowbit::io::stream::{Format, Row, Rows};
use lowbit::network::quantize::quantize;

/// Rows that wait at most: then the source has to.
const QUEUE: usize = 4096;

/// How rows are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Written {
    /// Lines of numbers, with or without a line of names
    Csv,
    /// Floats of 32 bits, little endian, one row behind the other
    F32,
}

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Rows as they come: a file, or - for standard input
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// How rows are written
    #[arg(long, value_enum, default_value_t = Written::Csv)]
    format: Written,
    /// Run in INT8, by the scales of this calibration cache
    #[arg(long, value_name = "CACHE")]
    int8: Option<PathBuf>,
    /// Take a cache that has no manifest beside it
    #[arg(long, requires = "int8")]
    accept_cache: bool,
    /// Take this many rows a second, and no more: to replay a file as it came
    #[arg(long, value_name = "HZ", value_parser = rate)]
    rate: Option<f64>,
    /// A probability above it is a WARNING
    #[arg(long, default_value_t = Thresholds::default().warning)]
    warning: f32,
    /// A probability above it is CRITICAL
    #[arg(long, default_value_t = Thresholds::default().critical)]
    critical: f32,
    /// Which output is the probability, from 0 [default: the only one, or the second of two]
    #[arg(long)]
    class: Option<usize>,
    /// A column that is no feature, such as the label
    #[arg(long, value_name = "COLUMN")]
    without: Vec<String>,
}

/// A rate that a clock can keep.
fn rate(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(value) if (0.001..=1e6).contains(&value) => Ok(value),
        _ => Err("give a number of rows a second from 0.001 to 1000000"),
    }
}

/// A row and when it came.
type Arrival = (Instant, Row);

/// What the closing line says.
#[derive(Debug, Serialize)]
struct Summary {
    rows: u64,
    nominal: u64,
    warnings: u64,
    critical: u64,
    saturated: u64,
    /// Rows that were no numbers, or not as many as the model takes: they have no probability.
    invalid: u64,
    seconds: f64,
    rows_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    deadline_us: f64,
    missed_deadlines: u64,
    /// Rows for which the source had to wait, because [`QUEUE`] others did.
    held_back: u64,
    /// Most rows answered at once.
    largest_batch: usize,
    dropped: u64,
}

/// A row of the output.
#[derive(Serialize)]
struct Line<'a> {
    row: u64,
    #[serde(flatten)]
    answer: Option<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invalid: Option<&'a str>,
    latency_us: f64,
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { input, int8, .. } = arguments;
    let thresholds = Thresholds { warning: arguments.warning, critical: arguments.critical };
    thresholds.check()?;
    let terminal = &session.terminal;
    let cache: Vec<PathBuf> = files(int8.as_ref()).collect();
    let inputs: Vec<&Path> =
        [&arguments.model.model].into_iter().chain(&cache).map(PathBuf::as_path).collect();
    check_outputs(Vec::new(), &inputs, &Traced::default())?;
    let loaded = arguments.model.load()?;
    let class = arguments.model.class(&loaded, arguments.class)?;
    let calibrated = int8.as_ref().map(|path| loaded.cache(path, arguments.accept_cache)).transpose()?;
    if let Some(warning) = calibrated.as_ref().and_then(|found| found.warning.as_deref()) {
        terminal.notice(warning);
    }
    let names = calibrated.as_ref().and_then(|found| found.features()).map(<[String]>::to_vec);
    let network = match &calibrated {
        Some(found) => quantize(&loaded.network, |name| found.cache.scale(name), |_| true).network,
        None => loaded.network,
    };
    let source: Box<dyn Read + Send> = match input.as_os_str() == "-" {
        true => Box::new(std::io::stdin()),
        false => Box::new(File::open(input).map_err(|error| Error::io(input, error))?),
    };
    let format = match arguments.format {
        Written::Csv => Format::Csv,
        Written::F32 => Format::F32,
    };
    let stop = Arc::new(AtomicBool::new(false));
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        // In this order: the first signal finds the flag not yet set.
        flag::register_conditional_shutdown(signal, code, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    let mut invalid = 0;
    session.with_device(&Traced::default(), |gpu| {
        let watcher =
            Watcher::new(gpu, &network, class, thresholds).map_err(about(&arguments.model.model))?;
        let (sender, receiver) = sync_channel(QUEUE);
        let held_back = Arc::new(AtomicU64::new(0));
        let reader = Reader {
            without: arguments.without.clone(),
            width: watcher.features(),
            rate: arguments.rate,
            held_back: Arc::clone(&held_back),
            names,
            format,
            sender,
        };
        // A read from a pipe cannot be called off: the thread ends with the process.
        let reader = std::thread::spawn(move || reader.read(source));
        let (mut summary, ended) = answer(&watcher, gpu, &receiver, &stop, terminal.json())?;
        drop(receiver);
        summary.held_back = held_back.load(Ordering::Relaxed);
        if ended {
            let read = reader.join().map_err(|_| Error::Input("the input could not be read".into()))?;
            read.map_err(|error| match error {
                Error::Input(problem) => Error::file(input, problem),
                other => other,
            })?;
        }
        if summary.rows == 0 {
            print(head(terminal.json()))?;
        }
        if terminal.json() {
            print(&format!("],\n\"summary\": {}}}\n", serde_json::to_string(&summary)?))?;
        }
        terminal.notice(&closing(&summary));
        invalid = summary.invalid;
        Ok(None)
    })?;
    if invalid > 0 {
        let problem = format!("{invalid} rows were invalid and got no probability");
        return Err(Error::file(input, problem).into());
    }
    Ok(())
}

/// What reads rows and says when they came.
struct Reader {
    format: Format,
    width: usize,
    names: Option<Vec<String>>,
    without: Vec<String>,
    rate: Option<f64>,
    held_back: Arc<AtomicU64>,
    sender: SyncSender<Arrival>,
}

impl Reader {
    fn read(self, source: Box<dyn Read + Send>) -> lowbit::Result<()> {
        let mut rows = Rows::begin(source, self.format, self.width, self.names.as_deref(), &self.without)?;
        let begun = Instant::now();
        let mut count = 0u64;
        while let Some(row) = rows.next_row()? {
            let mut came = Instant::now();
            if let Some(rate) = self.rate {
                // A row that is late is late by the clock, not by when it was looked at.
                came = begun + Duration::from_secs_f64(count as f64 / rate);
                std::thread::sleep(came.saturating_duration_since(Instant::now()));
            }
            count += 1;
            let sent = match self.sender.try_send((came, row)) {
                Err(TrySendError::Full(row)) => {
                    self.held_back.fetch_add(1, Ordering::Relaxed);
                    self.sender.send(row).is_ok()
                }
                sent => sent.is_ok(),
            };
            // Nobody listens any more.
            if !sent {
                break;
            }
        }
        Ok(())
    }
}

/// What comes before the first row.
fn head(json: bool) -> &'static str {
    if json { "{\"rows\": [" } else { "row,probability,level,saturated,latency_us\n" }
}

/// Writes to standard output, at once; false where nobody reads it any more (`lowbit … | head`).
fn print(text: &str) -> lowbit::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        done => done.map(|()| true).map_err(|error| Error::io("standard output", error)),
    }
}

/// Answers rows until there are no more, which is the second result, a signal asks for an end, or nobody reads the answers.
fn answer(
    watcher: &Watcher,
    gpu: &lowbit::gpu::Context,
    receiver: &Receiver<Arrival>,
    stop: &AtomicBool,
    json: bool,
) -> anyhow::Result<(Summary, bool)> {
    let (mut read, mut ended) = (true, false);
    let mut times = Times::default();
    let mut levels = [0u64; 3];
    let (mut rows, mut saturated, mut invalid, mut largest) = (0u64, 0, 0, 0);
    let mut begun = None;
    while read && !stop.load(Ordering::Relaxed) {
        let first = match receiver.recv_timeout(Duration::from_millis(50)) {
            Ok(arrival) => arrival,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => {
                ended = true;
                break;
            }
        };
        begun.get_or_insert(first.0);
        let mut batch = vec![first];
        batch.extend(receiver.try_iter().take(BATCH - 1));
        largest = largest.max(batch.len());
        let values: Vec<f32> =
            batch.iter().filter_map(|(_, row)| row.as_ref().ok()).flatten().copied().collect();
        let mut answers = watcher.answer(gpu, &values)?.into_iter();
        let mut text = if rows == 0 { head(json).to_owned() } else { String::new() };
        for (came, row) in &batch {
            let answer = row.as_ref().ok().and_then(|_| answers.next());
            let latency_us = came.elapsed().as_secs_f64() * 1e6;
            times.add(latency_us);
            if let Some(answer) = answer {
                levels[answer.level as usize] += 1;
                saturated += u64::from(answer.saturated);
            } else {
                invalid += 1;
            }
            // Writing to a String cannot fail.
            let _ = match (json, &answer) {
                (true, _) => {
                    let invalid = row.as_ref().err().map(String::as_str);
                    let line = serde_json::to_string(&Line { row: rows, answer, invalid, latency_us })?;
                    write!(text, "{}\n{line}", if rows == 0 { "" } else { "," })
                }
                (false, Some(Answer { probability, level, saturated })) => {
                    writeln!(text, "{rows},{probability:.6},{},{saturated},{latency_us:.0}", level.name())
                }
                (false, None) => writeln!(text, "{rows},,INVALID,,{latency_us:.0}"),
            };
            rows += 1;
        }
        read = print(&text)?;
    }
    let seconds = begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
    let of = |level: Level| levels[level as usize];
    let summary = Summary {
        rows,
        nominal: of(Level::Nominal),
        warnings: of(Level::Warning),
        critical: of(Level::Critical),
        saturated,
        invalid,
        seconds,
        rows_per_second: rows as f64 / seconds.max(1e-9),
        p50_us: times.percentile(0.5),
        p99_us: times.percentile(0.99),
        p999_us: times.percentile(0.999),
        max_us: times.percentile(1.0),
        deadline_us: DEADLINE_US,
        missed_deadlines: times.missed(),
        held_back: 0,
        largest_batch: largest,
        dropped: 0,
    };
    Ok((summary, ended))
}

fn closing(summary: &Summary) -> String {
    let Summary { rows, nominal, warnings, critical, saturated, invalid, .. } = summary;
    format!(
        "{rows} rows in {:.1} s ({:.0} rows/s): {nominal} nominal, {warnings} warnings, {critical} critical; {saturated} saturated, \
         {invalid} invalid, none dropped\nlatency from arrival to answer, us: p50 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0}; {} missed {:.0} us; \
         up to {} answered at once, {} held back at the source",
        summary.seconds,
        summary.rows_per_second,
        summary.p50_us,
        summary.p99_us,
        summary.p999_us,
        summary.max_us,
        summary.missed_deadlines,
        summary.deadline_us,
        summary.largest_batch,
        summary.held_back
    )
}
