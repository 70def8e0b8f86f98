//! New constants for a printer that runs.
//!
//! The budget ([`Deadlines::swap`](super::Deadlines)) has in it: opening the connection, the request, and the answer to its
//! last byte. Not in it: looking the name up, opening the session, reading what the macro says, closing the session.

use std::fmt::{self, Display};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::client::{Fault, Session};
use crate::{Error, Result};

/// The bounds of tau, in seconds.
pub const TAU: [f64; 2] = [0.001, 0.5];
/// The bounds of gamma.
pub const GAMMA: [f64; 2] = [0.0, 1.0];
/// A line of G-code this long is sure to fit the printer's buffers.
const LONGEST_LINE: usize = 100;
/// How long to wait between two looks for a reply.
const POLL: Duration = Duration::from_millis(100);

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

    /// Whether the macro has announced these numbers, as far as the printer's f32 and its printing keep them.
    fn announced(&self, reply: &str) -> bool {
        let number = |behind: &str| {
            let text = reply.rsplit_once(behind)?.1;
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
    /// The printer took the line within the budget.
    Success,
    /// The printer refused it, or could not be reached: the constants are the old ones.
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
    /// What the printer said then, outside of the budget.
    pub reply: Option<String>,
    /// Whether that announces these constants.
    pub confirmed: bool,
    /// What went wrong, or must be known.
    pub problem: Option<String>,
}

/// Gives the printer new constants. What goes wrong is the [`Status`], and the [`Swap::problem`].
pub fn swap(session: &Session, constants: Constants) -> Swap {
    // What was said before is no answer to this.
    let _ = session.replies();
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
    let reply = if status == Status::Error { None } else { said(session) };
    let confirmed = reply.as_deref().is_some_and(|reply| constants.announced(reply));
    match &reply {
        _ if confirmed => {
            if let Some(problem) = &mut problem {
                *problem += "; it announces them";
            }
        }
        Some(reply) if failed(reply) => {
            status = Status::Error;
            problem = Some("the printer did not run it; its constants are the old ones".into());
        }
        Some(_) if problem.is_none() => {
            problem = Some(
                "this does not announce the constants; is sys/M573.g there (lowbit edge deploy)?".into(),
            );
        }
        None if problem.is_none() => {
            problem = Some(
                "taken, and no reply yet: the macro waits for the moves that are queued before it sets them"
                    .into(),
            );
        }
        _ => {}
    }
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

/// Whether a reply says that the line did not work.
fn failed(reply: &str) -> bool {
    let unknown = reply.contains("not supported") || reply.contains("nsupported");
    reply.starts_with("Error") || (reply.starts_with("Warning") && unknown)
}

/// What the printer says, as soon as it says anything, for as long as a transfer may take.
fn said(session: &Session) -> Option<String> {
    let started = Instant::now();
    loop {
        if let Ok(text) = session.replies()
            && !text.is_empty()
        {
            return Some(text);
        }
        if started.elapsed() + POLL > session.deadlines.transfer {
            return None;
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
    fn an_announcement_is_of_these_numbers() {
        let constants = Constants::new(0.05, 0.3).unwrap();
        assert!(constants.announced("M573: tau 0.05 s, gamma 0.3"));
        assert!(constants.announced("other\nM573: tau 0.0500001 s, gamma 0.3000\n"));
        for reply in
            ["", "M573: tau 0.06 s, gamma 0.3", "M573: tau 0.05 s, gamma 0.4", "M573: tau 0.05", "tau gamma"]
        {
            assert!(!constants.announced(reply), "{reply}");
        }
        assert!(failed("Error: M573 takes both") && failed("Warning: M573: Command is not supported"));
        assert!(!failed("Warning: it is warm") && !failed("M573: tau 0.05 s, gamma 0.3"));
    }
}
