//! The agent as a guest: a line that's limited, a laptop on its battery, work in the background.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod support;

use std::fs;
use std::time::{Duration, Instant};

use support::{HeldLine, Laptop, Site, bytes, contents};

/// How nice each thread of a process is to others.
fn niceness_of(process: &str) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let stats = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    // Behind the name, which may hold anything: state is the first field, niceness the 17th.
    stats.filter_map(|stat| stat.rsplit(')').next()?.split_whitespace().nth(16)?.parse().ok()).collect()
}

fn configure(site: &Site, more: &str) {
    site.configure(&format!("include = [{:?}]\nwhen = \"every 1 minutes\"\n{more}", site.data()));
}

/// What the box says that the agent does.
fn doing(site: &Site) -> Vec<String> {
    let status = site.status();
    let all = status["doing"].as_array().unwrap();
    all.iter().map(|one| one["doing"].as_str().unwrap().to_owned()).collect()
}

fn is_capturing(site: &Site) -> bool {
    doing(site) == ["capturing"]
}

fn has_point(site: &Site) -> bool {
    !site.points("alpha/files").is_empty()
}

#[test]
fn a_capture_takes_as_long_as_its_limit_says() {
    const LEN: usize = 4 << 20;
    let site = Site::start();
    fs::write(site.data().join("large.bin"), bytes(7, LEN)).unwrap();
    configure(&site, "bandwidth = [\"otherwise 8 Mbit/s\"]\n");
    let began = Instant::now();
    let output = site.capture();
    let took = began.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A tenth of a second's worth may go at once.
    let least = Duration::from_secs_f64((LEN - 200_000) as f64 / 1e6);
    assert!(took >= least, "{LEN} bytes at 1 MB/s took {took:?}");
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
}

#[test]
fn a_limit_that_is_lifted_on_the_box_counts_within_a_capture() {
    let site = Site::start();
    fs::write(site.data().join("large.bin"), bytes(7, 24 << 20)).unwrap();
    configure(&site, "bandwidth = [\"otherwise 256 kbit/s\"]\n");
    let agent = site.start_agent();
    site.wait_until("the first copy begins", || is_capturing(&site));
    // As nice as the test itself is what it doesn't do in the background.
    let (own, all) = (niceness_of("self"), niceness_of(&agent.id().to_string()));
    assert!(all.contains(&own[0].max(10)) && all.contains(&own[0]), "{all:?} of one started with {own:?}");
    // All of it would take 13 minutes.
    configure(&site, "bandwidth = [\"otherwise unlimited\"]\n");
    site.wait_until("the first copy is done", || has_point(&site));
    let log = fs::read_to_string(site.agent_log()).unwrap();
    assert_eq!(log.matches(": connected").count(), 1, "{log}");
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
}

#[test]
fn a_laptop_on_its_battery_waits_says_so_and_goes_on_where_it_was() {
    let site = Site::start();
    let laptop = Laptop::of(&site);
    let waits = || doing(&site) == ["waits: on battery"];
    for number in 0..40 {
        fs::write(site.data().join(format!("{number}.bin")), bytes(number, 600 << 10)).unwrap();
    }
    laptop.unplug();
    configure(&site, "on_battery = \"pause\"\nbandwidth = [\"otherwise 1 Mbit/s\"]\n");
    let line = HeldLine::to(&site.server);
    let _agent = laptop.start_agent(&line.address);
    site.wait_until("the box is told that the agent waits", waits);

    laptop.plug_in();
    site.wait_until("the first copy begins", || is_capturing(&site));
    laptop.unplug();
    site.wait_until("a capture under way is broken off", waits);
    assert!(!has_point(&site));
    // What it still had to say would have taken the slow line for long.
    let (old, new) = (line.connection(0), line.connection(1));
    site.wait_until("the old connection is over", || old.is_over());
    let late = old.taken() - new.before_taken();
    assert!(late < 100 << 10, "{late} bytes were sent over the old connection beside the new one");

    laptop.plug_in();
    configure(&site, "on_battery = \"pause\"\n");
    site.wait_until("the first copy is done", || has_point(&site));
    site.wait_until("the agent says that nothing is going on", || doing(&site).is_empty());
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
}

#[test]
fn what_a_broken_off_capture_said_does_not_disturb_the_next_however_late_it_comes() {
    let site = Site::start();
    let laptop = Laptop::of(&site);
    for number in 0..6000 {
        fs::write(site.data().join(format!("{number}.bin")), bytes(number, 100)).unwrap();
    }
    configure(&site, "on_battery = \"pause\"\nbandwidth = [\"otherwise 2 Mbit/s\"]\n");
    let line = HeldLine::to(&site.server);
    let _agent = laptop.start_agent(&line.address);
    site.wait_until("the first copy begins", || is_capturing(&site));
    let old = line.connection(0);
    old.hold();
    // Enough for a part and what belongs to it.
    site.wait_until("parts are on their way", || old.held() > 700 << 10);
    laptop.unplug();
    site.wait_until("the capture is broken off", || line.count() == 2);
    site.wait_until("the agent waits", || doing(&site) == ["waits: on battery"]);
    assert!(old.is_over() && old.held() > 700 << 10, "the old connection's words aren't late");

    laptop.plug_in();
    site.wait_until("the next capture begins", || is_capturing(&site));
    old.release();
    site.wait_until("the box has the late words", || old.held() == 0);
    configure(&site, "on_battery = \"pause\"\n");
    site.wait_until("the first copy is done", || has_point(&site));
    let log = fs::read_to_string(site.agent_log()).unwrap();
    // Once, because the agent is new.
    assert_eq!(log.matches("recalling").count(), 1, "the next capture was put out of step: {log}");
    assert_eq!(line.count(), 2, "{log}");
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
}
