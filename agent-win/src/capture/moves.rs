//! What's moved while a look goes on.
//!
//! A file that goes from a folder that isn't listed yet into one that is, is met in neither. So once a look is through, the folders
//! in which names came or went since they were listed are listed again, close together, until all that the look listed stand as
//! they were listed: then there was one instant at which each file was where it was met. Only then a name that isn't there any more
//! is taken back. Where folders change too fast for that, the point says so, and keeps what it can't tell moved from removed.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use coffer_format::NodeId;
use coffer_format::entry::RemarkKind;
use coffer_format::op::Name;

use super::CaptureError;
use super::identity::is_same_here;
use super::pass::{Here, Pass};
use super::seen::is_as_seen;
use crate::scan::{Listing, Names, Pending, Walk};

/// Each lists what changed since and goes to the folders that are new.
const ROUNDS_MAX: usize = 8;
/// How long the rounds of one look, and of all looks of a capture, may wait for folders to stand. Times on some file systems are as
/// coarse as two seconds.
const LOOK_TIME: Duration = Duration::from_secs(5);
pub(super) const TIME: Duration = Duration::from_secs(10);
/// Until a folder that has just changed is listed again.
const PAUSE: Duration = Duration::from_millis(5);
/// The system tells this many entries at once, between two changes of a folder.
const TOLD_AT_ONCE: usize = 300;
const MAY_HAVE_MOVED: &str = "isn't there any more and may have been moved, for folders changed faster than they could be listed; the point keeps it as the last \
     one had it, and the next one looks again";
/// At most so many names wait until it's known whether what they were names of has moved.
const LEAVING_MAX: usize = 100_000;

type Result<T> = std::result::Result<T, CaptureError>;

/// Names that the box has and that weren't met: by folder and name, with the path that's shown of each.
pub(super) type Leaving = BTreeMap<(NodeId, Name), Vec<u8>>;

/// Folders that were listed close together.
struct Together {
    listings: Vec<Listing>,
    /// Folders that kept changing.
    restless: Vec<Pending>,
}

impl Pass<'_> {
    /// A name that the box has isn't there.
    pub(super) fn leave(&mut self, here: &Here<'_>, name: Name) -> Result<()> {
        self.taken_back.insert(name.as_bytes().to_vec());
        self.leaving.insert((here.node, name.clone()), here.child(name.as_bytes()));
        if self.leaving.len() >= LEAVING_MAX {
            // So much isn't renamed within one look.
            self.take_leaving_back()?;
        }
        Ok(())
    }

    /// After all was listed: meets what was moved meanwhile.
    pub(super) fn follow_moves(&mut self, walk: &mut Walk) -> Result<()> {
        let (view, began) = (self.reading.view.clone(), Instant::now());
        let deadline = began + self.patience.min(LOOK_TIME);
        let mut restless = Vec::new();
        for round in 0.. {
            let changed = self.seen.take_changed(&view);
            if changed.is_empty() {
                break;
            }
            if round == ROUNDS_MAX {
                restless = changed;
                break;
            }
            self.know_what_was_sent()?;
            self.begin_round();
            let together = self.list_together(walk, changed, deadline)?;
            restless = together.restless;
            let is_all_met = self.meet(walk, together.listings)? & !self.look_at_other_names(walk)?;
            if is_all_met || !restless.is_empty() {
                break;
            }
        }
        self.patience = self.patience.saturating_sub(began.elapsed());
        self.lacks |= self.seen.is_overfull() || !self.vanished.is_empty();
        self.keep_moved_on()?;
        match restless.is_empty() {
            true => self.take_leaving_back(),
            false => self.say_restless(&restless),
        }
    }

    /// A look at what was noticed doesn't go to where things went meanwhile: they keep their place until the next one, which does.
    fn keep_moved_on(&mut self) -> Result<()> {
        if !self.is_partial || self.leaving.is_empty() || self.watch.is_none() {
            return Ok(());
        }
        self.reading.outlet.settle()?;
        let unmet = self.take_unmet()?;
        let Some(watch) = self.watch.as_mut() else { return Ok(()) };
        watch.catch_up();
        for (place, path) in unmet {
            match watch.has_moved_on(&path) {
                Some(true) => {}
                Some(false) => {
                    self.leaving.insert(place, path);
                }
                None => self.reading.report.add(RemarkKind::Changed, &path, MAY_HAVE_MOVED),
            }
        }
        Ok(())
    }

    /// Looks at folders that were listed close together, and at all in those that are new; whether nothing was new, nor gone by then.
    fn meet(&mut self, walk: &mut Walk, listings: Vec<Listing>) -> Result<bool> {
        let mut is_all_met = true;
        for listing in listings {
            if !self.is_of_its_node(&listing)? {
                is_all_met = false;
                continue;
            }
            self.listing(walk, listing)?;
            is_all_met &= walk.is_done();
            self.walk_on(walk)?;
        }
        self.read_deferred()?;
        Ok(is_all_met && self.vanished.is_empty())
    }

    /// Whether what was listed at a path is still the folder that was listed there before.
    fn is_of_its_node(&self, listing: &Listing) -> Result<bool> {
        let Ok((_, Some(seen), _)) = &listing.entries else { return Ok(true) };
        let known = self.reading.journal.node(listing.node)?;
        Ok(known.is_none_or(|known| is_same_here(&known.stat, &seen.stat)))
    }

    /// Lists folders again and again until none has changed since the last time, nor any other that this look has listed.
    fn list_together(&mut self, walk: &Walk, changed: Vec<Pending>, deadline: Instant) -> Result<Together> {
        let view = self.reading.view.clone();
        let mut listings: BTreeMap<Vec<u8>, Listing> = BTreeMap::new();
        let mut pending = changed;
        loop {
            self.reading.progress.check()?;
            let listed_now: Vec<Vec<u8>> = pending.iter().map(|one| one.path.clone()).collect();
            for one in std::mem::take(&mut pending) {
                listings.insert(one.path.clone(), walk.list_now(one));
            }
            // Every one of them, however long ago in here it was listed: all must stand when the last of them is listed.
            pending = listings.values().filter(|listing| !is_as_listed(listing)).map(again).collect();
            let is_one = match (&listed_now[..], &pending[..]) {
                ([listed], [changed]) => *listed == changed.path && is_listed_at_once(&listings[listed]),
                _ => false,
            };
            // Whatever comes into the only one that changes came from another, which would have changed as well.
            let is_quiet = pending.is_empty() || is_one;
            if is_quiet {
                let others = self.seen.take_changed(&view);
                if others.is_empty() {
                    return Ok(Together { listings: listings.into_values().collect(), restless: Vec::new() });
                }
                pending.extend(others);
            }
            if Instant::now() >= deadline {
                return Ok(Together { listings: listings.into_values().collect(), restless: pending });
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// As at the beginning of a look: what this one has sent so far is in the journal from now on.
    pub(super) fn know_what_was_sent(&mut self) -> Result<()> {
        self.reading.outlet.settle()?;
        self.visited.clear();
        self.taken_over.clear();
        self.stream_names.clear();
        Ok(())
    }

    /// What was gone by the time that it was to be read is met again, or isn't there.
    fn begin_round(&mut self) {
        for path in std::mem::take(&mut self.vanished) {
            self.reading.report.forget(&path);
        }
    }

    pub(super) fn walk_on(&mut self, walk: &mut Walk) -> Result<()> {
        while let Some(listing) = walk.next() {
            self.reading.progress.check()?;
            self.listing(walk, listing)?;
            self.reading.outlet.breathe()?;
        }
        Ok(())
    }

    /// Names in a folder that's listed anew.
    pub(super) fn return_leaving(&mut self, node: NodeId, names: &Names) {
        if self.leaving.is_empty() {
            return;
        }
        self.leaving.retain(|(folder, name), _| {
            let is_listed = match names {
                Names::These(names) => names.iter().any(|one| one == name.as_bytes()),
                Names::All | Names::Here => true,
            };
            *folder != node || !is_listed
        });
    }

    fn take_leaving_back(&mut self) -> Result<()> {
        for (folder, name) in std::mem::take(&mut self.leaving).into_keys() {
            self.take_streams_back(folder, name.as_bytes())?;
            self.reading.outlet.unlink(folder, name)?;
        }
        Ok(())
    }

    /// What was met elsewhere loses its old name; the rest may be anywhere.
    fn say_restless(&mut self, restless: &[Pending]) -> Result<()> {
        self.is_restless = true;
        self.reading.outlet.settle()?;
        let kept = self.take_unmet()?;
        self.take_leaving_back()?;
        for path in kept.values() {
            self.reading.report.add(RemarkKind::Changed, path, MAY_HAVE_MOVED);
        }
        for folder in restless {
            let what = "changed faster than it could be listed: what was moved into it or out of it meanwhile may be in this point \
                        twice, or be missing; the next one looks again";
            self.reading.report.add(RemarkKind::Changed, &folder.path, what);
        }
        Ok(())
    }

    /// Takes out the names of what wasn't met elsewhere. What was sent so far is in the journal.
    fn take_unmet(&mut self) -> Result<Leaving> {
        let leaving = std::mem::take(&mut self.leaving);
        let old: HashSet<&(NodeId, Name)> = leaving.keys().collect();
        let (mut met, mut unmet) = (Leaving::new(), Leaving::new());
        for (place, path) in &leaving {
            let known = self.reading.journal.child(place.0, place.1.as_bytes())?;
            let names = known.map_or(Ok(Vec::new()), |known| self.reading.journal.names(known.node))?;
            let has_another = names.iter().any(|name| !old.contains(name));
            let to = if has_another { &mut met } else { &mut unmet };
            to.insert(place.clone(), path.clone());
        }
        self.leaving = met;
        Ok(unmet)
    }

    /// A file or folder isn't there any more where it was listed.
    pub(super) fn vanished(&mut self, path: &[u8]) {
        self.vanished.insert(path.to_vec());
    }
}

/// Whether a folder stands as it was listed. One that can't be listed is told of where its listing is looked at; one that isn't at
/// its path any more, by the folder that it's in.
fn is_as_listed(listing: &Listing) -> bool {
    match &listing.entries {
        Ok((directory, Some(seen), _)) => directory.stat().is_ok_and(|now| is_as_seen(seen, &now)),
        Ok((_, None, _)) | Err(_) => true,
    }
}

fn is_listed_at_once(listing: &Listing) -> bool {
    listing.entries.as_ref().is_ok_and(|(_, _, entries)| entries.len() <= TOLD_AT_ONCE)
}

fn again(listing: &Listing) -> Pending {
    let Listing { path, node, names, .. } = listing;
    let names = match names {
        Names::These(_) => names.clone(),
        Names::All | Names::Here => Names::Here,
    };
    Pending { path: path.clone(), node: *node, from: None, is_mount: false, names, is_hinted: true }
}
