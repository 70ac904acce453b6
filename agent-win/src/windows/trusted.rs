//! Whether a folder, and what it's called, are only for administrators and the system to change. Read out of its security
//! descriptor (MS-DTYP 2.4.6); what makes no sense there is no reason to trust.

use std::fs::File;
use std::io;

use windows_sys::Win32::Foundation::{GENERIC_ALL, GENERIC_WRITE};
use windows_sys::Win32::Storage::FileSystem::{
    DELETE, FILE_DELETE_CHILD, FILE_WRITE_ATTRIBUTES, FILE_WRITE_DATA, READ_CONTROL, WRITE_DAC, WRITE_OWNER,
};

use super::security;

/// What whoever may do it can turn a folder into a link, or put another in its place, with.
const CHANGES: u32 = DELETE
    | WRITE_DAC
    | WRITE_OWNER
    | FILE_DELETE_CHILD
    | FILE_WRITE_DATA
    | FILE_WRITE_ATTRIBUTES
    | GENERIC_WRITE
    | GENERIC_ALL;
const DACL_PRESENT: u8 = 0x04;
const INHERIT_ONLY: u8 = 0x08;
/// Types of entries that refuse something.
const DENIES: [u8; 4] = [1, 6, 10, 12];
/// Types of entries that allow something to one who's named right after what.
const ALLOWS: [u8; 2] = [0, 9];

/// LocalSystem (S-1-5-18), Administrators (S-1-5-32-544), TrustedInstaller (S-1-5-80-956008885-…), and whoever owns it
/// (S-1-3-4), which is one of those.
const TRUSTED: [&[u8]; 4] = [
    &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0],
    &[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0],
    &[
        1, 6, 0, 0, 0, 0, 0, 5, 80, 0, 0, 0, 0xb5, 0x89, 0xfb, 0x38, 0x19, 0x84, 0xc2, 0xcb, 0x5c, 0x6c,
        0x23, 0x6d, 0x57, 0x00, 0x77, 0x6e, 0xc0, 0x02, 0x64, 0x87,
    ],
    &[1, 1, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0],
];

pub(super) fn is_for_administrators(folder: &File) -> io::Result<bool> {
    let descriptor = security::read(&security::reopened(folder, READ_CONTROL)?)?;
    Ok(only_trusted_change(&descriptor).unwrap_or(false))
}

/// Whether an object's owner is one of those.
pub(super) fn has_trusted_owner(descriptor: &[u8]) -> bool {
    sid_at(descriptor, 4).is_some_and(|owner| TRUSTED[..3].contains(&owner))
}

/// `None` where the descriptor can't be read.
fn only_trusted_change(descriptor: &[u8]) -> Option<bool> {
    if !has_trusted_owner(descriptor) || descriptor.get(2)? & DACL_PRESENT == 0 {
        return Some(false);
    }
    let list = descriptor.get(place(descriptor, 16)?..)?;
    let count = u16::from_le_bytes(list.get(4..6)?.try_into().ok()?);
    let mut at = 8;
    for _ in 0..count {
        let entry = list.get(at..)?;
        let len = usize::from(u16::from_le_bytes(entry.get(2..4)?.try_into().ok()?));
        let entry = entry.get(..len)?;
        if lets_others_change(entry)? {
            return Some(false);
        }
        at += len;
    }
    Some(true)
}

fn lets_others_change(entry: &[u8]) -> Option<bool> {
    let (kind, flags) = (*entry.first()?, *entry.get(1)?);
    let rights = u32::from_le_bytes(entry.get(4..8)?.try_into().ok()?);
    if DENIES.contains(&kind) || flags & INHERIT_ONLY != 0 || rights & CHANGES == 0 {
        return Some(false);
    }
    Some(!ALLOWS.contains(&kind) || !TRUSTED.contains(&sid(entry.get(8..)?)?))
}

/// Where a part of a descriptor is; `None` where there's none of the kind.
fn place(descriptor: &[u8], field: usize) -> Option<usize> {
    let at = u32::from_le_bytes(descriptor.get(field..field + 4)?.try_into().ok()?);
    (at != 0).then_some(at as usize)
}

fn sid_at(descriptor: &[u8], field: usize) -> Option<&[u8]> {
    sid(descriptor.get(place(descriptor, field)?..)?)
}

fn sid(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(..8 + 4 * usize::from(*bytes.get(1)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USERS: &[u8] = &[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 33, 2, 0, 0];
    const READ: u32 = 0x0012_00a9;
    const ALL: u32 = 0x001f_01ff;

    /// What an entry is for, its flags, what it allows, and to whom.
    type Entry = (u8, u8, u32, &'static [u8]);

    fn descriptor(owner: &[u8], entries: &[Entry]) -> Vec<u8> {
        let count = entries.len() as u8;
        let entries: Vec<u8> = entries
            .iter()
            .flat_map(|(kind, flags, rights, sid)| {
                let len = (8 + sid.len() as u16).to_le_bytes();
                [&[*kind, *flags], &len[..], &rights.to_le_bytes(), sid].concat()
            })
            .collect();
        let len = (8 + entries.len() as u16).to_le_bytes();
        let list = [&[2, 0], &len[..], &[count, 0, 0, 0], &entries].concat();
        let place = |at: usize| (at as u32).to_le_bytes();
        let fields = [place(20), place(0), place(0), place(20 + owner.len())].concat();
        [&[1u8, 0, DACL_PRESENT, 0x80][..], &fields, owner, &list].concat()
    }

    fn with(entries: &[Entry]) -> Option<bool> {
        only_trusted_change(&descriptor(TRUSTED[1], entries))
    }

    #[test]
    fn a_folder_is_trusted_where_nobody_else_may_change_it() {
        let administrators = (0, 3, ALL, TRUSTED[1]);
        assert_eq!(with(&[administrators, (0, 3, READ, USERS)]), Some(true));
        assert_eq!(with(&[administrators, (0, 0, 4, USERS)]), Some(true), "new folders in it do no harm");
        assert_eq!(with(&[administrators, (0, 8, ALL, USERS)]), Some(true), "only what's below is theirs");
        assert_eq!(with(&[administrators, (1, 0, ALL, USERS)]), Some(true));
        for rights in [DELETE, WRITE_DAC, FILE_WRITE_DATA, FILE_DELETE_CHILD, GENERIC_ALL] {
            assert_eq!(with(&[administrators, (0, 0, rights, USERS)]), Some(false), "{rights:#x}");
        }
        assert_eq!(
            with(&[administrators, (5, 0, ALL, TRUSTED[0])]),
            Some(false),
            "of a kind that isn't read"
        );
    }

    #[test]
    fn who_owns_it_may_change_it() {
        assert_eq!(only_trusted_change(&descriptor(USERS, &[])), Some(false));
        assert!(has_trusted_owner(&descriptor(TRUSTED[2], &[])));
        assert!(!has_trusted_owner(&descriptor(USERS, &[])));
    }

    #[test]
    fn whom_everybody_may_change_is_not_trusted() {
        let mut none = descriptor(TRUSTED[0], &[]);
        none[2] = 0;
        assert_eq!(only_trusted_change(&none), Some(false));
        let whole = descriptor(TRUSTED[0], &[(0, 0, READ, USERS)]);
        assert_eq!(only_trusted_change(&whole), Some(true));
        assert_eq!(only_trusted_change(&whole[..whole.len() - 1]), None);
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _any = only_trusted_change(&[&[1, 0, 4, 0x80, 20, 0, 0, 0], &bytes[..]].concat());
        }
    }
}
