//! How long each step of a snapshot may take. Windows has limits of its own inside some of them (a freeze ends after
//! 60 s), so these only catch what hangs.

use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    pub(crate) metadata: Duration,
    pub(crate) prepare: Duration,
    pub(crate) snapshot: Duration,
    pub(crate) status: Duration,
    pub(crate) complete: Duration,
    /// How long to wait for another program's snapshot altogether.
    pub(crate) busy: Duration,
    /// How long to wait before something is tried again.
    pub(crate) pause: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            metadata: 5 * MINUTE,
            prepare: 10 * MINUTE,
            snapshot: 10 * MINUTE,
            status: 5 * MINUTE,
            complete: 10 * MINUTE,
            busy: 10 * MINUTE,
            pause: Duration::from_secs(10),
        }
    }
}

impl Patience {
    /// No step takes longer than this.
    pub(crate) fn within(limit: Duration) -> Patience {
        let usual = Patience::default();
        Patience {
            metadata: usual.metadata.min(limit),
            prepare: usual.prepare.min(limit),
            snapshot: usual.snapshot.min(limit),
            status: usual.status.min(limit),
            complete: usual.complete.min(limit),
            busy: usual.busy.min(limit),
            pause: usual.pause.min(limit / 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_shortens_and_never_lengthens() {
        assert_eq!(Patience::within(100 * MINUTE), Patience::default());
        let short = Patience::within(Duration::from_secs(2));
        assert_eq!((short.prepare, short.busy), (Duration::from_secs(2), Duration::from_secs(2)));
        assert_eq!(short.pause, Duration::from_millis(200));
    }
}
