//! A new box that goes on with a dead one's vault, by `cofferd replace`: new keys of its own, the authority that its computers
//! know from the escrow, so that none of them has to be enrolled again.
//!
//! Order: what HQ has is taken in before anything is written to the vault, so that no number that HQ knows is given out again.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use coffer_format::escrow::Escrow;
use coffer_format::{ConfigId, OrgId, VaultId};
use coffer_link::{Authority, EnrolmentCode, Identity, Role};
use coffer_vault::disk::RealDisk;
use coffer_vault::{BoxKey, Opener, Options, RecoveryKey, SystemClock, Vault, give_box_key};

use crate::layout::Layout;
use crate::settings::Settings;
use crate::setup::{LIFETIME, make_private, read_secret, replace_secret, write_secret};
use crate::taking_over::{self, Branch, FromHq};

/// What a replacement is made of, besides the vault's folder.
pub struct Replacement<'a> {
    pub recovery: RecoveryKey,
    /// In place of those in the escrow.
    pub settings: Option<Settings>,
    /// HQ's address, and the code that takes the dead box's place there; none where a run that broke off has used it.
    pub hq: Option<(&'a str, Option<&'a EnrolmentCode>)>,
    /// Go on without the escrow: all computers have to be enrolled again.
    pub new_authority: bool,
    /// Go on although HQ couldn't give everything.
    pub incomplete: bool,
}

/// How the new box stands.
#[derive(Debug)]
pub struct Replaced {
    pub name: String,
    pub computers: usize,
    pub points: usize,
    pub from_hq: Option<FromHq>,
    /// Whether the computers know this box.
    pub is_known: bool,
    /// Whether the dead box had an HQ that this one hasn't joined.
    pub lacks_hq: bool,
}

/// Makes the folder `dir`, which has no box yet but the dead box's vault (or none, where HQ has it), a box. A run that broke off is taken
/// up again.
pub async fn replace(dir: &Path, with: Replacement<'_>) -> Result<Replaced> {
    let layout = Layout::new(dir);
    if layout.settings().exists() {
        bail!("{} holds a box already: start it with `cofferd run`", dir.display());
    }
    if !layout.vault().join("segments").is_dir() && with.hq.is_none() {
        bail!(
            "there's no vault in {}: put the dead box's vault folder there, make it with `coffer rebuild-from-tape`, or let HQ give it with \
             --hq and --code",
            layout.vault().display()
        );
    }
    let opener = Opener::Organisation(with.recovery.clone());
    let branch = match with.hq {
        Some((address, code)) => Some(Branch::of(&layout, address, code).await?),
        None => None,
    };
    let from_hq = match &branch {
        Some(branch) => Some(taking_over::from_hq(&layout, branch, opener, with.incomplete).await?),
        None => None,
    };
    let found = look(&layout, &with.recovery)?;
    if found.escrow.is_none() && !with.new_authority {
        bail!(
            "this vault has no escrow, so no computer would know the new box. Give --new-authority to go on all the same; then \
             every computer has to be enrolled again"
        );
    }
    let mut settings = match (with.settings, &found.escrow) {
        (Some(settings), _) => settings,
        (None, Some(escrow)) => Settings::parse(&escrow.settings).context("the dead box's settings")?,
        (None, None) => Settings::default(),
    };
    let lacks_hq = match &branch {
        Some(branch) => {
            branch.check_org(found.org)?;
            branch.note(&mut settings);
            false
        }
        None => settings.hq.take().is_some(),
    };
    make_private(&layout)?;
    let box_key = own_key(&layout)?;
    give_box_key(&RealDisk, &layout.vault(), &with.recovery, &box_key)?;
    replace_secret(&layout.recovery_public(), &with.recovery.public().0)?;
    let authority = match &found.escrow {
        Some(escrow) if !with.new_authority => Authority::from_der(&escrow.certificate, &escrow.key)?,
        _ if layout.authority().exists() => Authority::open(&layout.authority())?,
        _ => Authority::create(&layout.authority(), &format!("coffer box {}", settings.name))?,
    };
    authority.save(&layout.authority())?;
    Identity::issue(&authority, Role::Box(found.vault), LIFETIME)?.save(&layout.identity())?;
    Identity::issue(&authority, Role::Operator("local".into()), LIFETIME)?.save(&layout.operator())?;
    note(&layout, Opener::Box(box_key), branch.as_ref(), from_hq.as_ref())?;
    // Last: its presence says that the box is whole.
    settings.save(&layout.settings())?;
    Ok(Replaced {
        name: settings.name,
        computers: found.computers,
        points: found.points,
        from_hq,
        is_known: found.escrow.is_some() && !with.new_authority,
        lacks_hq,
    })
}

/// What the vault says of the dead box.
struct Found {
    vault: VaultId,
    org: OrgId,
    escrow: Option<Escrow>,
    computers: usize,
    points: usize,
}

fn look(layout: &Layout, recovery: &RecoveryKey) -> Result<Found> {
    let vault = open(layout, Opener::Organisation(recovery.clone()))?;
    let reading = vault.reading();
    let escrow = reading.escrow(vault.id(), recovery).context("the escrow in the vault")?;
    let mut points = 0;
    for config in reading.configurations()? {
        points += reading.points(ConfigId(config.config))?.len();
    }
    let computers = reading.computers()?.iter().filter(|computer| !computer.revoked).count();
    Ok(Found { vault: vault.id(), org: vault.org(), escrow, computers, points })
}

fn open(layout: &Layout, opener: Opener) -> Result<Vault> {
    let options = Options { reserve_bytes: 0 };
    Vault::open(Arc::new(RealDisk), &layout.vault(), opener, Arc::new(SystemClock), options)
        .with_context(|| format!("the vault in {} can't be opened", layout.vault().display()))
}

/// The new box's key; one that a run before left is used.
fn own_key(layout: &Layout) -> Result<BoxKey> {
    if layout.box_key().exists() {
        return Ok(BoxKey(read_secret(&layout.box_key())?));
    }
    let key = BoxKey::generate()?;
    write_secret(&layout.box_key(), &key.0)?;
    Ok(key)
}

/// Also makes a segment with the new box's wrap of the keys, from which a damaged `vault.id` can be made again.
fn note(layout: &Layout, opener: Opener, branch: Option<&Branch>, from_hq: Option<&FromHq>) -> Result<()> {
    let vault = open(layout, opener)?;
    if let (Some(branch), Some(from_hq)) = (branch, from_hq) {
        taking_over::record_copies(&vault, branch, from_hq)?;
    }
    // Also where an earlier run of this command did that, and broke off.
    if !layout.all_set_aside().is_empty() {
        vault.leave_line()?;
    }
    Ok(vault.audit("box", "a new box goes on with this vault")?)
}
