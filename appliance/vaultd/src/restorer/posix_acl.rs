//! POSIX access control lists: from the extended attributes that Linux keeps them in, to the text that tar archives have them in.

/// The keyword of a list in a pax header, as star and GNU tar read it; `None` where an attribute isn't one.
pub(super) fn keyword(attribute: &[u8]) -> Option<&'static str> {
    match attribute {
        b"system.posix_acl_access" => Some("SCHILY.acl.access"),
        b"system.posix_acl_default" => Some("SCHILY.acl.default"),
        _ => None,
    }
}

/// The list as text, with numbers for names. `None` where it isn't a list as Linux writes it (`linux/posix_acl_xattr.h`).
pub(super) fn text(value: &[u8]) -> Option<String> {
    const VERSION: [u8; 4] = 2_u32.to_le_bytes();
    let entries = value.strip_prefix(&VERSION)?;
    let (entries, []) = entries.as_chunks::<8>() else { return None };
    let mut told = Vec::new();
    for [tag0, tag1, perm0, perm1, id @ ..] in entries {
        let id = u32::from_le_bytes(*id);
        let who = match u16::from_le_bytes([*tag0, *tag1]) {
            0x01 => "user:".to_owned(),
            0x02 => format!("user:{id}"),
            0x04 => "group:".to_owned(),
            0x08 => format!("group:{id}"),
            0x10 => "mask:".to_owned(),
            0x20 => "other:".to_owned(),
            _ => return None,
        };
        let perm = u16::from_le_bytes([*perm0, *perm1]);
        if perm > 7 {
            return None;
        }
        let letter = |bit: u16, letter: char| if perm & bit == 0 { '-' } else { letter };
        told.push(format!("{who}:{}{}{}", letter(4, 'r'), letter(2, 'w'), letter(1, 'x')));
    }
    // Without these it's no list that a file can have.
    let has = |start: &str| told.iter().filter(|one| one.starts_with(start)).count() == 1;
    (has("user::") && has("group::") && has("other::")).then(|| told.join(","))
}

#[cfg(test)]
mod tests {
    use super::text;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, perm, id) in entries {
            bytes.extend(tag.to_le_bytes().into_iter().chain(perm.to_le_bytes()).chain(id.to_le_bytes()));
        }
        bytes
    }

    #[test]
    fn a_list_is_told_as_tar_reads_it() {
        const NONE: u32 = u32::MAX;
        let whole =
            list(&[(1, 7, NONE), (2, 5, 1000), (4, 4, NONE), (8, 6, 33), (0x10, 7, NONE), (0x20, 0, NONE)]);
        let told = "user::rwx,user:1000:r-x,group::r--,group:33:rw-,mask::rwx,other::---";
        assert_eq!(text(&whole).as_deref(), Some(told));
    }

    #[test]
    fn what_is_no_list_is_not_told_as_one() {
        let good = [(1, 7, 0), (4, 4, 0), (0x20, 0, 0)];
        assert!(text(&list(&good)).is_some());
        let bad: [&[(u16, u16, u32)]; 5] = [
            &[],
            &good[..2],
            &[(1, 7, 0), (1, 7, 0), (4, 4, 0), (0x20, 0, 0)],
            &[(1, 8, 0), (4, 4, 0), (0x20, 0, 0)],
            &[(1, 7, 0), (4, 4, 0), (0x20, 0, 0), (0x40, 1, 0)],
        ];
        assert!(bad.iter().all(|entries| text(&list(entries)).is_none()));
        let whole = list(&good);
        assert!((0..whole.len()).all(|end| text(&whole[..end]).is_none()));
        assert_eq!(text(b"\x03\0\0\0"), None);
    }
}
