//! A box with a small simulated library, and what is left of it when only the cartridges are there.

use std::path::Path;
use std::sync::Arc;

use coffer_format::{ComputerId, ConfigId, NodeId, PointSeq, SegmentId};
use coffer_tape::simulator::{LibraryShape, Simulated};
use coffer_tape::{Barcode, Library, NoWaiter};
use coffer_vault::restore::Wanted;
use coffer_vault::{Opener, Vault, VaultError, reclaim};
use coffer_vaultd::restorer::{Conflict, Outcome, Restorer, Sink};
use coffer_vaultd::tape::media::Rules;
use coffer_vaultd::tape::{Ask, FromTape, Pace, Source, TapeJob, TapeVault, Tapes};

use crate::support::Random;
use crate::support::agent::Agent;
use crate::support::fixture::{Fixture, HOUR_MS, enrol};

pub(crate) const FILE_BYTES: usize = 500_000;

pub(crate) struct World {
    pub(crate) fixture: Fixture,
    pub(crate) library: tempfile::TempDir,
    pub(crate) simulated: Simulated,
    pub(crate) job: TapeJob,
    pub(crate) agent: Agent,
    pub(crate) vault: Arc<Vault>,
    pub(crate) config: ConfigId,
    pub(crate) computer: ComputerId,
    pub(crate) random: Random,
}

pub(crate) fn rules() -> Rules {
    Rules {
        branch: "branch".into(),
        offsite: None,
        copies_before_eviction: 1,
        start_bytes: 1 << 20,
        every_ms: HOUR_MS,
        spare_tapes: 0,
        empty_below_percent: 0,
        missing_ms: u64::MAX / 2,
        capacity_bytes: None,
        read_back_bytes: 64 << 20,
    }
}

/// Opens a library's devices as the tape job does.
pub(crate) fn open_library(simulated: &Simulated) -> Library {
    Library::open(simulated.changer(), simulated.drives(), Arc::new(NoWaiter)).unwrap()
}

impl World {
    /// Cartridges of a few megabytes, so that a few files fill one.
    pub(crate) fn new(cartridges: u16) -> World {
        World::with(LibraryShape {
            slots: cartridges.max(2),
            drives: 1,
            mail_slots: 1,
            cartridges,
            capacity_bytes: 8 << 20,
            ..LibraryShape::default()
        })
    }

    pub(crate) fn with(shape: LibraryShape) -> World {
        let fixture = Fixture::real();
        let library = tempfile::tempdir_in(fixture.dir().parent().unwrap()).unwrap();
        let simulated = Simulated::create(library.path(), shape).unwrap();
        let vault = fixture.open();
        let (computer, config) = enrol(&vault, "desk").unwrap();
        let job = TapeJob::new(open_library(&simulated), rules());
        let agent = Agent::new(&vault, computer, config).unwrap();
        World { fixture, library, simulated, job, agent, vault, config, computer, random: Random::new(5) }
    }

    /// A point with one more file.
    pub(crate) fn capture(&mut self, name: &str) -> PointSeq {
        let bytes = self.random.bytes(FILE_BYTES);
        self.agent.make_file(NodeId::ROOT, name, bytes);
        self.fixture.clock.advance(HOUR_MS);
        let point = self.agent.point;
        self.agent.close().unwrap();
        point
    }

    /// A point with another version of a file.
    pub(crate) fn change(&mut self, name: &str) -> PointSeq {
        let node = self.agent.tree.names[&(NodeId::ROOT, name.as_bytes().to_vec())];
        let bytes = self.random.bytes(FILE_BYTES);
        self.agent.rewrite(node, bytes);
        self.fixture.clock.advance(HOUR_MS);
        let point = self.agent.point;
        self.agent.close().unwrap();
        point
    }

    pub(crate) fn write_to_tape(&self) {
        let written = self.job.tend(&self.vault, Pace::Now, &mut |_| {}).unwrap();
        assert_eq!(written.refused, Vec::<String>::new());
    }

    /// Everything off the disk that has a copy on tape. What a session has sent stays, so the agent connects anew.
    pub(crate) fn evict(&mut self) {
        let memory = self.agent.memory.clone();
        self.agent = Agent::resume(&self.vault, self.computer, self.config, memory).unwrap();
        let policy = reclaim::Policy {
            copies_before_eviction: 1,
            free_target_bytes: u64::MAX / 2,
            compact_below_percent: 0,
        };
        self.vault.apply_reclaim(&self.vault.plan_reclaim(policy).unwrap(), "test").unwrap();
    }

    /// Brings segments back as a restore on the box does.
    pub(crate) fn fetch(&self, segments: &[SegmentId]) -> Result<(), VaultError> {
        self.job.fetch(&self.vault, segments, &mut |_| {}, &mut |segment, bytes| {
            self.vault.import_segment(segment, bytes)
        })
    }

    /// Cartridges with something on them.
    pub(crate) fn cartridges(&self) -> Vec<String> {
        let all = self.vault.reading().cartridges().unwrap();
        all.into_iter().filter(|one| one.containers > 0).map(|one| one.barcode).collect()
    }

    /// The box is gone; its cartridges, its library and its key are there.
    pub(crate) fn burn(self) -> Ashes {
        let World { fixture, library, simulated, job, agent, vault, config, .. } = self;
        let points = agent.leave().points;
        drop((simulated, job, vault));
        Ashes { fixture, library, config, points }
    }
}

/// What is left of a box.
pub(crate) struct Ashes {
    pub(crate) fixture: Fixture,
    pub(crate) library: tempfile::TempDir,
    pub(crate) config: ConfigId,
    pub(crate) points: std::collections::BTreeMap<PointSeq, crate::support::tree::Paths>,
}

impl Ashes {
    pub(crate) fn source(&self) -> Source {
        Source::Simulated(self.library.path().into())
    }

    pub(crate) fn opener(&self) -> Opener {
        Opener::Organisation(self.fixture.recovery.0.clone())
    }

    /// Learns what the tapes in the library tell.
    pub(crate) fn read(&self, work: &Path, newest: Option<&str>, ask: Ask) -> TapeVault {
        let tapes = Tapes::of_library(&self.source(), ask).unwrap();
        TapeVault::open(tapes, newest, work, self.opener(), &mut |_| {}).unwrap()
    }

    pub(crate) fn wanted(&self, point: PointSeq, paths: &[&str]) -> Wanted {
        let paths = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        Wanted { config: self.config, point, paths, trusted: true }
    }

    /// Whether a restored file is what it was at that point.
    pub(crate) fn is_right(&self, root: &Path, point: PointSeq, name: &str) -> bool {
        let (_, object) = &self.points[&point][name.as_bytes()];
        std::fs::read(root.join(name)).is_ok_and(|bytes| bytes == *object.bytes)
    }
}

pub(crate) fn restore_to(vault: &mut TapeVault, wanted: &Wanted, root: &Path) -> (Outcome, FromTape) {
    let mut restorer = Restorer::new(root, Conflict::Skip).unwrap();
    let done = vault.restore(wanted, &mut |_| {}, &mut |message| restorer.take(message)).unwrap();
    (restorer.finish(), done)
}

pub(crate) fn nobody() -> Ask {
    Box::new(|_| false)
}

pub(crate) fn barcode(text: &str) -> Barcode {
    text.parse().unwrap()
}
