//! `coffer restore`, by held folders as the agent's: it isn't led elsewhere, leaves nothing half-written, and goes on.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod restore_site;
mod support;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, mknod};
use restore_site::fill;
use support::{Site, bytes, contents, said};

fn below(site: &Site, to: &Path) -> PathBuf {
    to.join(site.data().strip_prefix("/").unwrap())
}

fn restore(site: &Site, to: &Path, more: &[&str]) -> Output {
    site.try_coffer(&[&["restore", "alpha/files", "--to", to.to_str().unwrap()], more].concat())
}

/// Files whose names say that they aren't whole, in a folder that may be changing.
fn unfinished(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".coffer-restoring-")).count()
}

/// While root restores, the folder's owner puts a link to somebody else's folder in its place, again and again.
#[test]
fn a_folder_that_is_swapped_for_a_link_leads_nowhere() {
    let site = Site::start();
    fill(&site, 400, 1);
    let (to, outside) = (site.path("back"), site.path("outside"));
    fs::create_dir(&outside).unwrap();
    let over = AtomicBool::new(false);
    for _ in 0..5 {
        over.store(false, Ordering::SeqCst);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (folder, aside) = (below(&site, &to), site.path("aside"));
                while !over.load(Ordering::SeqCst) {
                    if fs::rename(&folder, &aside).is_err() {
                        continue;
                    }
                    symlink(&outside, &folder).unwrap();
                    std::thread::yield_now();
                    fs::remove_file(&folder).unwrap();
                    drop(fs::rename(&aside, &folder));
                }
            });
            let output = restore(&site, &to, &[]);
            over.store(true, Ordering::SeqCst);
            assert!(matches!(output.status.code(), Some(0 | 7)), "{}", said(&output));
        });
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "files landed elsewhere");
        drop(fs::remove_dir_all(&to));
        drop(fs::remove_dir_all(site.path("aside")));
    }
}

#[test]
fn a_restore_that_was_killed_left_nothing_half_written_and_the_next_finishes_it() {
    let site = Site::start();
    fill(&site, 300, 96);
    fs::set_permissions(site.data().join("folder-1"), fs::Permissions::from_mode(0o750)).unwrap();
    assert!(site.capture().status.success());
    let before = contents(&site.data());
    let to = site.path("back");
    let words = ["restore", "alpha/files", "--to", to.to_str().unwrap()];
    let mut killed = site.coffer_command(&words).spawn().unwrap();
    // The mark of the folder, and a file.
    site.wait_until("the restore begins", || unfinished(&below(&site, &to)) > 1);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(unfinished(&below(&site, &to)) > 1, "the kill came too late to show anything");
    for (path, hash) in contents(&below(&site, &to)) {
        let is_working = path.to_string_lossy().contains(".coffer-restoring-");
        assert!(is_working || before[&path] == hash, "{} is half-written", path.display());
    }
    let output = restore(&site, &to, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!said(&output).contains('!'), "{}", said(&output));
    assert_eq!(contents(&below(&site, &to)), before);
    let facts = |folder: &Path| {
        let found = fs::metadata(folder.join("folder-1")).unwrap();
        (found.mode(), found.mtime(), found.mtime_nsec())
    };
    assert_eq!(facts(&below(&site, &to)), facts(&site.data()));
    // Once more: everything is there, and nothing of that is worth a line.
    let output = restore(&site, &to, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("are there already") && !said(&output).contains('!'), "{}", said(&output));
}

#[test]
fn a_full_disk_is_one_sentence_and_leaves_whole_files_only() {
    let site = Site::start();
    fill(&site, 50, 24);
    let to = site.path("small");
    fs::create_dir(&to).unwrap();
    mount(Some("tmpfs"), &to, Some("tmpfs"), MsFlags::empty(), Some("size=8m"))
        .expect("only root can mount: run the tests as root");
    let before = contents(&site.data());
    let output = restore(&site, &to, &[]);
    let there = contents(&to);
    let found: Vec<_> = contents(&below(&site, &to)).into_iter().collect();
    umount2(&to, MntFlags::MNT_DETACH).unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    assert_eq!(said(&output).matches("the disk is full").count(), 1, "{}", said(&output));
    assert!(!said(&output).contains("large-"), "{}", said(&output));
    assert_eq!(there.len(), found.len(), "{there:?}");
    for (path, hash) in found {
        assert_eq!(before.get(&path), Some(&hash), "{} is half-written", path.display());
    }
}

/// After the disk was full the next restore adds files to folders that were done already.
#[test]
fn folders_have_their_times_after_a_restore_that_goes_on_where_the_disk_was_full() {
    let site = Site::start();
    for folder in 0..6 {
        let folder = site.data().join(format!("folder-{folder}"));
        fs::create_dir(&folder).unwrap();
        (0..4).for_each(|file| fs::write(folder.join(format!("{file}")), bytes(file, 700_000)).unwrap());
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
        fs::File::open(&folder).unwrap().set_modified(old).unwrap();
    }
    assert!(site.capture().status.success());
    let to = site.path("small");
    fs::create_dir(&to).unwrap();
    mount(Some("tmpfs"), &to, Some("tmpfs"), MsFlags::empty(), Some("size=5m"))
        .expect("only root can mount: run the tests as root");
    let full = restore(&site, &to, &[]);
    mount(None::<&str>, &to, None::<&str>, MsFlags::MS_REMOUNT, Some("size=50m")).unwrap();
    let whole = restore(&site, &to, &[]);
    let facts = |top: PathBuf| {
        let facts = |folder: usize| {
            let found = fs::metadata(top.join(format!("folder-{folder}"))).unwrap();
            (found.mode(), found.mtime(), found.mtime_nsec())
        };
        (0..6).map(facts).collect::<Vec<_>>()
    };
    let (there, found) = (contents(&below(&site, &to)), facts(below(&site, &to)));
    umount2(&to, MntFlags::MNT_DETACH).unwrap();
    assert_eq!(full.status.code(), Some(7), "{}", said(&full));
    assert_eq!(whole.status.code(), Some(0), "{}", said(&whole));
    assert_eq!(there, contents(&site.data()));
    assert_eq!(found, facts(site.data()));
}

#[test]
fn links_devices_and_pipes_keep_all_their_names() {
    let site = Site::start();
    fs::write(site.data().join("file"), "file").unwrap();
    symlink("file", site.data().join("link")).unwrap();
    mknod(&site.data().join("pipe"), SFlag::S_IFIFO, Mode::from_bits_truncate(0o640), 0).unwrap();
    for name in ["link", "pipe"] {
        fs::hard_link(site.data().join(name), site.data().join(format!("{name} too"))).unwrap();
    }
    assert!(site.capture().status.success());
    let same = |top: &Path, name: &str| {
        let number = |name: &str| fs::symlink_metadata(top.join(name)).unwrap().ino();
        assert_eq!(number(name), number(&format!("{name} too")), "{name}");
    };
    let to = site.path("back");
    let output = restore(&site, &to, &[]);
    same(&below(&site, &to), "link");
    assert!(said(&output).contains("pipe"), "what's left off is named: {}", said(&output));
    ["link", "link too", "pipe", "pipe too"]
        .iter()
        .for_each(|name| fs::remove_file(site.data().join(name)).unwrap());
    let mut agent = site.agent("restore");
    support::succeed(agent.args(["--config", "files", "--server", &site.server, "--in-place"]));
    ["link", "pipe"].iter().for_each(|name| same(&site.data(), name));
}

/// What somebody has under such a name is theirs: it's captured, restored, and in no restore's way.
#[test]
fn names_like_those_of_files_that_are_not_whole_are_anybodys() {
    let site = Site::start();
    let names = [".coffer-restoring-1", ".coffer-restoring-9-9", ".coffer-restoring-folder"];
    for (number, name) in names.iter().enumerate() {
        fs::write(site.data().join(name), bytes(number as u64, 500)).unwrap();
    }
    fs::write(site.data().join("file"), "file").unwrap();
    assert!(site.capture().status.success());
    let (to, before) = (site.path("back"), contents(&site.data()));
    for _ in 0..2 {
        let output = restore(&site, &to, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_eq!(contents(&below(&site, &to)), before);
        assert_eq!(before.len(), names.len() + 1);
        fs::remove_file(below(&site, &to).join("file")).unwrap();
    }
    let mut agent = site.agent("restore");
    agent.args(["--config", "files", "--server", &site.server, "--in-place"]);
    fs::write(site.data().join("file"), "damaged").unwrap();
    support::succeed(&mut agent);
    assert_eq!(contents(&site.data()), before);
}

#[test]
fn what_gives_power_is_put_back_in_place_and_left_off_elsewhere_with_a_word() {
    let site = Site::start();
    let (pipe, device, program) =
        (site.data().join("pipe"), site.data().join("null"), site.data().join("program"));
    mknod(&pipe, SFlag::S_IFIFO, Mode::from_bits_truncate(0o640), 0).unwrap();
    mknod(&device, SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), nix::libc::makedev(1, 3))
        .expect("only root can make devices: run the tests as root");
    fs::write(&program, bytes(1, 2000)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    assert!(site.capture().status.success());

    let to = site.path("back");
    let output = restore(&site, &to, &[]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    for name in ["pipe", "null", "program"] {
        assert_eq!(said(&output).matches(&format!("/{name}: ")).count(), 1, "{}", said(&output));
    }
    let back = below(&site, &to);
    assert!(!back.join("pipe").exists() && !back.join("null").exists());
    assert_eq!(fs::metadata(back.join("program")).unwrap().mode() & 0o7777, 0o755);

    let asked_for = site.path("asked for");
    let output = restore(&site, &asked_for, &["--special-files"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let check = |folder: &Path| {
        let found = fs::symlink_metadata(folder.join("pipe")).unwrap();
        assert!(found.file_type().is_fifo() && found.mode() & 0o7777 == 0o640);
        assert_eq!(fs::symlink_metadata(folder.join("null")).unwrap().rdev(), nix::libc::makedev(1, 3));
        assert_eq!(fs::metadata(folder.join("program")).unwrap().mode() & 0o7777, 0o4755);
    };
    check(&below(&site, &asked_for));

    for way in 0..2 {
        [&pipe, &device, &program].into_iter().for_each(|path| fs::remove_file(path).unwrap());
        let output = match way {
            0 => site.try_coffer(&["restore", "alpha/files", "--in-place"]),
            _ => {
                let mut agent: Command = site.agent("restore");
                agent.args(["--config", "files", "--in-place", "--server", &site.server]);
                agent.output().unwrap()
            }
        };
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        check(&site.data());
    }
}

#[test]
fn both_are_kept_where_that_is_asked_for() {
    let site = Site::start();
    fill(&site, 10, 1);
    let to = site.path("back");
    assert_eq!(restore(&site, &to, &[]).status.code(), Some(0));
    let file = below(&site, &to).join("folder-1/file-1.txt");
    fs::write(&file, "mine").unwrap();
    let output = restore(&site, &to, &["--conflict", "keep-both"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    assert_eq!(fs::read(file.with_extension("txt.restored")).unwrap(), bytes(1, 500));
    assert_eq!(contents(&to).len(), contents(&site.data()).len() + 1);
}

/// By the default access list of the folder that it goes to, or by what an existing one has been given since.
#[test]
fn nobody_gets_access_that_the_point_does_not_give() {
    let site = Site::start();
    let data = site.data();
    let set = |words: &[&str], path: &Path| {
        Command::new("setfacl").args(words).arg(path).status().unwrap().success()
    };
    let list = |path: &Path| {
        let read = support::succeed(Command::new("getfacl").args(["-n", "-p", "--omit-header"]).arg(path));
        String::from_utf8(read.stdout).unwrap()
    };
    let paths = ["", "folder", "folder/theirs", "folder/shared"];
    fs::create_dir(data.join("folder")).unwrap();
    fs::write(data.join("folder/theirs"), "for its owner's group").unwrap();
    fs::set_permissions(data.join("folder/theirs"), fs::Permissions::from_mode(0o660)).unwrap();
    fs::write(data.join("folder/shared"), "and for one more").unwrap();
    if !set(&["-m", "u:1234:r"], &data.join("folder/shared")) {
        eprintln!("SKIPPED: nobody_gets_access_that_the_point_does_not_give: access lists can't be set here");
        return;
    }
    assert!(site.capture().status.success());
    let lists = |top: &Path| paths.map(|path| list(&top.join(path)));
    let before = lists(&data);

    let to = site.path("back");
    fs::create_dir(&to).unwrap();
    assert!(set(&["-d", "-m", "u:4321:rwx"], &to));
    let output = restore(&site, &to, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(lists(&below(&site, &to)), before);

    for way in 0..2 {
        assert!(set(&["-m", "u:4321:rwx", "-m", "d:u:4321:rwx"], &data.join("folder")));
        for name in ["theirs", "shared"] {
            fs::remove_file(data.join("folder").join(name)).unwrap();
        }
        support::succeed(
            Command::new("setfattr").args(["-n", "user.since", "-v", "then"]).arg(data.join("folder")),
        );
        let kept = site.try_coffer(&["restore", "alpha/files", "--in-place"]);
        assert_eq!(kept.status.code(), Some(7), "{}", said(&kept));
        assert!(
            said(&kept).contains("/folder"),
            "a folder that stays otherwise than it was is named: {}",
            said(&kept)
        );
        let output = match way {
            0 => site.try_coffer(&["restore", "alpha/files", "--in-place", "--conflict", "overwrite"]),
            _ => {
                let mut agent: Command = site.agent("restore");
                agent.args(["--config", "files", "--in-place", "--server", &site.server]);
                agent.output().unwrap()
            }
        };
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_eq!(lists(&data), before, "way {way}");
        let attributes = support::succeed(Command::new("getfattr").arg("-d").arg(data.join("folder"))).stdout;
        assert!(attributes.is_empty(), "{}", String::from_utf8_lossy(&attributes));
    }
}

/// Where its time alone differs from the point's, it isn't as it was.
#[test]
fn links_and_pipes_get_their_times_back() {
    let site = Site::start();
    let (link, pipe) = (site.data().join("link"), site.data().join("pipe"));
    fs::write(site.data().join("file"), "file").unwrap();
    symlink("file", &link).unwrap();
    mknod(&pipe, SFlag::S_IFIFO, Mode::from_bits_truncate(0o640), 0).unwrap();
    assert!(site.capture().status.success());
    let facts = || {
        [&link, &pipe]
            .map(|path| fs::symlink_metadata(path).unwrap())
            .map(|found| (found.mtime(), found.mtime_nsec()))
    };
    let (before, number) = (facts(), fs::symlink_metadata(&pipe).unwrap().ino());
    for path in [&link, &pipe] {
        support::succeed(Command::new("touch").args(["--no-dereference", "--date", "2001-01-01"]).arg(path));
    }
    let mut agent: Command = site.agent("restore");
    support::succeed(agent.args(["--config", "files", "--in-place", "--server", &site.server]));
    assert_eq!(facts(), before);
    assert_eq!(fs::symlink_metadata(&pipe).unwrap().ino(), number, "who waits at it goes on");
}

#[test]
fn whoever_cannot_give_files_away_is_told_once() {
    let site = Site::start();
    fill(&site, 10, 1);
    let (home, coffer) = (site.path("home"), site.path("coffer"));
    fs::set_permissions(site.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(&home).unwrap();
    fs::copy(support::program("coffer").get_program(), &coffer).unwrap();
    support::succeed(Command::new("cp").arg("-a").arg(site.path("box/operator")).arg(home.join("operator")));
    support::succeed(Command::new("chown").args(["-R", "65534:65534"]).arg(&home));
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"]).arg(coffer);
    command.args(["restore", "alpha/files", "--to"]).arg(home.join("back"));
    let output = command
        .env("COFFER_SERVER", &site.server)
        .env("COFFER_OPERATOR", home.join("operator"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    assert_eq!(said(&output).matches("not to its owner").count(), 1, "{}", said(&output));
    assert_eq!(contents(&below(&site, &home.join("back"))), contents(&site.data()));
}
