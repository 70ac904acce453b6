//! Which file systems hold files, and which only look like it; and what the numbers of their files are worth (statfs(2),
//! `f_type`).

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
    Ok(PSEUDO.contains(&found) || MORE.contains(&number(found)))
}

/// File systems that give a file a number of its own for as long as it's there, whatever is mounted or renamed (linux/magic.h
/// and their sources). A tmpfs ends with its numbers; an overlay gives those of what lies below. FAT and exFAT make numbers
/// up, FUSE (unless its server does otherwise), SMB and NFS hand on whatever another machine says: there names alone count.
const LASTING: [i64; 17] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // Btrfs
    0xf2f5_2010, // F2FS
    0x2fc1_2fc1, // ZFS
    0xca45_1a4e, // bcachefs
    0x3153_464a, // JFS
    0x5265_4973, // ReiserFS
    0x3434,      // NILFS2
    0x7461_636f, // OCFS2
    0x0116_1970, // GFS2
    0x482b,      // HFS+
    0x7366_746e, // NTFS, by the kernel's own driver
    0xf15f,      // eCryptfs, over one of these
    0x794c_7630, // overlay
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
];

/// Whether the numbers of files on it are unique and lasting.
pub(super) fn has_lasting_numbers(of: FsType) -> bool {
    LASTING.contains(&number(of))
}

/// File systems without numbers that last whose change times nevertheless tell of each change, a new name among them: a server's,
/// which are of its own disk (linux/magic.h). FAT and exFAT have none but write times; FUSE, SMB and 9P hand on what they get.
const TELLING: [i64; 4] = [
    0x6969,      // NFS
    0x00c3_6400, // Ceph
    0x4741_5053, // GPFS
    0x0bd0_0bd0, // Lustre
];

/// Whether a change of a file on it always shows in the file's change time, or in its number.
pub(super) fn tells_changes(of: FsType) -> bool {
    has_lasting_numbers(of) || TELLING.contains(&number(of))
}

#[allow(clippy::unnecessary_cast)]
fn number(of: FsType) -> i64 {
    of.0 as i64 & 0xffff_ffff
}
