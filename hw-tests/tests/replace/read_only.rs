//! A box whose disk takes no writes and is damaged, and a headquarters that has what was there.

use std::fs;

use crate::folder::{capture, fill};
use crate::headquarters::Headquarters;
use crate::support::{Site, contents, said};

/// A site whose segments are all closed and at headquarters.
fn level_site() -> (Headquarters, Site) {
    let (hq, mut site) = Headquarters::with_site("");
    fill(&site);
    capture(&site);
    site.kill_box();
    site.start_box();
    hq.wait_until_level(&site);
    site.kill_box();
    (hq, site)
}

#[test]
fn a_restore_takes_from_headquarters_what_a_disk_that_takes_no_writes_cannot_give() {
    let (mut hq, mut site) = level_site();
    let before = contents(&site.data());
    let segments = fs::read_dir(site.path("box/vault/segments")).unwrap().map(|entry| entry.unwrap().path());
    let largest = segments.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let good = fs::read(&largest).unwrap();
    for change in ["flipped", "removed"] {
        let mut bytes = good.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        match change {
            "flipped" => fs::write(&largest, bytes).unwrap(),
            _ => fs::remove_file(&largest).unwrap(),
        }
        let disk = contents(&site.path("box/vault"));
        // Out of reach first.
        hq.stop();
        site.start_box_read_only();
        let to = site.path("without");
        let restored = site.try_coffer(&["restore", "alpha/files", "--to", to.to_str().unwrap()]);
        assert!(!restored.status.success(), "{change}: {}", said(&restored));
        let _ = fs::remove_dir_all(to);
        site.kill_box();
        hq.start(site.dir.path());
        site.start_box_read_only();
        for _ in 0..2 {
            let verified = site.try_coffer(&["verify"]);
            assert_eq!(verified.status.code(), Some(8), "{change}: {}", said(&verified));
            assert!(said(&verified).contains("a restore takes from HQ"), "{}", said(&verified));
            let told = site.status()["sentences"].to_string();
            assert!(told.contains("takes from headquarters what is there"), "{change}: {told}");
            assert!(site.coffer(&["hq", "status"]).contains("nothing is sent to headquarters"));
            assert_eq!(contents(&site.restore(&[])), before, "{change}");
        }
        site.kill_box();
        assert_eq!(contents(&site.path("box/vault")), disk, "{change}: nothing was written");
        site.start_box();
        site.wait_until("it heals", || site.try_coffer(&["verify"]).status.success());
        site.kill_box();
        assert_eq!(fs::read(&largest).unwrap(), good, "{change}");
    }
}
