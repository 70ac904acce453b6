//! From headquarters: alone, and beside an older copy of the vault.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::folder::{capture, change, copy, fill, metadata_in, replace};
use crate::headquarters::{Headquarters, code};
use crate::support::{Site, bytes, contents, program, said, succeed, wait_until};

fn replace_from(hq: &Headquarters, site: &Site) -> String {
    let code = code(site.dir.path(), &["--replace"]);
    let output = replace(site, &["--hq", &hq.address, "--code", &code]);
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

fn issue_operator(site: &Site) {
    let mut issue = program("coffer-hq");
    issue.args(["operator", "--name", "ann", "--out"]).arg(site.path("ann"));
    issue.arg("--dir").arg(site.path("hq"));
    succeed(&mut issue);
}

/// `coffer` at headquarters, by the operator that was issued.
fn at_hq(hq: &Headquarters, site: &Site, words: &[&str]) -> Command {
    let mut command = program("coffer");
    command.args(["--server", &hq.address, "--operator"]).arg(site.path("ann"));
    command.args(["--hq-branch", "leeds"]).args(words);
    command
}

/// The oldest data segment that headquarters has.
fn data_at_hq(site: &Site) -> PathBuf {
    let segments = site.path("hq/branches/leeds/segments");
    let metadata = metadata_in(&segments);
    let files = fs::read_dir(&segments).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| !metadata.contains(file)).min().unwrap()
}

/// Changes the files and takes them in as the second point, once the segments of the first are closed.
fn capture_second(site: &mut Site) {
    // Starting anew closes what was open.
    site.kill_box();
    site.start_box();
    change(site, 1);
    capture(site);
}

/// The box dies with everything on it.
fn lose_box(site: &mut Site) {
    site.kill_box();
    fs::rename(site.path("box"), site.path("dead")).unwrap();
    fs::create_dir(site.path("box")).unwrap();
}

/// The same, but that there's a copy of its vault.
fn lose_all_but_vault(site: &mut Site) {
    site.kill_box();
    copy(&site.path("box/vault"), &site.path("vault"));
    lose_box(site);
    copy(&site.path("vault"), &site.path("box/vault"));
}

fn join(hq: &Headquarters, site: &Site) {
    let mut join = program("cofferd");
    join.args(["join", "--hq", &hq.address, "--code", &code(site.dir.path(), &["--replace"]), "--dir"]);
    succeed(join.arg(site.path("box")));
}

#[test]
fn a_dead_box_is_replaced_from_headquarters_alone() {
    let (hq, mut site) = Headquarters::with_site("");
    fill(&site);
    capture(&site);
    let first = contents(&site.data());
    // Some segments are whole at HQ then, the others in part.
    capture_second(&mut site);
    let second = contents(&site.data());
    hq.wait_until_whole(&site, 2);
    lose_box(&mut site);

    let told = replace_from(&hq, &site);
    assert!(told.contains("1 computers and 2 restore points"), "{told}");
    site.start_box();
    let again = site.capture();
    assert!(said(&again).contains("nothing") || again.status.success(), "{}", said(&again));
    assert_eq!(site.points("alpha/files").len(), 2, "an unchanged computer sent something: {}", said(&again));
    change(&site, 2);
    capture(&site);
    assert_eq!(contents(&site.restore(&["--point", "1"])), first);
    assert_eq!(contents(&site.restore(&["--point", "2"])), second);
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
    hq.wait_until_whole(&site, 3);
    hq.wait_until_level(&site);
    let status = site.status();
    assert_eq!(status["sentences"].to_string().matches("damage").count(), 0, "{status}");
    assert_eq!(status["hq"]["held_back"].as_array().map_or(0, Vec::len), 0, "{status}");
}

#[test]
fn an_older_copy_and_headquarters_together_give_what_headquarters_knows() {
    let (hq, mut site) = Headquarters::with_site("");
    fill(&site);
    capture(&site);
    let first = contents(&site.data());
    site.kill_box();
    copy(&site.path("box/vault"), &site.path("older"));
    site.start_box();
    change(&site, 1);
    capture(&site);
    change(&site, 2);
    capture(&site);
    let third = contents(&site.data());
    hq.wait_until_whole(&site, 3);
    lose_box(&mut site);
    copy(&site.path("older"), &site.path("box/vault"));

    let told = replace_from(&hq, &site);
    assert!(told.contains("1 computers and 3 restore points"), "{told}");
    assert!(!told.contains("another way"), "{told}");
    site.start_box();
    change(&site, 3);
    capture(&site);
    assert_eq!(contents(&site.restore(&["--point", "1"])), first);
    assert_eq!(contents(&site.restore(&["--point", "3"])), third);
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
    site.coffer(&["verify"]);
    hq.wait_until_whole(&site, 4);
}

#[test]
fn a_copy_that_went_its_own_way_is_set_aside_and_headquarters_counts() {
    let (mut hq, mut site) = Headquarters::with_site("");
    fill(&site);
    capture(&site);
    site.kill_box();
    copy(&site.path("box/vault"), &site.path("older"));
    site.start_box();
    change(&site, 1);
    capture(&site);
    let second = contents(&site.data());
    hq.wait_until_whole(&site, 2);
    // The older copy ran for a while, and HQ couldn't be reached.
    site.kill_box();
    hq.stop();
    fs::rename(site.path("box/vault"), site.path("newer")).unwrap();
    copy(&site.path("older"), &site.path("box/vault"));
    site.start_box();
    change(&site, 2);
    capture(&site);
    let own = contents(&site.data());
    site.kill_box();
    hq.start(site.dir.path());
    let vault = site.path("its-vault");
    fs::rename(site.path("box/vault"), &vault).unwrap();
    lose_box(&mut site);
    fs::rename(&vault, site.path("box/vault")).unwrap();

    let told = replace_from(&hq, &site);
    assert!(told.contains("another way"), "{told}");
    site.start_box();
    assert_eq!(contents(&site.restore(&["--point", "2"])), second);
    capture(&site);
    assert_eq!(contents(&site.restore(&[])), own, "the computer's newest state wasn't taken in again");
    site.coffer(&["verify"]);
}

#[test]
fn a_replacement_can_join_headquarters_later() {
    let (hq, mut site) = Headquarters::with_site("");
    fill(&site);
    capture(&site);
    hq.wait_until_whole(&site, 1);
    lose_all_but_vault(&mut site);
    let output = replace(&site, &[]);
    assert!(said(&output).contains("cofferd join"), "{}", said(&output));
    join(&hq, &site);
    site.start_box();
    change(&site, 1);
    capture(&site);
    hq.wait_until_whole(&site, 2);
}

/// What the dead box counted on at headquarters, one that hasn't joined it can't give: it says so, and asks the computers.
#[test]
fn a_replacement_without_headquarters_counts_on_none_of_its_copies() {
    let (hq, mut site) = Headquarters::with_site("");
    fill_with_large(&site);
    capture(&site);
    // Starting anew closes what was open.
    site.kill_box();
    site.start_box();
    hq.wait_until_whole(&site, 1);
    hq.wait_until_level(&site);
    fs::remove_file(site.data().join("large-03")).unwrap();
    capture(&site);
    lose_all_but_vault(&mut site);
    let segments = site.path("box/vault/segments");
    let data = largest_of(&segments);
    fs::remove_file(&data).unwrap();

    let output = replace(&site, &[]);
    assert!(
        output.status.success() && said(&output).contains("can't be restored from this disk"),
        "{}",
        said(&output)
    );
    site.start_box();
    let verify = site.try_coffer(&["verify"]);
    assert_eq!(verify.status.code(), Some(12), "{}", said(&verify));
    assert!(!not_restored(&site, "1").is_empty());
    // The computer still has what it captured last.
    wait_until("the newest point is whole", &site.path("box.log"), || {
        capture(&site);
        not_restored(&site, &newest_point(&site).to_string()).is_empty()
    });
    let verify = site.try_coffer(&["verify"]);
    assert!(said(&verify).contains("large-03"), "{}", said(&verify));

    // Headquarters has it all, once the box has joined.
    site.kill_box();
    join(&hq, &site);
    site.start_box();
    wait_until("it's healed from headquarters", &site.path("box.log"), || {
        site.try_coffer(&["verify"]).status.success()
    });
}

/// The largest file in a folder.
fn largest_of(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

/// Damaged metadata in the folder is put right before anything is taken in, by what headquarters has whole, or as soon as it runs, by what it
/// has at least of that.
#[test]
fn metadata_that_is_damaged_in_the_folder_spoils_no_point() {
    for is_damaged_at_hq in [false, true] {
        let (mut hq, mut site) = Headquarters::with_site("");
        fill(&site);
        for number in 0..4 {
            change(&site, number);
            capture(&site);
        }
        site.kill_box();
        site.start_box();
        hq.wait_until_whole(&site, 4);
        hq.wait_until_level(&site);
        lose_all_but_vault(&mut site);
        issue_operator(&site);
        let here = metadata_in(&site.path("box/vault/segments")).remove(0);
        let records = records_in(&fs::read(&here).unwrap());
        flip(&here, records[records.len() - 5] + 40);
        if is_damaged_at_hq {
            flip(&metadata_in(&site.path("hq/branches/leeds/segments"))[0], records[2] + 40);
            hq.stop();
            hq.start(site.dir.path());
            assert!(!at_hq(&hq, &site, &["verify"]).output().unwrap().status.success());
        }
        let told = replace_from(&hq, &site);
        assert_eq!(told.contains("metadata"), is_damaged_at_hq, "{told}");
        site.start_box();
        let log = site.path("box.log");
        capture_when_taken(&site);
        change(&site, 9);
        capture(&site);
        wait_until("all is well", &log, || site.try_coffer(&["verify"]).status.success());
        for point in site.points("alpha/files") {
            assert_eq!(point["is_doubtful"], false, "{is_damaged_at_hq}: {point}");
        }
        hq.wait_until_whole(&site, newest_point(&site));
        wait_until("HQ says so too", &log, || {
            at_hq(&hq, &site, &["verify"]).output().unwrap().status.success()
        });
    }
}

/// A new library has blank tapes under the barcodes of the burnt ones: nothing on those counts.
#[test]
fn blank_tapes_with_the_barcodes_of_old_ones_are_no_copies() {
    let (mut hq, mut site) = Headquarters::with_site("[tape]\nsimulated = true\n");
    fill_with_large(&site);
    capture(&site);
    site.coffer(&["tape", "run"]);
    fs::remove_file(site.data().join("large-03")).unwrap();
    capture(&site);
    hq.wait_until_whole(&site, 2);
    site.coffer(&["tape", "run"]);
    hq.wait_until_level(&site);
    lose_box(&mut site);
    issue_operator(&site);
    let bulk = largest_of(&site.path("hq/branches/leeds/segments"));
    let records = records_in(&fs::read(&bulk).unwrap());
    flip(&bulk, records[records.len() / 3] + 1000);
    hq.stop();
    hq.start(site.dir.path());
    assert!(!at_hq(&hq, &site, &["verify"]).output().unwrap().status.success());

    replace_from(&hq, &site);
    site.start_box();
    let log = site.path("box.log");
    let verify = site.try_coffer(&["verify"]);
    assert!(!verify.status.success(), "{}", said(&verify));
    wait_until("the newest point is whole", &log, || {
        site.capture();
        not_restored(&site, &newest_point(&site).to_string()).is_empty()
    });
    wait_until("the box and HQ claim what a restore gives", &log, || {
        let is_restored = is_first_restored(&site);
        let is_well = |output: std::process::Output| output.status.success();
        let (here, there) = (
            is_well(site.try_coffer(&["verify"])),
            is_well(at_hq(&hq, &site, &["verify"]).output().unwrap()),
        );
        here == is_restored && there == is_restored
    });
}

/// Whether a restore of the first point gives everything.
fn is_first_restored(site: &Site) -> bool {
    let to = site.path("first");
    fs::remove_dir_all(&to).ok();
    site.try_coffer(&["restore", "alpha/files", "--point", "1", "--to", to.to_str().unwrap()])
        .status
        .success()
}

#[test]
fn tapes_and_headquarters_together_give_what_either_knows() {
    let (hq, mut site) = Headquarters::with_site("[tape]\nsimulated = true\n");
    fill(&site);
    capture(&site);
    let first = contents(&site.data());
    site.coffer(&["tape", "run"]);
    change(&site, 1);
    capture(&site);
    let second = contents(&site.data());
    hq.wait_until_whole(&site, 2);
    lose_box(&mut site);
    let mut rebuild = program("coffer");
    rebuild.args(["rebuild-from-tape", "--vault"]).arg(site.path("box/vault"));
    rebuild.arg("--simulated").arg(site.path("dead/simulated-library"));
    succeed(rebuild.arg("--recovery-key").arg(site.path("recovery.key")));
    copy(&site.path("dead/simulated-library"), &site.path("box/simulated-library"));

    let told = replace_from(&hq, &site);
    assert!(told.contains("1 computers and 2 restore points"), "{told}");
    site.start_box();
    change(&site, 2);
    capture(&site);
    assert_eq!(contents(&site.restore(&["--point", "1"])), first);
    assert_eq!(contents(&site.restore(&["--point", "2"])), second);
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
    hq.wait_until_whole(&site, 3);
    site.coffer(&["tape", "run"]);
    let status = site.status();
    assert_eq!(status["hq"]["set_back"], false, "{status}");
}

#[test]
fn the_box_before_is_refused_on_both_sides_when_it_comes_back_and_loses_nothing() {
    let (hq, mut site) = Headquarters::with_site("");
    fill(&site);
    capture(&site);
    hq.wait_until_whole(&site, 1);
    lose_box(&mut site);
    let told = replace_from(&hq, &site);
    assert!(told.contains("Newest point of alpha/files: 1,"), "{told}");
    site.start_box();
    change(&site, 1);
    capture(&site);
    hq.wait_until_whole(&site, 2);
    let newest = contents(&site.data());
    site.kill_box();
    fs::rename(site.path("box"), site.path("replacement")).unwrap();
    fs::rename(site.path("dead"), site.path("box")).unwrap();

    site.start_box();
    wait_until("the box before says that it's refused", &site.path("box.log"), || {
        site.status()["sentences"].to_string().contains("took this box's place")
    });
    assert_eq!(site.points("alpha/files").len(), 1, "it has what it had");
    issue_operator(&site);
    let overview =
        String::from_utf8(succeed(&mut at_hq(&hq, &site, &["--json", "hq", "branches"])).stdout).unwrap();
    assert!(overview.contains("was refused"), "{overview}");
    site.kill_box();

    fs::rename(site.path("box"), site.path("dead")).unwrap();
    fs::rename(site.path("replacement"), site.path("box")).unwrap();
    site.start_box();
    hq.wait_until_level(&site);
    assert_eq!(contents(&site.restore(&["--point", "2"])), newest);
}

#[test]
fn a_bit_that_headquarters_lost_stops_a_replacement_until_that_is_accepted() {
    lost_metadata_stops_a_replacement_until_that_is_accepted(|file| {
        let mut bytes = fs::read(file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, bytes).unwrap();
    });
}

#[test]
fn a_segment_that_headquarters_lost_stops_a_replacement_until_that_is_accepted() {
    lost_metadata_stops_a_replacement_until_that_is_accepted(|file| fs::remove_file(file).unwrap());
}

fn lost_metadata_stops_a_replacement_until_that_is_accepted(damage: impl FnOnce(&Path)) {
    let (mut hq, mut site) = Headquarters::with_site("");
    fill(&site);
    capture(&site);
    // Starting anew closes what was open.
    for number in 1..3 {
        site.kill_box();
        site.start_box();
        change(&site, number);
        capture(&site);
    }
    let newest = contents(&site.data());
    hq.wait_until_whole(&site, 3);
    hq.wait_until_level(&site);
    lose_box(&mut site);
    hq.stop();
    // The metadata of the second run is damaged at HQ.
    damage(&metadata_in(&site.path("hq/branches/leeds/segments"))[1]);
    hq.start(site.dir.path());

    // Either HQ can't give that segment whole, or it has found that already and gives what is sound of it.
    let code = code(site.dir.path(), &["--replace"]);
    let words = ["--hq", &hq.address, "--code", &code];
    let mut output = replace(&site, &words);
    if !output.status.success() {
        let told = said(&output);
        assert!(told.contains("couldn't be had from HQ") && told.contains("--incomplete"), "{told}");
        // The same code again.
        output = replace(&site, &[&words[..], &["--incomplete"]].concat());
    }
    let told = said(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("! Not everything is there"), "{told}");
    site.start_box();
    let verify = site.try_coffer(&["verify"]);
    assert!(!verify.status.success(), "nothing says what lacks: {}", said(&verify));
    // The computer has it all, and compares it: its next point is whole.
    capture_when_taken(&site);
    let to = site.path("back");
    let output = site.try_coffer(&["restore", "alpha/files", "--to", to.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(contents(&to.join(site.data().strip_prefix("/").unwrap())), newest);
    // HQ can restore it whole, too, once the computer has compared it.
    capture_until_whole(&hq, &site, 4);
}

#[test]
fn what_headquarters_has_lost_unnoticed_is_named_soon_after_a_replacement() {
    let (hq, mut site) = Headquarters::with_site("");
    fill(&site);
    capture(&site);
    capture_second(&mut site);
    hq.wait_until_whole(&site, 2);
    hq.wait_until_level(&site);
    lose_box(&mut site);
    // A bit of the data flips on HQ's disk while HQ runs.
    let data = data_at_hq(&site);
    let mut bytes = fs::read(&data).unwrap();
    // In the first record; what the segment's end says of it is sound.
    bytes[800] ^= 1;
    fs::write(&data, bytes).unwrap();

    // HQ reads back what it has as soon as it's asked for it, and so may know already.
    let code = code(site.dir.path(), &["--replace"]);
    let words = ["--hq", &hq.address, "--code", &code];
    let mut output = replace(&site, &words);
    if !output.status.success() {
        assert!(said(&output).contains("couldn't be had from HQ"), "{}", said(&output));
        output = replace(&site, &[&words[..], &["--incomplete"]].concat());
    }
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("is read back now"), "{}", said(&output));
    site.start_box();
    wait_until("what is lost is named", &site.path("box.log"), || {
        let status = site.status();
        status["sentences"].to_string().contains("can't be restored")
    });
    assert!(!site.try_coffer(&["verify"]).status.success());
}

#[test]
fn what_headquarters_loses_after_a_replacement_is_named_on_both_sides_until_it_is_back() {
    let (hq, mut site) = Headquarters::with_site("");
    fill(&site);
    capture(&site);
    let first = contents(&site.data());
    capture_second(&mut site);
    hq.wait_until_whole(&site, 2);
    hq.wait_until_level(&site);
    lose_box(&mut site);
    replace_from(&hq, &site);
    site.start_box();
    site.coffer(&["verify"]);
    let is_well = || site.status()["sentences"].as_array().is_some_and(Vec::is_empty);
    assert!(is_well(), "{}", site.status());
    issue_operator(&site);

    // HQ has the only copy of it.
    let data = data_at_hq(&site);
    let away = site.path("away.seg");
    fs::rename(&data, &away).unwrap();
    let log = site.path("box.log");
    wait_until("the box names what is lost", &log, || {
        site.status()["sentences"].to_string().contains("can't be restored")
    });
    assert_eq!(site.try_coffer(&["verify"]).status.code(), Some(12));
    wait_until("HQ says that the box doesn't have it either", &log, || {
        let verify = at_hq(&hq, &site, &["verify"]).output().unwrap();
        said(&verify).contains("nor from the branch's box")
    });

    fs::rename(&away, &data).unwrap();
    wait_until("all is well again", &log, is_well);
    site.coffer(&["verify"]);
    assert_eq!(contents(&site.restore(&["--point", "1"])), first);
}

/// The computer is there, and is asked to compare everything.
fn capture_until_whole(hq: &Headquarters, site: &Site, point: u64) {
    wait_until("the newest point is whole at HQ", &site.path("box.log"), || {
        // Until all copies were asked for what is missing, nothing is taken in.
        site.capture();
        hq.has_whole(site, point)
    });
}

/// Captures once the box has asked all copies for metadata that is missing.
fn capture_when_taken(site: &Site) {
    wait_until("captures go on", &site.path("box.log"), || site.capture().status.success());
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Files of which each has data and metadata of its own.
fn fill_with_large(site: &Site) {
    for number in 0..12 {
        fs::write(site.data().join(format!("large-{number:02}")), bytes(number, 1_500_000)).unwrap();
    }
}

/// Restores a point as far as it can be, and returns the names of the files that didn't come back as they were.
fn not_restored(site: &Site, point: &str) -> Vec<PathBuf> {
    let to = site.path("back");
    fs::remove_dir_all(&to).ok();
    let words = ["restore", "alpha/files", "--point", point, "--to", to.to_str().unwrap()];
    site.try_coffer(&words);
    let restored = contents(&to.join(site.data().strip_prefix("/").unwrap()));
    let were = contents(&site.data());
    assert!(restored.keys().all(|path| were.contains_key(path)));
    let lacks = |(path, hash): &(&PathBuf, &blake3::Hash)| restored.get(*path) != Some(*hash);
    were.iter().filter(lacks).map(|(path, _)| path.clone()).collect()
}

/// What is sound behind damage at headquarters reaches the new box, whether or not HQ has found the damage before, and whether or not it
/// is started in between; what was damaged comes from the computer.
#[test]
fn data_that_headquarters_lost_a_bit_of_costs_what_needs_it_alone() {
    for hq_knows in [true, false] {
        let (mut hq, mut site) = Headquarters::with_site("");
        fill_with_large(&site);
        capture(&site);
        site.kill_box();
        site.start_box();
        capture(&site);
        hq.wait_until_whole(&site, 1);
        hq.wait_until_level(&site);
        lose_box(&mut site);
        issue_operator(&site);
        let data = data_at_hq(&site);
        let third = fs::metadata(&data).unwrap().len() as usize / 3;
        flip(&data, third);
        if hq_knows {
            assert!(!at_hq(&hq, &site, &["verify"]).output().unwrap().status.success());
            hq.stop();
            hq.start(site.dir.path());
        }
        replace_from(&hq, &site);
        site.start_box();
        // One record has parts of two files at most.
        wait_until("all but what is damaged is restored", &site.path("box.log"), || {
            (1..=2).contains(&not_restored(&site, "1").len())
        });
        assert!(!site.try_coffer(&["verify"]).status.success());

        capture(&site);
        wait_until("the computer has sent what was lost", &site.path("box.log"), || {
            capture(&site);
            not_restored(&site, "1").is_empty()
        });
        wait_until("HQ has it again", &site.path("box.log"), || {
            at_hq(&hq, &site, &["verify"]).output().unwrap().status.success()
        });
        site.coffer(&["verify"]);
    }
}

/// What headquarters lost is in an older copy of the vault, and the copy lacks what came later: together they have everything.
#[test]
fn an_older_copy_and_a_damaged_segment_at_headquarters_make_a_whole_one() {
    let (hq, mut site) = Headquarters::with_site("");
    fill(&site);
    capture(&site);
    for number in 0..4 {
        fs::write(site.data().join(format!("early-{number}")), bytes(100 + number, 1_200_000)).unwrap();
    }
    capture(&site);
    copy(&site.path("box/vault"), &site.path("older"));
    for number in 0..4 {
        fs::write(site.data().join(format!("late-{number}")), bytes(200 + number, 1_200_000)).unwrap();
    }
    capture(&site);
    site.kill_box();
    site.start_box();
    hq.wait_until_whole(&site, 3);
    hq.wait_until_level(&site);
    lose_box(&mut site);
    copy(&site.path("older"), &site.path("box/vault"));
    issue_operator(&site);
    let segments = site.path("hq/branches/leeds/segments");
    let files = fs::read_dir(&segments).unwrap().map(|file| file.unwrap().path());
    let largest = files.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    flip(&largest, 1_500_000);
    assert!(!at_hq(&hq, &site, &["verify"]).output().unwrap().status.success());

    let told = replace_from(&hq, &site);
    assert!(told.contains("1 segments are damaged at HQ"), "{told}");
    site.start_box();
    wait_until("everything is restored", &site.path("box.log"), || not_restored(&site, "3").is_empty());
    wait_until("HQ has it again", &site.path("box.log"), || {
        at_hq(&hq, &site, &["verify"]).output().unwrap().status.success()
    });
    site.coffer(&["verify"]);
}

/// The same of metadata: points and files of which nothing is damaged are there.
#[test]
fn metadata_that_headquarters_lost_a_bit_of_costs_what_needs_it_alone() {
    // In the record of the fourth capture.
    let (hq, site) = replaced_without_record(|bytes| {
        let records = records_in(bytes);
        records[records.len() / 2]
    });
    let points = site.points("alpha/files");
    assert!(points.len() >= 5, "{points:?}");
    let lacks = not_restored(&site, "6");
    assert!(lacks.len() <= 1, "{lacks:?}");
    // The computer has it all.
    capture_until_whole(&hq, &site, 7);
    assert_eq!(not_restored(&site, "7"), Vec::<PathBuf>::new());
}

/// What older points have in them is given, whether or not it's known what they're called.
#[test]
fn what_lies_in_folders_that_headquarters_lost_the_names_of_is_given_by_number() {
    // The first capture's record has all folders.
    let (hq, site) = replaced_without_record(largest_record);
    let mut later = contents(&site.data());
    later.retain(|path, _| path.to_string_lossy().contains("later-") && !path.ends_with("later-0"));
    assert_eq!(later.len(), 5);
    capture_until_whole(&hq, &site, 7);
    assert_eq!(not_restored(&site, "7"), Vec::<PathBuf>::new());
    let to = site.path("by-number");
    let restored = site.try_coffer(&["restore", "alpha/files", "--point", "6", "--to", to.to_str().unwrap()]);
    assert!(
        !restored.status.success() && said(&restored).contains("coffer-lost+found"),
        "{}",
        said(&restored)
    );
    let names = contents(&to);
    for (path, hash) in &later {
        let is_it =
            |(one, of): &(&PathBuf, &blake3::Hash)| *of == hash && one.file_name() == path.file_name();
        assert!(names.iter().any(|one| is_it(&one)), "{path:?} of {names:?}: {}", said(&restored));
    }
}

/// A box that took over, after six captures, from a headquarters where a bit of a record of the only metadata is wrong.
fn replaced_without_record(record: impl FnOnce(&[u8]) -> usize) -> (Headquarters, Site) {
    let (mut hq, mut site) = Headquarters::with_site("");
    fill_with_large(&site);
    for number in 0..6 {
        fs::write(site.data().join(format!("later-{number}")), bytes(50 + number, 20_000)).unwrap();
        capture(&site);
    }
    site.kill_box();
    site.start_box();
    hq.wait_until_whole(&site, 6);
    hq.wait_until_level(&site);
    lose_box(&mut site);
    issue_operator(&site);
    let metadata = metadata_in(&site.path("hq/branches/leeds/segments")).remove(0);
    let at = record(&fs::read(&metadata).unwrap());
    flip(&metadata, at + 40);
    assert!(!at_hq(&hq, &site, &["verify"]).output().unwrap().status.success());
    hq.stop();
    hq.start(site.dir.path());

    let told = replace_from(&hq, &site);
    assert!(told.contains("! Not everything is there"), "{told}");
    assert!(told.contains("1 segments are damaged at HQ"), "{told}");
    site.start_box();
    (hq, site)
}

fn newest_point(site: &Site) -> u64 {
    site.points("alpha/files").iter().filter_map(|point| point["point"].as_u64()).max().unwrap()
}

/// Where the records of a segment begin.
fn records_in(bytes: &[u8]) -> Vec<usize> {
    bytes.windows(4).enumerate().filter(|(_, four)| four == b"CREC").map(|(at, _)| at).collect()
}

/// Where the largest record of a segment begins.
fn largest_record(bytes: &[u8]) -> usize {
    records_in(bytes).windows(2).map(|pair| (pair[1] - pair[0], pair[0])).max().unwrap().1
}

/// The metadata of the newest point is what headquarters lost: nothing is called well before the computer has compared, no number is given
/// twice, and what is captured next is there.
#[test]
fn a_replacement_goes_on_where_the_newest_metadata_is_lost() {
    for what in ["flipped", "cut", "removed"] {
        let (mut hq, mut site) = Headquarters::with_site("");
        fill(&site);
        for number in 1..=3 {
            change(&site, number);
            capture(&site);
            site.kill_box();
            site.start_box();
        }
        hq.wait_until_whole(&site, 3);
        hq.wait_until_level(&site);
        let third = contents(&site.data());
        lose_box(&mut site);
        issue_operator(&site);
        hq.stop();
        let newest = metadata_in(&site.path("hq/branches/leeds/segments")).remove(2);
        let bytes = fs::read(&newest).unwrap();
        match what {
            "flipped" => flip(&newest, largest_record(&bytes) + 40),
            "cut" => fs::write(&newest, &bytes[..bytes.len() / 2]).unwrap(),
            _ => fs::remove_file(&newest).unwrap(),
        }
        hq.start(site.dir.path());
        assert!(!at_hq(&hq, &site, &["verify"]).output().unwrap().status.success());

        let told = replace_from(&hq, &site);
        assert!(told.contains("or not be shown"), "{what}: {told}");
        site.start_box();
        assert!(!site.try_coffer(&["verify"]).status.success(), "{what}");
        assert_ne!(site.status()["sentences"].as_array().map(Vec::len), Some(0), "{what}");

        assert_eq!(contents(&site.data()), third);
        capture_until_whole(&hq, &site, 4);
        change(&site, 4);
        capture(&site);
        assert_eq!(contents(&site.restore(&[])), contents(&site.data()), "{what}");
        site.coffer(&["verify"]);
    }
}
