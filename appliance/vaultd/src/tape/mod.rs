//! The box's tape job: the library it owns, and what it does with it, one job at a time.

mod by_hand;
mod cleaning;
mod extraction;
mod fetching;
mod gathering;
mod labelling;
mod learning;
pub mod media;
mod mounting;
mod offline;
mod order;
mod orders;
mod remembering;
mod rescuing;
mod right_of_way;
mod segment_stream;
mod set_catalog;
mod stocktaking;
pub(crate) mod telling;
mod tending;
mod trouble;
mod writing;

use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context, Result};
use coffer_tape::simulator::Simulated;
use coffer_tape::{Library, TapeError};
use coffer_vault::VaultError;
use serde_json::{Value, json};

pub use self::by_hand::{Ask, Tapes};
pub use self::extraction::{Extracted, extract_vault};
use self::media::Rules;
pub use self::offline::{FromTape, Missing, Needed, TapeVault};
use self::remembering::Memory;
use self::right_of_way::RightOfWay;
pub use self::tending::Pace;
use self::trouble::Trouble;
pub use self::writing::Written;
use crate::layout::Layout;
use crate::settings::Settings;
pub use coffer_tape::Source;

/// The library, and what the box does with it. One job at a time.
pub struct TapeJob {
    library: Mutex<Library>,
    right_of_way: RightOfWay,
    /// Kept open: it answers for the simulated devices.
    _simulated: Option<Simulated>,
    rules: Rules,
    moves: Arc<Mutex<Vec<String>>>,
    state: Mutex<Memory>,
}
impl TapeJob {
    /// Opens the library that the settings name; nothing if tape is turned off.
    pub(crate) fn open(settings: &Settings, layout: &Layout) -> Result<Option<TapeJob>> {
        if !settings.tape.enabled {
            return Ok(None);
        }
        let simulated = layout.simulated_library();
        let source = Source::new(settings.tape.changer.as_deref(), &settings.tape.drives, Some(&simulated))?;
        let (mut library, simulated) = source.open().context("the tape library can't be used")?;
        library.keep_journal(layout.library_journal())?;
        let rules = settings.tape.rules(settings.reclaim.copies_before_eviction)?;
        let job = TapeJob { _simulated: simulated, ..TapeJob::new(library, rules) };
        if let Some(simulated) = &job._simulated {
            let told = job.moves.clone();
            simulated.observe(move |one| {
                let sentence = format!("robot moves {} from {:?} to {:?}", one.barcode, one.from, one.to);
                told.lock().expect("nothing panics while it lists moves").push(sentence);
            });
        }
        Ok(Some(job))
    }

    /// A job over an open library.
    pub fn new(library: Library, rules: Rules) -> TapeJob {
        TapeJob {
            library: Mutex::new(library),
            right_of_way: RightOfWay::default(),
            _simulated: None,
            rules,
            moves: Arc::default(),
            state: Mutex::default(),
        }
    }

    /// What is remembered between runs. Held only for a moment.
    fn state(&self) -> MutexGuard<'_, Memory> {
        self.state.lock().expect("nothing panics while it holds what is remembered")
    }

    fn library(&self) -> Result<MutexGuard<'_, Library>, VaultError> {
        self.library.lock().map_err(|_| refused("the tape job stopped in the middle: restart cofferd"))
    }

    /// What the library holds, as JSON.
    pub(crate) fn inventory(&self) -> Result<Value, VaultError> {
        Ok(json!(self.library()?.take_stock().map_err(failed)?))
    }

    fn tell_moves(&self, working: &mut dyn FnMut(Value)) {
        for doing in self.moves.lock().expect("nothing panics while it lists moves").drain(..) {
            working(json!({ "doing": doing }));
        }
    }
}

fn failed(error: TapeError) -> VaultError {
    refused(&format!("tape: {error}"))
}

fn refused(sentence: &str) -> VaultError {
    VaultError::Refused { code: coffer_format::wire::RefusalCode::CopyNeeded, sentence: sentence.into() }
}
