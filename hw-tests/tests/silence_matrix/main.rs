//! The silence matrix: what was asked for and isn't there × every place that makes a claim. Nothing may vanish without a word:
//! each place must say what is so, or say nothing that a restore wouldn't prove.
//!
//! The table goes to standard output (`-- --nocapture`).
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

#[path = "../support/mod.rs"]
mod support;

mod absence;
#[path = "../replace/headquarters.rs"]
#[allow(dead_code, reason = "another test needs more of it")]
mod headquarters;
mod place;
mod world;

use absence::Absence;
use place::Place;
use world::World;

#[test]
fn nothing_that_was_asked_for_vanishes_without_a_word() {
    let mut silent = Vec::new();
    for absence in Absence::ALL {
        let mut world = World::prepare(absence);
        for place in Place::ALL {
            assert_eq!(
                place.complaint(&world),
                None,
                "before {absence:?} is taken away, {place:?} is content"
            );
        }
        absence.take_away(&mut world);
        world.capture();
        for place in absence.places() {
            let said = place.complaint(&world);
            let line = said.as_deref().unwrap_or("SILENT").lines().next().unwrap_or_default().to_owned();
            println!("{:16} {:14} {}", format!("{absence:?}"), format!("{place:?}"), line);
            match said {
                None => silent.push(format!("{absence:?}: {place:?} says nothing")),
                Some(said) if place.names() && !said.contains(&absence.name(&world)) => {
                    silent.push(format!("{absence:?}: {place:?} doesn't name it: {said}"));
                }
                Some(_) => {}
            }
        }
        let back = world.restore_newest();
        assert_eq!(back, world.had, "{absence:?}: what the point before had isn't there any more");
        absence.put_back(&mut world);
        world.capture();
        for place in Place::ALL {
            assert_eq!(place.complaint(&world), None, "{absence:?} is back, and {place:?} isn't content");
        }
    }
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}
