//! Which components of which applications take part in a snapshot, and which volumes it has because of them.
//!
//! A component that can be chosen brings along everything below it. One that can't be chosen, and has nothing above it
//! that can, takes part whenever its writer does. Anything else is never named by itself.

use std::collections::BTreeSet;

use super::volume::is_remote;
use super::{Application, Code, Component, FileSpec, Refusal, Volume, Volumes};

/// Which components take part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Writers {
    /// All that have files on a volume of the set.
    All,
    /// Only those of writers with one of these names (compared without case), such as "SqlServerWriter".
    Named {
        writers: Vec<String>,
        /// Only those with these names, with or without their logical path; all where there are none. What a writer
        /// doesn't let anybody choose takes part in any case.
        components: Vec<String>,
    },
}

/// A component that takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pick<'a> {
    pub(crate) application: &'a Application,
    pub(crate) component: &'a Component,
}

#[derive(Debug, Default)]
pub(crate) struct Choice<'a> {
    pub(crate) picks: Vec<Pick<'a>>,
    /// What the set needs for them, beside what's captured anyway.
    pub(crate) volumes: BTreeSet<&'a Volume>,
    /// What was wanted and can't take part.
    pub(crate) refusals: Vec<Refusal>,
}

/// Chooses among what the applications have. `asked` are the volumes of what's captured, whether or not they can have a
/// snapshot.
pub(crate) fn choose<'a>(
    applications: &'a [Application],
    writers: &Writers,
    volumes: &'a Volumes,
    asked: &BTreeSet<&'a Volume>,
    mut can_snapshot: impl FnMut(&Volume) -> bool,
) -> Choice<'a> {
    let mut choice = Choice { refusals: absent(applications, writers), ..Choice::default() };
    for application in applications.iter().filter(|application| writers.has(application)) {
        for component in application.components.iter().filter(|one| writers.picks(application, one)) {
            let files = files(application, component);
            let needed: BTreeSet<&Volume> = files.iter().filter_map(|file| volumes.of(&file.path)).collect();
            if *writers == Writers::All && needed.is_disjoint(asked) {
                continue;
            }
            let is_elsewhere = files.iter().any(|file| is_remote(&file.path));
            if is_elsewhere || !needed.iter().all(|volume| can_snapshot(volume)) {
                choice.refusals.push(left_out(application, component));
                continue;
            }
            choice.volumes.extend(needed);
            choice.picks.push(Pick { application, component });
        }
    }
    choice
}

impl Writers {
    fn has(&self, application: &Application) -> bool {
        match self {
            Writers::All => true,
            Writers::Named { writers, .. } => writers.iter().any(|name| is_same(name, &application.name)),
        }
    }

    fn picks(&self, application: &Application, component: &Component) -> bool {
        let above = |is_so: &dyn Fn(&Component) -> bool| {
            application.components.iter().any(|other| other.is_above(component) && is_so(other))
        };
        let is_root = !above(&|other| other.selection.for_backup);
        let wanted = match self {
            Writers::Named { components, .. } if !components.is_empty() => components,
            _ => return is_root,
        };
        let is_wanted = |one: &Component| wanted.iter().any(|name| one.is_called(name));
        if !component.selection.for_backup {
            return is_root;
        }
        is_wanted(component) && !above(&|other| other.selection.for_backup && is_wanted(other))
    }
}

/// The files of a component and of everything below it.
fn files<'a>(application: &'a Application, component: &'a Component) -> Vec<&'a FileSpec> {
    let below = application.components.iter().filter(|other| component.is_above(other));
    below.chain([component]).flat_map(Component::all_files).collect()
}

/// What was asked for by name and isn't there.
fn absent(applications: &[Application], writers: &Writers) -> Vec<Refusal> {
    let Writers::Named { writers, components } = writers else { return Vec::new() };
    let is_there = |writer: &String| applications.iter().any(|one| is_same(&one.name, writer));
    // An application has had several names in its time: one of them is enough.
    let lacking = (!writers.iter().any(is_there)).then(|| Refusal {
        writer: writers.join(" or "),
        code: Code::OBJECT_NOT_FOUND,
        sentence: "no application of this name is at work; start its service, or see `vssadmin list writers`"
            .into(),
    });
    let named = applications.iter().filter(|one| writers.iter().any(|name| is_same(name, &one.name)));
    let has = |name: &String| {
        named
            .clone()
            .flat_map(|one| &one.components)
            .any(|one| one.selection.for_backup && one.is_called(name))
    };
    let lost = components.iter().filter(|name| !has(name)).map(|name| Refusal {
        writer: writers.join(", "),
        code: Code::OBJECT_NOT_FOUND,
        sentence: format!(
            "it has nothing called \"{name}\" that can be chosen; see `coffer-agent selftest --writers`"
        ),
    });
    lacking.into_iter().chain(lost).collect()
}

fn left_out(application: &Application, component: &Component) -> Refusal {
    Refusal {
        writer: application.name.clone(),
        code: Code::VOLUME_NOT_SUPPORTED,
        sentence: format!(
            "its {} \"{}\" lies on a volume that can't have a snapshot; move it to a local NTFS or ReFS volume",
            component.kind,
            component.full_name()
        ),
    }
}

fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::super::{ComponentKind, Guid, Selection, Usage};
    use super::*;

    fn component(path: Option<&str>, name: &str, selectable: bool, folders: &[&str]) -> Component {
        let spec = |folder: &&str| FileSpec { path: (*folder).into(), pattern: "*".into(), recursive: false };
        Component {
            logical_path: path.map(str::to_owned),
            name: name.into(),
            caption: None,
            kind: ComponentKind::Database,
            selection: Selection { for_backup: selectable, for_restore: true },
            files: folders.iter().map(spec).collect(),
            logs: Vec::new(),
        }
    }

    fn application(name: &str, components: Vec<Component>) -> Application {
        let (id, usage, excluded) = (Guid::NONE, Usage::UserData, Vec::new());
        Application { name: name.into(), id, instance: id, usage, components, excluded }
    }

    fn computer() -> Volumes {
        let volume = |letter: &str| Volume {
            name: format!(r"\\?\Volume{{{letter}}}\"),
            mounts: vec![format!(r"{letter}:\")],
        };
        Volumes::new(["C", "D", "L", "U"].map(volume).into())
    }

    fn applications() -> Vec<Application> {
        vec![
            application(
                "SqlServerWriter",
                vec![
                    component(Some("PC"), "sales", true, &[r"D:\sql", r"L:\logs"]),
                    component(Some("PC"), "master", true, &[r"C:\sql"]),
                ],
            ),
            application(
                "Tree",
                vec![
                    component(None, "store", true, &[r"D:\store"]),
                    component(Some("store"), "part", true, &[r"D:\store\part"]),
                    component(Some(r"store\part"), "deep", false, &[r"L:\deep"]),
                    component(None, "must", false, &[r"D:\must"]),
                    component(None, "storeroom", true, &[r"U:\room"]),
                ],
            ),
        ]
    }

    fn chosen(writers: &Writers, asked: &str) -> (Vec<String>, Vec<String>, Vec<Refusal>) {
        let (applications, computer) = (applications(), computer());
        let asked = asked.split(' ').flat_map(|path| computer.under(path)).collect();
        let can_snapshot = |volume: &Volume| volume.mounts[0] != r"U:\";
        let choice = choose(&applications, writers, &computer, &asked, can_snapshot);
        let names = choice.picks.iter().map(|pick| pick.component.full_name()).collect();
        let volumes = choice.volumes.iter().map(|volume| volume.mounts[0].clone()).collect();
        (names, volumes, choice.refusals)
    }

    fn named(writers: &[&str], components: &[&str]) -> Writers {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Writers::Named { writers: owned(writers), components: owned(components) }
    }

    #[test]
    fn all_that_has_files_on_what_is_captured_takes_part_with_all_its_volumes() {
        let (names, volumes, refusals) = chosen(&Writers::All, "/D:/sql");
        assert_eq!(names, [r"PC\sales", "store", "must"]);
        assert_eq!(volumes, [r"D:\", r"L:\"]);
        assert_eq!(refusals, []);
        let (names, volumes, _) = chosen(&Writers::All, "/C:");
        assert_eq!((names, volumes), (vec![r"PC\master".to_owned()], vec![r"C:\".to_owned()]));
        // The logs of a database are enough, and so is what lies below a component.
        assert_eq!(chosen(&Writers::All, "/L:").0, [r"PC\sales", "store"]);
    }

    #[test]
    fn named_ones_take_part_wherever_they_are() {
        assert_eq!(chosen(&named(&["sqlserverwriter"], &[]), "/C:").0, [r"PC\sales", r"PC\master"]);
        assert_eq!(chosen(&named(&["SqlServerWriter"], &["SALES"]), "/C:").0, [r"PC\sales"]);
        assert_eq!(chosen(&named(&["SqlServerWriter"], &[r"pc\master"]), "/C:").0, [r"PC\master"]);
        // A part by itself, with what the writer lets nobody choose; a part and its whole are the whole.
        assert_eq!(chosen(&named(&["Tree"], &["part"]), "/C:").0, [r"store\part", "must"]);
        assert_eq!(chosen(&named(&["Tree"], &["part", "store"]), "/C:").0, ["store", "must"]);
    }

    #[test]
    fn what_cannot_take_part_is_named() {
        let (names, _, refusals) = chosen(&Writers::All, "/D: /U:");
        assert_eq!(names, [r"PC\sales", "store", "must"]);
        assert_eq!(refusals.len(), 1);
        assert!(
            refusals[0].to_string().contains("\"storeroom\" lies on a volume that can't"),
            "{}",
            refusals[0]
        );
        let (_, _, refusals) = chosen(&named(&["Nobody", "Tree"], &["store", "nothing"]), "/D:");
        let names: Vec<&str> = refusals.iter().map(|one| one.writer.as_str()).collect();
        assert_eq!(names, ["Nobody, Tree"], "one of an application's names is enough");
        assert!(refusals[0].sentence.contains("\"nothing\""));
        let (_, _, refusals) = chosen(&named(&["Nobody", "Nobody Else"], &[]), "/D:");
        assert_eq!(refusals[0].writer, "Nobody or Nobody Else");
    }
}
