//! What a security descriptor says of who owns something and who may write to it. Pure, and bounded by the bytes.
//! Source: MS-DTYP 2.4.4 to 2.4.6.

use super::sid;

/// The system itself, administrators, and Windows' own installer: they may do everything anyway.
const ALMIGHTY: [&str; 3] =
    ["S-1-5-18", "S-1-5-32-544", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"];
/// Stand for an object's owner, and for whoever makes one in it.
const OWNER_RIGHTS: &str = "S-1-3-4";
const CREATOR: &str = "S-1-3-0";
/// To write data, append, write attributes of either kind, delete, change permissions or owner; the generic rights.
const WRITES: u32 = 0x02 | 0x04 | 0x10 | 0x40 | 0x100 | 0x0001_0000 | 0x000C_0000 | 0x5000_0000;
/// To turn a folder into a link, or put another in its place: to write data or attributes, delete it or what's in it, change
/// permissions or owner; the generic rights.
const LEADS_ELSEWHERE: u32 = WRITES & !(0x04 | 0x10);
/// Is for what's made in a folder, not for the folder itself.
const INHERIT_ONLY: u8 = 0x08;
/// An account that isn't one: nobody but those who may do everything anyway is meant.
const NOBODY: &str = "";
const DACL_PRESENT: u8 = 0x04;
/// `ACCESS_ALLOWED_ACE`, and the one with a condition.
const ALLOWS: [u8; 2] = [0, 9];
/// Kinds that forbid something, or tell what's recorded.
const DOESNT_ALLOW: [u8; 11] = [1, 2, 3, 6, 7, 8, 10, 12, 13, 14, 17];

/// A self-relative descriptor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptor<'a>(pub(super) &'a [u8]);

impl<'a> Descriptor<'a> {
    /// Who it belongs to, where that's neither `own` nor one who may do everything anyway.
    pub(super) fn stranger(self, own: &str) -> Option<&'a [u8]> {
        let owner = self.part(4).unwrap_or_default();
        let is_known = sid::text(owner).is_some_and(|text| text == own || ALMIGHTY.contains(&&*text));
        (!is_known).then_some(owner)
    }

    /// Whether anybody besides may write. What can't be understood is taken for a yes.
    pub(super) fn lets_others_write(self, own: &str) -> bool {
        self.lets_others(&|entry| is_for_others(entry, WRITES, own))
    }

    /// Whether nobody but those who may do everything anyway can lead whoever goes by the folder's path elsewhere.
    pub(super) fn stays_where_it_is(self) -> bool {
        let leads = |entry: &[u8]| match entry[1] & INHERIT_ONLY {
            0 => is_for_others(entry, LEADS_ELSEWHERE, NOBODY),
            _ => Some(false),
        };
        self.stranger(NOBODY).is_none() && !self.lets_others(&leads)
    }

    fn lets_others(self, lets: &dyn Fn(&[u8]) -> Option<bool>) -> bool {
        let is_present = self.0.get(2).is_some_and(|control| control & DACL_PRESENT != 0);
        match self.part(16).filter(|_| is_present) {
            // Without a list everybody may do everything.
            None => true,
            Some(list) => any_entry(list, lets).unwrap_or(true),
        }
    }

    /// Who may do what, as long as it says that it is.
    pub(super) fn access_list(self) -> Option<&'a [u8]> {
        let list = self.part(16)?;
        list.get(..usize::from(u16::from_le_bytes([*list.get(2)?, *list.get(3)?])))
    }

    /// From where the field says, to the end.
    fn part(self, field: usize) -> Option<&'a [u8]> {
        let place = u32_at(self.0, field)? as usize;
        self.0.get(place..).filter(|_| place > 0)
    }
}

/// `None` where the list makes no sense.
fn any_entry(list: &[u8], is: &dyn Fn(&[u8]) -> Option<bool>) -> Option<bool> {
    let count = u16::from_le_bytes([*list.get(4)?, *list.get(5)?]);
    let mut rest = list.get(8..)?;
    for _ in 0..count {
        let len = usize::from(u16::from_le_bytes([*rest.get(2)?, *rest.get(3)?]));
        let entry = rest.get(..len).filter(|_| len >= 8)?;
        if is(entry)? {
            return Some(true);
        }
        rest = &rest[len..];
    }
    Some(false)
}

fn is_for_others(entry: &[u8], rights: u32, own: &str) -> Option<bool> {
    match entry[0] {
        kind if DOESNT_ALLOW.contains(&kind) => Some(false),
        kind if ALLOWS.contains(&kind) && u32_at(entry, 4)? & rights == 0 => Some(false),
        kind if ALLOWS.contains(&kind) => {
            let who = sid::text(&entry[8..])?;
            Some(who != own && ![OWNER_RIGHTS, CREATOR].iter().chain(&ALMIGHTY).any(|known| *known == who))
        }
        _ => None,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: &str = "S-1-5-21-1-2-3-1001";
    const USERS: [u32; 2] = [32, 545];
    const FULL: u32 = 0x001F_01FF;
    const READ: u32 = 0x0012_00A9;
    const BELOW_ONLY: u8 = 0x0B;

    fn sid_bytes(parts: &[u32]) -> Vec<u8> {
        let head = [1, parts.len() as u8, 0, 0, 0, 0, 0, 5];
        head.into_iter().chain(parts.iter().flat_map(|part| part.to_le_bytes())).collect()
    }

    /// Kind, flags, rights, and who.
    fn entry(kind: u8, flags: u8, rights: u32, who: &[u8]) -> Vec<u8> {
        let len = (8 + who.len() as u16).to_le_bytes();
        [&[kind, flags, len[0], len[1]], &rights.to_le_bytes()[..], who].concat()
    }

    fn descriptor(owner: &[u8], entries: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![1, 0, DACL_PRESENT, 0x80];
        for place in [20, 0, 0, 20 + owner.len() as u32] {
            bytes.extend(place.to_le_bytes());
        }
        let list = entries.concat();
        let (len, count) = ((8 + list.len() as u16).to_le_bytes(), (entries.len() as u16).to_le_bytes());
        [&bytes[..], owner, &[2, 0, len[0], len[1], count[0], count[1], 0, 0], &list].concat()
    }

    #[test]
    fn a_folder_belongs_to_us_to_the_almighty_or_to_a_stranger() {
        for known in [&[18][..], &[32, 544], &[21, 1, 2, 3, 1001]] {
            assert_eq!(Descriptor(&descriptor(&sid_bytes(known), &[])).stranger(OWN), None, "{known:?}");
        }
        let theirs = descriptor(&sid_bytes(&[21, 1, 2, 3, 1002]), &[]);
        let stranger = Descriptor(&theirs).stranger(OWN).and_then(sid::text);
        assert_eq!(stranger.as_deref(), Some("S-1-5-21-1-2-3-1002"));
        assert!(Descriptor(&[1, 0, 4, 0x80]).stranger(OWN).is_some(), "nobody owns it");
    }

    #[test]
    fn others_write_where_any_right_to_it_is_given_to_them() {
        let lets =
            |entries: &[Vec<u8>]| Descriptor(&descriptor(&sid_bytes(&[18]), entries)).lets_others_write(OWN);
        let us = [
            entry(0, 3, FULL, &sid_bytes(&[18])),
            entry(0, 3, FULL, &sid_bytes(&[32, 544])),
            entry(0, 3, FULL, &sid_bytes(&[21, 1, 2, 3, 1001])),
            entry(0, 3, FULL, &[1, 1, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0]),
        ];
        assert!(!lets(&us));
        let with = |one: Vec<u8>| lets(&[&us[..], &[one]].concat());
        let users = sid_bytes(&USERS);
        assert!(!with(entry(0, 3, READ, &users)), "they may read");
        assert!(!with(entry(1, 3, FULL, &users)), "they may not");
        for rights in [FULL, 0x2, 0x4, 0x40, 0x0001_0000, 0x0004_0000, 0x0008_0000, 0x1000_0000, 0x4000_0000]
        {
            assert!(with(entry(0, 3, READ | rights, &users)), "{rights:x}");
        }
        // As below C:\ProgramData: what's made in the folder is open, not the folder itself.
        assert!(with(entry(0, BELOW_ONLY, FULL, &users)));
        assert!(with(entry(5, 0, 0, &users)), "of a kind that isn't known");
        assert!(with(entry(9, 0, FULL, &users)), "with a condition");
    }

    #[test]
    fn a_folder_stays_where_it_is_where_nobody_else_can_lead_its_path_elsewhere() {
        let stays = |owner: &[u32], entries: &[Vec<u8>]| {
            Descriptor(&descriptor(&sid_bytes(owner), entries)).stays_where_it_is()
        };
        let (us, users) = (entry(0, 3, FULL, &sid_bytes(&[32, 544])), sid_bytes(&USERS));
        let with = |one: Vec<u8>| stays(&[32, 544], &[us.clone(), one]);
        assert!(with(entry(0, 3, READ, &users)));
        assert!(with(entry(0, 0, 4, &users)), "new folders in it do no harm");
        assert!(with(entry(0, BELOW_ONLY, FULL, &users)), "only what's below is theirs");
        for rights in [FULL, 0x2, 0x40, 0x100, 0x0001_0000, 0x0004_0000, 0x0008_0000, 0x1000_0000] {
            assert!(!with(entry(0, 0, rights, &users)), "{rights:x}");
        }
        assert!(!with(entry(5, 0, 0, &users)), "of a kind that isn't known");
        assert!(!stays(&[21, 1, 2, 3, 1001], std::slice::from_ref(&us)), "its owner may do anything");
    }

    #[test]
    fn without_a_list_everybody_writes() {
        let mut bytes = descriptor(&sid_bytes(&[18]), &[]);
        assert!(!Descriptor(&bytes).lets_others_write(OWN));
        bytes[2] = 0;
        assert!(Descriptor(&bytes).lets_others_write(OWN));
        let cut = descriptor(&sid_bytes(&[18]), &[entry(0, 0, READ, &sid_bytes(&USERS))]);
        assert!(Descriptor(&cut[..cut.len() - 3]).lets_others_write(OWN));
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let bytes = [&[1, 0, DACL_PRESENT, 0x80, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0], &bytes[..]].concat();
            let _any = (Descriptor(&bytes).stranger(OWN), Descriptor(&bytes).lets_others_write(OWN));
        }
    }
}
