//! What is identified, and how.

use std::str::FromStr;

use serde::Serialize;

use super::filter;
use crate::edge::{GAMMA, TAU};
use crate::{Error, Result};

/// A parameter of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Parameter {
    /// Current for flow.
    #[serde(rename = "k_e")]
    KE,
    /// Current for a change of flow: K_adv.
    #[serde(rename = "k_base")]
    KBase,
    /// Current for its acceleration.
    #[serde(rename = "tau")]
    Tau,
    /// Current for flow while the head turns.
    #[serde(rename = "gamma")]
    Gamma,
}

impl Parameter {
    /// All of them, in the order of the model.
    pub const ALL: [Self; 4] = [Self::KE, Self::KBase, Self::Tau, Self::Gamma];

    /// Its name.
    pub fn name(self) -> &'static str {
        ["k_e", "k_base", "tau", "gamma"][self as usize]
    }

    /// Its unit, with that of Q left open. tau is called seconds in the field, though the model makes it A s^2 per unit of Q.
    pub fn unit(self) -> &'static str {
        ["A/Q", "A s/Q", "s", ""][self as usize]
    }

    /// What it multiplies.
    pub fn column(self) -> &'static str {
        ["Q", "dQ", "ddQ", "w_rot*Q"][self as usize]
    }

    /// Its least and its largest value, if it has any.
    pub fn bounds(self) -> Option<[f64; 2]> {
        match self {
            Self::Tau => Some(TAU),
            Self::Gamma => Some(GAMMA),
            Self::KE | Self::KBase => None,
        }
    }
}

/// A parameter that is known, written `k_e=12`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fix {
    /// Which one.
    pub parameter: Parameter,
    /// Its value.
    pub value: f64,
}

impl FromStr for Fix {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("give a parameter and its value, such as k_e=12")?;
        let parameter = Parameter::ALL
            .into_iter()
            .find(|parameter| parameter.name() == name.trim())
            .ok_or("the parameters are k_e, k_base, tau and gamma")?;
        let value: f64 = value.trim().parse().map_err(|_| "its value is no number, as in k_e=12")?;
        let fix = Self { parameter, value };
        fix.check()?;
        Ok(fix)
    }
}

impl Fix {
    fn check(&self) -> std::result::Result<(), String> {
        let name = self.parameter.name();
        if !self.value.is_finite() {
            return Err(format!("{name} has to be a finite number"));
        }
        match self.parameter.bounds() {
            Some([low, high]) if !(low..=high).contains(&self.value) => {
                Err(format!("{name} is {}: it has to be in [{low}, {high}]", self.value))
            }
            _ => Ok(()),
        }
    }
}

/// How parameters are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Bounded linear least squares.
    LeastSquares,
    /// A search for tau and gamma by expected improvement; the others follow from them.
    Bayesian,
    /// Least squares, held against the search.
    #[default]
    Both,
}

/// How to identify.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How.
    pub method: Method,
    /// Parameters that are known.
    pub fixed: Vec<Fix>,
    /// Rows of the filter's window.
    pub window: usize,
    /// Order of its polynomials.
    pub order: usize,
    /// Seed of the search.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        let (window, order) = (filter::WINDOW, filter::ORDER);
        Self { method: Method::Both, fixed: Vec::new(), window, order, seed: 0 }
    }
}

impl Options {
    /// Whether they make sense.
    ///
    /// # Errors
    /// [`Error::Input`] for the first that does not.
    pub fn check(&self) -> Result<()> {
        filter::check(self.window, self.order)?;
        for (i, fix) in self.fixed.iter().enumerate() {
            fix.check().map_err(Error::Input)?;
            if self.fixed[..i].iter().any(|other| other.parameter == fix.parameter) {
                return Err(Error::Input(format!("{} is fixed twice", fix.parameter.name())));
            }
        }
        if self.fixed.len() == Parameter::ALL.len() {
            return Err(Error::Input("all four parameters are fixed: nothing is left to identify".into()));
        }
        let fixed = |parameter| self.fixed.iter().any(|fix| fix.parameter == parameter);
        if self.method == Method::Bayesian && fixed(Parameter::Tau) && fixed(Parameter::Gamma) {
            return Err(Error::Input(
                "tau and gamma are fixed: nothing is left to search; use the method least-squares".into(),
            ));
        }
        Ok(())
    }
}
