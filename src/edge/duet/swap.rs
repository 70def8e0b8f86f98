//! New constants for a printer that runs.
//!
//! The budget ([`Deadlines::swap`](super::Deadlines)) has in it: opening the connection, the request, and the answer to its
//! last byte. Not in it: looking the name up, opening the session, reading what the macro says, closing the session.
//!
//! What the macro says is read from the printer's store of replies, which is common to all channels: a layer's hook announces
//! the old constants there, and heaters, other clients and the print itself speak too. So replies are read line by line,
//! before the swap until there are none left, and after it until a line announces these constants, or is an error or a
//! warning that names M573. Whatever else is said does not count. For another client, such as a web page that is open, a
//! reply that was read here may be lost.

use std::fmt::{self, Display};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::client::{Fault, Session};
use crate::edge::{GAMMA, TAU};
use crate::{Error, Result};

/// A line of G-code this long is sure to fit the printer's buffers.
const LONGEST_LINE: usize = 100;
/// How long to wait between two looks for a reply.
const POLL: Duration = Duration::from_millis(100);
/// How often replies of before are fetched, at most: each is there once more for every other session.
const OLD_REPLIES: usize = 8;

/// Constants that a printer can be given.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Constants {
    tau: f64,
    gamma: f64,
}

impl Constants {
    /// `tau` in seconds, and `gamma`.
    ///
    /// # Errors
    /// [`Error::Input`] if one is out of bounds: 0.001 to 0.5 s, and 0 to 1.
    pub fn new(tau: f64, gamma: f64) -> Result<Self> {
        let check = |name: &str, value: f64, [low, high]: [f64; 2], unit: &str| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Error::Input(format!("{name} must be {low} to {high}{unit}, and is {value}")))
        };
        check("tau", tau, TAU, " s")?;
        check("gamma", gamma, GAMMA, "")?;
        // -0 is in the bounds, and would be written with its sign.
        let constants = Self { tau, gamma: gamma + 0.0 };
        if constants.line().len() > LONGEST_LINE {
            return Err(Error::Input(format!(
                "gamma is {gamma:e}: too small to be written without an exponent; give 0"
            )));
        }
        Ok(constants)
    }

    /// The G-code that sets them: the shortest decimals that are these numbers, without an exponent.
    pub fn line(&self) -> String {
        format!("M573 P{} Q{}", self.tau, self.gamma)
    }

    /// Whether a line announces these numbers, as far as the printer's f32 and its printing keep them.
    fn announced(&self, line: &str) -> bool {
        let number = |behind: &str| {
            let text = line.rsplit_once(behind)?.1;
            let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
            text[..end].parse::<f64>().ok()
        };
        let near = |found: Option<f64>, value: f64| {
            found.is_some_and(|found| (found - value).abs() <= 1e-4 * value.max(0.1))
        };
        near(number("M573: tau "), self.tau) && near(number(" s, gamma "), self.gamma)
    }
}

/// How a swap ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// The printer took the line within the budget. Whether the macro ran it is [`Swap::confirmed`].
    Success,
    /// The printer or the macro refused it, or there was no connection: the constants are the old ones.
    Error,
    /// No answer that can be read within the budget: the printer may have taken it, or not.
    TimeoutWarning,
}

impl Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Success => "SUCCESS",
            Self::Error => "ERROR",
            Self::TimeoutWarning => "TIMEOUT_WARNING",
        })
    }
}

/// What became of a swap.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Swap {
    /// The printer.
    pub host: String,
    /// What was sent.
    #[serde(flatten)]
    pub constants: Constants,
    /// As G-code.
    pub line: String,
    /// How it ended.
    pub status: Status,
    /// From opening the connection to the last byte of the answer, or to giving up.
    pub milliseconds: f64,
    /// What that may be.
    pub budget_milliseconds: f64,
    /// The room that the printer's G-code buffer has left.
    pub buffer: Option<u64>,
    /// What the printer said then, outside of the budget, to whomever: without the password.
    pub reply: Option<String>,
    /// Whether a line of that announces these constants. If not, it is not known yet whether they are set.
    pub confirmed: bool,
    /// What went wrong, or must be known.
    pub problem: Option<String>,
}

/// Gives the printer new constants. What goes wrong is the [`Status`], and the [`Swap::problem`].
///
/// Behind the budget, replies are waited for until one decides, or for as long as a transfer may take
/// ([`Deadlines::transfer`](super::Deadlines)); the last request may take as long once more.
pub fn swap(session: &Session, constants: Constants) -> Swap {
    let before = Instant::now();
    for _ in 0..OLD_REPLIES {
        // What was said before is no answer to this.
        let old = session.replies().is_ok_and(|text| !text.is_empty());
        if !old || before.elapsed() > session.deadlines.transfer {
            break;
        }
    }
    let line = constants.line();
    let started = Instant::now();
    let sent = session.gcode(&line);
    let milliseconds = started.elapsed().as_secs_f64() * 1e3;
    let (mut status, buffer, mut problem) = match sent {
        Ok(left) => (Status::Success, Some(left), None),
        Err(fault @ (Fault::Unreached(_) | Fault::Refused(_))) => {
            (Status::Error, None, Some(format!("{fault}; the constants are the old ones")))
        }
        Err(fault @ (Fault::Busy | Fault::Lost(_))) => (
            Status::TimeoutWarning,
            None,
            Some(format!("{fault}; the printer may have taken the constants, or not")),
        ),
    };
    let (lines, verdict) =
        if status == Status::Error { (Vec::new(), None) } else { said(session, &constants) };
    let confirmed = verdict == Some(Verdict::Set);
    match verdict {
        Some(Verdict::Set) => {
            if let Some(problem) = &mut problem {
                *problem += "; it announces them";
            }
        }
        Some(Verdict::Failed) => {
            status = Status::Error;
            problem = Some("the printer did not run it; its constants are the old ones".into());
        }
        None if problem.is_none() => {
            let nothing =
                "taken, and no reply yet: the macro waits for the moves that are queued before it sets them";
            let other = "taken, but nothing that it said announces them: the macro may be waiting for the moves that are queued, \
                         or sys/M573.g is not there (lowbit edge deploy)";
            problem = Some(if lines.is_empty() { nothing } else { other }.into());
        }
        None => {}
    }
    let reply = (!lines.is_empty()).then(|| session.shown(&lines.join("\n")));
    let budget_milliseconds = session.deadlines.swap.as_secs_f64() * 1e3;
    let host = session.host().to_string();
    Swap {
        host,
        constants,
        line,
        status,
        milliseconds,
        budget_milliseconds,
        buffer,
        reply,
        confirmed,
        problem,
    }
}

/// What a line of a reply decides.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    /// The constants are set.
    Set,
    /// The macro is not there, or did not take them.
    Failed,
}

impl Verdict {
    /// Of one line. Most lines are about something else.
    fn of(line: &str, constants: &Constants) -> Option<Self> {
        let line = line.trim_start();
        let of_macro = |line: &str| {
            let behind = line.to_ascii_uppercase();
            let mut behind = behind.split("M573").skip(1);
            behind.any(|behind| !behind.starts_with(|c: char| c.is_ascii_digit()))
        };
        if (line.starts_with("Error") || line.starts_with("Warning")) && of_macro(line) {
            return Some(Self::Failed);
        }
        constants.announced(line).then_some(Self::Set)
    }
}

/// What the printer says until a line decides, for as long as a transfer may take.
fn said(session: &Session, constants: &Constants) -> (Vec<String>, Option<Verdict>) {
    let started = Instant::now();
    let mut lines = Vec::new();
    loop {
        let text = session.replies().unwrap_or_default();
        let new = lines.len();
        lines.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        let verdict = lines[new..].iter().find_map(|line| Verdict::of(line, constants));
        if verdict.is_some() || started.elapsed() + POLL > session.deadlines.transfer {
            return (lines, verdict);
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_shortest_and_without_an_exponent() {
        let line = |tau, gamma| Constants::new(tau, gamma).unwrap().line();
        assert_eq!(line(0.001, 1.0), "M573 P0.001 Q1");
        assert_eq!(line(0.5, -0.0), "M573 P0.5 Q0");
        assert_eq!(line(0.1 + 0.2, 1e-7), "M573 P0.30000000000000004 Q0.0000001");
    }

    #[test]
    fn bounds_hold() {
        for (tau, gamma) in [
            (0.000_999, 0.5),
            (0.500_001, 0.5),
            (f64::NAN, 0.5),
            (f64::INFINITY, 0.5),
            (-0.1, 0.5),
            (0.1, -1e-9),
            (0.1, 1.000_001),
            (0.1, f64::NAN),
            (0.1, 5e-324),
        ] {
            assert!(matches!(Constants::new(tau, gamma), Err(Error::Input(_))), "{tau} {gamma}");
        }
    }

    #[test]
    fn a_line_decides_only_if_it_is_about_this() {
        let constants = Constants::new(0.05, 0.3).unwrap();
        let of = |line| Verdict::of(line, &constants);
        for line in ["M573: tau 0.05 s, gamma 0.3", "M573: tau 0.0500001 s, gamma 0.3000"] {
            assert_eq!(of(line), Some(Verdict::Set), "{line}");
        }
        for line in [
            "Error: M573 takes both",
            "  Error: M573: P (tau) must be 0.001 to 0.5 s, and is 0.6",
            "Warning: M573: Command is not supported",
            "Error: in file m573.g line 8",
            "Error: M573: tau 0.05 s, gamma 0.3",
        ] {
            assert_eq!(of(line), Some(Verdict::Failed), "{line}");
        }
        for line in [
            "",
            "M573: tau 0.06 s, gamma 0.3",
            "M573: tau 0.05 s, gamma 0.4",
            "M573: tau 0.05",
            "tau gamma",
            "Error: Heater 2 fault",
            "Error: M5730: Command is not supported",
            "Warning: it is warm",
            "Layer 4 of M573",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
