//! The running box keeps its escrow up to date: what a new box needs to take its place.

use coffer_format::escrow::Escrow;
use coffer_link::Authority;
use coffer_vault::{RecoveryKey, Vault};

use crate::layout::Layout;
use crate::recovery_public::{self, Noted};
use crate::settings::Settings;
use crate::setup::read_secret;

/// What keeps a new box from taking this one's place unnoticed, or might have, in sentences.
pub(crate) fn keep(
    layout: &Layout,
    settings: &Settings,
    authority: &Authority,
    vault: &Vault,
) -> Vec<String> {
    let settings = match toml::to_string(settings) {
        Ok(settings) => settings,
        Err(error) => return vec![not_kept(&error.to_string())],
    };
    let (certificate, key) = (authority.certificate_der().into(), authority.key_der().into());
    let escrow = Escrow { certificate, key, settings };
    let Noted { key, mended } = recovery_public(layout, vault, &escrow);
    let Some(recovery) = key else {
        let dir = layout.0.display();
        let unknown = format!(
            "If this box died, every computer would have to be enrolled again with the new one: its escrow can't be sealed, because \
             it doesn't know the organisation's recovery key. Run `cofferd escrow --dir {dir} --recovery-key FILE`, then \
             restart the box."
        );
        return vec![mended.unwrap_or(unknown)];
    };
    let kept = vault.keep_escrow(&recovery, &escrow);
    mended.into_iter().chain(kept.err().map(|error| not_kept(&error.to_string()))).collect()
}

fn not_kept(error: &str) -> String {
    tracing::error!(error, "the escrow wasn't kept");
    format!("What a new box would need to take this one's place couldn't be kept: {error}.")
}

/// As it was noted when the box was made; in a box made before that was done, by the recovery key itself if it's still here.
fn recovery_public(layout: &Layout, vault: &Vault, escrow: &Escrow) -> Noted {
    let noted = recovery_public::load(layout, |key| vault.has_escrow(key, escrow));
    match noted {
        Noted { key: None, mended: None } => {
            let key = read_secret(&layout.recovery_key()).map(|key| RecoveryKey(key).public()).ok();
            Noted { key, mended: None }
        }
        noted => noted,
    }
}
