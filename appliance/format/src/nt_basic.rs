//! What NTFS keeps of every object beside its size, birth time and write time: the value of an attribute of kind `NtBasic`.

use crate::{Decode, DecodeError, Encode, Reader, Writer, from_bytes, to_bytes};

/// The first form had the attributes alone.
const FIRST_FORM: usize = 4;
const CASE_SENSITIVE: u32 = 1;

/// Times are nanoseconds since 1970-01-01 UTC; 0 where one isn't known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NtBasic {
    /// As Windows numbers them, without "normal".
    pub attributes: u32,
    /// Names in this folder differ by case.
    pub is_case_sensitive: bool,
    pub accessed_ns: i64,
    pub changed_ns: i64,
}

impl Encode for NtBasic {
    fn encode(&self, w: &mut Writer) {
        self.attributes.encode(w);
        if self.is_case_sensitive { CASE_SENSITIVE } else { 0 }.encode(w);
        self.accessed_ns.encode(w);
        self.changed_ns.encode(w);
    }
}
impl Decode for NtBasic {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (attributes, marks): (u32, u32) = (r.get()?, r.get()?);
        let is_case_sensitive = marks & CASE_SENSITIVE != 0;
        Ok(NtBasic { attributes, is_case_sensitive, accessed_ns: r.get()?, changed_ns: r.get()? })
    }
}

impl NtBasic {
    pub fn to_value(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Of either form; `None` where it's neither.
    pub fn from_value(value: &[u8]) -> Option<NtBasic> {
        if value.len() == FIRST_FORM {
            return Some(NtBasic { attributes: from_bytes(value).ok()?, ..NtBasic::default() });
        }
        from_bytes(value).ok()
    }

    /// What makes two of them different: not when an object was read, nor when something of it changed. Of the first form
    /// it's the whole value.
    pub fn identity(value: &[u8]) -> Vec<u8> {
        match NtBasic::from_value(value) {
            Some(basic) if basic.is_case_sensitive => value[..FIRST_FORM * 2].to_vec(),
            Some(_) => value[..FIRST_FORM].to_vec(),
            None => value.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NtBasic;

    const BASIC: NtBasic =
        NtBasic { attributes: 0x21, is_case_sensitive: true, accessed_ns: 5_000, changed_ns: -7_000 };

    #[test]
    fn both_forms_are_read() {
        assert_eq!(NtBasic::from_value(&BASIC.to_value()), Some(BASIC));
        let first = NtBasic { attributes: 0x21, ..NtBasic::default() };
        assert_eq!(NtBasic::from_value(&[0x21, 0, 0, 0]), Some(first));
        assert_eq!(BASIC.to_value()[..8], [0x21, 0, 0, 0, 1, 0, 0, 0], "FORMAT.md says otherwise");
        for len in [0, 3, 5, 23, 25] {
            assert_eq!(NtBasic::from_value(&vec![0; len]), None, "{len} bytes");
        }
    }

    #[test]
    fn reading_an_object_makes_it_no_other() {
        let read = NtBasic { accessed_ns: 9_000, changed_ns: 9_000, ..BASIC };
        assert_eq!(NtBasic::identity(&read.to_value()), NtBasic::identity(&BASIC.to_value()));
        let other = NtBasic { is_case_sensitive: false, ..BASIC };
        assert_ne!(NtBasic::identity(&other.to_value()), NtBasic::identity(&BASIC.to_value()));
        // What an older agent remembers of it is still so.
        assert_eq!(NtBasic::identity(&other.to_value()), [0x21, 0, 0, 0]);
    }
}
