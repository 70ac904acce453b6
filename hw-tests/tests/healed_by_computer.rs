//! What the box has lost, and no copy has, comes back from the computer that still has it, without anybody asking.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use support::{Running, Site, bytes, contents, said, succeed};

const FILES: u64 = 4;

/// A box without any other copy, an agent at work, four files in point 1, and a fifth in point 2.
fn start() -> (Site, Running) {
    let site = Site::start();
    (0..FILES).for_each(|number| write(&site, &format!("f{number}"), number));
    site.configure(&format!("include = [{:?}]\nwhen = \"continuous\"\nsettle_seconds = 0\n", site.data()));
    let agent = site.start_agent();
    site.wait_until("the first files are captured", || newest(&site) == 1);
    write(&site, "g", FILES);
    site.wait_until("another one is captured", || newest(&site) == 2 && is_idle(&site));
    (site, agent)
}

fn write(site: &Site, name: &str, seed: u64) {
    fs::write(site.data().join(name), bytes(seed, 50_000)).unwrap();
}

fn newest(site: &Site) -> u64 {
    site.points("alpha/files").first().map_or(0, |point| point["point"].as_u64().unwrap())
}

fn is_idle(site: &Site) -> bool {
    site.status()["doing"].as_array().unwrap().is_empty()
}

fn largest(site: &Site) -> PathBuf {
    let segments = fs::read_dir(site.path("box/vault/segments")).unwrap();
    let paths = segments.map(|entry| entry.unwrap().path());
    paths.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

fn overwrite(path: PathBuf) {
    let middle = path.metadata().unwrap().len() / 2;
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&[0xff; 8], middle).unwrap();
}

/// An agent that stands still while the box is looked at.
fn signal(agent: &Running, what: &str) {
    succeed(Command::new("kill").arg(what).arg(agent.id().to_string()));
}

fn state(site: &Site) -> String {
    site.status()["computers"][0]["configurations"][0]["state"].as_str().unwrap().to_owned()
}

/// Waits until all that was ever captured can be restored, and nothing says otherwise.
fn wait_until_whole(site: &Site, agent: &Running) {
    site.wait_until("it's known that something is lost", || state(site) == "incomplete");
    let points = site.points("alpha/files");
    assert!(
        points.iter().all(|point| point["lost"] == FILES && point["read_back_ms"].is_null()),
        "{points:?}"
    );
    assert!(site.coffer(&["points", "alpha/files"]).contains("4 lost"));
    let listed = site.coffer(&["ls", "alpha/files", site.data().to_str().unwrap()]);
    assert_eq!(listed.matches("lost").count(), FILES as usize, "{listed}");
    signal(agent, "-CONT");
    site.wait_until("the computer sends it again", || state(site) == "protected");
    let points = site.points("alpha/files");
    assert!(points.iter().all(|point| point["lost"] == 0), "{points:?}");
    let audit = || site.coffer(&["audit"]);
    let told =
        [" is damaged", "content of 4 files of the newest state of alpha/files is lost", "is lost any more"];
    site.wait_until("damage and mend are audited", || told.iter().all(|what| audit().contains(what)));
    let says_wrong = || site.coffer(&["status"]).contains("didn't give what was stored");
    site.wait_until("no trial restore is said to be wrong any more", || !says_wrong());
    let verified = site.try_coffer(&["verify"]);
    assert!(verified.status.success(), "{}", said(&verified));
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
    let mut first = contents(&site.data());
    first.retain(|path, _| path.to_str().unwrap().starts_with('f'));
    assert_eq!(contents(&site.restore(&["--point", "1"])), first, "older points have the same content");
}

#[test]
fn what_was_lost_while_the_box_was_off_comes_back_while_nothing_changes_on_the_computer() {
    let (mut site, agent) = start();
    site.kill_box();
    overwrite(largest(&site));
    signal(&agent, "-STOP");
    site.start_box();
    wait_until_whole(&site, &agent);
}

#[test]
fn what_a_restore_finds_lost_comes_back_while_nothing_changes_on_the_computer() {
    let (site, agent) = start();
    signal(&agent, "-STOP");
    overwrite(largest(&site));
    let to = site.path("out");
    let restored = site.try_coffer(&["restore", "alpha/files", "--to", to.to_str().unwrap()]);
    assert!(!restored.status.success(), "{}", said(&restored));
    wait_until_whole(&site, &agent);
}

#[test]
fn a_segment_that_is_removed_comes_back_while_nothing_changes_on_the_computer() {
    let (mut site, agent) = start();
    let segment = largest(&site);
    // A start closes what was written to.
    site.kill_box();
    site.start_box();
    site.wait_until("the agent is back", || site.is_connected("alpha"));
    write(&site, "g", FILES + 1);
    site.wait_until("the box goes on in another segment", || newest(&site) == 3 && is_idle(&site));
    signal(&agent, "-STOP");
    fs::remove_file(segment).unwrap();
    site.wait_until("it's known that something is lost", || state(&site) == "incomplete");
    signal(&agent, "-CONT");
    site.wait_until("the computer sends it again", || state(&site) == "protected");
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
}
