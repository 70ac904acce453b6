//! The box's tape job: the library it owns, and what it does with it, one job at a time.

mod by_hand;
mod cleaning;
mod continuing;
mod extraction;
mod fetching;
mod gathering;
mod labelling;
mod learning;
mod losing;
pub mod media;
mod mounting;
mod offline;
mod order;
mod orders;
mod parted;
mod remembering;
mod rescuing;
mod right_of_way;
mod robot;
mod segment_stream;
mod set_catalog;
mod stocktaking;
pub(crate) mod telling;
mod tending;
mod trouble;
mod unread;
mod writing;

use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Result;
use coffer_tape::{Library, TapeError};
use coffer_vault::VaultError;
use serde_json::{Value, json};

pub use self::by_hand::{Ask, Tapes};
pub use self::continuing::{FromTapes, complete_from_tapes, record_learned};
pub use self::extraction::{Extracted, Lost, extract_vault, record_lost};
use self::media::Rules;
pub use self::offline::{FromTape, Missing, Needed, TapeVault};
use self::remembering::Memory;
use self::right_of_way::RightOfWay;
use self::robot::{Held, Moves, Opener, Robot};
pub use self::tending::Pace;
use self::trouble::Trouble;
use self::unread::UnreadTapes;
pub(crate) use self::unread::only_on_unread;
pub use self::writing::Written;
use crate::clock_watch::ClockWatch;
use crate::layout::Layout;
use crate::settings::Settings;
pub use coffer_tape::Source;

/// The library, and what the box does with it. One job at a time.
pub struct TapeJob {
    robot: Mutex<Robot>,
    right_of_way: RightOfWay,
    rules: Rules,
    moves: Moves,
    /// While it's in doubt, nothing is given up by age.
    clock: Option<Arc<ClockWatch>>,
    is_simulated: bool,
    state: Mutex<Memory>,
}
impl TapeJob {
    /// The library that the settings name, opened when it's first needed; nothing where they name none.
    pub(crate) fn of(
        settings: &Settings,
        layout: &Layout,
        clock: Arc<ClockWatch>,
    ) -> Result<Option<TapeJob>> {
        if !settings.tape.has_library() {
            return Ok(None);
        }
        let source = source_of(settings, layout)?;
        let rules = settings.tape.rules(settings.reclaim.copies_before_eviction)?;
        let moves = Moves::default();
        let opener = Opener { source, journal: layout.library_journal(), moves: moves.clone() };
        let is_simulated = settings.tape.simulated;
        let job = TapeJob {
            is_simulated,
            clock: Some(clock),
            ..TapeJob::with(Robot::closed(opener), rules, moves)
        };
        job.state().unread = UnreadTapes::load(layout.unread_tapes());
        Ok(Some(job))
    }

    /// A job over an open library.
    pub fn new(library: Library, rules: Rules) -> TapeJob {
        TapeJob::with(Robot::open(library), rules, Moves::default())
    }

    fn with(robot: Robot, rules: Rules, moves: Moves) -> TapeJob {
        TapeJob {
            robot: Mutex::new(robot),
            right_of_way: RightOfWay::default(),
            rules,
            moves,
            clock: None,
            is_simulated: false,
            state: Mutex::default(),
        }
    }

    /// What is remembered between runs. Held only for a moment.
    fn state(&self) -> MutexGuard<'_, Memory> {
        self.state.lock().expect("nothing panics while it holds what is remembered")
    }

    fn library(&self) -> Result<Held<'_>, VaultError> {
        self.held(self.robot()?)
    }

    fn robot(&self) -> Result<MutexGuard<'_, Robot>, VaultError> {
        self.robot.lock().map_err(|_| refused("the tape job stopped in the middle: restart cofferd"))
    }

    /// Opens the library if it isn't, and notes which of its drives don't answer.
    fn held<'a>(&self, robot: MutexGuard<'a, Robot>) -> Result<Held<'a>, VaultError> {
        let was_open = robot.is_open();
        let library = Held::new(robot).map_err(failed)?;
        if !was_open {
            let silent = library.silent_drives().iter().map(|(name, why)| (name.clone(), why.to_string()));
            self.state().silent = silent.collect();
        }
        Ok(library)
    }

    /// Devices that were lost are opened anew when the library is next needed.
    fn close_library(&self) -> Result<(), VaultError> {
        self.robot()?.close();
        Ok(())
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

/// The library that the settings name.
pub(crate) fn source_of(settings: &Settings, layout: &Layout) -> Result<Source> {
    let simulated = settings.tape.simulated.then(|| layout.simulated_library());
    Ok(Source::new(settings.tape.changer.as_deref(), &settings.tape.drives, simulated.as_deref())?)
}

fn failed(error: TapeError) -> VaultError {
    refused(&format!("tape: {error}"))
}

fn refused(sentence: &str) -> VaultError {
    VaultError::Refused { code: coffer_format::wire::RefusalCode::CopyNeeded, sentence: sentence.into() }
}
