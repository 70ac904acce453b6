//! What a cell came to.

use std::fmt;

#[derive(Debug)]
pub(crate) enum Verdict {
    /// Every point comes back as it was; the note says how it was healed, if it had to be.
    Whole(String),
    /// Something lacks, and who is asked says so; the note holds the words.
    Named(String),
    /// Something lacks, and every place that makes a claim is green.
    Silent(String),
    /// Other bytes came back, with exit code 0.
    Wrong(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, note) = match self {
            Verdict::Whole(note) => ("whole", note),
            Verdict::Named(note) => ("named", note),
            Verdict::Silent(note) => ("SILENT", note),
            Verdict::Wrong(note) => ("WRONG BYTES", note),
        };
        let line = note.split_whitespace().collect::<Vec<_>>().join(" ");
        write!(f, "{word:8} {}", line.chars().take(160).collect::<String>())
    }
}
