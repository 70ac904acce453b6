//! What was moved: from where to where, in the order of the moves.

use std::collections::HashMap;

use crate::path::ends;

/// At most so many moves are remembered; beyond them nobody can tell what was moved.
const MOVES_MAX: usize = 100_000;

/// The moves that a look knows of when it begins, and those that were noticed since.
#[derive(Debug, Default)]
pub(super) struct Moves {
    moves: Vec<(Vec<u8>, Vec<u8>)>,
    /// By the path that was left: numbers of its moves, in order.
    left: HashMap<Vec<u8>, Vec<usize>>,
    /// Those from here on came after the look had begun.
    since: usize,
    is_overfull: bool,
}

impl Moves {
    pub(super) fn add(&mut self, from: Vec<u8>, to: Vec<u8>) {
        if self.moves.len() >= MOVES_MAX {
            self.is_overfull = true;
            return;
        }
        self.left.entry(from.clone()).or_default().push(self.moves.len());
        self.moves.push((from, to));
    }

    /// Some were lost.
    pub(super) fn lost(&mut self) {
        self.is_overfull = true;
    }

    /// A look begins that goes to all places that are known so far. Those of the look before don't matter any more.
    pub(super) fn begin_look(&mut self) {
        let later = self.moves.split_off(self.since);
        *self = Moves::default();
        later.into_iter().for_each(|(from, to)| self.add(from, to));
        self.since = self.moves.len();
    }

    /// Whether what was at a path went, from there or from where it had gone to, on to a place that the look didn't go to. `None` where nobody
    /// can tell.
    pub(super) fn has_moved_on(&self, path: &[u8]) -> Option<bool> {
        if self.is_overfull {
            return None;
        }
        let (mut at, mut next) = (path.to_vec(), 0);
        while let Some((number, above)) = self.next_of(&at, next) {
            if number >= self.since {
                return Some(true);
            }
            at = [&self.moves[number].1, &at[above..]].concat();
            next = number + 1;
        }
        Some(false)
    }

    /// The next move of what's at a path, or of a folder that it lies in; and how long the path of what was moved is.
    fn next_of(&self, path: &[u8], from: usize) -> Option<(usize, usize)> {
        let moved = ends(path).filter_map(|end| {
            let numbers = self.left.get(&path[..end])?;
            Some((*numbers.get(numbers.partition_point(|number| *number < from))?, end))
        });
        moved.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(moves: &mut Moves, from: &str, to: &str) {
        moves.add(from.into(), to.into());
    }

    #[test]
    fn what_went_on_after_a_look_began_is_told_by_where_it_was() {
        let mut moves = Moves::default();
        add(&mut moves, "/a/f", "/b/f");
        add(&mut moves, "/a/g", "/b/g");
        moves.begin_look();
        assert_eq!(moves.has_moved_on(b"/a/f"), Some(false), "the look goes to both");
        // By its folder, which then goes back to where it was.
        add(&mut moves, "/b", "/c");
        add(&mut moves, "/c", "/b");
        add(&mut moves, "/a/h", "/b/h");
        for path in ["/a/f", "/a/g", "/b/other", "/b", "/a/h"] {
            assert_eq!(moves.has_moved_on(path.as_bytes()), Some(true), "{path}");
        }
        for path in ["/a/other", "/bb", "/a", "/b2/f"] {
            assert_eq!(moves.has_moved_on(path.as_bytes()), Some(false), "{path}");
        }
        // The next look goes there as well.
        moves.begin_look();
        assert_eq!(moves.has_moved_on(b"/a/f"), Some(false));
        moves.begin_look();
        assert!(moves.moves.is_empty() && moves.left.is_empty());
    }

    #[test]
    fn an_earlier_move_is_of_what_was_there_then() {
        let mut moves = Moves::default();
        add(&mut moves, "/b/f", "/elsewhere");
        add(&mut moves, "/a/f", "/b/f");
        moves.begin_look();
        add(&mut moves, "/elsewhere", "/further");
        assert_eq!(moves.has_moved_on(b"/a/f"), Some(false));
        assert_eq!(moves.has_moved_on(b"/b/f"), Some(true));
    }

    #[test]
    fn beyond_what_can_be_remembered_nobody_can_tell() {
        let mut moves = Moves::default();
        (0..MOVES_MAX).for_each(|number| add(&mut moves, &format!("/{number}"), "/x"));
        assert_eq!(moves.has_moved_on(b"/y"), Some(false));
        add(&mut moves, "/one", "/more");
        assert_eq!(moves.has_moved_on(b"/y"), None);
    }
}
