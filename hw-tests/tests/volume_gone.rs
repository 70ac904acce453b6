//! A volume that's unmounted and mounted again below the real agent. Needs root, and says so where it isn't.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod support;
#[allow(dead_code, unreachable_pub, reason = "the agent's own tests use all of it")]
#[path = "../../agent-win/tests/support/volume.rs"]
mod volume;

use std::fs;

use support::{Site, bytes, contents};
use volume::{Volume, in_own_mounts, unmount};

#[test]
fn a_volume_that_is_unmounted_stays_in_every_point_and_costs_nothing_when_it_is_back() {
    in_own_mounts(
        "a_volume_that_is_unmounted_stays_in_every_point_and_costs_nothing_when_it_is_back",
        || {
            let site = Site::start();
            let at = site.data().join("vol");
            fs::create_dir(&at).unwrap();
            let volume = Volume::disk(&site.path("disk"));
            volume.mount(&at);
            fs::remove_dir(at.join("lost+found")).unwrap();
            for number in 0..20 {
                fs::write(at.join(format!("file-{number}")), bytes(number, 100_000)).unwrap();
            }
            fs::write(site.data().join("beside"), "on the same disk as ever").unwrap();
            let on_volume = contents(&at);
            site.configure(&format!(
                "include = [{:?}]\nwhen = \"continuous\"\nsettle_seconds = 1\n",
                site.data()
            ));
            let agent = site.start_agent();
            let state = || site.status()["computers"][0]["configurations"][0]["state"].clone();
            let newest = || site.points("alpha/files")[0].clone();
            site.wait_until("everything is captured", || state() == "protected");

            // Nobody tells the agent; a point must come by itself.
            unmount(&at);
            site.wait_until("the box says that it's missing", || state() == "incomplete");
            let report = site.coffer(&["report", "alpha/files"]);
            assert!(report.contains("has been missing since") && report.contains("vol"), "{report}");
            assert_eq!(newest()["consistency"], "per file");
            assert_eq!(contents(&site.restore(&[]).join("vol")), on_volume);

            // Started while the volume is gone.
            agent.kill();
            let agent = site.start_agent();
            fs::write(site.data().join("beside"), "changed meanwhile").unwrap();
            let before = newest()["point"].clone();
            site.wait_until("the change is captured", || newest()["point"] != before);
            assert_eq!(state(), "incomplete");
            let restored = site.restore(&[]);
            assert_eq!(contents(&restored.join("vol")), on_volume);
            assert_eq!(fs::read(restored.join("beside")).unwrap(), b"changed meanwhile");

            volume.mount(&at);
            site.wait_until("it's whole again", || state() == "protected");
            let point = newest();
            assert_eq!(point["report_lines"], 0, "{point}");
            assert!(point["stored"].as_u64().unwrap() < 20_000, "{point}");
            fs::write(at.join("came"), "after it was back").unwrap();
            let before = newest()["point"].clone();
            site.wait_until("it's watched again", || newest()["point"] != before);
            assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
            agent.kill();
            unmount(&at);
        },
    );
}
