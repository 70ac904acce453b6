//! The real box and the real agent: first copy, changes, `kill -9`, damage, wrong input.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod support;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::process::Command;

use support::{Site, bytes, contents, said, wait_until};

/// In `box.toml`.
const SIMULATED_LIBRARY: &str = "[tape]\nsimulated = true\n";

fn fill(site: &Site, files: u64, large_mib: usize) {
    for number in 0..files {
        let folder = site.data().join(format!("folder-{}", number % 17));
        fs::create_dir_all(&folder).unwrap();
        fs::write(
            folder.join(format!("file-{number}.txt")),
            bytes(number, 100 + (number as usize * 37) % 9000),
        )
        .unwrap();
    }
    fs::write(site.data().join("large.db"), bytes(1, large_mib << 20)).unwrap();
}

fn capture(site: &Site) {
    let output = site.capture();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn files_come_back_as_they_were_at_each_point() {
    let site = Site::start();
    fill(&site, 300, 8);
    capture(&site);
    let first = contents(&site.data());
    let large = fs::File::options().write(true).open(site.data().join("large.db")).unwrap();
    large.write_all_at(&bytes(99, 8192), 8192 * 77).unwrap();
    fs::remove_file(site.data().join("folder-3/file-3.txt")).unwrap();
    fs::rename(site.data().join("folder-5"), site.data().join("renamed")).unwrap();
    capture(&site);
    let second = contents(&site.data());
    assert_eq!(contents(&site.restore(&["--point", "1"])), first);
    assert_eq!(contents(&site.restore(&[])), second);
    let stored = site.points("alpha/files")[0]["stored"].as_u64().unwrap();
    assert!(stored < 40_000, "one changed page cost {stored} bytes");
    let report = site.coffer(&["verify"]);
    assert!(!report.contains('!'), "{report}");
}

#[test]
fn what_a_point_lacks_is_in_its_report_and_in_every_state() {
    let site = Site::start();
    fill(&site, 10, 1);
    let gone = site.path("not-there");
    site.configure(&format!("include = [{:?}, {gone:?}]\nwhen = \"manual\"\n", site.data()));
    let output = site.capture();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let report = site.coffer(&["report", "alpha/files"]);
    assert!(report.contains("not-there"), "{report}");
    let status = site.status();
    assert_eq!(status["computers"][0]["configurations"][0]["state"], "incomplete");
    let told = status["sentences"].to_string();
    assert!(told.contains("restore point 1 lacks something"), "{told}");
}

/// By the command as on the box.
#[test]
fn a_point_without_any_file_is_no_success() {
    let site = Site::start();
    fs::create_dir_all(site.data().join("folder")).unwrap();
    site.configure(&format!("include = [{:?}]\nwhen = \"manual\"\n", site.data()));
    for _ in 0..2 {
        let output = site.capture();
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        assert!(said(&output).contains("holds no file at all"), "{}", said(&output));
    }
    fs::write(site.data().join("folder/file"), b"one").unwrap();
    let output = site.capture();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    fs::remove_file(site.data().join("folder/file")).unwrap();
    assert_eq!(site.capture().status.code(), Some(3));
}

/// An agent that finds no room for what it remembers of its configuration: on a disk of its own, which nobody else sees.
fn agent_without_room(site: &Site, verb: &str) -> Command {
    let script = "mount -t tmpfs -o nr_inodes=1 tmpfs \"$0\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(site.path("agent/config-1"));
    command
        .arg(support::program("coffer-agent").get_program())
        .arg(verb)
        .arg("--state")
        .arg(site.path("agent"));
    command.args(["--server", &site.server]);
    command
}

#[test]
fn an_agent_whose_captures_fail_says_why_on_the_box() {
    let site = Site::start();
    fill(&site, 10, 1);
    capture(&site);
    site.configure(&format!("include = [{:?}]\nwhen = \"every 1 minutes\"\n", site.data()));
    let agent = support::Running::start_logged(&mut agent_without_room(&site, "run"), &site.agent_log());
    let config = || site.status()["computers"][0]["configurations"][0].clone();
    site.wait_until("the box shows the failure", || config()["state"] == "failing");
    let told = site.coffer(&["status"]);
    assert!(told.contains("can't be captured"), "{told}");
    let mut room = Command::new("nsenter");
    room.arg(format!("--mount=/proc/{}/ns/mnt", agent.id())).args(["umount", "--lazy"]);
    support::succeed(room.arg(site.path("agent/config-1")));
    site.wait_until("the failure is over", || config()["state"] == "protected");
    agent.kill();
}

#[test]
fn one_capture_by_command_that_fails_is_told_on_the_box_too() {
    let site = Site::start();
    fill(&site, 10, 1);
    capture(&site);
    let output = agent_without_room(&site, "capture").output().unwrap();
    assert!(!output.status.success(), "{}", said(&output));
    let config = || site.status()["computers"][0]["configurations"][0].clone();
    assert_eq!(config()["state"], "failing");
    assert!(site.coffer(&["status"]).contains("can't be captured"), "{}", site.coffer(&["status"]));
    assert!(site.coffer(&["computers"]).contains("failing"), "{}", site.coffer(&["computers"]));
    capture(&site);
    assert_eq!(config()["state"], "protected");
    // A configuration that this computer can't use is none that's captured.
    site.configure("include = ['C:\\data']\nwhen = \"manual\"\n");
    let output = site.capture();
    assert!(!output.status.success(), "{}", said(&output));
    assert_eq!(config()["state"], "failing");
    let agent = site.start_agent();
    site.configure(&format!("include = [{:?}]\nwhen = \"manual\"\n", site.data()));
    site.wait_until("the failure is over", || config()["state"] == "protected");
    site.configure("include = ['C:\\data']\nwhen = \"manual\"\n");
    site.wait_until("the box shows that it can't be used", || config()["state"] == "failing");
    agent.kill();
}

/// What nobody has asked for isn't under way.
#[test]
fn a_manual_configuration_says_what_it_waits_for() {
    let site = Site::start();
    fill(&site, 3, 1);
    site.configure(&format!("include = [{:?}]\nwhen = \"manual\"\n", site.data()));
    let agent = site.start_agent();
    site.wait_until("the box knows what it waits for", || {
        site.coffer(&["status"]).contains("the first copy of files waits: its configuration is manual")
    });
    assert!(site.try_coffer(&["capture", "alpha/files"]).status.success());
    site.wait_until("it comes when it's asked for", || {
        site.status()["computers"][0]["configurations"][0]["state"] == "protected"
    });
    agent.kill();
}

/// Nothing is claimed of a computer that isn't captured any more.
#[test]
fn a_revoked_computer_is_shown_as_revoked_and_claims_nothing() {
    let site = Site::start();
    fill(&site, 3, 1);
    capture(&site);
    site.coffer(&["computer", "revoke", "alpha"]);
    let config = site.status()["computers"][0]["configurations"][0].clone();
    assert_eq!((&config["state"], config["protected_ms"].is_null()), (&serde_json::json!("revoked"), true));
    let told = site.coffer(&["status"]);
    assert!(told.contains("alpha was revoked") && told.contains("not captured any more"), "{told}");
    let listed = site.coffer(&["computers"]);
    assert!(!listed.contains("protected"), "{listed}");
}

/// Nor is it while it stays connected.
#[test]
fn a_connected_computer_that_is_revoked_or_enrolled_elsewhere_is_captured_no_more() {
    for is_revoked in [true, false] {
        let site = Site::start();
        fs::write(site.data().join("before"), "before").unwrap();
        site.configure(&format!(
            "include = [{:?}]\nwhen = \"continuous\"\nsettle_seconds = 0\n",
            site.data()
        ));
        let agent = site.start_agent();
        let points = || site.points("alpha/files").len();
        site.wait_until("it's captured", || points() > 0);
        match is_revoked {
            true => drop(site.coffer(&["computer", "revoke", "alpha"])),
            false => {
                let code = site.coffer(&["computer", "code", "alpha"]);
                let mut enrol = support::program("coffer-agent");
                enrol.args([
                    "enrol",
                    "--name",
                    "alpha",
                    "--server",
                    &site.server,
                    "--code",
                    code.trim(),
                    "--state",
                ]);
                support::succeed(enrol.arg(site.path("another")));
            }
        }
        let before = points();
        fs::write(site.data().join("after"), "after").unwrap();
        site.wait_until("it's refused", || {
            fs::read_to_string(site.path("agent.log")).unwrap().contains("isn't enrolled here any more")
        });
        assert_eq!(points(), before, "revoked: {is_revoked}");
        agent.kill();
    }
}

/// No watch tells of a link on the way: what it leads to by now is what's asked for.
#[test]
fn a_link_on_the_way_that_leads_elsewhere_is_followed_while_it_is_watched() {
    let site = Site::start();
    for target in ["one", "two"] {
        fs::create_dir(site.path(target)).unwrap();
        fs::write(site.path(target).join("file"), target).unwrap();
    }
    let way = site.path("way");
    std::os::unix::fs::symlink(site.path("one"), &way).unwrap();
    site.configure(&format!("include = [{way:?}]\nwhen = \"continuous\"\nsettle_seconds = 1\n"));
    let agent = site.start_agent();
    let listed = |target: &str| {
        let path = site.path(target);
        let listed = site.try_coffer(&["ls", "alpha/files", path.to_str().unwrap()]);
        listed.status.success() && said(&listed).contains("file")
    };
    site.wait_until("what it leads to is captured", || listed("one"));
    let beside = site.path("beside");
    std::os::unix::fs::symlink(site.path("two"), &beside).unwrap();
    fs::rename(&beside, &way).unwrap();
    site.wait_until("what it leads to now is captured", || listed("two"));
    fs::write(site.path("two/later"), "later").unwrap();
    site.wait_until("and watched", || {
        said(&site.try_coffer(&["ls", "alpha/files", site.path("two").to_str().unwrap()])).contains("later")
    });
    agent.kill();
}

#[test]
fn a_box_without_a_library_says_so_and_makes_none_up() {
    let site = Site::start();
    fill(&site, 10, 1);
    capture(&site);
    let run = site.try_coffer(&["tape", "run"]);
    assert!(!run.status.success() && said(&run).contains("no tape library"), "{}", said(&run));
    let status = site.coffer(&["status"]);
    assert!(status.contains("on its own disk alone"), "{status}");
    assert!(!site.path("box/simulated-library").exists());
}

#[test]
fn a_library_that_is_switched_off_stops_nothing_else() {
    let site = Site::start_with(
        "[tape]\nchanger = \"/dev/a-changer-that-is-off\"\ndrives = [\"/dev/a-drive-that-is-off\"]\n",
    );
    fill(&site, 10, 1);
    capture(&site);
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
    let run = site.try_coffer(&["tape", "run"]);
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(!run.status.success() && said.contains("/dev/a-changer-that-is-off"), "{said}");
    let status = site.coffer(&["status"]);
    assert!(status.contains("/dev/a-changer-that-is-off"), "the status doesn't tell: {status}");
}

#[test]
fn a_tar_stream_holds_names_attributes_and_hard_links() {
    let site = Site::start();
    fill(&site, 40, 2);
    let folder = site.data().join("folder-1");
    let long = folder.join("n".repeat(200));
    fs::write(&long, "a long name").unwrap();
    fs::hard_link(&long, folder.join("the same")).unwrap();
    std::os::unix::fs::symlink("the same", folder.join("link")).unwrap();
    fs::set_permissions(folder.join("the same"), fs::Permissions::from_mode(0o741)).unwrap();
    support::succeed(Command::new("setfattr").args(["-n", "user.colour", "-v", "blue"]).arg(&long));
    let sparse = folder.join(format!("{} with holes", "s".repeat(150)));
    let holes = fs::File::create(&sparse).unwrap();
    holes.set_len(64 << 20).unwrap();
    holes.write_all_at(b"in the middle", 30 << 20).unwrap();
    support::succeed(Command::new("setfattr").args(["-n", "user.colour", "-v", "red"]).arg(&sparse));
    capture(&site);
    let archive = site.path("files.tar");
    let restore = site.try_coffer(&["restore", "alpha/files", "--tar"]);
    assert!(restore.status.success(), "{}", String::from_utf8_lossy(&restore.stderr));
    fs::write(&archive, restore.stdout).unwrap();
    let to = site.path("unpacked");
    fs::create_dir(&to).unwrap();
    support::succeed(Command::new("tar").args(["--xattrs", "-xpf"]).arg(&archive).arg("-C").arg(&to));
    let unpacked = to.join(site.data().strip_prefix("/").unwrap());
    assert_eq!(contents(&unpacked), contents(&site.data()));
    assert!(fs::metadata(&archive).unwrap().len() < 8 << 20, "holes are no bytes in the stream");
    let sparse = fs::metadata(unpacked.join(sparse.strip_prefix(site.data()).unwrap())).unwrap();
    assert!(sparse.blocks() < 1000, "{} blocks", sparse.blocks());
    let again = unpacked.join("folder-1/the same");
    let (found, kept) = (fs::metadata(&again).unwrap(), fs::metadata(&long).unwrap());
    let facts =
        |meta: &fs::Metadata| (meta.mode(), meta.uid(), meta.mtime(), meta.mtime_nsec(), meta.nlink());
    assert_eq!(facts(&found), facts(&kept));
    let mut colour = Command::new("getfattr");
    let colour = support::succeed(colour.args(["--only-values", "-n", "user.colour"]).arg(&again));
    assert_eq!(colour.stdout, b"blue");
}

/// Which is named here and on the box, whether or not the agent was enrolled by a program that wrote a sum of it.
#[test]
fn a_damaged_chunk_key_is_named_until_the_computer_is_enrolled_again() {
    let site = Site::start();
    fill(&site, 5, 1);
    let (key, sum) = (site.path("agent/chunk.key"), site.path("agent/chunk.key.sum"));
    let good = fs::read(&key).unwrap();
    fs::remove_file(&sum).unwrap();
    capture(&site);
    assert!(sum.exists(), "what the box takes vouches for the key");
    let mut bad = good.clone();
    bad[9] = if bad[9] == b'0' { b'1' } else { b'0' };
    fs::write(&key, &bad).unwrap();
    let vouches = fs::read(&sum).unwrap();
    for has_sum in [false, true] {
        match has_sum {
            true => fs::write(&sum, &vouches).unwrap(),
            false => fs::remove_file(&sum).unwrap(),
        }
        fs::write(site.data().join("new"), format!("{has_sum}")).unwrap();
        let captured = site.capture();
        let told = said(&captured);
        let is_named = |told: &str| told.contains("chunk.key is damaged") && told.contains("new code");
        assert!(captured.status.code() == Some(9) && is_named(&told), "{has_sum}: {told}");
        let status = site.coffer(&["status"]);
        assert!(is_named(&status) && status.contains("failing"), "{has_sum}: {status}");
    }
    let agent = site.start_agent();
    site.wait_until("an agent without a capture that's due tells it too", || {
        site.is_connected("alpha") && site.coffer(&["status"]).contains("chunk.key is damaged")
    });
    agent.kill();
    let code = site.coffer(&["computer", "code", "alpha"]);
    let mut enrol = site.agent("enrol");
    support::succeed(enrol.args(["--name", "alpha", "--server", &site.server, "--code", code.trim()]));
    assert_eq!(fs::read(&key).unwrap(), good);
    capture(&site);
    assert!(!site.coffer(&["status"]).contains("chunk.key"));
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
}

/// All that `find`, `getfacl` and `getfattr` tell of a tree: times of folders, access lists, which names are one file.
fn all_of(folder: &std::path::Path) -> String {
    let tell = |program: &str, words: &[&str]| {
        let output = support::succeed(Command::new(program).args(words).current_dir(folder));
        String::from_utf8(output.stdout).unwrap()
    };
    let facts = tell("find", &[".", "-printf", "%p %y %m %U %G %s %T@ %n %l %i\n"]);
    let mut lines: Vec<_> = facts.lines().collect();
    lines.sort_unstable();
    // Numbers of inodes say only which names go together.
    let mut first_names = std::collections::BTreeMap::new();
    let told = lines.into_iter().map(|line| {
        let (facts, inode) = line.rsplit_once(' ').unwrap();
        let name = facts.split(' ').next().unwrap().to_owned();
        format!("{facts} = {}\n", first_names.entry(inode.to_owned()).or_insert(name))
    });
    let facts: String = told.collect();
    let mut lists: Vec<_> =
        tell("getfacl", &["-R", "-n", "-P", "."]).split("\n\n").map(str::to_owned).collect();
    let mut attributes: Vec<_> =
        tell("getfattr", &["-R", "-h", "-d", "-m", "-", "."]).split("\n\n").map(str::to_owned).collect();
    lists.sort_unstable();
    attributes.sort_unstable();
    [facts, lists.join("\n"), attributes.join("\n")].concat()
}

#[test]
fn gnu_tar_gives_everything_as_it_was() {
    let site = Site::start();
    let data = site.data();
    fs::create_dir_all(data.join("outer/inner/closed")).unwrap();
    fs::create_dir(data.join("handed down")).unwrap();
    for name in ["outer/file", "outer/inner/file", "outer/inner/closed/file", "handed down/file"] {
        fs::write(data.join(name), name).unwrap();
    }
    std::os::unix::fs::symlink("nowhere", data.join("outer/link")).unwrap();
    fs::hard_link(data.join("outer/link"), data.join("outer/inner/same link")).unwrap();
    let run = |program: &str, words: &[&str]| {
        support::succeed(Command::new(program).args(words).current_dir(&data))
    };
    run("mkfifo", &["outer/pipe"]);
    fs::hard_link(data.join("outer/pipe"), data.join("outer/same pipe")).unwrap();
    run("setfattr", &["-n", "user.100%=all", "-v", "of it", "outer/file"]);
    if !Command::new("setfacl")
        .args(["-m", "u:1234:rw"])
        .arg(data.join("outer/file"))
        .status()
        .unwrap()
        .success()
    {
        eprintln!("SKIPPED: gnu_tar_gives_everything_as_it_was needs a file system with access lists");
        return;
    }
    run("setfacl", &["-m", "u:1234:rwx,g:77:r,m:rx", "outer/inner/file"]);
    run("setfacl", &["-m", "g:77:rwx,d:u:1234:rwx,d:g:77:r-x,d:o:---", "handed down"]);
    fs::set_permissions(data.join("outer/inner/closed"), fs::Permissions::from_mode(0o2555)).unwrap();
    // Deepest first, so that no time is changed again.
    for (day, name) in ["outer/inner/closed", "outer/inner", "outer", "handed down", "."].iter().enumerate() {
        run("touch", &["-d", &format!("200{day}-02-03 04:05:06.123456789Z"), name]);
    }
    capture(&site);
    let restore = site.try_coffer(&["restore", "alpha/files", "--tar"]);
    assert!(restore.status.success(), "{}", said(&restore));
    let archive = site.path("files.tar");
    fs::write(&archive, restore.stdout).unwrap();
    let unpack = |how: &[&str]| {
        let to = tempfile::tempdir_in(site.dir.path()).unwrap().keep();
        support::succeed(Command::new("tar").args(how).arg("-xpf").arg(&archive).arg("-C").arg(&to));
        to.join(data.strip_prefix("/").unwrap())
    };
    assert_eq!(all_of(&unpack(&["--xattrs", "--xattrs-include=*", "--acls"])), all_of(&data));
    let plain = |folder: &std::path::Path| {
        let told = all_of(folder);
        told.lines()
            .take_while(|line| !line.starts_with("# file"))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    assert_eq!(plain(&unpack(&[])), plain(&data));
}

#[test]
fn a_box_that_is_killed_again_and_again_loses_nothing_and_the_first_copy_goes_on() {
    let mut site = Site::start();
    fill(&site, 400, 96);
    let agent = site.start_agent();
    site.configure(&format!("include = [{:?}]\nwhen = \"every 1 minutes\"\n", site.data()));
    let vault = site.path("box/vault/segments");
    // Each kill comes after the vault has grown some more, wherever in its work the box is then.
    for kill in 1..=6u64 {
        let enough = kill * (9 << 20);
        let what = format!("the first copy goes on after kill {}", kill - 1);
        site.wait_until(&what, || size_of(&vault) >= enough || has_point(&site));
        site.kill_box();
        site.start_box();
    }
    site.wait_until("a restore point comes", || has_point(&site));
    agent.kill();
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
    let stored = size_of(&vault);
    assert!(stored < 140 << 20, "the first copy began again: {stored} bytes are stored for 97 MiB");
}

#[test]
fn a_computer_on_which_nothing_changes_is_not_at_risk() {
    let site = Site::start();
    fill(&site, 10, 1);
    capture(&site);
    let standing = || {
        let config = site.status()["computers"][0]["configurations"][0].clone();
        (config["last_point_ms"].as_u64().unwrap(), config["protected_ms"].as_u64().unwrap())
    };
    let (made, protected) = standing();
    assert_eq!(protected, made);
    capture(&site);
    let heard = || standing().1 > made;
    wait_until("the box hears that nothing has changed", &site.path("box.log"), heard);
    assert_eq!(standing().0, made, "nothing new made a point");
}

#[test]
fn a_file_that_may_not_be_read_is_named_and_the_rest_is_kept() {
    let site = Site::start();
    fill(&site, 10, 1);
    let closed = site.data().join("folder-3/closed.txt");
    fs::write(&closed, "for its owner alone").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let mut agent = site.agent("capture");
    agent.args(["--server", &site.server]);
    if nix::unistd::Uid::effective().is_root() {
        // Root may read everything as long as it has these.
        let mut without = Command::new("setpriv");
        without.arg("--bounding-set=-dac_override,-dac_read_search");
        without.arg(agent.get_program()).args(agent.get_args());
        agent = without;
    }
    let output = agent.output().unwrap();
    let said = said(&output);
    assert!(said.contains("closed.txt"), "the file isn't named: {said}");
    let mut kept = contents(&site.restore(&[]));
    assert_eq!(kept.remove(std::path::Path::new("folder-3/closed.txt")), None);
    fs::remove_file(&closed).unwrap();
    assert_eq!(kept, contents(&site.data()));
    let points = site.coffer(&["points", "alpha/files"]);
    assert!(points.contains('1'), "{points}");
}

fn has_point(site: &Site) -> bool {
    !site.points("alpha/files").is_empty()
}

fn size_of(folder: &std::path::Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().map_or(0, |found| found.len())).sum()
}

#[test]
fn a_catalog_that_is_gone_comes_back() {
    let mut site = Site::start();
    fill(&site, 60, 1);
    capture(&site);
    site.kill_box();
    for name in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
        fs::remove_file(site.path("box/vault").join(name)).ok();
    }
    site.start_box();
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
}

#[test]
fn a_vault_comes_back_from_its_cartridges_alone() {
    let mut site = Site::start_with(SIMULATED_LIBRARY);
    fill(&site, 120, 4);
    capture(&site);
    site.coffer(&["tape", "run"]);
    site.kill_box();
    fs::remove_dir_all(site.path("box/vault/segments")).unwrap();
    let mut rebuild = support::program("coffer");
    rebuild.args(["rebuild-from-tape", "--vault"]).arg(site.path("new-vault"));
    rebuild
        .arg("--simulated")
        .arg(site.path("box/simulated-library"))
        .arg("--recovery-key")
        .arg(site.path("box/recovery.key"));
    let told = support::succeed(&mut rebuild);
    assert!(String::from_utf8_lossy(&told.stdout).contains("1 computers, 1 restore points"), "{told:?}");
    fs::remove_dir_all(site.path("box/vault")).unwrap();
    fs::rename(site.path("new-vault"), site.path("box/vault")).unwrap();
    site.start_box();
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
}

#[test]
fn files_come_from_cartridges_on_a_machine_without_the_box() {
    let mut site = Site::start_with(SIMULATED_LIBRARY);
    fill(&site, 60, 4);
    capture(&site);
    let first = contents(&site.data());
    fs::write(site.data().join("folder-3/file-3.txt"), "changed").unwrap();
    capture(&site);
    site.coffer(&["tape", "run"]);
    let inventory: serde_json::Value =
        serde_json::from_str(&site.coffer(&["tape", "list", "--json"])).unwrap();
    let barcode = inventory[0]["barcode"].as_str().unwrap().to_owned();
    let impact = site.coffer(&["tape", "impact", &barcode]);
    assert!(impact.contains("Nothing depends"), "all of it is on the disk as well: {impact}");
    site.kill_box();
    fs::remove_dir_all(site.path("box/vault")).unwrap();
    let read = |words: &[&str]| {
        let mut read = support::program("coffer");
        read.args(["tape", "read"]).args(words).arg("--simulated").arg(site.path("box/simulated-library"));
        read.arg("--recovery-key").arg(site.path("box/recovery.key"));
        String::from_utf8(support::succeed(&mut read).stdout).unwrap()
    };
    let listed = read(&[]);
    assert!(listed.contains("alpha"), "{listed}");
    let needed = read(&["alpha/files"]);
    assert!(needed.contains(&barcode), "{needed}");
    let to = site.path("from-tape");
    read(&["alpha/files", "--point", "1", "--to", to.to_str().unwrap()]);
    assert_eq!(contents(&to.join(site.data().strip_prefix("/").unwrap())), first);
}

#[test]
fn a_simulated_library_that_is_left_lets_nothing_leave_the_disk() {
    let mut site = Site::start_with(SIMULATED_LIBRARY);
    fill(&site, 20, 2);
    capture(&site);
    site.coffer(&["tape", "run"]);
    let evictable = |site: &Site| site.coffer(&["reclaim", "plan", "--evict", "--json"]).contains("evict\"");
    assert!(evictable(&site));
    site.kill_box();
    let settings = site.path("box/box.toml");
    let text = fs::read_to_string(&settings).unwrap().replace("simulated = true", "simulated = false");
    fs::write(&settings, text).unwrap();
    site.start_box();
    assert!(!evictable(&site));
    assert!(site.coffer(&["audit"]).contains("simulated library"), "{}", site.coffer(&["audit"]));
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
}

/// What a restore can't get isn't said to be restorable; also after a restart of the box.
#[test]
fn what_is_only_on_a_tape_that_cannot_be_read_is_told_by_status_and_verify() {
    let mut site = Site::start_with(SIMULATED_LIBRARY);
    fill(&site, 20, 2);
    capture(&site);
    site.coffer(&["tape", "run"]);
    site.coffer(&["reclaim", "apply", "--evict"]);
    assert!(site.try_coffer(&["verify"]).status.success());
    let tapes: Vec<_> = fs::read_dir(site.path("box/simulated-library"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "tape"))
        .collect();
    let aside = |path: &std::path::Path| path.with_extension("aside");
    tapes.iter().for_each(|tape| fs::rename(tape, aside(tape)).unwrap());
    let to = site.path("nothing");
    assert!(!site.try_coffer(&["restore", "alpha/files", "--to", to.to_str().unwrap()]).status.success());
    for is_restarted in [false, true] {
        if is_restarted {
            site.kill_box();
            site.start_box();
        }
        let status = site.coffer(&["status"]);
        assert!(status.contains("couldn't be read when it was needed, since 20"), "{is_restarted}: {status}");
        assert!(status.contains("incomplete") && status.contains("can't be restored now"), "{status}");
        let verified = site.try_coffer(&["verify"]);
        let told = said(&verified);
        assert!(!verified.status.success() && told.contains("only on tapes that couldn't be read"), "{told}");
        assert!(told.contains("folder-1") && told.contains("only on a tape that couldn't be read"), "{told}");
    }
    tapes.iter().for_each(|tape| fs::rename(aside(tape), tape).unwrap());
    // A drive that had failed with the tape is tried again by a box that was started anew.
    site.kill_box();
    site.start_box();
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
    let status = site.coffer(&["status"]);
    assert!(
        !status.contains("couldn't be read when it was needed") && status.contains("protected"),
        "{status}"
    );
    assert!(site.try_coffer(&["verify"]).status.success());
}

#[test]
fn a_configuration_that_would_keep_no_history_is_refused() {
    let site = Site::start();
    let file = site.path("nothing.toml");
    fs::write(&file, format!("include = [{:?}]\nkeep = {{ daily = 0 }}\n", site.data())).unwrap();
    let refused = site.try_coffer(&["config", "set", "alpha", "nothing", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(39), "{}", said(&refused));
    assert!(said(&refused).contains("no history would be kept"), "{}", said(&refused));
    assert!(!site.coffer(&["config", "list"]).contains("nothing"));
    assert!(site.coffer(&["clock", "accept"]).contains("counts as right"));
    assert!(site.coffer(&["audit"]).contains("said that the box's clock is right"));
}

#[test]
fn wrong_input_gets_a_sentence_and_its_own_exit_code_and_changes_nothing() {
    let site = Site::start();
    fill(&site, 5, 1);
    capture(&site);
    let to = site.path("nowhere");
    let to = to.to_str().unwrap();
    let cases: [(&[&str], i32, &str); 7] = [
        (&["restore", "alpha/files", "--to", to, "--point", "77"], 29, "point 77"),
        (&["restore", "alpha/other", "--to", to], 28, "config list"),
        (&["ls", "alpha/files", "/no/such/path"], 30, "isn't there"),
        (&["ls", "alpha/files", "../../etc"], 30, "isn't there"),
        (&["points", "nonsense"], 2, "COMPUTER/NAME"),
        (&["--server", "127.0.0.1:1", "status"], 3, ""),
        (&["computer", "revoke", "beta"], 27, "beta"),
    ];
    for (words, code, part) in cases {
        let output = site.try_coffer(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(part), "{words:?}: {said}");
        assert_eq!(said.trim().lines().count(), 1, "{words:?}: {said}");
    }
    assert!(!site.path("nowhere/data").exists());
    let output = site
        .agent("enrol")
        .args(["--server", &site.server, "--code", "AAAA-BBBB", "--name", "x"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    fs::write(site.path("files.toml"), "include = [\"relative\"]\nwhen = \"never\"\nspeed = 9\n").unwrap();
    let output =
        site.try_coffer(&["config", "set", "alpha", "files", site.path("files.toml").to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(39), "{said}");
    for part in ["line 1", "line 2", "line 3"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn what_is_there_is_never_replaced_without_a_word() {
    let site = Site::start();
    fill(&site, 10, 1);
    capture(&site);
    let to = site.path("target");
    let words = ["restore", "alpha/files", "--to", to.to_str().unwrap()];
    site.coffer(&words);
    let restored = to.join(site.data().strip_prefix("/").unwrap()).join("large.db");
    fs::write(&restored, b"mine").unwrap();
    let parent = restored.parent().unwrap();
    fs::set_permissions(parent, fs::Permissions::from_mode(0o711)).unwrap();
    let output = site.try_coffer(&words);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(fs::read(&restored).unwrap(), b"mine");
    assert_eq!(fs::metadata(parent).unwrap().permissions().mode() & 0o777, 0o711);
    let mut overwrite = words.to_vec();
    overwrite.extend(["--conflict", "overwrite"]);
    site.coffer(&overwrite);
    assert_eq!(fs::read(&restored).unwrap(), fs::read(site.data().join("large.db")).unwrap());
}

/// Memory the box may have used at its most, in KiB.
const BOX_MEMORY_MAX_KIB: u64 = 200 << 10;

#[test]
fn what_a_computer_leaves_out_is_known_again_after_the_box_was_gone() {
    let mut site = Site::start();
    site.configure(&format!("include = [{:?}]\nwhen = \"manual\"\n", site.data()));
    let _agent = site.start_agent();
    let is_known = |site: &Site| {
        let output = site.try_coffer(&["config", "exclusions", "alpha/files"]);
        output.status.success() && !support::said(&output).contains("hasn't said")
    };
    site.wait_until("the agent tells", || is_known(&site));
    site.kill_box();
    site.start_box();
    site.wait_until("the agent tells again", || is_known(&site));
}

#[test]
fn fifty_agents_at_once_are_served_within_bounded_memory() {
    let site = Site::start();
    let mut running = Vec::new();
    for number in 0..50u64 {
        let name = format!("pc-{number}");
        let (data, state) = (site.path(&format!("data-{name}")), site.path(&format!("agent-{name}")));
        fs::create_dir(&data).unwrap();
        for file in 0..4 {
            fs::write(data.join(format!("{file}.bin")), bytes(number * 100 + file, 1 << 20)).unwrap();
        }
        let code = site.coffer(&["computer", "code", &name]);
        let mut enrol = support::program("coffer-agent");
        enrol.args(["enrol", "--name", &name, "--server", &site.server, "--code", code.trim(), "--state"]);
        support::succeed(enrol.arg(&state));
        fs::write(site.path("one.toml"), format!("include = [{data:?}]\nwhen = \"manual\"\n")).unwrap();
        site.coffer(&["config", "set", &name, "files", site.path("one.toml").to_str().unwrap()]);
        running.push((name, data, state));
    }
    let captures: Vec<_> = running
        .iter()
        .map(|(_, _, state)| {
            let mut capture = support::program("coffer-agent");
            capture.args(["capture", "--server", &site.server, "--state"]).arg(state);
            capture.stdout(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut capture in captures {
        assert!(capture.wait().unwrap().success());
    }
    for (name, data, _) in running.iter().step_by(7) {
        let to = site.path(&format!("restored-{name}"));
        site.coffer(&["restore", &format!("{name}/files"), "--to", to.to_str().unwrap()]);
        assert_eq!(contents(&to.join(data.strip_prefix("/").unwrap())), contents(data));
    }
    let peak = site.peak_memory_kib();
    assert!(peak <= BOX_MEMORY_MAX_KIB, "the box used {peak} KiB");
}
