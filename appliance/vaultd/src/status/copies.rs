//! What there is to say of the copies elsewhere: tape and headquarters.

use coffer_replicator::{WanStatus, WholeAtHq};

use super::ComputerStatus;
use crate::serve::Appliance;
use crate::settings::Settings;
use crate::units::hours;

/// Headquarters may refuse whatever it's offered for so long before a person is told.
const NOT_TAKEN_MAX_MS: u64 = 30_000;

pub(super) fn sentences(appliance: &Appliance, computers: &[ComputerStatus], now_ms: u64) -> Vec<String> {
    let mut told: Vec<String> = library(&appliance.settings).into_iter().collect();
    if let Some(tape) = &appliance.tape {
        told.extend(tape.sentences());
    }
    if let Some(wan) = &appliance.wan {
        let away_max_ms = wan.settings().patience.away.as_millis() as u64;
        told.extend(headquarters(&wan.status().borrow(), away_max_ms, now_ms));
        told.extend(not_whole_at_hq(&wan.status().borrow().whole, computers));
    }
    told
}

/// What is as it was meant to be, and still good to know.
pub(super) fn notes(settings: &Settings) -> Vec<String> {
    let has_note = !settings.tape.has_library() && settings.hq.is_some();
    let note = "This box has no tape library: what it keeps is on its own disk and, as far as it has got, at headquarters.";
    has_note.then(|| note.to_owned()).into_iter().collect()
}

/// What there is to say of a library that isn't there, or isn't one.
fn library(settings: &Settings) -> Option<String> {
    let tape = &settings.tape;
    if tape.enabled && tape.simulated {
        return Some(
            "The tape library of this box is simulated, on its own disk: it protects nothing. Remove tape.simulated from box.toml, \
             or use this box for demonstrations alone."
                .into(),
        );
    }
    if tape.enabled && !tape.has_library() && settings.hq.is_none() {
        return Some(
            "This box has neither a tape library nor a headquarters: everything it keeps is on its own disk alone. Name the library's \
             changer in box.toml under [tape], or set tape.enabled = false if that is meant to be so."
                .into(),
        );
    }
    None
}

/// Headquarters that took nothing for longer than `away_max_ms` is worth a sentence.
fn headquarters(line: &WanStatus, away_max_ms: u64, now_ms: u64) -> Vec<String> {
    let mut told = Vec::new();
    let away_ms = now_ms.saturating_sub(line.since_ms);
    if line.hq_is_full {
        told.push(
            "Headquarters' disk is full: it takes nothing more, and what changed since isn't there. Free space at \
             headquarters; then the box goes on by itself."
                .into(),
        );
    } else if let Some(why) = &line.refused {
        told.push(format!("Headquarters refuses this box: what changed since isn't there. {why}."));
    } else if let Some(not_taken) = line
        .not_taken
        .as_ref()
        .filter(|not_taken| now_ms.saturating_sub(not_taken.since_ms) > NOT_TAKEN_MAX_MS)
    {
        told.push(format!(
            "Headquarters can't take anything from this box: what changed since isn't there. {}. It's tried again by itself.",
            not_taken.why
        ));
    } else if let (false, Some(why), true) = (line.connected, &line.last_error, away_ms > away_max_ms) {
        told.push(format!(
            "Headquarters hasn't taken anything for {}: what changed since isn't there. {why}.",
            hours(away_ms)
        ));
    }
    if line.set_back {
        told.push(
            "Headquarters knows a newer state of this vault than the box has, so nothing is sent to it. Restart the box: it takes up what headquarters has."
                .into(),
        );
    }
    if let Some(first) = line.held_back.first() {
        let more = match line.held_back.len() - 1 {
            0 => String::new(),
            more => format!(" So it is with {more} more."),
        };
        told.push(format!("Headquarters doesn't get everything: {first}.{more}"));
    }
    told
}

/// What headquarters can't restore though it has all that the box can send.
fn not_whole_at_hq(whole: &[WholeAtHq], computers: &[ComputerStatus]) -> Option<String> {
    let lacking: Vec<&WholeAtHq> = whole.iter().filter(|whole| whole.lacks_newest()).collect();
    let first = lacking.first()?;
    let name = computers.iter().find_map(|computer| {
        let config = computer.configurations.iter().find(|config| config.config == first.config)?;
        Some(format!("{}/{}", computer.name, config.name))
    })?;
    let more = match lacking.len() - 1 {
        0 => String::new(),
        more => format!(" So it is with {more} more."),
    };
    let newest = first.point.map_or_else(
        || "no restore point of it can be restored whole from there".to_owned(),
        |point| {
            format!("the newest one that can be restored whole from there is {point}, of {}", first.newest)
        },
    );
    Some(format!(
        "Headquarters has all that it can get of {name}, and {newest}: what newer ones need is damaged or missing there, and the box has \
         nothing more of it to send. `coffer verify` at headquarters names the files.{more}"
    ))
}

#[cfg(test)]
mod tests {
    use coffer_replicator::NotTaken;

    use super::*;

    #[test]
    fn a_library_that_is_not_there_or_not_real_is_a_sentence() {
        let said = |text: &str| library(&Settings::parse(text).unwrap()).unwrap_or_default();
        assert!(said("").contains("its own disk alone"));
        assert!(said("[tape]\nsimulated = true\n").contains("simulated"));
        assert_eq!(said("[tape]\nenabled = false\n"), "");
        assert_eq!(said("[hq]\naddress = \"hq:7443\"\n"), "");
        assert_eq!(said("[tape]\nchanger = \"/dev/sg3\"\ndrives = [\"/dev/sg4\"]\n"), "");
    }

    #[test]
    fn a_box_with_headquarters_alone_says_so_calmly() {
        let noted = |text: &str| notes(&Settings::parse(text).unwrap());
        let hq = "[hq]\naddress = \"hq:7443\"\n";
        assert!(noted(hq)[0].contains("no tape library"));
        assert_eq!(noted(&format!("{hq}[tape]\nsimulated = true\n")), Vec::<String>::new());
        assert_eq!(noted(""), Vec::<String>::new(), "that is a sentence");
    }

    #[test]
    fn what_headquarters_does_not_get_is_said() {
        let away =
            WanStatus { last_error: Some("its disk is full".into()), since_ms: 1, ..WanStatus::default() };
        assert!(headquarters(&away, 100, 102)[0].contains("its disk is full"));
        assert_eq!(headquarters(&away, 100, 101), Vec::<String>::new());
        let not_taken = Some(NotTaken { since_ms: 1000, why: "a folder lies in its place".into() });
        let refusing = WanStatus { connected: true, not_taken, ..WanStatus::default() };
        assert_eq!(headquarters(&refusing, 600_000, 31_000), Vec::<String>::new(), "it may pass by itself");
        let told = headquarters(&refusing, 600_000, 31_001);
        assert!(told[0].contains("can't take anything") && told[0].contains("a folder lies"), "{told:?}");
        let full = WanStatus { hq_is_full: true, ..WanStatus::default() };
        assert!(headquarters(&full, 0, 0)[0].contains("disk is full"));
        let held_back = vec!["segment 4 is longer there".to_owned(), "another".to_owned()];
        let ahead = WanStatus { connected: true, held_back, ..WanStatus::default() };
        let told = headquarters(&ahead, 0, 0);
        assert!(told[0].contains("segment 4 is longer there") && told[0].contains("1 more"), "{told:?}");
    }
}
