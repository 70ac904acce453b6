//! Directories are listed and their entries described by a few threads; one consumer gets the listings and
//! says which directories come next. Last in, first out, so that what's pending stays as small as the tree is deep.
//! At most `LISTINGS_MAX` listings wait for the consumer.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use coffer_format::NodeId;

use crate::clock::now_ns;
use crate::config::{Priority, Scope, Verdict};
use crate::platform::{Directory, stat_path};
use crate::scan::{Asked, ListedEntry, Stat, asked_of};
use crate::standstill::View;

const LISTINGS_MAX: usize = 16;

/// What's said of a mount whose files lie in memory, or are none.
const IN_MEMORY: &str = "what is mounted there is no disk (tmpfs or alike); include it by name to have it captured, or exclude it";

/// Which entries of a directory to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Names {
    /// All of them, and everything below.
    All,
    /// All of them, but not what lies below those that are known already.
    Here,
    These(Vec<Vec<u8>>),
}

/// A directory to be listed.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) path: Vec<u8>,
    pub(crate) node: NodeId,
    /// Open parent and name in it; by path where there's none.
    pub(crate) from: Option<(Arc<Directory>, Vec<u8>)>,
    /// On another device than its parent: what kind of file system it is must be looked at.
    pub(crate) is_mount: bool,
    pub(crate) names: Names,
    /// Something tells that entries of it may have changed.
    pub(crate) is_hinted: bool,
}

/// An open directory, as it was before it was listed, and what was in it.
pub(crate) type Listed = (Arc<Directory>, Option<Seen>, Vec<ListedEntry>);

/// A directory right before it was listed, by the computer's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) stat: Stat,
    pub(crate) at_ns: i64,
}

/// A directory's entries.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) path: Vec<u8>,
    pub(crate) node: NodeId,
    pub(crate) names: Names,
    pub(crate) is_hinted: bool,
    /// It was opened by its path, not from its parent.
    pub(crate) is_by_path: bool,
    pub(crate) entries: io::Result<Listed>,
}

/// A walk in progress.
pub(crate) struct Walk {
    shared: Arc<Shared>,
    listings: Option<Receiver<Listing>>,
    outstanding: usize,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    scope: Arc<Scope>,
    view: Arc<View>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    pending: Vec<Pending>,
    closed: bool,
}

impl Walk {
    pub(crate) fn start((scope, view): (Arc<Scope>, Arc<View>), threads: usize, priority: Priority) -> Walk {
        let shared = Arc::new(Shared { scope, view, queue: Mutex::default(), changed: Condvar::new() });
        let (sender, listings) = sync_channel(LISTINGS_MAX);
        let threads = (0..threads)
            .map(|_| {
                let (shared, sender) = (shared.clone(), sender.clone());
                std::thread::spawn(move || {
                    priority.settle_in();
                    shared.work(&sender);
                })
            })
            .collect();
        Walk { shared, listings: Some(listings), outstanding: 0, threads }
    }

    pub(crate) fn push(&mut self, pending: Pending) {
        self.outstanding += 1;
        self.shared.lock().pending.push(pending);
        self.shared.changed.notify_one();
    }

    /// Lists a directory at once, while the caller waits.
    pub(crate) fn list_now(&self, pending: Pending) -> Listing {
        self.shared.listing(pending)
    }

    /// Whether nothing is pending.
    pub(crate) fn is_done(&self) -> bool {
        self.outstanding == 0
    }

    /// The next listing; `None` once nothing is pending.
    pub(crate) fn next(&mut self) -> Option<Listing> {
        if self.is_done() {
            return None;
        }
        let listing = self.listings.as_ref()?.recv().ok()?;
        self.outstanding -= 1;
        Some(listing)
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        self.listings = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that lists directories panicked");
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, listings: &SyncSender<Listing>) {
        while let Some(pending) = self.take() {
            if listings.send(self.listing(pending)).is_err() {
                return;
            }
        }
    }

    fn listing(&self, pending: Pending) -> Listing {
        // A listing that never comes would be waited for for ever.
        let entries = catch_unwind(AssertUnwindSafe(|| self.entries(&pending)))
            .unwrap_or_else(|_| Err(io::Error::other("the agent failed at listing it; please report this")));
        let Pending { path, node, names, from, is_hinted, .. } = pending;
        Listing { path, node, names, is_hinted, is_by_path: from.is_none(), entries }
    }

    fn take(&self) -> Option<Pending> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            if let Some(pending) = queue.pending.pop() {
                return Some(pending);
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn entries(&self, pending: &Pending) -> io::Result<Listed> {
        let directory = match &pending.from {
            Some((parent, name)) if !self.view.is_root(&pending.path) => parent.open_child(name)?,
            _ => self.view.directory(&pending.path)?,
        };
        let asked = match pending.is_mount || self.scope.leads_over(&pending.path) {
            true if directory.is_pseudo()? => {
                asked_of(&self.scope, &pending.path, &directory, |path| stat_path(&self.view.at(path)))
            }
            _ => Asked::All,
        };
        if asked == Asked::Nothing {
            // Below the root there are always some; below what else is included, somebody may count on it.
            return match self.scope.is_below_include(&pending.path) {
                true => Err(io::Error::new(io::ErrorKind::Unsupported, IN_MEMORY)),
                false => Ok((Arc::new(directory), None, Vec::new())),
            };
        }
        let at_ns = now_ns();
        // The top of all is never told apart from itself.
        let seen = directory.stat().ok().map(|stat| Seen { stat, at_ns });
        let path = std::cell::RefCell::new(pending.path.clone());
        let of = |name: &[u8], is_so: &dyn Fn(&[u8]) -> bool| {
            let mut path = path.borrow_mut();
            path.truncate(pending.path.len());
            path.push(b'/');
            path.extend_from_slice(name);
            is_so(&path)
        };
        let is_wanted = |path: &[u8]| {
            self.scope.verdict(path) != Verdict::Outside
                && (asked == Asked::All || self.scope.leads_over(path))
        };
        let wanted = |name: &[u8]| of(name, &is_wanted);
        let mut entries = match &pending.names {
            Names::All | Names::Here => directory.list(wanted)?,
            Names::These(names) => {
                let entries =
                    names.iter().filter(|name| wanted(name)).filter_map(|name| directory.entry(name));
                // A name in two cases, or its short form as well, is one entry.
                entries
                    .map(|entry| (entry.name.clone(), entry))
                    .collect::<BTreeMap<_, _>>()
                    .into_values()
                    .collect()
            }
        };
        entries
            .retain(|entry| !(entry.is_file() && of(&entry.name, &|path| self.scope.leaves_out_file(path))));
        Ok((Arc::new(directory), seen, entries))
    }
}
