//! What this computer calls itself.

use super::registry;

const VERSION: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion";
/// Windows 11 calls itself 10 in the registry; its builds begin here.
const FIRST_BUILD_OF_11: u32 = 22_000;

/// The computer's own name.
pub(crate) fn computer_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// The system's name, such as "Windows Server 2022 Standard (build 20348)".
pub(crate) fn system_name() -> String {
    let name = registry::text(VERSION, "ProductName").unwrap_or_else(|| "Windows".to_owned());
    let Some(build) = registry::text(VERSION, "CurrentBuildNumber") else { return name };
    let is_11 = build.parse().is_ok_and(|build: u32| build >= FIRST_BUILD_OF_11);
    let name = if is_11 { name.replacen("Windows 10", "Windows 11", 1) } else { name };
    format!("{name} (build {build})")
}
