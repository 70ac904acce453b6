//! How a library did.

use std::fmt;

use serde::Serialize;

use crate::library::Features;

/// How one step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    Passed,
    /// The device can't; what is done instead.
    Unsupported {
        word: String,
    },
    Failed {
        why: String,
    },
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub name: &'static str,
    /// The cartridge or device it was about.
    pub subject: String,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Everything that was tried on a library, and what it can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub changer: String,
    pub product: String,
    /// `None` if not even that could be asked.
    pub features: Option<Features>,
    /// In the order they were run.
    pub steps: Vec<Step>,
}

impl Report {
    /// Nothing failed; what is unsupported has a way around it.
    pub fn is_conforming(&self) -> bool {
        self.failures().next().is_none()
    }

    pub fn failures(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| matches!(step.outcome, Outcome::Failed { .. }))
    }

    pub fn passed(&self, name: &str) -> bool {
        self.steps.iter().any(|step| step.name == name && step.outcome == Outcome::Passed)
    }

    /// Numbers of steps passed, unsupported and failed.
    pub fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for step in &self.steps {
            counts[match step.outcome {
                Outcome::Passed => 0,
                Outcome::Unsupported { .. } => 1,
                Outcome::Failed { .. } => 2,
            }] += 1;
        }
        counts
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step { name, subject, outcome } = self;
        match outcome {
            Outcome::Passed => write!(f, "passed       {name} ({subject})"),
            Outcome::Unsupported { word } => write!(f, "unsupported  {name} ({subject}): {word}"),
            Outcome::Failed { why } => write!(f, "FAILED       {name} ({subject}): {why}"),
        }
    }
}

/// A line for each step, and the sum.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        let [passed, unsupported, failed] = self.counts();
        write!(f, "{}: {passed} passed, {unsupported} unsupported, {failed} failed", self.changer)
    }
}
