//! What the computer runs on, as sysfs tells it.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::guest::Power;

const SUPPLIES: &str = "/sys/class/power_supply";
/// Most power supplies that are looked at.
const SUPPLIES_MAX: usize = 64;
/// Longer than any word that sysfs says.
const WORD_MAX: u64 = 64;

/// What the computer runs on; where nothing tells, on mains.
pub(crate) fn power() -> Power {
    power_below(Path::new(SUPPLIES))
}

/// On battery: one of the computer's own discharges, and no plug has power.
fn power_below(supplies: &Path) -> Power {
    let Ok(entries) = fs::read_dir(supplies) else { return Power::Mains };
    let mut power = Power::Mains;
    for supply in entries.take(SUPPLIES_MAX).filter_map(Result::ok).map(|entry| entry.path()) {
        let is = |name: &str, wanted: &str| word(&supply.join(name)).as_deref() == Some(wanted);
        // A mouse's or a headset's.
        if is("scope", "Device") {
            continue;
        }
        if is("type", "Battery") {
            if is("status", "Discharging") {
                power = Power::Battery;
            }
        } else if is("online", "1") {
            return Power::Mains;
        }
    }
    power
}

fn word(path: &Path) -> Option<String> {
    let mut word = String::new();
    File::open(path).ok()?.take(WORD_MAX).read_to_string(&mut word).ok()?;
    Some(word.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Power supplies by name, each with its files.
    fn power_with(supplies: &[(&str, &[(&str, &str)])]) -> Power {
        let folder = tempfile::tempdir().unwrap();
        for (name, files) in supplies {
            let supply = folder.path().join(name);
            fs::create_dir(&supply).unwrap();
            for (file, text) in *files {
                fs::write(supply.join(file), format!("{text}\n")).unwrap();
            }
        }
        power_below(folder.path())
    }

    const UNPLUGGED: (&str, &[(&str, &str)]) = ("AC", &[("type", "Mains"), ("online", "0")]);
    const PLUGGED: (&str, &[(&str, &str)]) = ("AC", &[("type", "Mains"), ("online", "1")]);
    const DISCHARGING: (&str, &[(&str, &str)]) = ("BAT0", &[("type", "Battery"), ("status", "Discharging")]);
    const FULL: (&str, &[(&str, &str)]) = ("BAT1", &[("type", "Battery"), ("status", "Full")]);
    const MOUSE: (&str, &[(&str, &str)]) =
        ("hid-1", &[("type", "Battery"), ("status", "Discharging"), ("scope", "Device")]);

    #[test]
    fn a_laptop_runs_on_its_battery_once_the_plug_is_out() {
        assert_eq!(power_with(&[UNPLUGGED, DISCHARGING, FULL]), Power::Battery);
        assert_eq!(power_with(&[DISCHARGING]), Power::Battery);
        assert_eq!(power_with(&[PLUGGED, DISCHARGING]), Power::Mains);
        assert_eq!(power_with(&[UNPLUGGED, FULL]), Power::Mains);
    }

    #[test]
    fn a_computer_without_a_battery_runs_on_mains() {
        assert_eq!(power_with(&[]), Power::Mains);
        assert_eq!(power_with(&[PLUGGED]), Power::Mains);
        assert_eq!(power_with(&[MOUSE]), Power::Mains);
        assert_eq!(power_with(&[("odd", &[])]), Power::Mains);
        assert_eq!(power_below(Path::new("/nowhere")), Power::Mains);
    }
}
