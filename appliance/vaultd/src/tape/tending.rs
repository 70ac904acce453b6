//! Looking after the library by itself: takes stock, decides, does the first thing, and looks again.

use std::collections::BTreeMap;
use std::sync::Arc;

use coffer_format::SegmentId;
use coffer_format::event::{CartridgeState, Event, Whereabouts};
use coffer_format::segment::Stream;
use coffer_tape::{Barcode, Library, TapeError};
use coffer_vault::reclaim::{self, Action};
use coffer_vault::{Vault, VaultError};
use serde_json::Value;

use super::labelling::blank_state;
use super::media::{Plan, Pressure, Step, Stock, Tried, can_write, due, next_cartridge};
use super::stocktaking::Taken;
use super::{TapeJob, Trouble, Written};

/// Most steps of one run.
const STEPS_MAX: usize = 10_000;
/// What comes back to disk to be written anew is compacted if less than this part of it is needed.
const COMPACT_BELOW_PERCENT: u32 = 75;
/// A run that couldn't do all it should is tried again after so long, or when a cartridge came or went.
pub(super) const RETRY_MS: u64 = 30 * 60_000;

/// Why the library is looked after now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Do what is due.
    AsDue,
    /// Write everything that isn't on tape.
    Now,
}

/// One run.
struct Run<'a> {
    vault: &'a Arc<Vault>,
    pressure: Pressure,
    tried: Tried,
    written: Written,
    /// Segments that came back to disk only to be written.
    read_back: Vec<SegmentId>,
}

impl TapeJob {
    /// Does what is to be done: puts away, takes in, recycles, writes, ejects. Restores come first at any time.
    pub fn tend(
        &self,
        vault: &Arc<Vault>,
        pace: Pace,
        working: &mut dyn FnMut(Value),
    ) -> Result<Written, VaultError> {
        self.try_silent_again(vault.now_ms())?;
        if pace == Pace::AsDue && self.is_out_of_reach(vault.now_ms())? {
            return Ok(Written::default());
        }
        let mut run = Run {
            vault,
            pressure: Pressure::None,
            tried: Tried::default(),
            written: Written::default(),
            read_back: Vec::new(),
        };
        let outcome = self.run_steps(&mut run, pace, working);
        self.tell_moves(working);
        self.remember_failure(outcome.as_ref().err(), vault.now_ms());
        if outcome.as_ref().err().is_some_and(Trouble::is_of_the_line) {
            self.close_library()?;
        }
        evict_again(vault, &run.read_back)?;
        outcome?;
        Ok(run.written)
    }

    fn run_steps(
        &self,
        run: &mut Run<'_>,
        pace: Pace,
        working: &mut dyn FnMut(Value),
    ) -> Result<(), Trouble> {
        let vault = run.vault;
        {
            let mut library = self.library_when_free()?;
            self.try_benched_again(&mut library, vault.now_ms());
            self.put_away(&mut library, vault)?;
            self.try_unread_again(&mut library, vault)?;
        }
        for _ in 0..STEPS_MAX {
            let mut library = self.library_when_free()?;
            let mut taken = self.take_stock(&mut library, vault)?;
            if run.pressure == Pressure::None && self.is_due(vault, pace, &taken.stock)? {
                if self.rules.sets().any(|set| can_write(&taken.stock, set)) {
                    vault.roll()?;
                }
                run.pressure = Pressure::Write;
                self.look_what_is_needed(vault, &taken.stock)?;
                taken = self.take_stock(&mut library, vault)?;
            }
            let plan = Plan::of(&taken.stock, &self.rules, run.pressure, &run.tried);
            self.remember(&taken, &plan, run.pressure);
            let step = plan.steps.into_iter().find(|step| !matches!(step, Step::Lack { .. }));
            let Some(step) = step else { return Ok(()) };
            tracing::info!(%step, "tape");
            if let Step::ReadBack { segments, .. } = &step {
                // A restore of our own: it takes the library itself.
                drop(library);
                self.read_back(run, segments, working)?;
                continue;
            }
            self.take_step(&mut library, run, &taken.stock, step)?;
            self.tell_moves(working);
        }
        tracing::error!(STEPS_MAX, "a tape run doesn't end; it goes on later");
        Ok(())
    }

    /// Whether the library couldn't be opened a short while ago.
    fn is_out_of_reach(&self, now_ms: u64) -> Result<bool, VaultError> {
        let is_early = {
            let state = self.state();
            state.failure.is_some() && now_ms < state.not_before_ms
        };
        Ok(is_early && !self.robot()?.is_open())
    }

    /// Opens the library anew now and then while a drive of it doesn't answer.
    fn try_silent_again(&self, now_ms: u64) -> Result<(), VaultError> {
        let mut state = self.state();
        if state.silent.is_empty() || now_ms < state.silent_tried_ms + RETRY_MS {
            return Ok(());
        }
        state.silent_tried_ms = now_ms;
        drop(state);
        self.close_library()
    }

    fn is_due(&self, vault: &Vault, pace: Pace, stock: &Stock) -> Result<bool, Trouble> {
        if pace == Pace::Now {
            return Ok(true);
        }
        if !self.state().may_try(stock) {
            return Ok(false);
        }
        let covered = stock.covered(&self.rules.branch);
        let oldest = vault.reading().oldest_point_without(|segment| covered.contains(&segment))?;
        let due = due(stock, &self.rules, oldest);
        if let Some(why) = due {
            tracing::info!(?why, "a tape run starts");
        }
        Ok(due.is_some())
    }

    fn take_step(
        &self,
        library: &mut Library,
        run: &mut Run<'_>,
        stock: &Stock,
        step: Step,
    ) -> Result<(), Trouble> {
        let vault = run.vault;
        match step {
            Step::TakeIn(_) => Ok(library.import_mail().map(drop)?),
            Step::Clean(drive) => self.clean(library, vault, drive),
            Step::GiveUpLost(barcode) => Ok(give_up_lost(vault, stock, &barcode)?),
            Step::Rescue(barcode) => {
                run.tried.tapes.insert(barcode.clone());
                self.rescue(library, vault, &barcode, &stock.orphans())
            }
            Step::SetDamaged(barcode) => set_state(vault, stock, &barcode, CartridgeState::Damaged),
            Step::Empty(barcode) => set_state(vault, stock, &barcode, CartridgeState::Emptying),
            Step::Recycle(barcode, next) => self.recycle(vault, &barcode, next),
            Step::Write { set, .. } => {
                let Some(choice) = next_cartridge(stock, &set, &run.tried.tapes) else { return Ok(()) };
                self.write_set(library, vault, (stock, &choice, &set), &mut run.tried, &mut run.written)
            }
            Step::Eject(barcode) => eject(library, vault, &barcode),
            Step::ReadBack { .. } | Step::Lack { .. } => Ok(()),
        }
    }

    fn recycle(&self, vault: &Vault, barcode: &Barcode, next: CartridgeState) -> Result<(), Trouble> {
        let why = format!("let tape {barcode} be overwritten: what is kept of it is elsewhere");
        let required = self.rules.copies_before_eviction;
        let next = blank_state(barcode, next);
        match vault.give_up_copies(barcode.as_str(), required, next, &why)? {
            true => Ok(()),
            false => Err(super::refused(&format!(
                "tape {barcode} was to be overwritten, but holds copies that are still needed: run `coffer tape plan` and report this"
            ))
            .into()),
        }
    }

    /// Puts away what a power cut or a failure left in drives and in the robot's hand.
    fn put_away(&self, library: &mut Library, vault: &Vault) -> Result<(), Trouble> {
        let recovered = library.recover()?;
        for sentence in &recovered.sentences {
            tracing::warn!(sentence, "the library was put in order");
        }
        if recovered.left == 0 {
            return Ok(());
        }
        let benched = self.benched();
        let inventory = library.inventory()?;
        for place in inventory.drives.iter().filter(|drive| drive.full && !benched.contains(&drive.drive)) {
            let drive = coffer_tape::DriveIndex(place.drive);
            let Err(error) = library.unload(drive) else { continue };
            let Some(barcode) = place.barcode.as_ref() else { return Err(error.into()) };
            self.bench(library, vault, drive, barcode, &error)?;
        }
        Ok(())
    }

    /// Brings segments back to disk from the cartridges that are here. What can't be read isn't asked for again in this run.
    fn read_back(
        &self,
        run: &mut Run<'_>,
        segments: &[SegmentId],
        working: &mut dyn FnMut(Value),
    ) -> Result<(), Trouble> {
        let vault = run.vault;
        let mut got = Vec::new();
        let outcome = self.fetch(vault, segments, working, &mut |segment, bytes| {
            vault.import_segment(segment, bytes)?;
            got.push(segment);
            Ok(())
        });
        if let Err(error) = outcome {
            tracing::warn!(%error, "not everything could be read back");
        }
        run.tried.segments.extend(segments.iter().filter(|segment| !got.contains(segment)));
        self.compact(vault, &got)?;
        run.read_back.extend(got);
        Ok(())
    }

    /// Leaves behind what isn't needed of segments that are about to be written anew.
    fn compact(&self, vault: &Vault, segments: &[SegmentId]) -> Result<(), Trouble> {
        let mut plan = vault.plan_reclaim(reclaim::Policy {
            copies_before_eviction: 0,
            free_target_bytes: 0,
            compact_below_percent: COMPACT_BELOW_PERCENT,
        })?;
        plan.steps.retain(|step| segments.contains(&step.segment));
        vault.apply_reclaim(&plan, "box")?;
        Ok(vault.roll()?)
    }

    /// Finds out how much of each segment is still needed, if cartridges are to be emptied by that.
    fn look_what_is_needed(&self, vault: &Vault, stock: &Stock) -> Result<(), Trouble> {
        if stock.spares() >= self.rules.spare_tapes {
            return Ok(());
        }
        let mut needed: BTreeMap<SegmentId, u64> = vault.needed_bytes()?.into_iter().collect();
        for segment in vault.reading().segments()?.into_iter().filter(|one| one.stream != Stream::Meta) {
            needed.entry(segment.segment).or_insert(0);
        }
        self.state().needed = Arc::new(needed);
        Ok(())
    }

    /// What a look showed: what a person is asked for, and how long the cartridges last.
    fn remember(&self, taken: &Taken, plan: &Plan, pressure: Pressure) {
        self.state().remember(&self.rules, taken, plan, pressure);
    }

    fn remember_failure(&self, trouble: Option<&Trouble>, now_ms: u64) {
        let mut state = self.state();
        state.failure = trouble.map(ToString::to_string);
        if trouble.is_some() {
            state.not_before_ms = now_ms + RETRY_MS;
        }
    }
}

fn set_state(vault: &Vault, stock: &Stock, barcode: &Barcode, state: CartridgeState) -> Result<(), Trouble> {
    let Some(tape) = stock.tapes.get(barcode) else { return Ok(()) };
    Ok(vault.record(vec![tape.with_state(barcode, state)])?)
}

/// Makes a cartridge's copies count no more: what depends on it is written anew from the disk or the other set.
pub(super) fn give_up_lost(vault: &Vault, stock: &Stock, barcode: &Barcode) -> Result<(), VaultError> {
    let Some(tape) = stock.tapes.get(barcode) else { return Ok(()) };
    vault.audit("box", &format!("counted tape {barcode} as lost"))?;
    vault.record(vec![
        Event::CopiesGone { barcode: barcode.to_string() },
        tape.with_state(barcode, CartridgeState::Lost),
    ])
}

/// To the mail slot; recorded when it's there.
pub(super) fn eject(library: &mut Library, vault: &Vault, barcode: &Barcode) -> Result<(), Trouble> {
    match library.export(barcode) {
        Ok(_) => {}
        Err(TapeError::MailSlotFull(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let whereabouts = Whereabouts::Leaving;
    Ok(vault.record(vec![Event::CartridgeMoved { barcode: barcode.to_string(), whereabouts }])?)
}

/// Takes off the disk again what was only there to be written.
fn evict_again(vault: &Vault, segments: &[SegmentId]) -> Result<(), VaultError> {
    if segments.is_empty() {
        return Ok(());
    }
    let mut plan = vault
        .plan_reclaim(reclaim::Policy { free_target_bytes: u64::MAX / 2, ..reclaim::Policy::default() })?;
    plan.steps.retain(|step| step.action == Action::Evict && segments.contains(&step.segment));
    vault.apply_reclaim(&plan, "box").map(drop)
}
