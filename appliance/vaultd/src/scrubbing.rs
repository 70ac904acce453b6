//! The box reads its own disk back by itself, so that damage is found while a copy can still heal it; and it restores a file of
//! each computer each day, to see that restoring works.

use std::sync::Arc;
use std::time::Duration;

use coffer_vault::VaultError;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::pace::Pace;
use crate::serve::Appliance;
use crate::settings::Scrub;

/// How often it's looked whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// Segments that are read before it's looked again which are due.
const AT_ONCE: usize = 64;
/// Points are dated this often while segments are being read.
const DATE_EVERY: Duration = Duration::from_secs(6 * 3600);

/// Goes on until the box stops.
pub(crate) async fn run(appliance: Arc<Appliance>, mut stop: watch::Receiver<bool>) {
    if !appliance.settings.scrub.enabled || appliance.only_restores() {
        return;
    }
    let mut scrubbing = Scrubbing::default();
    loop {
        tokio::select! {
            _ = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let (working, stopping) = (appliance.clone(), stop.clone());
        match tokio::task::spawn_blocking(move || scrubbing.work(&working, &stopping)).await {
            Ok(next) => scrubbing = next,
            Err(panic) => {
                tracing::error!(%panic, "reading the disk back failed; this is a mistake in cofferd. It begins again");
                scrubbing = Scrubbing::default();
            }
        }
    }
}

/// The catalog is compared with the segments this often.
const COMPARE_EVERY: Duration = Duration::from_secs(24 * 3600);

/// What was done since the box started.
#[derive(Default)]
struct Scrubbing {
    has_begun: bool,
    /// When points were last dated, and whether something was read since.
    dated: Option<Instant>,
    has_read: bool,
    /// When the catalog was last compared.
    compared: Option<Instant>,
}

impl Scrubbing {
    fn work(mut self, appliance: &Appliance, stop: &watch::Receiver<bool>) -> Scrubbing {
        if !appliance.vault.is_read_only()
            && let Err(error) = self.try_work(appliance, stop)
        {
            tracing::error!(%error, "reading the disk back failed; it's tried again");
        }
        self
    }

    fn try_work(&mut self, appliance: &Appliance, stop: &watch::Receiver<bool>) -> Result<(), VaultError> {
        // Before anything goes by what the catalog says.
        self.compare_catalog(appliance, stop)?;
        appliance.trials.work(appliance, stop)?;
        let (vault, bound_ms) = (&appliance.vault, appliance.settings.scrub.bound_ms());
        let reading = vault.reading();
        if !self.has_begun {
            vault.begin_scrubbing()?;
            self.has_begun = true;
        }
        let progress = reading.read_back_progress(vault.now_ms(), bound_ms)?;
        let due = reading.to_read_back(vault.now_ms(), bound_ms, AT_ONCE)?;
        let is_last = due.len() < AT_ONCE;
        // What is late is read whoever waits.
        let mut pace = Pace::new(&appliance.traffic, stop, progress.late == 0);
        for segment in due {
            match vault.scrub(segment, &mut |_| pace.goes_on())? {
                Some(0) => {}
                Some(places) => tracing::error!(%segment, places, "damage was found"),
                None if pace.is_stopping() => return Ok(()),
                None => continue,
            }
            self.has_read = true;
        }
        if self.has_read && (is_last || self.dated.is_none_or(|dated| dated.elapsed() >= DATE_EVERY)) {
            // Not at the pace of the rest: while it reads, the catalog's journal can't be folded in.
            vault.date_points(&mut || !pace.is_stopping())?;
            (self.has_read, self.dated) = (false, Some(Instant::now()));
        }
        Ok(())
    }
}

impl Scrubbing {
    /// Compares the catalog with the segments: once a day, and at once where something was read that it shouldn't say.
    fn compare_catalog(
        &mut self,
        appliance: &Appliance,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), VaultError> {
        let vault = &appliance.vault;
        let is_doubted = vault.reading().doubts_catalog()?;
        let is_due = self.compared.is_none_or(|compared| compared.elapsed() >= COMPARE_EVERY);
        if !is_doubted && !is_due {
            return Ok(());
        }
        let mut pace = Pace::new(&appliance.traffic, stop, true);
        // What is wrong is wrong for everybody: nobody is given way to then.
        let found =
            vault.compare_catalog(&mut |_| if is_doubted { !pace.is_stopping() } else { pace.goes_on() })?;
        if found.is_some() {
            self.compared = Some(Instant::now());
        }
        Ok(())
    }
}

impl Scrub {
    /// Everything is read back within so long.
    pub(crate) fn bound_ms(&self) -> u64 {
        self.days * 24 * 3_600_000
    }
}
