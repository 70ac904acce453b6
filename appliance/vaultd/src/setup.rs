//! Making a box: keys, authority, vault. Once, by `cofferd init`.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use coffer_format::{OrgId, VaultId};
use coffer_link::{Authority, EnrolmentCode, Identity, Role};
use coffer_vault::disk::RealDisk;
use coffer_vault::{BoxKey, Opener, RecoveryKey, RecoveryPublic, SystemClock, Vault, random};

use crate::joining;
use crate::layout::Layout;
use crate::recovery_public;
use crate::settings::Settings;

/// Certificates outlive the machines they're for; what ends them is revocation.
pub const LIFETIME: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

/// Where an organisation's secrets come from.
struct Organisation {
    org: OrgId,
    chunk_key: [u8; 32],
    recovery: RecoveryPublic,
}

/// Makes a box in an empty directory. With HQ's address and code it joins that organisation, otherwise it
/// founds its own and leaves its recovery key in the directory, to be moved elsewhere.
pub async fn init(dir: &Path, settings: &Settings, hq: Option<(&str, &EnrolmentCode)>) -> Result<()> {
    let layout = Layout::new(dir);
    if layout.settings().exists() {
        bail!(
            "{} holds a box already: choose another directory, or start it with `cofferd run`",
            dir.display()
        );
    }
    make_private(&layout)?;
    let mut settings = settings.clone();
    let organisation = match hq {
        Some((address, code)) => join(address, code, &mut settings, &layout).await?,
        None => found(&layout)?,
    };
    let vault = VaultId(random()?);
    let box_key = BoxKey::generate()?;
    write_secret(&layout.box_key(), &box_key.0)?;
    let Organisation { org, chunk_key, recovery } = organisation;
    recovery_public::write(&layout, &recovery)?;
    Vault::create(&RealDisk, &layout.vault(), vault, org, chunk_key, &box_key, &recovery, &SystemClock)?;
    let authority = Authority::create(&layout.authority(), &format!("coffer box {}", settings.name))?;
    Identity::issue(&authority, Role::Box(vault), LIFETIME)?.save(&layout.identity())?;
    Identity::issue(&authority, Role::Operator("local".into()), LIFETIME)?.save(&layout.operator())?;
    // Last: its presence says that the box is whole.
    settings.save(&layout.settings())
}

/// The box's directory, and the one for its keys in it.
pub(crate) fn make_private(layout: &Layout) -> Result<()> {
    let mut private = fs::DirBuilder::new();
    private.recursive(true).mode(0o700);
    let dir = &layout.0;
    private.create(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let keys = layout.box_key();
    private.create(keys.parent().context("the layout has a keys directory")?)?;
    Ok(())
}

async fn join(
    address: &str,
    code: &EnrolmentCode,
    settings: &mut Settings,
    layout: &Layout,
) -> Result<Organisation> {
    let joined = joining::enrol(layout, settings, address, code).await?;
    Ok(Organisation {
        org: joined.org,
        chunk_key: joined.chunk_key,
        recovery: RecoveryPublic(joined.recovery_key),
    })
}

fn found(layout: &Layout) -> Result<Organisation> {
    let (private, recovery) = RecoveryKey::generate()?;
    write_secret(&layout.recovery_key(), &private.0)?;
    Ok(Organisation { org: OrgId(random()?), chunk_key: random()?, recovery })
}

/// Writes a secret as hex, readable by its owner alone.
pub fn write_secret(path: &Path, secret: &[u8; 32]) -> Result<()> {
    if path.exists() {
        bail!("{} is there already: a key is never written over", path.display());
    }
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    coffer_link::write_durable_file(path, format!("{hex}\n").as_bytes(), &coffer_link::owner_only())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Notes the organisation's recovery key in a box that doesn't know it, or whose copies are damaged.
pub fn note_recovery_key(dir: &Path, recovery: &RecoveryKey) -> Result<()> {
    let layout = Layout::new(dir);
    Vault::check_key(&RealDisk, &layout.vault(), &Opener::Organisation(recovery.clone()))?;
    recovery_public::write(&layout, &recovery.public())
}

/// Reads a secret written by [`write_secret`].
pub fn read_secret(path: &Path) -> Result<[u8; 32]> {
    let text = coffer_link::read_small_text(path)
        .with_context(|| format!("cannot read the key {}", path.display()))?;
    let key: coffer_format::FileHash = text.trim().parse().ok().with_context(|| {
        format!(
            "{} isn't a key: it must hold 64 hexadecimal digits; take it from its safe copy",
            path.display()
        )
    })?;
    Ok(key.0)
}
