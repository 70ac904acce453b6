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
use coffer_vault::verify::{Report, Verdict};
use coffer_vault::{
    BoxKey, Opener, Options, RecoveryKey, SystemClock, Vault, VaultError, give_box_key, vault_in,
};

use crate::layout::Layout;
use crate::recovery_public;
use crate::settings::Settings;
use crate::setup::{LIFETIME, make_private, read_secret, write_secret};
use crate::taking_over::{self, Branch, FromHq};
use crate::tape::{FromTapes, complete_from_tapes, record_learned, source_of};

/// What a replacement is made of, besides the vault's folder.
pub struct Replacement<'a> {
    pub recovery: RecoveryKey,
    /// In place of those in the escrow.
    pub settings: Option<Settings>,
    /// HQ's address, and the code that takes the dead box's place there; none where a run that broke off has used it.
    pub hq: Option<(&'a str, Option<&'a EnrolmentCode>)>,
    /// Go on without the escrow: all computers have to be enrolled again.
    pub new_authority: bool,
    /// Go on although HQ couldn't give everything, or the library couldn't be asked.
    pub incomplete: bool,
}

/// How the new box stands.
#[derive(Debug)]
pub struct Replaced {
    pub name: String,
    pub computers: usize,
    pub points: usize,
    pub from_hq: Option<FromHq>,
    /// What the cartridges knew beyond that, where the settings name a library.
    pub from_tapes: Option<FromTapes>,
    /// The newest points that there are; what the dead box took in after them, and neither HQ nor a cartridge got, is gone.
    pub newest: Vec<Newest>,
    /// What kept points need and neither this box nor a copy has, in a sentence.
    pub lost: Option<String>,
    /// What is damaged here and comes back from its copies once the box runs.
    pub heals: Option<String>,
    /// Whether the computers know this box.
    pub is_known: bool,
    /// Whether the dead box had an HQ that this one hasn't joined.
    pub lacks_hq: bool,
}

/// The newest point of a configuration.
#[derive(Debug)]
pub struct Newest {
    /// COMPUTER/CONFIGURATION.
    pub of: String,
    pub point: u64,
    pub closed_ms: u64,
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
    let from_tapes = ask_library(&layout, &with)?;
    let found = look(&layout, &with.recovery)?;
    if found.escrow.is_none() && !with.new_authority {
        bail!(
            "this vault has no escrow that can be read, so no computer would know the new box. Headquarters or the tapes may have it: give --hq and --code, \
             or --settings with the library. Or give --new-authority to go on all the same; then every computer has to be enrolled again"
        );
    }
    let mut settings = match (with.settings, &found.escrow) {
        (Some(settings), _) => settings,
        (None, Some(escrow)) => Settings::parse(&escrow.settings).context("the dead box's settings")?,
        (None, None) => Settings::default(),
    };
    if let Some(branch) = branch.as_ref().filter(|_| settings.name == Settings::default().name) {
        settings.name = branch.name().to_owned();
    }
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
    recovery_public::write(&layout, &with.recovery.public())?;
    let authority = match &found.escrow {
        Some(escrow) if !with.new_authority => Authority::from_der(&escrow.certificate, &escrow.key)?,
        _ if layout.authority().exists() => Authority::open(&layout.authority())?,
        _ => Authority::create(&layout.authority(), &format!("coffer box {}", settings.name))?,
    };
    authority.save(&layout.authority())?;
    Identity::issue(&authority, Role::Box(found.vault), LIFETIME)?.save(&layout.identity())?;
    Identity::issue(&authority, Role::Operator("local".into()), LIFETIME)?.save(&layout.operator())?;
    let report =
        note(&layout, Opener::Box(box_key), branch.as_ref().zip(from_hq.as_ref()), from_tapes.as_ref())?;
    // Last: its presence says that the box is whole.
    settings.save(&layout.settings())?;
    Ok(Replaced {
        name: settings.name,
        computers: found.computers,
        points: found.points,
        newest: found.newest,
        from_hq,
        from_tapes,
        lost: (report.verdict == Verdict::Lost).then(|| report.sentence()),
        heals: (report.verdict == Verdict::Heals).then(|| report.sentence()),
        is_known: found.escrow.is_some() && !with.new_authority,
        lacks_hq,
    })
}

/// What the cartridges know that the folder lacks, where the settings name a library. The vault is only read for that: nothing may be
/// written to it before.
fn ask_library(layout: &Layout, with: &Replacement<'_>) -> Result<Option<FromTapes>> {
    let Some((vault, _)) = vault_in(&layout.vault()) else { return Ok(None) };
    let settings = match &with.settings {
        Some(settings) => Some(settings.clone()),
        None => settings_in_escrow(layout, &with.recovery)?,
    };
    let Some(settings) = settings.filter(|settings| settings.tape.has_library()) else { return Ok(None) };
    let opener = Opener::Organisation(with.recovery.clone());
    let mut tell = |sentence: String| tracing::info!("{sentence}");
    let asked = source_of(&settings, layout)
        .and_then(|source| complete_from_tapes(&source, &layout.vault(), vault, opener, &mut tell));
    match asked {
        Ok(from_tapes) => match from_tapes.lacking.first_key_value() {
            Some((segment, why)) if !with.incomplete => bail!(
                "{} segments couldn't be read from the tapes that hold them (segment {segment}: {why}). Try again; --incomplete goes on without them",
                from_tapes.lacking.len()
            ),
            _ => Ok(Some(from_tapes)),
        },
        Err(error) if with.incomplete => {
            tracing::warn!(error = format!("{error:#}"), "the library isn't asked");
            Ok(None)
        }
        Err(error) => Err(error.context(
            "the tape library couldn't be asked what its tapes know beyond this vault. Give --settings with the devices of this box's library, or \
             --incomplete to go on without what they know",
        )),
    }
}

fn settings_in_escrow(layout: &Layout, recovery: &RecoveryKey) -> Result<Option<Settings>> {
    let scratch = tempfile::tempdir().context("there's no room for a look into the vault")?;
    let opener = Opener::Organisation(recovery.clone());
    let (clock, options) = (Arc::new(SystemClock), Options { reserve_bytes: 0 });
    let vault = Vault::open_read_only(&layout.vault(), opener, clock, options, scratch.path())?;
    let escrow = escrow_of(&vault, recovery)?;
    escrow.map(|escrow| Settings::parse(&escrow.settings).context("the dead box's settings")).transpose()
}

/// What the vault says of the dead box.
struct Found {
    vault: VaultId,
    org: OrgId,
    escrow: Option<Escrow>,
    computers: usize,
    points: usize,
    newest: Vec<Newest>,
}

/// One that can't be read is none.
fn escrow_of(vault: &Vault, recovery: &RecoveryKey) -> Result<Option<Escrow>> {
    match vault.reading().escrow(vault.id(), recovery) {
        Err(error @ (VaultError::Damaged { .. } | VaultError::NotOnDisk(_) | VaultError::Decode(_))) => {
            tracing::error!(%error, "the escrow in the vault can't be read");
            Ok(None)
        }
        escrow => escrow.context("the escrow in the vault"),
    }
}

fn look(layout: &Layout, recovery: &RecoveryKey) -> Result<Found> {
    let vault = open(layout, Opener::Organisation(recovery.clone()))?;
    let reading = vault.reading();
    let escrow = escrow_of(&vault, recovery)?;
    let (mut points, mut newest) = (0, Vec::new());
    for config in reading.configurations()? {
        let all = reading.points(ConfigId(config.config))?;
        points += all.len();
        newest.extend(all.first().map(|point| Newest {
            of: format!("{}/{}", config.computer_name, config.name),
            point: point.point,
            closed_ms: point.closed_ms,
        }));
    }
    let computers = reading.computers()?.iter().filter(|computer| !computer.revoked).count();
    Ok(Found { vault: vault.id(), org: vault.org(), escrow, computers, points, newest })
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

/// Says what is lost. Also makes a segment with the new box's wrap of the keys, from which a damaged `vault.id` can be made again.
fn note(
    layout: &Layout,
    opener: Opener,
    from_hq: Option<(&Branch, &FromHq)>,
    from_tapes: Option<&FromTapes>,
) -> Result<Report> {
    let vault = open(layout, opener)?;
    match from_hq {
        Some((branch, from_hq)) => taking_over::take_up(&vault, branch, from_hq)?,
        None => drop(vault.give_up_copies_at_hq()?),
    }
    if let Some(from_tapes) = from_tapes {
        record_learned(&vault, from_tapes)?;
    }
    // Also where an earlier run of this command did that, and broke off.
    if !layout.all_set_aside().is_empty() {
        vault.leave_line()?;
    }
    vault.audit("box", "a new box goes on with this vault")?;
    let report = vault.reading().prove()?;
    if !report.gaps.is_empty() {
        // What the computers remember of points whose records are gone isn't what is here: they compare all, and send what lacks.
        vault.leave_line()?;
    }
    Ok(report)
}
