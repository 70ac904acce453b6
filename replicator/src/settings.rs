//! What the WAN job needs to know.

use std::sync::Arc;
use std::time::Duration;

use coffer_link::Identity;
use jiff::civil::DateTime;

use crate::Calendar;

/// Where HQ is, who we are there, and what the line may carry.
#[derive(Debug, Clone)]
pub struct WanSettings {
    /// `host:port` of HQ.
    pub address: String,
    /// This box's identity at HQ.
    pub identity: Identity,
    /// The name HQ gave this branch: copies are recorded under it.
    pub branch: String,
    pub calendar: Calendar,
    pub patience: Patience,
}

/// How long the job waits for what. The default is for real lines; tests have less patience.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Without any word from HQ while it owes us one, the line counts as cut.
    pub stall: Duration,
    /// First wait before connecting again, and the longest.
    pub reconnect_first: Duration,
    pub reconnect_most: Duration,
    /// The longest where HQ answers, and can't take anything just now.
    pub refused_most: Duration,
    /// How often an idle job looks for new segments.
    pub idle: Duration,
    /// How often HQ is asked how far it's whole, at most.
    pub ask_whole: Duration,
    /// HQ may take nothing for so long before a person is told.
    pub away: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            stall: Duration::from_secs(90),
            reconnect_first: Duration::from_secs(2),
            reconnect_most: Duration::from_secs(300),
            refused_most: Duration::from_secs(60),
            idle: Duration::from_secs(2),
            ask_whole: Duration::from_secs(60),
            away: Duration::from_secs(600),
        }
    }
}

/// Tells the branch's local time: the calendar runs on it.
pub type LocalTime = Arc<dyn Fn() -> DateTime + Send + Sync>;
