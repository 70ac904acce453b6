//! Where the links on the way to an included path led when it was last there. A link that is gone takes nothing of what it led to
//! along: that stays asked for until the configuration says otherwise, or the link leads elsewhere.
//!
//! Kept in the file `ways` of the configuration's folder, a TOML table: the included path as it's written, and where it led.

use std::path::Path;

use crate::config::{BackupConfig, way_of};
use crate::durable_file;
use crate::path::as_path;
use crate::platform::stat_path;

/// The configuration with what its lost links led to. What they lead to now is remembered in `folder`.
pub(super) fn with_lost(config: &BackupConfig, folder: &Path) -> BackupConfig {
    let file = folder.join("ways");
    let before: toml::Table =
        coffer_link::read_small_text(&file).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
    let (mut now, mut with_lost) = (toml::Table::new(), config.clone());
    for include in config.asked() {
        let way = way_of(include);
        let end = way.last().map_or(&b""[..], |end| end);
        let known = before.get(include).and_then(|target| target.as_str());
        if stat_path(&as_path(end)).is_ok() {
            let led_to = std::str::from_utf8(end).ok().filter(|_| way.len() > 1 && !cfg!(windows));
            now.extend(led_to.map(|target| (include.clone(), target.into())));
        } else if let Some(target) = known {
            with_lost.include.push(target.to_owned());
            now.insert(include.clone(), target.into());
        }
    }
    if now != before {
        let kept = coffer_link::make_own_folder(folder)
            .and_then(|()| durable_file::save(&file, now.to_string().as_bytes()));
        if let Err(error) = kept {
            tracing::warn!(%error, "where included links lead can't be remembered");
        }
    }
    with_lost
}

/// Over which paths each included path leads now.
pub(super) fn ways_of(config: &BackupConfig) -> Vec<Vec<Vec<u8>>> {
    config.asked().map(|path| way_of(path)).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_a_lost_link_led_to_stays_asked_for_until_it_leads_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let (link, state) = (top.join("way"), top.join("state"));
        for target in ["one", "two"] {
            fs::create_dir(top.join(target)).unwrap();
        }
        let config = BackupConfig::parse(&format!("include = [{link:?}]")).unwrap();
        let asked = || with_lost(&config, &state).include;
        let shown = |name: &str| top.join(name).to_str().unwrap().to_owned();
        symlink("one", &link).unwrap();
        assert_eq!(asked(), [shown("way")]);
        fs::remove_file(&link).unwrap();
        assert_eq!(asked(), [shown("way"), shown("one")]);
        assert_eq!(asked(), [shown("way"), shown("one")], "and so it stays");
        symlink("two", &link).unwrap();
        assert_eq!(asked(), [shown("way")]);
        fs::remove_file(&link).unwrap();
        assert_eq!(asked(), [shown("way"), shown("two")]);
    }
}
