//! How the drive is.

use super::{Drive, Support};
use crate::TapeError;
use crate::health::{CleaningNeed, DriveHealth};
use crate::scsi::{
    AlertAction, AlertSeverity, DeviceStatus, ErrorCounters, TapeAlert, cdb, decode_supported_pages,
    decode_tape_alert_response, decode_tape_alerts, log,
};

impl Drive {
    /// What the drive says of itself. Alerts and remarks are told once; the wish to be cleaned until it's been done.
    pub fn health(&mut self) -> Result<DriveHealth, TapeError> {
        self.note_alerts()?;
        let write_errors = self.counters(log::WRITE_ERRORS)?;
        let read_errors = self.counters(log::READ_ERRORS)?;
        self.features.error_counters.learn(write_errors.is_some() || read_errors.is_some());
        let status = self.log_page(log::DEVICE_STATUS)?.and_then(|page| DeviceStatus::decode(&page).ok());
        self.features.device_status.learn(status.is_some());
        let need = match status {
            Some(status) if status.cleaning_required => CleaningNeed::Required,
            Some(status) if status.cleaning_requested => CleaningNeed::Requested,
            _ if self.device.take_cleaning_asked() => CleaningNeed::Requested,
            _ => CleaningNeed::NotAsked,
        };
        self.cleaning = self.cleaning.max(need);
        Ok(DriveHealth {
            device: self.name().to_owned(),
            serial: self.serial.clone(),
            alerts: std::mem::take(&mut self.alerts),
            cleaning: self.cleaning,
            write_errors,
            read_errors,
            remarks: self.device.take_told().iter().map(ToString::to_string).collect(),
        })
    }

    /// The TapeAlert flags raised since this or [`Drive::health`] was last asked; `None` if the drive has none.
    pub fn tape_alerts(&mut self) -> Result<Option<Vec<TapeAlert>>, TapeError> {
        self.note_alerts()?;
        let alerts = std::mem::take(&mut self.alerts);
        Ok((self.features.tape_alert == Support::Yes).then_some(alerts))
    }

    /// Reads the flags, which clears them in the drive, and keeps them until somebody asks.
    pub(crate) fn note_alerts(&mut self) -> Result<(), TapeError> {
        let fresh = match self.log_page(log::TAPE_ALERT)? {
            Some(page) => decode_tape_alerts(&page).map_err(|source| self.page_error(source))?,
            None => match self.log_page(log::TAPE_ALERT_RESPONSE)? {
                Some(page) => {
                    let all = decode_tape_alert_response(&page).map_err(|source| self.page_error(source))?;
                    let standing = std::mem::replace(&mut self.standing_alerts, all.clone());
                    all.into_iter().filter(|alert| !standing.contains(alert)).collect()
                }
                None => {
                    self.features.tape_alert = Support::No;
                    return Ok(());
                }
            },
        };
        self.features.tape_alert = Support::Yes;
        for alert in fresh {
            tracing::warn!(drive = self.name(), %alert, "TapeAlert");
            if alert.action() == AlertAction::Clean {
                let critical = alert.severity() == AlertSeverity::Critical;
                let need = if critical { CleaningNeed::Required } else { CleaningNeed::Requested };
                self.cleaning = self.cleaning.max(need);
            }
            if !self.alerts.contains(&alert) {
                self.alerts.push(alert);
            }
        }
        Ok(())
    }

    /// Gives flags back that were taken; those read since are added, and told.
    pub(crate) fn give_back_alerts(&mut self, mut before: Vec<TapeAlert>) -> Vec<TapeAlert> {
        let since = std::mem::take(&mut self.alerts);
        before.extend(since.iter().copied().filter(|alert| !before.contains(alert)).collect::<Vec<_>>());
        self.alerts = before;
        since
    }

    /// The flags read and not told yet, which are to be given back.
    pub(crate) fn take_noted_alerts(&mut self) -> Vec<TapeAlert> {
        std::mem::take(&mut self.alerts)
    }

    /// The drive has been cleaned: it may ask again.
    pub(crate) fn was_cleaned(&mut self) {
        self.cleaning = CleaningNeed::NotAsked;
        self.device.take_cleaning_asked();
    }

    /// A log page, if the drive lists it.
    pub(super) fn log_page(&mut self, page: u8) -> Result<Option<Vec<u8>>, TapeError> {
        if self.log_pages.is_none() {
            let listed = self.ask_log(log::SUPPORTED)?;
            self.log_pages = listed.map(|page| decode_supported_pages(&page).unwrap_or_default());
        }
        match self.log_pages.as_ref().is_some_and(|pages| pages.contains(&page)) {
            true => self.ask_log(page),
            false => Ok(None),
        }
    }

    fn counters(&mut self, page: u8) -> Result<Option<ErrorCounters>, TapeError> {
        let bytes = self.log_page(page)?;
        Ok(bytes.and_then(|bytes| ErrorCounters::decode(&bytes, page).ok()))
    }

    fn ask_log(&mut self, page: u8) -> Result<Option<Vec<u8>>, TapeError> {
        const ALLOC: u16 = 4096;
        self.device.ask(&cdb::log_sense(page, ALLOC), ALLOC.into())
    }
}
