//! A set of snapshots: begun, prepared, taken, and deleted whatever happens.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use super::backup::{Backup, ComponentName};
use super::com::Com;
use crate::standstill::NamedFiles;
use crate::vss::{Guid, Patience, Refusal, Status, VssError};

/// Volumes as they were at one moment. It must be given up on the thread that took it; a process that ends without
/// doing so has its snapshots deleted by Windows.
#[derive(Debug)]
pub(crate) struct Snapshot {
    // Dropped first: it's COM's.
    backup: Backup,
    _com: Com,
    stage: Stage,
    set: Guid,
    patience: Patience,
    components: Vec<ComponentName>,
    named: Vec<NamedFiles>,
    /// Writers that are in the applications' descriptions.
    described: Vec<Guid>,
    mounts: Vec<(Vec<u8>, PathBuf)>,
    live: Vec<String>,
    refusals: Vec<(Option<Guid>, Refusal)>,
}

/// How far it has come: what must be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Chosen,
    Begun,
    Made,
    /// The applications know how the backup ended.
    Told,
    Gone,
}

/// What a snapshot is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) components: Vec<ComponentName>,
    pub(super) named: Vec<NamedFiles>,
    pub(super) described: Vec<Guid>,
    pub(super) refusals: Vec<Refusal>,
    pub(super) live: Vec<String>,
}

impl Snapshot {
    pub(super) fn new(backup: Backup, com: Com, patience: Patience, parts: Parts) -> Snapshot {
        let Parts { components, named, described, refusals, live } = parts;
        let refusals = refusals.into_iter().map(|refusal| (None, refusal)).collect();
        let (stage, set, mounts) = (Stage::Chosen, Guid::NONE, Vec::new());
        Snapshot {
            backup,
            _com: com,
            stage,
            set,
            patience,
            components,
            named,
            described,
            mounts,
            live,
            refusals,
        }
    }

    pub(super) fn backup(&self) -> &Backup {
        &self.backup
    }

    /// From here on there's something to be undone.
    pub(super) fn begun(&mut self, set: Guid) {
        (self.set, self.stage) = (set, Stage::Begun);
    }

    /// Lets the applications prepare, and takes the snapshots; `stop` ends it.
    pub(super) fn make(&mut self, stop: &AtomicBool) -> Result<(), VssError> {
        self.backup.prepare(self.patience.prepare, stop)?;
        self.look(stop)?;
        // Even one that fails or takes too long may leave snapshots.
        self.stage = Stage::Made;
        self.backup.make_snapshots(self.patience.snapshot, stop)?;
        self.look(stop)
    }

    pub(super) fn mounted(&mut self, mounts: Vec<(Vec<u8>, PathBuf)>) {
        self.mounts = mounts;
    }

    /// Whether an application failed in a way that may pass.
    pub(super) fn is_worth_another_try(&self) -> bool {
        self.refusals.iter().any(|(_, refusal)| refusal.code.is_worth_another_try())
    }

    /// Path bytes of each volume (its drive letter or mount point: `/C:`, `/C:/mnt/data`) and the root to read instead.
    pub(crate) fn mounts(&self) -> &[(Vec<u8>, PathBuf)] {
        &self.mounts
    }

    /// What the applications count on, of all that's to be captured whole.
    pub(crate) fn named_files(&self) -> &[NamedFiles] {
        &self.named
    }

    /// What can't have a snapshot and has to be read as it is: a sentence for each.
    pub(crate) fn live(&self) -> &[String] {
        &self.live
    }

    /// Applications that refused or couldn't take part. None: all that takes part is as its application wants it.
    pub(crate) fn refusals(&self) -> Vec<Refusal> {
        self.refusals.iter().map(|(_, refusal)| refusal.clone()).collect()
    }

    /// The description of the backup, then that of each application, as XML with a name: to be kept with the point. A
    /// restore by the applications' own rules needs them. They are there until `finish`.
    pub(crate) fn documents(&self) -> Result<Vec<(String, Vec<u8>)>, VssError> {
        let mut documents = vec![("backup.xml".to_owned(), self.backup.document()?.into_bytes())];
        for writer in self.backup.writers()? {
            let named = writer.application().and_then(|application| Ok((application, writer.document()?)));
            let (application, document) = named.map_err(|code| crate::vss::Step::Documents.failed(code))?;
            let name = format!("{} {}.xml", application.name, application.instance);
            documents.push((name, document.into_bytes()));
        }
        Ok(documents)
    }

    /// Tells the applications whether their files are safe, and deletes the snapshots. Gives who refused that hadn't
    /// before. Where the backup didn't succeed, the applications hear of no backup at all: none begins its log anew.
    pub(crate) fn finish(mut self, succeeded: bool) -> Result<Vec<Refusal>, VssError> {
        let before = self.refusals.len();
        self.tell(succeeded)?;
        self.stage = Stage::Told;
        self.backup.free_metadata()?;
        self.backup.delete(self.set)?;
        self.stage = Stage::Gone;
        Ok(self.refusals.split_off(before).into_iter().map(|(_, refusal)| refusal).collect())
    }

    fn tell(&mut self, succeeded: bool) -> Result<(), VssError> {
        for component in &self.components {
            let refused = self.refusals.iter().any(|(writer, _)| *writer == Some(component.instance));
            self.backup.set_succeeded(component, succeeded && component.is_whole && !refused)?;
        }
        if !succeeded {
            return self.backup.abort();
        }
        // Their data is safe by now: nobody's wish to stop keeps them from hearing of it.
        let no_stop = AtomicBool::new(false);
        self.backup.complete(self.patience.complete, &no_stop)?;
        self.stage = Stage::Told;
        self.look(&no_stop)
    }

    /// Notes who isn't well by now.
    fn look(&mut self, stop: &AtomicBool) -> Result<(), VssError> {
        for status in self.backup.statuses(self.patience.status, stop)? {
            let is_known = self.refusals.iter().any(|(writer, _)| *writer == Some(status.instance));
            if !is_known
                && self.matters(&status)
                && let Some(refusal) = status.refusal()
            {
                tracing::warn!(%refusal, "an application refuses");
                self.refusals.push((Some(status.instance), refusal));
            }
        }
        Ok(())
    }

    /// One that has nothing here may be as it likes; one that couldn't say what it has may have something here.
    fn matters(&self, status: &Status) -> bool {
        let takes_part = self.components.iter().any(|component| component.instance == status.instance);
        takes_part || !self.described.contains(&status.instance)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let stage = self.stage;
        let mut undone = Ok(());
        if (Stage::Begun..=Stage::Made).contains(&stage) {
            undone = self.backup.abort();
        }
        if (Stage::Made..=Stage::Told).contains(&stage) {
            undone = undone.and(self.backup.delete(self.set));
        }
        if let Err(error) = undone {
            tracing::warn!(%error, "a snapshot couldn't be given up; Windows deletes it when the agent ends");
        }
    }
}
