//! What this computer calls itself.

#![allow(unsafe_code, reason = "calls of Windows")]

use windows_sys::Win32::Foundation::ERROR_SUCCESS;
use windows_sys::Win32::System::Registry::{HKEY_LOCAL_MACHINE, RRF_RT_REG_SZ, RegGetValueW};

const VERSION: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion";
/// Windows 11 calls itself 10 in the registry; its builds begin here.
const FIRST_BUILD_OF_11: u32 = 22_000;

/// The computer's own name.
pub(crate) fn computer_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// The system's name, such as "Windows Server 2022 Standard (build 20348)".
pub(crate) fn system_name() -> String {
    let name = registry_text("ProductName").unwrap_or_else(|| "Windows".to_owned());
    let Some(build) = registry_text("CurrentBuildNumber") else { return name };
    let is_11 = build.parse().is_ok_and(|build: u32| build >= FIRST_BUILD_OF_11);
    let name = if is_11 { name.replacen("Windows 10", "Windows 11", 1) } else { name };
    format!("{name} (build {build})")
}

fn registry_text(value: &str) -> Option<String> {
    let wide = |text: &str| text.encode_utf16().chain([0]).collect::<Vec<u16>>();
    let (key, value) = (wide(VERSION), wide(value));
    let mut text = [0u16; 256];
    let mut len = size_of_val(&text) as u32;
    // SAFETY: both names end with a zero, the buffer is as long as `len` says, the kind isn't asked back.
    let code = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            value.as_ptr(),
            RRF_RT_REG_SZ,
            std::ptr::null_mut(),
            text.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    let units = text.get(..len as usize / 2)?;
    (code == ERROR_SUCCESS).then(|| String::from_utf16_lossy(units).trim_end_matches('\0').to_owned())
}
