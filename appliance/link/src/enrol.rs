//! Enrolment: a one-time code becomes an identity. The server proves the pinned authority first; only then is it
//! told the secret.

use std::path::Path;

use coffer_format::wire::{Message, RefusalCode, SegmentMark};
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

/// What HQ has of the branch that a code is for.
#[derive(Debug)]
pub struct BranchFound {
    pub branch: String,
    pub org: OrgId,
    /// Whose segments it has of the branch, if any.
    pub vault: Option<VaultId>,
    /// What tells the newest of those from others of their numbers.
    pub marks: Vec<SegmentMark>,
}

/// Asks the HQ at `address` what it has of the branch that `code` is for. Nothing changes there, and the code stays as it was.
/// `None`: an older HQ, which can't tell, or a code that can't be used, unless it was by this box before: enrolling says which.
pub async fn branch_of_code(address: &str, code: &EnrolmentCode) -> Result<Option<BranchFound>, LinkError> {
    let (mut link, _) = connect_to_enrol(address, &code.pin).await?;
    link.sender.send(Message::BranchOfCode { secret: code.secret.as_slice().into() }).await?;
    match answer(&mut link, address).await {
        Ok(Message::BranchFound { branch, org, vault, marks }) => {
            Ok(Some(BranchFound { branch, org, vault, marks }))
        }
        Ok(_) => Err(LinkError::OutOfTurn { address: address.to_owned() }),
        // An older HQ doesn't know the question. Where the line was cut instead, enrolling will say so.
        Err(LinkError::Cut { .. }) => Ok(None),
        Err(LinkError::Refused(refusal))
            if matches!(
                refusal.code,
                RefusalCode::NotAllowed | RefusalCode::BadRequest | RefusalCode::WrongCode
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Enrols this machine as `name` at the box at `address`, and keeps the identity in `dir`.
pub async fn enrol_computer(
    address: &str,
    code: &EnrolmentCode,
    name: &str,
    os: &str,
    dir: &Path,
) -> Result<Enrolled, LinkError> {
    let enrolling = Enrolling::ask(address, code, name, os, Identity::request()?).await?;
    let Message::Enrolled { computer, certificate, vault, org, chunk_key } = &enrolling.answer else {
        return Err(LinkError::OutOfTurn { address: address.to_owned() });
    };
    let (computer, vault, org, chunk_key) = (*computer, *vault, *org, *chunk_key);
    let certificate = certificate.to_vec();
    let identity = enrolling.finish(&certificate, &Role::Computer(computer), dir)?;
    Ok(Enrolled { identity, computer, vault, org, chunk_key })
}

/// Enrols this box as branch `name` at the HQ at `address`, and keeps the identity in `dir`. Where that broke off after HQ had used the
/// code up, it goes on with the same code: the key is in `dir` before it's asked for a certificate.
pub async fn enrol_branch(
    address: &str,
    code: &EnrolmentCode,
    name: &str,
    dir: &Path,
) -> Result<EnrolledBranch, LinkError> {
    let pending = Identity::request_kept(dir)?;
    let enrolling = Enrolling::ask(address, code, name, std::env::consts::OS, pending).await?;
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
    async fn ask(
        address: &str,
        code: &EnrolmentCode,
        name: &str,
        os: &str,
        pending: PendingIdentity,
    ) -> Result<Enrolling, LinkError> {
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
