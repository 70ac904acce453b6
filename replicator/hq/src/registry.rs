//! Codes given out, and whose certificate is the newest: one SQLite file, shared by the server and the command line.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use coffer_format::FileHash;
use coffer_format::wire::RefusalCode;
use coffer_link::{Authority, EnrolmentCode, Role, secret_hash};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::{HqError, Result};

const TABLES: &str = "
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS codes (secret BLOB PRIMARY KEY, branch TEXT NOT NULL, expires_ms INTEGER NOT NULL,
  used_ms INTEGER, replaces INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
-- The one certificate (BLAKE3 of its public key) that counts for each role.
CREATE TABLE IF NOT EXISTS holders (role TEXT PRIMARY KEY, certificate BLOB NOT NULL, since_ms INTEGER NOT NULL) WITHOUT ROWID;
";

/// Longest branch name; it's also a folder's name.
const NAME_MAX: usize = 40;

/// What a code lets a box do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeFor {
    /// Join as a branch that no box is enrolled as.
    NewBranch,
    /// Take the place of the box that is enrolled as this branch: that one's certificate is refused from then on.
    Replacement,
}

/// HQ's registry.
pub struct Registry {
    db: Mutex<Connection>,
}

impl Registry {
    /// Opens the registry in HQ's folder, making it where there's none.
    pub fn open(dir: &Path) -> Result<Registry> {
        let db = Connection::open(dir.join("hq.sqlite"))?;
        db.busy_timeout(Duration::from_secs(10))?;
        db.execute_batch(TABLES)?;
        add_replaces(&db)?;
        Ok(Registry { db: Mutex::new(db) })
    }

    /// A new one-time code for a branch. Only the hash of its secret is kept. Fails if a box is enrolled as this branch and
    /// the code isn't meant to replace it.
    pub fn issue_code(
        &self,
        authority: &Authority,
        branch: &str,
        valid: Duration,
        purpose: CodeFor,
    ) -> Result<EnrolmentCode> {
        check_name(branch)?;
        let code = EnrolmentCode::new(authority)?;
        let expires_ms = now_ms() + valid.as_millis() as u64;
        let db = self.db();
        check_place(&db, branch, purpose)?;
        let insert = "INSERT INTO codes (secret, branch, expires_ms, replaces) VALUES (?1, ?2, ?3, ?4)";
        let replaces = purpose == CodeFor::Replacement;
        db.execute(insert, params![secret_hash(&code.secret).0, branch, expires_ms, replaces])?;
        Ok(code)
    }

    /// Whether a box is enrolled as this branch.
    pub fn is_in_use(&self, branch: &str) -> Result<bool> {
        is_in_use(&self.db(), branch)
    }

    /// Uses a code up. `sign` makes the branch's certificate and gives it with the hash of its key, which is the only
    /// one that counts for this branch from now on. If it fails, the code is as before, and so is the box that the branch has.
    pub fn use_code(
        &self,
        secret: &[u8],
        sign: impl FnOnce(&Role) -> Result<(Vec<u8>, FileHash)>,
    ) -> Result<(String, Vec<u8>)> {
        let (secret, now) = (secret_hash(secret), now_ms());
        let mut db = self.db();
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (branch, purpose) = usable_code(&transaction, &secret, now)?;
        // Asked again: another box may have joined since the code was given out.
        check_place(&transaction, &branch, purpose)?;
        if is_in_use(&transaction, &branch)? {
            tracing::warn!(
                branch,
                "a replacement code is used: the box that was this branch is refused from now on"
            );
        }
        let role = Role::Branch(branch.clone());
        let (certificate, holder) = sign(&role)?;
        transaction.execute("UPDATE codes SET used_ms = ?2 WHERE secret = ?1", params![secret.0, now])?;
        put_holder(&transaction, &role, &holder, now)?;
        transaction.commit()?;
        Ok((branch, certificate))
    }

    /// Makes a certificate the one that counts for a role.
    pub fn set_holder(&self, role: &Role, certificate: &FileHash) -> Result<()> {
        put_holder(&self.db(), role, certificate, now_ms())
    }

    /// Fails unless this certificate is the newest of its role.
    pub fn check_holder(&self, role: &Role, certificate: &FileHash) -> Result<()> {
        let db = self.db();
        let mut query = db.prepare_cached("SELECT certificate FROM holders WHERE role = ?1")?;
        let known = query.query_row([role.to_string()], |row| row.get::<_, [u8; 32]>(0)).optional()?;
        if known == Some(certificate.0) {
            return Ok(());
        }
        Err(HqError::refused(
            RefusalCode::NotAllowed,
            format!("this certificate of {role} isn't the one that HQ knows: enrol again with a new code"),
        ))
    }

    /// Names of all enrolled branches.
    pub fn branches(&self) -> Result<Vec<String>> {
        let db = self.db();
        let mut query = db.prepare_cached("SELECT role FROM holders ORDER BY role")?;
        let roles =
            query.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        let branch = |role: String| match role.parse() {
            Ok(Role::Branch(name)) => Some(name),
            _ => None,
        };
        Ok(roles.into_iter().filter_map(branch).collect())
    }

    fn db(&self) -> std::sync::MutexGuard<'_, Connection> {
        // A transaction that a panic left behind was rolled back by its drop.
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Registries made before codes said what they're for: theirs replace nothing.
fn add_replaces(db: &Connection) -> Result<()> {
    let there = "SELECT 1 FROM pragma_table_info('codes') WHERE name = 'replaces'";
    if db.prepare(there)?.exists([])? {
        return Ok(());
    }
    let added = db.execute("ALTER TABLE codes ADD COLUMN replaces INTEGER NOT NULL DEFAULT 0", []);
    // Another program that opened the registry at the same time may have been first.
    if let Err(error) = added
        && !db.prepare(there)?.exists([])?
    {
        return Err(error.into());
    }
    Ok(())
}

fn is_in_use(db: &Connection, branch: &str) -> Result<bool> {
    let role = Role::Branch(branch.to_owned()).to_string();
    Ok(db.prepare_cached("SELECT 1 FROM holders WHERE role = ?1")?.exists([role])?)
}

/// Fails if a box has the place that a code is for, unless it's there to replace that box.
fn check_place(db: &Connection, branch: &str, purpose: CodeFor) -> Result<()> {
    if purpose == CodeFor::Replacement || !is_in_use(db, branch)? {
        return Ok(());
    }
    Err(HqError::refused(
        RefusalCode::Conflict,
        format!(
            "a box is enrolled as branch {branch}, and nothing was changed: choose another name, or, if that box is never to \
             come back, get a code with `coffer-hq code --branch {branch} --replace`"
        ),
    ))
}

fn usable_code(db: &Connection, secret: &FileHash, now: u64) -> Result<(String, CodeFor)> {
    let wrong = |sentence: &str| Err(HqError::refused(RefusalCode::WrongCode, sentence));
    let mut query =
        db.prepare_cached("SELECT branch, expires_ms, used_ms, replaces FROM codes WHERE secret = ?1")?;
    let row = query.query_row([secret.0], |row| {
        let purpose = if row.get(3)? { CodeFor::Replacement } else { CodeFor::NewBranch };
        let place = (row.get::<_, String>(0)?, purpose);
        Ok((place, row.get::<_, u64>(1)?, row.get::<_, Option<u64>>(2)?))
    });
    match row.optional()? {
        None => wrong("this code isn't known at HQ: check it, or ask for a new one"),
        Some((_, _, Some(_))) => wrong("this code was used already: ask HQ for a new one"),
        Some((_, expires_ms, None)) if expires_ms < now => {
            wrong("this code has expired: ask HQ for a new one")
        }
        Some((place, _, None)) => Ok(place),
    }
}

fn put_holder(db: &Connection, role: &Role, certificate: &FileHash, now: u64) -> Result<()> {
    let mut insert = db.prepare_cached("INSERT OR REPLACE INTO holders VALUES (?1, ?2, ?3)")?;
    insert.execute(params![role.to_string(), certificate.0, now])?;
    Ok(())
}

/// A branch's name is a folder's name too.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fits = !name.is_empty() && name.len() <= NAME_MAX && !name.starts_with(['.', '-']);
    if fits && name.chars().all(plain) {
        return Ok(());
    }
    Err(HqError::refused(
        RefusalCode::BadRequest,
        format!(
            "{name:?} can't be a branch's name: use 1 to {NAME_MAX} letters, digits, dots, dashes and underscores"
        ),
    ))
}

/// HQ's clock, in milliseconds since 1970-01-01 UTC.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_leave_the_folder_are_refused() {
        for name in ["", ".", "..", "a/b", "a b", ".hidden", "-x", "x\0", &"x".repeat(41), "Zürich"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["leeds", "Leeds-2", "site_04.north"] {
            check_name(name).unwrap();
        }
    }
}
