//! Which components of which applications take part in a snapshot, and which volumes it has because of them.
//!
//! A component that can be chosen brings along everything below it. One that can't be chosen, and has nothing above it
//! that can, takes part whenever its writer does. Anything else is never named by itself.

use std::collections::BTreeSet;

use super::volume::is_remote;
use super::{Application, Code, Component, FileSpec, Refusal, Volume, Volumes};
use crate::config::{Coverage, FoundFiles};

/// Which components take part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Writers {
    /// All that have files among what's captured.
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pick<'a> {
    pub(crate) application: &'a Application,
    pub(crate) component: &'a Component,
    /// All of its files are to be captured.
    pub(crate) is_whole: bool,
    /// Where its files are, and those of everything below it.
    pub(crate) files: Vec<FoundFiles>,
}

#[derive(Debug, Default)]
pub(crate) struct Choice<'a> {
    pub(crate) picks: Vec<Pick<'a>>,
    /// What the set needs for them, beside what's captured anyway.
    pub(crate) volumes: BTreeSet<&'a Volume>,
    /// What was wanted and can't take part.
    pub(crate) refusals: Vec<Refusal>,
}

/// Chooses among what the applications have. `find` tells where files are that are named, whatever links lead there, and
/// `coverage` how many of those of one component are captured.
pub(crate) fn choose<'a>(
    applications: &'a [Application],
    writers: &Writers,
    volumes: &'a Volumes,
    find: impl Fn(&FileSpec) -> FoundFiles,
    coverage: impl Fn(&[FoundFiles]) -> Coverage,
    mut can_snapshot: impl FnMut(&Volume) -> bool,
) -> Choice<'a> {
    let mut choice = Choice { refusals: absent(applications, writers), ..Choice::default() };
    for application in applications.iter().filter(|application| writers.has(application)) {
        for component in application.components.iter().filter(|one| writers.picks(application, one)) {
            let named = files(application, component);
            let files: Vec<FoundFiles> = named.iter().map(|file| find(file)).collect();
            // What has no files has nothing to lose, and takes part where it's asked for.
            let coverage = coverage(&files);
            if coverage == Coverage::Nothing || *writers == Writers::All && files.is_empty() {
                continue;
            }
            let volume_of = |file: &FoundFiles| volumes.of(&String::from_utf8_lossy(&file.folder));
            let needed: BTreeSet<&Volume> = files.iter().filter_map(volume_of).collect();
            let is_elsewhere = named.iter().any(|file| is_remote(&file.path));
            if is_elsewhere || !needed.iter().all(|volume| can_snapshot(volume)) {
                choice.refusals.push(left_out(application, component));
                continue;
            }
            let is_whole = coverage == Coverage::Whole;
            if !is_whole {
                choice.refusals.push(taken_in_part(application, component));
            }
            choice.volumes.extend(needed);
            choice.picks.push(Pick { application, component, is_whole, files });
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

fn taken_in_part(application: &Application, component: &Component) -> Refusal {
    Refusal {
        writer: application.name.clone(),
        code: Code::OBJECT_NOT_FOUND,
        sentence: format!(
            "only a part of its {} \"{}\" is included, and it isn't told that it's safe; include all of its files, or none",
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

    /// What takes part where these paths are captured; with a `?` what does in part.
    fn chosen(writers: &Writers, captured: &str) -> (Vec<String>, Vec<String>, Vec<Refusal>) {
        let (applications, computer) = (applications(), computer());
        let of_one = |files: &FoundFiles| {
            let is_captured = captured.split(' ').any(|path| files.folder.starts_with(path.as_bytes()));
            if is_captured { Coverage::Whole } else { Coverage::Nothing }
        };
        let coverage = |files: &[FoundFiles]| Coverage::of_all(files.iter().map(of_one));
        let can_snapshot = |volume: &Volume| volume.mounts[0] != r"U:\";
        let choice = choose(&applications, writers, &computer, FileSpec::found, coverage, can_snapshot);
        let mark = |pick: &Pick<'_>| if pick.is_whole { "" } else { "?" };
        let names = choice.picks.iter().map(|pick| pick.component.full_name() + mark(pick)).collect();
        let volumes = choice.volumes.iter().map(|volume| volume.mounts[0].clone()).collect();
        (names, volumes, choice.refusals)
    }

    fn named(writers: &[&str], components: &[&str]) -> Writers {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Writers::Named { writers: owned(writers), components: owned(components) }
    }

    #[test]
    fn all_of_which_files_are_captured_take_part_with_all_their_volumes() {
        let (names, volumes, refusals) = chosen(&Writers::All, "/D:/sql /L:/logs");
        assert_eq!(names, [r"PC\sales"]);
        assert_eq!(volumes, [r"D:\", r"L:\"]);
        assert_eq!(refusals, []);
        let (names, volumes, _) = chosen(&Writers::All, "/C:");
        assert_eq!((names, volumes), (vec![r"PC\master".to_owned()], vec![r"C:\".to_owned()]));
        assert_eq!(chosen(&Writers::All, "/D:/other").0, [""; 0]);
        assert_eq!(chosen(&Writers::All, "/D: /L:").0, [r"PC\sales", "store", "must"]);
    }

    #[test]
    fn what_is_captured_in_part_takes_part_and_is_never_safe() {
        let (names, volumes, refusals) = chosen(&Writers::All, "/D:");
        assert_eq!(names, [r"PC\sales?", "store?", "must"]);
        assert_eq!(volumes, [r"D:\", r"L:\"]);
        let said: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
        assert!(said.len() == 2 && said[0].contains("only a part of its database \"PC\\sales\""), "{said:?}");
        // What lies below a component is its own.
        assert_eq!(chosen(&Writers::All, "/L:/deep").0, ["store?"]);
    }

    #[test]
    fn named_ones_take_part_where_they_are_captured() {
        let all = "/C: /D: /L:";
        assert_eq!(chosen(&named(&["sqlserverwriter"], &[]), all).0, [r"PC\sales", r"PC\master"]);
        assert_eq!(chosen(&named(&["SqlServerWriter"], &["SALES"]), all).0, [r"PC\sales"]);
        assert_eq!(chosen(&named(&["SqlServerWriter"], &[r"pc\master"]), all).0, [r"PC\master"]);
        // A part by itself, with what the writer lets nobody choose; a part and its whole are the whole.
        assert_eq!(chosen(&named(&["Tree"], &["part"]), all).0, [r"store\part", "must"]);
        assert_eq!(chosen(&named(&["Tree"], &["part", "store"]), all).0, ["store", "must"]);
        assert_eq!(chosen(&named(&["Tree"], &["part"]), "/D:/store /L:").0, [r"store\part"]);
    }

    #[test]
    fn what_cannot_take_part_is_named() {
        let (names, _, refusals) = chosen(&Writers::All, "/D: /L: /U:");
        assert_eq!(names, [r"PC\sales", "store", "must"]);
        assert_eq!(refusals.len(), 1);
        assert!(
            refusals[0].to_string().contains("\"storeroom\" lies on a volume that can't"),
            "{}",
            refusals[0]
        );
        let (_, _, refusals) = chosen(&named(&["Nobody", "Tree"], &["store", "nothing"]), "/D: /L:");
        let names: Vec<&str> = refusals.iter().map(|one| one.writer.as_str()).collect();
        assert_eq!(names, ["Nobody, Tree"], "one of an application's names is enough");
        assert!(refusals[0].sentence.contains("\"nothing\""));
        let (_, _, refusals) = chosen(&named(&["Nobody", "Nobody Else"], &[]), "/D:");
        assert_eq!(refusals[0].writer, "Nobody or Nobody Else");
    }
}
