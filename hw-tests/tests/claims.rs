//! What takes a point's claim though nothing else has changed, and what an agent knows of a box whose history isn't the one it
//! remembers.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod restore_site;
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output};

use restore_site::fill;
use support::{Running, Site, contents, program, said, succeed, wait_until};

/// One capture by a user who may not read everything; the program lies where that user may run it.
fn capture_as_nobody(site: &Site) -> Output {
    let agent = site.path("coffer-agent");
    if !agent.exists() {
        fs::copy(program("coffer-agent").get_program(), &agent).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--clear-groups", "--inh-caps=-all"]);
    command.arg(agent).arg("capture").arg("--state").arg(site.path("agent"));
    command.args(["--server", &site.server]).output().unwrap()
}

fn state(site: &Site) -> String {
    site.status()["computers"][0]["configurations"][0]["state"].as_str().unwrap().to_owned()
}

/// What's asked for by its path and isn't reached says what is in the way.
#[test]
fn an_include_that_is_not_reached_names_what_is_in_the_way() {
    let site = Site::start();
    fs::set_permissions(site.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let closed = site.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::write(closed.join("file"), b"readable by its name").unwrap();
    // Searched by everybody, listed by nobody but its owner.
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o711)).unwrap();
    site.configure(&format!(
        "include = [{:?}, {:?}, {:?}]\n",
        site.data(),
        closed.join("file"),
        site.path("agent")
    ));
    succeed(Command::new("chown").args(["-R", "65534"]).arg(site.path("agent")));
    let output = capture_as_nobody(&site);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let report = site.coffer(&["report", "alpha/files"]);
    assert!(report.contains(&format!("{} can't be listed", closed.display())), "{report}");
    assert!(report.contains("the agent's own folder"), "{report}");
}

/// An included folder becomes a link while the agent watches: no point is whole that has nothing of what it leads to.
#[test]
fn what_an_include_leads_to_is_in_each_point_that_claims_it() {
    let site = Site::start();
    let (named, away) = (site.data().join("named"), site.path("away"));
    fs::create_dir(&named).unwrap();
    fs::write(named.join("file"), b"what is asked for").unwrap();
    site.configure(&format!(
        "include = [{named:?}, {:?}]\nwhen = \"continuous\"\n",
        site.data().join("beside")
    ));
    fs::create_dir(site.data().join("beside")).unwrap();
    fs::write(site.data().join("beside/other"), b"other").unwrap();
    let agent = site.start_agent();
    site.wait_until("the first point", || state(&site) == "protected");
    fs::rename(&named, &away).unwrap();
    symlink(&away, &named).unwrap();
    let led_to = |point: &str| {
        let to = site.path("led");
        fs::remove_dir_all(&to).ok();
        site.try_coffer(&["restore", "alpha/files", "--point", point, "--to", to.to_str().unwrap()]);
        to.join(away.strip_prefix("/").unwrap()).join("file").exists()
            || to.join(named.strip_prefix("/").unwrap()).join("file").is_file()
    };
    site.wait_until("what it leads to is there", || {
        let newest = &site.points("alpha/files")[0];
        newest["report_lines"] == 0 && led_to(&newest["point"].to_string())
    });
    for point in site.points("alpha/files") {
        assert!(point["report_lines"] != 0 || led_to(&point["point"].to_string()), "{point}");
    }
    drop(agent);
}

#[test]
fn a_file_that_cannot_be_read_any_more_takes_the_claim_though_nothing_else_changed() {
    let site = Site::start();
    fs::set_permissions(site.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let secret = site.data().join("secret.txt");
    fs::write(&secret, b"as it was").unwrap();
    fs::write(site.data().join("other.txt"), b"other").unwrap();
    succeed(Command::new("chown").args(["-R", "65534"]).arg(site.path("agent")));
    let output = capture_as_nobody(&site);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(state(&site), "protected");

    fs::write(&secret, b"as it is now, for its owner alone").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    let output = capture_as_nobody(&site);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let points = site.points("alpha/files");
    assert_eq!((points.len(), &points[0]["report_lines"]), (2, &serde_json::json!(1)));
    assert_eq!(state(&site), "incomplete");
    assert!(site.coffer(&["report", "alpha/files"]).contains("unread"));
    assert!(site.status()["sentences"].to_string().contains("secret.txt"));

    // It's said once, for as long as it's so.
    capture_as_nobody(&site);
    assert_eq!(site.points("alpha/files").len(), 2);

    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let output = capture_as_nobody(&site);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!((site.points("alpha/files").len(), state(&site).as_str()), (3, "protected"));
}

/// Where the system has no watch left: a user namespace has limits of its own.
#[test]
fn changes_that_are_not_watched_are_told_until_they_are() {
    let test = "changes_that_are_not_watched_are_told_until_they_are";
    const LIMIT: &str = "/proc/sys/user/max_inotify_instances";
    let mut own = Command::new("unshare");
    own.args(["--user", "--map-root-user"]);
    if !own.arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: {test} needs `unshare --user`, which isn't possible here");
        return;
    }
    let site = Site::start_with("[tape]\nenabled = false\n");
    fs::write(site.data().join("file"), "here").unwrap();
    let set = |when: &str| {
        fs::write(site.path("files.toml"), format!("include = [{:?}]\nwhen = {when:?}\n", site.data()))
            .unwrap();
        site.coffer(&["config", "set", "alpha", "files", site.path("files.toml").to_str().unwrap()]);
    };
    let told = |what: &str| site.status()["sentences"].to_string().contains(what);
    let say = "changes of files are found every 15 minutes instead of at once";
    set("continuous");
    let agent = site.agent("run");
    let mut own = Command::new("unshare");
    own.args(["--user", "--map-root-user", "sh", "-c", &format!("echo 0 > {LIMIT} && exec \"$@\""), "sh"]);
    own.arg(agent.get_program()).args(agent.get_args());
    let agent = Running::start_logged(&mut own, &site.agent_log());
    wait_until("it's said", &site.agent_log(), || told(say));
    assert!(told("raise fs.inotify.max_user_instances"));
    wait_until("it's captured all the same", &site.agent_log(), || site.points("alpha/files").len() == 1);
    assert_eq!(state(&site), "protected");

    set("manual");
    wait_until("nothing is to be watched", &site.agent_log(), || !told(say));
    set("continuous");
    wait_until("it's said again", &site.agent_log(), || told(say));
    set("manual");
    wait_until("nothing is to be watched", &site.agent_log(), || !told(say));
    let mut raise = Command::new("nsenter");
    raise.args(["--user", "--preserve-credentials", "--target", &agent.id().to_string()]);
    succeed(raise.args(["sh", "-c", &format!("echo 100 > {LIMIT}")]));
    set("continuous");
    fs::write(site.data().join("another"), "came later").unwrap();
    wait_until("it's watched", &site.agent_log(), || site.points("alpha/files").len() == 2);
    assert!(!told(say));
}

/// Nobody said that anything failed: half of it is simply gone.
#[test]
fn a_point_with_far_fewer_files_than_the_last_is_told() {
    let site = Site::start_with("[tape]\nenabled = false\n");
    let capture = || assert!(site.capture().status.success());
    for number in 0..40 {
        fs::write(site.data().join(format!("file-{number}")), format!("content {number}")).unwrap();
    }
    capture();
    assert_eq!(site.status()["sentences"], serde_json::json!([]));
    for number in 0..30 {
        fs::remove_file(site.data().join(format!("file-{number}"))).unwrap();
    }
    capture();
    let said = site.status()["sentences"].to_string();
    assert!(said.contains("restore point 2 holds 10 files") && said.contains("restore point 1"), "{said}");
    for number in 0..30 {
        fs::write(site.data().join(format!("file-{number}")), "put back").unwrap();
    }
    capture();
    assert_eq!(site.status()["sentences"], serde_json::json!([]));
}

/// However few they were, and though the rest of the point is as it was.
#[test]
fn something_included_that_holds_no_file_is_told() {
    let site = Site::start_with("[tape]\nenabled = false\n");
    let at = |name: &str| site.data().join(name);
    for folder in ["kept", "emptied/deep", "never"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    ["kept/file", "emptied/deep/file", "single"]
        .into_iter()
        .for_each(|name| fs::write(at(name), name).unwrap());
    let includes = ["kept", "emptied", "never", "single"].map(|name| format!("{:?}", at(name))).join(", ");
    let toml = format!("include = [{includes}]\nwhen = \"manual\"\n");
    fs::write(site.path("files.toml"), toml).unwrap();
    site.coffer(&["config", "set", "alpha", "files", site.path("files.toml").to_str().unwrap()]);
    assert!(site.capture().status.success());
    let status = site.status();
    assert_eq!(status["sentences"], serde_json::json!([]));
    let notes = status["notes"].to_string();
    assert!(notes.contains("holds no file of") && notes.contains("/never"), "{notes}");

    fs::remove_file(at("single")).unwrap();
    fs::create_dir(at("single")).unwrap();
    assert!(site.capture().status.success());
    let said = site.status()["sentences"].to_string();
    assert!(said.contains("restore point 2 holds no file of") && said.contains("/single"), "{said}");
    fs::remove_dir(at("single")).unwrap();
    fs::write(at("single"), "back").unwrap();
    fs::remove_dir_all(at("emptied/deep")).unwrap();
    assert!(site.capture().status.success());
    let said = site.status()["sentences"].to_string();
    assert!(said.contains("/emptied, and restore point 2, made") && !said.contains("/single"), "{said}");
    fs::write(at("emptied/file"), "back").unwrap();
    assert!(site.capture().status.success());
    assert_eq!(site.status()["sentences"], serde_json::json!([]));
}

fn include(site: &Site, names: &[&str]) {
    let includes: Vec<String> = names.iter().map(|name| format!("{:?}", site.data().join(name))).collect();
    let toml = format!("include = [{}]\nwhen = \"manual\"\n", includes.join(", "));
    fs::write(site.path("files.toml"), toml).unwrap();
    site.coffer(&["config", "set", "alpha", "files", site.path("files.toml").to_str().unwrap()]);
}

/// One that's named doesn't stand for the others.
#[test]
fn each_included_folder_that_holds_no_file_is_told() {
    let site = Site::start_with("[tape]\nenabled = false\n");
    for folder in ["a", "b", "c", "d", "never", "nor"] {
        fs::create_dir(site.data().join(folder)).unwrap();
        if folder.len() == 1 {
            fs::write(site.data().join(folder).join("file"), folder).unwrap();
        }
    }
    include(&site, &["b", "a", "never", "c", "nor", "d"]);
    assert!(site.capture().status.success());
    let notes = site.status()["notes"].to_string();
    assert!(notes.contains("/never and ") && notes.contains("/nor: each is empty"), "{notes}");

    fs::remove_file(site.data().join("b/file")).unwrap();
    assert!(site.capture().status.success());
    for folder in ["a", "c"] {
        fs::remove_file(site.data().join(folder).join("file")).unwrap();
    }
    assert!(site.capture().status.success());
    let status = site.status();
    let said = status["sentences"].as_array().unwrap();
    assert_eq!(said.len(), 2, "{status}");
    let said = status["sentences"].to_string();
    assert!(said.contains("/a and ") && said.contains("/c, and restore point 2, made"), "{said}");
    assert!(said.contains("/b, and restore point 1, made"), "{said}");
}

#[test]
fn a_file_in_the_place_of_an_included_folder_is_told_and_the_other_way_round() {
    let site = Site::start_with("[tape]\nenabled = false\n");
    let docs = site.data().join("docs");
    let make_folder = || {
        fs::create_dir(&docs).unwrap();
        fs::write(docs.join("thesis"), "all of it").unwrap();
    };
    make_folder();
    fs::write(site.data().join("single"), "one").unwrap();
    include(&site, &["docs", "single"]);
    let said = || {
        assert!(site.capture().status.success());
        site.status()["sentences"].to_string()
    };
    assert_eq!(said(), "[]");
    fs::remove_dir_all(&docs).unwrap();
    fs::write(&docs, "oops").unwrap();
    let told = said();
    assert!(told.contains("/docs is a file, and in restore point 1, made"), "{told}");

    fs::remove_file(&docs).unwrap();
    make_folder();
    assert_eq!(said(), "[]", "it was put back");
    fs::remove_file(site.data().join("single")).unwrap();
    fs::create_dir(site.data().join("single")).unwrap();
    fs::write(site.data().join("single/other"), "two").unwrap();
    let told = said();
    assert!(told.contains("/single is a folder, and in restore point 3, made"), "{told}");
}

/// What a link in its place leads to is in the point: nothing is lost.
#[test]
fn an_included_folder_that_was_moved_with_a_link_in_its_place_is_not_missed() {
    let site = Site::start_with("[tape]\nenabled = false\n");
    let (docs, away) = (site.data().join("docs"), site.data().join("more/away"));
    fs::create_dir_all(&docs).unwrap();
    fs::create_dir_all(away.parent().unwrap()).unwrap();
    fs::write(docs.join("thesis"), "all of it").unwrap();
    fs::write(site.data().join("more/file"), "more").unwrap();
    include(&site, &["docs", "more"]);
    assert!(site.capture().status.success());
    fs::rename(&docs, &away).unwrap();
    symlink("more/away", &docs).unwrap();
    assert!(site.capture().status.success());
    assert_eq!(site.status()["sentences"], serde_json::json!([]));
    fs::remove_file(away.join("thesis")).unwrap();
    assert!(site.capture().status.success());
    // How the points compare isn't asked at each look.
    wait_until("it's told", &site.path("box.log"), || {
        site.status()["sentences"].to_string().contains("/docs, and restore point 2, made")
    });
}

/// Two copies of one box give the same numbers to other points.
#[test]
fn an_agent_does_not_take_another_history_for_its_own() {
    let mut site = Site::start();
    fill(&site, 20, 1);
    let swap = |site: &mut Site, away: &str, back: &str| {
        site.kill_box();
        fs::rename(site.path("box"), site.path(away)).unwrap();
        fs::rename(site.path(back), site.path("box")).unwrap();
        site.start_box();
    };
    site.kill_box();
    succeed(Command::new("cp").arg("-a").arg(site.path("box")).arg(site.path("copy")));
    site.start_box();
    let capture = |site: &Site| {
        let output = site.capture();
        assert!(output.status.success(), "{}", said(&output));
    };
    fs::write(site.data().join("new.txt"), b"only in the first line").unwrap();
    fs::write(site.data().join("folder-1/file-1.txt"), b"edited in the first line").unwrap();
    capture(&site);

    swap(&mut site, "first", "copy");
    fs::write(site.data().join("old.txt"), b"only in the second line").unwrap();
    fs::write(site.data().join("folder-2/file-2.txt"), b"edited in the second line").unwrap();
    fs::remove_file(site.data().join("folder-3/file-3.txt")).unwrap();
    capture(&site);
    let told = site.status()["sentences"].to_string();
    assert!(told.contains("remembers restore point 2 of files") && told.contains("was set back"), "{told}");

    swap(&mut site, "second", "first");
    fs::write(site.data().join("old.txt"), b"edited again, and longer than it was").unwrap();
    capture(&site);
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
}

/// Nothing changes on the computer, so that no capture would be due for long.
#[test]
fn a_vault_that_is_set_back_under_an_agent_at_work_is_told_and_made_good_at_once() {
    let mut site = Site::start();
    fill(&site, 20, 1);
    site.configure(&format!("include = [{:?}]\nwhen = \"continuous\"\nsettle_seconds = 0\n", site.data()));
    let agent = site.start_agent();
    let is_on_the_box = |site: &Site| {
        !site.points("alpha/files").is_empty() && contents(&site.restore(&[])) == contents(&site.data())
    };
    site.wait_until("everything is captured", || is_on_the_box(&site));
    site.kill_box();
    succeed(Command::new("cp").arg("-a").arg(site.path("box/vault")).arg(site.path("older")));
    site.start_box();
    fs::write(site.data().join("new.txt"), b"only in what the older vault lacks").unwrap();
    site.wait_until("the new file is captured", || is_on_the_box(&site));

    site.kill_box();
    fs::rename(site.path("box/vault"), site.path("newer")).unwrap();
    fs::rename(site.path("older"), site.path("box/vault")).unwrap();
    site.start_box();
    let told = || site.status()["sentences"].to_string();
    site.wait_until("it's told", || told().contains("was set back"));
    site.wait_until("what the vault lacks is there again", || is_on_the_box(&site));
    let audit = site.coffer(&["audit"]);
    assert_eq!(audit.matches("was set back").count(), 1, "{audit}");
    agent.kill();
}

/// Each goes on from what it knew before the other captured.
#[test]
fn two_machines_with_one_identity_are_told() {
    let site = Site::start();
    fill(&site, 20, 1);
    let capture = |times: u32, state: &str| {
        for _ in 0..times {
            fs::write(site.data().join("changes.txt"), format!("{:?}", std::time::Instant::now())).unwrap();
            let mut command = program("coffer-agent");
            command.arg("capture").arg("--state").arg(site.path(state)).args(["--server", &site.server]);
            succeed(&mut command);
        }
    };
    let told = || {
        let sentences = site.status()["sentences"].as_array().unwrap().clone();
        sentences
            .iter()
            .filter_map(|one| one.as_str())
            .find(|one| one.contains("two machines"))
            .map(str::to_owned)
    };
    capture(5, "agent");
    assert_eq!(told(), None, "one machine follows itself");
    succeed(Command::new("cp").arg("-a").arg(site.path("agent")).arg(site.path("twin")));
    for _ in 0..2 {
        capture(1, "twin");
        assert_eq!(told(), None);
        capture(1, "agent");
    }
    let told = told().unwrap();
    assert!(
        told.contains("alpha")
            && told.contains("3 times since 2")
            && told.contains("a code of its own")
            && told.contains("state folder was set back"),
        "{told}"
    );
}

/// What the agent remembers of one configuration comes in the place of another's, which has fewer points.
#[test]
fn an_agent_whose_memories_were_swapped_does_not_make_the_vault_one_that_was_set_back() {
    let site = Site::start();
    fill(&site, 20, 1);
    fs::create_dir(site.path("more")).unwrap();
    fs::write(site.path("more/file"), b"of the other configuration").unwrap();
    let more = format!("include = [{:?}]\nwhen = \"manual\"\n", site.path("more"));
    fs::write(site.path("more.toml"), more).unwrap();
    site.coffer(&["config", "set", "alpha", "more", site.path("more.toml").to_str().unwrap()]);
    for number in 0..4 {
        fs::write(site.data().join("changes"), format!("{number}")).unwrap();
        let captured = site.capture();
        assert!(captured.status.success(), "{}", said(&captured));
    }
    assert_eq!((site.points("alpha/files").len(), site.points("alpha/more").len()), (5, 1));
    fs::remove_dir_all(site.path("agent/config-2")).unwrap();
    succeed(Command::new("cp").arg("-a").arg(site.path("agent/config-1")).arg(site.path("agent/config-2")));
    let captured = site.capture();
    assert!(captured.status.success(), "{}", said(&captured));
    let (status, audit) = (site.coffer(&["status"]), site.coffer(&["audit"]));
    assert!(!status.contains("set back") && !audit.contains("vault was set back"), "{status}{audit}");
    assert!(
        audit.contains("alpha remembers restore point 5 of more") && audit.contains("or swapped"),
        "{audit}"
    );
}
