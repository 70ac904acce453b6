//! A branch forgets that it has a robot: a month of captures, retention, eviction, an off-site set that goes out every week, a
//! drive that fails, a tape that is stolen, a power cut every day. Nobody does anything but what the one sentence
//! says, and at the end everything that policy keeps comes back bit for bit, from tape.
// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used)]

#[path = "../../../vault/tests/support/mod.rs"]
#[allow(dead_code)]
mod support;

mod branch;
mod events;
mod human;
mod power;

use branch::Branch;
use coffer_format::event::CartridgeState;
use human::Human;

const DAYS: u64 = 30;
/// When the drive fails, and for how many days.
const BROKEN: std::ops::Range<u64> = 18..20;
const STOLEN_ON: u64 = 11;

#[test]
fn a_month_passes_and_nobody_but_the_one_sentence_is_needed() {
    let mut branch = Branch::with(branch::shape());
    let mut human = Human::new();
    for day in 0..DAYS {
        branch.power.set_drive_broken(BROKEN.contains(&day));
        branch.power_fails_some_time_today();
        for hour in 0..24 {
            branch.hour_passes();
            match hour {
                1 => branch.nightly_work(),
                7 | 12 | 18 => branch.capture(),
                9 => human.look(&branch),
                10 if day == STOLEN_ON => human.is_robbed(&mut branch),
                _ => {}
            }
            branch.tend();
        }
        branch.tell(day);
        let at_risk = branch.hours_at_risk();
        assert!(BROKEN.contains(&day) || at_risk <= 30, "day {day}: {at_risk} hours aren't on tape");
        branch.power_cut();
    }
    branch.tend_now();
    for set in ["branch", "offsite"] {
        assert_eq!(branch.missing_of(set), [], "segments that no cartridge of set {set} holds");
    }
    let stolen = human.stolen.clone().unwrap();
    assert_eq!(branch.state_of(&stolen), Some(CartridgeState::Lost));
    assert!(branch.drive_failures_told > 0, "the failed drive wasn't told of");
    assert!(branch.recycled() >= 3, "cartridges were recycled by themselves: {}", branch.recycled());
    assert!(human.taken_out >= 4, "the off-site set went out each week: {}", human.taken_out);
    assert!(human.visits <= 20, "somebody had to come {} times", human.visits);
    branch.everything_comes_back_from_tape();
}
