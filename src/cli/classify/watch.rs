//! `lowbit classify watch`

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;

use super::{ModelArguments, Session, Terminal, Traced, about, check_outputs, files};
use crate::cli::signals;
use lowbit::internals::Error;
use lowbit::internals::classify::latency::{DEADLINE_US, Times};
use lowbit::internals::classify::watch::{Answer, BATCH, Level, Thresholds, Watcher};
use lowbit::internals::io::stream::{Format, Row, Rows};
use lowbit::internals::network::quantize::quantize;

/// Rows that wait at most, and their bytes: then the source has to.
const QUEUE: usize = 4096;
const QUEUE_BYTES: usize = 64 << 20;

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
    /// Take this many rows a second, and no more: to replay a file as it came. A row that waits is late from when it was due
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
    /// Rows that were no numbers, not as many as the model takes, or made no probability.
    invalid: u64,
    seconds: f64,
    rows_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    deadline_us: f64,
    missed_deadlines: u64,
    /// Rows for which the source had to wait, because others did.
    held_back: u64,
    /// Most rows answered at once.
    largest_batch: usize,
    /// Rows that were read and got no line: the device failed, or nobody read the answers any more.
    dropped: u64,
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
    let stop = signals::stop()?;
    session.with_device(&Traced::default(), |gpu| {
        let watcher =
            Watcher::new(gpu, &network, class, thresholds).map_err(about(&arguments.model.model))?;
        let row_bytes = watcher.features() * size_of::<f32>();
        let (sender, receiver) = sync_channel((QUEUE_BYTES / row_bytes).clamp(2, QUEUE));
        let counts = Arc::new(Counts::default());
        let reader = Reader {
            without: arguments.without.clone(),
            width: watcher.features(),
            rate: arguments.rate,
            counts: Arc::clone(&counts),
            stop: Arc::clone(&stop),
            names,
            format,
            sender,
        };
        // A read from a pipe cannot be called off: the thread ends with the process.
        let reader = std::thread::spawn(move || reader.read(source));
        let mut account = Account::default();
        let ended = account.answer(&watcher, gpu, &receiver, &stop, terminal.json());
        drop(receiver);
        let ended = ended.and_then(|end| match end {
            End::Read => reader
                .join()
                .map_err(|_| Error::Input("the input could not be read".into()))?
                .map_err(about(input)),
            End::Signal | End::Unread => Ok(()),
        });
        if account.rows == 0 {
            ended?;
            print(head(terminal.json()))?;
        } else if let Err(error) = ended {
            account.close(&counts, terminal)?;
            return Err(error.into());
        }
        account.close(&counts, terminal)?;
        match account.problem {
            Some(problem) => {
                let problem = format!("{} rows got no probability; the first: {problem}", account.invalid);
                Err(Error::file(input, problem).into())
            }
            None => Ok(None),
        }
    })
}

/// What the thread that reads has counted.
#[derive(Default)]
struct Counts {
    read: AtomicU64,
    held_back: AtomicU64,
}

/// What reads rows and says when they came.
struct Reader {
    format: Format,
    width: usize,
    names: Option<Vec<String>>,
    without: Vec<String>,
    rate: Option<f64>,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    sender: SyncSender<Arrival>,
}

impl Reader {
    fn read(self, source: Box<dyn Read + Send>) -> lowbit::internals::Result<()> {
        let mut rows = Rows::begin(source, self.format, self.width, self.names.as_deref(), &self.without)?;
        let (mut begun, mut count) = (Instant::now(), 0u64);
        while !self.stop.load(Ordering::Relaxed) {
            let asked = Instant::now();
            let Some(row) = rows.next_row()? else { break };
            let mut came = Instant::now();
            if let Some(rate) = self.rate {
                let due = |begun: Instant| begun + Duration::from_secs_f64(count as f64 / rate);
                // The source was late, so that those behind it are due later; where this thread was, they are not.
                if asked < due(begun) && due(begun) < came {
                    begun += came - due(begun);
                }
                std::thread::sleep(due(begun).saturating_duration_since(came));
                came = due(begun);
            }
            count += 1;
            self.counts.read.fetch_add(1, Ordering::Relaxed);
            let sent = match self.sender.try_send((came, row)) {
                Err(TrySendError::Full(row)) => {
                    self.counts.held_back.fetch_add(1, Ordering::Relaxed);
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
fn print(text: &str) -> lowbit::internals::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        done => done.map(|()| true).map_err(|error| Error::io("standard output", error)),
    }
}

/// Why a watch ended.
enum End {
    /// All rows were read.
    Read,
    /// A signal asked for it.
    Signal,
    /// Nobody reads the answers any more.
    Unread,
}

/// What became of the rows.
#[derive(Default)]
struct Account {
    rows: u64,
    levels: [u64; 3],
    saturated: u64,
    invalid: u64,
    /// What was wrong with the first row that got no probability.
    problem: Option<String>,
    times: Times,
    largest: usize,
    begun: Option<Instant>,
}

impl Account {
    /// Answers rows until there are no more. A signal ends the reading; what was read by then is answered.
    fn answer(
        &mut self,
        watcher: &Watcher,
        gpu: &lowbit::internals::gpu::Context,
        receiver: &Receiver<Arrival>,
        stop: &AtomicBool,
        json: bool,
    ) -> lowbit::internals::Result<End> {
        loop {
            let first = match receiver.recv_timeout(Duration::from_millis(50)) {
                Ok(arrival) => arrival,
                Err(RecvTimeoutError::Timeout) if stop.load(Ordering::Relaxed) => return Ok(End::Signal),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Ok(End::Read),
            };
            self.begun.get_or_insert(first.0);
            let mut batch = vec![first];
            batch.extend(receiver.try_iter().take(BATCH - 1));
            let right = batch.iter().filter_map(|(_, row)| row.as_ref().ok());
            let values: Vec<f32> = right.flatten().copied().collect();
            let mut answers = watcher.answer(gpu, &values)?.into_iter();
            let mut text = if self.rows == 0 { head(json).to_owned() } else { String::new() };
            let mut came = Vec::with_capacity(batch.len());
            for (at, row) in batch {
                // There is an answer for each row of numbers.
                let answer =
                    row.and_then(|_| answers.next().unwrap_or_else(|| Err("it got no answer".into())));
                text += &self.line(&answer, at.elapsed().as_secs_f64() * 1e6, json);
                self.count(answer);
                came.push(at);
            }
            self.largest = self.largest.max(came.len());
            let read = print(&text)?;
            came.iter().for_each(|came| self.times.add(came.elapsed().as_secs_f64() * 1e6));
            if !read {
                return Ok(End::Unread);
            }
        }
    }

    /// The line of a row.
    fn line(&self, answer: &Result<Answer, String>, latency_us: f64, json: bool) -> String {
        let row = self.rows;
        match answer {
            answer if json => {
                let line = match answer {
                    Ok(answer) => {
                        json!({ "row": row, "probability": answer.probability, "level": answer.level,
                        "saturated": answer.saturated, "latency_us": latency_us })
                    }
                    Err(problem) => json!({ "row": row, "invalid": problem, "latency_us": latency_us }),
                };
                format!("{}\n{line}", if row == 0 { "" } else { "," })
            }
            Ok(Answer { probability, level, saturated }) => {
                format!("{row},{probability:.6},{},{saturated},{latency_us:.0}\n", level.name())
            }
            Err(_) => format!("{row},,INVALID,,{latency_us:.0}\n"),
        }
    }

    fn count(&mut self, answer: Result<Answer, String>) {
        self.rows += 1;
        match answer {
            Ok(answer) => {
                self.levels[answer.level as usize] += 1;
                self.saturated += u64::from(answer.saturated);
            }
            Err(problem) => {
                self.invalid += 1;
                self.problem.get_or_insert(problem);
            }
        }
    }

    /// Ends the output, and says what became of all rows.
    fn close(&self, counts: &Counts, terminal: &Terminal) -> anyhow::Result<()> {
        let summary = self.summary(counts);
        if terminal.json() {
            print(&format!("],\n\"summary\": {}}}\n", serde_json::to_string(&summary)?))?;
        }
        terminal.notice(&closing(&summary));
        Ok(())
    }

    fn summary(&self, counts: &Counts) -> Summary {
        let seconds = self.begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
        let of = |level: Level| self.levels[level as usize];
        Summary {
            rows: self.rows,
            nominal: of(Level::Nominal),
            warnings: of(Level::Warning),
            critical: of(Level::Critical),
            saturated: self.saturated,
            invalid: self.invalid,
            seconds,
            rows_per_second: self.rows as f64 / seconds.max(1e-9),
            p50_us: self.times.percentile(0.5),
            p99_us: self.times.percentile(0.99),
            p999_us: self.times.percentile(0.999),
            max_us: self.times.percentile(1.0),
            deadline_us: DEADLINE_US,
            missed_deadlines: self.times.missed(),
            held_back: counts.held_back.load(Ordering::Relaxed),
            largest_batch: self.largest,
            dropped: counts.read.load(Ordering::Relaxed).saturating_sub(self.rows),
        }
    }
}

fn closing(summary: &Summary) -> String {
    let Summary { rows, nominal, warnings, critical, saturated, invalid, dropped, .. } = summary;
    format!(
        "{rows} rows in {:.1} s ({:.0} rows/s): {nominal} nominal, {warnings} warnings, {critical} critical; {saturated} saturated, \
         {invalid} invalid, {dropped} dropped\nlatency from arrival to answer, us: p50 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0}; {} missed {:.0} us; \
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
