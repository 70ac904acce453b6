//! Whether agents begin with the memory that the ones before them had. Where two machines run with one identity (a disk or a state
//! folder was copied), each begins from what it knew before the other: both do as they should, and their points alternate.
//!
//! An agent that was cut off before it had its last answers lacks what they told. That is no other memory: only an answer counts that
//! was followed by something else over the same connection.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use coffer_format::ConfigId;

const DAY_MS: u64 = 24 * 3_600_000;
/// So often within a day is told. A state folder may be lost or be brought back once.
const TOLD_FROM: usize = 3;
/// Most times that are kept of one configuration.
const TIMES_MAX: usize = 1000;

/// By configuration, for as long as the box runs.
#[derive(Default)]
pub(crate) struct Memories(Mutex<BTreeMap<ConfigId, Memory>>);

#[derive(Default)]
struct Memory {
    /// Over which connection the last part came, and whether its agent had the answer.
    last: Option<(u64, bool)>,
    /// A connection that another one followed before its agent is known to have had the answers. If it goes on, they're two.
    followed: Option<u64>,
    /// When agents began from another memory; none that's older than a day, unless there were enough of them.
    others_ms: Vec<u64>,
}

impl Memories {
    /// A part that came over a connection was answered.
    pub(crate) fn answered(&self, config: ConfigId, connection: u64) {
        self.all().entry(config).or_default().last = Some((connection, false));
    }

    /// An agent goes on after it had its answers.
    pub(crate) fn goes_on(&self, connection: u64, now_ms: u64) {
        for memory in self.all().values_mut() {
            if let Some((by, has_it)) = &mut memory.last {
                *has_it |= *by == connection;
            }
            if memory.followed == Some(connection) {
                memory.followed = None;
                memory.note(now_ms);
            }
        }
    }

    /// An agent lacks something that the box has of a configuration.
    pub(crate) fn lacks(&self, config: ConfigId, connection: u64, now_ms: u64) {
        let mut all = self.all();
        let memory = all.entry(config).or_default();
        match memory.last {
            Some((by, true)) if by != connection => memory.note(now_ms),
            Some((by, false)) if by != connection => memory.followed = Some(by),
            _ => {}
        }
    }

    /// An agent remembers what the box never had.
    pub(crate) fn is_of_another_line(&self, config: ConfigId, now_ms: u64) {
        self.all().entry(config).or_default().note(now_ms);
    }

    /// How often agents of that configuration began from another memory, and when that was first, where somebody should know.
    pub(crate) fn others(&self, config: ConfigId, now_ms: u64) -> Option<(usize, u64)> {
        let all = self.all();
        let times = &all.get(&config)?.others_ms;
        let (first, last) = (times.first()?, times.last()?);
        (times.len() >= TOLD_FROM && is_within_a_day(*last, now_ms)).then_some((times.len(), *first))
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<ConfigId, Memory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn note(&mut self, now_ms: u64) {
        let times = &mut self.others_ms;
        let is_told = times.len() >= TOLD_FROM;
        let is_over = times.last().is_none_or(|last| !is_within_a_day(*last, now_ms));
        if is_over || !is_told {
            times.retain(|at| is_within_a_day(*at, now_ms));
        }
        if times.len() == TIMES_MAX {
            times.remove(1);
        }
        times.push(now_ms);
    }
}

fn is_within_a_day(at_ms: u64, now_ms: u64) -> bool {
    at_ms.abs_diff(now_ms) < DAY_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: ConfigId = ConfigId(1);
    const HOUR_MS: u64 = 3_600_000;

    /// One that captures over a connection of its own, and lacks what the other brought before.
    fn captures(memories: &Memories, connection: u64, now_ms: u64) {
        memories.lacks(CONFIG, connection, now_ms);
        memories.answered(CONFIG, connection);
        memories.goes_on(connection, now_ms);
    }

    #[test]
    fn agents_that_alternate_are_told_until_a_day_after_the_last_time() {
        let memories = Memories::default();
        for time in 1..=3 {
            captures(&memories, time, time * HOUR_MS);
            assert_eq!(memories.others(CONFIG, time * HOUR_MS), None, "the first of all lacks nothing");
        }
        captures(&memories, 4, 4 * HOUR_MS);
        assert_eq!(memories.others(CONFIG, 4 * HOUR_MS), Some((3, 2 * HOUR_MS)));
        captures(&memories, 5, 27 * HOUR_MS);
        assert_eq!(memories.others(CONFIG, 50 * HOUR_MS), Some((4, 2 * HOUR_MS)));
        assert_eq!(memories.others(CONFIG, 51 * HOUR_MS), None);
        captures(&memories, 6, 51 * HOUR_MS);
        assert_eq!(memories.others(CONFIG, 51 * HOUR_MS), None, "it's counted anew");
        assert_eq!(memories.others(ConfigId(2), 4 * HOUR_MS), None);
    }

    #[test]
    fn agents_that_stay_connected_are_told_too() {
        let memories = Memories::default();
        for time in 1..=4 {
            // It begins anew over its own connection, and lacks what came over the other.
            let connection = time % 2;
            memories.goes_on(connection, time);
            memories.lacks(CONFIG, connection, time);
            memories.answered(CONFIG, connection);
        }
        assert_eq!(memories.others(CONFIG, 4), None);
        memories.goes_on(1, 5);
        assert_eq!(memories.others(CONFIG, 5), Some((3, 3)));
    }

    #[test]
    fn whoever_was_cut_off_before_the_answer_has_no_other_memory() {
        let memories = Memories::default();
        for connection in 1..9 {
            memories.lacks(CONFIG, connection, connection);
            memories.answered(CONFIG, connection);
            memories.goes_on(connection + 100, connection);
        }
        // Nor whoever begins anew over the same connection.
        memories.goes_on(8, 9);
        memories.lacks(CONFIG, 8, 9);
        assert!(memories.all()[&CONFIG].others_ms.is_empty());
    }

    #[test]
    fn once_a_day_is_not_told_and_what_the_box_never_had_counts() {
        let memories = Memories::default();
        for day in 0..9 {
            memories.is_of_another_line(CONFIG, day * (DAY_MS / 2 + 1));
            assert_eq!(memories.others(CONFIG, day * (DAY_MS / 2 + 1)), None);
        }
        let now_ms = 20 * DAY_MS;
        (0..2000).for_each(|_| memories.is_of_another_line(CONFIG, now_ms));
        assert_eq!(memories.others(CONFIG, now_ms), Some((TIMES_MAX, now_ms)));
    }
}
