//! What the box was told, over one connection, of configurations whose changes can't be watched.

use std::collections::BTreeMap;

use coffer_format::ConfigId;
use coffer_format::wire::Message;

use crate::job::Job;
use crate::session::Session;
use crate::watch::RESCAN_EVERY;
use crate::wire::WireError;

/// By configuration, why.
#[derive(Default)]
pub(super) struct Unwatched(BTreeMap<ConfigId, String>);

impl Unwatched {
    /// Says what's different by now.
    pub(super) fn tell(&mut self, session: &Session, jobs: &[Job]) -> Result<(), WireError> {
        let why = |job: &Job| Some((job.text.config, job.watch.as_ref()?.failure()?.to_owned()));
        let now: BTreeMap<ConfigId, String> = jobs.iter().filter_map(why).collect();
        let minutes = (RESCAN_EVERY.as_secs() / 60) as u32;
        let say = |config: ConfigId, why: &str| {
            session.tell(Message::Unwatched { config, minutes, sentence: why.to_owned() })
        };
        for config in self.0.keys().filter(|config| !now.contains_key(config)) {
            say(*config, "")?;
        }
        for (config, why) in now.iter().filter(|(config, why)| self.0.get(config) != Some(why)) {
            say(*config, why)?;
        }
        self.0 = now;
        Ok(())
    }
}
