//! Files that belong together: made to stand still by commands or by waiting, and logs that come between two points.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod support;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{Running, Site, said};

#[test]
fn a_databases_logs_come_between_two_points_of_everything() {
    let site = Site::start();
    let logs = site.data().join("logs");
    fs::create_dir(&logs).unwrap();
    fs::write(site.data().join("base.dat"), b"as of the point").unwrap();
    fs::write(logs.join("1.log"), b"first").unwrap();
    site.configure(&format!(
        "include = [{:?}]\nwhen = \"manual\"\n[database]\nlogs = [{logs:?}]\nlogs_every = \"every 1 seconds\"\n",
        site.data(),
    ));
    let agent = Running::start_logged(&mut site.agent("run"), &site.agent_log());
    site.wait_until("the agent is there", || site.try_coffer(&["capture", "alpha/files"]).status.success());
    site.wait_until("a point of everything", || !site.points("alpha/files").is_empty());
    fs::write(site.data().join("base.dat"), b"written since").unwrap();
    fs::write(logs.join("1.log"), b"first, and more").unwrap();
    fs::write(logs.join("2.log"), b"second").unwrap();
    site.wait_until("the logs come by themselves", || site.restore(&[]).join("logs/2.log").exists());
    let restored = site.restore(&[]);
    drop(agent);
    assert_eq!(fs::read(restored.join("logs/1.log")).unwrap(), b"first, and more");
    assert_eq!(fs::read(restored.join("base.dat")).unwrap(), b"as of the point");
}

/// Wherever the logs are, they're captured; where they're gone, they're kept, and that's said.
#[test]
fn a_databases_logs_are_asked_for_by_name() {
    let site = Site::start();
    let (base, logs) = (site.data().join("base"), site.data().join("logs"));
    for folder in [&base, &logs] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("1"), folder.to_string_lossy().as_bytes()).unwrap();
    }
    site.configure(&format!("include = [{base:?}]\nwhen = \"manual\"\n[database]\nlogs = [{logs:?}]\n"));
    let capture = || site.agent("capture").args(["--server", &site.server]).output().unwrap();
    let is_there = || {
        fs::read(site.restore(&[]).join("logs/1"))
            .is_ok_and(|bytes| bytes == logs.to_string_lossy().as_bytes())
    };
    let output = capture();
    assert!(output.status.success() && is_there(), "{}", said(&output));

    fs::rename(&logs, site.data().join("elsewhere")).unwrap();
    let output = capture();
    assert!(
        !output.status.success() && said(&output).contains("has been missing since"),
        "{}",
        said(&output)
    );
    assert!(is_there());
    assert_eq!(site.status()["computers"][0]["configurations"][0]["state"], "incomplete");
}

/// What this computer can't have is refused, not passed over.
#[test]
fn the_state_of_another_system_is_refused() {
    let site = Site::start();
    site.configure(&format!("include = [{:?}]\nwhen = \"manual\"\nsystem_state = true\n", site.data()));
    let output = site.agent("capture").args(["--server", &site.server]).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("take system_state out"), "{}", said(&output));
}

#[test]
fn logs_that_come_often_keep_no_point_of_everything_from_its_time() {
    let site = Site::start();
    let logs = site.data().join("logs");
    fs::create_dir(&logs).unwrap();
    site.configure(&format!(
        "include = [{:?}]\nwhen = \"every 3 seconds\"\n[database]\nlogs = [{logs:?}]\nlogs_every = \"every 1 seconds\"\n",
        site.data(),
    ));
    let agent = Running::start_logged(&mut site.agent("run"), &site.agent_log());
    site.wait_until("the first point", || !site.points("alpha/files").is_empty());
    for name in ["base.dat", "more.dat"] {
        fs::write(site.data().join(name), b"beside the logs").unwrap();
        site.wait_until("a point of everything comes all the same", || {
            // Each time there's something for the logs to bring.
            fs::write(logs.join("1.log"), format!("{:?}", std::time::Instant::now())).unwrap();
            site.restore(&[]).join(name).exists()
        });
    }
    drop(agent);
}

#[test]
fn commands_run_where_nobody_said_when_and_continuous_is_refused() {
    let site = Site::start();
    fs::write(site.data().join("live"), b"42 rows").unwrap();
    let text = format!(
        "include = [{:?}]\n[database]\nbefore = \"cp '{}' '{}'\"\n",
        site.data(),
        site.data().join("live").display(),
        site.data().join("dump").display(),
    );
    let file = site.path("continuous.toml");
    fs::write(&file, format!("when = \"continuous\"\n{text}")).unwrap();
    let refused = site.try_coffer(&["config", "set", "alpha", "files", file.to_str().unwrap()]);
    assert!(!refused.status.success());
    assert!(said(&refused).contains("a database can't be captured continuously"), "{}", said(&refused));

    site.configure(&text);
    let agent = Running::start_logged(&mut site.agent("run"), &site.agent_log());
    site.wait_until("a point", || !site.points("alpha/files").is_empty());
    drop(agent);
    assert_eq!(fs::read(site.restore(&[]).join("dump")).unwrap(), b"42 rows");
}

#[test]
fn commands_before_and_after_make_files_that_belong_together() {
    let site = Site::start();
    let (live, dump) = (site.data().join("live"), site.data().join("dump"));
    fs::write(&live, b"42 rows").unwrap();
    site.configure(&format!(
        "include = [{:?}]\nwhen = \"manual\"\n[database]\nbefore = \"cp '{}' '{}'\"\nafter = \"rm '{}'\"\n",
        site.data(),
        live.display(),
        dump.display(),
        dump.display(),
    ));
    let output = site.capture();
    assert!(output.status.success(), "{output:?}");
    assert!(!dump.exists(), "the command after the capture wasn't run");
    assert_eq!(fs::read(site.restore(&[]).join("dump")).unwrap(), b"42 rows");

    // A command that fails keeps nobody from capturing, and the point says so.
    fs::write(&live, b"43 rows").unwrap();
    site.configure(&format!(
        "include = [{:?}]\nwhen = \"manual\"\n[database]\nbefore = \"echo no space on device >&2; exit 7\"\n",
        site.data(),
    ));
    let output = site.capture();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("the command before the capture failed") && said.contains("no space on device"),
        "{said}"
    );
    assert_eq!(fs::read(site.restore(&[]).join("live")).unwrap(), b"43 rows");
    assert_eq!(site.points("alpha/files")[0]["report_lines"], 1);
}

/// What a command that failed would have written isn't there to be captured: that makes a point by itself, once, and so does
/// its end.
#[test]
fn a_command_that_fails_is_told_though_nothing_has_changed_and_no_longer_than_it_fails() {
    for which in ["before", "after"] {
        let site = Site::start();
        let flag = site.path("flag");
        fs::write(site.data().join("dump.sql"), b"42 rows").unwrap();
        site.configure(&format!(
            "include = [{:?}]\nwhen = \"manual\"\n[database]\n{which} = \"test ! -e '{}' || {{ date +%N >&2; kill -9 $$; }}\"\n",
            site.data(),
            flag.display(),
        ));
        let config = || site.status()["computers"][0]["configurations"][0].clone();
        let captured = |code: i32, points: usize, state: &str| {
            let output = site.capture();
            assert_eq!(output.status.code(), Some(code), "{which}: {}", said(&output));
            assert_eq!(site.points("alpha/files").len(), points, "{which}: {}", said(&output));
            assert_eq!(config()["state"], state, "{which}");
        };
        captured(0, 1, "protected");
        captured(0, 1, "protected");
        fs::write(&flag, "").unwrap();
        captured(3, 2, "incomplete");
        let told = site.coffer(&["status"]);
        assert!(told.contains(&format!("the command {which} the capture failed")), "{told}");
        let protected_ms = config()["protected_ms"].clone();
        captured(3, 2, "incomplete");
        assert_eq!(config()["protected_ms"], protected_ms, "{which}: nobody knows that it's all there is");
        // With something else to capture it's still said.
        fs::write(site.data().join("other"), which).unwrap();
        captured(3, 3, "incomplete");
        fs::remove_file(&flag).unwrap();
        captured(0, 4, "protected");
        captured(0, 4, "protected");
    }
}

/// Whatever comes between two points of everything, the dump is as old as before.
#[test]
fn what_comes_beside_a_point_takes_no_remark_of_a_failed_command_away() {
    let site = Site::start();
    let logs = site.data().join("logs");
    fs::create_dir(&logs).unwrap();
    site.configure(&format!(
        "include = [{:?}]\nwhen = \"every 1 hours\"\n[database]\nbefore = \"exit 7\"\nlogs = [{logs:?}]\nlogs_every = \"every 1 seconds\"\n",
        site.data(),
    ));
    let agent = Running::start_logged(&mut site.agent("run"), &site.agent_log());
    site.wait_until("the first point", || !site.points("alpha/files").is_empty());
    fs::write(logs.join("1.log"), b"written since").unwrap();
    site.wait_until("the logs come", || site.points("alpha/files").len() > 1);
    let report = site.coffer(&["report", "alpha/files"]);
    assert!(report.contains("the command before the capture failed"), "{report}");
    drop(agent);
}

#[test]
fn without_snapshots_a_point_waits_until_nobody_writes_and_says_where_somebody_always_does() {
    let site = Site::start();
    let busy = site.data().join("busy.dat");
    fs::write(&busy, b"0").unwrap();
    site.configure(&format!(
        "include = [{:?}]\nwhen = \"manual\"\nopen_files = \"quiet\"\nquiet = {{ seconds = 1, at_most_seconds = 3 }}\n",
        site.data(),
    ));
    let output = site.capture();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(site.points("alpha/files")[0]["consistency"], "quiet");

    let is_done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for number in 0u64.. {
                if is_done.load(Ordering::Relaxed) {
                    return;
                }
                fs::write(&busy, number.to_string()).unwrap();
                std::thread::park_timeout(Duration::from_millis(2));
            }
        });
        let output = site.capture();
        is_done.store(true, Ordering::Relaxed);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("was written to for 3 s without a pause"), "{said}");
    });
    assert_ne!(site.points("alpha/files")[0]["consistency"], "quiet");
}
