//! A mirror's catalog against its segments. What a mirror notes by itself (what the branch gave up) is taken along, and not compared.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use coffer_format::SegmentId;
use rusqlite::{Connection, params};

use super::of_box::Told;
use super::{Here, Mirror, take};
use crate::catalog::{self, Doubt};
use crate::comparison::{self, Comparison, Keeper, Moment, Pace};
use crate::reading::Reading;
use crate::replay::PassedOver;
use crate::{Result, VaultError};

impl Keeper for Mirror {
    fn reading(&self) -> &Arc<Reading> {
        &self.reading
    }

    fn is_mirror(&self) -> bool {
        true
    }

    fn passed_over(&self) -> PassedOver {
        take::branch_only
    }

    /// What is damaged of a mirror shows when it's read back.
    fn suspect(&self, _: SegmentId) -> Result<()> {
        Ok(())
    }

    fn locked(&self, work: &mut dyn FnMut(&mut Connection, &Moment) -> Result<()>) -> Result<()> {
        let mut db = self.db()?;
        catalog::forget_pages(&db)?;
        let listed = take::listed(&db)?;
        let is_taken = |segment: &SegmentId, here: &Here| {
            here.hash.is_some() && listed.get(segment).is_some_and(|bytes| *bytes >= here.bytes)
        };
        let growing = self
            .here()
            .iter()
            .filter(|(segment, here)| !is_taken(segment, here))
            .map(|(segment, _)| *segment)
            .collect();
        let moment = Moment { applied: catalog::applied(&db)?, growing };
        work(&mut db, &moment)
    }
}

/// Times as long as making the catalog took, before it's made again for what came since.
const REST: u32 = 20;

const GONE_ON_WITHOUT: &str = "the branch went on without metadata that isn't here any more";

impl Mirror {
    /// Whether the catalog is to be compared with the segments at once.
    pub fn doubts_catalog(&self) -> Result<bool> {
        Ok(self.reading.is_catalog_amiss() || self.is_overtaken()?.is_some())
    }

    /// Why the catalog is to be made anew, though nothing of it is wrong. What comes back comes piece by piece, so making it takes no more
    /// than a part of the time.
    fn is_overtaken(&self) -> Result<Option<&'static str>> {
        let last = *self.made_anew.lock().map_err(|_| VaultError::ReadOnly)?;
        if last.is_some_and(|(ended, took)| ended.elapsed() < took * REST) {
            return Ok(None);
        }
        self.reading.readers.with(|db| {
            Ok(match () {
                () if catalog::is_asked_for(db)? => Some(catalog::CAME_BACK),
                () if catalog::lists_what_was_gone_on_without(db)? => Some(GONE_ON_WITHOUT),
                () => None,
            })
        })
    }

    /// Compares the catalog with the segments, and makes again what isn't as they say. `None` where `pace` ended it.
    pub fn compare_catalog(&self, pace: &mut Pace<'_>) -> Result<Option<Comparison>> {
        let doubt = self.reading.readers.take_doubt();
        let outcome = self.try_compare(doubt, pace);
        if !matches!(outcome, Ok(Some(_))) {
            self.reading.readers.doubt(doubt);
        }
        let Some(found) = outcome? else { return Ok(None) };
        if found.made_anew.is_some() {
            self.reading.readers.take_doubt();
        }
        if let Some(sentence) = found.sentence() {
            tracing::error!(vault = %self.vault(), sentence, "a branch's catalog was compared with its segments");
            // What was listed wrongly of a segment is taken from it once more.
            self.refresh()?;
            self.note_news();
        }
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
        if let Some(why) = comparison::wrong_pages(reading)? {
            return self.make_catalog_anew(why).map(Some);
        }
        if let Some(why) = self.is_overtaken()? {
            return self.make_catalog_anew(why.into()).map(Some);
        }
        match comparison::compare(self, pace) {
            Err(error) if error.is_of_broken_catalog() => {
                self.make_catalog_anew(error.refusal().sentence).map(Some)
            }
            // How far it is may be what is wrong.
            Ok(Some(found)) if found.not_compared.is_some() && self.is_out_of_step()? => {
                self.make_catalog_anew("it wasn't as far as it said".into()).map(Some)
            }
            Ok(Some(found)) if doubt == Doubt::Pages && found.sentence().is_none() => {
                self.make_catalog_anew("it couldn't be read".into()).map(Some)
            }
            other => other,
        }
    }

    /// Whether it says that it's at another record than the last one it lists.
    fn is_out_of_step(&self) -> Result<bool> {
        let db = self.db()?;
        Ok(catalog::applied(&db)? != catalog::newest_log(&db)?)
    }

    fn make_catalog_anew(&self, why: String) -> Result<Comparison> {
        let (path, began) = (self.reading.readers.path(), Instant::now());
        // What was read of the box's records is read again: there may be more of them.
        *self.told.lock().map_err(|_| VaultError::ReadOnly)? = Told::default();
        let mut db = self.db()?;
        let forgotten: HashSet<SegmentId> =
            self.here().iter().filter(|(_, here)| here.forgotten).map(|(segment, _)| *segment).collect();
        let mut made = catalog::create_beside(path)?;
        for segment in &*self.damaged() {
            made.execute("INSERT OR IGNORE INTO due_again VALUES (?1)", params![segment.0])?;
        }
        for segment in forgotten {
            made.execute("INSERT OR IGNORE INTO dropped VALUES (?1)", params![segment.0])?;
        }
        self.take_into(&mut made)?;
        *db = Connection::open_in_memory()?;
        let opened = self.reading.readers.renew(|| {
            catalog::put_in_place(path, made)?;
            catalog::open_writer(path)
        });
        *db = opened.inspect_err(|_| self.fail())?.db;
        self.reading.readers.keep_place();
        self.reading.forget_entries();
        self.times_made.fetch_add(1, Ordering::SeqCst);
        *self.made_anew.lock().map_err(|_| VaultError::ReadOnly)? = Some((Instant::now(), began.elapsed()));
        Ok(Comparison { made_anew: Some(why), ..Comparison::default() })
    }
}
