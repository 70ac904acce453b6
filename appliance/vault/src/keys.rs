//! The vault's keys, and how they're wrapped.
//!
//! A vault has a data key (what its segments are sealed with) and its organisation's chunk key (what chunks are named with).
//! Both travel in every segment's header, wrapped for the box (AES-256-GCM under the box key, a file now, the TPM
//! with the firmware) and for the organisation (HPKE base mode, X25519, HKDF-SHA256, ChaCha20-Poly1305, RFC 9180), so that
//! any segment can be opened by either, alone. A new data key is a new epoch; old segments keep their own wrap.

use coffer_format::segment::{BOX_WRAP_LEN, HQ_WRAP_LEN, KeyEnvelope, SegmentHeader};
use coffer_format::{OrgId, SegmentId, VaultId};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::{Result, VaultError};

const WRAP_INFO: &[u8] = b"coffer vault keys 1";
const ESCROW_INFO: &[u8] = b"coffer escrow 1";

/// Fills an array with random bytes from the operating system.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut out = [0; N];
    SystemRandom::new()
        .fill(&mut out)
        .map_err(|_| VaultError::Key("the operating system gave no random numbers: restart the box"))?;
    Ok(out)
}

/// The box's own key.
#[derive(Clone)]
pub struct BoxKey(pub [u8; 32]);

impl BoxKey {
    pub fn generate() -> Result<BoxKey> {
        random().map(BoxKey)
    }
}

/// The organisation's public recovery key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryPublic(pub [u8; 32]);

/// The organisation's private recovery key: opens any vault of it. Kept at HQ (and on paper), never on a box.
#[derive(Clone)]
pub struct RecoveryKey(pub [u8; 32]);

impl RecoveryKey {
    pub fn generate() -> Result<(RecoveryKey, RecoveryPublic)> {
        let (private, public) = X25519HkdfSha256::derive_keypair(&random::<32>()?);
        Ok((RecoveryKey(private.to_bytes().into()), RecoveryPublic(public.to_bytes().into())))
    }

    /// The half that a box may have.
    pub fn public(&self) -> RecoveryPublic {
        let private = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&self.0)
            .expect("any 32 bytes are a private key of X25519");
        RecoveryPublic(X25519HkdfSha256::sk_to_pk(&private).to_bytes().into())
    }
}

/// Whoever can open a vault.
#[derive(Clone)]
pub enum Opener {
    Box(BoxKey),
    Organisation(RecoveryKey),
}

/// A vault's keys in clear. Never printed, never stored.
#[derive(Clone)]
pub(crate) struct VaultKeys {
    pub(crate) data: [u8; 32],
    pub(crate) chunk: [u8; 32],
    pub(crate) envelope: KeyEnvelope,
}

const BAD_KEY: VaultError = VaultError::Key(
    "this key doesn't open this vault: use the box's key file, or the recovery key of its organisation",
);

impl VaultKeys {
    /// New keys of epoch 1 for a vault.
    pub(crate) fn generate(
        box_key: &BoxKey,
        recovery: &RecoveryPublic,
        chunk: [u8; 32],
    ) -> Result<VaultKeys> {
        let data = random()?;
        let mut both = [0; 64];
        both[..32].copy_from_slice(&data);
        both[32..].copy_from_slice(&chunk);
        let envelope = KeyEnvelope {
            epoch: 1,
            for_box: wrap_for_box(box_key, &both)?,
            for_hq: wrap_for_hq(recovery, &both)?,
        };
        Ok(VaultKeys { data, chunk, envelope })
    }

    /// Unwraps the keys of a segment.
    pub(crate) fn open(opener: &Opener, envelope: &KeyEnvelope) -> Result<VaultKeys> {
        let both = match opener {
            Opener::Box(key) => unwrap_for_box(key, &envelope.for_box)?,
            Opener::Organisation(key) => unwrap_for_hq(key, &envelope.for_hq)?,
        };
        let mut keys = VaultKeys { data: [0; 32], chunk: [0; 32], envelope: *envelope };
        keys.data.copy_from_slice(&both[..32]);
        keys.chunk.copy_from_slice(&both[32..]);
        Ok(keys)
    }

    /// The same keys, wrapped for another box.
    pub(crate) fn for_box(&self, box_key: &BoxKey) -> Result<KeyEnvelope> {
        Ok(KeyEnvelope { for_box: wrap_for_box(box_key, &self.both())?, ..self.envelope })
    }

    /// The same keys, wrapped for another organisation.
    pub(crate) fn for_organisation(&self, recovery: &RecoveryPublic) -> Result<KeyEnvelope> {
        Ok(KeyEnvelope { for_hq: wrap_for_hq(recovery, &self.both())?, ..self.envelope })
    }

    fn both(&self) -> [u8; 64] {
        let mut both = [0; 64];
        both[..32].copy_from_slice(&self.data);
        both[32..].copy_from_slice(&self.chunk);
        both
    }

    /// Whether a segment of the same vault has these keys: an epoch is one data key, whoever it's wrapped for.
    pub(crate) fn are_of(&self, envelope: &KeyEnvelope) -> bool {
        self.envelope.epoch == envelope.epoch
    }

    /// The key that one segment's records are sealed with.
    pub(crate) fn segment_key(&self, salt: &[u8; 16]) -> LessSafeKey {
        let mut material = [0; 48];
        material[..32].copy_from_slice(&self.data);
        material[32..].copy_from_slice(salt);
        aead_key(&blake3::derive_key("coffer 2026-11 segment key", &material))
    }

    /// The header of a new segment.
    pub(crate) fn header(
        &self,
        vault: VaultId,
        org: OrgId,
        segment: SegmentId,
        stream: coffer_format::segment::Stream,
        created_ms: u64,
    ) -> Result<SegmentHeader> {
        Ok(SegmentHeader { stream, segment, vault, org, salt: random()?, created_ms, keys: self.envelope })
    }
}

fn aead_key(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are the length of this key"))
}

fn wrap_for_box(key: &BoxKey, both: &[u8; 64]) -> Result<[u8; BOX_WRAP_LEN]> {
    let nonce: [u8; 12] = random()?;
    let mut sealed = both.to_vec();
    aead_key(&key.0)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(WRAP_INFO), &mut sealed)
        .map_err(|_| BAD_KEY)?;
    let mut out = [0; BOX_WRAP_LEN];
    out[..12].copy_from_slice(&nonce);
    out[12..].copy_from_slice(&sealed);
    Ok(out)
}

fn unwrap_for_box(key: &BoxKey, wrapped: &[u8; BOX_WRAP_LEN]) -> Result<Vec<u8>> {
    let mut nonce = [0; 12];
    nonce.copy_from_slice(&wrapped[..12]);
    let mut sealed = wrapped[12..].to_vec();
    let opened = aead_key(&key.0).open_in_place(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(WRAP_INFO),
        &mut sealed,
    );
    opened.map(|both| both.to_vec()).map_err(|_| BAD_KEY)
}

fn wrap_for_hq(public: &RecoveryPublic, both: &[u8; 64]) -> Result<[u8; HQ_WRAP_LEN]> {
    let (encapsulated, sealed) = seal_for(public, WRAP_INFO, b"", both)?;
    let mut out = [0; HQ_WRAP_LEN];
    out[..32].copy_from_slice(&encapsulated);
    out[32..].copy_from_slice(&sealed);
    Ok(out)
}

fn unwrap_for_hq(key: &RecoveryKey, wrapped: &[u8; HQ_WRAP_LEN]) -> Result<Vec<u8>> {
    open_with(key, WRAP_INFO, b"", &wrapped[..32], &wrapped[32..])
}

/// Seals an escrow of this vault; gives the encapsulated key and the ciphertext.
pub(crate) fn seal_escrow(
    public: &RecoveryPublic,
    vault: VaultId,
    plain: &[u8],
) -> Result<([u8; 32], Vec<u8>)> {
    seal_for(public, ESCROW_INFO, &vault.0, plain)
}

pub(crate) fn open_escrow(
    key: &RecoveryKey,
    vault: VaultId,
    encapsulated: &[u8; 32],
    sealed: &[u8],
) -> Result<Vec<u8>> {
    open_with(key, ESCROW_INFO, &vault.0, encapsulated, sealed)
}

fn seal_for(public: &RecoveryPublic, info: &[u8], aad: &[u8], plain: &[u8]) -> Result<([u8; 32], Vec<u8>)> {
    const BAD: VaultError =
        VaultError::Key("the organisation's recovery key is not an X25519 public key: join HQ again");
    let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&public.0).map_err(|_| BAD)?;
    let (encapsulated, sealed) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &public,
        info,
        plain,
        aad,
    )
    .map_err(|_| BAD)?;
    Ok((encapsulated.to_bytes().into(), sealed))
}

fn open_with(
    key: &RecoveryKey,
    info: &[u8],
    aad: &[u8],
    encapsulated: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>> {
    let private = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&key.0).map_err(|_| BAD_KEY)?;
    let encapsulated =
        <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| BAD_KEY)?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &private,
        &encapsulated,
        info,
        sealed,
        aad,
    )
    .map_err(|_| BAD_KEY)
}
