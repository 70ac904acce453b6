//! Where each hive goes: in the place of one that's loaded, which Windows does at its next start, or of a file, at once.

use std::path::PathBuf;

use super::{Hive, HivesError, UserPart};

/// What's on this computer.
#[derive(Debug, Clone, Default)]
pub struct Here {
    /// Such as `C:\Windows`.
    pub windows: String,
    pub loaded: Vec<Loaded>,
    pub profiles: Vec<Profile>,
}

/// A hive that's loaded: its name in the registry (`\REGISTRY\MACHINE\SAM`), and its file as a device's
/// (`\Device\HarddiskVolume3\Windows\System32\config\SAM`).
#[derive(Debug, Clone)]
pub struct Loaded {
    pub name: String,
    pub file: String,
}

/// A user's folder.
#[derive(Debug, Clone)]
pub struct Profile {
    pub sid: String,
    pub folder: String,
}

/// One hive's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub hive: Hive,
    pub from: PathBuf,
    /// The file that it takes the place of.
    pub place: String,
    /// Windows has that one open, and replaces it at its next start.
    pub is_loaded: bool,
}

impl Step {
    /// What undoes it, once the hive from before is a file that nobody has open.
    pub(crate) fn way_back(&self, before: &str) -> String {
        let user = match &self.hive {
            Hive::User { sid, .. } => format!("--user {sid} "),
            _ => String::new(),
        };
        format!("coffer-agent hives put-back {user}\"{before}\"")
    }
}

/// Every hive's way, or why there's none for one of them.
pub fn plan(hives: &[(PathBuf, Hive)], here: &Here) -> Result<Vec<Step>, HivesError> {
    let (mut steps, mut wrong) = (Vec::new(), Vec::new());
    for (from, hive) in hives {
        match here.step(hive, from) {
            Ok(step) => steps.push(step),
            Err(why) => wrong.push(format!("{}: {why}", from.display())),
        }
    }
    if wrong.is_empty() { Ok(steps) } else { Err(HivesError::Refused(wrong)) }
}

impl Here {
    fn step(&self, hive: &Hive, from: &std::path::Path) -> Result<Step, String> {
        let place = self.place(hive)?;
        let name = hive.registry_path();
        let loaded = self.loaded.iter().find(|loaded| loaded.name.eq_ignore_ascii_case(&name));
        match loaded {
            // Replaced is the file that Windows says, whatever is thought to be it.
            Some(Loaded { file, .. }) if !is_on_a_device(&place, file) => Err(format!(
                "Windows has this hive at {file} and not at {place}; leave it out, and replace that file while Windows isn't running"
            )),
            None if !matches!(hive, Hive::User { .. }) => {
                Err(format!("Windows doesn't say that it has {} loaded; leave it out", hive.file_name()))
            }
            loaded => {
                let (hive, from) = (hive.clone(), from.to_owned());
                Ok(Step { hive, from, place, is_loaded: loaded.is_some() })
            }
        }
    }

    /// Where its file usually is.
    fn place(&self, hive: &Hive) -> Result<String, String> {
        let config = |name: &str| Ok(format!(r"{}\System32\config\{name}", self.windows));
        let (sid, below) = match hive {
            Hive::Machine(name) => return config(name),
            Hive::Default => return config("DEFAULT"),
            Hive::User { sid, part: UserPart::Settings } => (sid, r"NTUSER.DAT"),
            Hive::User { sid, part: UserPart::Classes } => {
                (sid, r"AppData\Local\Microsoft\Windows\UsrClass.dat")
            }
        };
        let profile = self.profiles.iter().find(|profile| profile.sid.eq_ignore_ascii_case(sid));
        let profile = profile.ok_or_else(|| {
            format!("the user {sid} has no profile on this computer; leave it out, or have them log on once")
        })?;
        Ok(format!(r"{}\{below}", profile.folder.trim_end_matches('\\')))
    }
}

/// Whether `C:\a\b` may be what Windows calls `\Device\HarddiskVolume3\a\b`.
fn is_on_a_device(place: &str, file: &str) -> bool {
    let below_drive = place.split_once(':').map_or(place, |(_, below)| below).to_lowercase();
    let below_device = file.strip_prefix(r"\Device\").and_then(|rest| rest.find('\\').map(|at| &rest[at..]));
    below_device.is_some_and(|below| below.to_lowercase() == below_drive)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const ANNA: &str = "S-1-5-21-1-2-3-1001";
    const BERT: &str = "S-1-5-21-1-2-3-1002";

    fn here() -> Here {
        let loaded = |name: &str, file: &str| Loaded { name: name.to_owned(), file: file.to_owned() };
        let profile = |sid: &str, folder: &str| Profile { sid: sid.to_owned(), folder: folder.to_owned() };
        Here {
            windows: r"C:\Windows".to_owned(),
            loaded: vec![
                loaded(r"\REGISTRY\MACHINE\HARDWARE", ""),
                loaded(
                    r"\REGISTRY\MACHINE\SYSTEM",
                    r"\Device\HarddiskVolume3\Windows\System32\config\SYSTEM",
                ),
                loaded(r"\REGISTRY\MACHINE\SAM", r"\Device\HarddiskVolume3\Elsewhere\SAM"),
                loaded(
                    r"\Registry\User\.Default",
                    r"\Device\HarddiskVolume3\Windows\system32\config\default",
                ),
                loaded(&format!(r"\REGISTRY\USER\{ANNA}"), r"\Device\HarddiskVolume4\Users\anna\NTUSER.DAT"),
            ],
            profiles: vec![profile(ANNA, r"D:\Users\anna"), profile(BERT, r"C:\Users\bert\")],
        }
    }

    fn way(hive: Hive) -> Result<(String, bool), String> {
        match plan(&[(Path::new("from").to_owned(), hive)], &here()) {
            Ok(steps) => Ok((steps[0].place.clone(), steps[0].is_loaded)),
            Err(HivesError::Refused(why)) => Err(why.concat()),
            Err(error) => panic!("{error}"),
        }
    }

    fn user(sid: &str, part: UserPart) -> Hive {
        Hive::User { sid: sid.to_owned(), part }
    }

    #[test]
    fn loaded_hives_wait_for_the_next_start_and_files_are_replaced_at_once() {
        for (hive, place, is_loaded) in [
            (Hive::Machine("SYSTEM"), r"C:\Windows\System32\config\SYSTEM", true),
            (Hive::Default, r"C:\Windows\System32\config\DEFAULT", true),
            (user(ANNA, UserPart::Settings), r"D:\Users\anna\NTUSER.DAT", true),
            (
                user(ANNA, UserPart::Classes),
                r"D:\Users\anna\AppData\Local\Microsoft\Windows\UsrClass.dat",
                false,
            ),
            (user(BERT, UserPart::Settings), r"C:\Users\bert\NTUSER.DAT", false),
        ] {
            assert_eq!(way(hive), Ok((place.to_owned(), is_loaded)));
        }
    }

    #[test]
    fn a_hive_without_a_clear_way_keeps_all_of_them_back() {
        assert!(way(Hive::Machine("SAM")).unwrap_err().contains(r"at \Device\HarddiskVolume3\Elsewhere\SAM"));
        assert!(
            way(Hive::Machine("SOFTWARE")).unwrap_err().contains("doesn't say that it has SOFTWARE loaded")
        );
        assert!(way(user("S-1-5-21-9", UserPart::Settings)).unwrap_err().contains("has no profile"));
        let from = || Path::new("from").to_owned();
        let both = [(from(), Hive::Machine("SYSTEM")), (from(), Hive::Machine("SAM"))];
        assert!(plan(&both, &here()).is_err());
    }

    #[test]
    fn the_way_back_is_a_command_that_names_the_same_hive() {
        for hive in [Hive::Machine("SAM"), Hive::Default, user(BERT, UserPart::Classes)] {
            let place = here().place(&hive).unwrap();
            let (from, is_loaded) = (PathBuf::new(), true);
            let step = Step { hive: hive.clone(), from, place: place.clone(), is_loaded };
            let way = step.way_back(&format!("{place}.coffer-before"));
            let named = way.split('"').nth(1).and_then(|path| path.rsplit('\\').next()).unwrap();
            let user = way.split_once("--user ").and_then(|(_, rest)| rest.split(' ').next());
            assert_eq!(Hive::of_file(named, user), Ok(hive), "{way}");
        }
    }

    #[test]
    fn a_file_of_another_folder_is_not_taken_for_the_place() {
        assert!(is_on_a_device(r"C:\a\b", r"\Device\HarddiskVolume1\A\b"));
        assert!(!is_on_a_device(r"C:\a\b", r"\Device\HarddiskVolume1\x\a\b"));
        assert!(!is_on_a_device(r"C:\a\b", r"\a\b") && !is_on_a_device(r"C:\a\b", ""));
    }
}
