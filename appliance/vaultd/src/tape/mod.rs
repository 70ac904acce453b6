//! The box's tape job: the library it owns, and what it does with it, one job at a time.

mod extraction;
mod fetching;
mod segment_stream;
mod source;
mod writing;

use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context, Result};
use coffer_tape::simulator::Simulated;
use coffer_tape::{Library, TapeError};
use coffer_vault::{Vault, VaultError};
use serde_json::{Value, json};

pub use self::extraction::{Extracted, extract_vault};
pub use self::source::Source;
pub use self::writing::Written;
use crate::layout::Layout;
use crate::settings::Settings;

/// The library, and what the box does with it. One job at a time.
pub struct TapeJob {
    library: Mutex<Library>,
    /// Kept open: it answers for the simulated devices.
    _simulated: Option<Simulated>,
    set: String,
    moves: Arc<Mutex<Vec<String>>>,
}
impl TapeJob {
    /// Opens the library that the settings name; nothing if tape is turned off.
    pub(crate) fn open(settings: &Settings, layout: &Layout) -> Result<Option<TapeJob>> {
        if !settings.tape.enabled {
            return Ok(None);
        }
        let simulated = layout.simulated_library();
        let source = Source::new(settings.tape.changer.as_deref(), &settings.tape.drives, Some(&simulated))?;
        let (library, simulated) = source.open().context("the tape library can't be used")?;
        let moves = Arc::new(Mutex::new(Vec::new()));
        if let Some(simulated) = &simulated {
            let told = moves.clone();
            simulated.observe(move |one| {
                let sentence = format!("robot moves {} from {:?} to {:?}", one.barcode, one.from, one.to);
                told.lock().expect("nothing panics while it lists moves").push(sentence);
            });
        }
        Ok(Some(TapeJob {
            library: Mutex::new(library),
            _simulated: simulated,
            set: settings.tape.set.clone(),
            moves,
        }))
    }

    fn library(&self) -> Result<MutexGuard<'_, Library>, VaultError> {
        self.library.lock().map_err(|_| refused("the tape job stopped in the middle: restart cofferd"))
    }

    /// What the library holds, as JSON.
    pub(crate) fn inventory(&self) -> Result<Value, VaultError> {
        Ok(json!(self.library()?.take_stock().map_err(failed)?))
    }

    /// Bytes of closed segments without a copy on tape.
    pub(crate) fn waiting_bytes(&self, vault: &Vault) -> Result<u64, VaultError> {
        Ok(writing::waiting(vault.reading())?.iter().map(|one| one.bytes).sum())
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
