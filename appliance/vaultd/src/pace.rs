//! How fast the box reads its own disk back: a twentieth of the time at most, and hardly at all while anybody waits for the box.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::traffic::Traffic;

/// After work it rests so many times as long.
const REST: u32 = 19;
/// Work that is shorter isn't rested from at once.
const WORK_MIN: Duration = Duration::from_millis(5);
/// It waits for others so long at most, then does one piece: on a box that is never quiet it goes on, though slowly.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// It's looked this often whether the box is to stop.
const SLICE: Duration = Duration::from_millis(100);

/// One reader's pace.
pub(crate) struct Pace<'a> {
    traffic: &'a Traffic,
    stop: &'a watch::Receiver<bool>,
    /// Whether it gives way to others.
    gives_way: bool,
    began: Instant,
}

impl<'a> Pace<'a> {
    /// Where `gives_way` isn't so, it only rests.
    pub(crate) fn new(traffic: &'a Traffic, stop: &'a watch::Receiver<bool>, gives_way: bool) -> Pace<'a> {
        Pace { traffic, stop, gives_way, began: Instant::now() }
    }

    /// Called between two pieces of work; says whether to go on.
    pub(crate) fn goes_on(&mut self) -> bool {
        let worked = self.began.elapsed();
        if worked < WORK_MIN {
            return !self.is_stopping();
        }
        self.rest(worked * REST);
        let waits = Instant::now();
        while self.gives_way && !self.traffic.is_quiet() && waits.elapsed() < WAIT_MAX && !self.is_stopping()
        {
            std::thread::sleep(SLICE);
        }
        self.began = Instant::now();
        !self.is_stopping()
    }

    fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_stopping() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(SLICE));
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_works_a_twentieth_of_the_time() {
        let (_tell, stop) = watch::channel(false);
        let traffic = Traffic::default();
        let mut pace = Pace::new(&traffic, &stop, true);
        let (began, mut worked) = (Instant::now(), Duration::ZERO);
        for _ in 0..3 {
            let work = Instant::now();
            while work.elapsed() < WORK_MIN {
                std::hint::spin_loop();
            }
            worked += work.elapsed();
            assert!(pace.goes_on());
        }
        assert!(began.elapsed() >= worked * 20, "{worked:?} of {:?}", began.elapsed());
    }

    #[test]
    fn it_waits_while_something_passes_and_ends_when_the_box_stops() {
        let (tell, stop) = watch::channel(false);
        let traffic = Traffic::default();
        traffic.passes();
        let mut pace = Pace::new(&traffic, &stop, true);
        pace.began -= WORK_MIN;
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pace.goes_on());
            traffic.passes();
            tell.send(true).unwrap();
            assert!(!waiting.join().unwrap());
        });
        assert!(!traffic.is_quiet(), "it didn't wait for quiet");
        let (_tell, stop) = watch::channel(false);
        let mut pace = Pace::new(&traffic, &stop, false);
        pace.began -= WORK_MIN;
        assert!(pace.goes_on(), "what is late gives way to nobody");
        assert!(!traffic.is_quiet());
    }
}
