//! Second copies of the small files that a box can't be without: its key, its authority, its identities. They are kept in step
//! at each start, and one flipped bit in a first copy costs nothing.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use coffer_link::{read_small_file, set_no_folder_aside};

/// What was loaded, and a sentence where the second copy had to serve.
pub(crate) struct Loaded<T> {
    pub(crate) what: T,
    pub(crate) mended: Option<String>,
}

/// Loads what `first` holds by `load`. Where that can't be used and the copy in `second` can, the copy is put back.
pub(crate) fn load<T>(first: &Path, second: &Path, load: impl Fn(&Path) -> Result<T>) -> Result<Loaded<T>> {
    match load(first) {
        Ok(what) => {
            let mended = put_back_missing(first, second);
            // A box whose disk takes no more writes still restores.
            if let Err(error) = copy_files(first, second) {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the second copy of {} isn't up to date",
                    first.display()
                );
            }
            Ok(Loaded { what, mended })
        }
        Err(error) => {
            let Ok(what) = load(second) else { return Err(error) };
            let mended = tell_mended("folder", first, &format!("{error:#}"), copy_files(second, first));
            Ok(Loaded { what, mended: Some(mended) })
        }
    }
}

/// The same of one file.
pub(crate) fn load_file<T>(
    first: &Path,
    second: &Path,
    load: impl Fn(&Path) -> Result<T>,
) -> Result<Loaded<T>> {
    let (what, mended) = match load(first) {
        Ok(what) => {
            if let Err(error) = copy_file(first, second) {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the second copy of {} isn't up to date",
                    first.display()
                );
            }
            (what, None)
        }
        Err(error) => {
            let Ok(what) = load(second) else { return Err(error) };
            let mended = tell_mended("file", first, &format!("{error:#}"), copy_file(second, first));
            (what, Some(mended))
        }
    };
    Ok(Loaded { what, mended })
}

/// What is said where a second copy had to serve.
fn tell_mended(kind: &str, first: &Path, why: &str, put_back: Result<()>) -> String {
    let name = first.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let outcome = match &put_back {
        Ok(()) => "it was put back from its second copy".to_owned(),
        Err(error) => format!("its second copy is in use, but it can't be put back: {error:#}"),
    };
    tracing::warn!(why, "{} couldn't be used: {outcome}", first.display());
    format!(
        "The box's {kind} `{name}` was damaged ({why}); {outcome}. Have the disk checked: this sentence goes at the next start."
    )
}

/// Files that nothing reads at each start, and that are gone or empty, come back as well. Those that are there stay: they are
/// newer than their copies.
fn put_back_missing(first: &Path, second: &Path) -> Option<String> {
    let folder = first.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // There are no second copies before the first start.
    if !second.exists() {
        return None;
    }
    let is_missing = |there: &[u8], copy: &[u8]| there.is_empty() && !copy.is_empty();
    match copy_files_where(second, first, is_missing) {
        Ok(0) => None,
        Ok(_) => Some(format!(
            "A file of the box's folder `{folder}` was missing; it was put back from its second copy. Have the disk checked: this sentence \
             goes at the next start."
        )),
        Err(error) => Some(format!(
            "A file of the box's folder `{folder}` is missing, and its second copy can't be put back: {error:#}."
        )),
    }
}

/// Makes the files of `to` those of `from`: only what differs is written.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    copy_files_where(from, to, |there, copy| there != copy).map(drop)
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let bytes = read_small_file(from).with_context(|| format!("cannot read {}", from.display()))?;
    if read_small_file(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    make_private_dir(to.parent().context("a file lies in a folder")?)?;
    let facts = fs::metadata(from).with_context(|| format!("cannot read {}", from.display()))?;
    write_as(&facts, &bytes, to)
}

/// Writes a file for the eyes that another one is for.
fn write_as(facts: &fs::Metadata, bytes: &[u8], to: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    options.mode(facts.mode() & 0o777);
    coffer_link::write_durable_file(to, bytes, &options)
        .with_context(|| format!("cannot write {}", to.display()))
}

fn make_private_dir(dir: &Path) -> Result<()> {
    set_no_folder_aside(dir).with_context(|| format!("cannot move aside {}", dir.display()))?;
    let mut private = fs::DirBuilder::new();
    private.recursive(true).mode(0o700);
    private.create(dir).with_context(|| format!("cannot make {}", dir.display()))
}

/// Copies those files of which `is_wanted`, asked with what is there (nothing where there's no file) and what would come, says so.
/// Returns how many.
fn copy_files_where(from: &Path, to: &Path, is_wanted: impl Fn(&[u8], &[u8]) -> bool) -> Result<usize> {
    let mut copied = 0;
    make_private_dir(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (name, facts) = (entry.file_name(), entry.metadata()?);
        // A new version that isn't in place yet begins with a dot.
        if !facts.is_file() || name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let (source, target) = (entry.path(), to.join(&name));
        let bytes = read_small_file(&source).with_context(|| format!("cannot read {}", source.display()))?;
        // What can't be read isn't there.
        if !is_wanted(&read_small_file(&target).unwrap_or_default(), &bytes) {
            continue;
        }
        write_as(&facts, &bytes, &target)?;
        copied += 1;
    }
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use coffer_link::{Authority, Identity, Role};

    use super::*;

    fn identity(dir: &Path) -> Result<Identity> {
        Ok(Identity::load(dir)?)
    }

    #[test]
    fn each_file_of_an_identity_may_be_flipped_cut_or_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("identity"), dir.path().join("spare/identity"));
        let authority = Authority::create(&dir.path().join("authority"), "Leeds").unwrap();
        let role = Role::Operator("local".into());
        Identity::issue(&authority, role, Duration::from_secs(3600)).unwrap().save(&first).unwrap();
        let whole = load(&first, &second, identity).unwrap();
        assert!(whole.mended.is_none());
        for name in ["key.pem", "certificate.pem", "authority.pem"] {
            let path = first.join(name);
            let good = fs::read(&path).unwrap();
            let mut flipped = good.clone();
            flipped[good.len() / 2] ^= 1;
            for bad in [Some(flipped), Some(good[..good.len() / 2].to_vec()), Some(Vec::new()), None] {
                match bad {
                    Some(bytes) => fs::write(&path, bytes).unwrap(),
                    None => fs::remove_file(&path).unwrap(),
                }
                let loaded = load(&first, &second, identity).unwrap();
                assert_eq!(loaded.what.certificate_hash(), whole.what.certificate_hash(), "{name}");
                if loaded.mended.is_some() {
                    assert_eq!(fs::read(&path).unwrap(), good, "{name} is put back");
                } else {
                    fs::write(&path, &good).unwrap();
                }
            }
        }
    }

    /// What differs and loads all the same is text between the keys, and means nothing.
    #[test]
    fn a_bit_flipped_anywhere_in_an_authority_or_an_identity_changes_nothing() {
        // In memory where there's such a place: thousands of files are made durable.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let dir = dir.unwrap();
        let authority = Authority::create(&dir.path().join("authority"), "Leeds").unwrap();
        let role = Role::Operator("local".into());
        let issued = Identity::issue(&authority, role, Duration::from_secs(3600)).unwrap();
        issued.save(&dir.path().join("identity")).unwrap();
        let parts = |name: &str, dir: &Path| -> Result<Vec<Vec<u8>>> {
            Ok(match name {
                "authority" => {
                    let found = Authority::open(dir)?;
                    vec![found.certificate_der().into(), found.key_der().into()]
                }
                _ => {
                    let found = Identity::load(dir)?;
                    vec![
                        found.certificate_der().into(),
                        found.issuer_der().into(),
                        found.authority_der().into(),
                    ]
                }
            })
        };
        for name in ["authority", "identity"] {
            let (first, second) = (dir.path().join(name), dir.path().join("spare").join(name));
            let whole = load(&first, &second, |dir| parts(name, dir)).unwrap().what;
            for entry in fs::read_dir(&first).unwrap() {
                let path = entry.unwrap().path();
                let good = fs::read(&path).unwrap();
                for at in 0..good.len() {
                    let mut flipped = good.clone();
                    flipped[at] ^= 1 << (at % 8);
                    fs::write(&path, &flipped).unwrap();
                    let loaded = load(&first, &second, |dir| parts(name, dir)).unwrap();
                    assert!(loaded.what == whole, "byte {at} of {}", path.display());
                    fs::write(&path, &good).unwrap();
                }
            }
        }
    }

    /// The first copies may be newer: of a box that was replaced, or enrolled anew.
    #[test]
    fn what_is_missing_comes_back_and_what_is_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("keys"), dir.path().join("spare"));
        fs::create_dir(&first).unwrap();
        fs::create_dir(&second).unwrap();
        fs::write(first.join("box.key"), b"new").unwrap();
        fs::write(second.join("box.key"), b"old").unwrap();
        fs::write(second.join("recovery.pub"), b"public").unwrap();
        let loaded = load(&first, &second, |dir| Ok(fs::read(dir.join("box.key"))?)).unwrap();
        assert!(loaded.mended.is_some() && loaded.what == b"new");
        for copy in [&first, &second] {
            assert_eq!(fs::read(copy.join("box.key")).unwrap(), b"new");
            assert_eq!(fs::read(copy.join("recovery.pub")).unwrap(), b"public");
        }
    }

    #[test]
    fn where_both_are_damaged_the_first_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let Err(error) = load(&dir.path().join("identity"), &dir.path().join("spare"), identity) else {
            panic!("nothing was there to be loaded")
        };
        assert!(format!("{error:#}").contains("identity"), "{error:#}");
    }
}
