//! Hives that a point lacks.

use std::io;

/// A line of the point's report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LackingHive {
    /// The hive's file; nothing where it's several.
    pub(crate) name: String,
    pub(crate) what: String,
}

impl LackingHive {
    pub(crate) fn failed(name: &str, error: &io::Error) -> LackingHive {
        LackingHive { name: name.to_owned(), what: format!("can't be enclosed in the point: {error}") }
    }

    /// So many more than are kept at most; `None` where there aren't any.
    pub(crate) fn beyond(count: usize, max: usize) -> Option<LackingHive> {
        let what = format!(
            "{count} more hives of users who are logged on aren't in this point, which has {max}; make one while fewer are \
             logged on"
        );
        (count > 0).then(|| LackingHive { name: String::new(), what })
    }
}
