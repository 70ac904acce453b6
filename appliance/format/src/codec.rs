//! One cursor to read with, one buffer to write to. The reader bounds every length by what is left of its
//! input and refuses trailing bytes, so no decoder can be made to allocate more than it was given.

use thiserror::Error;

/// Why bytes were refused. `what` names the field or structure.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    #[error("{what}: ended {missing} bytes too early")]
    Short { what: &'static str, missing: usize },
    #[error("{what}: {left} bytes too many")]
    Trailing { what: &'static str, left: usize },
    #[error("{what}: {found} is not a known kind")]
    UnknownKind { what: &'static str, found: u32 },
    #[error("{what}: {found} exceeds the limit of {limit}")]
    TooLarge { what: &'static str, found: u64, limit: u64 },
    #[error("{what}: not what this format calls for")]
    Invalid { what: &'static str },
    #[error("{what}: format version {found}, this program reads up to {known}")]
    Version { what: &'static str, found: u32, known: u32 },
}

/// Appends the layout of `self` to a buffer.
pub trait Encode {
    fn encode(&self, w: &mut Writer);
}

/// Reads one value; never panics, whatever the bytes.
pub trait Decode: Sized {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// The bytes of one value.
pub fn to_bytes<T: Encode>(value: &T) -> Vec<u8> {
    let mut w = Writer::default();
    value.encode(&mut w);
    w.0
}

/// The one value that `bytes` hold, all of them.
pub fn from_bytes<T: Decode>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut r = Reader::new(bytes);
    let value = T::decode(&mut r)?;
    r.finish("value")?;
    Ok(value)
}

#[derive(Debug, Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    pub fn zeros(&mut self, count: usize) {
        self.0.resize(self.0.len() + count, 0);
    }
}

/// A cursor over bytes that nobody vouched for.
#[derive(Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { left: bytes }
    }
    pub fn remaining(&self) -> usize {
        self.left.len()
    }
    pub fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        if count > self.left.len() {
            return Err(DecodeError::Short { what, missing: count - self.left.len() });
        }
        let (head, tail) = self.left.split_at(count);
        self.left = tail;
        Ok(head)
    }
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, what)?);
        Ok(out)
    }
    /// Reserved bytes: must be zero, so that they can mean something later.
    pub fn zeros(&mut self, count: usize, what: &'static str) -> Result<(), DecodeError> {
        match self.take(count, what)?.iter().all(|b| *b == 0) {
            true => Ok(()),
            false => Err(DecodeError::Invalid { what }),
        }
    }
    pub fn get<T: Decode>(&mut self) -> Result<T, DecodeError> {
        T::decode(self)
    }
    /// A count of things that take at least `least` bytes each.
    pub fn count(&mut self, least: usize, what: &'static str) -> Result<usize, DecodeError> {
        let found = self.get::<u32>()? as usize;
        let limit = self.remaining() / least.max(1);
        if found > limit {
            return Err(DecodeError::TooLarge { what, found: found as u64, limit: limit as u64 });
        }
        Ok(found)
    }
    pub fn finish(self, what: &'static str) -> Result<(), DecodeError> {
        match self.left.len() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing { what, left }),
        }
    }
}

/// Refuses a number above its limit.
pub(crate) fn bounded(what: &'static str, found: u64, limit: u64) -> Result<(), DecodeError> {
    if found > limit {
        return Err(DecodeError::TooLarge { what, found, limit });
    }
    Ok(())
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl Encode for $t {
            fn encode(&self, w: &mut Writer) { w.bytes(&self.to_le_bytes()); }
        }
        impl Decode for $t {
            fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(<$t>::from_le_bytes(r.array(stringify!($t))?))
            }
        }
    )*};
}
integers!(u8, u16, u32, u64, i64);

impl<const N: usize> Encode for [u8; N] {
    fn encode(&self, w: &mut Writer) {
        w.bytes(self);
    }
}
impl<const N: usize> Decode for [u8; N] {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.array("bytes")
    }
}

/// Bytes with a length of 32 bits before them.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob(pub Vec<u8>);

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}
impl std::ops::Deref for Blob {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}
impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Blob(bytes)
    }
}
impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Blob(bytes.to_vec())
    }
}
impl From<&str> for Blob {
    fn from(text: &str) -> Self {
        Blob(text.as_bytes().to_vec())
    }
}
impl Encode for Blob {
    fn encode(&self, w: &mut Writer) {
        (self.0.len() as u32).encode(w);
        w.bytes(&self.0);
    }
}
impl Decode for Blob {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = r.count(1, "bytes")?;
        Ok(Blob(r.take(len, "bytes")?.to_vec()))
    }
}
impl Encode for String {
    fn encode(&self, w: &mut Writer) {
        (self.len() as u32).encode(w);
        w.bytes(self.as_bytes());
    }
}
impl Decode for String {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = r.count(1, "text")?;
        bounded("text", len as u64, crate::limits::TEXT_MAX as u64)?;
        let text = std::str::from_utf8(r.take(len, "text")?);
        text.map(str::to_owned).map_err(|_| DecodeError::Invalid { what: "text" })
    }
}
impl Encode for bool {
    fn encode(&self, w: &mut Writer) {
        w.bytes(&[u8::from(*self)]);
    }
}
impl Decode for bool {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.get::<u8>()? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(DecodeError::UnknownKind { what: "yes or no", found: found.into() }),
        }
    }
}
impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, w: &mut Writer) {
        (self.len() as u32).encode(w);
        self.iter().for_each(|item| item.encode(w));
    }
}
impl<T: Decode> Decode for Vec<T> {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = r.count(1, "list")?;
        // Items take more memory than bytes, so the list grows as items prove to be there.
        let mut items = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            items.push(r.get()?);
        }
        Ok(items)
    }
}
impl<T: Encode> Encode for Option<T> {
    fn encode(&self, w: &mut Writer) {
        self.is_some().encode(w);
        if let Some(value) = self {
            value.encode(w);
        }
    }
}
impl<T: Decode> Decode for Option<T> {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(if r.get::<bool>()? { Some(r.get()?) } else { None })
    }
}

/// A struct whose layout is its fields in order.
macro_rules! layout {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$fm:meta])* pub $field:ident : $ty:ty),* $(,)? }) => {
        $(#[$meta])*
        pub struct $name { $($(#[$fm])* pub $field: $ty),* }
        impl $crate::Encode for $name {
            fn encode(&self, _w: &mut $crate::Writer) { $(self.$field.encode(_w);)* }
        }
        impl $crate::Decode for $name {
            fn decode(_r: &mut $crate::Reader<'_>) -> Result<Self, $crate::DecodeError> {
                Ok($name { $($field: _r.get()?),* })
            }
        }
    };
}

/// An enum whose layout is a kind byte and the fields of that variant in order.
macro_rules! kinds {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$vm:meta])* $tag:literal = $var:ident $({ $($(#[$fm:meta])* $field:ident : $ty:ty),* $(,)? })?),* $(,)? }) => {
        $(#[$meta])*
        pub enum $name { $($(#[$vm])* $var $({ $($(#[$fm])* $field: $ty),* })?),* }
        impl $crate::Encode for $name {
            fn encode(&self, w: &mut $crate::Writer) {
                match self {
                    $($name::$var $({ $($field),* })? => {
                        w.bytes(&[$tag]);
                        $($($field.encode(w);)*)?
                    }),*
                }
            }
        }
        impl $crate::Decode for $name {
            fn decode(r: &mut $crate::Reader<'_>) -> Result<Self, $crate::DecodeError> {
                match r.get::<u8>()? {
                    $($tag => Ok($name::$var $({ $($field: r.get()?),* })?),)*
                    found => Err($crate::DecodeError::UnknownKind { what: stringify!($name), found: found.into() }),
                }
            }
        }
    };
}
