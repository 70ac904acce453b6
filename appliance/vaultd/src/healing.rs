//! Damage heals by itself: what is damaged or missing on this disk and still needed comes back from tape, else from HQ, which also
//! has the beginnings of segments that aren't whole yet. What no copy has, the computers are asked to send again; what
//! nobody has is named until it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coffer_format::SegmentId;
use coffer_format::segment::Stream;
use coffer_vault::healing::HealNeed;
use coffer_vault::{SegmentState, Vault, VaultError};
use tokio::time::Instant;

use crate::copies;
use crate::resending::Resending;
use crate::serve::Appliance;
use crate::waiting::Wait;

/// What was closed with damage is handed on as it is when HQ couldn't be asked for so long.
const ASKS_FOR: Duration = Duration::from_secs(3600);
/// Captures wait so long for copies of lost metadata.
const DONE_WITHOUT: Duration = Duration::from_secs(600);

/// How often it's seen whether every segment's file is there.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What has been tried so far.
pub(crate) struct Healing {
    began: Instant,
    waits: BTreeMap<SegmentId, Wait>,
    /// Since when HQ is there.
    connected_ms: Option<u64>,
    /// When it was last seen whether every segment's file is there.
    looked: Option<Instant>,
    resending: Resending,
}

impl Default for Healing {
    fn default() -> Healing {
        Healing {
            began: Instant::now(),
            waits: BTreeMap::new(),
            connected_ms: None,
            looked: None,
            resending: Resending::default(),
        }
    }
}

impl Healing {
    /// Heals what is due.
    pub(crate) fn work(&mut self, appliance: &Appliance) {
        self.look_for_missing(appliance);
        look_at_suspects(appliance);
        if let Err(error) = self.heal(appliance) {
            tracing::error!(%error, "damage couldn't be healed; it's tried again");
        }
        self.hand_on(appliance);
        if let Err(error) = self.go_on_without(appliance) {
            tracing::error!(%error, "the computers couldn't be asked to make up for lost metadata; it's tried again");
        }
        if let Err(error) = self.resending.work(appliance) {
            tracing::error!(%error, "the computers couldn't be asked for what is lost; it's tried again");
        }
    }

    /// Files that are gone are noticed without anything being read.
    fn look_for_missing(&mut self, appliance: &Appliance) {
        if appliance.vault.is_read_only() {
            return;
        }
        if let Err(error) = appliance.vault.keep_files_in_place() {
            tracing::error!(%error, "a segment that is written to may not be found by its name; it's looked at again");
        }
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return;
        }
        self.looked = Some(Instant::now());
        match appliance.vault.look_for_missing() {
            Ok(0) => {}
            Ok(missing) => tracing::error!(missing, "segments' files are missing"),
            Err(error) => {
                tracing::error!(%error, "it couldn't be seen whether every segment's file is there; it's tried again")
            }
        }
    }

    fn heal(&mut self, appliance: &Appliance) -> Result<(), VaultError> {
        let reading = appliance.vault.reading();
        let needs = reading.to_heal()?;
        let needed: BTreeSet<SegmentId> = needs.iter().map(|need| need.segment).collect();
        self.waits.retain(|segment, _| needed.contains(segment));
        self.forget_waits_when_connected(appliance);
        let due: Vec<HealNeed> = needs
            .into_iter()
            .filter(|need| self.waits.get(&need.segment).is_none_or(Wait::is_over))
            .collect();
        if due.is_empty() || appliance.vault.is_read_only() {
            return Ok(());
        }
        for by_copy in [true, false] {
            let segments: Vec<SegmentId> =
                due.iter().filter(|need| need.by_copy == by_copy).map(|need| need.segment).collect();
            bring_back(appliance, &segments, by_copy);
        }
        let is_due = |segment: &SegmentId| due.iter().any(|need| need.segment == *segment);
        let left = reading.to_heal()?.into_iter().map(|need| need.segment);
        let begun: Vec<_> =
            left.filter(|segment| is_due(segment) && reading.has_beginning(*segment)).collect();
        mend(appliance, &begun);
        let still: BTreeSet<SegmentId> = reading.to_heal()?.iter().map(|need| need.segment).collect();
        appliance.vault.record_unhealed(&still)?;
        let tried = due.iter().map(|need| need.segment).filter(|segment| still.contains(segment)).collect();
        leave_behind(appliance, &tried)?;
        for need in due {
            self.tried(need.segment, still.contains(&need.segment));
        }
        if reading.doubts_catalog()? {
            // What came back may be metadata, which captures wait for.
            appliance.vault.compare_catalog(&mut |_| true)?;
        }
        Ok(())
    }

    /// What HQ couldn't be asked for while it was away is asked for at once.
    fn forget_waits_when_connected(&mut self, appliance: &Appliance) {
        let Some(wan) = &appliance.wan else { return };
        let status = wan.status().borrow().clone();
        let connected_ms = status.connected.then_some(status.since_ms);
        if connected_ms.is_some() && connected_ms != self.connected_ms {
            self.waits.clear();
        }
        self.connected_ms = connected_ms;
    }

    fn tried(&mut self, segment: SegmentId, is_damaged: bool) {
        if !is_damaged {
            self.waits.remove(&segment);
            tracing::info!(%segment, "healed from a copy");
            return;
        }
        let wait = Wait::after(self.waits.get(&segment));
        self.waits.insert(segment, wait);
    }

    /// What was closed with damage is handed on once HQ has nothing that is better, or couldn't be asked for long.
    fn hand_on(&self, appliance: &Appliance) {
        let reading = appliance.vault.reading();
        let is_known = is_known_what_hq_has(appliance);
        for segment in reading.waiting_to_be_mended() {
            if self.is_over() || is_known && !reading.has_beginning(segment) {
                reading.wait_no_longer(segment);
            }
        }
    }

    /// What metadata no copy is known to have, or couldn't be had for long, is done without: the computers compare everything.
    fn go_on_without(&self, appliance: &Appliance) -> Result<(), VaultError> {
        if appliance.vault.is_read_only() {
            return Ok(());
        }
        let reading = appliance.vault.reading();
        if reading.doubts_catalog()? {
            return Ok(());
        }
        let is_promised = |need: &HealNeed| !need.copies.is_empty() || reading.has_beginning(need.segment);
        let is_metadata = |need: &&HealNeed| need.stream == Stream::Meta || need.bytes == 0;
        let comes = reading.to_heal()?.iter().filter(is_metadata).any(is_promised);
        if self.began.elapsed() < DONE_WITHOUT && (comes || !is_known_what_hq_has(appliance)) {
            return Ok(());
        }
        appliance.awaits_no_metadata();
        if appliance.vault.go_on_without_lost_metadata()? {
            tracing::warn!(
                "metadata is missing or came back: all computers compare everything with what the box has"
            );
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.began.elapsed() >= ASKS_FOR
    }
}

/// It is once HQ said how far behind it is.
fn is_known_what_hq_has(appliance: &Appliance) -> bool {
    appliance.wan.as_ref().is_none_or(|wan| wan.status().borrow().behind_bytes.is_some())
}

/// Nothing of a segment is sent from where it's damaged on. Where HQ has nothing better for one that is written to, what comes next goes to
/// another one, which is sent.
fn leave_behind(appliance: &Appliance, damaged: &BTreeSet<SegmentId>) -> Result<(), VaultError> {
    let (vault, Some(wan)) = (&appliance.vault, &appliance.wan) else { return Ok(()) };
    if !wan.status().borrow().connected {
        return Ok(());
    }
    let is_stuck = |state: &SegmentState| !state.closed && damaged.contains(&state.segment);
    if vault.segments()?.iter().any(is_stuck) {
        tracing::warn!(
            "a segment that is written to is damaged and no copy heals it; what comes next goes to another one"
        );
        vault.roll()?;
    }
    Ok(())
}

/// What somebody couldn't read is looked at closely at once, so that it's known as damage and heals.
fn look_at_suspects(appliance: &Appliance) {
    if appliance.vault.is_read_only() {
        return;
    }
    match appliance.vault.look_at_suspects() {
        Ok(0) => {}
        Ok(places) => tracing::error!(places, "damage was found where something couldn't be read"),
        Err(error) => {
            tracing::error!(%error, "what couldn't be read couldn't be looked at closely; it's tried again")
        }
    }
}

/// Puts right what HQ has the beginning of.
fn mend(appliance: &Appliance, segments: &[SegmentId]) {
    let Some(wan) = appliance.wan.as_ref().filter(|_| !segments.is_empty()) else { return };
    let put_right = |vault: &Vault, segment: SegmentId, bytes: &[u8]| vault.mend_segment(segment, bytes);
    let lacking = copies::beginnings_from_hq(appliance, wan, segments, put_right);
    for segment in segments {
        match lacking.get(segment) {
            Some(why) => {
                tracing::warn!(%segment, why, "HQ's copy of a segment's beginning couldn't put it right")
            }
            None => wan.try_again(*segment),
        }
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
    let import = copies::import_from_hq(wan);
    let put_back = move |vault: &Vault, segment: SegmentId, bytes: &[u8]| match by_copy {
        true => import(vault, segment, bytes),
        false => put_back(vault, segment, bytes),
    };
    for (segment, why) in copies::from_hq(appliance, wan, &left, put_back) {
        tracing::warn!(%segment, why, "HQ couldn't heal a segment");
    }
}
