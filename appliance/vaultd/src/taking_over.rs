//! Going on where HQ's mirror is: what the vault's folder lacks comes from there, before the vault is opened.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use coffer_format::event::{Event, Place};
use coffer_format::wire::{Message, SegmentHeld};
use coffer_format::{Lsn, OrgId, SegmentId};
use coffer_link::{BranchFound, EnrolmentCode, Identity, Role, branch_of_code, connect};
use coffer_replicator::{AtHq, Calendar, Rate, WanSettings, fetch_outlines, fetch_what_can, take_over};
use coffer_vault::continuing::{Continuation, Lacking};
use coffer_vault::{Clock, VaultError};
use coffer_vault::{Opener, SystemClock, Vault, vault_in};

use crate::copies::wan_settings;
use crate::joining;
use crate::layout::Layout;
use crate::settings::Settings;

const OTHER_ORGANISATION: &str =
    "this HQ is of another organisation than the vault: ask the right HQ for a code";

/// The branch that a box is at HQ.
pub(crate) struct Branch {
    wan: WanSettings,
    /// HQ's organisation, where it has just been joined.
    org: Option<OrgId>,
}

/// What came from HQ.
#[derive(Debug)]
pub struct FromHq {
    pub segments: usize,
    /// What couldn't be had, and why.
    pub lacking: BTreeMap<SegmentId, String>,
    /// Where the folder's own line is, if it had gone its own way.
    pub set_aside: Option<PathBuf>,
    /// Closed segments that are damaged at HQ.
    pub damaged: usize,
    /// What lacks in segments that were here in part and are damaged at HQ.
    in_part: Vec<Lacking>,
    /// Segments that HQ has whole.
    whole: HashSet<SegmentId>,
    /// The newest metadata record that HQ knows of.
    newest_record: Lsn,
}

impl Branch {
    /// Joins with the code; without one, or with one that a run that broke off has used, the box must have joined before. Nothing
    /// changes at HQ where the code is for another box's branch than the vault's that is here.
    pub(crate) async fn of(layout: &Layout, address: &str, code: Option<&EnrolmentCode>) -> Result<Branch> {
        let org = match code {
            Some(code) if !has_joined(layout, address, code).await? => {
                let found = branch_of_code(address, code).await.context("HQ")?;
                check_vault(layout, found.as_ref())?;
                Some(joining::ask(address, code, "replacement", &layout.branch()).await?.org)
            }
            _ => None,
        };
        let identity = Identity::load(&layout.branch())
            .context("this box hasn't joined HQ: give --code, from `coffer-hq code --replace`")?;
        let Role::Branch(branch) = identity.role() else {
            bail!("the identity in {} isn't a branch's", layout.branch().display())
        };
        let calendar = Calendar::always(Rate::UNLIMITED);
        let wan = WanSettings {
            address: address.to_owned(),
            identity,
            branch,
            calendar,
            patience: Default::default(),
        };
        Ok(Branch { wan, org })
    }

    /// As the box's settings have it.
    fn as_set(settings: &Settings, layout: &Layout) -> Result<Branch> {
        let table = settings.hq.as_ref().context("box.toml names no HQ")?;
        let wan = wan_settings(table, Identity::load(&layout.branch())?)?;
        Ok(Branch { wan, org: None })
    }

    pub(crate) fn check_org(&self, vault: OrgId) -> Result<()> {
        if self.org.is_some_and(|org| org != vault) {
            bail!(OTHER_ORGANISATION);
        }
        Ok(())
    }

    pub(crate) fn name(&self) -> &str {
        &self.wan.branch
    }

    pub(crate) fn note(&self, settings: &mut Settings) {
        joining::note_address(settings, &self.wan.address);
    }
}

/// Whether a run before has joined the code's HQ, and is still who HQ takes the branch for.
async fn has_joined(layout: &Layout, address: &str, code: &EnrolmentCode) -> Result<bool> {
    let Ok(identity) = Identity::load(&layout.branch()) else { return Ok(false) };
    if identity.authority_pin() != code.pin {
        return Ok(false);
    }
    let mut link = connect(address, &identity, Role::Hq, None).await.context("HQ")?;
    link.sender.send(Message::BranchSegments).await?;
    Ok(matches!(link.receiver.recv().await?, Some(Message::BranchHas { .. })))
}

/// Fails where the vault that is here can't be that of the branch.
fn check_vault(layout: &Layout, found: Option<&BranchFound>) -> Result<()> {
    let (Some(found), Some((vault, org))) = (found, vault_in(&layout.vault())) else { return Ok(()) };
    joining::check_place(Some(found), vault)?;
    if found.vault.is_none() && found.org != org {
        bail!(OTHER_ORGANISATION);
    }
    Ok(())
}

/// Completes the vault's folder from HQ: all metadata, and of data that isn't here the outlines. The data itself comes when it's needed.
pub(crate) async fn from_hq(
    layout: &Layout,
    branch: &Branch,
    opener: Opener,
    incomplete: bool,
) -> Result<FromHq> {
    let AtHq { held, whole, newest_record } = take_over(&branch.wan).await.context("HQ")?;
    let is_damaged = |held: &&SegmentHeld| held.hash.is_some() && !whole.contains(&held.segment);
    let damaged: HashSet<SegmentId> = held.iter().filter(is_damaged).map(|held| held.segment).collect();
    let count = damaged.len();
    let mut continuation = Continuation::begin(&layout.vault(), opener, held)?;
    continuation.note_damaged(damaged);
    let mut plan = continuation.plan()?;
    let mut set_aside = None;
    if plan.has_own_line() {
        let to = layout.set_aside(SystemClock.now_ms());
        continuation.set_aside(&plan, &to)?;
        set_aside = Some(to);
        plan = continuation.plan()?;
    }
    let continuation = Arc::new(Mutex::new(continuation));
    let sink = || {
        let continuation = continuation.clone();
        move |segment: SegmentId, bytes: &[u8]| {
            continuation.lock().map_err(|_| VaultError::ReadOnly)?.put(segment, bytes)
        }
    };
    let mut lacking = fetch_outlines(&branch.wan, None, &plan.outlines, sink()).await;
    lacking.extend(fetch_what_can(&branch.wan, None, &plan.whole, sink()).await);
    if let (false, Some((segment, why))) = (incomplete, lacking.first_key_value()) {
        bail!(
            "{} segments couldn't be had from HQ (segment {segment}: {why}). Try again; --incomplete goes on without them",
            lacking.len()
        );
    }
    let segments = plan.outlines.len() + plan.whole.len() - lacking.len();
    let continuation = Arc::into_inner(continuation).and_then(|held| held.into_inner().ok());
    let in_part = continuation.context("taking over from HQ ended badly: start it again")?.finish()?;
    Ok(FromHq { segments, lacking, set_aside, damaged: count, in_part, whole, newest_record })
}

/// Records what HQ knows of and couldn't give, which segments it has whole, and which not any more: the vault may have been copied before it heard of it.
pub(crate) fn take_up(vault: &Vault, branch: &Branch, from_hq: &FromHq) -> Result<()> {
    // Before any other record: no number that HQ knows is given out again.
    vault.go_on_behind(from_hq.newest_record)?;
    let ours = Place::Hq { name: branch.wan.branch.clone() };
    let without = vault.reading().without_copy(|place| *place == ours)?;
    // What is on disk gets its receipt over the line, against which its hash is held.
    let away = without.into_iter().filter(|state| !state.on_disk && from_hq.whole.contains(&state.segment));
    let copies = away.filter_map(|state| Some((state.segment, state.hash?, ours.clone()))).collect();
    vault.record_copies(copies)?;
    for lacking in &from_hq.in_part {
        let what = "neither the vault's folder nor HQ had it whole";
        vault.record_damage(lacking.segment, (lacking.offset, lacking.len), what)?;
    }
    forget_copies(vault, &ours, from_hq)
}

/// Copies that HQ had and hasn't whole any more.
fn forget_copies(vault: &Vault, ours: &Place, from_hq: &FromHq) -> Result<()> {
    let mut lost = Vec::new();
    for state in vault.segments()?.into_iter().filter(|state| !from_hq.whole.contains(&state.segment)) {
        if vault.reading().copies(state.segment)?.contains(ours) {
            lost.push(Event::CopyLost { segment: state.segment, place: ours.clone() });
        }
    }
    if !lost.is_empty() {
        vault.record(lost)?;
    }
    Ok(vault.note_left_without_copy()?)
}

/// Notes that this vault was set back, so that the next start takes up what HQ knows.
pub(crate) fn note_set_back(layout: &Layout) -> std::io::Result<()> {
    std::fs::File::create(layout.set_back())?.sync_all()?;
    std::fs::File::open(&layout.0)?.sync_all()
}

/// A vault that was set back, before it's opened: what HQ knows is taken up; what the box took in meanwhile is set aside.
pub(crate) async fn after_set_back(
    layout: &Layout,
    settings: &Settings,
    opener: Opener,
) -> Result<(Branch, FromHq)> {
    let branch = Branch::as_set(settings, layout)?;
    let from_hq = from_hq(layout, &branch, opener, false).await?;
    Ok((branch, from_hq))
}

/// The same, once it's open again.
pub(crate) fn finish_set_back(
    layout: &Layout,
    vault: &Vault,
    branch: &Branch,
    from_hq: &FromHq,
) -> Result<()> {
    take_up(vault, branch, from_hq)?;
    if !layout.all_set_aside().is_empty() {
        vault.leave_line()?;
    }
    vault.audit("box", "this vault had been set back to an older state; what HQ knows was taken up again")?;
    Ok(std::fs::remove_file(layout.set_back())?)
}
