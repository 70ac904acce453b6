//! How each computer stands, and what there is to say of it.

use coffer_format::wire::WAITS;
use coffer_format::{ComputerId, ConfigId, PointSeq};
use coffer_vault::browse::Point;
use coffer_vault::healing::HarmToNewest;
use coffer_vault::trial::Trial;
use coffer_vault::{Reading, VaultError};
use serde::Serialize;

use super::Status;
use super::standing::{Judged, Known, STALE_MS, Standing, judge};
use crate::live::Unwatched;
use crate::memories::Memories;
use crate::serve::Appliance;
use crate::units::{hours, local_time};

/// One computer's protection.
#[derive(Debug, Clone, Serialize)]
pub struct ComputerStatus {
    pub computer: u32,
    pub name: String,
    pub connected: bool,
    pub revoked: bool,
    /// What the last trial restore of one of its files showed.
    pub trial: Option<Trial>,
    /// Whether no file was found to try: those that were chosen have their data elsewhere.
    pub is_untried: bool,
    pub configurations: Vec<ConfigStatus>,
}

/// One configuration's protection. Data at risk: what changed since `protected_ms`.
#[derive(Debug, Clone, Serialize)]
pub struct ConfigStatus {
    pub config: u32,
    pub name: String,
    pub state: Standing,
    pub points: usize,
    /// Remarks of the newest point.
    pub remarks: u64,
    pub last_point_ms: Option<u64>,
    /// When the newest point was last known to be all there is: as it was made, or as the agent last found nothing new. `None` where it
    /// holds no file, and where the computer was revoked.
    pub protected_ms: Option<u64>,
    /// `None` before the first point, and where its age isn't known.
    pub at_risk_ms: Option<u64>,
    /// Why captures fail, in the agent's words.
    pub failure: Option<String>,
    /// That changes aren't watched, as the agent that's connected says.
    pub unwatched: Option<Unwatched>,
    /// What the newest point lacks.
    pub lacking: Option<String>,
    /// That the newest point holds far less than others of the last days.
    pub fewer: Vec<String>,
    /// That it holds no file of something that's included.
    pub empty: Option<String>,
}

pub(super) fn of(appliance: &Appliance) -> Result<Vec<ComputerStatus>, VaultError> {
    let reading = appliance.vault.reading();
    let now = appliance.vault.now_ms();
    let all = reading.configurations()?;
    let trials = reading.trials()?;
    let harm_to_newest = reading.harm_to_newest()?;
    let on_unread = appliance.on_unread.counts(appliance)?;
    let is_shut = appliance.takes_nothing_in()?;
    let mut computers = Vec::new();
    for computer in reading.computers()? {
        let mut configurations = Vec::new();
        for config in all.iter().filter(|config| config.computer == computer.computer) {
            let id = ConfigId(config.config);
            let points = reading.points(id)?;
            let looked = appliance.live.up_to_date_ms(id, now);
            let failure = appliance.live.failure(id);
            let last = points.first().map(|point| point.closed_ms);
            let holds_files = reading.holds_files(id)?;
            let remark = first_remark(reading, id, points.first())?;
            let HarmToNewest { lost, damaged } = harm_to_newest.get(&id).copied().unwrap_or_default();
            let unread = on_unread.get(&id).copied().unwrap_or(0);
            let (failure_said, remark) = (failure.as_deref(), remark.as_deref());
            let newest = points.first().map(|point| PointSeq(point.point));
            let is_doubtful = newest.map_or(Ok(false), |newest| reading.is_doubtful(id, newest))?;
            let lacks_newer = !is_doubtful && reading.goes_by_others(id)?;
            let looked_ms = looked;
            let known = Known {
                holds_files,
                looked_ms,
                failure: failure_said,
                is_shut,
                remark,
                lost,
                damaged,
                unread,
                is_doubtful,
                lacks_newer,
            };
            let judged = match computer.revoked {
                true => Judged { standing: Standing::Revoked, at_risk_ms: None, why: None },
                false => judge(points.first(), known, now),
            };
            let Judged { standing, at_risk_ms, why } = judged;
            let claimed = last.filter(|_| holds_files && !computer.revoked);
            let compared = appliance.fewer.told(reading, (id, &config.toml), &points)?;
            configurations.push(ConfigStatus {
                config: config.config,
                name: config.name.clone(),
                state: standing,
                points: points.len(),
                remarks: points.first().map_or(0, |point| point.report_lines),
                last_point_ms: last,
                protected_ms: claimed.map(|last| last.max(looked.unwrap_or(0))),
                at_risk_ms,
                failure,
                unwatched: appliance.live.why_unwatched(ComputerId(computer.computer), id),
                lacking: why,
                fewer: compared.sentences,
                empty: compared.note,
            });
        }
        computers.push(ComputerStatus {
            is_untried: appliance.trials.is_away(ComputerId(computer.computer)),
            trial: trials.iter().find(|trial| trial.computer == computer.computer).cloned(),
            computer: computer.computer,
            connected: appliance.live.is_connected(ComputerId(computer.computer)),
            name: computer.name,
            revoked: computer.revoked,
            configurations,
        });
    }
    Ok(computers)
}

/// The first that an incomplete point's capture had to say, as one line.
fn first_remark(
    reading: &Reading,
    config: ConfigId,
    newest: Option<&Point>,
) -> Result<Option<String>, VaultError> {
    const SHOWN_MAX: usize = 300;
    let Some(newest) = newest.filter(|point| point.report_lines > 0) else { return Ok(None) };
    let first = match reading.report(config, PointSeq(newest.point)) {
        Ok(report) => report.into_iter().next(),
        // The record itself is damaged, which has a sentence of its own.
        Err(VaultError::Damaged { .. } | VaultError::NotOnDisk(_) | VaultError::Decode(_)) => None,
        Err(error) => return Err(error),
    };
    Ok(first.map(|remark| {
        let whole = match remark.path.is_empty() {
            true => remark.what,
            false => format!("{} {}", remark.path, remark.what),
        };
        // A computer's words are data: nothing in them may command a terminal.
        let plain = |letter: char| if letter.is_control() { '?' } else { letter };
        whole.chars().take(SHOWN_MAX).map(plain).collect()
    }))
}

/// That nothing of a computer is captured any more, and that nothing of something included is kept.
pub(super) fn notes(computers: &[ComputerStatus]) -> impl Iterator<Item = String> {
    let note = |computer: &ComputerStatus| {
        format!(
            "{} was revoked: nothing of it is captured any more. What the box has of it can be restored.",
            computer.name
        )
    };
    let of_config = |computer: &ComputerStatus, config: &ConfigStatus| {
        config.empty.as_ref().map(|empty| format!("{}: {}: {empty}.", computer.name, config.name))
    };
    let empty = computers.iter().filter(|computer| !computer.revoked).flat_map(move |computer| {
        computer.configurations.iter().filter_map(move |config| of_config(computer, config))
    });
    computers.iter().filter(|computer| computer.revoked).map(note).chain(empty)
}

/// Why an agent that's there doesn't capture a configuration, in its own words.
fn waits<'a>(config: &ConfigStatus, status: &'a Status) -> Option<&'a str> {
    let mut all = status.doing.iter().filter(|one| one.config == config.config);
    all.find_map(|one| Some(one.doing.as_str()).filter(|doing| is_waiting(doing)))
}

/// An agent's words are data: what isn't a plain sentence isn't shown as one.
fn is_waiting(doing: &str) -> bool {
    doing.starts_with(WAITS) && doing.len() <= 100 && !doing.chars().any(char::is_control)
}

pub(super) fn sentences(computer: &ComputerStatus, status: &Status, told: &mut Vec<String>) {
    let name = &computer.name;
    if computer.configurations.is_empty() {
        told.push(match status.awaits_metadata {
            true => format!(
                "{name} has no backup configuration that the box knows of: it may come back with the metadata that is missing. Nothing of the \
                 computer is captured until then."
            ),
            false => {
                format!("{name} has no backup configuration: nothing of it is protected. Add one with `coffer config set`.")
            }
        });
    }
    for config in &computer.configurations {
        if let Some(why) = &config.failure {
            told.push(format!(
                "{name}: {} can't be captured: {why}. What changes there isn't protected until it can.",
                config.name
            ));
        }
        if let Some(Unwatched { minutes, why }) = &config.unwatched {
            told.push(format!(
                "{name}: changes of {} are found every {minutes} minutes instead of at once, and are at risk until then: {why}. The agent \
                 tries as often to watch it again.",
                config.name
            ));
        }
        if let Some(why) = &config.lacking {
            told.push(format!("{name}: {}: {why}.", config.name));
        }
        told.extend(config.fewer.iter().map(|fewer| format!("{name}: {}: {fewer}.", config.name)));
        told.extend(age(computer, config, waits(config, status)));
    }
}

/// That a computer's agents begin from different memories.
pub(super) fn another_memory(computer: &ComputerStatus, memories: &Memories, now_ms: u64) -> Option<String> {
    let others = computer.configurations.iter();
    let others = others.filter_map(|config| memories.others(ConfigId(config.config), now_ms));
    let (count, first_ms) = others.max_by_key(|(count, _)| *count)?;
    Some(format!(
        "The agent of {name} began from another memory than the box's {count} times since {}. Either its state folder was set back to an older \
         copy, or swapped, that often: then nothing is lost, as it compares everything with what the box has, but leave that folder alone. Or two \
         machines run with one identity, and the restore points alternate between them: then enrol each machine with a code of its own.",
        local_time(first_ms),
        name = computer.name,
    ))
}

/// What there is to say of the age of a configuration's newest point.
fn age(computer: &ComputerStatus, config: &ConfigStatus, waits: Option<&str>) -> Option<String> {
    let (name, of) = (&computer.name, &config.name);
    let Some(last_ms) = config.last_point_ms else {
        return match (waits, computer.connected, &config.failure) {
            (_, true, Some(_)) => None,
            (Some(why), true, None) => Some(format!(
                "{name}: the first copy of {of} {why}; it isn't protected yet. `coffer capture` starts it all the same."
            )),
            (None, true, None) => {
                Some(format!("{name}: the first copy of {of} is under way; it isn't protected yet."))
            }
            (_, false, _) => Some(format!(
                "{name}: {of} has no restore point yet and the computer isn't connected: all of it is at risk. Start coffer-agent there."
            )),
        };
    };
    if config.protected_ms.is_none() {
        return (!computer.connected).then(|| {
            format!(
                "{name}: the newest restore point of {of} holds no file and the computer isn't connected: all of it is at risk. Start \
                 coffer-agent there."
            )
        });
    }
    // A point from the future is told of by what it lacks.
    let age_ms = config.at_risk_ms.filter(|age| *age > STALE_MS && last_ms > 0)?;
    let ago = hours(age_ms);
    Some(match (waits, computer.connected) {
        (_, false) => format!(
            "{name}: {of} was last protected {ago} ago and the computer isn't connected: what changed since is at risk. Start coffer-agent there."
        ),
        (Some(why), true) => format!(
            "{name}: {of} {why}; it was last protected {ago} ago. `coffer capture` starts one all the same."
        ),
        (None, true) => format!(
            "{name}: {of} was last protected {ago} ago though the computer is connected: what changed since is at risk. `coffer capture` \
             starts a capture; the agent's log tells why none came."
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stale(connected: bool) -> ComputerStatus {
        let config = ConfigStatus {
            config: 1,
            name: "all".into(),
            state: Standing::Stale,
            points: 1,
            remarks: 0,
            last_point_ms: Some(1),
            protected_ms: Some(1),
            at_risk_ms: Some(10 * STALE_MS),
            failure: None,
            unwatched: None,
            lacking: None,
            fewer: Vec::new(),
            empty: None,
        };
        ComputerStatus {
            computer: 1,
            name: "PC1".into(),
            connected,
            revoked: false,
            trial: None,
            is_untried: false,
            configurations: vec![config],
        }
    }

    #[test]
    fn a_connected_computer_whose_captures_bring_nothing_is_told() {
        for connected in [true, false] {
            let computer = stale(connected);
            let told = age(&computer, &computer.configurations[0], None).unwrap();
            assert!(told.contains("PC1") && told.contains("last protected"), "{told}");
        }
    }

    #[test]
    fn what_never_held_a_file_was_never_protected() {
        for connected in [true, false] {
            let mut computer = stale(connected);
            let config = &mut computer.configurations[0];
            (config.protected_ms, config.at_risk_ms) = (None, None);
            let told = age(&computer, &computer.configurations[0], None);
            assert_eq!(told.is_some(), !connected);
            assert!(
                told.is_none_or(|told| told.contains("holds no file") && !told.contains("last protected"))
            );
        }
    }
}
