//! The organisation and HQ's own keys, as files in HQ's folder.
//!
//! `organisation.toml` (public), `chunk.key` and `recovery.key` (hex, for their owner alone), `authority/` (the certificate
//! authority), `identity/` (what HQ shows to its peers). Each has a second copy in `second/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coffer_format::OrgId;
use coffer_link::{Authority, Identity, Role, owner_only, read_small_text, write_durable_file};
use coffer_vault::{RecoveryKey, RecoveryPublic};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::{HqError, Registry, Result, second};

const DAY: Duration = Duration::from_secs(86_400);
/// HQ's own certificate; it can be issued anew at any time, boxes trust the authority.
const HQ_LIFETIME: Duration = DAY.saturating_mul(365 * 20);
const OPERATOR_LIFETIME: Duration = DAY.saturating_mul(365 * 2);

/// Whose HQ this is.
pub struct Organisation {
    pub dir: PathBuf,
    pub name: String,
    pub org: OrgId,
    pub recovery_public: RecoveryPublic,
    pub(crate) chunk_key: [u8; 32],
    pub(crate) recovery_key: RecoveryKey,
    pub(crate) authority: Authority,
    pub(crate) identity: Identity,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OrganisationText {
    name: String,
    org: String,
    recovery_public_key: String,
}

impl Organisation {
    /// Makes a new organisation in `dir`, with new keys.
    pub fn create(dir: &Path, name: &str) -> Result<Organisation> {
        let path = dir.join("organisation.toml");
        if path.exists() {
            return Err(HqError::Exists { path: dir.into() });
        }
        fs::create_dir_all(dir.join("branches")).map_err(HqError::io("create", dir))?;
        let authority = Authority::create(&dir.join("authority"), name)?;
        Identity::issue(&authority, Role::Hq, HQ_LIFETIME)?.save(&dir.join("identity"))?;
        let (recovery_key, recovery_public) = RecoveryKey::generate()?;
        write_private(&dir.join("chunk.key"), &hex(&random::<32>()?))?;
        write_private(&dir.join("recovery.key"), &hex(&recovery_key.0))?;
        Registry::open(dir)?;
        let text = OrganisationText {
            name: name.to_owned(),
            org: OrgId(random()?).to_string(),
            recovery_public_key: hex(&recovery_public.0),
        };
        let toml = toml::to_string(&text).map_err(|_| HqError::Internal)?;
        // Last, because it says that all the rest is there.
        write(&path, &toml, &fs::OpenOptions::new())?;
        Organisation::open(dir)
    }

    /// The organisation that `dir` holds.
    pub fn open(dir: &Path) -> Result<Organisation> {
        for name in second::put_back(dir)? {
            tracing::warn!(
                name,
                "a file of HQ's folder was damaged or missing; it was put back from its second copy. Have the disk checked"
            );
        }
        let organisation = Organisation::load(dir)?;
        if let Err(error) = second::keep(dir) {
            // A disk that takes no more writes is there to be restored from.
            tracing::warn!(%error, "the second copies of HQ's files aren't up to date");
        }
        Ok(organisation)
    }

    fn load(dir: &Path) -> Result<Organisation> {
        let path = dir.join("organisation.toml");
        let damaged = || HqError::Damaged { path: path.clone() };
        let text = read_small_text(&path).map_err(HqError::io("read", &path))?;
        let text: OrganisationText = toml::from_str(&text).map_err(|_| damaged())?;
        let recovery_path = dir.join("recovery.key");
        let recovery_key = RecoveryKey(read_key(&recovery_path)?);
        let recovery_public = RecoveryPublic(unhex(&text.recovery_public_key).ok_or_else(damaged)?);
        if recovery_key.public().0 != recovery_public.0 {
            return Err(HqError::Damaged { path: recovery_path });
        }
        Ok(Organisation {
            dir: dir.into(),
            org: text.org.parse().map_err(|_| damaged())?,
            recovery_public,
            name: text.name,
            chunk_key: read_key(&dir.join("chunk.key"))?,
            recovery_key,
            authority: Authority::open(&dir.join("authority"))?,
            identity: Identity::load(&dir.join("identity"))?,
        })
    }

    /// Issues an identity for an operator and writes it to `out`.
    pub fn issue_operator(&self, registry: &Registry, name: &str, out: &Path) -> Result<()> {
        let role = Role::Operator(name.to_owned());
        let identity = Identity::issue(&self.authority, role.clone(), OPERATOR_LIFETIME)?;
        identity.save(out)?;
        registry.set_holder(&role, &identity.certificate_hash())
    }

    /// HQ's authority, which signs branches and operators.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut out = [0; N];
    SystemRandom::new().fill(&mut out).map_err(|_| HqError::NoRandomness)?;
    Ok(out)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    text.trim().parse::<coffer_format::FileHash>().ok().map(|bytes| bytes.0)
}

fn read_key(path: &Path) -> Result<[u8; 32]> {
    let text = read_small_text(path).map_err(HqError::io("read", path))?;
    unhex(&text).ok_or_else(|| HqError::Damaged { path: path.into() })
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    write(path, &format!("{text}\n"), &owner_only())
}

fn write(path: &Path, text: &str, options: &fs::OpenOptions) -> Result<()> {
    write_durable_file(path, text.as_bytes(), options).map_err(HqError::io("write", path))
}
