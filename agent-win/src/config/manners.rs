//! How a configuration behaves as a guest on the computer: what it leaves to the computer's own work.

use super::Bandwidth;

/// What the agent takes of the computer and of its line, and when it waits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manners {
    pub bandwidth: Bandwidth,
    pub on_battery: OnBattery,
    pub metered: OnMetered,
    pub priority: Priority,
}

/// What goes on while the computer runs on its battery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnBattery {
    Continue,
    /// Changes are captured; a first copy waits for mains power.
    #[default]
    ChangesOnly,
    Pause,
}

pub(super) const ON_BATTERY: [(&str, OnBattery); 3] = [
    ("continue", OnBattery::Continue),
    ("changes only", OnBattery::ChangesOnly),
    ("pause", OnBattery::Pause),
];

/// What goes on while the network is paid by what goes over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMetered {
    Continue,
    #[default]
    Pause,
}

pub(super) const METERED: [(&str, OnMetered); 2] =
    [("continue", OnMetered::Continue), ("pause", OnMetered::Pause)];

/// How a capture competes with what else the computer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Gets what the computer's own work leaves over.
    #[default]
    Background,
    Normal,
}

pub(super) const PRIORITY: [(&str, Priority); 2] =
    [("background", Priority::Background), ("normal", Priority::Normal)];
