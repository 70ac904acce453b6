//! All branches at a glance: how far each configuration is whole at HQ, how old that is, and a sentence for it.

use coffer_vault::mirror::Whole;
use serde_json::{Value, json};

use crate::Result;
use crate::branch::Branch;
use crate::branches::Branches;
use crate::registry::now_ms;

/// Clocks that are right differ by no more than that.
const CLOCKS_DIFFER_MS: u64 = 60_000;

/// Answers `{"hq":"branches"}`. A branch that can't be read shows with its error; the others are not held up.
pub(crate) fn overview(branches: &Branches) -> Result<Value> {
    let now = now_ms();
    let one = |branch: &Branch| match describe(branch, now) {
        Ok(described) => described,
        Err(error) => {
            json!({ "branch": branch.name, "sentence": error.refusal().sentence, "configurations": [] })
        }
    };
    Ok(branches.all()?.iter().map(|branch| one(branch)).collect())
}

fn describe(branch: &Branch, now: u64) -> Result<Value> {
    let whole = branch.whole()?;
    let Some(mirror) = branch.mirror()? else {
        let sentence = match branch.trouble() {
            Some(why) => format!(
                "Branch {}: nothing of it can be taken in, and the box tries it again by itself: {why}.",
                branch.name
            ),
            None => format!(
                "Branch {}: nothing has arrived at HQ yet. Check that the box is on and its line is up.",
                branch.name
            ),
        };
        return Ok(json!({ "branch": branch.name, "sentence": sentence, "configurations": [] }));
    };
    let known = mirror.reading().configurations()?;
    let mut configurations = Vec::new();
    let standing = Standing {
        damaged: mirror.not_as_they_came()?.len(),
        lacking: mirror.lacking_at_box()?.len(),
        absent: mirror.absent(),
        is_connected: branch.is_connected(),
    };
    for whole in &whole {
        let Some(config) = known.iter().find(|config| config.config == whole.config) else { continue };
        let lag_ms = whole.closed_ms.and_then(|closed| age_ms(closed, now));
        configurations.push(json!({
            "config": whole.config,
            "computer": config.computer_name,
            "name": config.name,
            "point": whole.point,
            "closed_ms": whole.closed_ms,
            "lag_ms": lag_ms,
            "newest": whole.newest,
            "lacking": whole.lacking,
            "sentence": sentence(&config.computer_name, &config.name, whole, (lag_ms, standing.damaged > 0)),
        }));
    }
    let bytes: u64 = mirror.has().iter().map(|has| has.bytes).sum();
    Ok(json!({
        "branch": branch.name,
        "vault": mirror.vault().to_string(),
        "bytes": bytes,
        "connected": standing.is_connected,
        "damaged_segments": standing.damaged,
        "sentence": match (branch.is_full(), branch.refused_ms()) {
            _ if branch.is_read_only() => format!(
                "Branch {}: HQ's disk takes no writes, and nothing more of this branch is taken in; what is there can be restored. Have the disk \
                 checked; then it goes on by itself.",
                branch.name
            ),
            _ if branch.is_of_another() => format!(
                "Branch {}: what is here is another box's than the one that is enrolled, which is refused. If the folders of two branches were \
                 swapped at HQ, stop coffer-hq, put them back and start it; if the branch has a new box that is to begin anew, move this \
                 branch's folder away.",
                branch.name
            ),
            (true, _) => format!(
                "Branch {}: HQ's disk is full, and nothing more of this branch is taken in. Free space at HQ; then it goes on by itself.",
                branch.name
            ),
            (false, Some(refused_ms)) => format!(
                "{} Another box than the one that is enrolled tried to be this branch {} ago and was refused: if it's the one before, take it out of \
                 service; what it has that HQ lacks is on its own disk.",
                branch_sentence(&branch.name, &whole, &standing, now),
                age(now.saturating_sub(refused_ms))
            ),
            (false, None) => branch_sentence(&branch.name, &whole, &standing, now),
        },
        "configurations": configurations,
    }))
}

/// What a branch's mirror and line show, beside how far its configurations have come.
struct Standing {
    /// Segments that had come and are damaged or missing here.
    damaged: usize,
    /// Those of them that are damaged at the box too.
    lacking: usize,
    /// Segments of the box of which nothing is here.
    absent: u64,
    is_connected: bool,
}

fn branch_sentence(name: &str, whole: &[Whole], standing: &Standing, now: u64) -> String {
    let is_empty = whole.is_empty();
    // One that never had a restore point isn't under way either.
    let whole: Vec<&Whole> = whole.iter().filter(|whole| whole.newest > 0).collect();
    let without = whole.iter().filter(|whole| whole.point.is_none()).count();
    let oldest = whole.iter().filter_map(|whole| whole.closed_ms).min();
    let lacking = lacking(whole.iter().map(|whole| whole.lacking).sum());
    let is_known =
        whole.iter().filter_map(|whole| whole.closed_ms).all(|closed| age_ms(closed, now).is_some());
    let away = away(standing);
    if standing.lacking > 0 {
        return format!(
            "Branch {name}: {} segments are damaged or missing at HQ, and {} of them at the box too: what needs those can't be restored from here, and \
             comes again only from the computers. The box sends the others again by itself while it's connected.{away}",
            standing.damaged, standing.lacking
        );
    }
    if standing.damaged > 0 {
        return format!(
            "Branch {name}: {} segments are damaged or missing at HQ, and what needs them can't be restored from here. The box sends them again \
             by itself while it's connected.{away}",
            standing.damaged
        );
    }
    match (without, oldest) {
        (0, None) if is_empty && standing.absent > 0 => format!(
            "Branch {name}: metadata is missing at HQ, so it isn't known what the branch has; the box sends it while it's connected.{away}"
        ),
        (0, None) if is_empty => format!("Branch {name}: no backup configuration yet."),
        (0, None) => format!("Branch {name}: no restore point has been taken yet.{away}"),
        (0, Some(_)) if !is_known => format!(
            "Branch {name}: how far HQ is behind isn't known, as a newest restore point was taken later than HQ's clock shows: check the clocks of \
             the box and of HQ.{away}"
        ),
        // The box tells of a restore point before anything else: one that HQ doesn't know of isn't there.
        (0, Some(closed)) if standing.is_connected && whole.iter().all(|whole| has_newest(whole)) => {
            let age = age(now.saturating_sub(closed));
            match lacking.as_str() {
                "" => format!(
                    "Branch {name}: every restore point that the box has told of is whole at HQ; the newest ones are at most {age} old."
                ),
                _ => format!(
                    "Branch {name}: the newest restore points are whole at HQ, and at most {age} old.{lacking}"
                ),
            }
        }
        (0, Some(closed)) => {
            format!("Branch {name}: HQ is at most {} behind.{lacking}{away}", age(now.saturating_sub(closed)))
        }
        (without, _) if whole.iter().all(|whole| whole.point.is_some() || whole.is_all_here()) => format!(
            "Branch {name}: {without} of {} backup configurations have no restore point that can be restored whole from HQ.{lacking}{away}",
            whole.len()
        ),
        (without, _) if !standing.is_connected => format!(
            "Branch {name}: {without} of {} backup configurations have no restore point that is whole at HQ.{lacking}{away}",
            whole.len()
        ),
        (without, _) => format!(
            "Branch {name}: {without} of {} backup configurations have no whole restore point at HQ yet; their first copy \
             is under way. If it's too large for the line, send it by cartridge.{lacking}{away}",
            whole.len()
        ),
    }
}

/// Of a box that isn't connected: what it hasn't sent can't be told from what is here no more.
fn away(standing: &Standing) -> String {
    match (standing.is_connected, standing.absent) {
        (true, _) => String::new(),
        (false, 0) => " The box isn't connected.".into(),
        (false, absent) => format!(
            " The box isn't connected, and {absent} segments of it haven't come or aren't here any more: newer restore points may be missing from \
             the list."
        ),
    }
}

/// Of restore points of which nothing more is coming.
fn lacking(points: u64) -> String {
    let why = "what they need is damaged or missing here, and the box doesn't have it either; `coffer verify` at HQ names the files.";
    match points {
        0 => String::new(),
        1 => format!(" One restore point can't be restored whole from here: {why}"),
        _ => format!(" {points} restore points can't be restored whole from here: {why}"),
    }
}

/// How long ago something was; `None` where it's later than now by more than clocks differ.
fn age_ms(then_ms: u64, now: u64) -> Option<u64> {
    (then_ms <= now + CLOCKS_DIFFER_MS).then(|| now.saturating_sub(then_ms))
}

fn has_newest(whole: &Whole) -> bool {
    whole.point == Some(whole.newest)
}

fn sentence(computer: &str, name: &str, whole: &Whole, (lag_ms, is_damaged): (Option<u64>, bool)) -> String {
    match (whole.point, lag_ms) {
        (Some(point), Some(lag)) => {
            format!("{computer}, {name}: restore point {point} is whole at HQ, {} old.", age(lag))
        }
        (Some(point), None) => format!(
            "{computer}, {name}: restore point {point} is whole at HQ; how old it is isn't known, as it was taken later than HQ's clock shows."
        ),
        _ if whole.is_all_here() && !is_damaged => format!(
            "{computer}, {name}: no restore point can be restored whole from HQ: what they need is damaged or missing here, and the box doesn't have it either."
        ),
        _ if whole.newest == 0 => format!("{computer}, {name}: no restore point has been taken yet."),
        _ if is_damaged => format!(
            "{computer}, {name}: no restore point is whole at HQ, as segments are damaged or missing here; the box sends again what it has of them."
        ),
        _ => format!("{computer}, {name}: no restore point is whole at HQ yet; its data is under way."),
    }
}

/// A time span in words, rounded down to its largest unit.
fn age(ms: u64) -> String {
    let units = [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1000, "second")];
    let found = units.iter().find(|(len, _)| ms >= *len);
    let (count, unit) = found.map_or((0, "second"), |(len, unit)| (ms / len, unit));
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_say_how_far_behind_hq_is() {
        let whole = |point: Option<u64>, newest| Whole {
            config: 1,
            point,
            closed_ms: point.map(|_| 1000),
            newest,
            reached: point,
            lacking: 0,
        };
        let said = |point, newest, lag_ms| sentence("pc1", "all", &whole(point, newest), (lag_ms, false));
        assert_eq!(
            said(Some(3), 4, Some(7_300_000)),
            "pc1, all: restore point 3 is whole at HQ, 2 hours old."
        );
        assert!(said(Some(3), 4, None).contains("how old it is isn't known"));
        assert!(said(None, 4, None).contains("under way"));
        assert!(said(None, 0, None).contains("has been taken"));
        assert!(sentence("pc1", "all", &whole(None, 4), (None, true)).contains("damaged or missing"));

        let connected = Standing { damaged: 0, lacking: 0, absent: 0, is_connected: true };
        assert_eq!(
            branch_sentence("leeds", &[whole(Some(1), 2)], &connected, 61_000),
            "Branch leeds: HQ is at most 1 minute behind."
        );
        let told = branch_sentence("leeds", &[whole(Some(2), 2)], &connected, 61_000);
        assert!(told.contains("every restore point that the box has told of is whole at HQ"), "{told}");
        // The point was taken at 1000 by the box's clock.
        assert_eq!((age_ms(61_000, 1000), age_ms(61_001, 1000)), (Some(0), None));
        let late = Whole { closed_ms: Some(86_400_000), ..whole(Some(2), 2) };
        let told = branch_sentence("leeds", &[whole(Some(2), 2), late], &connected, 61_000);
        assert!(told.contains("isn't known") && told.contains("check the clocks"), "{told}");
        let away = Standing { damaged: 0, lacking: 0, absent: 0, is_connected: false };
        let told = branch_sentence("leeds", &[whole(Some(2), 2)], &away, 61_000);
        assert_eq!(told, "Branch leeds: HQ is at most 1 minute behind. The box isn't connected.");
        let gone = Standing { absent: 2, ..away };
        let told = branch_sentence("leeds", &[whole(Some(2), 2)], &gone, 61_000);
        assert!(told.contains("2 segments of it haven't come or aren't here any more"), "{told}");
        let told = branch_sentence("leeds", &[], &gone, 61_000);
        assert!(told.contains("metadata is missing at HQ"), "{told}");
        let told = branch_sentence("leeds", &[whole(None, 1)], &gone, 61_000);
        assert!(!told.contains("first copy"), "{told}");
        let one_without = [whole(Some(1), 1), whole(None, 1)];
        assert!(branch_sentence("leeds", &one_without, &connected, 0).contains("1 of 2"));
        // What never had a point is no first copy that the line is too thin for.
        let told = branch_sentence("leeds", &[whole(Some(2), 2), whole(None, 0)], &connected, 61_000);
        assert!(told.contains("every restore point that the box has told of is whole at HQ"), "{told}");
        let told = branch_sentence("leeds", &[whole(None, 0)], &connected, 61_000);
        assert_eq!(told, "Branch leeds: no restore point has been taken yet.");
        let lacks = |point, lacking| Whole { lacking, reached: Some(3), ..whole(point, 3) };
        let told = branch_sentence("leeds", &[lacks(Some(3), 2)], &connected, 61_000);
        assert_eq!(
            told,
            "Branch leeds: the newest restore points are whole at HQ, and at most 1 minute old. 2 restore points can't be restored whole from \
             here: what they need is damaged or missing here, and the box doesn't have it either; `coffer verify` at HQ names the files."
        );
        let told = branch_sentence("leeds", &[lacks(None, 1)], &connected, 61_000);
        assert!(
            told.contains("no restore point that can be restored whole") && told.contains(" One"),
            "{told}"
        );
        assert!(
            sentence("pc1", "all", &lacks(None, 1), (None, false)).contains("the box doesn't have it either")
        );
        let damaged = Standing { damaged: 2, lacking: 0, absent: 0, is_connected: true };
        let told = branch_sentence("leeds", &one_without, &damaged, 0);
        assert!(told.contains("2 segments are damaged or missing") && !told.contains("first copy"), "{told}");
        let told = branch_sentence("leeds", &one_without, &Standing { lacking: 1, ..damaged }, 0);
        assert!(told.contains("1 of them at the box too"), "{told}");
    }
}
