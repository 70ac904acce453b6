//! A restore that the help desk asked for, while the agent is killed, the line is cut, or the box is killed.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod restore_site;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use restore_site::{connected_agent, damage, fill, start_agent};
use support::{Site, contents, said};

/// Files that aren't whole yet, or were left behind.
fn unfinished(folder: &Path) -> Vec<PathBuf> {
    let all = contents(folder).into_keys();
    all.filter(|path| path.to_string_lossy().contains(".coffer-")).collect()
}

fn has_unfinished(folder: &Path) -> bool {
    fs::read_dir(folder)
        .unwrap()
        .any(|entry| entry.unwrap().file_name().to_string_lossy().contains(".coffer-"))
}

/// Every file is as it was before the restore or as it's to be, and nothing between.
fn assert_old_or_new(
    site: &Site,
    new: &BTreeMap<PathBuf, blake3::Hash>,
    old: &BTreeMap<PathBuf, blake3::Hash>,
) {
    for (path, hash) in contents(&site.data()) {
        let is_working = path.to_string_lossy().contains(".coffer-restoring-");
        assert!(is_working || new[&path] == hash || old[&path] == hash, "{} is half-written", path.display());
    }
}

#[test]
fn an_agent_that_is_killed_leaves_old_or_new_and_goes_on_when_it_is_back() {
    let site = Site::start();
    fill(&site, 300, 192);
    let new = contents(&site.data());
    damage(&site);
    let old = contents(&site.data());
    let agent = connected_agent(&site);
    let operator = site.coffer_command(&["restore", "alpha/files", "--on", "alpha"]).spawn().unwrap();
    site.wait_until("the restore begins", || has_unfinished(&site.data()));
    drop(agent);
    assert_old_or_new(&site, &new, &old);
    assert!(has_unfinished(&site.data()), "the kill came too late to show anything");
    let _agent = connected_agent(&site);
    let output = operator.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(unfinished(&site.data()), Vec::<PathBuf>::new());
    assert_eq!(contents(&site.data()), new);
}

/// Carries bytes between agents and the box until it's cut.
#[derive(Clone, Default)]
struct Cable(Arc<Mutex<Vec<TcpStream>>>);

impl Cable {
    /// Where agents connect to.
    fn lay(&self, server: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cable = self.clone();
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (near, Ok(far)) = (near.unwrap(), TcpStream::connect(&server)) else { continue };
                cable.0.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                let (from, to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                std::thread::spawn(move || carry(from, to));
                std::thread::spawn(move || carry(far, near));
            }
        });
        address
    }

    fn cut(&self) {
        for end in self.0.lock().unwrap().drain(..) {
            end.shutdown(Shutdown::Both).ok();
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Both).ok();
}

#[test]
fn a_line_that_is_cut_delays_a_restore_and_loses_nothing_of_it() {
    let site = Site::start();
    fill(&site, 100, 192);
    let new = contents(&site.data());
    damage(&site);
    let cable = Cable::default();
    let address = cable.lay(site.server.clone());
    let _agent = start_agent(&site.path("agent"), &address, &site.agent_log());
    site.wait_until("the agent connects", || site.is_connected("alpha"));
    // Nothing is replaced, so that what was restored before the cut must be known to be so afterwards.
    fs::remove_dir_all(site.data()).unwrap();
    let words = ["restore", "alpha/files", "--on", "alpha", "--in-place", "--replace", "none"];
    let operator = site.coffer_command(&words).spawn().unwrap();
    site.wait_until("the restore begins", || site.data().exists() && has_unfinished(&site.data()));
    cable.cut();
    let output = operator.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(contents(&site.data()), new);
    let log = fs::read_to_string(site.agent_log()).unwrap();
    assert!(log.contains("the restore waits for a line"), "the cut came too late to show anything: {log}");
}

#[test]
fn a_box_that_is_killed_ends_the_restore_and_the_agent_says_so() {
    let mut site = Site::start();
    fill(&site, 100, 192);
    let new = contents(&site.data());
    damage(&site);
    let old = contents(&site.data());
    let _agent = connected_agent(&site);
    let operator = site.coffer_command(&["restore", "alpha/files", "--on", "alpha"]).spawn().unwrap();
    site.wait_until("the restore begins", || has_unfinished(&site.data()));
    site.kill_box();
    let output = operator.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    site.start_box();
    let log = || fs::read_to_string(site.agent_log()).unwrap();
    site.wait_until("the agent hears that nobody waits", || log().contains("doesn't wait for that restore"));
    site.wait_until("it's tidied up", || !has_unfinished(&site.data()));
    assert_old_or_new(&site, &new, &old);
    site.wait_until("the agent is back", || site.is_connected("alpha"));
    site.coffer(&["restore", "alpha/files", "--on", "alpha"]);
    assert_eq!(contents(&site.data()), new);
}
