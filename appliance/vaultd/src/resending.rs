//! What no copy has of files as they are now, their computers may have. Those that are connected are asked at once to begin a capture,
//! which is told what to send again: where nothing changes on a computer, none would begin for long. So are those that are to compare
//! everything with what the box has.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coffer_format::wire::Message;
use coffer_format::{ComputerId, ConfigId, SegmentId};
use coffer_vault::registry::Configuration;
use coffer_vault::verify::Gap;
use coffer_vault::{Reading, VaultError};

use crate::serve::Appliance;
use crate::waiting::Wait;

/// While anything is damaged, it's looked this often what is lost, whatever else happens: copies may have gone.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// What computers were asked for.
#[derive(Default)]
pub(crate) struct Resending {
    /// When it was last looked what is lost, and what was known of damage then.
    looked: Option<(Instant, Known)>,
    lost: BTreeMap<ConfigId, Lost>,
    /// Those that are to compare everything.
    recalled: BTreeMap<ConfigId, Asked>,
}

/// What is known of damage.
#[derive(PartialEq, Eq)]
struct Known {
    damage: Vec<(SegmentId, u64)>,
    missing: Vec<Gap>,
}

impl Known {
    fn of(reading: &Reading) -> Result<Known, VaultError> {
        Ok(Known { damage: reading.known_damage()?, missing: reading.missing_records()? })
    }

    fn is_nothing(&self) -> bool {
        self.damage.is_empty() && self.missing.is_empty()
    }
}

/// A configuration whose newest state lacks something that no copy has.
struct Lost {
    computer: ComputerId,
    files: u64,
    /// Its newest point when that was found.
    newest: Option<u64>,
    asked: Asked,
}

/// When a computer was asked.
#[derive(Default)]
struct Asked {
    /// Over which line, and when it's asked again over the same.
    last: Option<(u64, Wait)>,
}

impl Asked {
    /// Whether a computer that is connected so is to be asked: over another line than before it may not know of it.
    fn is_due(&self, connection: u64) -> bool {
        self.last.is_none_or(|(over, wait)| over != connection || wait.is_over())
    }

    fn done(&mut self, connection: u64) {
        let before = self.last.filter(|(over, _)| *over == connection).map(|(_, wait)| wait);
        self.last = Some((connection, Wait::after(before.as_ref())));
    }
}

impl Resending {
    /// Asks whom there is to ask.
    pub(crate) fn work(&mut self, appliance: &Appliance) -> Result<(), VaultError> {
        if appliance.takes_nothing_in()? {
            // Nobody could send anything.
            return Ok(());
        }
        let reading = appliance.vault.reading();
        let configurations = reading.configurations()?;
        self.ask_to_recall(appliance, &configurations)?;
        let known = Known::of(reading)?;
        if known.is_nothing() && self.lost.is_empty() {
            self.looked = None;
            return Ok(());
        }
        if self.is_look_due(appliance, &known)? {
            self.look(appliance, &configurations)?;
            self.looked = Some((Instant::now(), known));
        }
        self.ask_to_resend(appliance)
    }

    fn ask_to_recall(
        &mut self,
        appliance: &Appliance,
        configurations: &[Configuration],
    ) -> Result<(), VaultError> {
        for one in configurations {
            let (config, computer) = (ConfigId(one.config), ComputerId(one.computer));
            if !appliance.vault.reading().must_recall(config)? {
                self.recalled.remove(&config);
                continue;
            }
            let asked = self.recalled.entry(config).or_default();
            ask(appliance, computer, asked, &Message::Recall { config });
        }
        Ok(())
    }

    fn is_look_due(&self, appliance: &Appliance, known: &Known) -> Result<bool, VaultError> {
        let Some((at, before)) = &self.looked else { return Ok(true) };
        if before != known || at.elapsed() >= LOOK_EVERY {
            return Ok(true);
        }
        for (config, lost) in &self.lost {
            let is_asked_again = appliance
                .live
                .connection(lost.computer)
                .is_some_and(|connection| lost.asked.is_due(connection));
            if is_asked_again || newest_of(appliance, *config)? != lost.newest {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Finds what is lost, and keeps in the audit log what was and what is no more.
    fn look(&mut self, appliance: &Appliance, configurations: &[Configuration]) -> Result<(), VaultError> {
        let vault = &appliance.vault;
        let found = vault.reading().harm_to_newest()?;
        for one in configurations {
            let (config, name) = (ConfigId(one.config), format!("{}/{}", one.computer_name, one.name));
            let newest = newest_of(appliance, config)?;
            let before = self.lost.remove(&config);
            let Some(files) = found.get(&config).map(|harm| harm.lost).filter(|lost| *lost > 0) else {
                if before.is_some() {
                    let what = format!(
                        "nothing of the newest state of {name} is lost any more: its computer was asked, and sent again what it still has"
                    );
                    vault.audit("box", &what)?;
                    tracing::info!(name, "what was lost came back from its computer");
                }
                continue;
            };
            let computer = ComputerId(one.computer);
            let lost = match before {
                Some(before) if before.files == files => Lost { newest, ..before },
                before => {
                    if before.as_ref().is_none_or(|before| before.files < files) {
                        let what = format!(
                            "content of {files} files of the newest state of {name} is lost: neither this disk nor a copy has it, and its computer \
                             is asked for it"
                        );
                        vault.audit("box", &what)?;
                    }
                    Lost { computer, files, newest, asked: Asked::default() }
                }
            };
            self.lost.insert(config, lost);
        }
        self.lost.retain(|config, _| found.contains_key(config));
        Ok(())
    }

    fn ask_to_resend(&mut self, appliance: &Appliance) -> Result<(), VaultError> {
        for (config, lost) in &mut self.lost {
            // Until it's known which metadata counts, nothing is taken in.
            if appliance.vault.reading().goes_by_others(*config)? {
                continue;
            }
            // Which files are lost it's told as it begins: by then they may be others.
            let message = Message::Resend { config: *config, nodes: Vec::new() };
            ask(appliance, lost.computer, &mut lost.asked, &message);
        }
        Ok(())
    }
}

fn ask(appliance: &Appliance, computer: ComputerId, asked: &mut Asked, message: &Message) {
    let Some(connection) = appliance.live.connection(computer) else { return };
    if asked.is_due(connection) && appliance.live.tell_if_free(computer, message) {
        asked.done(connection);
    }
}

fn newest_of(appliance: &Appliance, config: ConfigId) -> Result<Option<u64>, VaultError> {
    Ok(appliance.vault.reading().points(config)?.first().map(|newest| newest.point))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::waiting;

    #[test]
    fn who_was_asked_is_asked_again_after_longer_and_longer_or_over_another_line() {
        let mut asked = Asked::default();
        assert!(asked.is_due(1));
        asked.done(1);
        assert!(!asked.is_due(1) && asked.is_due(2));
        let mut waits = || {
            asked.done(1);
            asked.last.unwrap().1.length
        };
        assert_eq!(waits(), waiting::FIRST * 2);
        assert_eq!((0..9).map(|_| waits()).last(), Some(waiting::LONGEST));
        asked.done(2);
        assert_eq!(asked.last.unwrap().1.length, waiting::FIRST);
    }
}
