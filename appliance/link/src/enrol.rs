//! Enrolment: a one-time code becomes an identity. The server proves the pinned authority first; only then is it
//! told the secret.

use std::path::Path;

use coffer_format::wire::Message;
use coffer_format::{ComputerId, OrgId, VaultId};

use crate::{EnrolmentCode, Identity, Link, LinkError, PendingIdentity, Role, connect_to_enrol};

/// A computer's place at its box. `chunk_key` names chunks throughout the organisation: keep it private.
pub struct Enrolled {
    pub identity: Identity,
    pub computer: ComputerId,
    pub vault: VaultId,
    pub org: OrgId,
    pub chunk_key: [u8; 32],
}

/// A box's place at HQ. `recovery_key` is the organisation's public key.
pub struct EnrolledBranch {
    pub identity: Identity,
    pub branch: String,
    pub org: OrgId,
    pub chunk_key: [u8; 32],
    pub recovery_key: [u8; 32],
}

/// Enrols this machine as `name` at the box at `address`, and keeps the identity in `dir`.
pub async fn enrol_computer(
    address: &str,
    code: &EnrolmentCode,
    name: &str,
    os: &str,
    dir: &Path,
) -> Result<Enrolled, LinkError> {
    let enrolling = Enrolling::ask(address, code, name, os).await?;
    let Message::Enrolled { computer, certificate, vault, org, chunk_key } = &enrolling.answer else {
        return Err(LinkError::OutOfTurn { address: address.to_owned() });
    };
    let (computer, vault, org, chunk_key) = (*computer, *vault, *org, *chunk_key);
    let certificate = certificate.to_vec();
    let identity = enrolling.finish(&certificate, &Role::Computer(computer), dir)?;
    Ok(Enrolled { identity, computer, vault, org, chunk_key })
}

/// Enrols this box as branch `name` at the HQ at `address`, and keeps the identity in `dir`.
pub async fn enrol_branch(
    address: &str,
    code: &EnrolmentCode,
    name: &str,
    dir: &Path,
) -> Result<EnrolledBranch, LinkError> {
    let enrolling = Enrolling::ask(address, code, name, std::env::consts::OS).await?;
    let Message::EnrolledBranch { certificate, branch, org, chunk_key, recovery_key } = &enrolling.answer
    else {
        return Err(LinkError::OutOfTurn { address: address.to_owned() });
    };
    let (branch, org, chunk_key, recovery_key) = (branch.clone(), *org, *chunk_key, *recovery_key);
    let certificate = certificate.to_vec();
    let identity = enrolling.finish(&certificate, &Role::Branch(branch.clone()), dir)?;
    Ok(EnrolledBranch { identity, branch, org, chunk_key, recovery_key })
}

struct Enrolling {
    pending: PendingIdentity,
    authority: Vec<u8>,
    address: String,
    answer: Message,
}

impl Enrolling {
    async fn ask(address: &str, code: &EnrolmentCode, name: &str, os: &str) -> Result<Enrolling, LinkError> {
        let pending = Identity::request()?;
        let (mut link, authority) = connect_to_enrol(address, &code.pin).await?;
        let (secret, csr) = (code.secret.as_slice().into(), pending.csr_der().into());
        let (name, os) = (name.to_owned(), os.to_owned());
        link.sender.send(Message::Enrol { secret, name, os, csr }).await?;
        let answer = answer(&mut link, address).await?;
        Ok(Enrolling { pending, authority, address: address.to_owned(), answer })
    }

    /// Joins key and certificate; the certificate must give the role that the answer speaks of.
    fn finish(self, certificate: &[u8], role: &Role, dir: &Path) -> Result<Identity, LinkError> {
        let identity = self.pending.complete(certificate, &self.authority)?;
        if identity.role() != *role {
            let (expected, found) = (role.to_string(), identity.role().to_string());
            return Err(LinkError::OtherRole { address: self.address, expected, found });
        }
        identity.save(dir)?;
        Ok(identity)
    }
}

async fn answer(link: &mut Link, address: &str) -> Result<Message, LinkError> {
    match link.receiver.recv().await? {
        Some(Message::Refused { refusal }) => Err(LinkError::Refused(refusal)),
        Some(message) => Ok(message),
        None => Err(LinkError::Cut { address: address.to_owned() }),
    }
}

/// Keys stay out of logs.
impl std::fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Enrolled({:?} in {})", self.identity, self.vault)
    }
}

impl std::fmt::Debug for EnrolledBranch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EnrolledBranch({:?})", self.identity)
    }
}
