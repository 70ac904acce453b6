//! A computer without a certificate shows its one-time code and gets one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coffer_format::FileHash;
use coffer_format::wire::{Message, RefusalCode};
use coffer_link::{Link, LinkError, Role, refuse, secret_hash};

use super::Appliance;
use crate::setup::LIFETIME;

/// A computer's clock may be behind ours by this much.
const BACKDATED: Duration = Duration::from_secs(24 * 3600);

pub(super) async fn serve(appliance: Arc<Appliance>, link: Link, request: Message) -> Result<(), LinkError> {
    let Message::Enrol { secret, os, csr, .. } = request else {
        let sentence = "this machine has no certificate of this box: enrol it with a code first";
        return link.sender.send(refuse(RefusalCode::NotAllowed, sentence)).await;
    };
    let answer = tokio::task::spawn_blocking(move || enrol(&appliance, &secret, &os, &csr));
    match answer.await {
        Ok(answer) => link.sender.send(answer).await,
        Err(panic) => {
            tracing::error!(%panic, "enrolling failed; this is a mistake in cofferd");
            link.sender
                .send(refuse(RefusalCode::Internal, "enrolling failed inside the box: look at its log"))
                .await
        }
    }
}

fn enrol(appliance: &Arc<Appliance>, secret: &[u8], os: &str, csr: &[u8]) -> Message {
    let signed = Arc::new(std::sync::Mutex::new(None));
    let (signer, csr, keep) = (appliance.clone(), csr.to_vec(), signed.clone());
    let enrolled = appliance.vault.enrol_computer(secret_hash(secret), os, move |computer| {
        let certificate = signer
            .authority
            .sign_request(&csr, &Role::Computer(computer), LIFETIME, SystemTime::now() - BACKDATED)
            .ok()?;
        let hash = public_key_hash(&certificate)?;
        *keep.lock().ok()? = Some(certificate);
        Some(hash)
    });
    match (enrolled, signed.lock().ok().and_then(|mut signed| signed.take())) {
        (Ok(computer), Some(certificate)) => Message::Enrolled {
            computer,
            certificate: certificate.into(),
            vault: appliance.vault.id(),
            org: appliance.vault.org(),
            chunk_key: appliance.vault.chunk_key(),
        },
        (Err(error), _) => Message::Refused { refusal: error.refusal() },
        (Ok(_), None) => refuse(RefusalCode::Internal, "enrolling failed inside the box: look at its log"),
    }
}

fn public_key_hash(certificate: &[u8]) -> Option<FileHash> {
    coffer_link::certificate_hash(certificate).ok()
}
