//! Updates of the agent's program that wait here for computers. The box only hands them on: each agent decides by the vendor's
//! signature. It checks them all the same, so that a mistake shows here first.
//!
//! `updates/TARGET.coffer-update` is for every computer with such a system, `updates/N-TARGET.coffer-update` for computer N alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use coffer_agent::update::trusted_keys;
use coffer_format::limits::{UPDATE_PIECE_MAX, UPDATE_PROGRAM_MAX};
use coffer_format::update::{Target, UPDATE_HEAD_LEN, UpdateHead};
use coffer_format::wire::{Message, RefusalCode};
use coffer_format::{Blob, ComputerId, FileHash, from_bytes};
use coffer_link::{ReleaseKey, open_own_file, set_no_file_aside};
use coffer_vault::VaultError;

const ENDING: &str = "coffer-update";
const INCOMING: &str = "incoming";
/// Longest file of an update.
const FILE_MAX: u64 = UPDATE_HEAD_LEN as u64 + UPDATE_PROGRAM_MAX;

/// The folder of updates, and the keys that count.
pub(crate) struct Updates {
    folder: PathBuf,
    box_folder: PathBuf,
    /// What an operator is bringing; one at a time.
    incoming: Mutex<Option<File>>,
}

impl Updates {
    pub(crate) fn of(box_folder: &Path) -> Updates {
        let (folder, box_folder) = (box_folder.join("updates"), box_folder.to_owned());
        Updates { folder, box_folder, incoming: Mutex::new(None) }
    }

    /// The next bytes of a file that an operator brings; at 0 it begins anew.
    pub(crate) fn bring(&self, at: u64, bytes: &[u8]) -> Result<(), VaultError> {
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        if at == 0 {
            fs::create_dir_all(&self.folder).map_err(unwritten)?;
            let file = self.begin_incoming();
            *incoming = Some(file.map_err(unwritten)?);
        }
        let file = incoming.as_mut().filter(|file| file.metadata().is_ok_and(|meta| meta.len() == at));
        let file = file.ok_or_else(|| refused("the update's bytes came out of order: bring it again"))?;
        if at + bytes.len() as u64 > FILE_MAX {
            return Err(refused(
                "that is longer than any update: bring a file that `coffer release sign` made",
            ));
        }
        file.write_all(bytes).map_err(unwritten)
    }

    fn begin_incoming(&self) -> io::Result<File> {
        let path = self.path(INCOMING);
        set_no_file_aside(&path)?;
        open_own_file(&path, OpenOptions::new().create(true).truncate(true).write(true))
    }

    /// Takes in what was brought, for one computer or for all, once its signature and its bytes are right.
    pub(crate) fn accept(&self, computer: Option<ComputerId>) -> Result<UpdateHead, VaultError> {
        let file = self.incoming.lock().unwrap_or_else(PoisonError::into_inner).take();
        let file = file.ok_or_else(|| refused("no update was brought: bring one first"))?;
        file.sync_all().map_err(unwritten)?;
        let path = self.path(INCOMING);
        let checked = self.check(&path);
        match checked {
            Ok(head) => {
                let place = self.path(&file_name(computer, &head.release.target));
                fs::rename(&path, place).map_err(unwritten)?;
                Ok(head)
            }
            Err(error) => {
                // It's of no use, and overwritten by the next.
                drop(fs::remove_file(&path));
                Err(error)
            }
        }
    }

    fn check(&self, path: &Path) -> Result<UpdateHead, VaultError> {
        let unlike = || refused("that isn't an update: bring a file that `coffer release sign` made");
        let head = read_head(path).ok_or_else(unlike)?;
        let keys = trusted_keys(&self.box_folder).map_err(|error| refused(error.to_string()))?;
        ReleaseKey::check(&keys, &head).map_err(|error| refused(error.to_string()))?;
        let mut file = open_own_file(path, OpenOptions::new().read(true)).map_err(unwritten)?;
        file.seek(SeekFrom::Start(UPDATE_HEAD_LEN as u64)).map_err(unwritten)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file).map_err(unwritten)?;
        match hasher.count() == head.release.len && *hasher.finalize().as_bytes() == head.release.hash.0 {
            true => Ok(head),
            false => Err(refused(
                "the update's bytes aren't those that were signed: take it from its vendor again",
            )),
        }
    }

    /// What there is for a computer with such a system: the newest of its own and everybody's.
    pub(crate) fn offer(&self, computer: ComputerId, target: &Target) -> Option<UpdateHead> {
        let own = [file_name(Some(computer), target), file_name(None, target)];
        let heads = own.iter().filter_map(|name| read_head(&self.path(name)));
        heads.max_by_key(|head| head.release.version)
    }

    /// All that wait here: for whom (nobody: for all), and what.
    pub(crate) fn waiting(&self) -> Vec<(Option<u32>, UpdateHead)> {
        let mut all: Vec<_> =
            self.files().filter_map(|path| Some((only_for(&path), read_head(&path)?))).collect();
        all.sort_by_key(|(computer, head)| (*computer, head.release.version));
        all
    }

    /// Bytes of the program with that hash; none behind its end, or where it's gone.
    pub(crate) fn piece(&self, hash: FileHash, from: u64) -> Message {
        let is_it = |path: &PathBuf| read_head(path).is_some_and(|head| head.release.hash == hash);
        let bytes = self.files().find(is_it).map_or_else(|| Ok(Vec::new()), |path| read_piece(&path, from));
        let bytes = bytes.unwrap_or_else(|error| {
            tracing::warn!(%error, "an update can't be read");
            Vec::new()
        });
        Message::UpdateBytes { at: from, bytes: Blob(bytes) }
    }

    /// Takes back everything that waits; what computers have fetched already isn't.
    pub(crate) fn withdraw(&self) -> Result<usize, VaultError> {
        let files: Vec<PathBuf> = self.files().collect();
        files.iter().try_for_each(fs::remove_file).map_err(unwritten)?;
        Ok(files.len())
    }

    fn files(&self) -> impl Iterator<Item = PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().filter_map(Result::ok);
        entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|ending| ending == ENDING))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn file_name(computer: Option<ComputerId>, target: &Target) -> String {
    match computer {
        Some(computer) => format!("{computer}-{target}.{ENDING}"),
        None => format!("{target}.{ENDING}"),
    }
}

/// The computer that a file is for alone. No target is a number up to its first dash.
fn only_for(path: &Path) -> Option<u32> {
    path.file_stem()?.to_str()?.split_once('-')?.0.parse().ok()
}

fn read_head(path: &Path) -> Option<UpdateHead> {
    let mut bytes = [0; UPDATE_HEAD_LEN];
    open_own_file(path, OpenOptions::new().read(true)).ok()?.read_exact(&mut bytes).ok()?;
    from_bytes(&bytes).ok()
}

fn read_piece(path: &Path, from: u64) -> io::Result<Vec<u8>> {
    let mut file = open_own_file(path, OpenOptions::new().read(true))?;
    file.seek(SeekFrom::Start(from.saturating_add(UPDATE_HEAD_LEN as u64)))?;
    let mut bytes = Vec::new();
    file.take(UPDATE_PIECE_MAX as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn refused(sentence: impl Into<String>) -> VaultError {
    VaultError::Refused { code: RefusalCode::BadRequest, sentence: sentence.into() }
}

fn unwritten(error: io::Error) -> VaultError {
    let code = match error.kind() {
        io::ErrorKind::StorageFull => RefusalCode::DiskFull,
        _ => RefusalCode::Internal,
    };
    VaultError::Refused {
        code,
        sentence: format!("the update can't be kept on the box ({error}): check its disk"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_format::to_bytes;
    use coffer_format::update::Release;
    use coffer_link::ReleaseSigner;

    const PROGRAM: &[u8] = b"a program";

    fn file(signer: &ReleaseSigner, version: &str) -> Vec<u8> {
        let (target, version) = ("x86_64-pc-windows".parse().unwrap(), version.parse().unwrap());
        let (len, hash) = (PROGRAM.len() as u64, FileHash(*blake3::hash(PROGRAM).as_bytes()));
        let head = signer.sign(Release { target, version, trial_s: 60, len, hash }).unwrap();
        [to_bytes(&head).as_slice(), PROGRAM].concat()
    }

    fn bring(updates: &Updates, bytes: &[u8], computer: Option<u32>) -> Result<UpdateHead, VaultError> {
        bytes.chunks(100).enumerate().try_for_each(|(at, piece)| updates.bring(at as u64 * 100, piece))?;
        updates.accept(computer.map(ComputerId))
    }

    #[test]
    fn an_update_for_one_computer_is_offered_to_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let vendor = ReleaseSigner::from_seed(&[1; 32]);
        fs::write(dir.path().join("release.keys"), vendor.key().to_string()).unwrap();
        let updates = Updates::of(dir.path());
        let target = "x86_64-pc-windows".parse().unwrap();
        bring(&updates, &file(&vendor, "0.2.0"), None).unwrap();
        bring(&updates, &file(&vendor, "0.3.0"), Some(7)).unwrap();
        let offered =
            |computer| updates.offer(ComputerId(computer), &target).unwrap().release.version.to_string();
        assert_eq!((offered(7), offered(8)), ("0.3.0".into(), "0.2.0".into()));
        assert_eq!(updates.offer(ComputerId(7), &"aarch64-pc-windows".parse().unwrap()), None);
        let hash = FileHash(*blake3::hash(PROGRAM).as_bytes());
        let rest = Message::UpdateBytes { at: 2, bytes: Blob(PROGRAM[2..].to_vec()) };
        assert_eq!(updates.piece(hash, 2), rest);
        assert_eq!(
            updates.piece(hash, u64::MAX),
            Message::UpdateBytes { at: u64::MAX, bytes: Blob::default() }
        );
        assert_eq!(updates.withdraw().unwrap(), 2);
        assert_eq!(updates.offer(ComputerId(7), &target), None);
    }

    #[test]
    fn what_is_not_a_whole_signed_update_is_not_taken_in() {
        let dir = tempfile::tempdir().unwrap();
        let vendor = ReleaseSigner::from_seed(&[1; 32]);
        let updates = Updates::of(dir.path());
        let whole = file(&vendor, "0.2.0");
        let told = |bytes: &[u8]| bring(&updates, bytes, None).unwrap_err().to_string();
        assert!(told(&whole).contains("isn't signed"), "no key is trusted yet");
        fs::write(dir.path().join("release.keys"), vendor.key().to_string()).unwrap();
        assert!(told(&whole[..whole.len() - 1]).contains("aren't those that were signed"));
        assert!(told(&whole[..100]).contains("isn't an update"));
        assert!(told(b"a text").contains("isn't an update"));
        assert!(updates.bring(5, b"x").is_err(), "the middle of nothing");
        assert!(bring(&updates, &whole, None).is_ok());
    }
}
