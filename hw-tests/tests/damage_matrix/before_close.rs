//! Damage in segments that aren't closed yet, while the box is off: headquarters has what they were, and they heal from there by
//! themselves before anything is handed on, without a computer sending anything again.

use std::fs;
use std::path::PathBuf;

use crate::action::Action;
use crate::cell::all_points;
use crate::fleet::{Fleet, Started};
use crate::support::{said, wait_until};
use crate::verdict::Verdict;

#[test]
fn open_segments_heal_from_headquarters_before_they_are_handed_on() {
    let fleet = Fleet::prepare_open_at_hq();
    for action in [Action::Flip, Action::Cut, Action::Remove] {
        let mut world = fleet.copy();
        let open = open_segments(&world);
        assert!(open.len() >= 2, "{open:?}");
        let before: Vec<Vec<u8>> = open.iter().map(|path| fs::read(path).unwrap()).collect();
        open.iter().for_each(|path| action.apply(path, path));
        world.start_hq().unwrap();
        world.start_box().unwrap();
        let log = world.dir.join("box.log");
        wait_until(&format!("{action:?} is healed"), &log, || world.coffer(&["verify"]).status.success());
        for (path, before) in open.iter().zip(before) {
            let now = fs::read(path).unwrap();
            assert!(now.get(..before.len()) == Some(&before[..]), "{action:?}: {}", path.display());
        }
        let audit = said(&world.coffer(&["audit", "--newest", "1000"]));
        assert!(audit.matches("was healed from a copy").count() >= open.len(), "{action:?}: {audit}");
        world.wait_for_hq();
        for (who, verdict) in [
            ("the box", all_points(&world, &fleet, "the box", &|words| world.coffer(words))),
            ("HQ", all_points(&world, &fleet, "HQ", &|words| world.desk(words))),
        ] {
            assert!(matches!(verdict, Verdict::Whole(_)), "{action:?}: {who}: {verdict}");
        }
        let verify = world.desk(&["verify"]);
        assert!(verify.status.success(), "{action:?}: {}", said(&verify));
        let status = said(&world.coffer(&["status"]));
        assert!(!status.contains("damaged") && !status.contains("doesn't get everything"), "{status}");
        world.stop();
    }
}

/// Segments without a trailer.
fn open_segments(world: &Started<'_>) -> Vec<PathBuf> {
    let all = fs::read_dir(world.dir.join("box/vault/segments")).unwrap();
    let mut open: Vec<PathBuf> = all.map(|entry| entry.unwrap().path()).collect();
    open.retain(|path| {
        let bytes = fs::read(path).unwrap();
        path.extension().is_some_and(|ending| ending == "seg")
            && bytes.len() > 512
            && !bytes.windows(8).any(|window| window == b"COFFEND1")
    });
    open
}
