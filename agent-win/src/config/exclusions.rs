//! What nobody wants back: left out unless a configuration says `automatic_exclusions = false`.

/// What a pattern leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeavesOut {
    /// Whatever it matches; of a folder, everything below it as well.
    Anything,
    /// Files. A folder with such a name is captured.
    Files,
}

/// A pattern and the reason it's left out, for the screens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutomaticExclusion {
    pub pattern: &'static str,
    pub leaves_out: LeavesOut,
    pub why: &'static str,
}

const fn out(pattern: &'static str, why: &'static str) -> AutomaticExclusion {
    AutomaticExclusion { pattern, leaves_out: LeavesOut::Anything, why }
}

const fn files_out(pattern: &'static str, why: &'static str) -> AutomaticExclusion {
    AutomaticExclusion { pattern, leaves_out: LeavesOut::Files, why }
}

/// Everything that is left out by itself on this system. An included path is never left out by one of these.
pub const AUTOMATIC_EXCLUSIONS: &[AutomaticExclusion] =
    if cfg!(windows) { WINDOWS_EXCLUSIONS } else { LINUX_EXCLUSIONS };

pub const LINUX_EXCLUSIONS: &[AutomaticExclusion] = &[
    out("/proc", "the kernel's view of processes, not files"),
    out("/sys", "the kernel's view of devices, not files"),
    out("/dev", "made anew at each start"),
    out("/run", "made anew at each start"),
    out("/var/run", "made anew at each start"),
    out("/var/lock", "made anew at each start"),
    out("/tmp", "temporary files"),
    out("/var/tmp", "temporary files"),
    out("/swapfile", "memory that was moved to disk"),
    out("/swap.img", "memory that was moved to disk"),
    out("/**/lost+found", "left by file system checks"),
    out("/home/*/.cache", "caches that programs rebuild"),
    out("/root/.cache", "caches that programs rebuild"),
    out("/var/cache", "caches that programs rebuild"),
    out("/home/*/.local/share/Trash", "already thrown away"),
    out("/root/.local/share/Trash", "already thrown away"),
    out("/**/.Trash-*", "already thrown away"),
    files_out("/**/*-shm", "index of a SQLite log, rebuilt by SQLite"),
];

/// What Windows itself lists below `FilesNotToBackup` comes on top.
pub const WINDOWS_EXCLUSIONS: &[AutomaticExclusion] = &[
    out("/*:/pagefile.sys", "memory that was moved to disk"),
    out("/*:/swapfile.sys", "memory that was moved to disk"),
    out("/*:/hiberfil.sys", "memory as it was when the computer went to sleep"),
    out("/*:/System Volume Information", "snapshots and indexes of the volume itself"),
    out("/*:/$Recycle.Bin", "already thrown away"),
    out("/*:/$Extend", "the file system's own journals"),
    out("/*:/Windows/Temp", "temporary files"),
    out("/*:/Windows/Prefetch", "caches that Windows rebuilds"),
    out("/*:/Windows/CSC", "copies of files that lie on servers"),
    out("/*:/Windows/SoftwareDistribution/Download", "updates that Windows downloads again"),
    out("/*:/Windows/MEMORY.DMP", "left by a crash"),
    out("/*:/Windows/Minidump", "left by a crash"),
    out("/*:/Users/*/AppData/Local/Temp", "temporary files"),
    out("/*:/Users/*/AppData/Local/Microsoft/Windows/INetCache", "caches that programs rebuild"),
    out("/*:/Users/*/AppData/Local/Microsoft/Windows/Explorer/thumbcache_*", "caches that programs rebuild"),
    out("/*:/Users/*/AppData/Local/CrashDumps", "left by a crash"),
    files_out("/**/*.coffer-at-restart", "restored already, and waits for the computer's next start"),
    files_out("/**/~$*", "marks that Office leaves while a document is open"),
    files_out("/**/*-shm", "index of a SQLite log, rebuilt by SQLite"),
];
