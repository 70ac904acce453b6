//! How a file is cut: whole, by its content, or in pages.

/// Files up to this many bytes are one chunk each.
pub(crate) const WHOLE_MAX: u64 = 64 << 10;
/// Files from this many bytes on are cut in pages whatever they are: comparing pages needs a fixed memory per byte.
pub(crate) const PAGES_FROM: u64 = 64 << 20;
/// A file that was cut by its content stays so until it has grown past this (its cuts must fit into one part).
const CONTENT_UNTIL: u64 = 192 << 20;

/// How a file is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Whole,
    Content,
    Pages,
}

/// Databases, mail stores and disk images, which programs change in place.
const EXTENSIONS: [&str; 32] = [
    "mdf",
    "ndf",
    "ldf",
    "edb",
    "stm",
    "pst",
    "ost",
    "vhd",
    "vhdx",
    "avhdx",
    "vmdk",
    "vdi",
    "qcow2",
    "qcow",
    "img",
    "db",
    "db3",
    "sqlite",
    "sqlite3",
    "sdb",
    "ibd",
    "ibdata1",
    "myd",
    "myi",
    "fdb",
    "gdb",
    "dbf",
    "nsf",
    "mdb",
    "accdb",
    "db-wal",
    "sqlite-wal",
];

/// Beginnings of files that are changed in place whatever they're called.
const MAGICS: [&[u8]; 6] = [
    b"SQLite format 3\0",
    b"vhdxfile",
    b"QFI\xfb",
    b"KDMV",
    b"<<< Oracle VM VirtualBox Disk Image >>>",
    b"conectix",
];

/// What the choice depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looks<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) size: u64,
    pub(crate) is_sparse: bool,
    /// The first bytes of the file.
    pub(crate) head: &'a [u8],
    /// A pattern of the configuration says so.
    pub(crate) pages_wanted: bool,
    /// How it was cut before.
    pub(crate) before: Option<Style>,
}

/// Chooses. A file keeps its style as long as that's sensible, so that its memory stays of use. Holes are kept in pages alone.
pub(crate) fn style_of(looks: Looks<'_>) -> Style {
    match looks.before {
        Some(Style::Pages) if looks.size > 0 => return Style::Pages,
        Some(Style::Content) if !looks.is_sparse && looks.size > WHOLE_MAX && looks.size < CONTENT_UNTIL => {
            return Style::Content;
        }
        _ => {}
    }
    let in_place = looks.pages_wanted || has_extension(looks.name) || has_magic(looks.head);
    match () {
        () if looks.size >= PAGES_FROM => Style::Pages,
        () if looks.is_sparse && looks.size > WHOLE_MAX => Style::Pages,
        () if in_place && looks.size > WHOLE_MAX => Style::Pages,
        () if looks.size <= WHOLE_MAX => Style::Whole,
        () => Style::Content,
    }
}

fn has_extension(name: &[u8]) -> bool {
    let end = name.iter().rposition(|byte| *byte == b'.').map_or(name, |dot| &name[dot + 1..]);
    EXTENSIONS.iter().any(|extension| end.eq_ignore_ascii_case(extension.as_bytes()))
}

fn has_magic(head: &[u8]) -> bool {
    MAGICS.iter().any(|magic| head.starts_with(magic))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(name: &str, size: u64, head: &[u8], before: Option<Style>) -> Style {
        let name = name.as_bytes();
        style_of(Looks { name, size, is_sparse: false, head, pages_wanted: false, before })
    }

    #[test]
    fn what_changes_in_place_is_cut_in_pages() {
        assert_eq!(style("mail.PST", 1 << 20, b"", None), Style::Pages);
        assert_eq!(style("History", 1 << 20, b"SQLite format 3\0", None), Style::Pages);
        assert_eq!(style("film.mkv", PAGES_FROM, b"", None), Style::Pages);
        assert_eq!(style("letter.odt", 1 << 20, b"PK", None), Style::Content);
        assert_eq!(style("note.txt", 100, b"", None), Style::Whole);
        assert_eq!(style("growing.log", 80 << 20, b"", Some(Style::Content)), Style::Content);
        assert_eq!(style("shrunk.bin", 100, b"", Some(Style::Pages)), Style::Pages);
    }
}
