//! The real Windows agent, under wine, against the real box: first copy, changes, locks, `kill -9`.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod support;
mod windows_site;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

use support::{bytes, contents};
use windows_site::WindowsSite;

fn fill(data: &Path, files: u64) {
    for number in 0..files {
        let folder = data.join(format!("folder {}", number % 7));
        fs::create_dir_all(&folder).unwrap();
        let len = (number as usize * 137) % 9000;
        fs::write(folder.join(format!("Grüße-{number}.txt")), bytes(number, len)).unwrap();
    }
}

fn succeeded(output: &std::process::Output) {
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_windows_computer_comes_back_as_it_was_at_each_point() {
    let windows = WindowsSite::start("manual");
    let data = windows.data();
    fill(&data, 120);
    let deep =
        (0..12).fold(data.clone(), |path, level| path.join(format!("a-folder-with-a-long-name-{level:03}")));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("beyond 260 characters.txt"), b"deep").unwrap();
    fs::write(data.join("mail.pst"), bytes(1, 24 << 20)).unwrap();
    fs::write(data.join("read only.txt"), b"kept").unwrap();
    fs::set_permissions(data.join("read only.txt"), fs::Permissions::from_mode(0o444)).unwrap();
    fs::create_dir(data.join("empty")).unwrap();
    succeeded(&windows.capture());
    let first = contents(&data);

    let mail = fs::File::options().write(true).open(data.join("mail.pst")).unwrap();
    mail.write_all_at(&bytes(99, 8192), 8192 * 1234).unwrap();
    fs::remove_file(data.join("folder 3/Grüße-3.txt")).unwrap();
    fs::rename(data.join("folder 5"), data.join("renamed")).unwrap();
    fs::write(data.join("new.txt"), b"new").unwrap();
    succeeded(&windows.capture());
    let second = contents(&data);
    succeeded(&windows.capture());

    assert_eq!(contents(&windows.restore(&["--point", "1"])), first);
    let restored = windows.restore(&[]);
    assert_eq!(contents(&restored), second);
    assert!(restored.join("empty").is_dir());
    let points = windows.points();
    assert_eq!(points.len(), 2, "a capture of nothing new made a point: {points:?}");
    let stored = points[0]["stored"].as_u64().unwrap();
    assert!(stored < 40_000, "one changed page and a renamed folder cost {stored} bytes");
}

#[test]
fn the_agent_brings_files_back_with_their_times_and_links() {
    let windows = WindowsSite::start("manual");
    let data = windows.data();
    fill(&data, 30);
    fs::hard_link(data.join("folder 1/Grüße-1.txt"), data.join("the same.txt")).unwrap();
    fs::write(data.join("large.pst"), bytes(3, 20 << 20)).unwrap();
    fs::set_permissions(data.join("large.pst"), fs::Permissions::from_mode(0o444)).unwrap();
    succeeded(&windows.capture());
    let words = ["--config", "files", "--to", r"C:\back", "--server", &windows.site.server];
    let restored = windows.agent("restore").args(words).output().unwrap();
    succeeded(&restored);
    let back = windows.drive().join("back/C/data");
    assert_eq!(contents(&back), contents(&data));
    let of = |root: &Path, name: &str| fs::metadata(root.join(name)).unwrap();
    assert_eq!(of(&back, "the same.txt").ino(), of(&back, "folder 1/Grüße-1.txt").ino());
    assert!(of(&back, "large.pst").permissions().readonly());
    for name in ["large.pst", "folder 1/Grüße-1.txt", "folder 2"] {
        // Windows counts in units of 100 ns.
        let time = |root: &Path| of(root, name).mtime() * 10_000_000 + of(root, name).mtime_nsec() / 100;
        assert_eq!(time(&back), time(&data), "{name}");
    }
    // What's there is never replaced.
    fs::remove_file(back.join("large.pst")).unwrap();
    fs::write(back.join("large.pst"), b"mine").unwrap();
    let again = windows.agent("restore").args(words).output().unwrap();
    assert_eq!(again.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&again.stdout).contains("large.pst"), "{again:?}");
    assert_eq!(fs::read(back.join("large.pst")).unwrap(), b"mine");
}

#[test]
fn changes_are_captured_as_they_happen_and_a_locked_file_as_soon_as_it_is_free() {
    let windows = WindowsSite::start("continuous");
    let data = windows.data();
    let agent = windows.start_agent();
    windows.wait_until("the first point", || !windows.points().is_empty());
    fill(&data, 40);
    let is_like_data = || contents(&windows.restore(&[])) == contents(&data);
    windows.wait_until("new files are captured", is_like_data);
    fs::write(data.join("folder 1/Grüße-1.txt"), b"written again").unwrap();
    fs::rename(data.join("folder 2"), data.join("moved")).unwrap();
    fs::remove_file(data.join("folder 3/Grüße-3.txt")).unwrap();
    windows.wait_until("changes are captured", is_like_data);

    let held = windows.hold(r"C:\data\held.ost");
    fs::write(data.join("other.txt"), b"captured while something else is locked").unwrap();
    let has_other = || windows.restore(&[]).join("other.txt").exists();
    windows.wait_until("a lock doesn't stop the capture", has_other);
    let names_the_lock = || windows.points()[0]["report_lines"].as_u64().is_some_and(|lines| lines > 0);
    assert!(names_the_lock(), "the point doesn't say what it lacks: {:?}", windows.points());
    fs::write(data.join("held.ost"), b"what the program wrote").unwrap();
    held.kill();
    windows.wait_until("the file is captured once it's free", is_like_data);
    drop(agent);
}

#[test]
fn an_included_folder_renamed_in_case_alone_keeps_its_files_at_each_moment() {
    let windows = WindowsSite::start("continuous");
    let data = windows.data();
    let agent = windows.start_agent();
    windows.wait_until("the first point", || !windows.points().is_empty());
    let has = |name: &str, words: &[&str]| {
        let restored = contents(&windows.restore_of("C:", words)).into_keys();
        let wanted = Path::new("data").join(name);
        restored.into_iter().any(|path| path.to_string_lossy().to_lowercase() == wanted.to_string_lossy())
    };
    fs::create_dir(data.join("below")).unwrap();
    fs::write(data.join("below/one.txt"), b"1").unwrap();
    windows.wait_until("the first file is captured", || has("below/one.txt", &[]));
    let before = windows.points().len();

    let renamed = data.with_file_name("DATA");
    fs::rename(&data, &renamed).unwrap();
    fs::write(renamed.join("two.txt"), b"2").unwrap();
    windows.wait_until("a file is captured after that", || has("two.txt", &[]));
    fs::write(renamed.join("three.txt"), b"3").unwrap();
    windows.wait_until("and another", || has("three.txt", &[]));
    let points = windows.points().len();
    assert!(points > before);
    for point in before..=points {
        assert!(has("below/one.txt", &["--point", &point.to_string()]), "point {point} lost a file");
    }
    drop(agent);
    // A new start looks at everything, and finds the folder in its new case.
    succeeded(&windows.capture());
    assert!(has("below/one.txt", &[]) && has("two.txt", &[]) && has("three.txt", &[]));
    assert!(windows.restore_of("C:/DATA", &[]).join("two.txt").exists());
}

#[test]
fn points_are_made_when_the_schedule_says() {
    let windows = WindowsSite::start("every 3 seconds");
    let data = windows.data();
    fill(&data, 20);
    let _agent = windows.start_agent();
    let is_like_data = || contents(&windows.restore(&[])) == contents(&data);
    windows.wait_until("the first point", || !windows.points().is_empty() && is_like_data());
    fs::write(data.join("folder 1/Grüße-1.txt"), b"written again").unwrap();
    windows.wait_until("the next point", is_like_data);
}

#[test]
fn an_agent_and_a_box_that_are_killed_lose_nothing() {
    let mut windows = WindowsSite::start("continuous");
    let data = windows.data();
    fill(&data, 200);
    fs::write(data.join("large.vhd"), bytes(5, 64 << 20)).unwrap();
    let vault = windows.site.path("box/vault/segments");
    let stored =
        || fs::read_dir(&vault).unwrap().map(|one| one.unwrap().metadata().map_or(0, |one| one.len())).sum();
    for kill in 1..=3u64 {
        let agent = windows.start_agent();
        windows.wait_until("the copy goes on", || {
            let stored: u64 = stored();
            stored >= kill * (12 << 20) || !windows.points().is_empty()
        });
        agent.kill();
        windows.site.kill_box();
        windows.site.start_box();
    }
    let agent = windows.start_agent();
    windows.wait_until("a point comes", || !windows.points().is_empty());
    windows.wait_until("everything is there", || contents(&windows.restore(&[])) == contents(&data));
    let stored: u64 = stored();
    assert!(stored < 110 << 20, "the first copy began again: {stored} bytes are stored for 65 MiB");
    // What changed while no agent ran is found at the next start.
    agent.kill();
    fs::write(data.join("meanwhile.txt"), b"nobody watched").unwrap();
    let _agent = windows.start_agent();
    windows.wait_until("a change without a watch", || contents(&windows.restore(&[])) == contents(&data));
}

/// Bytes in memory that are a process's own, its program among them. Wine's libraries, and the megabyte that it keeps of its
/// own for each thread, aren't.
fn own_memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    (number("RssAnon:") << 10).saturating_sub(number("Threads:") << 20)
}

#[test]
fn it_stays_small_with_many_files_and_with_a_large_one() {
    const MOST: u64 = 60 << 20;
    let windows = WindowsSite::start("continuous");
    let data = windows.data();
    for number in 0..3000 {
        let folder = data.join(format!("folder {}", number % 40));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{number}.txt")), bytes(number, 3000)).unwrap();
    }
    fs::write(data.join("large.edb"), bytes(1, 200 << 20)).unwrap();
    let agent = windows.start_shipped_agent();
    let most = std::cell::Cell::new(0);
    let has = |points: usize| {
        most.set(most.get().max(own_memory(agent.id())));
        windows.points().len() >= points
    };
    windows.wait_until("the first point", || has(1));
    let first = most.get();
    fs::write(data.join("large.edb"), bytes(2, 200 << 20)).unwrap();
    windows.wait_until("the second point", || has(2));
    println!(
        "{} MiB in a first copy, {} MiB when a large file changed as well",
        first >> 20,
        most.get() >> 20
    );
    assert!(most.get() <= MOST, "the agent took {} MiB", most.get() >> 20);
}
