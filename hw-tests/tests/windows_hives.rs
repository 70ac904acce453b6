//! The Windows agent under wine: hives that are put back, and a state folder that somebody else had made. wine's own registry
//! has no hives: what's loaded and who has a profile is written to it by the tests.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod support;
mod windows_site;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::said;
use windows_site::{Wine, agent_exe};

const BERT: &str = "S-1-5-21-7-7-7-1002";

/// A Windows of its own.
struct Computer {
    /// Ends before its folder goes.
    wine: Wine,
    _dir: tempfile::TempDir,
}

impl Computer {
    fn new() -> Computer {
        let dir = tempfile::tempdir().unwrap();
        let computer = Computer { wine: Wine::new(dir.path().join("wine")), _dir: dir };
        support::succeed(&mut computer.wine.program(&["cmd", "/c", "exit"]));
        computer
    }

    fn path(&self, below: &str) -> PathBuf {
        self.wine.path("prefix/drive_c").join(below)
    }

    fn write(&self, below: &str, bytes: &[u8]) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn read(&self, below: &str) -> Vec<u8> {
        fs::read(self.path(below)).unwrap()
    }

    fn register(&self, key: &str, name: &str, value: &str) {
        support::succeed(&mut self.wine.program(&["reg", "add", key, "/v", name, "/d", value, "/f"]));
    }

    /// Somebody who isn't logged on and has a folder.
    fn register_bert(&self) {
        let profiles = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList";
        self.register(&format!(r"{profiles}\{BERT}"), "ProfileImagePath", r"C:\users\bert");
    }

    fn agent(&self, words: &[&str], answer: &str) -> Output {
        let exe = agent_exe();
        let all = [&[exe.to_str().unwrap()], words].concat();
        let mut command = self.wine.program(&all);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // An agent that asks nothing has gone already.
        drop(child.stdin.take().unwrap().write_all(answer.as_bytes()));
        child.wait_with_output().unwrap()
    }

    fn put_back(&self, words: &[&str], answer: &str) -> Output {
        self.agent(&[&["hives", "put-back"], words].concat(), answer)
    }
}

/// A hive of one bin, which has `mark` in it.
fn hive(mark: u8) -> Vec<u8> {
    let mut bytes = vec![0u8; 8192];
    bytes[..4].copy_from_slice(b"regf");
    bytes[4096..4100].copy_from_slice(b"hbin");
    for (at, number) in [(4, 3u32), (8, 3), (20, 1), (24, 5), (32, 1), (36, 32), (40, 4096), (4104, 4096)] {
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
    bytes[5000] = mark;
    let words = bytes[..508].chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    let sum = words.fold(0, |sum, word| sum ^ word);
    bytes[508..512].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[test]
fn a_hive_of_somebody_who_is_logged_off_is_put_back_and_taken_back_again() {
    let computer = Computer::new();
    computer.register_bert();
    computer.write("users/bert/NTUSER.DAT", &hive(1));
    computer.write(&format!("back/registry/USER {BERT}"), &hive(2));
    computer.write("back/registry/BCD", &hive(3));

    let refused = computer.put_back(&[r"C:\back\registry"], "no\n");
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("nothing is changed; answer \"yes\""), "{}", said(&refused));
    assert_eq!(fs::read_dir(computer.path("users/bert")).unwrap().count(), 1, "{}", said(&refused));

    let done = computer.put_back(&[r"C:\back\registry"], "yes\n");
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(said(&done).contains(r"BCD: it's the boot loader's"), "{}", said(&done));
    assert_eq!(computer.read("users/bert/NTUSER.DAT"), hive(2));
    let before = r"C:\users\bert\NTUSER.DAT.coffer-before";
    assert_eq!(computer.read("users/bert/NTUSER.DAT.coffer-before"), hive(1));

    let way_back = format!("coffer-agent hives put-back --user {BERT} \"{before}\"");
    assert!(said(&done).contains(&way_back), "{}", said(&done));
    let back = computer.put_back(&["--yes", "--user", BERT, before], "");
    assert_eq!(back.status.code(), Some(0), "{}", said(&back));
    assert_eq!(computer.read("users/bert/NTUSER.DAT"), hive(1));
    assert_eq!(computer.read("users/bert/NTUSER.DAT.coffer-before-2"), hive(2));
}

#[test]
fn where_one_of_the_hives_is_not_sound_nothing_is_changed() {
    let computer = Computer::new();
    computer.register_bert();
    computer.write("users/bert/NTUSER.DAT", &hive(1));
    computer.write(&format!("back/USER {BERT}"), &hive(2));
    computer.write("back/SOFTWARE", &hive(2)[..6000]);
    computer.write("back/SAM", b"Windows Registry Editor Version 5.00");
    computer.write("back/letter.txt", b"Dear Bert");
    let refused = computer.put_back(&["--yes", r"C:\back"], "");
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    for sentence in [
        "nothing is changed: ",
        r"C:\back\SOFTWARE: it's damaged or cut off at byte 4096",
        r"C:\back\SAM: it isn't a hive of the registry",
    ] {
        assert!(said(&refused).contains(sentence), "{}", said(&refused));
    }
    for (words, sentence) in [
        ([r"C:\back\letter.txt"], "its name isn't that of a hive"),
        ([r"C:\none"], "its name isn't that of a hive"),
        ([r"C:\users\bert\NTUSER.DAT"], "say whose it is, with --user"),
    ] {
        let refused = computer.put_back(&words, "yes\n");
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
        assert!(said(&refused).contains(sentence), "{}", said(&refused));
    }
    assert_eq!(computer.read("users/bert/NTUSER.DAT"), hive(1));
    assert_eq!(fs::read_dir(computer.path("users/bert")).unwrap().count(), 1);
}

#[test]
fn a_loaded_hive_is_windows_to_replace_and_wine_which_does_nothing_is_not_believed() {
    let computer = Computer::new();
    let hives = r"HKLM\SYSTEM\CurrentControlSet\Control\hivelist";
    computer.write("windows/system32/config/SOFTWARE", &hive(1));
    computer.write("back/SOFTWARE", &hive(2));
    let refused = computer.put_back(&["--yes", r"C:\back\SOFTWARE"], "");
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("doesn't say that it has SOFTWARE loaded"), "{}", said(&refused));

    let name = r"\REGISTRY\MACHINE\SOFTWARE";
    computer.register(hives, name, r"\Device\HarddiskVolume9\windows\system32\config\SOFTWARE");
    let tried = computer.put_back(&["--yes", r"C:\back\SOFTWARE"], "");
    assert_eq!(tried.status.code(), Some(3), "{}", said(&tried));
    for sentence in [
        r"C:\back\SOFTWARE takes the place of C:\windows\System32\config\SOFTWARE when Windows next starts.",
        "SOFTWARE isn't put back: Windows says that it's done, but there's no ",
    ] {
        assert!(said(&tried).contains(sentence), "{}", said(&tried));
    }
    assert_eq!(computer.read("windows/system32/config/SOFTWARE"), hive(1));
}

#[test]
fn a_state_folder_that_others_could_have_filled_is_not_used() {
    let computer = Computer::new();
    computer.write("ProgramData/Coffer/server", b"their.box:7420");
    let folder = computer.path("ProgramData/Coffer");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    // The code is one that no box gave out.
    let state = ["--state", r"C:\ProgramData\Coffer"];
    let enrol = ["enrol", "--server", "127.0.0.1:1", "--code", &"0".repeat(33)];
    let is_refused = |sentence: &str| {
        for words in [[&enrol[..], &state].concat(), [&["capture"][..], &state].concat()] {
            let refused = computer.agent(&words, "");
            assert_eq!(refused.status.code(), Some(9), "{}", said(&refused));
            assert!(said(&refused).contains(sentence), "{}", said(&refused));
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    };
    is_refused(
        r"other users may write to C:\ProgramData\Coffer and could have put anything there; remove it",
    );
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    give_to_another(&folder.join("server"));
    is_refused(r"C:\ProgramData\Coffer\server belongs to another user (NT AUTHORITY\ANONYMOUS LOGON)");
    give_to_another(&folder);
    is_refused(r"C:\ProgramData\Coffer belongs to another user (NT AUTHORITY\ANONYMOUS LOGON)");

    // Removed, it's made anew, and the box is what's lacking.
    as_root(&["rm", "-r", folder.to_str().unwrap()]);
    let lost = computer.agent(&[&enrol[..], &state].concat(), "");
    assert_eq!(lost.status.code(), Some(4), "{}", said(&lost));
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o027, 0);
}

/// wine knows a user of its own, who is whoever runs it, and calls all others by one name.
fn give_to_another(path: &Path) {
    as_root(&["chown", "4242", path.to_str().unwrap()]);
}

fn as_root(words: &[&str]) {
    let sudo = if nix::unistd::Uid::effective().is_root() { &[][..] } else { &["sudo", "-n"] };
    let words = [sudo, words].concat();
    let done = Command::new(words[0]).args(&words[1..]).status().unwrap();
    assert!(done.success(), "{words:?}: run the tests as root, or where sudo works");
}
