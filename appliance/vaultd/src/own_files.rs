//! The box's key, authority and identities, each with a second copy. At a start they're loaded from whichever is as it was; while the box
//! runs it's seen to that both are there, before the other one is gone too.

use std::path::Path;

use anyhow::{Context, Result};
use coffer_link::{Authority, Identity};
use coffer_vault::disk::RealDisk;
use coffer_vault::{BoxKey, Opener, Vault};

use crate::layout::Layout;
use crate::serve::Appliance;
use crate::{setup, spare};

/// The box's key, if it opens the vault.
pub(crate) fn key(layout: &Layout, troubles: &mut Vec<String>) -> Result<Opener> {
    let first = layout.box_key();
    let second = layout.spare(&layout.keys()).join(first.file_name().unwrap_or_default());
    let loaded = spare::load_file(&first, &second, |file| {
        let opener = Opener::Box(BoxKey(setup::read_secret(file)?));
        Vault::check_key(&RealDisk, &layout.vault(), &opener).with_context(|| unopened(layout))?;
        Ok(opener)
    })?;
    troubles.extend(loaded.mended);
    Ok(loaded.what)
}

/// What's said of a vault that can't be opened.
fn unopened(layout: &Layout) -> String {
    let vault = layout.vault();
    match vault.join("segments").is_dir() {
        true => "the vault can't be opened".into(),
        false => format!(
            "there's no vault in {}: put it back, or make the box again from what headquarters and tapes have, with `cofferd replace`",
            vault.display()
        ),
    }
}

pub(crate) fn authority(layout: &Layout, troubles: &mut Vec<String>) -> Result<Authority> {
    folder(layout, &layout.authority(), troubles, |dir| Ok(Authority::open(dir)?))
}

pub(crate) fn identity(layout: &Layout, troubles: &mut Vec<String>) -> Result<Identity> {
    folder(layout, &layout.identity(), troubles, |dir| Ok(Identity::load(dir)?))
}

/// Sees to the first operator's identity. It may have been moved to the operator's own computer.
pub(crate) fn operator(layout: &Layout, troubles: &mut Vec<String>) {
    if layout.operator().exists()
        && let Err(error) = folder(layout, &layout.operator(), troubles, |dir| Ok(Identity::load(dir)?))
    {
        troubles.push(format!("The operator's identity can't be used: {error:#}."));
    }
}

pub(crate) fn branch(layout: &Layout, troubles: &mut Vec<String>) -> Result<Identity> {
    folder(layout, &layout.branch(), troubles, |dir| Ok(Identity::load(dir)?))
}

/// What a folder of the box's own holds; from its second copy if need be.
fn folder<T>(
    layout: &Layout,
    dir: &Path,
    troubles: &mut Vec<String>,
    load: impl Fn(&Path) -> Result<T>,
) -> Result<T> {
    let loaded = spare::load(dir, &layout.spare(dir), load)?;
    troubles.extend(loaded.mended);
    Ok(loaded.what)
}

/// Sees to it that all of them are there with their second copies, and the vault's identity. What was wrong is said until the next start.
pub(crate) fn look_after(appliance: &Appliance) {
    let (layout, mut troubles) = (&appliance.layout, Vec::new());
    match appliance.vault.keep_identity() {
        Ok(None) => {}
        Ok(Some(mended)) => troubles.push(mended),
        Err(error) => {
            troubles.push(format!("The vault's identity (vault.id) can't be written again: {error}."))
        }
    }
    let all = [
        (
            "key",
            match layout.vault().join("segments").is_dir() {
                true => key(layout, &mut troubles).map(drop),
                // Nothing says which key is right while the vault isn't there, which others tell.
                false => Ok(()),
            },
        ),
        ("authority", authority(layout, &mut troubles).map(drop)),
        ("identity", identity(layout, &mut troubles).map(drop)),
        (
            "identity of its branch",
            match appliance.wan {
                Some(_) => branch(layout, &mut troubles).map(drop),
                None => Ok(()),
            },
        ),
    ];
    operator(layout, &mut troubles);
    for (what, outcome) in all {
        if let Err(error) = outcome {
            troubles.push(format!(
                "The box's {what} can't be read as it was, and neither can its second copy ({error:#}): put it back before the box is started \
                 again, which goes on with what it has read until then."
            ));
        }
    }
    troubles.into_iter().for_each(|sentence| appliance.trouble(sentence));
}
