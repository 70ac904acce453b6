//! The public half of the organisation's recovery key, for which the escrow is sealed, in two copies: `keys/recovery.pub` and
//! `spare/keys/recovery.pub`. Nothing here could tell by itself that a bit of it has flipped, and what is sealed for such a key opens for
//! nobody: so each copy has a sum with it, and no copy is made of one that doesn't fit its sum.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use coffer_vault::RecoveryPublic;

use crate::layout::Layout;

const SUM_CONTEXT: &str = "coffer 2026-11 sum of a recovery key";
const SUM_LEN: usize = 8;

/// One copy as it was read.
struct Copy {
    key: RecoveryPublic,
    /// Versions before sums wrote none.
    has_sum: bool,
}

/// Which key is noted here, and a sentence where a copy of it was damaged.
pub(crate) struct Noted {
    pub(crate) key: Option<RecoveryPublic>,
    pub(crate) mended: Option<String>,
}

/// The key from whichever copy is sound; the other is made anew from it. Where neither has a sum and they differ, `is_known` says which is
/// right.
pub(crate) fn load(layout: &Layout, is_known: impl Fn(&RecoveryPublic) -> bool) -> Noted {
    let paths = copies(layout);
    let found = paths.each_ref().map(|path| read(path));
    let sound = found.each_ref().map(|copy| copy.as_ref().ok());
    let with_sum = sound.iter().flatten().find(|copy| copy.has_sum);
    let key = match (with_sum, sound) {
        (Some(copy), _) => Some(copy.key),
        (None, [Some(one), Some(other)]) if one.key != other.key => {
            [one.key, other.key].into_iter().find(&is_known)
        }
        (None, [one, other]) => one.or(other).map(|copy| copy.key),
    };
    let Some(key) = key else {
        let is_there = paths.iter().any(|path| path.exists());
        let mended = is_there.then(|| damaged(layout, &found));
        return Noted { key, mended };
    };
    let is_here = sound[0].is_some_and(|copy| copy.key == key);
    let written = write(layout, &key);
    let mended = match (is_here, written) {
        (true, Ok(())) => None,
        (true, Err(error)) => {
            tracing::warn!(error = format!("{error:#}"), "the recovery key's copies aren't up to date");
            None
        }
        (false, written) => {
            let outcome = match written {
                Ok(()) => "it was put back from its second copy".to_owned(),
                Err(error) => format!("its second copy is in use, but it can't be put back: {error:#}"),
            };
            Some(format!(
                "The box's file `keys/recovery.pub` was damaged or missing; {outcome}. Have the disk checked: this sentence goes at the next start."
            ))
        }
    };
    Noted { key: Some(key), mended }
}

/// Notes the key, in place of one that is noted. A copy that has it already is left as it is.
pub(crate) fn write(layout: &Layout, key: &RecoveryPublic) -> Result<()> {
    let text = text_of(key);
    for path in copies(layout) {
        if coffer_link::read_small_file(&path).is_ok_and(|there| there == text.as_bytes()) {
            continue;
        }
        let dir = path.parent().context("the layout has a folder for it")?;
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        coffer_link::write_durable_file(&path, text.as_bytes(), &coffer_link::owner_only())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn copies(layout: &Layout) -> [PathBuf; 2] {
    let first = layout.recovery_public();
    let second = layout.spare(&layout.keys()).join(first.file_name().unwrap_or_default());
    [first, second]
}

/// The key as hex, and the sum of it.
fn text_of(key: &RecoveryPublic) -> String {
    format!("{} {}\n", hex(&key.0), hex(&sum(key)))
}

fn read(path: &Path) -> Result<Copy> {
    let text =
        coffer_link::read_small_text(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut words = text.split_whitespace();
    let key = words.next().and_then(|word| word.parse::<coffer_format::FileHash>().ok());
    let key = RecoveryPublic(key.with_context(|| format!("{} isn't a key", path.display()))?.0);
    match (words.next(), words.next()) {
        (None, _) => Ok(Copy { key, has_sum: false }),
        (Some(word), None) if word == hex(&sum(&key)) => Ok(Copy { key, has_sum: true }),
        _ => bail!("{} doesn't fit its sum", path.display()),
    }
}

fn sum(key: &RecoveryPublic) -> [u8; SUM_LEN] {
    let mut sum = [0; SUM_LEN];
    sum.copy_from_slice(&blake3::derive_key(SUM_CONTEXT, &key.0)[..SUM_LEN]);
    sum
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn damaged(layout: &Layout, found: &[Result<Copy>; 2]) -> String {
    let why = match found {
        [Err(error), _] | [_, Err(error)] => format!("{error:#}"),
        [Ok(_), Ok(_)] => "they differ".into(),
    };
    format!(
        "Both copies of the organisation's recovery key are damaged ({why}), so what a new box would need to take this one's place is as old as the last \
         change before that. Run `cofferd escrow --dir {} --recovery-key FILE`, then restart the box.",
        layout.0.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: RecoveryPublic = RecoveryPublic([0x5a; 32]);

    fn layout(dir: &Path) -> Layout {
        let layout = Layout::new(dir);
        write(&layout, &KEY).unwrap();
        layout
    }

    fn nobody_knows(_: &RecoveryPublic) -> bool {
        false
    }

    #[test]
    fn a_bit_flipped_anywhere_in_either_copy_costs_nothing_and_is_never_copied() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        let whole = fs::read(layout.recovery_public()).unwrap();
        for path in copies(&layout) {
            for at in 0..whole.len() {
                for bit in [0, 5, 7] {
                    let mut flipped = whole.clone();
                    flipped[at] ^= 1 << bit;
                    fs::write(&path, &flipped).unwrap();
                    assert_eq!(load(&layout, nobody_knows).key, Some(KEY), "bit {bit} of byte {at}");
                    for copy in copies(&layout) {
                        assert_eq!(fs::read(&copy).unwrap(), whole, "bit {bit} of byte {at}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_missing_cut_or_damaged_twice_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        let [first, second] = copies(&layout);
        fs::remove_file(&first).unwrap();
        let noted = load(&layout, nobody_knows);
        assert!(noted.key == Some(KEY) && noted.mended.is_some());
        fs::write(&first, b"").unwrap();
        let noted = load(&layout, nobody_knows);
        assert!(noted.key == Some(KEY) && noted.mended.is_some());
        assert!(load(&layout, nobody_knows).mended.is_none());
        for path in [&first, &second] {
            let mut flipped = fs::read(path).unwrap();
            flipped[3] ^= 1;
            fs::write(path, &flipped).unwrap();
        }
        let noted = load(&layout, nobody_knows);
        assert!(noted.key.is_none() && noted.mended.unwrap().contains("cofferd escrow"));
        for path in [&first, &second] {
            fs::remove_file(path).unwrap();
        }
        let noted = load(&layout, nobody_knows);
        assert!(noted.key.is_none() && noted.mended.is_none(), "a box of before has none");
    }

    #[test]
    fn copies_of_before_sums_get_one_and_the_vault_says_which_is_right() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        let whole = fs::read(layout.recovery_public()).unwrap();
        let [first, second] = copies(&layout);
        let bare = |key: &RecoveryPublic| format!("{}\n", hex(&key.0));
        fs::write(&first, bare(&KEY)).unwrap();
        fs::write(&second, bare(&KEY)).unwrap();
        assert_eq!(load(&layout, nobody_knows).key, Some(KEY));
        assert_eq!([fs::read(&first).unwrap(), fs::read(&second).unwrap()], [whole.clone(), whole.clone()]);

        let other = RecoveryPublic([0x5b; 32]);
        for right in [KEY, other] {
            fs::write(&first, bare(&other)).unwrap();
            fs::write(&second, bare(&KEY)).unwrap();
            assert_eq!(load(&layout, |key| *key == right).key, Some(right));
        }
        fs::write(&first, bare(&other)).unwrap();
        fs::write(&second, bare(&KEY)).unwrap();
        let noted = load(&layout, nobody_knows);
        assert!(noted.key.is_none() && noted.mended.unwrap().contains("they differ"));
    }
}
