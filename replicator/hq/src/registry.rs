//! Codes given out, and whose certificate is the newest: one SQLite file, shared by the server and the command line.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use coffer_format::FileHash;
use coffer_format::wire::RefusalCode;
use coffer_link::{
    Authority, EnrolmentCode, Role, owner_only, read_small_file, secret_hash, set_no_file_aside,
    write_durable_file,
};
use coffer_vault::disk::RealDisk;
use coffer_vault::try_write_to;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};
use tempfile::TempDir;

use crate::mirror_slot::TRY_EVERY;
use crate::{HqError, Result, second};

const TABLES: &str = "
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS codes (secret BLOB PRIMARY KEY, branch TEXT NOT NULL, expires_ms INTEGER NOT NULL,
  used_ms INTEGER, replaces INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
-- The one certificate (BLAKE3 of its public key) that counts for each role.
CREATE TABLE IF NOT EXISTS holders (role TEXT PRIMARY KEY, certificate BLOB NOT NULL, since_ms INTEGER NOT NULL) WITHOUT ROWID;
-- BLAKE3 of all rows of the others: a row that changed by itself is noticed. A program that knows nothing of it leaves it empty.
CREATE TABLE IF NOT EXISTS sums (sum BLOB NOT NULL);
CREATE TRIGGER IF NOT EXISTS code_added AFTER INSERT ON codes BEGIN DELETE FROM sums; END;
CREATE TRIGGER IF NOT EXISTS code_changed AFTER UPDATE ON codes BEGIN DELETE FROM sums; END;
CREATE TRIGGER IF NOT EXISTS holder_added AFTER INSERT ON holders BEGIN DELETE FROM sums; END;
CREATE TRIGGER IF NOT EXISTS holder_changed AFTER UPDATE ON holders BEGIN DELETE FROM sums; END;
";

const FILE: &str = "hq.sqlite";
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
    open: Mutex<Opened>,
    dir: PathBuf,
}

struct Opened {
    db: Connection,
    /// Device and number of the file that was opened.
    place: Option<(u64, u64)>,
    to_read: Option<ToRead>,
}

/// On a disk that takes no writes it's somewhere else, and can only be read.
struct ToRead {
    _scratch: TempDir,
    tried: Instant,
}

impl Registry {
    /// Opens the registry in HQ's folder; from its second copy where it's damaged or missing. In a folder that no HQ is in yet it's made.
    pub fn open(dir: &Path) -> Result<Registry> {
        Ok(Registry { open: Mutex::new(open_in(dir)?), dir: dir.into() })
    }

    /// An empty registry in place of one that is lost: nobody is enrolled.
    pub fn anew(dir: &Path) -> Result<Registry> {
        for path in [dir.join(FILE), second::folder(dir).join(FILE)] {
            set_aside(&path)?;
        }
        let opened = open_to_write(dir)?;
        keep(dir, &opened.db);
        Ok(Registry { open: Mutex::new(opened), dir: dir.into() })
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
        let insert = "INSERT INTO codes (secret, branch, expires_ms, replaces) VALUES (?1, ?2, ?3, ?4)";
        let replaces = purpose == CodeFor::Replacement;
        self.change(|db| {
            check_place(db, branch, purpose)?;
            db.execute(insert, params![secret_hash(&code.secret).0, branch, expires_ms, replaces])?;
            Ok(())
        })?;
        Ok(code)
    }

    /// Sees to it that the registry and its second copy are there.
    pub(crate) fn look_after(&self) -> Result<()> {
        self.ask(|_| Ok(()))?;
        let open = self.opened()?;
        if open.to_read.is_none() && !is_sound(&second::folder(&self.dir).join(FILE)) {
            keep(&self.dir, &open.db);
        }
        Ok(())
    }

    /// Asks the registry. One that turns out to be damaged is opened anew first, from its second copy where that's needed.
    fn ask<T>(&self, work: impl Fn(&Connection) -> Result<T>) -> Result<T> {
        let mut open = self.opened()?;
        if open.to_read.is_none() && !has_its_sum(&open.db).unwrap_or(false) {
            tracing::error!("HQ's registry isn't as it was written; it's opened anew");
            open_anew(&self.dir, &mut open)?;
        }
        work(&open.db)
    }

    /// Changes the registry, and its second copy.
    fn change<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let mut open = self.opened()?;
        if open.to_read.is_none() && !is_sound(&self.dir.join(FILE)) {
            // A copy of what is damaged would be one too.
            open_anew(&self.dir, &mut open)?;
        }
        let transaction = open.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&transaction)?;
        transaction.execute("DELETE FROM sums", [])?;
        transaction.execute("INSERT INTO sums VALUES (?1)", [sum_of_rows(&transaction)?])?;
        transaction.commit()?;
        keep(&self.dir, &open.db);
        Ok(done)
    }

    /// Whether a box is enrolled as this branch.
    pub fn is_in_use(&self, branch: &str) -> Result<bool> {
        self.ask(|db| is_in_use(db, branch))
    }

    /// The branch that a code is for; fails where using it would.
    pub fn branch_of(&self, secret: &[u8]) -> Result<String> {
        self.ask(|db| {
            let code = known_code(db, &secret_hash(secret))?;
            code.check_usable(now_ms())?;
            check_place(db, &code.branch, code.purpose)?;
            Ok(code.branch)
        })
    }

    /// Uses a code up. `sign` makes the branch's certificate and gives it with the hash of its key, which is the only
    /// one that counts for this branch from now on. If it fails, the code is as before, and so is the box that the branch has. Who has
    /// used the code last, and asks again for the same key, gets its certificate again: the answer may have been lost on its way.
    pub fn use_code(
        &self,
        secret: &[u8],
        sign: impl FnOnce(&Role) -> Result<(Vec<u8>, FileHash)>,
    ) -> Result<(String, Vec<u8>)> {
        let (secret, now) = (secret_hash(secret), now_ms());
        self.change(|db| {
            let code = known_code(db, &secret)?;
            let role = Role::Branch(code.branch.clone());
            let (certificate, holder) = sign(&role)?;
            if code.used && holder_of(db, &role)? == Some(holder) {
                return Ok((code.branch, certificate));
            }
            code.check_usable(now)?;
            let Code { branch, purpose, .. } = code;
            // Asked again: another box may have joined since the code was given out.
            check_place(db, &branch, purpose)?;
            if is_in_use(db, &branch)? {
                tracing::warn!(
                    branch,
                    "a replacement code is used: the box that was this branch is refused from now on"
                );
            }
            db.execute("UPDATE codes SET used_ms = ?2 WHERE secret = ?1", params![secret.0, now])?;
            put_holder(db, &role, &holder, now)?;
            Ok((branch, certificate))
        })
    }

    /// Makes a certificate the one that counts for a role.
    pub fn set_holder(&self, role: &Role, certificate: &FileHash) -> Result<()> {
        self.change(|db| put_holder(db, role, certificate, now_ms()))
    }

    /// Fails unless this certificate is the newest of its role.
    pub fn check_holder(&self, role: &Role, certificate: &FileHash) -> Result<()> {
        if self.ask(|db| holder_of(db, role))? == Some(*certificate) {
            return Ok(());
        }
        let sentence = match role {
            Role::Branch(branch) => format!(
                "another box is enrolled as branch {branch} now. If that one took this box's place, take this box out of service: what it has \
                 that HQ lacks stays on its own disk. If this is the right box, enrol it again with a code from `coffer-hq code --branch {branch} \
                 --replace`"
            ),
            _ => {
                format!("this certificate of {role} isn't the one that HQ knows: enrol again with a new code")
            }
        };
        Err(HqError::refused(RefusalCode::NotAllowed, sentence))
    }

    /// Names of all enrolled branches.
    pub fn branches(&self) -> Result<Vec<String>> {
        let roles = self.ask(|db| {
            let mut query = db.prepare_cached("SELECT role FROM holders ORDER BY role")?;
            let roles = query.query_map([], |row| row.get::<_, String>(0))?;
            Ok(roles.collect::<rusqlite::Result<Vec<_>>>()?)
        })?;
        let branch = |role: String| match role.parse() {
            Ok(Role::Branch(name)) => Some(name),
            _ => None,
        };
        Ok(roles.into_iter().filter_map(branch).collect())
    }

    /// The registry. Where it could only be read it's tried now and then whether the disk takes writes again. Where another file, or none, is
    /// in its place, that is opened: other programs see no other one.
    fn opened(&self) -> Result<MutexGuard<'_, Opened>> {
        // A transaction that a panic left behind was rolled back by its drop.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(to_read) = &mut open.to_read
            && to_read.tried.elapsed() >= TRY_EVERY
        {
            to_read.tried = Instant::now();
            if takes_writes(&self.dir) && is_sound(&self.dir.join(FILE)) {
                match open_to_write(&self.dir) {
                    Ok(opened) => *open = opened,
                    Err(error) => tracing::warn!(%error, "HQ's registry can still only be read"),
                }
            }
        }
        if open.to_read.is_none() && open.place != place_of(&self.dir.join(FILE)) {
            tracing::error!("HQ's registry was removed or replaced while HQ ran; it's opened anew");
            open_anew(&self.dir, &mut open)?;
        }
        Ok(open)
    }
}

/// Opens the registry of a folder, from its second copy where it's damaged or missing. In a folder that no HQ is in yet it's made.
fn open_in(dir: &Path) -> Result<Opened> {
    let (path, copy) = (dir.join(FILE), second::folder(dir).join(FILE));
    if path.exists() && !takes_writes(dir) {
        match open_to_read(dir) {
            Ok(opened) => return Ok(opened),
            Err(why) => tracing::warn!(%why, "the registry can't be read as it is"),
        }
    }
    if !is_sound(&path) {
        if is_sound(&copy) {
            set_aside(&path)?;
            let bytes = read_small_file(&copy).map_err(HqError::io("read", &copy))?;
            write_durable_file(&path, &bytes, &owner_only()).map_err(HqError::io("write", &path))?;
            tracing::warn!(
                "HQ's registry was damaged or missing; it was made again from its second copy. Have the disk checked"
            );
        } else if path.exists() || dir.join("organisation.toml").exists() {
            return Err(HqError::RegistryLost { path });
        }
    }
    let opened = open_to_write(dir)?;
    if !is_sound(&copy) {
        keep(dir, &opened.db);
    }
    Ok(opened)
}

/// Lets the file go that was open, and opens what there is.
fn open_anew(dir: &Path, open: &mut Opened) -> Result<()> {
    *open = Opened { db: Connection::open_in_memory()?, place: None, to_read: None };
    *open = open_in(dir)?;
    Ok(())
}

fn place_of(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|facts| (facts.dev(), facts.ino()))
}

/// Makes the second copy what the registry is.
fn keep(dir: &Path, db: &Connection) {
    if let Err(error) = copy_to(db, &second::folder(dir)) {
        tracing::warn!(%error, "the second copy of HQ's registry isn't up to date");
    }
}

fn open_to_write(dir: &Path) -> Result<Opened> {
    let path = dir.join(FILE);
    let db = Connection::open(&path)?;
    db.busy_timeout(Duration::from_secs(10))?;
    db.execute_batch(TABLES)?;
    add_replaces(&db)?;
    Ok(Opened { db, place: place_of(&path), to_read: None })
}

/// On a disk that takes no writes, full or not: who is enrolled is known, and nobody can be enrolled until it takes them.
fn open_to_read(dir: &Path) -> Result<Opened> {
    let path = &dir.join(FILE);
    let scratch = tempfile::tempdir().map_err(HqError::io("make room beside", path))?;
    let there = scratch.path().join(FILE);
    fs::copy(path, &there).map_err(HqError::io("read", path))?;
    let journal = |path: &Path| path.with_extension("sqlite-wal");
    if journal(path).exists() {
        fs::copy(journal(path), journal(&there)).map_err(HqError::io("read", path))?;
    }
    if !is_sound(&there) {
        return Err(HqError::RegistryLost { path: path.into() });
    }
    tracing::error!(
        "HQ's disk takes no writes: nobody can be enrolled until it does. Free space or have it checked"
    );
    let db = Connection::open(&there)?;
    db.execute_batch("PRAGMA query_only = ON")?;
    Ok(Opened { db, place: None, to_read: Some(ToRead { _scratch: scratch, tried: Instant::now() }) })
}

fn takes_writes(dir: &Path) -> bool {
    let Err(error) = try_write_to(&RealDisk, dir) else { return true };
    tracing::debug!(%error, "HQ's disk");
    !error.is_of_no_writes()
}

/// Whether a registry can be read there.
fn is_sound(path: &Path) -> bool {
    // One of no bytes would be made to an empty one.
    if !fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.len() > 0) {
        return false;
    }
    look(path).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "a registry can't be read");
        false
    })
}

/// Whether what is there is a registry as it was written.
fn look(path: &Path) -> rusqlite::Result<bool> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.busy_timeout(Duration::from_secs(10))?;
    let said: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok(said == "ok" && has_its_sum(&db)?)
}

/// Whether its rows are those that were written.
fn has_its_sum(db: &Connection) -> rusqlite::Result<bool> {
    let has_table = |name| db.prepare_cached("SELECT 1 FROM sqlite_master WHERE name = ?1")?.exists([name]);
    if !has_table("codes")? {
        return Ok(false);
    }
    let sum: Option<[u8; 32]> = match has_table("sums")? {
        true => db.query_row("SELECT sum FROM sums", [], |row| row.get(0)).optional()?,
        false => None,
    };
    Ok(sum.is_none_or(|sum| sum_of_rows(db).is_ok_and(|rows| rows == sum)))
}

/// BLAKE3 of all rows, in order.
fn sum_of_rows(db: &Connection) -> rusqlite::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    for table in [
        "SELECT secret, branch, expires_ms, used_ms, replaces FROM codes ORDER BY secret",
        "SELECT role, certificate, since_ms FROM holders ORDER BY role",
    ] {
        let mut query = db.prepare(table)?;
        let columns = query.column_count();
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            for at in 0..columns {
                add(&mut hasher, row.get_ref(at)?);
            }
        }
    }
    Ok(*hasher.finalize().as_bytes())
}

/// A value as it's hashed: its kind, and its bytes (little-endian) after their number.
fn add(hasher: &mut blake3::Hasher, value: ValueRef<'_>) {
    let (kind, bytes) = match value {
        ValueRef::Null => (0, Vec::new()),
        ValueRef::Integer(number) => (1, number.to_le_bytes().to_vec()),
        ValueRef::Real(number) => (2, number.to_le_bytes().to_vec()),
        ValueRef::Text(bytes) => (3, bytes.to_vec()),
        ValueRef::Blob(bytes) => (4, bytes.to_vec()),
    };
    hasher.update(&[kind]).update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
}

/// What is left of a registry is kept beside it, for whoever may want to look.
fn set_aside(path: &Path) -> Result<()> {
    set_no_file_aside(path).map_err(HqError::io("move aside", path))?;
    for ending in ["", "-wal", "-shm"] {
        let name = |more: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            name.push(more);
            PathBuf::from(name)
        };
        match fs::rename(name(""), name(".damaged")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(HqError::io("rename", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Copies the registry into a folder, whole or not at all.
fn copy_to(db: &Connection, folder: &Path) -> Result<()> {
    second::make_folder(folder)?;
    let (new, copy) = (folder.join(".hq.sqlite.new"), folder.join(FILE));
    for path in [&new, &copy] {
        set_no_file_aside(path).map_err(HqError::io("move aside", path))?;
    }
    match fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(HqError::io("remove", &new)(error));
        }
        _ => {}
    }
    db.execute("VACUUM INTO ?1", [new.to_string_lossy()])?;
    fs::File::open(&new).and_then(|file| file.sync_all()).map_err(HqError::io("sync", &new))?;
    fs::rename(&new, &copy).map_err(HqError::io("rename", &new))?;
    fs::File::open(folder).and_then(|dir| dir.sync_all()).map_err(HqError::io("sync", folder))
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

/// A code that was given out.
struct Code {
    branch: String,
    purpose: CodeFor,
    expires_ms: u64,
    used: bool,
}

impl Code {
    fn check_usable(&self, now: u64) -> Result<()> {
        if self.used {
            return Err(wrong("this code was used already: ask HQ for a new one"));
        }
        if self.expires_ms < now {
            return Err(wrong("this code has expired: ask HQ for a new one"));
        }
        Ok(())
    }
}

fn wrong(sentence: &str) -> HqError {
    HqError::refused(RefusalCode::WrongCode, sentence)
}

fn known_code(db: &Connection, secret: &FileHash) -> Result<Code> {
    let mut query =
        db.prepare_cached("SELECT branch, expires_ms, used_ms, replaces FROM codes WHERE secret = ?1")?;
    let row = query.query_row([secret.0], |row| {
        let purpose = if row.get(3)? { CodeFor::Replacement } else { CodeFor::NewBranch };
        let used = row.get::<_, Option<u64>>(2)?.is_some();
        Ok(Code { branch: row.get(0)?, purpose, expires_ms: row.get(1)?, used })
    });
    row.optional()?.ok_or_else(|| wrong("this code isn't known at HQ: check it, or ask for a new one"))
}

fn holder_of(db: &Connection, role: &Role) -> Result<Option<FileHash>> {
    let mut query = db.prepare_cached("SELECT certificate FROM holders WHERE role = ?1")?;
    Ok(query.query_row([role.to_string()], |row| row.get(0).map(FileHash)).optional()?)
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
