//! How long to wait before the line is tried again: doubling, bounded, and never the same for two boxes.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

/// Waits that grow with each failure in a row.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Backoff {
        Backoff { first, most, failures: 0 }
    }

    /// It went well for a while.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next wait: between half of the doubled wait and all of it.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let whole = self.first.saturating_mul(1 << self.failures.min(16)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        whole / 2 + whole.mul_f64(random_part() / 2.0)
    }
}

/// Between 0 and 1. Without random numbers boxes merely come back at the same time.
fn random_part() -> f64 {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        for most in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let wait = backoff.next_wait().as_secs_f64();
            assert!(wait >= f64::from(most) / 2.0 && wait <= f64::from(most), "{wait} {most}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_secs(1));
    }
}
