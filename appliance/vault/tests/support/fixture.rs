//! A vault in a folder of its own, with keys and a clock that the test holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coffer_format::{ComputerId, ConfigId, FileHash, OrgId, VaultId};
use coffer_vault::disk::{Disk, RealDisk};
use coffer_vault::{BoxKey, ManualClock, Opener, Options, RecoveryKey, RecoveryPublic, Result, Vault};

pub(crate) const HOUR_MS: u64 = 3_600_000;
/// 2026-01-05, a Monday.
pub(crate) const START_MS: u64 = 1_767_571_200_000;

pub(crate) struct Fixture {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) box_key: BoxKey,
    pub(crate) recovery: (RecoveryKey, RecoveryPublic),
    pub(crate) reserve_bytes: u64,
}

impl Fixture {
    /// Keys and a folder, without a vault in it.
    pub(crate) fn empty(disk: Arc<dyn Disk>) -> Fixture {
        // In memory where there's such a place: thousands of catalogs are made here.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Fixture {
            folder: folder.unwrap(),
            disk,
            clock: Arc::new(ManualClock::at(START_MS)),
            box_key: BoxKey::generate().unwrap(),
            recovery: RecoveryKey::generate().unwrap(),
            reserve_bytes: 0,
        }
    }

    /// An empty vault on that disk.
    pub(crate) fn on(disk: Arc<dyn Disk>) -> Fixture {
        let fixture = Fixture::empty(disk);
        fixture.create().unwrap();
        fixture
    }

    /// An empty vault on the real disk.
    pub(crate) fn real() -> Fixture {
        Fixture::on(Arc::new(RealDisk))
    }

    pub(crate) fn create(&self) -> Result<()> {
        let (vault, org) = (VaultId([7; 16]), OrgId([8; 16]));
        Vault::create(
            &*self.disk,
            self.dir(),
            vault,
            org,
            [9; 32],
            &self.box_key,
            &self.recovery.1,
            &*self.clock,
        )
    }

    pub(crate) fn dir(&self) -> &Path {
        self.folder.path()
    }
    pub(crate) fn segment_path(&self, segment: u64) -> PathBuf {
        self.dir().join("segments").join(format!("{segment:016x}.seg"))
    }

    pub(crate) fn try_open(&self) -> Result<Arc<Vault>> {
        let options = Options { reserve_bytes: self.reserve_bytes };
        let opener = Opener::Box(self.box_key.clone());
        Vault::open(self.disk.clone(), self.dir(), opener, self.clock.clone(), options).map(Arc::new)
    }
    pub(crate) fn open(&self) -> Arc<Vault> {
        self.try_open().unwrap()
    }

    pub(crate) fn delete_catalog(&self) {
        for ending in ["", "-wal", "-shm"] {
            let path = self.dir().join(format!("catalog.sqlite{ending}"));
            if path.exists() {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    /// The file of a segment, as a tape or HQ would have copied it.
    pub(crate) fn segment_bytes(&self, segment: u64) -> Vec<u8> {
        let file = self.disk.open(&self.segment_path(segment)).unwrap();
        let mut bytes = vec![0; file.size().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        bytes
    }
}

/// Enrols a computer with one configuration.
pub(crate) fn enrol(vault: &Vault, name: &str) -> Result<(ComputerId, ConfigId)> {
    let secret = FileHash(*blake3::hash(name.as_bytes()).as_bytes());
    vault.issue_code(secret, name, u64::MAX >> 1, "test")?;
    let computer = vault.enrol_computer(secret, "linux", |_| Some(FileHash([1; 32])))?;
    let config = vault.set_configuration(computer, "all", "", "test")?;
    Ok((computer, config))
}
