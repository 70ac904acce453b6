//! Waiting between polls of a device. Passed in, so that tests and simulated libraries don't sleep.

use std::time::Duration;

/// Lets time pass.
pub trait Waiter: Send + Sync {
    fn wait(&self, ms: u64);
}

/// Sleeps: for real devices.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemWaiter;

impl Waiter for SystemWaiter {
    fn wait(&self, ms: u64) {
        std::thread::sleep(Duration::from_millis(ms));
    }
}

/// Returns at once: a simulated device is ready after a number of polls, not after a time.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWaiter;

impl Waiter for NoWaiter {
    fn wait(&self, _ms: u64) {}
}
