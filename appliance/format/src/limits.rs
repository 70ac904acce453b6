//! Every bound of every format, in one place. A decoder refuses what exceeds one of these before it allocates.

/// Longest run of raw file bytes in one pack. Larger runs are cut.
pub const PACK_RAW_MAX: usize = 1 << 20;
/// Longest compressed pack payload: never larger than raw, by rule (see [`crate::chunk::Compression`]).
pub const PACK_PAYLOAD_MAX: usize = PACK_RAW_MAX;
/// Most chunks in one pack.
pub const PACK_CHUNKS_MAX: usize = 4096;
/// Longest plaintext of one sealed record.
pub const RECORD_PLAIN_MAX: usize = 32 << 20;
/// Longest sealed record: plaintext and the AEAD tag.
pub const RECORD_SEALED_MAX: usize = RECORD_PLAIN_MAX + 16;
/// A segment is closed once it has grown past this.
pub const SEGMENT_TARGET: u64 = 64 << 20;
/// No segment file is longer than this.
pub const SEGMENT_MAX: u64 = SEGMENT_TARGET + 2 * (RECORD_SEALED_MAX as u64) + (1 << 20);
/// Longest body of one frame on the wire.
pub const FRAME_BODY_MAX: usize = 8 << 20;
/// Longest one name in a directory, in bytes.
pub const NAME_MAX: usize = 1024;
/// Longest path, in bytes.
pub const PATH_MAX: usize = 32 << 10;
/// Longest text anywhere (names of computers, sentences, TOML of one configuration).
pub const TEXT_MAX: usize = 256 << 10;
/// Most operations in one part of a capture.
pub const PART_OPS_MAX: usize = 16 << 10;
/// Most ranges an agent may put into one step.
pub const STEP_RANGES_MAX: usize = 64 << 10;
/// Most ranges of one map page; a manifest with too many for its part goes into pages.
pub const PAGE_RANGES_MAX: usize = 32 << 10;
/// Largest extended attribute or other opaque piece of metadata.
pub const ATTR_MAX: usize = 1 << 20;
/// Most lines in the report of one point.
pub const REPORT_LINES_MAX: usize = 1000;
/// Page of a file that changes in place.
pub const PAGE: usize = 8192;
/// Longest name of what a program is built for.
pub const UPDATE_TARGET_MAX: usize = 64;
/// Largest program that an update brings.
pub const UPDATE_PROGRAM_MAX: u64 = 256 << 20;
/// Most bytes of an update in one message.
pub const UPDATE_PIECE_MAX: usize = 1 << 20;
/// Largest file.
pub const FILE_SIZE_MAX: u64 = 1 << 56;
