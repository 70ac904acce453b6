//! Bringing data back to the disk from where its copies are: tape first, then HQ. And the WAN job's making.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use coffer_format::SegmentId;
use coffer_format::event::{Event, Place};
use coffer_format::wire::RefusalCode;
use coffer_link::{Identity, Role};
use coffer_replicator::{
    Calendar, Patience, Rate, WanJob, WanSettings, Window, fetch_outlines, fetch_segment, fetch_segments,
    fetch_what_can,
};
use coffer_vault::restore::Wanted;
use coffer_vault::{Rescued, Vault, VaultError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::serve::Appliance;

/// What came of making a restore's segments present on disk.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) segments: usize,
    /// What couldn't be had, and why: files that need it are left out.
    pub(crate) away: BTreeMap<SegmentId, String>,
    /// What a person is asked to do about that.
    pub(crate) requests: Vec<String>,
}

impl Fetched {
    /// An error where anything couldn't be had.
    pub(crate) fn all(self) -> Result<usize, VaultError> {
        let Some((segment, why)) = self.away.first_key_value() else { return Ok(self.segments) };
        let unread =
            || format!("{} segments couldn't be read back (segment {segment}: {why})", self.away.len());
        let sentence = self.requests.first().cloned().unwrap_or_else(unread);
        Err(VaultError::Refused { code: RefusalCode::CopyNeeded, sentence })
    }
}

/// Makes the segments that a restore needs present on disk, from tape, then from HQ. What can't be had keeps the rest from
/// nothing.
pub(crate) fn fetch_for(
    appliance: &Appliance,
    wanted: &Wanted,
    working: &mut dyn FnMut(Value),
) -> Result<Fetched, VaultError> {
    let reading = appliance.vault.reading();
    let missing = reading.missing_for(wanted)?;
    if missing.is_empty() {
        return Ok(Fetched::default());
    }
    let count = missing.len();
    working(json!({ "doing": format!("reading {count} segments back") }));
    let (mut away, mut requests) = from_tape(appliance, &missing, working, &import);
    let missing = reading.missing_for(wanted)?;
    if let (false, Some(wan)) = (missing.is_empty(), &appliance.line) {
        working(json!({ "doing": format!("asking HQ for {} segments", missing.len()) }));
        for (segment, why) in from_hq(appliance, wan, &missing, import_from_hq(wan)) {
            let tape = away.remove(&segment).map(|tape| format!("; {tape}")).unwrap_or_default();
            away.insert(segment, format!("HQ: {why}{tape}"));
        }
    }
    let missing = reading.missing_for(wanted)?;
    away.retain(|segment, _| missing.contains(segment));
    for segment in &missing {
        let nowhere = "no tape here holds it: put the tapes in that `coffer tape list` names";
        away.entry(*segment).or_insert_with(|| nowhere.to_owned());
    }
    if away.is_empty() {
        requests.clear();
    }
    requests.iter().for_each(|request| working(json!({ "doing": request })));
    Ok(Fetched { segments: count - missing.len(), away, requests })
}

/// What is done with a segment that came back.
pub(crate) type PutBack = dyn Fn(&Vault, SegmentId, &[u8]) -> Result<(), VaultError>;

fn import(vault: &Vault, segment: SegmentId, bytes: &[u8]) -> Result<(), VaultError> {
    vault.import_segment(segment, bytes)
}

/// The same with HQ's whole copy. One that isn't what was written counts no more, so that nobody goes by it; it does again once HQ gave a
/// new receipt for it.
pub(crate) fn import_from_hq(
    wan: &WanJob,
) -> impl Fn(&Vault, SegmentId, &[u8]) -> Result<(), VaultError> + Send + 'static {
    let (place, lost) = (Place::Hq { name: wan.settings().branch.clone() }, wan.lost_copies());
    move |vault, segment, bytes| {
        let outcome = vault.import_segment(segment, bytes);
        if let Err(VaultError::Refused { code: RefusalCode::Damaged, .. }) = &outcome
            && !vault.is_read_only()
            && vault.reading().copies(segment)?.contains(&place)
        {
            tracing::error!(%segment, "headquarters' copy isn't what was written; it counts no more");
            vault.audit(
                "box",
                &format!(
                    "headquarters' copy of segment {segment} isn't what was written, and counts no more"
                ),
            )?;
            vault.record(vec![Event::CopyLost { segment, place: place.clone() }])?;
            lost.note(segment);
        }
        outcome
    }
}

/// On a disk that takes no writes: what a restore can't read there is taken from HQ while it goes on.
pub(crate) fn rescue_from_hq(vault: &Arc<Vault>, line: &WanJob) {
    let (settings, throttle) = (line.settings().clone(), line.throttle());
    let (runtime, weak) = (tokio::runtime::Handle::current(), Arc::downgrade(vault));
    vault.reading().rescue_by(Box::new(move |segment| {
        let Some(vault) = weak.upgrade() else { return Rescued::NotReached };
        let fetch = || runtime.block_on(fetch_segment(&settings, Some(throttle.clone()), segment));
        // Whoever reads may be one of the runtime's own.
        let fetched = std::thread::scope(|scope| scope.spawn(fetch).join());
        let (why, rescued) = match fetched {
            Ok(Ok(bytes)) => match vault.import_segment(segment, &bytes) {
                Ok(()) => return Rescued::Brought,
                Err(error) => (error.refusal().sentence, Rescued::NotThere),
            },
            Ok(Err(error)) if error.is_of_line() => (error.sentence(), Rescued::NotReached),
            Ok(Err(error)) => (error.sentence(), Rescued::NotThere),
            Err(_) => ("this is a mistake in cofferd".into(), Rescued::NotThere),
        };
        tracing::warn!(%segment, why, "HQ couldn't give a segment that the disk can't");
        rescued
    }));
}

/// What tape couldn't give, and what a person is to do.
pub(crate) fn from_tape(
    appliance: &Appliance,
    missing: &[SegmentId],
    working: &mut dyn FnMut(Value),
    put_back: &PutBack,
) -> (BTreeMap<SegmentId, String>, Vec<String>) {
    let Some(tape) = &appliance.tape else { return Default::default() };
    let vault = &appliance.vault;
    let fetched =
        tape.fetch_what_can(vault, missing, working, &mut |segment, bytes| put_back(vault, segment, bytes));
    match fetched {
        Ok(lacking) => {
            let requests = lacking.request().into_iter().collect();
            (lacking.segments, requests)
        }
        Err(error) => {
            tracing::warn!(%error, "tape didn't give everything");
            let why = error.refusal().sentence;
            (missing.iter().map(|segment| (*segment, why.clone())).collect(), Vec::new())
        }
    }
}

/// What HQ couldn't give.
pub(crate) fn from_hq(
    appliance: &Appliance,
    wan: &WanJob,
    missing: &[SegmentId],
    put_back: impl Fn(&Vault, SegmentId, &[u8]) -> Result<(), VaultError> + Send + 'static,
) -> BTreeMap<SegmentId, String> {
    let vault = appliance.vault.clone();
    tokio::runtime::Handle::current().block_on(fetch_what_can(
        wan.settings(),
        Some(wan.throttle()),
        missing,
        move |segment, bytes| put_back(&vault, segment, bytes),
    ))
}

/// Of which of these segments HQ couldn't give the beginning.
pub(crate) fn beginnings_from_hq(
    appliance: &Appliance,
    wan: &WanJob,
    segments: &[SegmentId],
    put_right: impl Fn(&Vault, SegmentId, &[u8]) -> Result<(), VaultError> + Send + 'static,
) -> BTreeMap<SegmentId, String> {
    let vault = appliance.vault.clone();
    tokio::runtime::Handle::current().block_on(fetch_outlines(
        wan.settings(),
        Some(wan.throttle()),
        segments,
        move |segment, bytes| put_right(&vault, segment, bytes),
    ))
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
    let import = import_from_hq(wan);
    let fetched = tokio::runtime::Handle::current().block_on(fetch_segments(
        &settings,
        Some(throttle),
        &segments,
        move |segment, bytes| import(&vault, segment, bytes),
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
    /// Headquarters may take nothing for so many minutes before the status says so.
    away_minutes: Option<u32>,
}

fn unlimited() -> String {
    "unlimited".into()
}

/// The job that sends to HQ, as `[hq]` says and as the branch that the box has joined as.
pub(crate) fn wan_job(table: &toml::Table, identity: Identity, vault: Arc<Vault>) -> Result<WanJob> {
    let wan = wan_settings(table, identity)?;
    Ok(WanJob::new(vault, wan, Arc::new(|| jiff::Zoned::now().datetime())))
}

/// Where HQ is, as `[hq]` says, and who the box is there.
pub(crate) fn wan_settings(table: &toml::Table, identity: Identity) -> Result<WanSettings> {
    let table: HqTable = table.clone().try_into().context("box.toml: [hq]")?;
    let Role::Branch(branch) = identity.role() else { bail!("the identity in `branch` isn't a branch's") };
    let rate: Rate = table.rate.parse().context("box.toml: hq.rate")?;
    let calendar = Calendar::new(rate, table.window).context("box.toml: hq.window")?;
    let mut patience = Patience::default();
    if let Some(minutes) = table.away_minutes {
        patience.away = Duration::from_secs(60 * u64::from(minutes));
    }
    Ok(WanSettings { address: table.address, identity, branch, calendar, patience })
}

#[cfg(test)]
mod tests {
    use coffer_format::{OrgId, VaultId};
    use coffer_link::Authority;
    use coffer_vault::disk::RealDisk;
    use coffer_vault::{BoxKey, Opener, Options, RecoveryKey, SystemClock};

    use super::*;

    #[test]
    fn a_copy_at_hq_that_is_not_what_was_written_counts_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, key) = (dir.path().join("vault"), BoxKey::generate().unwrap());
        let (_, public) = RecoveryKey::generate().unwrap();
        let clock = Arc::new(SystemClock);
        Vault::create(&RealDisk, &folder, VaultId([1; 16]), OrgId([2; 16]), [3; 32], &key, &public, &*clock)
            .unwrap();
        let (opener, options) = (Opener::Box(key), Options { reserve_bytes: 0 });
        let vault = Arc::new(Vault::open(Arc::new(RealDisk), &folder, opener, clock, options).unwrap());
        vault.audit("test", "something").unwrap();
        vault.roll().unwrap();
        let closed = vault.segments().unwrap().into_iter().find(|state| state.closed).unwrap();
        let place = Place::Hq { name: "leeds".into() };
        vault.record_copies(vec![(closed.segment, closed.hash.unwrap(), place.clone())]).unwrap();
        let mut bytes = vec![0; closed.bytes as usize];
        vault.reading().read_segment(closed.segment, 0, &mut bytes).unwrap();

        let authority = Authority::create(&dir.path().join("authority"), "Leeds").unwrap();
        let role = Role::Branch("leeds".into());
        let identity = Identity::issue(&authority, role, Duration::from_secs(3600)).unwrap();
        let table = "address = \"localhost:1\"".parse().unwrap();
        let wan = wan_job(&table, identity, vault.clone()).unwrap();
        let import = import_from_hq(&wan);
        import(&vault, closed.segment, &bytes).unwrap();
        assert_eq!(vault.reading().copies(closed.segment).unwrap(), [place]);
        bytes[600] ^= 1;
        import(&vault, closed.segment, &bytes).unwrap_err();
        assert_eq!(vault.reading().copies(closed.segment).unwrap(), []);
    }
}
