//! The running box keeps its escrow up to date: what a new box needs to take its place.

use coffer_format::escrow::Escrow;
use coffer_link::Authority;
use coffer_vault::{RecoveryKey, RecoveryPublic, Vault, VaultError};

use crate::layout::Layout;
use crate::settings::Settings;
use crate::setup::read_secret;

/// Whether a new box could take this one's place unnoticed; otherwise a sentence.
pub(crate) fn keep(
    layout: &Layout,
    settings: &Settings,
    authority: &Authority,
    vault: &Vault,
) -> Option<String> {
    let dir = layout.0.display();
    let Some(recovery) = recovery_public(layout) else {
        return Some(format!(
            "If this box died, every computer would have to be enrolled again with the new one: its escrow can't be sealed, because \
             it doesn't know the organisation's recovery key. Run `cofferd escrow --dir {dir} --recovery-key FILE`, then \
             restart the box."
        ));
    };
    let kept = toml::to_string(settings).map_err(|error| error.to_string()).and_then(|settings| {
        let escrow = Escrow {
            certificate: authority.certificate_der().into(),
            key: authority.key_der().into(),
            settings,
        };
        vault.keep_escrow(&recovery, &escrow).map_err(|error: VaultError| error.to_string())
    });
    let error = kept.err()?;
    tracing::error!(error, "the escrow wasn't kept");
    Some(format!("What a new box would need to take this one's place couldn't be kept: {error}."))
}

/// As it was noted when the box was made; in a box made before that was done, by the recovery key itself if it's still here.
fn recovery_public(layout: &Layout) -> Option<RecoveryPublic> {
    let noted = read_secret(&layout.recovery_public()).map(RecoveryPublic);
    noted.or_else(|_| read_secret(&layout.recovery_key()).map(|key| RecoveryKey(key).public())).ok()
}
