//! What must hold of every decision, whatever the stock.

use std::collections::BTreeSet;

use coffer_format::SegmentId;
use coffer_format::event::CartridgeState;
use coffer_tape::Barcode;
use proptest::prelude::*;

use super::plan::{Pressure, Tried};
use super::samples::rules;
use super::{Plan, Rules, Segment, Spot, Step, Stock, Tape, offsite, recycling};

const SEGMENTS: u64 = 8;

fn any_state() -> impl Strategy<Value = Option<CartridgeState>> {
    use CartridgeState::*;
    let states = [Scratch, Filling, Full, Damaged, Retired, Emptying, Lost, Foreign, Taken];
    prop_oneof![1 => Just(None), 9 => prop::sample::select(states.to_vec()).prop_map(Some)]
}

fn any_spot() -> impl Strategy<Value = Spot> {
    prop_oneof![
        6 => Just(Spot::Library), 1 => Just(Spot::Stuck), 1 => Just(Spot::Arrived), 1 => Just(Spot::Leaving), 3 => Just(Spot::Away)
    ]
}

fn any_tape() -> impl Strategy<Value = Tape> {
    let set = prop::sample::select(vec!["branch", "offsite"]);
    let holds = prop::collection::btree_set(0..SEGMENTS + 2, 0..5);
    let numbers = (0..3u32, 0..9u32, 0..4u64);
    (any_state(), set, any_spot(), holds, numbers).prop_map(
        |(state, set, spot, holds, (failed, number, week))| {
            use CartridgeState::*;
            let holds_copies = matches!(state, Some(Filling | Full | Damaged | Emptying));
            let holds = holds.into_iter().map(SegmentId).filter(|_| holds_copies).collect();
            Tape {
                state,
                set: if holds_copies { set.into() } else { String::new() },
                number,
                containers: 1,
                written: 1000,
                labelled_ms: week * 7 * 24 * 3_600_000,
                failed_in_a_row: failed,
                holds,
                ..Tape::unknown(spot)
            }
        },
    )
}

fn any_stock() -> impl Strategy<Value = Stock> {
    let segments = prop::collection::vec((any::<bool>(), any::<bool>()), SEGMENTS as usize);
    let tapes = prop::collection::vec(any_tape(), 0..9);
    (segments, tapes, 0..4usize, 0..2usize).prop_map(|(segments, tapes, free_slots, free_mail_slots)| {
        let mut stock = Stock {
            now_ms: 40 * 24 * 3_600_000,
            free_slots,
            mail_slots: 1,
            free_mail_slots,
            drives: 1,
            ..Stock::default()
        };
        for (number, (on_disk, at_hq)) in (0..).zip(segments) {
            stock
                .segments
                .insert(SegmentId(number), Segment { bytes: 100, needed_bytes: 10 * number, on_disk, at_hq });
        }
        for (number, tape) in tapes.into_iter().enumerate() {
            stock.tapes.insert(format!("COF{number:03}L6").parse().unwrap(), tape);
        }
        stock
    })
}

fn any_rules() -> impl Strategy<Value = Rules> {
    (0..4u32, 0..6usize).prop_map(|(copies_before_eviction, spare_tapes)| Rules {
        copies_before_eviction,
        spare_tapes,
        ..rules()
    })
}

/// Whether each segment could still be restored from this stock.
fn restorable(stock: &Stock) -> BTreeSet<SegmentId> {
    let is_kept = |segment: &SegmentId| {
        let state = stock.segments[segment];
        state.on_disk || state.at_hq || stock.tapes.values().any(|tape| tape.holds.contains(segment))
    };
    stock.segments.keys().copied().filter(is_kept).collect()
}

proptest! {
    #[test]
    fn recycling_loses_nothing_and_keeps_every_set_whole(stock in any_stock(), rules in any_rules()) {
        let required = rules.copies_before_eviction.max(1) as usize;
        let mut after = stock.clone();
        for barcode in recycling::to_recycle(&stock, &rules) {
            let before = after.clone();
            let tape = before.tapes[&barcode].clone();
            recycling::give_up(&mut after, &barcode);
            prop_assert_eq!(tape.spot, Spot::Library);
            prop_assert_eq!(restorable(&after), restorable(&before));
            for set in rules.sets() {
                prop_assert!(after.covered(set).is_superset(&before.covered(set).into_iter().filter(|one| after.segments.contains_key(one)).collect()));
            }
            for segment in tape.holds.iter().filter(|one| before.segments.contains_key(one)) {
                let copies = after.copies_besides(*segment, &barcode);
                prop_assert!(before.segments[segment].on_disk || copies >= required);
            }
        }
    }

    #[test]
    fn only_what_is_here_and_ours_is_written_or_ejected(stock in any_stock(), rules in any_rules()) {
        let plan = Plan::of(&stock, &rules, Pressure::Write, &Tried::default());
        for step in &plan.steps {
            match step {
                Step::Write { on, set, .. } => {
                    let tape = &stock.tapes[on];
                    prop_assert_eq!(tape.spot, Spot::Library);
                    use CartridgeState::*;
                    match tape.state {
                        Some(Filling) => prop_assert_eq!(&tape.set, set),
                        state => prop_assert!(matches!(state, None | Some(Scratch | Taken))),
                    }
                }
                Step::Eject(barcode) => {
                    let tape = &stock.tapes[barcode];
                    prop_assert_eq!(tape.spot, Spot::Library);
                    prop_assert!(tape.state == Some(CartridgeState::Retired) || tape.set == "offsite");
                }
                Step::GiveUpLost(barcode) => {
                    prop_assert_eq!(stock.tapes[barcode].spot, Spot::Away);
                    prop_assert_eq!(&stock.tapes[barcode].set, "branch");
                }
                Step::Empty(barcode) => prop_assert!(stock.tapes[barcode].set == "branch" || stock.tapes[barcode].set == "offsite"),
                _ => {}
            }
        }
        let ejected = plan.steps.iter().filter(|step| matches!(step, Step::Eject(_))).count();
        prop_assert!(ejected <= stock.free_mail_slots);
    }

    #[test]
    fn what_comes_back_is_of_no_use_outside(stock in any_stock()) {
        let back: BTreeSet<Barcode> = offsite::to_recall(&stock, &rules()).into_iter().collect();
        let stays = |segment: &SegmentId| stock.tapes.iter().any(|(barcode, tape)| {
            !back.contains(barcode) && tape.spot == Spot::Away && tape.set == "offsite" && tape.holds.contains(segment)
        });
        for barcode in &back {
            let mut kept = stock.tapes[barcode].holds.iter().filter(|one| stock.segments.contains_key(one));
            prop_assert!(kept.all(stays), "{} is needed outside", barcode);
        }
    }

    #[test]
    fn nothing_is_read_back_beyond_what_fits(stock in any_stock(), room in 0..1000u64) {
        let rules = Rules { read_back_bytes: room, ..rules() };
        let back = recycling::to_read_back(&stock, &rules, "branch");
        prop_assert!(stock.bytes(&back) <= room);
        prop_assert!(back.iter().all(|one| !stock.segments[one].on_disk && !stock.covered("branch").contains(one)));
    }
}
