//! Whose signature counts on this computer.

use std::fs::OpenOptions;
use std::io::Read;
use std::path::Path;

use coffer_link::ReleaseKey;

use super::UpdateError;

/// Compiled in: `release-keys/trusted` of the repository.
const BUILT_IN: &str = include_str!("../../release-keys/trusted");
/// Beside the program: who can write there can replace the program itself.
const BESIDE: &str = "release.keys";
/// Longest such file, in bytes.
const FILE_MAX: u64 = 16 << 10;

/// The keys that are built in, and those in `release.keys` of a folder, where it has one.
pub fn trusted_keys(folder: &Path) -> Result<Vec<ReleaseKey>, UpdateError> {
    let mut keys = ReleaseKey::list(BUILT_IN)?;
    let path = folder.join(BESIDE);
    if let Ok(file) = coffer_link::open_own_file(&path, OpenOptions::new().read(true)) {
        let unusable = |why: String| UpdateError::Keys(format!("{} can't be used: {why}", path.display()));
        let mut text = String::new();
        file.take(FILE_MAX).read_to_string(&mut text).map_err(|error| unusable(error.to_string()))?;
        keys.extend(ReleaseKey::list(&text).map_err(|error| unusable(error.to_string()))?);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_list_can_be_read() {
        assert!(ReleaseKey::list(BUILT_IN).is_ok());
    }

    #[test]
    fn keys_beside_the_program_count_and_mistakes_in_them_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let built_in = trusted_keys(folder.path()).unwrap().len();
        let key = coffer_link::ReleaseSigner::from_seed(&[1; 32]).key();
        std::fs::write(folder.path().join(BESIDE), format!("{key}\n")).unwrap();
        assert_eq!(trusted_keys(folder.path()).unwrap().len(), built_in + 1);
        std::fs::write(folder.path().join(BESIDE), "nonsense").unwrap();
        let told = trusted_keys(folder.path()).unwrap_err().to_string();
        assert!(told.contains("release.keys") && told.contains("copy it again"), "{told}");
    }
}
