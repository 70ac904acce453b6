//! Joining HQ: with a new box, with one that takes a dead one's place, or later by `cofferd join`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use coffer_format::{OrgId, VaultId};
use coffer_link::{BranchFound, EnrolledBranch, EnrolmentCode, branch_of_code, enrol_branch};
use coffer_vault::disk::RealDisk;
use coffer_vault::{BoxKey, Opener, Options, RecoveryPublic, SystemClock, Vault, join_organisation};

use crate::layout::Layout;
use crate::recovery_public;
use crate::settings::Settings;
use crate::setup::read_secret;
use crate::taking_over;

/// What came of joining.
#[derive(Debug)]
pub struct Joined {
    pub branch: String,
    /// Whether the box had an organisation of its own before.
    pub is_new_organisation: bool,
    /// Whether HQ knows another history of this vault than the one here, or a longer one: the box goes on with that when it starts.
    pub takes_up: bool,
}

/// Makes a box, which isn't running, a branch of an HQ. Without an address the one in its settings counts. A box that was its own
/// organisation becomes one of HQ's.
pub async fn join(dir: &Path, address: Option<&str>, code: &EnrolmentCode) -> Result<Joined> {
    let layout = Layout::new(dir);
    let mut settings = Settings::load(&layout.settings())?;
    let noted = settings.hq.as_ref().and_then(|table| table.get("address")).and_then(|found| found.as_str());
    let Some(address) = address.or(noted).map(str::to_owned) else {
        bail!("HQ's address isn't known here: give it with --hq HOST:PORT")
    };
    let key = BoxKey(read_secret(&layout.box_key())?);
    let was_branch = layout.branch().exists();
    let beside = layout.branch().with_extension("new");
    let removed =
        || std::fs::remove_dir_all(&beside).with_context(|| format!("cannot remove {}", beside.display()));
    let found = branch_of_code(&address, code).await.context("HQ")?;
    let (org, takes_up) = {
        let vault = open(&layout, &key)?;
        let found = found.as_ref();
        check_place(found, vault.id())?;
        if let Some(found) = found {
            check_organisation(found.org, vault.org(), was_branch)?;
        }
        let is_on_line = found.map_or(Ok(true), |found| vault.is_on_line(&found.marks))?;
        (vault.org(), !is_on_line)
    };
    let joined = ask(&address, code, &settings.name, &beside).await?;
    let is_new_organisation = joined.org != org;
    // An older HQ doesn't tell before.
    if let Err(error) = check_organisation(joined.org, org, was_branch) {
        removed()?;
        return Err(error);
    }
    if takes_up {
        taking_over::note_set_back(&layout)?;
    }
    if is_new_organisation {
        let recovery = RecoveryPublic(joined.recovery_key);
        join_organisation(&RealDisk, &layout.vault(), &key, joined.org, &recovery)?;
        recovery_public::write(&layout, &recovery)?;
    }
    joined.identity.save(&layout.branch())?;
    note_address(&mut settings, &address);
    settings.save(&layout.settings())?;
    removed()?;
    open(&layout, &key)?.audit("box", "joined headquarters")?;
    Ok(Joined { branch: joined.branch, is_new_organisation, takes_up })
}

/// Fails where the branch that a code is for is another box's.
pub(crate) fn check_place(found: Option<&BranchFound>, vault: VaultId) -> Result<()> {
    match found {
        Some(found) if found.vault.is_some_and(|at_hq| at_hq != vault) => bail!(
            "branch {} at HQ is another box's, whose data it has, so nothing was changed here or there: get a code for this box's own branch with \
             `coffer-hq code --branch NAME`",
            found.branch
        ),
        _ => Ok(()),
    }
}

fn check_organisation(at_hq: OrgId, here: OrgId, was_branch: bool) -> Result<()> {
    if was_branch && at_hq != here {
        bail!(
            "this HQ is of another organisation than the one that the box has joined, so nothing was changed here: ask the right HQ for a code"
        );
    }
    Ok(())
}

fn open(layout: &Layout, key: &BoxKey) -> Result<Vault> {
    let options = Options { reserve_bytes: 0 };
    let opener = Opener::Box(key.clone());
    Vault::open(Arc::new(RealDisk), &layout.vault(), opener, Arc::new(SystemClock), options)
        .context("the vault can't be opened: the box must not be running")
}

/// Enrols a box that has no vault yet, and notes HQ's address in the settings.
pub(crate) async fn enrol(
    layout: &Layout,
    settings: &mut Settings,
    address: &str,
    code: &EnrolmentCode,
) -> Result<EnrolledBranch> {
    let joined = ask(address, code, &settings.name, &layout.branch()).await?;
    note_address(settings, address);
    Ok(joined)
}

pub(crate) async fn ask(
    address: &str,
    code: &EnrolmentCode,
    name: &str,
    dir: &Path,
) -> Result<EnrolledBranch> {
    enrol_branch(address, code, name, dir).await.context("joining HQ failed")
}

pub(crate) fn note_address(settings: &mut Settings, address: &str) {
    settings.hq.get_or_insert_default().insert("address".into(), address.into());
}
