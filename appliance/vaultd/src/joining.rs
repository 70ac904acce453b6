//! Joining HQ: with a new box, with one that takes a dead one's place, or later by `cofferd join`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use coffer_format::OrgId;
use coffer_link::{EnrolledBranch, EnrolmentCode, enrol_branch};
use coffer_vault::disk::RealDisk;
use coffer_vault::{BoxKey, Opener, Options, SystemClock, Vault};

use crate::layout::Layout;
use crate::settings::Settings;
use crate::setup::read_secret;

/// Makes a box, which isn't running, a branch of its organisation's HQ. Without an address the one in its settings counts. Returns
/// the branch's name.
pub async fn join(dir: &Path, address: Option<&str>, code: &EnrolmentCode) -> Result<String> {
    let layout = Layout::new(dir);
    let mut settings = Settings::load(&layout.settings())?;
    let key = BoxKey(read_secret(&layout.box_key())?);
    let options = Options { reserve_bytes: 0 };
    let vault =
        Vault::open(Arc::new(RealDisk), &layout.vault(), Opener::Box(key), Arc::new(SystemClock), options)
            .context("the box must not be running")?;
    let joined = join_as_branch(&layout, &mut settings, vault.org(), address, code).await?;
    settings.save(&layout.settings())?;
    Ok(joined.branch)
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

/// The same for a box with a vault: HQ must be the one of its organisation. Otherwise nothing changes here.
pub(crate) async fn join_as_branch(
    layout: &Layout,
    settings: &mut Settings,
    org: OrgId,
    address: Option<&str>,
    code: &EnrolmentCode,
) -> Result<EnrolledBranch> {
    let noted = settings.hq.as_ref().and_then(|table| table.get("address")).and_then(|found| found.as_str());
    let Some(address) = address.or(noted).map(str::to_owned) else {
        bail!("HQ's address isn't known here: give it with --hq HOST:PORT")
    };
    let beside = layout.branch().with_extension("new");
    let joined = ask(&address, code, &settings.name, &beside).await?;
    if joined.org == org {
        joined.identity.save(&layout.branch())?;
        note_address(settings, &address);
    }
    std::fs::remove_dir_all(&beside).with_context(|| format!("cannot remove {}", beside.display()))?;
    if joined.org != org {
        bail!(
            "this HQ is of another organisation than the vault, so nothing was changed here: ask the right HQ for a code"
        );
    }
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
