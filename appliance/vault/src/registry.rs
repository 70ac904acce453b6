//! Computers, their configurations, and what has been done by whom.

use coffer_format::event::Event;
use coffer_format::wire::{ConfigText, RefusalCode};
use coffer_format::{ComputerId, ConfigId, FileHash};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use crate::catalog;
use crate::reading::Reading;
use crate::vault::Vault;
use crate::{Result, VaultError};

/// A computer as screens show it. Times are milliseconds since 1970-01-01 UTC on the vault's clock.
#[derive(Debug, Clone, Serialize)]
pub struct Computer {
    pub computer: u32,
    pub name: String,
    pub os: String,
    pub enrolled_ms: u64,
    pub revoked: bool,
}

/// A configuration as screens show it.
#[derive(Debug, Clone, Serialize)]
pub struct Configuration {
    pub config: u32,
    pub computer: u32,
    pub computer_name: String,
    pub name: String,
    pub revision: u32,
    pub toml: String,
}

/// An entry of the audit log.
#[derive(Debug, Clone, Serialize)]
pub struct AuditEntry {
    pub ms: u64,
    pub who: String,
    pub what: String,
}

impl Vault {
    /// Remembers that a one-time code was given out for a computer of that name.
    pub fn issue_code(
        &self,
        secret: FileHash,
        computer_name: &str,
        expires_ms: u64,
        who: &str,
    ) -> Result<()> {
        let (name, who) = (computer_name.to_owned(), who.to_owned());
        self.transact(move |batch| {
            batch.audit(&who, &format!("gave out an enrolment code for computer {name}"))?;
            batch.write_event(Event::CodeIssued { secret, computer_name: name, expires_ms }).map(|_| ())
        })
    }

    /// Enrols a computer with a code; a code serves once. A computer that enrols again under its name keeps its number.
    pub fn enrol_computer(
        &self,
        secret: FileHash,
        os: &str,
        certificate: impl FnOnce(ComputerId) -> Option<FileHash> + Send + 'static,
    ) -> Result<ComputerId> {
        let os = os.to_owned();
        self.transact(move |batch| {
            let name = usable_code(batch.db(), &secret, batch.now_ms())?;
            let computer = number_for(batch.db(), &name)?;
            let certificate = certificate(computer).ok_or_else(|| {
                VaultError::refused(
                    RefusalCode::BadRequest,
                    "the computer's certificate request can't be used: enrol again",
                )
            })?;
            batch.audit(&name, "enrolled")?;
            batch.write_event(Event::ComputerAdded { computer, name, os, certificate, secret })?;
            Ok(computer)
        })
    }

    /// The computer that holds this certificate, unless it was revoked.
    pub fn check_computer(&self, computer: ComputerId, certificate: &FileHash) -> Result<()> {
        self.reading.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT certificate, revoked_ms IS NOT NULL FROM computers WHERE computer = ?1",
            )?;
            let row =
                query.query_row([computer.0], |row| Ok((row.get::<_, [u8; 32]>(0)?, row.get::<_, bool>(1)?)));
            match row.optional()? {
                Some((known, false)) if known == certificate.0 => Ok(()),
                _ => Err(VaultError::refused(
                    RefusalCode::NotAllowed,
                    "this computer isn't enrolled here any more: ask for a new code and enrol it again",
                )),
            }
        })
    }

    pub fn revoke_computer(&self, computer: ComputerId, who: &str) -> Result<()> {
        let who = who.to_owned();
        self.transact(move |batch| {
            batch.audit(&who, &format!("revoked computer {computer}"))?;
            batch.write_event(Event::ComputerRevoked { computer }).map(|_| ())
        })
    }

    /// Adds or changes a configuration of a computer. Its text has been checked by the caller.
    pub fn set_configuration(
        &self,
        computer: ComputerId,
        name: &str,
        toml: &str,
        who: &str,
    ) -> Result<ConfigId> {
        let (name, toml, who) = (name.to_owned(), toml.to_owned(), who.to_owned());
        self.transact(move |batch| {
            let db = batch.db();
            let found = db
                .query_row(
                    "SELECT config, revision FROM configurations WHERE computer = ?1 AND name = ?2",
                    params![computer.0, name],
                    |row| Ok((ConfigId(row.get(0)?), row.get::<_, u32>(1)?)),
                )
                .optional()?;
            let (config, revision) = match found {
                Some((config, revision)) => (config, revision + 1),
                None => {
                    let newest: Option<u32> =
                        db.query_row("SELECT MAX(config) FROM configurations", [], |row| row.get(0))?;
                    (ConfigId(newest.unwrap_or(0) + 1), 1)
                }
            };
            batch.audit(
                &who,
                &format!("set configuration {name} of computer {computer}, revision {revision}"),
            )?;
            batch.write_event(Event::ConfigSet { config, computer, name, revision, toml })?;
            let records = catalog::lacking(batch.db())?;
            if revision == 1 && !records.is_empty() {
                // It begins without them.
                batch.write_event(Event::JournalRecalledWithout { config, records })?;
            }
            Ok(config)
        })
    }

    /// Adds an entry to the audit log. A vault whose disk takes no writes can still be read and restored from: what was done is in
    /// the program's log alone then.
    pub fn audit(&self, who: &str, what: &str) -> Result<()> {
        if self.is_read_only() {
            tracing::warn!(who, what, "not in the audit log: the disk takes no writes");
            return Ok(());
        }
        let (who, what) = (who.to_owned(), what.to_owned());
        self.transact(move |batch| batch.audit(&who, &what))
    }

    /// The same of what changed nothing: nobody is refused an answer because the disk is full.
    pub fn audit_answer(&self, who: &str, what: &str) -> Result<()> {
        match self.audit(who, what) {
            Err(error) if error.is_of_no_writes() || self.is_read_only() => {
                tracing::warn!(who, what, %error, "not in the audit log: the disk took no write");
                Ok(())
            }
            audited => audited,
        }
    }

    /// Records events that need nothing but to be recorded.
    pub fn record(&self, events: Vec<Event>) -> Result<()> {
        self.transact(move |batch| {
            events.into_iter().try_for_each(|event| batch.write_event(event).map(|_| ()))
        })
    }
}

fn usable_code(db: &Connection, secret: &FileHash, now: u64) -> Result<String> {
    let wrong = |sentence: &str| VaultError::refused(RefusalCode::WrongCode, sentence.to_owned());
    let mut query =
        db.prepare_cached("SELECT computer_name, expires_ms, used_by FROM codes WHERE secret = ?1")?;
    let row = query.query_row([secret.0], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?, row.get::<_, Option<u32>>(2)?))
    });
    match row.optional()? {
        None => Err(wrong("this code isn't known here: check it, or ask for a new one")),
        Some((_, _, Some(_))) => Err(wrong("this code was used already: ask for a new one")),
        Some((_, expires_ms, None)) if expires_ms < now => {
            Err(wrong("this code has expired: ask for a new one"))
        }
        Some((name, _, None)) => Ok(name),
    }
}

fn number_for(db: &Connection, name: &str) -> Result<ComputerId> {
    let known = db
        .query_row("SELECT computer FROM computers WHERE name = ?1", [name], |row| row.get(0))
        .optional()?;
    if let Some(known) = known {
        return Ok(ComputerId(known));
    }
    let newest: Option<u32> = db.query_row("SELECT MAX(computer) FROM computers", [], |row| row.get(0))?;
    Ok(ComputerId(newest.unwrap_or(0) + 1))
}

impl Reading {
    pub fn computers(&self) -> Result<Vec<Computer>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT computer, name, os, enrolled_ms, revoked_ms IS NOT NULL FROM computers ORDER BY computer",
            )?;
            let rows = query.query_map([], |row| {
                Ok(Computer {
                    computer: row.get(0)?,
                    name: row.get(1)?,
                    os: row.get(2)?,
                    enrolled_ms: row.get(3)?,
                    revoked: row.get(4)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    pub fn configurations(&self) -> Result<Vec<Configuration>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT config, configurations.computer, computers.name, configurations.name, revision, toml
                 FROM configurations JOIN computers USING (computer) ORDER BY config",
            )?;
            let rows = query.query_map([], |row| {
                Ok(Configuration {
                    config: row.get(0)?,
                    computer: row.get(1)?,
                    computer_name: row.get(2)?,
                    name: row.get(3)?,
                    revision: row.get(4)?,
                    toml: row.get(5)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// A computer's configurations as it gets them.
    pub fn configurations_of(&self, computer: ComputerId) -> Result<Vec<ConfigText>> {
        let all = self.configurations()?.into_iter().filter(|config| config.computer == computer.0);
        Ok(all
            .map(|found| ConfigText {
                config: ConfigId(found.config),
                name: found.name,
                revision: found.revision,
                toml: found.toml,
            })
            .collect())
    }

    pub fn audit_log(&self, newest: usize) -> Result<Vec<AuditEntry>> {
        self.readers.with(|db| {
            let mut query =
                db.prepare_cached("SELECT ms, who, what FROM audit ORDER BY lsn DESC LIMIT ?1")?;
            let rows = query.query_map([newest as u64], |row| {
                Ok(AuditEntry { ms: row.get(0)?, who: row.get(1)?, what: row.get(2)? })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
