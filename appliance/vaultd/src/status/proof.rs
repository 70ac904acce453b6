//! What there is to say of what was proven: that the disk is read back, and that trial restores come out right.

use coffer_vault::VaultError;
use coffer_vault::remaking::CatalogCare;
use coffer_vault::scrub::Progress;
use coffer_vault::trial::Trial;

use super::{ComputerStatus, Status};
use crate::serve::Appliance;
use crate::settings::Scrub;
use crate::units::hours;

/// It's told so long that the catalog was mended.
const MENDED_TOLD_MS: u64 = 7 * 24 * 3_600_000;

/// Computers whose trials are told one by one.
const NAMED_MAX: usize = 8;

pub(super) fn progress(appliance: &Appliance) -> Result<Option<Progress>, VaultError> {
    let (scrub, vault) = (&appliance.settings.scrub, &appliance.vault);
    let progress = |scrub: &Scrub| vault.reading().read_back_progress(vault.now_ms(), scrub.bound_ms());
    Some(scrub).filter(|scrub| scrub.enabled).map(progress).transpose()
}

pub(super) fn sentences(scrub: &Scrub, status: &Status) -> Vec<String> {
    let mut told: Vec<String> =
        tried(status).filter_map(|(computer, trial)| failed(computer, trial)).collect();
    match status.scrub {
        None => told.push(
            "Nothing on the box's disk is read back by itself, and no trial restores are made (scrub.enabled = false in box.toml): damage shows only \
             when something is needed. Remove that line, or run `coffer verify` often."
                .into(),
        ),
        Some(progress) if progress.late > 0 => told.push(format!(
            "{} of {} segments on the box's disk weren't read back within {} days: damage there may not be known. The box is reading them; if this \
             stays, its disk is too slow for so much data: choose more days ([scrub] in box.toml), or have the disk checked.",
            progress.late, progress.segments, scrub.days
        )),
        Some(_) => {}
    }
    told
}

/// What is good to know where all is well.
pub(super) fn notes(status: &Status) -> Vec<String> {
    let right: Vec<_> = tried(status).filter(|(_, trial)| trial.why.is_none()).collect();
    let mut told: Vec<String> = match right.len() {
        ..=NAMED_MAX => right.iter().map(|(computer, trial)| note(computer, trial, status.now_ms)).collect(),
        count => {
            let oldest_ms = right.iter().map(|(_, trial)| trial.ms).min().unwrap_or(status.now_ms);
            let oldest = hours(status.now_ms.saturating_sub(oldest_ms));
            vec![format!(
                "Last trial restores of {count} computers: all of them right, the oldest {oldest} ago."
            )]
        }
    };
    told.extend(untried(status));
    told
}

/// That the catalog was mended, for some days.
pub(super) fn catalog(care: &CatalogCare, now_ms: u64) -> Option<String> {
    let mended_ms = care.mended_ms.filter(|ms| now_ms.saturating_sub(*ms) < MENDED_TOLD_MS)?;
    let ago = hours(now_ms.saturating_sub(mended_ms));
    let what = match care.mended_rows {
        0 => "the catalog was damaged; it was made again from the segments".to_owned(),
        1 => "the catalog had a wrong row; it was made again from the segments".to_owned(),
        rows => format!("the catalog had {rows} wrong rows; they were made again from the segments"),
    };
    Some(format!("{ago} ago {what}: nothing needs to be done. If that comes again, have the disk checked."))
}

/// What there is to say of computers of which no file could be tried.
fn untried(status: &Status) -> Option<String> {
    let mut names = status.computers.iter().filter(|computer| computer.is_untried);
    let first = names.next()?;
    let more = match names.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "No file of {}{more} could be restored for a trial: what was chosen isn't on this box's disk.",
        first.name
    ))
}

fn tried(status: &Status) -> impl Iterator<Item = (&ComputerStatus, &Trial)> {
    status.computers.iter().filter_map(|computer| Some((computer, computer.trial.as_ref()?)))
}

fn note(computer: &ComputerStatus, trial: &Trial, now_ms: u64) -> String {
    format!(
        "Last trial restore of {}: {} ago, {} of {} right.",
        computer.name,
        hours(now_ms.saturating_sub(trial.ms)),
        trial.right,
        trial.tried
    )
}

fn failed(computer: &ComputerStatus, trial: &Trial) -> Option<String> {
    let why = trial.why.as_ref()?;
    let path: String = String::from_utf8_lossy(&trial.path).chars().filter(|one| !one.is_control()).collect();
    Some(format!(
        "{}: a trial restore of /{path} at point {} didn't give what was stored: {why}. It's tried again by itself; `coffer verify` says what else is \
         touched. Have the disk checked.",
        computer.name, trial.point
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn computer(name: &str, why: Option<&str>) -> ComputerStatus {
        let (why, right) = (why.map(str::to_owned), u64::from(why.is_none()));
        let trial =
            Trial { computer: 1, ms: 0, config: 1, point: 7, path: b"a/b".to_vec(), why, tried: 1, right };
        ComputerStatus {
            computer: 1,
            name: name.into(),
            connected: true,
            revoked: false,
            trial: Some(trial),
            is_untried: false,
            configurations: Vec::new(),
        }
    }

    #[test]
    fn a_mended_catalog_is_told_for_some_days() {
        let care = |mended_ms, mended_rows| CatalogCare { looked_ms: Some(1), mended_ms, mended_rows };
        assert_eq!(catalog(&care(None, 0), 5), None);
        let told = catalog(&care(Some(0), 3), 2 * 3_600_000).unwrap();
        assert!(told.starts_with("2 h ago the catalog had 3 wrong rows"), "{told}");
        assert_eq!(catalog(&care(Some(0), 3), MENDED_TOLD_MS), None);
    }

    #[test]
    fn a_trial_that_failed_is_a_sentence_and_one_that_came_right_a_note() {
        let (right, wrong) = (computer("PC1", None), computer("PC2", Some("it's short")));
        let trial = |one: &ComputerStatus| one.trial.clone().unwrap();
        assert_eq!(failed(&right, &trial(&right)), None);
        assert_eq!(
            note(&right, &trial(&right), 3 * 3_600_000),
            "Last trial restore of PC1: 3 h ago, 1 of 1 right."
        );
        let told = failed(&wrong, &trial(&wrong)).unwrap();
        assert!(told.contains("/a/b at point 7") && told.contains("it's short"), "{told}");
    }
}
