//! Secrets at rest, under DPAPI: a copy of the file is worth nothing on another computer. The service and whoever
//! enrols the computer are different users, so the key is the computer's; the folder's permissions keep other users out.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::io;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Cryptography::{
    CRYPT_INTEGER_BLOB, CRYPTPROTECT_LOCAL_MACHINE, CRYPTPROTECT_UI_FORBIDDEN, CryptProtectData,
    CryptUnprotectData,
};

/// Whether the system has a place for secrets.
pub(crate) const SEALS: bool = true;

const FLAGS: u32 = CRYPTPROTECT_LOCAL_MACHINE | CRYPTPROTECT_UI_FORBIDDEN;

pub(crate) fn seal(secret: &[u8]) -> io::Result<Vec<u8>> {
    let (given, mut sealed) = (blob(secret), CRYPT_INTEGER_BLOB::default());
    // SAFETY: `given` is `secret`, which is only read; `sealed` gets memory of the system's, which `taken` frees.
    let done =
        unsafe { CryptProtectData(&raw const given, null(), null(), null(), null(), FLAGS, &raw mut sealed) };
    taken(done, sealed)
}

pub(crate) fn unseal(sealed: &[u8]) -> io::Result<Vec<u8>> {
    let (given, mut secret) = (blob(sealed), CRYPT_INTEGER_BLOB::default());
    // SAFETY: as in `seal`; the description isn't asked for.
    let done = unsafe {
        CryptUnprotectData(&raw const given, null_mut(), null(), null(), null(), FLAGS, &raw mut secret)
    };
    taken(done, secret)
}

fn blob(bytes: &[u8]) -> CRYPT_INTEGER_BLOB {
    CRYPT_INTEGER_BLOB { cbData: bytes.len() as u32, pbData: bytes.as_ptr().cast_mut() }
}

/// Copies what the system gave, and gives it back.
fn taken(done: i32, given: CRYPT_INTEGER_BLOB) -> io::Result<Vec<u8>> {
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it gave that many bytes there.
    let bytes = unsafe { std::slice::from_raw_parts(given.pbData, given.cbData as usize) }.to_vec();
    // SAFETY: the memory is the system's, given to be freed so, and isn't used any more.
    unsafe { LocalFree(given.pbData.cast()) };
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_back_and_does_not_show() {
        let sealed = seal(b"a private key").unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"privat"));
        assert_eq!(unseal(&sealed).unwrap(), b"a private key");
        assert!(unseal(b"a private key").is_err());
    }
}
