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

impl OrganisationText {
    fn of(name: &str, org: OrgId, recovery_public: &RecoveryPublic) -> Result<String> {
        let text = OrganisationText {
            name: name.to_owned(),
            org: org.to_string(),
            recovery_public_key: hex(&recovery_public.0),
        };
        toml::to_string(&text).map_err(|_| HqError::Internal)
    }
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
        let toml = OrganisationText::of(name, OrgId(random()?), &recovery_public)?;
        // Last, because it says that all the rest is there.
        write(&path, &toml, &fs::OpenOptions::new())?;
        Organisation::open(dir)
    }

    /// The organisation that `dir` holds.
    pub fn open(dir: &Path) -> Result<Organisation> {
        let organisation = Organisation::mended(dir)?;
        if let Err(error) = second::keep(dir) {
            // A disk that takes no more writes is there to be restored from.
            tracing::warn!(%error, "the second copies of HQ's files aren't up to date");
        }
        Ok(organisation)
    }

    /// What is in `dir` once its files were put back that aren't as they were.
    fn mended(dir: &Path) -> Result<Organisation> {
        for name in second::put_back(dir)? {
            tracing::warn!(
                name,
                "a file of HQ's folder was damaged or missing; it was put back from its second copy. Have the disk checked"
            );
        }
        Organisation::load(dir)
    }

    /// Sees to it that HQ's own files are there with their second copies, while it runs. What is lost of both is written again from what was
    /// read at the start.
    pub(crate) fn look_after_files(&self) -> Result<()> {
        let is_same = |found: &Organisation| {
            (found.org, found.chunk_key, found.recovery_key.0)
                == (self.org, self.chunk_key, self.recovery_key.0)
        };
        if !Organisation::mended(&self.dir).is_ok_and(|found| is_same(&found)) {
            tracing::error!(
                "a file of HQ's folder is lost or changed, and so is its second copy; it's written again. Have the disk checked"
            );
            self.write_lost()?;
        }
        second::keep(&self.dir)
    }

    fn write_lost(&self) -> Result<()> {
        let dir = &self.dir;
        let keys = [("chunk.key", &self.chunk_key), ("recovery.key", &self.recovery_key.0)];
        for (name, key) in keys {
            let path = dir.join(name);
            if read_key(&path).ok().as_ref() != Some(key) {
                write_private(&path, &hex(key))?;
            }
        }
        if Authority::open(&dir.join("authority")).is_err() {
            self.authority.save(&dir.join("authority"))?;
        }
        if Identity::load(&dir.join("identity")).is_err() {
            self.identity.save(&dir.join("identity"))?;
        }
        let path = dir.join("organisation.toml");
        let is_there =
            read_small_text(&path).is_ok_and(|text| toml::from_str::<OrganisationText>(&text).is_ok());
        if !is_there {
            let text = OrganisationText::of(&self.name, self.org, &self.recovery_public)?;
            write(&path, &text, &fs::OpenOptions::new())?;
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_or_changed_of_its_own_files_while_it_runs_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let dir = &folder.path().join("hq");
        let organisation = Organisation::create(dir, "Example").unwrap();
        let names =
            ["organisation.toml", "chunk.key", "recovery.key", "authority/authority.key", "identity/key.pem"];
        let good = names.map(|name| fs::read(dir.join(name)).unwrap());
        let check = |case: &str| {
            organisation.look_after_files().unwrap_or_else(|error| panic!("{case}: {error}"));
            for (name, good) in names.iter().zip(&good) {
                for path in [dir.join(name), dir.join("second").join(name)] {
                    assert!(fs::read(&path).is_ok_and(|bytes| bytes == *good), "{case}: {}", path.display());
                }
            }
            Organisation::open(dir).unwrap();
        };
        fs::remove_dir_all(dir.join("second")).unwrap();
        check("all second copies removed");
        for name in names {
            fs::remove_file(dir.join(name)).unwrap();
            check(name);
            fs::remove_file(dir.join(name)).unwrap();
            fs::remove_dir_all(dir.join("second")).unwrap();
            check(&format!("{name}, and all second copies"));
        }
        fs::remove_dir_all(dir.join("second")).unwrap();
        let changed: Vec<u8> = good[1].iter().map(|byte| if *byte == b'a' { b'b' } else { *byte }).collect();
        fs::write(dir.join("chunk.key"), changed).unwrap();
        check("another key, without second copies");
    }
}
