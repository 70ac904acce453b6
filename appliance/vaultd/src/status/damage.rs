//! What there is to say of damage on the box's disk: which versions it touches, and whether a copy heals them.

use coffer_vault::VaultError;
use coffer_vault::verify::Touched;

use crate::serve::Appliance;

/// Versions that are named.
const NAMED_MAX: usize = 3;

pub(super) fn sentences(appliance: &Appliance) -> Result<Vec<String>, VaultError> {
    let reading = appliance.vault.reading();
    let places = reading.known_damage()?.len();
    let (touched, count) = reading.touched_by_damage(NAMED_MAX)?;
    Ok(sentence(places, &touched, count).into_iter().collect())
}

fn sentence(places: usize, touched: &[Touched], count: u64) -> Option<String> {
    if places == 0 && count == 0 {
        return None;
    }
    if count == 0 {
        return Some(format!(
            "{places} places on the box's disk are damaged; no kept version needs them. Have the disk checked."
        ));
    }
    let names: Vec<String> =
        touched.iter().map(|one| format!("{} (since point {})", printable(&one.path), one.since)).collect();
    let more = match count.saturating_sub(touched.len() as u64) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names = names.join(", ") + &more;
    Some(match touched.iter().any(|one| one.is_lost) {
        true => format!(
            "The box's disk is damaged: {count} versions can't be restored from it, some of them from no copy either: {names}. The box goes \
             on asking the copies and the computers for them; `coffer verify` names all. Have the disk checked."
        ),
        false => format!(
            "The box's disk is damaged: {count} versions can't be restored from it until they come back from their copies, which the box \
             does by itself: {names}. Have the disk checked."
        ),
    })
}

/// Names come from computers: what isn't printable isn't printed.
fn printable(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { '\u{fffd}' } else { one }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(path: &str, is_lost: bool) -> Touched {
        Touched { config: 1, path: path.into(), since: 4, from: Vec::new(), is_lost }
    }

    #[test]
    fn damage_is_told_by_what_it_costs() {
        assert_eq!(sentence(0, &[], 0), None);
        assert!(sentence(2, &[], 0).unwrap().contains("no kept version needs them"));
        let heals = sentence(1, &[touched("/a\u{1b}[31m", false)], 9).unwrap();
        assert!(
            heals.contains("/a\u{fffd}[31m (since point 4) and 8 more") && heals.contains("by itself"),
            "{heals}"
        );
        assert!(sentence(1, &[touched("/a", true)], 1).unwrap().contains("from no copy either"));
    }
}
