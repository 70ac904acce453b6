//! How a drive is, and what to do about it.

use serde::Serialize;

use crate::scsi::{AlertAction, ErrorCounters, TapeAlert};

/// Whether a drive wants to be cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CleaningNeed {
    NotAsked,
    /// At the next opportunity.
    Requested,
    /// Before anything else.
    Required,
}

/// A drive's health, as far as it can tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DriveHealth {
    pub device: String,
    pub serial: Option<String>,
    /// Flags raised since this was last asked. Each is told once: reading clears it in the drive.
    pub alerts: Vec<TapeAlert>,
    pub cleaning: CleaningNeed,
    /// Since the cartridge was loaded; `None` if the drive doesn't count.
    pub write_errors: Option<ErrorCounters>,
    pub read_errors: Option<ErrorCounters>,
    /// Resets and changes the device told of, in words, since this was last asked.
    pub remarks: Vec<String>,
}

impl DriveHealth {
    /// What a person should know, worst first; empty if all is well.
    pub fn sentences(&self) -> Vec<String> {
        let mut alerts: Vec<_> =
            self.alerts.iter().filter(|alert| alert.action() != AlertAction::Nothing).collect();
        alerts.sort_by_key(|alert| std::cmp::Reverse(alert.severity()));
        let mut sentences: Vec<_> = alerts.iter().map(|alert| format!("{}: {alert}", self.device)).collect();
        if self.cleaning != CleaningNeed::NotAsked && !self.asks_by_alert() {
            sentences.push(format!("{} asks to be cleaned: clean the drive", self.device));
        }
        sentences
    }

    /// The flags that mean that the cartridge should be used no more.
    pub fn against_cartridge(&self) -> Vec<TapeAlert> {
        self.alerts.iter().copied().filter(|alert| alert.action() == AlertAction::RetireCartridge).collect()
    }

    fn asks_by_alert(&self) -> bool {
        self.alerts.iter().any(|alert| alert.action() == AlertAction::Clean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_told_first_and_cleaning_once() {
        let mut health = DriveHealth {
            device: "/dev/sg2".into(),
            serial: None,
            alerts: vec![TapeAlert::ReadWarning, TapeAlert::CleanPeriodic, TapeAlert::Media],
            cleaning: CleaningNeed::Requested,
            write_errors: None,
            read_errors: None,
            remarks: Vec::new(),
        };
        assert_eq!(
            health.sentences(),
            [
                "/dev/sg2: media (TapeAlert 04h): copy what is on the cartridge elsewhere and use it no more",
                "/dev/sg2: clean periodic (TapeAlert 15h): clean the drive",
            ]
        );
        assert_eq!(health.against_cartridge(), [TapeAlert::Media]);
        health.alerts.clear();
        assert_eq!(health.sentences(), ["/dev/sg2 asks to be cleaned: clean the drive"]);
    }
}
