//! One durable file, one action, and what comes of it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use crate::fleet::{Fleet, Started};
use crate::support::{contents, said};
use crate::{Action, Verdict};

/// How long what has a good copy, or whose computer still has it, may take to heal by itself.
const HEALS_WITHIN: Duration = Duration::from_secs(90);

pub(crate) struct Cell {
    /// Below the fleet's folder.
    file: PathBuf,
    action: Action,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:?} {}", self.action, self.file.display()))
    }
}

impl Cell {
    pub(crate) fn all(fleet: &Fleet) -> Vec<Cell> {
        let mut files = Vec::new();
        for part in ["box", "hq", "agent"] {
            files
                .extend(contents(&fleet.now().join(part)).into_keys().map(|file| Path::new(part).join(file)));
        }
        files.retain(|file| is_durable(file));
        let mut cells = Vec::new();
        for file in files {
            for action in Action::ALL {
                if action.changes(&fleet.now().join(&file), &fleet.older().join(&file)) {
                    cells.push(Cell { file: file.clone(), action });
                }
            }
        }
        cells
    }

    pub(crate) fn is_flipped_segment(&self) -> bool {
        self.action == Action::Flip && self.file.starts_with("box/vault/segments")
    }

    pub(crate) fn verdict(&self, fleet: &Fleet) -> Verdict {
        let mut world = fleet.copy();
        self.action.apply(&world.dir.join(&self.file), &fleet.older().join(&self.file));
        if let Err(said) = world.start_hq() {
            return refused("HQ", &said);
        }
        if let Err(said) = world.start_box() {
            return refused("the box", &said);
        }
        let verdict = match self.file.iter().next().and_then(|part| part.to_str()) {
            Some("agent") => agent(&world, fleet),
            Some("hq") => settle(|| all_points(&world, fleet, "HQ", &|words| world.desk(words))),
            _ if self.file.starts_with("box/simulated-library") => tapes(&world, fleet),
            _ => settle(|| {
                let verdict = all_points(&world, fleet, "the box", &|words| world.coffer(words));
                if !matches!(verdict, Verdict::Whole(_)) {
                    // The box asks the computer for what no copy has, when it next captures.
                    world.capture_output();
                }
                verdict
            }),
        };
        world.stop();
        verdict
    }
}

/// What is there to be lost: logs and locks, and SQLite's shared memory, aren't.
fn is_durable(file: &Path) -> bool {
    let name = file.file_name().unwrap().to_string_lossy();
    !(name == "lock" || name.ends_with(".log") || name.ends_with("-shm") || name.ends_with(".lock"))
}

fn refused(who: &str, said: &str) -> Verdict {
    let last = said.lines().last().unwrap_or_default();
    match last.is_empty() {
        true => Verdict::Silent(format!("{who} ended without a word")),
        false => Verdict::Named(format!("{who} doesn't start: {last}")),
    }
}

/// Asks again until all is whole; what it is then, or what it stays.
fn settle(ask: impl Fn() -> Verdict) -> Verdict {
    let started = Instant::now();
    let mut first = ask();
    loop {
        match &first {
            Verdict::Whole(_) | Verdict::Wrong(_) => return first,
            _ if started.elapsed() > HEALS_WITHIN => return first,
            _ => std::thread::park_timeout(Duration::from_secs(2)),
        }
        let next = ask();
        if let Verdict::Whole(_) = next {
            return Verdict::Whole(format!("healed after {} s; was {first}", started.elapsed().as_secs()));
        }
        first = next;
    }
}

/// Restores every point and compares; then asks who makes claims.
pub(crate) fn all_points(
    world: &Started<'_>,
    fleet: &Fleet,
    who: &str,
    coffer: &dyn Fn(&[&str]) -> Output,
) -> Verdict {
    let mut lacking = Vec::new();
    for (point, truth) in &fleet.points {
        let to = world.dir.join(format!("restored-{point}"));
        if to.exists() {
            fs::remove_dir_all(&to).unwrap();
        }
        let number = point.to_string();
        let restore = coffer(&["restore", "alpha/files", "--point", &number, "--to", to.to_str().unwrap()]);
        match compare(&restore, &to, fleet, truth) {
            Compared::Equal => {}
            Compared::Wrong(what) => return Verdict::Wrong(format!("{who}, point {point}: {what}")),
            Compared::Lacking(what) => lacking.push(format!("point {point}: {what}")),
        }
    }
    let claims = claims(world, who);
    match (lacking.is_empty(), claims) {
        (true, _) => Verdict::Whole(String::new()),
        (false, Some(said)) => Verdict::Named(said),
        (false, None) => Verdict::Silent(format!("{who}: {}", lacking.join("; "))),
    }
}

enum Compared {
    Equal,
    /// Not all came, and the restore says so.
    Lacking(String),
    /// It ended well with other bytes, or left others under their names.
    Wrong(String),
}

fn compare(
    restore: &Output,
    to: &Path,
    fleet: &Fleet,
    truth: &std::collections::BTreeMap<PathBuf, blake3::Hash>,
) -> Compared {
    let top = to.join(fleet.data().strip_prefix("/").unwrap());
    let found = if top.exists() { contents(&top) } else { Default::default() };
    if let Some((path, _)) = found.iter().find(|(path, hash)| truth.get(*path) != Some(hash)) {
        return Compared::Wrong(format!("{} has other bytes", path.display()));
    }
    match (restore.status.code(), found.len() == truth.len()) {
        (Some(0), true) => Compared::Equal,
        (Some(0), false) => Compared::Wrong(format!("{} of {} files, exit code 0", found.len(), truth.len())),
        _ => Compared::Lacking(said(restore)),
    }
}

/// What somebody says who is asked how it is; none where all is well.
fn claims(world: &Started<'_>, who: &str) -> Option<String> {
    let verify = match who {
        "HQ" => world.desk(&["verify"]),
        _ => world.coffer(&["verify"]),
    };
    if !verify.status.success() {
        return Some(said(&verify));
    }
    let status = world.status()?;
    // What is true of every box with a simulated library says nothing of damage.
    let mut sentences = status["sentences"].as_array()?.iter().map(|one| one.to_string());
    sentences.find(|sentence| !sentence.contains("is simulated"))
}

/// The agent goes on: a capture ends well and the newest point is what is there, or it says why not.
fn agent(world: &Started<'_>, fleet: &Fleet) -> Verdict {
    let output = world.capture_output();
    if !output.status.success() {
        return Verdict::Named(said(&output));
    }
    let to = world.dir.join("restored-newest");
    let restore = world.coffer(&["restore", "alpha/files", "--to", to.to_str().unwrap()]);
    match compare(&restore, &to, fleet, &contents(&fleet.data())) {
        Compared::Equal => Verdict::Whole(String::new()),
        Compared::Wrong(what) => Verdict::Wrong(what),
        Compared::Lacking(what) => Verdict::Named(what),
    }
}

/// The cartridges alone give the points that are on them, or say which files lack.
fn tapes(world: &Started<'_>, fleet: &Fleet) -> Verdict {
    let mut named = String::new();
    for (point, truth) in &fleet.points[..2] {
        let to = world.dir.join(format!("from-tape-{point}"));
        let read = world.tape_read(*point, &to);
        match compare(&read, &to, fleet, truth) {
            Compared::Equal => {}
            Compared::Wrong(what) => return Verdict::Wrong(format!("point {point}: {what}")),
            Compared::Lacking(what) => named = what,
        }
    }
    match named.is_empty() {
        true => Verdict::Whole(String::new()),
        false => Verdict::Named(named),
    }
}
