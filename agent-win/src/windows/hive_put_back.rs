//! Putting hives back: a loaded one by Windows at its next start, a file at once. The one from before stays beside it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use windows_sys::Win32::Storage::FileSystem::{
    DELETE, FILE_FLAG_BACKUP_SEMANTICS, FILE_GENERIC_WRITE, FILE_READ_ATTRIBUTES, READ_CONTROL, WRITE_DAC,
    WRITE_OWNER,
};

use super::registry::{self, Key, Root};
use super::stat::SHARE_ALL;
use super::{security, set};
use crate::hives::{BEFORE, Here, Hive, HivesError, Loaded, Profile, Step, check};

const HIVES: &str = r"SYSTEM\CurrentControlSet\Control\hivelist";
const PROFILES: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList";
/// Loaded hives, and profiles, at most.
const ENTRIES_MAX: u32 = 20_000;
/// Added to the name of the file whose place a hive will take.
const NEW: &str = ".coffer-new";
/// Hives from before that are kept beside each at most.
const BEFORE_MAX: u32 = 100;

/// What Windows says of its hives and profiles.
pub fn hives_here() -> Result<Here, HivesError> {
    let loaded = Key::open(Root::Machine, HIVES).and_then(|key| key.texts(ENTRIES_MAX));
    let profiles = Key::open(Root::Machine, PROFILES).and_then(|key| key.names(ENTRIES_MAX));
    let folder = |sid: String| {
        let folder = registry::text(&format!(r"{PROFILES}\{sid}"), "ProfileImagePath")?;
        Some(Profile { sid, folder })
    };
    let loaded = loaded.map_err(HivesError::Unknown)?.into_iter().map(|(name, file)| Loaded { name, file });
    Ok(Here {
        windows: std::env::var("SystemRoot").unwrap_or_else(|_| r"C:\Windows".to_owned()),
        loaded: loaded.collect(),
        profiles: profiles.map_err(HivesError::Unknown)?.into_iter().filter_map(folder).collect(),
    })
}

/// A hive's copy beside the file whose place it will take. Nothing is changed yet.
#[derive(Debug)]
pub struct Staged {
    pub step: Step,
    new: PathBuf,
    /// Where the one from before will be.
    pub before: PathBuf,
}

impl Staged {
    /// All copies or none.
    pub fn all(steps: Vec<Step>) -> Result<Vec<Staged>, HivesError> {
        let mut all = Vec::new();
        for step in steps {
            match Staged::new(step) {
                Ok(staged) => all.push(staged),
                Err(error) => {
                    all.iter().for_each(Staged::remove);
                    return Err(error);
                }
            }
        }
        Ok(all)
    }

    fn new(step: Step) -> Result<Staged, HivesError> {
        let new = beside(&step.place, NEW);
        let copied = copy(&step.from, &new, Path::new(&step.place));
        match copied.and_then(|()| Ok((free_name(&step.place)?, File::open(&new)?))) {
            Ok((before, copy)) => {
                let staged = Staged { step, new, before };
                // What was looked at may have changed since.
                let checked = check(io::BufReader::new(copy));
                checked.map_err(|damage| {
                    staged.remove();
                    HivesError::Refused(vec![format!("{}: {damage}", staged.step.from.display())])
                })?;
                Ok(staged)
            }
            Err(error) => Err(HivesError::Stage { from: step.from, to: step.place, error }),
        }
    }

    /// Puts it in its place, or asks Windows to.
    pub fn put(&self) -> io::Result<()> {
        if !self.step.is_loaded {
            return self.replace_file().inspect_err(|_| self.remove());
        }
        let root = if matches!(self.step.hive, Hive::Machine(_)) { Root::Machine } else { Root::Users };
        let replaced = registry::replace_hive(root, &self.step.hive.key(), &self.new, &self.before);
        replaced.inspect_err(|_| self.remove())?;
        // Windows renames the one from before at once. Whatever else it did, the new one must stay where it's said to be.
        if self.before.exists() {
            return Ok(());
        }
        let (before, new) = (self.before.display(), self.new.display());
        Err(io::Error::other(format!(
            "Windows says that it's done, but there's no {before}; don't remove {new}, and see before you restart which of \
             the two is in place"
        )))
    }

    /// In one step; before it the old one has two names.
    fn replace_file(&self) -> io::Result<()> {
        let place = Path::new(&self.step.place);
        if place.exists() {
            // In use it can't be replaced, and a second name couldn't be taken back.
            drop(OpenOptions::new().access_mode(DELETE).share_mode(SHARE_ALL).open(place)?);
            fs::hard_link(place, &self.before)?;
        }
        fs::rename(&self.new, place).inspect_err(|_| removed(&self.before))
    }

    /// What to do to have things as they were.
    pub fn way_back(&self) -> String {
        match self.before.exists() {
            true => self.step.way_back(&self.before.to_string_lossy()),
            false => format!("remove {}, which wasn't there before", self.step.place),
        }
    }

    fn remove(&self) {
        removed(&self.new);
    }
}

fn removed(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "{} is left; remove it", path.display());
        }
        _ => {}
    }
}

/// Whole, on the disk, and with the permissions and attributes of what it's to replace.
fn copy(from: &Path, new: &Path, place: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    // Left by one that was broken off.
    removed(new);
    let mut options = OpenOptions::new();
    let access = FILE_GENERIC_WRITE | READ_CONTROL | WRITE_DAC | WRITE_OWNER;
    let mut copy = options.write(true).create_new(true).access_mode(access).open(new)?;
    let written = io::copy(&mut from, &mut copy).and_then(|_| copy.sync_all());
    written.and_then(|()| resemble(&copy, place)).inspect_err(|_| removed(new))
}

fn resemble(copy: &File, place: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.access_mode(READ_CONTROL | FILE_READ_ATTRIBUTES).share_mode(SHARE_ALL);
    match options.custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(place) {
        Ok(old) => {
            set::security(copy, &security::read(&old)?)?;
            set::basic(copy, set::Times::default(), old.metadata()?.file_attributes())
        }
        // Then it's as the folder hands down.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn beside(place: &str, added: &str) -> PathBuf {
    PathBuf::from(format!("{place}{added}"))
}

/// For the one from before; an older one keeps its name.
fn free_name(place: &str) -> io::Result<PathBuf> {
    let numbered = (2..BEFORE_MAX).map(|number| format!("{BEFORE}-{number}"));
    let mut names = std::iter::once(BEFORE.to_owned()).chain(numbered).map(|added| beside(place, &added));
    names.find(|name| !name.exists()).ok_or_else(|| {
        io::Error::other(format!(
            "there are {BEFORE_MAX} hives from before beside it; move some of them away"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hives::UserPart;
    use crate::hives::tests::hive;

    /// A user's hive, as a file to be put back and as the one in its place.
    fn staged(folder: &Path, is_loaded: bool) -> Staged {
        fs::write(folder.join("from"), hive(&[1, 2])).unwrap();
        fs::write(folder.join("NTUSER.DAT"), b"today's").unwrap();
        let hive = Hive::User { sid: "S-1-5-21-7".to_owned(), part: UserPart::Settings };
        let place = folder.join("NTUSER.DAT").display().to_string();
        let step = Step { hive, from: folder.join("from"), place, is_loaded };
        Staged::all(vec![step]).unwrap().remove(0)
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_hive_that_is_not_loaded_is_replaced_at_once_and_the_ones_from_before_stay() {
        let dir = tempfile::tempdir().unwrap();
        for (number, before) in ["NTUSER.DAT.coffer-before", "NTUSER.DAT.coffer-before-2"].iter().enumerate()
        {
            let staged = staged(dir.path(), false);
            assert_eq!(fs::read(dir.path().join("NTUSER.DAT")).unwrap(), b"today's", "it's only prepared");
            staged.put().unwrap();
            assert_eq!(fs::read(dir.path().join("NTUSER.DAT")).unwrap(), hive(&[1, 2]));
            assert_eq!(fs::read(dir.path().join(before)).unwrap(), b"today's");
            assert!(staged.way_back().ends_with(&format!("{before}\"")), "{}", staged.way_back());
            assert_eq!(names(dir.path()).len(), 3 + number, "{:?}", names(dir.path()));
        }
    }

    #[test]
    fn where_there_was_none_the_way_back_is_to_remove_it() {
        let dir = tempfile::tempdir().unwrap();
        let staged = staged(dir.path(), false);
        fs::remove_file(dir.path().join("NTUSER.DAT")).unwrap();
        staged.put().unwrap();
        assert!(staged.way_back().starts_with("remove "), "{}", staged.way_back());
        assert_eq!(names(dir.path()), ["NTUSER.DAT", "from"]);
    }

    #[test]
    fn a_hive_in_use_stays_as_it_is_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let staged = staged(dir.path(), false);
        let held = OpenOptions::new().read(true).share_mode(0).open(dir.path().join("NTUSER.DAT")).unwrap();
        staged.put().unwrap_err();
        drop(held);
        assert_eq!(fs::read(dir.path().join("NTUSER.DAT")).unwrap(), b"today's");
        assert_eq!(names(dir.path()), ["NTUSER.DAT", "from"]);
    }

    #[test]
    fn one_that_cannot_be_prepared_keeps_all_of_them_back() {
        let dir = tempfile::tempdir().unwrap();
        let good = staged(dir.path(), false);
        let step = good.step.clone();
        good.remove();
        fs::write(dir.path().join("cut"), &hive(&[1, 2])[..9000]).unwrap();
        let cut = Step { from: dir.path().join("cut"), place: format!("{}2", step.place), ..step.clone() };
        let gone = Step { from: dir.path().join("none"), ..cut.clone() };
        assert!(matches!(Staged::all(vec![step.clone(), cut]), Err(HivesError::Refused(_))));
        assert!(matches!(Staged::all(vec![step, gone]), Err(HivesError::Stage { .. })));
        assert_eq!(names(dir.path()), ["NTUSER.DAT", "cut", "from"]);
    }

    /// wine takes the call and does nothing: the day that it does more, this must look at what.
    #[test]
    fn windows_is_not_believed_where_it_did_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let staged = staged(dir.path(), true);
        let error = staged.put().unwrap_err();
        assert!(error.to_string().starts_with("Windows says that it's done, but there's no "), "{error}");
        assert_eq!(names(dir.path()), ["NTUSER.DAT", "NTUSER.DAT.coffer-new", "from"]);
    }

    #[test]
    fn this_computer_has_profiles() {
        let here = hives_here().unwrap();
        assert!(here.windows.contains(':') && !here.profiles.is_empty(), "{here:?}");
        assert!(here.profiles.iter().all(|profile| profile.sid.starts_with("S-1-")), "{here:?}");
    }
}
