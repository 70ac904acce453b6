//! Which file systems hold files, and which only look like it (statfs(2), `f_type`).

use std::io;
use std::os::fd::BorrowedFd;

use nix::sys::statfs::{
    BPF_FS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC, DEVPTS_SUPER_MAGIC, FsType,
    HUGETLBFS_MAGIC, NSFS_MAGIC, PROC_SUPER_MAGIC, SECURITYFS_MAGIC, SELINUX_MAGIC, SYSFS_MAGIC, TMPFS_MAGIC,
    TRACEFS_MAGIC, fstatfs,
};

const PSEUDO: [FsType; 14] = [
    PROC_SUPER_MAGIC,
    SYSFS_MAGIC,
    TMPFS_MAGIC,
    DEVPTS_SUPER_MAGIC,
    CGROUP_SUPER_MAGIC,
    CGROUP2_SUPER_MAGIC,
    DEBUGFS_MAGIC,
    TRACEFS_MAGIC,
    SECURITYFS_MAGIC,
    SELINUX_MAGIC,
    BPF_FS_MAGIC,
    HUGETLBFS_MAGIC,
    NSFS_MAGIC,
    FsType(0x0187), // autofs: looking inside would mount
];

pub(super) fn is_pseudo(directory: BorrowedFd<'_>) -> io::Result<bool> {
    let found = fstatfs(directory)?.filesystem_type();
    // ramfs, configfs, pstore, efivarfs, mqueue, binfmt_misc, fusectl, rpc_pipefs (linux/magic.h and their sources).
    const MORE: [i64; 8] = [
        0x8584_58f6,
        0x6265_6570,
        0x6165_676c,
        0xde5e_81e4,
        0x1980_0202,
        0x4249_4e4d,
        0x6573_5543,
        0x6759_6969,
    ];
    #[allow(clippy::unnecessary_cast)]
    let number = found.0 as i64 & 0xffff_ffff;
    Ok(PSEUDO.contains(&found) || MORE.contains(&number))
}
