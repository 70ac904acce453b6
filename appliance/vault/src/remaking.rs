//! Looking at the catalog while the vault goes on, and making it anew where its rows can't be put right one by one.

use std::sync::Arc;

use coffer_format::entry::Body;
use coffer_format::{Lsn, SegmentId};
use rusqlite::Connection;

use crate::catalog::{self, Doubt};
use crate::comparison::{self, Comparison, Keeper, Moment, Pace};
use crate::reading::Reading;
use crate::rebuild;
use crate::replay::PassedOver;
use crate::vault::{MetaState, Vault};
use crate::{Result, VaultError};

/// When the catalog was last looked at and mended. Milliseconds since 1970-01-01 UTC on the vault's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct CatalogCare {
    pub looked_ms: Option<u64>,
    pub mended_ms: Option<u64>,
    /// Rows that were wrong then; 0 where all of it was made anew.
    pub mended_rows: u64,
}

impl Reading {
    /// When the catalog was last compared with the segments.
    pub fn catalog_care(&self) -> Result<CatalogCare> {
        self.readers.with(|db| {
            Ok(CatalogCare {
                looked_ms: catalog::care(db, catalog::LOOKED)?,
                mended_ms: catalog::care(db, catalog::MENDED)?,
                mended_rows: catalog::care(db, catalog::MENDED_ROWS)?.unwrap_or(0),
            })
        })
    }

    /// What was read before of catalog and records is read from the disk again.
    pub fn forget_what_was_read(&self) -> Result<()> {
        self.forget_entries();
        self.readers.forget_pages()
    }

    /// Whether something was read that the catalog shouldn't say, or came back that it doesn't have: it's to be compared with the
    /// segments at once.
    pub fn doubts_catalog(&self) -> Result<bool> {
        Ok(self.is_catalog_amiss() || self.readers.with(catalog::is_asked_for)?)
    }

    /// Whether something was read that the catalog shouldn't say.
    pub(crate) fn is_catalog_amiss(&self) -> bool {
        self.readers.is_replaced() || self.readers.doubted() != Doubt::None
    }
}

impl Keeper for Vault {
    fn reading(&self) -> &Arc<Reading> {
        &self.reading
    }

    fn is_mirror(&self) -> bool {
        false
    }

    fn passed_over(&self) -> PassedOver {
        |_: &Body| false
    }

    fn suspect(&self, segment: SegmentId) -> Result<()> {
        if !self.is_read_only() && !self.reading.unsound()?.contains(&segment) {
            self.scrub(segment, &mut |_| true)?;
        }
        Ok(())
    }

    fn locked(&self, work: &mut dyn FnMut(&mut Connection, &Moment) -> Result<()>) -> Result<()> {
        let mut meta = self.meta.lock().map_err(|_| VaultError::ReadOnly)?;
        let moment = Moment { applied: Lsn(meta.next_lsn.0 - 1), growing: self.growing(&meta)? };
        catalog::forget_pages(&meta.db)?;
        work(&mut meta.db, &moment)?;
        self.fold_journal(&meta.db);
        Ok(())
    }
}

impl Vault {
    /// Compares the catalog with the segments, and makes again what isn't as they say. `pace` hears of bytes read and says whether to go
    /// on; `None` where it ended it. What was wrong is audited.
    pub fn compare_catalog(&self, pace: &mut Pace<'_>) -> Result<Option<Comparison>> {
        let doubt = self.reading.readers.take_doubt();
        let outcome = self.try_compare(doubt, pace);
        if !matches!(outcome, Ok(Some(_))) {
            self.reading.readers.doubt(doubt);
        }
        let Some(found) = outcome? else { return Ok(None) };
        if found.made_anew.is_some() {
            // Whatever was doubted meanwhile was doubted of the one before.
            self.reading.readers.take_doubt();
        }
        if let Some(sentence) = found.sentence() {
            tracing::error!(sentence, "the catalog was compared with the segments");
            if !self.is_read_only() {
                self.audit("box", &sentence)?;
            }
        }
        self.note_compared(&found)?;
        Ok(Some(found))
    }

    fn try_compare(&self, doubt: Doubt, pace: &mut Pace<'_>) -> Result<Option<Comparison>> {
        let reading = &self.reading;
        if reading.readers.is_replaced() {
            return self.make_catalog_anew(catalog::REPLACED.into()).map(Some);
        }
        reading.readers.forget_pages()?;
        if !reading.readers.path().exists() {
            return self.make_catalog_anew("its file was gone".into()).map(Some);
        }
        let came_back = || {
            reading.readers.with(|db| Ok(catalog::is_asked_for(db)?.then(|| catalog::CAME_BACK.to_owned())))
        };
        if let Some(why) = comparison::wrong_pages(reading)? {
            return self.make_catalog_anew(why).map(Some);
        }
        if let Some(why) = came_back()? {
            return self.make_catalog_anew(why).map(Some);
        }
        match comparison::compare(self, pace) {
            Err(error) if error.is_of_broken_catalog() => {
                self.make_catalog_anew(error.refusal().sentence).map(Some)
            }
            // What is still written to isn't compared, and what is wrong elsewhere may be wrong there.
            Ok(Some(found)) if found.rows() > 0 && !self.is_read_only() => {
                self.roll()?;
                let more = comparison::compare(self, pace)?;
                Ok(Some(found.and(more.unwrap_or_default())))
            }
            // What nothing but the catalog knows may be unreadable, and can be forgotten.
            Ok(Some(found)) if doubt == Doubt::Pages && found.sentence().is_none() => {
                self.make_catalog_anew("it couldn't be read".into()).map(Some)
            }
            other => other,
        }
    }

    fn note_compared(&self, found: &Comparison) -> Result<()> {
        let now_ms = self.now_ms();
        let meta = self.meta.lock().map_err(|_| VaultError::ReadOnly)?;
        catalog::note_care(&meta.db, catalog::LOOKED, now_ms)?;
        if found.sentence().is_some() {
            catalog::note_care(&meta.db, catalog::MENDED, now_ms)?;
            catalog::note_care(&meta.db, catalog::MENDED_ROWS, found.rows())?;
        }
        self.fold_journal(&meta.db);
        Ok(())
    }

    fn make_catalog_anew(&self, why: String) -> Result<Comparison> {
        let mut meta = self.meta.lock().map_err(|_| VaultError::ReadOnly)?;
        self.remake(&mut meta, &why)?;
        drop(meta);
        if !self.is_read_only() {
            self.note_lost()?;
        }
        Ok(Comparison { made_anew: Some(why), ..Comparison::default() })
    }

    /// Makes the catalog anew from the segments, which are all closed for it, and puts it in the place of the old one. Who reads the old one
    /// just now reads it to the end; who wants something durable waits.
    pub(crate) fn remake(&self, meta: &mut MetaState, why: &str) -> Result<()> {
        tracing::error!(why, "the catalog isn't what was written; it's made anew from the segments");
        let reading = &self.reading;
        let path = reading.readers.path();
        self.close_all(meta)?;
        let mut made = catalog::create_beside(path)?;
        if !reading.readers.is_replaced() {
            catalog::take_along(&meta.db, &made);
        }
        let found = rebuild::fill(reading, &mut made)?;
        found.notes.iter().for_each(|note| tracing::warn!(note, "when the catalog was made anew"));
        // From here on there's no way back: without a catalog nothing is taken in.
        reading.readers.lift_seal();
        meta.db = Connection::open_in_memory()?;
        let opened = reading.readers.renew(|| {
            catalog::put_in_place(path, made)?;
            catalog::open_writer(path)
        });
        let opened = opened.inspect_err(|_| self.poison())?;
        meta.db = opened.db;
        if opened.is_new {
            self.poison();
            return Err(VaultError::ReadOnly);
        }
        meta.unsynced.clear();
        meta.next_lsn = found.next_lsn;
        self.go_on_from(found.next_segment);
        reading.forget_entries();
        self.watch_catalog(meta)
    }
}
