//! Enrolling a branch, and before that a look at what a code is for: all that a peer without a certificate may ask for.

use std::time::{Duration, SystemTime};

use coffer_format::wire::{Message, RefusalCode};
use coffer_link::{Link, certificate_hash};

use crate::branch_link::MARKS_MAX;
use crate::server::Shared;
use crate::{HqError, Result};

/// A headless box must not fall out of the organisation by itself.
const BRANCH_LIFETIME: Duration = Duration::from_secs(86_400 * 365 * 10);
/// A box's clock may be behind ours.
const CLOCK_SLACK: Duration = Duration::from_secs(86_400);

/// Serves a link of a peer without a certificate: one enrolment, and that's it.
pub(crate) async fn serve(shared: &Shared, mut link: Link) -> Result<()> {
    let outcome = match link.receiver.recv().await? {
        Some(Message::Enrol { secret, name, csr, .. }) => enrol(shared, secret.0, name, csr.0).await,
        Some(Message::BranchOfCode { secret }) => look(shared, secret.0).await,
        Some(_) => Err(HqError::refused(
            RefusalCode::NotAllowed,
            "only enrolled boxes may do that: enrol with a code first",
        )),
        None => return Ok(()),
    };
    let (answer, error) = match outcome {
        Ok(answer) => (answer, None),
        Err(error) => (Message::Refused { refusal: error.refusal() }, Some(error)),
    };
    link.sender.send(answer).await?;
    error.map_or(Ok(()), Err)
}

/// Tells who has a code what is here of its branch. The code stays as it is.
async fn look(shared: &Shared, secret: Vec<u8>) -> Result<Message> {
    let registry = shared.registry.clone();
    let name = shared.in_background(move || registry.branch_of(&secret)).await?;
    let (branch, org) = (shared.branches.of_code(&name), shared.organisation.org);
    let looking = shared.in_background(move || {
        let vault = branch.mirror()?.map(|mirror| mirror.vault());
        let newest: Vec<_> = branch.has()?.iter().rev().take(MARKS_MAX).map(|has| has.segment).collect();
        let marks = branch.marks(&newest)?;
        Ok(Message::BranchFound { branch: branch.name.clone(), org, vault, marks })
    });
    looking.await
}

async fn enrol(shared: &Shared, secret: Vec<u8>, name: String, csr: Vec<u8>) -> Result<Message> {
    let (registry, organisation) = (shared.registry.clone(), shared.organisation.clone());
    let signing = shared.in_background(move || {
        let (branch, certificate) = registry.use_code(&secret, |role| {
            let from = SystemTime::now() - CLOCK_SLACK;
            let certificate =
                organisation.authority.sign_request(&csr, role, BRANCH_LIFETIME + CLOCK_SLACK, from)?;
            let holder = certificate_hash(&certificate)?;
            Ok((certificate, holder))
        })?;
        tracing::info!(branch, box_name = name, "a branch was enrolled");
        Ok(Message::EnrolledBranch {
            certificate: certificate.into(),
            branch,
            org: organisation.org,
            chunk_key: organisation.chunk_key,
            recovery_key: organisation.recovery_public.0,
        })
    });
    signing.await
}
