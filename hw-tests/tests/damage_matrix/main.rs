//! The damage matrix: every durable file of box, HQ, agent and cartridges × flipped, cut, removed, swapped with an older copy.
//! After each, all programs are started and everything is asked back. A cell is *whole* (nothing of it was needed, or it was
//! healed), *named* (a program, `verify`, `status` or an exit code says so) or silent; no cell may be silent.
//!
//! `cargo test -p hw-tests --test damage_matrix` flips a bit in each segment of the box; `DAMAGE_MATRIX=all` tries every
//! cell, `DAMAGE_MATRIX=TEXT` those whose name holds the text. The table goes to standard output (`-- --nocapture`).
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

#[path = "../support/mod.rs"]
mod support;

mod action;
mod before_close;
mod by_itself;
mod cell;
mod fleet;
mod verdict;

use action::Action;
use cell::Cell;
use fleet::Fleet;
use verdict::Verdict;

#[test]
fn no_damage_is_silent() {
    let fleet = Fleet::prepare();
    let cells = chosen(Cell::all(&fleet));
    let mut silent = Vec::new();
    for cell in &cells {
        let verdict = cell.verdict(&fleet);
        println!("{cell:60} {verdict}");
        if matches!(verdict, Verdict::Silent(_) | Verdict::Wrong(_)) {
            silent.push(format!("{cell}: {verdict}"));
        }
    }
    println!("{} cells, {} silent", cells.len(), silent.len());
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

/// All cells, those whose name holds a text, or the bounded form.
fn chosen(mut all: Vec<Cell>) -> Vec<Cell> {
    let wanted = std::env::var("DAMAGE_MATRIX").unwrap_or_default();
    match &wanted[..] {
        "all" => {}
        "" => all.retain(Cell::is_flipped_segment),
        text => all.retain(|cell| cell.to_string().contains(text)),
    }
    assert!(!all.is_empty(), "no cell's name holds {wanted:?}: DAMAGE_MATRIX=all lists them");
    all
}
