//! Who may replace the agent's program: a vendor's key signs a release, boxes and agents check it.

use std::fmt;
use std::str::FromStr;

use coffer_format::FileHash;
use coffer_format::update::{Release, UpdateHead, Version};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use thiserror::Error;

/// Most keys that one list may hold.
const KEYS_MAX: usize = 16;

/// The public half of a vendor's key. In hex as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseKey([u8; 32]);

/// The private half.
pub struct ReleaseSigner(Ed25519KeyPair);

/// Why a release or a key wasn't accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReleaseError {
    #[error("{text:?} isn't a release key: a key is 64 hexadecimal digits; copy it again")]
    Key { text: String },
    #[error("a list of release keys holds at most {KEYS_MAX}: take off those that aren't used any more")]
    TooMany,
    #[error(
        "version {0} isn't signed with a key that is trusted here: take the update from its vendor again, or add the \
         vendor's key"
    )]
    Untrusted(Version),
    #[error(
        "the release can't be described: its length must be 1 byte to 256 MiB and its trial 10 s to a day"
    )]
    Bounds,
    #[error("this machine gave no random numbers: restart it")]
    NoRandomness,
}

impl ReleaseKey {
    /// The keys of a list: one per line; empty lines and those that begin with `#` don't count.
    pub fn list(text: &str) -> Result<Vec<ReleaseKey>, ReleaseError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys = lines.map(str::parse).collect::<Result<Vec<ReleaseKey>, _>>()?;
        if keys.len() > KEYS_MAX { Err(ReleaseError::TooMany) } else { Ok(keys) }
    }

    /// Whether one of these keys signed the release.
    pub fn check(keys: &[ReleaseKey], head: &UpdateHead) -> Result<(), ReleaseError> {
        let signed = head.release.signed_bytes();
        let fits = |key: &ReleaseKey| {
            UnparsedPublicKey::new(&ED25519, key.0).verify(&signed, &head.signature).is_ok()
        };
        match keys.iter().any(fits) {
            true => Ok(()),
            false => Err(ReleaseError::Untrusted(head.release.version)),
        }
    }
}

impl ReleaseSigner {
    /// 32 random bytes to make a signer of; whoever has them can sign.
    pub fn new_seed() -> Result<[u8; 32], ReleaseError> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| ReleaseError::NoRandomness)?;
        Ok(seed)
    }

    pub fn from_seed(seed: &[u8; 32]) -> ReleaseSigner {
        ReleaseSigner(Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed of 32 bytes is always a key"))
    }

    pub fn key(&self) -> ReleaseKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        ReleaseKey(key)
    }

    pub fn sign(&self, release: Release) -> Result<UpdateHead, ReleaseError> {
        release.check().map_err(|_| ReleaseError::Bounds)?;
        let mut signature = [0; 64];
        signature.copy_from_slice(self.0.sign(&release.signed_bytes()).as_ref());
        Ok(UpdateHead { release, signature })
    }
}

impl fmt::Display for ReleaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        FileHash(self.0).fmt(f)
    }
}

impl FromStr for ReleaseKey {
    type Err = ReleaseError;

    fn from_str(text: &str) -> Result<Self, ReleaseError> {
        let key: Result<FileHash, _> = text.parse();
        key.map(|key| ReleaseKey(key.0)).map_err(|_| ReleaseError::Key { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release() -> Release {
        let (target, version) = ("x86_64-pc-windows".parse().unwrap(), "1.2.3".parse().unwrap());
        Release { target, version, trial_s: 600, len: 5, hash: FileHash([7; 32]) }
    }

    #[test]
    fn every_fact_of_a_release_is_under_its_signature() {
        let signer = ReleaseSigner::from_seed(&[1; 32]);
        let head = signer.sign(release()).unwrap();
        let keys = [ReleaseSigner::from_seed(&[2; 32]).key(), signer.key()];
        assert_eq!(ReleaseKey::check(&keys, &head), Ok(()));
        assert!(ReleaseKey::check(&keys[..1], &head).is_err(), "signed by somebody else");
        assert!(ReleaseKey::check(&[], &head).is_err(), "nobody is trusted");
        let changes: [fn(&mut UpdateHead); 6] = [
            |head| head.release.target = "aarch64-pc-windows".parse().unwrap(),
            |head| head.release.version.patch += 1,
            |head| head.release.trial_s += 1,
            |head| head.release.len += 1,
            |head| head.release.hash.0[0] ^= 1,
            |head| head.signature[0] ^= 1,
        ];
        for change in changes {
            let mut changed = head.clone();
            change(&mut changed);
            assert!(ReleaseKey::check(&keys, &changed).is_err(), "{changed:?}");
        }
    }

    #[test]
    fn a_list_of_keys_is_read_line_by_line() {
        let key = ReleaseSigner::from_seed(&[1; 32]).key();
        assert_eq!(ReleaseKey::list(&format!("# ours\n\n {key} \r\n")), Ok(vec![key]));
        assert!(ReleaseKey::list("abc").is_err());
        assert_eq!(ReleaseKey::list(&format!("{key}\n").repeat(17)), Err(ReleaseError::TooMany));
    }
}
