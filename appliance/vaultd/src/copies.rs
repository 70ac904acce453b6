//! Bringing data back to the disk from where its copies are: tape first, then HQ. And the WAN job's making.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use coffer_format::SegmentId;
use coffer_format::event::Place;
use coffer_format::wire::RefusalCode;
use coffer_link::{Identity, Role};
use coffer_replicator::{Calendar, Rate, WanJob, WanSettings, Window, fetch_segments};
use coffer_vault::restore::Wanted;
use coffer_vault::{Vault, VaultError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::layout::Layout;
use crate::serve::Appliance;
use crate::settings::Settings;

/// Makes the segments that a restore needs present on disk. Returns how many had to be fetched.
pub(crate) fn fetch_for(
    appliance: &Appliance,
    wanted: &Wanted,
    working: &mut dyn FnMut(Value),
) -> Result<usize, VaultError> {
    let reading = appliance.vault.reading();
    let missing = reading.missing_for(wanted)?;
    if missing.is_empty() {
        return Ok(0);
    }
    let count = missing.len();
    working(json!({ "doing": format!("reading {count} segments back") }));
    let mut from_tape = Ok(());
    if let Some(tape) = &appliance.tape {
        from_tape = tape.fetch(&appliance.vault, &missing, working, &mut |segment, bytes| {
            appliance.vault.import_segment(segment, bytes)
        });
    }
    let missing = reading.missing_for(wanted)?;
    match (missing.is_empty(), &appliance.wan, from_tape) {
        (true, ..) => Ok(count),
        // It says which tapes to put in.
        (false, None, Err(error)) => Err(error),
        (false, _, from_tape) => {
            if let Err(error) = from_tape {
                tracing::warn!(%error, "tape didn't give everything; what is left is asked of HQ");
            }
            fetch_from_hq(appliance, &missing).map(|()| count)
        }
    }
}

/// Brings back from HQ what no tape holds any more and the disk doesn't have, so that it's written to tape again. Returns how many
/// segments came back; those of `lost` that didn't are lost here.
pub(crate) fn heal_from_hq(appliance: &Appliance, lost: &BTreeSet<SegmentId>) -> Result<usize, VaultError> {
    let reading = appliance.vault.reading();
    let mut at_hq = Vec::new();
    for segment in lost {
        if reading.copies(*segment)?.iter().any(|place| matches!(place, Place::Hq { .. })) {
            at_hq.push(*segment);
        }
    }
    if !at_hq.is_empty() {
        fetch_from_hq(appliance, &at_hq)?;
    }
    Ok(at_hq.len())
}

fn fetch_from_hq(appliance: &Appliance, missing: &[SegmentId]) -> Result<(), VaultError> {
    let refused = |sentence: String| VaultError::Refused { code: RefusalCode::CopyNeeded, sentence };
    let Some(wan) = &appliance.wan else {
        return Err(refused(format!(
            "{} segments are needed that no tape here holds: put the tapes in that `coffer tape list` names",
            missing.len()
        )));
    };
    let (vault, settings, throttle, segments) =
        (appliance.vault.clone(), wan.settings().clone(), wan.throttle(), missing.to_vec());
    let fetched = tokio::runtime::Handle::current().block_on(fetch_segments(
        &settings,
        Some(throttle),
        &segments,
        move |segment, bytes| vault.import_segment(segment, bytes),
    ));
    fetched.map_err(|error| refused(format!("HQ: {error}")))
}

/// `[hq]` in box.toml.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HqTable {
    /// HOST:PORT
    address: String,
    /// What the line may carry outside every window: `unlimited` or such as `1 Mbit/s`.
    #[serde(default = "unlimited")]
    rate: String,
    #[serde(default)]
    window: Vec<Window>,
}

fn unlimited() -> String {
    "unlimited".into()
}

/// The job that sends to HQ; nothing where the box has none.
pub(crate) fn wan_job(settings: &Settings, layout: &Layout, vault: Arc<Vault>) -> Result<Option<WanJob>> {
    let Some(table) = settings.hq.clone() else { return Ok(None) };
    let table: HqTable = table.try_into().context("box.toml: [hq]")?;
    let identity = Identity::load(&layout.branch())
        .context("this box has not joined HQ: run `cofferd init` with --hq")?;
    let Role::Branch(branch) = identity.role() else {
        bail!("the identity in {} isn't a branch's", layout.branch().display())
    };
    let rate: Rate = table.rate.parse().context("box.toml: hq.rate")?;
    let calendar = Calendar::new(rate, table.window).context("box.toml: hq.window")?;
    let wan =
        WanSettings { address: table.address, identity, branch, calendar, patience: Default::default() };
    Ok(Some(WanJob::new(vault, wan, Arc::new(|| jiff::Zoned::now().datetime()))))
}
