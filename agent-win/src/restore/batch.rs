//! The end of a batch: every file of it is completed, then all are synced together, then each gets its name.

use std::collections::HashMap;
use std::io;
use std::thread::JoinHandle;

use coffer_format::node::NodeMeta;

use super::growing::{Ended, Growing, Grown, Spot, discard, is_full};
use super::links::Link;
use super::pool::threads;
use super::put::{Put, put};
use super::write::{Placed, Restoring};
use crate::platform::{self, HeldEntry};
use crate::scan::ObjectId;

/// A file that was completed, or why it wasn't.
struct Completed {
    index: u32,
    shown: Vec<u8>,
    written: u64,
    outcome: io::Result<Ended>,
}

/// A batch whose files are being completed and synced, while the next one comes.
pub(super) struct Ending {
    completing: JoinHandle<Vec<Completed>>,
    /// Which of its files are streams, and what they're called.
    streams: HashMap<u32, Vec<u8>>,
    links: Vec<Link>,
}

impl Restoring {
    /// Every node so far has all its bytes. The disk takes its time with a batch: what it does with this one is waited for at the
    /// end of the next.
    pub(super) fn finish_batch(&mut self) {
        let batch = self.take_batch();
        let ending = Ending {
            completing: std::thread::spawn(move || sync_completed(complete_all(batch))),
            streams: std::mem::take(&mut self.batch_streams),
            links: std::mem::take(&mut self.links),
        };
        if let Some(before) = self.ending.replace(ending) {
            self.name_files(before);
        }
    }

    /// Every batch so far has its names.
    pub(super) fn end_batches(&mut self) {
        if let Some(ending) = self.ending.take() {
            self.name_files(ending);
        }
    }

    /// Every file of a batch that is on the disk gets its name.
    fn name_files(&mut self, ending: Ending) {
        let Ending { completing, streams, links } = ending;
        let completed = completing.join().expect("completing doesn't panic");
        for Completed { index, shown, written, outcome } in completed {
            let placed = outcome.and_then(|ended| match (ended, streams.get(&index)) {
                (Ended::Alike(spot, object), _) => {
                    self.alike(index, &spot, object);
                    Ok(())
                }
                (Ended::Kept(spot), _) => {
                    self.keep(index, &spot);
                    Ok(())
                }
                (Ended::Grown(grown), Some(name)) => {
                    self.keep_stream(index, *grown, name.clone());
                    Ok(())
                }
                (Ended::Grown(grown), None) => self.finish_file(index, *grown, written),
            });
            if let Err(error) = placed {
                self.wasted += written;
                self.not_restored(index, &shown, &error);
            }
        }
        self.finish_links(links);
        self.folders.release();
    }

    fn finish_file(&mut self, index: u32, grown: Grown, written: u64) -> io::Result<()> {
        let Grown { entry, spot, meta, lacking } = grown;
        match self.put(index, &spot, entry, Some(&meta), lacking) {
            // Somebody has put something there meanwhile.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !self.rule.replaces() => {
                self.wasted += written;
                self.keep(index, &spot);
                Ok(())
            }
            put => put,
        }
    }

    /// From the working name to the place. `meta` is of what's new there, and gets what only the place allows.
    pub(super) fn put(
        &mut self,
        index: u32,
        spot: &Spot,
        mut entry: HeldEntry,
        meta: Option<&NodeMeta>,
        mut lacking: Vec<String>,
    ) -> io::Result<()> {
        let put = match put(&mut entry, &spot.folder, &spot.name, self.rule, &self.waits) {
            Ok(put) => put,
            Err(error) => {
                discard(entry);
                return Err(error);
            }
        };
        if put == Put::Now
            && let Some(meta) = meta
        {
            lacking.extend(entry.put_identity(meta));
        }
        self.settle(index, spot, (put, entry.object()?), lacking);
        Ok(())
    }

    /// It's there, or will be.
    fn settle(&mut self, index: u32, spot: &Spot, (put, object): (Put, ObjectId), lacking: Vec<String>) {
        self.decided.insert(index);
        self.done.files += 1;
        self.disks.entry(object.device).or_insert_with(|| spot.folder.clone());
        let place = match put {
            Put::Now => spot.place.clone(),
            Put::AtRestart(waiting) => {
                self.done.at_restart.push(spot.shown.clone());
                [spot.parent(), b"/", &waiting].concat()
            }
        };
        self.places.insert(index, Placed { place, object });
        lacking.into_iter().for_each(|what| self.lack(&spot.shown, what));
    }

    /// The names have reached the disks.
    pub(super) fn sync_names(&mut self) {
        for folder in std::mem::take(&mut self.disks).into_values() {
            if let Err(error) = folder.sync() {
                let what = format!("may not be on the disk yet ({error}); check the disk");
                self.is_full |= is_full(&error);
                self.lack(b"what was restored", what);
            }
        }
    }
}

/// All of them on the disk, or an error in place of the file.
fn sync_completed(mut completed: Vec<Completed>) -> Vec<Completed> {
    let is_written = |one: &&mut Completed| matches!(one.outcome, Ok(Ended::Grown(_)));
    let files = completed.iter().filter_map(|one| match &one.outcome {
        Ok(Ended::Grown(grown)) => Some(grown.entry.file()),
        _ => None,
    });
    let mut unsynced = platform::sync_all(&files.collect::<Vec<_>>()).into_iter();
    for one in completed.iter_mut().filter(is_written) {
        if let Some(error) = unsynced.next().flatten()
            && let Ok(Ended::Grown(grown)) = std::mem::replace(&mut one.outcome, Err(error))
        {
            discard(grown.entry);
        }
    }
    completed
}

/// On several threads, in the order they came.
fn complete_all(batch: Vec<(u32, Growing)>) -> Vec<Completed> {
    let share = batch.len().div_ceil(threads()).max(1);
    let mut batch = batch.into_iter();
    let shares: Vec<Vec<_>> = std::iter::from_fn(|| Some(batch.by_ref().take(share).collect()))
        .take_while(|one: &Vec<_>| !one.is_empty())
        .collect();
    if let [_] = &shares[..] {
        return shares.into_iter().flatten().map(complete).collect();
    }
    std::thread::scope(|scope| {
        let work = |share: Vec<_>| scope.spawn(move || share.into_iter().map(complete).collect::<Vec<_>>());
        let running: Vec<_> = shares.into_iter().map(work).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("completing doesn't panic")).collect()
    })
}

fn complete((index, growing): (u32, Growing)) -> Completed {
    let (shown, written) = (growing.spot.shown.clone(), growing.written());
    Completed { index, shown, written, outcome: growing.complete() }
}
