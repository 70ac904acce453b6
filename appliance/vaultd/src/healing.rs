//! Damage heals by itself: what is damaged or missing on this disk and still needed comes back from tape, else from HQ. What no
//! copy has, the computers are asked to send again when they next begin a capture; what nobody has is named until it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coffer_format::SegmentId;
use coffer_vault::healing::HealNeed;
use coffer_vault::{Vault, VaultError};
use tokio::time::Instant;

use crate::copies;
use crate::serve::Appliance;

/// A segment that couldn't be healed is tried again after so long, then after twice as long, up to the most.
const FIRST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// What has been tried so far.
#[derive(Default)]
pub(crate) struct Healing {
    waits: BTreeMap<SegmentId, Wait>,
}

struct Wait {
    until: Instant,
    length: Duration,
}

impl Healing {
    /// Heals what is due.
    pub(crate) fn work(&mut self, appliance: &Appliance) {
        if let Err(error) = self.heal(appliance) {
            tracing::error!(%error, "damage couldn't be healed; it's tried again");
        }
    }

    fn heal(&mut self, appliance: &Appliance) -> Result<(), VaultError> {
        let reading = appliance.vault.reading();
        let needs = reading.to_heal()?;
        let needed: BTreeSet<SegmentId> = needs.iter().map(|need| need.segment).collect();
        self.waits.retain(|segment, _| needed.contains(segment));
        let now = Instant::now();
        let due: Vec<HealNeed> = needs
            .into_iter()
            .filter(|need| self.waits.get(&need.segment).is_none_or(|wait| wait.until <= now))
            .collect();
        if due.is_empty() || appliance.vault.is_read_only() {
            return Ok(());
        }
        for by_copy in [true, false] {
            let segments: Vec<SegmentId> =
                due.iter().filter(|need| need.by_copy == by_copy).map(|need| need.segment).collect();
            bring_back(appliance, &segments, by_copy);
        }
        let still: BTreeSet<SegmentId> = reading.to_heal()?.iter().map(|need| need.segment).collect();
        for need in due {
            self.tried(appliance, need.segment, still.contains(&need.segment))?;
        }
        Ok(())
    }

    fn tried(
        &mut self,
        appliance: &Appliance,
        segment: SegmentId,
        is_damaged: bool,
    ) -> Result<(), VaultError> {
        if !is_damaged {
            self.waits.remove(&segment);
            tracing::info!(%segment, "healed from a copy");
            return appliance.vault.audit("box", &format!("segment {segment} was healed from a copy"));
        }
        let length = self.waits.get(&segment).map_or(FIRST_WAIT, |wait| LONGEST_WAIT.min(wait.length * 2));
        self.waits.insert(segment, Wait { until: Instant::now() + length, length });
        Ok(())
    }
}

/// Asks tape, then HQ. Each refusal is in the log; what stays damaged is in the status.
fn bring_back(appliance: &Appliance, segments: &[SegmentId], by_copy: bool) {
    if segments.is_empty() {
        return;
    }
    let put_back = move |vault: &Vault, segment: SegmentId, bytes: &[u8]| match by_copy {
        true => vault.import_segment(segment, bytes),
        false => vault.store_anew(segment, bytes).map(drop),
    };
    let (lacking, _) = copies::from_tape(appliance, segments, &mut |_| {}, &put_back);
    let left: Vec<SegmentId> = match &appliance.tape {
        Some(_) => segments.iter().copied().filter(|segment| lacking.contains_key(segment)).collect(),
        None => segments.to_vec(),
    };
    let Some(wan) = appliance.wan.as_ref().filter(|_| !left.is_empty()) else { return };
    for (segment, why) in copies::from_hq(appliance, wan, &left, put_back) {
        tracing::warn!(%segment, why, "HQ couldn't heal a segment");
    }
}
