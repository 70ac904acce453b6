//! The agent is a guest on the computer: how fast it may send now, and whether it may work at all.
//!
//! What the configurations allow and how the computer stands is looked at again every few seconds by a thread of its
//! own, so that a calendar's hours, a pulled plug and another network count within a capture as well.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coffer_format::ConfigId;
use coffer_format::wire::{ConfigText, WAITS};
use coffer_link::Throttle;

use crate::clock::week_time;
use crate::config::{BackupConfig, Manners, OnBattery, OnMetered, Priority, WindowTime};
use crate::platform;

const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What the computer runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Power {
    #[default]
    Mains,
    Battery,
}

/// What the network costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum NetworkCost {
    /// The same however much goes over it; also where nobody knows.
    #[default]
    Flat,
    Metered,
}

/// How the computer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Circumstances {
    pub(crate) power: Power,
    pub(crate) network: NetworkCost,
}

/// How far a configuration has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Stage {
    FirstCopy,
    /// Also before the box has said: it's asked at the start of each capture.
    #[default]
    Changes,
}

/// Why a configuration isn't captured now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    OnBattery,
    FirstCopyOnBattery,
    OnMeteredNetwork,
    /// Until somebody asks.
    Asked,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self {
            Waiting::OnBattery => "on battery",
            Waiting::FirstCopyOnBattery => "on battery, the first copy needs mains power",
            Waiting::OnMeteredNetwork => "the network is metered",
            Waiting::Asked => "its configuration is manual",
        };
        write!(f, "{WAITS}{why}")
    }
}

impl Priority {
    /// Called first by each thread that works for a capture.
    pub(crate) fn settle_in(self) {
        if self == Priority::Background {
            platform::work_in_background();
        }
    }
}

/// Whether a configuration must wait under these circumstances.
fn waiting(manners: &Manners, stage: Stage, now: Circumstances) -> Option<Waiting> {
    match (now.power, manners.on_battery, stage) {
        (Power::Battery, OnBattery::Pause, _) => return Some(Waiting::OnBattery),
        (Power::Battery, OnBattery::ChangesOnly, Stage::FirstCopy) => {
            return Some(Waiting::FirstCopyOnBattery);
        }
        _ => {}
    }
    let waits = now.network == NetworkCost::Metered && manners.metered == OnMetered::Pause;
    waits.then_some(Waiting::OnMeteredNetwork)
}

/// Bytes per second for the computer's one line: the lowest limit that's in force.
fn rate<'a>(all: impl Iterator<Item = &'a Manners>, time: WindowTime) -> Option<u64> {
    all.filter_map(|manners| manners.bandwidth.at(time)).min()
}

/// What all configurations allow, shared by the line, the captures and the thread that looks.
#[derive(Debug)]
pub(crate) struct Guest {
    throttle: Throttle,
    house: Mutex<House>,
}

#[derive(Debug, Default)]
struct House {
    manners: Vec<(ConfigId, Manners)>,
    now: Circumstances,
}

impl Guest {
    /// Looks now and from then on, for as long as somebody has it.
    pub(crate) fn start() -> Arc<Guest> {
        let guest = Arc::new(Guest { throttle: Throttle::new(None), house: Mutex::default() });
        guest.look();
        let weak = Arc::downgrade(&guest);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(LOOK_EVERY);
                match weak.upgrade() {
                    Some(guest) => guest.look(),
                    None => return,
                }
            }
        });
        guest
    }

    /// The computer's one line to the box. All connections share it.
    pub(crate) fn throttle(&self) -> Throttle {
        self.throttle.clone()
    }

    /// Takes over what the configurations say. One with mistakes is left out, as it is elsewhere.
    pub(crate) fn learn(&self, texts: &[ConfigText]) {
        let parsed = texts.iter().filter_map(|text| {
            let (config, _) = BackupConfig::parse_stored(&text.toml).ok()?;
            Some((text.config, config.manners))
        });
        self.house().manners = parsed.collect();
        self.look();
    }

    /// Why that configuration must wait now, if it must.
    pub(crate) fn waiting(&self, config: ConfigId, stage: Stage) -> Option<Waiting> {
        let house = self.house();
        let (_, manners) = house.manners.iter().find(|(one, _)| *one == config)?;
        waiting(manners, stage, house.now)
    }

    fn look(&self) {
        let now = Circumstances { power: platform::power(), network: platform::network_cost() };
        let mut house = self.house();
        if house.now != now {
            tracing::info!(power = ?now.power, network = ?now.network, "the computer's circumstances");
        }
        house.now = now;
        let rate = rate(house.manners.iter().map(|(_, manners)| manners), week_time());
        if rate != self.throttle.rate() {
            tracing::info!(bytes_per_second = rate, "limit of the line to the box");
            self.throttle.set_rate(rate);
        }
    }

    fn house(&self) -> MutexGuard<'_, House> {
        self.house.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manners(toml: &str) -> Manners {
        BackupConfig::parse(&format!("include = [\"/a\"]\n{toml}")).unwrap().manners
    }

    #[test]
    fn what_waits_when() {
        use NetworkCost::{Flat, Metered};
        use Power::{Battery, Mains};
        use Stage::{Changes, FirstCopy};
        use Waiting::{FirstCopyOnBattery, OnBattery, OnMeteredNetwork};
        let cases = [
            ("", Changes, Mains, Flat, None),
            ("", FirstCopy, Mains, Flat, None),
            ("", Changes, Battery, Flat, None),
            ("", FirstCopy, Battery, Flat, Some(FirstCopyOnBattery)),
            ("", Changes, Mains, Metered, Some(OnMeteredNetwork)),
            ("", Changes, Battery, Metered, Some(OnMeteredNetwork)),
            ("on_battery = \"pause\"", Changes, Battery, Flat, Some(OnBattery)),
            ("on_battery = \"pause\"", Changes, Mains, Flat, None),
            ("on_battery = \"continue\"", FirstCopy, Battery, Flat, None),
            ("metered = \"continue\"", FirstCopy, Mains, Metered, None),
            ("metered = \"continue\"", FirstCopy, Battery, Metered, Some(FirstCopyOnBattery)),
        ];
        for (toml, stage, power, network, expected) in cases {
            let now = Circumstances { power, network };
            assert_eq!(waiting(&manners(toml), stage, now), expected, "{toml} {stage:?} {now:?}");
        }
    }

    #[test]
    fn the_lowest_limit_in_force_counts() {
        let all = [
            manners("bandwidth = [\"mon-fri 07:00-19:00 2 Mbit/s\", \"otherwise 8 Mbit/s\"]"),
            manners("bandwidth = [\"sat 00:00-24:00 unlimited\", \"otherwise 4 Mbit/s\"]"),
            manners(""),
        ];
        let at = |weekday, hour: u16| rate(all.iter(), WindowTime { weekday, minute: hour * 60 });
        assert_eq!(at(0, 12), Some(250_000));
        assert_eq!(at(0, 20), Some(500_000));
        assert_eq!(at(5, 12), Some(1_000_000));
        assert_eq!(rate(all[2..].iter(), WindowTime { weekday: 0, minute: 0 }), None);
    }
}
