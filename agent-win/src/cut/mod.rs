//! Cutting files into chunks, and chunks into packs.

mod buffer;
mod gear;
mod pack;
mod style;
mod workers;

pub(crate) use buffer::{ALIGNMENT, RawBuffer};
pub(crate) use gear::{CONTENT_MAX, next_cut};
pub(crate) use pack::{PackBuilder, Piece, Signing, Ticket};
pub(crate) use style::{Looks, PAGES_FROM, Style, WHOLE_MAX, style_of};
pub(crate) use workers::{Named, Packed, Workers};
