//! A release of the agent's program: a head that its vendor signed, and the program behind it.

use std::fmt;
use std::str::FromStr;

use crate::codec::bounded;
use crate::limits::{UPDATE_PROGRAM_MAX, UPDATE_TARGET_MAX};
use crate::{Decode, DecodeError, Encode, FileHash, Reader, Writer};

/// Length of an update's head, in bytes; the program follows.
pub const UPDATE_HEAD_LEN: usize = 256;
/// Bytes of the head that are signed: all before the signature.
const SIGNED_LEN: usize = 132;
/// What is signed begins with this, so that no signature made for something else counts here.
const CONTEXT: &[u8] = b"coffer agent update 1";
const MAGIC: [u8; 8] = *b"COFFUPD1";
const VERSION: u16 = 1;
/// How long a new program may be given to prove itself, in seconds.
const TRIAL_S: std::ops::RangeInclusive<u32> = 10..=86_400;

/// A program's version: three numbers, compared from the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

/// What a program is built for, such as `x86_64-pc-windows`: letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(String);

/// What a vendor says of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub target: Target,
    pub version: Version,
    /// How long the program has to reach its box before the one before it comes back, in seconds.
    pub trial_s: u32,
    /// The program's length in bytes, and its BLAKE3.
    pub len: u64,
    pub hash: FileHash,
}

/// The first 256 bytes of a `.coffer-update`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateHead {
    pub release: Release,
    /// Ed25519 over [`Release::signed_bytes`].
    pub signature: [u8; 64],
}

kinds! {
    /// How an agent gets on with an update.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum UpdateProgress {
        /// Nothing to do.
        1 = Current,
        2 = Downloading,
        /// The service restarts with the new program next.
        3 = Installing,
        4 = Failed,
    }
}

layout! {
    /// What an agent tells of its own program.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct UpdateReport {
        pub target: Target,
        pub running: Version,
        pub progress: UpdateProgress,
        /// What the progress is about, where it's about another version.
        pub of: Option<Version>,
        /// Why it failed, and what to do. Empty where it didn't.
        pub sentence: String,
    }
}

impl Release {
    /// Refuses what a head can't hold.
    pub fn check(&self) -> Result<(), DecodeError> {
        bounded("program of an update", self.len, UPDATE_PROGRAM_MAX)?;
        match self.len > 0 && TRIAL_S.contains(&self.trial_s) {
            true => Ok(()),
            false => Err(DecodeError::Invalid { what: "length or trial of an update" }),
        }
    }

    /// What a vendor's key signs.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut w = Writer(CONTEXT.to_vec());
        self.encode(&mut w);
        w.0
    }
}

/// The head up to the signature.
impl Encode for Release {
    fn encode(&self, w: &mut Writer) {
        w.bytes(&MAGIC);
        VERSION.encode(w);
        (self.target.0.len() as u16).encode(w);
        w.bytes(self.target.0.as_bytes());
        w.zeros(UPDATE_TARGET_MAX - self.target.0.len());
        self.version.encode(w);
        self.trial_s.encode(w);
        self.len.encode(w);
        self.hash.encode(w);
    }
}
impl Decode for Release {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "head of an update";
        if r.array::<8>(WHAT)? != MAGIC {
            return Err(DecodeError::Invalid { what: WHAT });
        }
        match r.get::<u16>()? {
            VERSION => {}
            found => {
                return Err(DecodeError::Version { what: WHAT, found: found.into(), known: VERSION.into() });
            }
        }
        let target_len = usize::from(r.get::<u16>()?);
        bounded("target of an update", target_len as u64, UPDATE_TARGET_MAX as u64)?;
        let target = Target::of(r.take(target_len, WHAT)?)?;
        r.zeros(UPDATE_TARGET_MAX - target_len, WHAT)?;
        let release = Release { target, version: r.get()?, trial_s: r.get()?, len: r.get()?, hash: r.get()? };
        release.check().map(|()| release)
    }
}

impl Encode for UpdateHead {
    fn encode(&self, w: &mut Writer) {
        self.release.encode(w);
        w.bytes(&self.signature);
        w.zeros(UPDATE_HEAD_LEN - SIGNED_LEN - self.signature.len());
    }
}
impl Decode for UpdateHead {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let head = UpdateHead { release: r.get()?, signature: r.get()? };
        r.zeros(UPDATE_HEAD_LEN - SIGNED_LEN - head.signature.len(), "head of an update")?;
        Ok(head)
    }
}

impl Target {
    fn of(bytes: &[u8]) -> Result<Target, DecodeError> {
        let is_fine = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        match std::str::from_utf8(bytes) {
            Ok(text) if (1..=UPDATE_TARGET_MAX).contains(&text.len()) && bytes.iter().all(is_fine) => {
                Ok(Target(text.to_owned()))
            }
            _ => Err(DecodeError::Invalid { what: "target of an update" }),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl FromStr for Target {
    type Err = DecodeError;

    fn from_str(text: &str) -> Result<Self, DecodeError> {
        Target::of(text.as_bytes())
    }
}
impl Encode for Target {
    fn encode(&self, w: &mut Writer) {
        self.0.encode(w);
    }
}
impl Decode for Target {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Target::of(r.get::<String>()?.as_bytes())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}
impl FromStr for Version {
    type Err = DecodeError;

    fn from_str(text: &str) -> Result<Self, DecodeError> {
        let bad = || DecodeError::Invalid { what: "version" };
        let numbers = text.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u32>>>();
        let [major, minor, patch] = numbers.and_then(|all| all.try_into().ok()).ok_or_else(bad)?;
        let version = Version { major, minor, patch };
        if version.to_string() == text { Ok(version) } else { Err(bad()) }
    }
}
impl Encode for Version {
    fn encode(&self, w: &mut Writer) {
        [self.major, self.minor, self.patch].iter().for_each(|number| number.encode(w));
    }
}
impl Decode for Version {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Version { major: r.get()?, minor: r.get()?, patch: r.get()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers_and_read_back() {
        let version = |text: &str| text.parse::<Version>();
        assert!(version("0.10.0").unwrap() > version("0.9.9").unwrap());
        assert_eq!(version("1.2.3").unwrap().to_string(), "1.2.3");
        for bad in ["1.2", "1.2.3.4", "1.2.+3", "01.2.3", "1.2.x", ""] {
            assert!(version(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_target_is_a_name_and_never_a_path() {
        assert!("x86_64-pc-windows".parse::<Target>().is_ok());
        for bad in ["", "../up", "a/b", "a.b", "a\\b", &"a".repeat(65)] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
