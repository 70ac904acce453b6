//! The real box and real agents: files come back to their place, by the agent itself or as the help desk asks for it.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod restore_site;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use coffer_format::wire::{Message, PROTOCOL, RefusalCode};
use coffer_format::{ConfigId, PointSeq};
use restore_site::{connected_agent, damage, fill, start_agent};
use support::{Site, bytes, contents, said, wait_until};

/// Mode, size and write time of everything below a folder.
fn facts(folder: &Path) -> BTreeMap<PathBuf, (u32, u64, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let size = if meta.is_file() { meta.len() } else { 0 };
        found.insert(path.clone(), (meta.mode(), size, meta.mtime(), meta.mtime_nsec()));
        if meta.is_dir() {
            waiting.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

fn restore_in_place(site: &Site, words: &[&str]) -> Output {
    let mut agent = site.agent("restore");
    agent.args(["--config", "files", "--in-place", "--server", &site.server]).args(words);
    agent.output().unwrap()
}

/// A second computer, which has nothing of its own.
fn enrol_beta(site: &Site) -> PathBuf {
    let state = site.path("beta");
    let code = site.coffer(&["computer", "code", "beta"]);
    let mut enrol = support::program("coffer-agent");
    enrol.args(["enrol", "--name", "beta", "--server", &site.server, "--code", code.trim(), "--state"]);
    support::succeed(enrol.arg(&state));
    state
}

#[test]
fn a_restore_of_the_newest_point_leaves_a_capture_alone() {
    let site = Site::start();
    fill(&site, 10, 1);
    for number in 0..5 {
        fs::write(site.data().join(format!("{number}.new")), bytes(number, 600 << 10)).unwrap();
    }
    let limit = "bandwidth = [\"otherwise 4 Mbit/s\"]";
    site.configure(&format!("include = [{:?}]\nwhen = \"every 1 minutes\"\n{limit}\n", site.data()));
    let _agent = site.start_agent();
    site.wait_until("a capture is under way", || site.status()["doing"][0]["doing"] == "capturing");
    let mut restore = site.agent("restore");
    restore.args(["--config", "files", "--server", &site.server, "--to"]).arg(site.path("back"));
    support::succeed(restore.arg(site.data().join("folder-1")));
    assert_eq!(site.points("alpha/files").len(), 1, "the capture was over before the restore");
    site.wait_until("the capture is done", || site.points("alpha/files").len() == 2);
    let log = fs::read_to_string(site.agent_log()).unwrap();
    assert_eq!(log.matches(": connected").count(), 1, "the capture was broken off: {log}");
}

#[test]
fn what_was_damaged_comes_back_to_its_place_and_a_planted_link_leads_nowhere() {
    let site = Site::start();
    fs::create_dir(site.data().join("folder-1")).unwrap();
    fs::write(site.data().join("folder-1/closed.txt"), "for reading alone").unwrap();
    fs::set_permissions(site.data().join("folder-1/closed.txt"), fs::Permissions::from_mode(0o440)).unwrap();
    symlink("folder-1/closed.txt", site.data().join("link")).unwrap();
    fill(&site, 60, 4);
    fs::hard_link(site.data().join("large-0.db"), site.data().join("large-0-too.db")).unwrap();
    assert!(site.capture().status.success());
    let (before, before_facts) = (contents(&site.data()), facts(&site.data()));

    damage(&site);
    fs::remove_dir_all(site.data().join("folder-2")).unwrap();
    fs::remove_file(site.data().join("link")).unwrap();
    let outside = site.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::remove_dir_all(site.data().join("folder-3")).unwrap();
    symlink(&outside, site.data().join("folder-3")).unwrap();
    fs::write(
        site.data().join(".coffer-restoring-7b1f0c5e2a94d863-9-9"),
        "left by a restore that was broken off",
    )
    .unwrap();
    fs::write(site.data().join("READ ME.txt"), "pay").unwrap();

    let output = restore_in_place(&site, &[]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(
        said(&output).contains("folder-3: wasn't restored: a link or a file is where"),
        "{}",
        said(&output)
    );
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was written through the link");

    fs::remove_file(site.data().join("folder-3")).unwrap();
    let output = restore_in_place(&site, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("were left alone"), "{}", said(&output));
    // What the point doesn't have is nobody's to remove.
    assert_eq!(fs::read(site.data().join("READ ME.txt")).unwrap(), b"pay");
    fs::remove_file(site.data().join("READ ME.txt")).unwrap();
    assert_eq!(contents(&site.data()), before);
    let inode = |name: &str| fs::metadata(site.data().join(name)).unwrap().ino();
    assert_eq!(inode("large-0.db"), inode("large-0-too.db"));
    // Removing the note changed the folder's own time.
    let but_top = |facts: BTreeMap<PathBuf, _>| {
        facts.into_iter().filter(|(path, _)| *path != site.data()).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(but_top(facts(&site.data())), but_top(before_facts));
}

#[test]
fn only_what_is_named_and_as_the_rule_says() {
    let site = Site::start();
    fill(&site, 20, 1);
    let (kept, changed) = (site.data().join("folder-1/file-1.txt"), site.data().join("folder-2/file-2.txt"));
    let facts = fs::metadata(&kept).unwrap();
    // Other bytes under the same size and time.
    fs::write(&kept, bytes(99, 500)).unwrap();
    fs::File::options().write(true).open(&kept).unwrap().set_modified(facts.modified().unwrap()).unwrap();
    fs::write(&changed, "other").unwrap();
    let named = [kept.to_str().unwrap(), changed.to_str().unwrap()];
    let with = |rule| restore_in_place(&site, &[&["--replace", rule], &named[..]].concat());

    let output = with("none");
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(
        said(&output).contains("file-1.txt: wasn't restored: something is there already"),
        "{}",
        said(&output)
    );
    assert_eq!(fs::read(&changed).unwrap(), b"other");
    assert_eq!(with("changed").status.code(), Some(0));
    assert_eq!(fs::read(&changed).unwrap(), bytes(2, 500));
    assert_eq!(fs::read(&kept).unwrap(), bytes(1, 500));
    fs::write(&kept, bytes(99, 500)).unwrap();
    fs::write(site.data().join("folder-3/file-3.txt"), "not named").unwrap();
    assert_eq!(with("all").status.code(), Some(0));
    assert_eq!(fs::read(&kept).unwrap(), bytes(1, 500));
    assert_eq!(fs::read(site.data().join("folder-3/file-3.txt")).unwrap(), b"not named");
    // A folder where the point has a file stays, with what's in it.
    fs::remove_file(&kept).unwrap();
    fs::create_dir(&kept).unwrap();
    let output = with("all");
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("a folder is in its place"), "{}", said(&output));
    assert_eq!(restore_in_place(&site, &["no/such/path"]).status.code(), Some(24));
}

#[test]
fn the_help_desk_brings_files_back_and_the_agent_goes_on_capturing() {
    let site = Site::start();
    fill(&site, 60, 8);
    let before = contents(&site.data());
    let agent = connected_agent(&site);
    damage(&site);
    let told = site.coffer(&["restore", "alpha/files", "--on", "alpha"]);
    assert!(told.contains("64 files"), "{told}");
    assert_eq!(contents(&site.data()), before);
    // To a folder: nothing there is replaced, and the command says so.
    let to = site.path("elsewhere");
    let words = ["restore", "alpha/files", "folder-1", "--on", "alpha", "--to", to.to_str().unwrap()];
    let top = site.data().strip_prefix("/").unwrap().join("folder-1");
    let words: Vec<&str> =
        words.iter().map(|word| if *word == "folder-1" { top.to_str().unwrap() } else { word }).collect();
    site.coffer(&words);
    assert_eq!(contents(&to.join(&top)), contents(&site.data().join("folder-1")));
    // What's there already as it was then is worth no word.
    assert!(site.try_coffer(&words).status.success());
    let mine = to.join(&top).join("file-1.txt");
    fs::write(&mine, "mine").unwrap();
    let again = site.try_coffer(&words);
    assert_eq!(again.status.code(), Some(7), "{}", said(&again));
    assert_eq!(said(&again).matches("something is there already").count(), 1, "{}", said(&again));
    assert_eq!(fs::read(&mine).unwrap(), b"mine");
    let audit = site.coffer(&["audit"]);
    for part in ["asked alpha to restore everything of alpha/files point 1 to its place", "restored 64 files"]
    {
        assert!(audit.contains(part), "{part}: {audit}");
    }
    assert!(site.is_connected("alpha"), "the restore's own line took the agent's place");
    site.coffer(&["capture", "alpha/files"]);
    drop(agent);
}

/// Asks the box for another computer's files, with this computer's certificate.
fn ask_for_others(site: &Site, state: &Path) -> Message {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let identity = coffer_link::Identity::load(&state.join("identity")).unwrap();
        let expect = coffer_link::Expect::AnyBox;
        let mut link = coffer_link::connect(&site.server, &identity, expect, None).await.unwrap();
        let clock_ms = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
        let hello = Message::Hello { protocol: PROTOCOL, program: "test".into(), clock_ms };
        link.sender.send(hello).await.unwrap();
        assert!(matches!(link.receiver.recv().await.unwrap(), Some(Message::Welcome { .. })));
        let (config, point) = (ConfigId(1), PointSeq(1));
        link.sender.send(Message::RestoreWanted { config, point, paths: Vec::new() }).await.unwrap();
        link.receiver.recv().await.unwrap().unwrap()
    })
}

#[test]
fn another_computers_files_come_only_by_the_operator() {
    let site = Site::start();
    fill(&site, 20, 1);
    let state = enrol_beta(&site);
    let is_refused = || match ask_for_others(&site, &state) {
        Message::Refused { refusal } => refusal.code == RefusalCode::NotAllowed,
        _ => false,
    };
    assert!(is_refused());
    let not_there = site.try_coffer(&["restore", "alpha/files", "--on", "beta"]);
    assert_eq!(not_there.status.code(), Some(33), "{}", said(&not_there));
    let log = site.path("beta.log");
    let _agent = start_agent(&state, &site.server, &log);
    wait_until("beta connects", &log, || site.is_connected("beta"));
    assert!(is_refused());
    let to = site.path("on-beta");
    site.coffer(&["restore", "alpha/files", "--on", "beta", "--to", to.to_str().unwrap()]);
    assert_eq!(contents(&to.join(site.data().strip_prefix("/").unwrap())), contents(&site.data()));
    assert!(is_refused(), "the box still gives away what the job was for");
    assert!(site.coffer(&["audit"]).contains("asked beta to restore everything of alpha/files"));
    assert_eq!(site.points("alpha/files").len(), 1);
}

#[test]
fn wrong_words_get_a_sentence_and_their_own_exit_code() {
    let site = Site::start();
    fill(&site, 5, 1);
    let _agent = connected_agent(&site);
    let cases: [(&[&str], i32, &str); 7] = [
        (&["--on", "gamma"], 27, "coffer computers"),
        (&["no/such", "--on", "alpha"], 30, "isn't there"),
        (&["--on", "alpha", "--point", "9"], 29, "point 9"),
        (&["--on", "alpha", "--ask"], 22, "nobody"),
        (&["--on", "alpha", "--to", "back"], 22, "isn't a whole path"),
        (&["--on", "alpha", "--to", "/proc/nothing/here"], 22, "can't be restored to"),
        (&["--in-place", "--ask"], 2, "--on"),
    ];
    let before = facts(&site.data());
    for (words, code, part) in cases {
        let output = site.try_coffer(&[&["restore", "alpha/files"], words].concat());
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", said(&output));
        assert!(said(&output).contains(part), "{words:?}: {}", said(&output));
    }
    assert_eq!(facts(&site.data()), before);
}
