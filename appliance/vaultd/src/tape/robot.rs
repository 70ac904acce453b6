//! The library as jobs hold it: opened when it's first needed, and again after its devices were lost. A box whose library
//! is switched off goes on with everything else.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use coffer_tape::simulator::Simulated;
use coffer_tape::{Library, Source, TapeError};

/// Sentences of what the robot does, until somebody tells them.
pub(super) type Moves = Arc<Mutex<Vec<String>>>;

/// How the library is opened.
#[derive(Debug)]
pub(super) struct Opener {
    pub(super) source: Source,
    pub(super) journal: PathBuf,
    pub(super) moves: Moves,
}

/// The library, if it's open.
pub(super) struct Robot {
    opener: Option<Opener>,
    library: Option<Library>,
    /// Kept open: it answers for the simulated devices.
    simulated: Option<Simulated>,
}

impl Robot {
    /// A library that is opened when it's needed.
    pub(super) fn closed(opener: Opener) -> Robot {
        Robot { opener: Some(opener), library: None, simulated: None }
    }

    /// A library that somebody else opened, and that stays open.
    pub(super) fn open(library: Library) -> Robot {
        Robot { opener: None, library: Some(library), simulated: None }
    }

    pub(super) fn is_open(&self) -> bool {
        self.library.is_some()
    }

    /// Closes the library, to be opened anew when it's next needed.
    pub(super) fn close(&mut self) {
        if self.opener.is_some() {
            (self.library, self.simulated) = (None, None);
        }
    }

    fn ensure_open(&mut self) -> Result<(), TapeError> {
        let (None, Some(opener)) = (&self.library, &self.opener) else { return Ok(()) };
        let (mut library, simulated) = opener.source.open()?;
        library.keep_journal(&opener.journal)?;
        if let Some(simulated) = &simulated {
            let moves = opener.moves.clone();
            simulated.observe(move |one| {
                let sentence = format!("robot moves {} from {:?} to {:?}", one.barcode, one.from, one.to);
                moves.lock().expect("nothing panics while it lists moves").push(sentence);
            });
        }
        (self.library, self.simulated) = (Some(library), simulated);
        Ok(())
    }
}

/// The open library, held by one job.
pub(crate) struct Held<'a>(MutexGuard<'a, Robot>);

impl<'a> Held<'a> {
    /// Opens the library if it isn't.
    pub(super) fn new(mut robot: MutexGuard<'a, Robot>) -> Result<Held<'a>, TapeError> {
        robot.ensure_open()?;
        Ok(Held(robot))
    }
}

impl Deref for Held<'_> {
    type Target = Library;
    fn deref(&self) -> &Library {
        self.0.library.as_ref().expect("open since it is held")
    }
}
impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Library {
        self.0.library.as_mut().expect("open since it is held")
    }
}
