//! Which hives there are: how a point names their files, where the registry has them, and where their files lie.

/// What's added to the name of a hive's file that another one has replaced.
pub(crate) const BEFORE: &str = ".coffer-before";
/// Those of the computer, by their key below `HKEY_LOCAL_MACHINE`.
pub(crate) const MACHINE: [&str; 4] = ["SYSTEM", "SOFTWARE", "SAM", "SECURITY"];
/// That of the boot loader: its file in a point, and its key.
pub(crate) const BOOT: (&str, &str) = ("BCD", "BCD00000000");
/// The key, below `HKEY_USERS`, of what's in force before anybody is logged on; and its other name.
pub(crate) const DEFAULT_KEY: &str = ".DEFAULT";
pub(crate) const SYSTEM_SID: &str = "S-1-5-18";
const CLASSES: &str = "_Classes";

/// A hive that can be put back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hive {
    /// One of the computer's, by its key and its file's name.
    Machine(&'static str),
    /// What's in force before anybody is logged on.
    Default,
    User {
        sid: String,
        part: UserPart,
    },
}

/// A user has two hives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserPart {
    /// `NTUSER.DAT`
    Settings,
    /// `UsrClass.dat`
    Classes,
}

impl Hive {
    /// Which one a file is, by its name in a point, or that of a file which was replaced. `user` says whose a file is that
    /// is named as in a profile. An error is a sentence.
    pub(crate) fn of_file(name: &str, user: Option<&str>) -> Result<Hive, String> {
        let name = without_before(name);
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if let Some(machine) = MACHINE.into_iter().find(|machine| is(machine)) {
            return Ok(Hive::Machine(machine));
        }
        if is(BOOT.0) {
            return Err("it's the boot loader's, which `bcdedit /import` puts back".to_owned());
        }
        for (file, part) in [("NTUSER.DAT", UserPart::Settings), ("UsrClass.dat", UserPart::Classes)] {
            if is(file) {
                let sid =
                    user.ok_or("say whose it is, with --user and what `whoami /user` shows (S-1-...)")?;
                return Hive::of_user(sid, part);
            }
        }
        let of_user = name.get(..5).filter(|start| start.eq_ignore_ascii_case("USER ")).map(|_| &name[5..]);
        match of_user.unwrap_or(name) {
            user if user.eq_ignore_ascii_case("DEFAULT") => Ok(Hive::Default),
            user if of_user.is_some() => match user.len().checked_sub(CLASSES.len()) {
                Some(at) if user.is_char_boundary(at) && user[at..].eq_ignore_ascii_case(CLASSES) => {
                    Hive::of_user(&user[..at], UserPart::Classes)
                }
                _ => Hive::of_user(user, UserPart::Settings),
            },
            _ => Err("its name isn't that of a hive in a restore point (SYSTEM, USER S-1-...)".to_owned()),
        }
    }

    fn of_user(sid: &str, part: UserPart) -> Result<Hive, String> {
        if sid == SYSTEM_SID {
            return Err("it's USER DEFAULT under another name".to_owned());
        }
        let parts =
            sid.strip_prefix("S-1-").map(|rest| rest.split('-').all(|part| part.parse::<u64>().is_ok()));
        match parts {
            Some(true) => Ok(Hive::User { sid: sid.to_owned(), part }),
            _ => Err(format!("{sid:?} isn't a user; use what `whoami /user` shows (S-1-...)")),
        }
    }

    /// What its file is called in a point.
    pub fn file_name(&self) -> String {
        match self {
            Hive::Machine(name) => (*name).to_owned(),
            Hive::Default => "USER DEFAULT".to_owned(),
            Hive::User { .. } => format!("USER {}", self.key()),
        }
    }

    /// Its key, below `HKEY_LOCAL_MACHINE` or `HKEY_USERS`.
    pub(crate) fn key(&self) -> String {
        match self {
            Hive::Machine(name) => (*name).to_owned(),
            Hive::Default => DEFAULT_KEY.to_owned(),
            Hive::User { sid, part: UserPart::Settings } => sid.clone(),
            Hive::User { sid, part: UserPart::Classes } => format!("{sid}{CLASSES}"),
        }
    }

    /// Its name in the list of loaded hives.
    pub(crate) fn registry_path(&self) -> String {
        let root = if matches!(self, Hive::Machine(_)) { "MACHINE" } else { "USER" };
        format!(r"\REGISTRY\{root}\{}", self.key())
    }
}

/// `SYSTEM.coffer-before-2` is of `SYSTEM`.
fn without_before(name: &str) -> &str {
    match name.rsplit_once(BEFORE) {
        Some((of, "")) => of,
        Some((of, number))
            if number.strip_prefix('-').is_some_and(|number| number.parse::<u32>().is_ok()) =>
        {
            of
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(sid: &str, part: UserPart) -> Hive {
        Hive::User { sid: sid.to_owned(), part }
    }

    #[test]
    fn a_file_tells_by_its_name_which_hive_it_is() {
        let anna = "S-1-5-21-1-2-3-1001";
        for (name, hive) in [
            ("SYSTEM", Hive::Machine("SYSTEM")),
            ("software", Hive::Machine("SOFTWARE")),
            ("SAM.coffer-before", Hive::Machine("SAM")),
            ("SECURITY.coffer-before-12", Hive::Machine("SECURITY")),
            ("USER DEFAULT", Hive::Default),
            ("DEFAULT.coffer-before", Hive::Default),
            ("USER S-1-5-19", user("S-1-5-19", UserPart::Settings)),
            ("USER S-1-5-21-1-2-3-1001_Classes", user(anna, UserPart::Classes)),
            ("NTUSER.DAT", user(anna, UserPart::Settings)),
            ("ntuser.dat.coffer-before", user(anna, UserPart::Settings)),
            ("UsrClass.dat", user(anna, UserPart::Classes)),
        ] {
            assert_eq!(Hive::of_file(name, Some(anna)), Ok(hive), "{name}");
        }
    }

    #[test]
    fn what_is_no_hive_is_refused_with_what_to_do() {
        for (name, sentence) in [
            ("BCD", "bcdedit"),
            ("USER S-1-5-18", "another name"),
            ("NTUSER.DAT", "--user"),
            ("letter.txt", "isn't that of a hive"),
            ("SYSTEM.coffer-before-x", "isn't that of a hive"),
            (r"USER S-1-..\..\x", "isn't a user"),
            ("USER anna", "whoami"),
            ("USER ", "isn't a user"),
            ("ÜSER", "isn't that of a hive"),
        ] {
            let refused = Hive::of_file(name, None).unwrap_err();
            assert!(refused.contains(sentence), "{name}: {refused}");
        }
        assert!(Hive::of_file("NTUSER.DAT", Some("anna")).unwrap_err().contains("whoami"));
    }

    #[test]
    fn the_name_in_a_point_is_read_back() {
        let hives = [Hive::Machine("SAM"), Hive::Default, user("S-1-5-20", UserPart::Settings)];
        for hive in hives.into_iter().chain([user("S-1-5-21-9", UserPart::Classes)]) {
            assert_eq!(Hive::of_file(&hive.file_name(), None).as_ref(), Ok(&hive));
        }
        assert_eq!(Hive::Default.registry_path(), r"\REGISTRY\USER\.DEFAULT");
        assert_eq!(Hive::Machine("SAM").registry_path(), r"\REGISTRY\MACHINE\SAM");
    }
}
