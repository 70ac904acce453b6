//! What tells one volume from another, by which it's known again after it was unmounted: neither a device's number nor its name
//! is lasting.

use std::os::unix::fs::MetadataExt;

use super::Directory;

/// Names of one driver or another for what's the same on the disk.
const FAMILIES: [(&str, &str); 8] = [
    ("ext2", "ext4"),
    ("ext3", "ext4"),
    ("ntfs", "ntfs3"),
    ("fuseblk", "ntfs3"),
    ("nfs", "nfs4"),
    ("smb3", "cifs"),
    ("smbfs", "cifs"),
    ("msdos", "vfat"),
];
/// Their number of the file system (statfs(2), `f_fsid`) is written on the disk, or, in memory, given to no other; that of others is the
/// device's.
const NUMBERED: [&str; 5] = ["ext4", "btrfs", "zfs", "bcachefs", IN_MEMORY];
const IN_MEMORY: &str = "tmpfs";
/// On no disk of this computer: what's mounted is a name.
const NAMED: [&str; 9] = ["nfs4", "cifs", "9p", "virtiofs", "ceph", "glusterfs", "afs", "vboxsf", "overlay"];
/// They have no number. What's known of an image is the file that it is.
const IMAGES: [&str; 3] = ["squashfs", "cramfs", "romfs"];
/// Where udev(7) says which disk has which file system.
const BY_UUID: &str = "/dev/disk/by-uuid";

/// Kind, number and folder, a tab between each. Without a number (there's none that lasts, or nobody tells it) the kind alone counts.
pub(super) fn of(kind: &str, (source, root): (&[u8], &[u8]), top: &Directory) -> String {
    let kind = FAMILIES.iter().find(|(one, _)| *one == kind).map_or(kind, |(_, family)| family);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let number = match kind {
        _ if NUMBERED.contains(&kind) => top.file_system_number(),
        _ if NAMED.contains(&kind) || kind.starts_with("fuse.") => Some(text(source)),
        _ if IMAGES.contains(&kind) => super::device_of(top).and_then(image_of),
        _ => super::device_of(top).and_then(by_uuid),
    };
    let Some(number) = number.filter(|number| !number.is_empty()) else { return kind.to_owned() };
    format!("{kind}\t{number}\t{}", text(root))
}

/// Whether they may be the same: what isn't known of one isn't asked of the other.
pub(crate) fn may_be_same_volume(one: &str, other: &str) -> bool {
    one == other || one.split('\t').zip(other.split('\t')).all(|(one, other)| one == other)
}

/// Whether one may stand where the other was: what's in memory is made anew each time it's mounted, and holds what it was given since.
pub(crate) fn may_stand_for(known: &str, now: &str) -> bool {
    let is_in_memory = |identity: &str| identity.split('\t').next() == Some(IN_MEMORY);
    may_be_same_volume(known, now) || is_in_memory(known) && is_in_memory(now)
}

fn by_uuid(device: u64) -> Option<String> {
    let names = std::fs::read_dir(BY_UUID).ok()?;
    let is_it =
        |entry: &std::fs::DirEntry| std::fs::metadata(entry.path()).is_ok_and(|disk| disk.rdev() == device);
    let found = names.flatten().find(is_it)?;
    Some(found.file_name().to_string_lossy().into_owned())
}

/// The file that a loop device shows.
fn image_of(device: u64) -> Option<String> {
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let file = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/loop/backing_file")).ok()?;
    Some(file.trim_end().trim_end_matches(" (deleted)").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_of_both_tells_two_volumes_apart() {
        let known = "ext4\t123\t/";
        assert!(may_be_same_volume(known, known) && may_be_same_volume("ext4", known));
        for other in ["ext4\t124\t/", "ext4\t123\t/below", "xfs", "tmpfs"] {
            assert!(!may_be_same_volume(known, other) && !may_be_same_volume(other, known), "{other}");
        }
    }

    #[test]
    fn memory_alone_is_made_anew_with_each_mount() {
        assert!(may_stand_for("tmpfs\t1\t/", "tmpfs\t2\t/") && may_stand_for("ext4\t1\t/", "ext4\t1\t/"));
        for (known, now) in
            [("ext4\t1\t/", "ext4\t2\t/"), ("ext4\t1\t/", "tmpfs\t1\t/"), ("tmpfs\t1\t/", "ext4\t1\t/")]
        {
            assert!(!may_stand_for(known, now), "{known} {now}");
        }
    }

    #[test]
    fn drivers_of_one_family_are_one_kind() {
        let top = Directory::open_path(b"").unwrap();
        let of = |kind: &str| of(kind, (b"server:/share", b"/"), &top);
        assert_eq!((of("ext3"), of("nfs")), (of("ext4"), of("nfs4")));
        assert_eq!(of("nfs4"), "nfs4\tserver:/share\t/");
        assert!(of("ext4").starts_with("ext4\t"), "{}", of("ext4"));
        assert_ne!(of("nfs"), of("cifs"));
    }
}
