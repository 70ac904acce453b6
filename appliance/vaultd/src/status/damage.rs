//! What there is to say of damage on the box's disk: which versions it touches, and whether a copy heals them.

use coffer_format::segment::Stream;
use coffer_vault::VaultError;
use coffer_vault::healing::HealNeed;
use coffer_vault::verify::Touched;

use crate::serve::Appliance;
use crate::units::printable;

/// Versions that are named.
const NAMED_MAX: usize = 3;

pub(super) fn sentences(appliance: &Appliance) -> Result<Vec<String>, VaultError> {
    let reading = appliance.vault.reading();
    let missing = reading.missing_records()?.iter().map(|gap| gap.last - gap.first + 1).sum();
    let damage = Damage {
        places: reading.known_damage()?.len(),
        is_metadata: is_metadata(&reading.to_heal()?),
        heals: !appliance.only_restores() && !appliance.vault.is_read_only(),
        is_hq_away: appliance.wan.as_ref().is_some_and(|wan| !wan.status().borrow().connected),
    };
    let (touched, count) = reading.touched_by_damage(NAMED_MAX)?;
    let held = held(reading.places_until_closed()?);
    let met = met(reading.suspected()?.len(), damage.heals);
    Ok(gap(missing, damage.heals)
        .into_iter()
        .chain(sentence(&damage, &touched, count))
        .chain(held)
        .chain(met)
        .collect())
}

/// What the disk lost since the box was started, and the box still has.
fn held(places: usize) -> Option<String> {
    (places > 0).then(|| {
        "The box still has what its disk lost since it was started, and no copy has it: restore that now, before the box is stopped. Where the disk takes writes again \
         it's put back."
            .into()
    })
}

/// What reads met that isn't listed yet, or can't be on a disk that takes no writes.
fn met(segments: usize, heals: bool) -> Option<String> {
    let met = format!("{segments} segments on the box's disk couldn't be read as they were written");
    match (segments, heals) {
        (0, _) => None,
        (_, true) => Some(format!(
            "{met}: the box looks at them closely within a minute, and what is damaged comes back from its copies by itself."
        )),
        (_, false) => Some(format!(
            "{met}, and the box can't heal them while its disk takes no writes: files that need them can't be restored from it, but from their \
             copies. Have the disk checked."
        )),
    }
}

const UNHEALED: &str = "The box can't ask its copies for them while its disk takes no writes";

/// What is damaged, apart from the versions that it touches.
#[derive(Debug, Clone, Copy)]
struct Damage {
    places: usize,
    /// Among it, records of what points there are.
    is_metadata: bool,
    /// Whether the box can put anything right: not while its disk takes no writes.
    heals: bool,
    /// Headquarters, which may have copies, can't be reached.
    is_hq_away: bool,
}

fn is_metadata(needs: &[HealNeed]) -> bool {
    needs.iter().any(|need| need.stream == Stream::Meta)
}

fn gap(records: u64, heals: bool) -> Option<String> {
    let comes = if heals { "The box asks its copies for them" } else { UNHEALED };
    (records > 0).then(|| {
        format!(
            "{records} metadata records are missing on the box's disk: points that were made then may lack files, or not be shown. {comes}; \
             `coffer verify` says what is known."
        )
    })
}

fn sentence(damage: &Damage, touched: &[Touched], count: u64) -> Option<String> {
    let places = damage.places;
    match (places, count, damage.is_metadata) {
        (0, 0, _) => return None,
        (_, 0, true) => {
            let comes = if damage.heals { "The box asks its copies for it" } else { UNHEALED };
            return Some(format!(
                "Metadata on the box's disk is damaged: the disk can't prove what the catalog says. {comes}; \
                 where none has it, `coffer verify` says how to go on. Have the disk checked."
            ));
        }
        (_, 0, false) => {
            return Some(format!(
                "{places} places on the box's disk are damaged; no kept version needs them. Have the disk checked."
            ));
        }
        _ => {}
    }
    let is_lost = touched.iter().any(|one| one.is_lost);
    let names: Vec<String> =
        touched.iter().map(|one| format!("{} (since point {})", printable(&one.path), one.since)).collect();
    let more = match count.saturating_sub(touched.len() as u64) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names = names.join(", ") + &more;
    Some(match is_lost {
        true if !damage.heals => format!(
            "The box's disk is damaged: {count} versions can't be restored from it, some of them from no copy either: {names}. The box can't heal \
             them while its disk takes no writes; `coffer verify` names all. Have the disk checked."
        ),
        false if !damage.heals => format!(
            "The box's disk is damaged: {count} versions can't be restored from it, and the box can't bring them back from their copies while its \
             disk takes no writes: {names}. A restore takes from headquarters what is there, where that can be reached; what only tapes have \
             comes by `coffer tape read`. Have the disk checked."
        ),
        true => format!(
            "The box's disk is damaged: {count} versions can't be restored from it, some of them from no copy either: {names}. The box goes \
             on asking the copies and the computers for them; `coffer verify` names all. Have the disk checked."
        ),
        false if damage.is_hq_away => format!(
            "The box's disk is damaged: {count} versions can't be restored from it until they come back from their copies, and headquarters \
             can't be reached now: {names}. See that it can be, and have the disk checked."
        ),
        false => format!(
            "The box's disk is damaged: {count} versions can't be restored from it until they come back from their copies, which the box \
             does by itself: {names}. Have the disk checked."
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(path: &str, is_lost: bool) -> Touched {
        Touched { config: 1, path: path.into(), since: 4, from: Vec::new(), is_lost }
    }

    fn damage(places: usize, is_metadata: bool) -> Damage {
        Damage { places, is_metadata, heals: true, is_hq_away: false }
    }

    #[test]
    fn damage_is_told_by_what_it_costs() {
        assert_eq!(sentence(&damage(0, false), &[], 0), None);
        assert!(sentence(&damage(2, false), &[], 0).unwrap().contains("no kept version needs them"));
        assert!(sentence(&damage(1, true), &[], 0).unwrap().contains("Metadata"));
        let heals = sentence(&damage(1, false), &[touched("/a\u{1b}[31m", false)], 9).unwrap();
        assert!(
            heals.contains("/a\u{fffd}[31m (since point 4) and 8 more") && heals.contains("by itself"),
            "{heals}"
        );
        let away = Damage { is_hq_away: true, ..damage(1, false) };
        assert!(
            sentence(&away, &[touched("/a", false)], 1)
                .unwrap()
                .contains("headquarters can't be reached now")
        );
        assert!(
            sentence(&damage(1, false), &[touched("/a", true)], 1).unwrap().contains("from no copy either")
        );
        for is_lost in [true, false] {
            let stays = Damage { heals: false, ..damage(1, false) };
            let told = sentence(&stays, &[touched("/a", is_lost)], 1).unwrap();
            assert!(told.contains("while its disk takes no writes"), "{told}");
            assert_eq!(told.contains("from no copy either"), is_lost, "{told}");
        }
    }

    #[test]
    fn what_a_read_met_is_told_before_it_is_listed() {
        assert_eq!(met(0, true), None);
        assert!(met(1, true).unwrap().contains("comes back from its copies"));
        assert!(met(1, false).unwrap().contains("takes no writes"));
    }

    #[test]
    fn missing_records_are_told_though_they_touch_no_version() {
        assert_eq!(gap(0, true), None);
        assert!(gap(3, true).unwrap().starts_with("3 metadata records"));
        assert!(gap(3, false).unwrap().contains("while its disk takes no writes"));
    }
}
