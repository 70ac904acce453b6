//! The small files that a box stands on, and the disk that it stands on: what is damaged, missing or takes no writes costs what
//! hangs on it and no more, and is said.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod restore_site;
mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use restore_site::fill;
use support::{Site, contents, program, said, succeed, wait_until};

/// Starts a box that ends at once.
fn run_box(site: &Site) -> Output {
    program("cofferd").args(["run", "--dir"]).arg(site.path("box")).output().unwrap()
}

fn sentences(site: &Site) -> String {
    site.status()["sentences"].to_string()
}

fn snapshot(dir: &Path) -> std::collections::BTreeMap<std::path::PathBuf, blake3::Hash> {
    contents(dir)
}

#[test]
fn a_disk_that_takes_no_writes_is_restored_from_and_verified() {
    let mut site = Site::start();
    fill(&site, 30, 4);
    let before = contents(&site.data());
    // As a power cut leaves it: with open segments, which opening a vault closes.
    site.kill_box();
    let kept = snapshot(&site.path("box/vault"));
    site.start_box_read_only();
    assert!(sentences(&site).contains("takes no writes"), "{}", sentences(&site));
    assert_eq!(contents(&site.restore(&[])), before);
    let verified = site.try_coffer(&["verify"]);
    assert!(verified.status.success(), "{}", said(&verified));
    fs::write(site.data().join("new"), b"new").unwrap();
    let refused = site.capture();
    assert!(!refused.status.success() && said(&refused).contains("read-only"), "{}", said(&refused));
    site.kill_box();
    assert_eq!(snapshot(&site.path("box/vault")), kept, "nothing was written");
    // The disk was mended.
    site.start_box();
    assert!(!sentences(&site).contains("takes no writes"));
    fs::write(site.data().join("later"), b"later").unwrap();
    assert!(site.capture().status.success());
}

/// Segments that nothing is written to any more: what was open is closed by the start after it.
fn close_segments(site: &mut Site) {
    site.kill_box();
    site.start_box();
    site.kill_box();
}

/// The segment with the files' bytes.
fn largest_segment(site: &Site) -> std::path::PathBuf {
    let all = fs::read_dir(site.path("box/vault/segments")).unwrap().map(|entry| entry.unwrap().path());
    all.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

fn flip_middle(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_verifying_finds_on_a_disk_that_takes_no_writes_is_in_the_status_too() {
    let mut site = Site::start();
    fill(&site, 30, 4);
    close_segments(&mut site);
    site.start_box_read_only();
    assert!(!sentences(&site).contains("can't be restored"), "{}", sentences(&site));
    flip_middle(&largest_segment(&site));
    for _ in 0..2 {
        let verified = site.try_coffer(&["verify"]);
        assert_eq!(verified.status.code(), Some(12), "{}", said(&verified));
        assert!(sentences(&site).contains("from no copy either"), "{}", sentences(&site));
        assert!(site.points("alpha/files")[0]["lost"].as_u64() > Some(0));
        assert_ne!(site.status()["computers"][0]["configurations"][0]["state"], "protected");
    }
}

/// A box whose vault is on a file system of its own. `first` is what a shell does there before the box starts.
fn start_on_own_disk(site: &mut Site, first: &str) {
    let image = site.path("disk");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let mut make = Command::new("mkfs.ext4");
    succeed(make.args(["-q", "-d"]).arg(site.path("box/vault")).arg(&image));
    let script =
        format!("mount -o loop \"$0\" \"$1\" && cd \"$1\" && {{ {first}; }} && cd / && shift && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script]).arg(image);
    command.arg(site.path("box/vault")).arg(program("cofferd").get_program());
    command.args(["run", "--dir"]).arg(site.path("box"));
    site.start_box_by(command);
}

/// Leaves no room.
const FILL_UP: &str = "cat /dev/zero > filler 2>/dev/null || cat /dev/zero > more 2>/dev/null || true";

/// A command that sees the disks as the box does.
fn beside_box(site: &Site) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--mount=/proc/{}/ns/mnt", site.box_id()));
    command
}

fn wait_for_recovery(site: &Site, said_meanwhile: &str) {
    wait_until("the box goes on by itself", &site.path("box.log"), || {
        // While it begins anew nobody answers.
        let status = site.try_coffer(&["status", "--json"]);
        status.status.success() && !String::from_utf8_lossy(&status.stdout).contains(said_meanwhile)
    });
}

#[test]
fn a_box_that_was_started_on_a_full_disk_restores_and_goes_on_once_there_is_room() {
    let mut site = Site::start();
    fill(&site, 10, 4);
    let before = contents(&site.data());
    site.kill_box();
    // Its blocks are smaller than a page, and not one is left.
    start_on_own_disk(&mut site, FILL_UP);
    assert!(sentences(&site).contains("takes no writes"), "{}", sentences(&site));
    assert_eq!(contents(&site.restore(&[])), before);
    fs::write(site.data().join("new"), b"new").unwrap();
    assert!(!site.capture().status.success());
    succeed(beside_box(&site).arg("rm").arg(site.path("box/vault/filler")));
    wait_for_recovery(&site, "takes no writes");
    assert!(!sentences(&site).contains("failed while writing"), "{}", sentences(&site));
    let captured = site.capture();
    assert!(captured.status.success(), "{}", said(&captured));
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
}

/// Opening the vault closes in memory what was open: what the disk loses of that afterwards is damage, whatever the box still has.
#[test]
fn what_a_full_disk_loses_under_the_box_is_damage_until_it_is_put_back() {
    let mut site = Site::start();
    fill(&site, 10, 4);
    let before = contents(&site.data());
    site.kill_box();
    start_on_own_disk(&mut site, FILL_UP);
    assert!(site.try_coffer(&["verify"]).status.success());
    let largest = largest_segment(&site);
    let flip = "printf '\\377\\376\\375' | dd of=\"$0\" bs=1 seek=4000 conv=notrunc 2>/dev/null";
    succeed(beside_box(&site).args(["sh", "-c", flip]).arg(&largest));
    site.wait_until("the box sees it by itself", || sentences(&site).contains("before the box is stopped"));
    let verified = site.try_coffer(&["verify"]);
    assert_eq!(verified.status.code(), Some(12), "{}", said(&verified));
    assert!(said(&verified).contains("before the box is stopped"), "{}", said(&verified));
    assert!(sentences(&site).contains("before the box is stopped"), "{}", sentences(&site));
    assert_eq!(contents(&site.restore(&[])), before);
    succeed(beside_box(&site).arg("rm").arg(site.path("box/vault/filler")));
    wait_for_recovery(&site, "takes no writes");
    let verified = site.try_coffer(&["verify"]);
    assert!(verified.status.success(), "{}", said(&verified));
    assert_eq!(contents(&site.restore(&[])), before);
}

#[test]
fn a_disk_that_is_full_keeps_nobody_from_verifying() {
    let mut site = Site::start();
    fill(&site, 10, 4);
    site.kill_box();
    start_on_own_disk(&mut site, "true");
    // Large writes leave room for small ones.
    let fill_up = "cd \"$0\"; cat /dev/zero > filler; for n in 1 2 3; do dd if=/dev/zero of=more$n bs=512; sync; done; true";
    succeed(beside_box(&site).args(["sh", "-c", fill_up]).arg(site.path("box/vault")));
    for _ in 0..20 {
        let verified = site.try_coffer(&["verify"]);
        assert!(verified.status.success(), "{}", said(&verified));
    }
}

#[test]
fn a_box_whose_disk_failed_for_a_while_goes_on_and_tells_it() {
    let mut site = Site::start();
    fill(&site, 10, 4);
    site.kill_box();
    start_on_own_disk(&mut site, "true");
    // What is opened by its name from here on takes no writes.
    let over = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"";
    succeed(beside_box(&site).args(["sh", "-c", over]).arg(site.path("box/vault")));
    let failed = "failed while writing: nothing new is protected";
    wait_until("the box notices it", &site.path("box.log"), || sentences(&site).contains(failed));
    succeed(beside_box(&site).args(["umount", "--lazy"]).arg(site.path("box/vault")));
    wait_for_recovery(&site, failed);
    assert!(sentences(&site).contains("takes writes again since"), "{}", sentences(&site));
    fs::write(site.data().join("new"), b"new").unwrap();
    let captured = site.capture();
    assert!(captured.status.success(), "{}", said(&captured));
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
}

#[test]
fn a_disk_that_fails_while_nobody_writes_takes_the_word_protected() {
    let mut site = Site::start();
    fill(&site, 10, 4);
    site.kill_box();
    start_on_own_disk(&mut site, "true");
    assert!(site.capture().status.success());
    let protection = |site: &Site| {
        let list: serde_json::Value = serde_json::from_str(&site.coffer(&["computers", "--json"])).unwrap();
        list[0]["protection"].as_str().unwrap().to_owned()
    };
    assert_eq!(protection(&site), "protected");
    succeed(beside_box(&site).args(["mount", "-o", "remount,abort"]).arg(site.path("box/vault")));
    wait_until("the box notices that its disk has failed", &site.path("box.log"), || {
        sentences(&site).contains("failed while writing")
    });
    assert_eq!(protection(&site), "failing");
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
    fs::write(site.data().join("new"), b"new").unwrap();
    let captured = site.capture();
    assert!(!captured.status.success(), "{}", said(&captured));
}

#[test]
fn settings_that_are_gone_or_say_nothing_stop_the_box_with_a_sentence() {
    let mut site = Site::start();
    let settings = site.path("box/box.toml");
    site.kill_box();
    let good = fs::read(&settings).unwrap();
    fs::write(&settings, b"").unwrap();
    let output = run_box(&site);
    assert!(!output.status.success() && said(&output).contains("says nothing"), "{}", said(&output));
    fs::remove_file(&settings).unwrap();
    let output = run_box(&site);
    assert!(!output.status.success() && said(&output).contains("put it back"), "{}", said(&output));
    fs::write(&settings, good).unwrap();
    site.start_box();
}

#[test]
fn a_box_without_its_vault_says_how_to_go_on() {
    let mut site = Site::start();
    site.kill_box();
    fs::rename(site.path("box/vault"), site.path("vault")).unwrap();
    let ended = run_box(&site);
    assert!(!ended.status.success() && said(&ended).contains("cofferd replace"), "{}", said(&ended));
}

#[test]
fn each_key_and_identity_of_the_box_comes_back_from_its_second_copy() {
    let mut site = Site::start();
    fill(&site, 5, 1);
    let files = [
        "keys/box.key",
        "authority/authority.key",
        "authority/authority.pem",
        "identity/key.pem",
        "identity/certificate.pem",
        "identity/authority.pem",
        "operator/key.pem",
        "operator/certificate.pem",
    ];
    for name in files {
        let path = site.path("box").join(name);
        let good = fs::read(&path).unwrap();
        for change in ["flip", "cut", "remove"] {
            site.kill_box();
            let mut bytes = good.clone();
            let middle = bytes.len() / 2;
            match change {
                "flip" => bytes[middle] ^= 1,
                "cut" => bytes.truncate(middle),
                _ => fs::remove_file(&path).unwrap(),
            }
            if change != "remove" {
                fs::write(&path, &bytes).unwrap();
            }
            site.start_box();
            assert_eq!(fs::read(&path).unwrap(), good, "{name}: {change}");
            assert!(sentences(&site).contains("second copy"), "{name}: {change}: {}", sentences(&site));
        }
    }
    fs::write(site.data().join("later"), b"later").unwrap();
    assert!(site.capture().status.success());
    site.kill_box();
    site.start_box();
    assert!(!sentences(&site).contains("second copy"), "said once");
}

/// Whichever of both copies is lost while the box runs comes back before the other one may be.
#[test]
fn what_is_removed_of_the_boxs_own_files_while_it_runs_is_written_again() {
    let mut site = Site::start();
    fill(&site, 5, 1);
    let of = |name: &str| site.path("box").join(name);
    let all = ["keys/box.key", "authority/authority.key", "identity/key.pem", "vault/vault.id"];
    let copies = ["spare/keys/box.key", "spare/authority/authority.key", "spare/identity/key.pem"];
    let good: Vec<_> =
        all.iter().chain(&copies).map(|name| (of(name), fs::read(of(name)).unwrap())).collect();
    for gone in [["spare"].as_slice(), &["keys", "authority", "identity", "vault/vault.id"]] {
        for name in gone {
            match of(name).is_dir() {
                true => fs::remove_dir_all(of(name)).unwrap(),
                false => fs::remove_file(of(name)).unwrap(),
            }
        }
        site.wait_until(&format!("{gone:?} come back"), || {
            good.iter().all(|(path, bytes)| fs::read(path).is_ok_and(|there| there == *bytes))
        });
    }
    let told = sentences(&site);
    assert!(told.contains("second copy") && told.contains("vault.id was damaged or removed"), "{told}");
    fs::write(site.data().join("later"), b"later").unwrap();
    assert!(site.capture().status.success());
    site.kill_box();
    site.start_box();
    site.restore(&[]);
}

#[test]
fn a_line_to_headquarters_that_cannot_begin_is_a_sentence_and_the_box_works() {
    let mut site = Site::start();
    fill(&site, 5, 1);
    site.kill_box();
    let settings = site.path("box/box.toml");
    let before = fs::read_to_string(&settings).unwrap();
    let begin = |site: &mut Site, more: &str| {
        fs::write(&settings, format!("{before}\n{more}")).unwrap();
        site.start_box();
        let told = sentences(site);
        assert!(told.contains("Nothing is sent to headquarters"), "{more}: {told}");
        assert!(site.try_coffer(&["status"]).status.success());
        site.restore(&[]);
        site.kill_box();
    };
    begin(&mut site, "[hq]\naddress = \"127.0.0.1:1\"\n");
    begin(&mut site, "[hq]\naddress = \"127.0.0.1:1\"\nrate = \"as fast as it goes\"\n");
    fs::create_dir(site.path("box/branch")).unwrap();
    begin(&mut site, "");
}

/// Puts something that is no file in a file's or folder's place.
fn replace(path: &Path, what: &str) {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
    match what {
        "folder" => fs::create_dir(path).unwrap(),
        "pipe" => nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        _ => std::os::unix::fs::symlink("/nowhere/x", path).unwrap(),
    }
}

/// Runs a program that must end by itself.
fn run_to_its_end(command: &Command) -> Output {
    let mut bounded = Command::new("timeout");
    bounded.args(["--signal=KILL", "60"]).arg(command.get_program()).args(command.get_args());
    bounded.output().unwrap()
}

#[test]
fn what_is_no_file_gives_way_wherever_the_box_can_make_the_file_again() {
    let mut site = Site::start();
    fill(&site, 5, 1);
    let before = contents(&site.data());
    let files = [
        "vault/vault.id",
        "vault/lock",
        "keys/box.key",
        "keys/recovery.pub",
        "authority/authority.key",
        "identity/key.pem",
        "clock",
        "spare/keys/box.key",
        "spare/identity/key.pem",
    ];
    for name in files {
        for what in ["folder", "pipe", "link"] {
            site.kill_box();
            let path = site.path("box").join(name);
            let is_there = path.exists();
            replace(&path, what);
            site.start_box();
            assert!(!is_there || path.is_file(), "a {what} for {name}");
        }
    }
    assert_eq!(contents(&site.restore(&[])), before);
    fs::write(site.data().join("later"), b"later").unwrap();
    assert!(site.capture().status.success());
    // Nothing else says what stands in the settings.
    site.kill_box();
    let settings = site.path("box/box.toml");
    let good = fs::read(&settings).unwrap();
    for what in ["folder", "pipe"] {
        replace(&settings, what);
        let mut run = program("cofferd");
        run.args(["run", "--dir"]).arg(site.path("box"));
        let output = run_to_its_end(&run);
        let told = said(&output);
        assert!(told.contains(&format!("a {what} lies in its place")) && told.contains("box.toml"), "{told}");
        if what == "folder" { fs::remove_dir(&settings) } else { fs::remove_file(&settings) }.unwrap();
    }
    fs::write(&settings, good).unwrap();
    site.start_box();
}

#[test]
fn what_is_no_file_stops_no_capture_where_the_agent_can_make_it_again_and_is_said_elsewhere() {
    let site = Site::start();
    fill(&site, 5, 1);
    let state = site.path("agent");
    let capture = || {
        let mut capture = site.agent("capture");
        capture.args(["--server", &site.server]);
        run_to_its_end(&capture)
    };
    let config = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
    let config = config.into_iter().find(|path| path.to_string_lossy().contains("config-")).unwrap();
    let caches = [config.join("journal.db"), config.join("pages"), config.clone(), state.join("lock")];
    for (number, path) in caches.iter().enumerate() {
        for what in ["folder", "pipe", "link"] {
            replace(path, what);
            fs::write(site.data().join("changed"), format!("{number} {what}")).unwrap();
            let captured = capture();
            assert!(captured.status.success(), "a {what} for {}: {}", path.display(), said(&captured));
            assert_eq!(
                contents(&site.restore(&[])),
                contents(&site.data()),
                "a {what} for {}",
                path.display()
            );
        }
    }
    for name in ["chunk.key", "server", "identity/key.pem"] {
        let path = state.join(name);
        let good = fs::read(&path).unwrap();
        replace(&path, "pipe");
        let captured = run_to_its_end(&site.agent("capture"));
        assert!(said(&captured).contains("a pipe lies in its place"), "{name}: {}", said(&captured));
        fs::remove_file(&path).unwrap();
        fs::write(&path, good).unwrap();
    }
    assert!(site.capture().status.success());
}
