//! What gives power where it's put back: devices, FIFOs, sockets, set-id bits, capabilities. In place, on its own computer, it
//! belongs there; anywhere else it's left off, with a word, unless it's asked for.

use std::io;

use coffer_format::node::{AttrKind, NodeKind, NodeMeta};

/// Whether devices, FIFOs, sockets, set-id bits and capabilities are put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Specials {
    PutBack,
    LeaveOff,
}

const SET_ID: u32 = 0o6000;
const CAPABILITY: &[u8] = b"security.capability";
const HOW: &str = "it's put back in place on its own computer, or with `coffer restore --special-files`";

/// Sentences about what a file is left without; an error where nothing would be left of it.
pub(super) fn leave_off(meta: &mut NodeMeta) -> io::Result<Vec<String>> {
    let mut left_off = Vec::new();
    match meta.kind {
        NodeKind::Fifo | NodeKind::Socket | NodeKind::CharDevice | NodeKind::BlockDevice if cfg!(unix) => {
            return Err(io::Error::other(format!("it's a device, a FIFO or a socket; {HOW}")));
        }
        NodeKind::File => {}
        _ => return Ok(left_off),
    }
    if meta.mode & SET_ID != 0 {
        meta.mode &= !SET_ID;
        left_off.push(format!("was restored without its set-user-ID or set-group-ID bit; {HOW}"));
    }
    let all = meta.attrs.len();
    meta.attrs.retain(|attr| attr.kind != AttrKind::Xattr || &attr.name[..] != CAPABILITY);
    if meta.attrs.len() < all {
        left_off.push(format!("was restored without its capabilities; {HOW}"));
    }
    Ok(left_off)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_gives_power_is_left_off_with_a_word_and_nothing_else_is() {
        let mut file = NodeMeta { mode: 0o6755, ..NodeMeta::new(NodeKind::File) };
        assert_eq!(leave_off(&mut file).unwrap().len(), 1);
        assert_eq!(file.mode, 0o755);
        assert_eq!(leave_off(&mut file).unwrap(), Vec::<String>::new());
        let mut folder = NodeMeta { mode: 0o2775, ..NodeMeta::new(NodeKind::Directory) };
        assert!(leave_off(&mut folder).unwrap().is_empty() && folder.mode == 0o2775);
        assert!(leave_off(&mut NodeMeta::new(NodeKind::Fifo)).is_err());
    }
}
