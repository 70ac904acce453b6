//! All branches, opened when they're first needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use coffer_format::wire::RefusalCode;

use crate::branch::Branch;
use crate::{HqError, Organisation, Registry, Result};

/// Branches by name; as many as are enrolled.
pub(crate) struct Branches {
    organisation: Arc<Organisation>,
    registry: Arc<Registry>,
    open: Mutex<HashMap<String, Arc<Branch>>>,
}

impl Branches {
    pub(crate) fn new(organisation: Arc<Organisation>, registry: Arc<Registry>) -> Branches {
        Branches { organisation, registry, open: Mutex::default() }
    }

    /// An enrolled branch.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Branch>> {
        let known = self.registry.branches()?.iter().any(|known| known == name);
        if !known {
            let sentence = format!("there's no branch {name:?} here: ask for the list of branches");
            return Err(HqError::refused(RefusalCode::BadRequest, sentence));
        }
        Ok(self.of_code(name))
    }

    /// The branch that a code is for, enrolled or not.
    pub(crate) fn of_code(&self, name: &str) -> Arc<Branch> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.entry(name.to_owned()).or_insert_with(|| Arc::new(Branch::new(&self.organisation, name))).clone()
    }

    pub(crate) fn all(&self) -> Result<Vec<Arc<Branch>>> {
        self.registry.branches()?.iter().map(|name| self.get(name)).collect()
    }
}
