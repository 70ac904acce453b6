//! A box that used a simulated library and doesn't any more: what it "wrote to tape" lies on its own disk.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use coffer_vault::Vault;

use crate::layout::Layout;
use crate::settings::Settings;

/// Makes the copies in a simulated library count no more where the settings ask for none. Nothing leaves the disk because of
/// them from then on, and what lies there alone is named.
pub(crate) fn leave(settings: &Settings, layout: &Layout, vault: &Vault) -> Result<()> {
    if settings.tape.enabled && settings.tape.simulated {
        return Ok(());
    }
    if !vault.reading().knows_simulated()? {
        let left_behind = left_behind(layout).unwrap_or_else(|error| {
            tracing::error!(%error, "the simulated library's tapes aren't known; remove its folder");
            BTreeSet::new()
        });
        vault.note_simulated(&left_behind)?;
    }
    let given_up = vault.give_up_simulated()?;
    if !given_up.is_empty() {
        tracing::warn!(?given_up, "copies in the simulated library count no more");
    }
    Ok(())
}

/// Cartridges of the simulated library in the box's folder: from before it was noted which they are.
fn left_behind(layout: &Layout) -> Result<BTreeSet<String>> {
    let path = layout.simulated_library().join("library.json");
    let text = match coffer_link::read_small_text(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let library: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged: remove it", path.display()))?;
    let cartridges = library["cartridges"].as_object().into_iter().flatten();
    Ok(cartridges.map(|(barcode, _)| barcode.clone()).collect())
}
