//! Whose parts count: those of the session that began the configuration last.
//!
//! An agent that gives a connection up and begins anew over another can't take back what is still on its way. Whatever of it
//! comes after the new beginning is refused, so that it can't put the new capture out of step.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use coffer_format::ConfigId;
use coffer_format::wire::RefusalCode;

use crate::{Result, VaultError};

/// A session, for as long as the vault is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionNo(u64);

/// Who began each configuration last.
#[derive(Debug, Default)]
pub(crate) struct Begun(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    sessions: u64,
    last: HashMap<ConfigId, SessionNo>,
}

impl Begun {
    pub(crate) fn new_session(&self) -> SessionNo {
        let mut state = self.state();
        state.sessions += 1;
        SessionNo(state.sessions)
    }

    /// From here on, parts of every other session are refused.
    pub(crate) fn begin(&self, config: ConfigId, session: SessionNo) {
        self.state().last.insert(config, session);
    }

    /// Refuses a session that another one has followed.
    pub(crate) fn check(&self, config: ConfigId, session: SessionNo) -> Result<()> {
        match self.state().last.get(&config) == Some(&session) {
            true => Ok(()),
            false => Err(VaultError::refused(
                RefusalCode::Busy,
                format!(
                    "another connection has begun configuration {config} meanwhile: the agent begins again"
                ),
            )),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it notes a session")
    }
}
