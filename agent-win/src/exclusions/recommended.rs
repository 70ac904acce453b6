//! What administrators usually leave out where an application is found. Only shown: a configuration takes over what its
//! administrator wants.

use std::path::Path;

/// One recommendation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recommendation {
    pub(super) application: &'static str,
    /// Where it is, where it's installed; variables are expanded.
    found_at: &'static str,
    pub(super) pattern: &'static str,
    pub(super) why: &'static str,
}

const fn leave_out(
    application: &'static str,
    found_at: &'static str,
    pattern: &'static str,
    why: &'static str,
) -> Recommendation {
    Recommendation { application, found_at, pattern, why }
}

const RECOMMENDED: &[Recommendation] = &[
    leave_out(
        "SQL Server",
        r"C:\Program Files\Microsoft SQL Server",
        "**/tempdb*.?df",
        "made anew at each start of the server",
    ),
    leave_out(
        "SQL Server",
        r"C:\Program Files\Microsoft SQL Server",
        "**/MSSQL/Backup/*.bak",
        "copies of databases that are captured themselves",
    ),
    leave_out(
        "Exchange",
        r"C:\Program Files\Microsoft\Exchange Server",
        "**/Mailbox/*/*.Single",
        "the search index, which Exchange rebuilds",
    ),
    leave_out(
        "Windows Server Update Services",
        r"C:\WSUS\WsusContent",
        "/*:/WSUS/WsusContent/*",
        "updates that are downloaded again",
    ),
    leave_out(
        "Hyper-V",
        r"C:\ProgramData\Microsoft\Windows\Hyper-V",
        "**/*.vsv",
        "the memory of a virtual machine that was saved",
    ),
    leave_out(
        "Windows Search",
        r"C:\ProgramData\Microsoft\Search\Data",
        "/*:/ProgramData/Microsoft/Search/Data/*",
        "an index that Windows rebuilds",
    ),
    leave_out(
        "Microsoft Defender",
        r"C:\ProgramData\Microsoft\Windows Defender",
        "/*:/ProgramData/Microsoft/Windows Defender/Scans/*",
        "results of scans",
    ),
    leave_out(
        "Docker",
        r"C:\ProgramData\Docker",
        "/*:/ProgramData/Docker/windowsfilter/*",
        "layers of images that are pulled again",
    ),
    leave_out(
        "Google Chrome",
        r"C:\Program Files\Google\Chrome",
        "/*:/Users/*/AppData/Local/Google/Chrome/User Data/*/Cache/*",
        "a cache that the browser rebuilds",
    ),
    leave_out(
        "Microsoft Edge",
        r"C:\Program Files (x86)\Microsoft\Edge",
        "/*:/Users/*/AppData/Local/Microsoft/Edge/User Data/*/Cache/*",
        "a cache that the browser rebuilds",
    ),
    leave_out(
        "Microsoft Teams",
        r"C:\Program Files\WindowsApps",
        "/*:/Users/*/AppData/Local/Packages/MSTeams_*/LocalCache/*",
        "a cache that the program rebuilds",
    ),
    leave_out(
        "PostgreSQL",
        "/var/lib/postgresql",
        "/var/lib/postgresql/*/*/pg_stat_tmp/*",
        "statistics of the moment",
    ),
    leave_out(
        "Docker",
        "/var/lib/docker",
        "/var/lib/docker/overlay2/*",
        "layers of images that are pulled again",
    ),
];

/// Those whose application is on this computer.
pub(super) fn recommended_here() -> Vec<Recommendation> {
    RECOMMENDED.iter().filter(|one| Path::new(one.found_at).exists()).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BackupConfig;

    #[test]
    fn every_recommendation_can_be_taken_over_as_it_is() {
        for one in RECOMMENDED {
            let toml = format!("include = ['/x']\nexclude = ['{}']", one.pattern);
            assert!(BackupConfig::parse(&toml).is_ok(), "{one:?}");
        }
    }
}
