//! What known damage does to points and versions, for whoever lists them: what can't be restored from this disk as it is looks no better
//! there than in a verification. Where nothing is known to be damaged, nothing more is asked than that.

use std::collections::HashMap;
use std::sync::Arc;

use coffer_format::{ConfigId, NodeId, PointSeq};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Result;
use crate::browse::{Listing, Version};
use crate::query::{Query, When, Which};
use crate::reading::Reading;
use crate::soundness::Soundness;

/// What a version that damage touches has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Harm {
    /// A verified copy has all that is damaged or missing here.
    Damaged,
    /// Nothing has some of it.
    Lost,
}

/// By node: since which point, until which, and what is left.
type Harmed = HashMap<NodeId, Vec<(u64, u64, Harm)>>;

impl Reading {
    /// As [`Reading::answer`]; what is known to be damaged is marked.
    pub fn answer_marked(self: &Arc<Self>, query: &Query) -> Result<Value> {
        Ok(match query {
            Query::Points { config } => self.marked_points(self.which(config)?)?,
            Query::List { config, when, path } => {
                self.marked(config, *when, self.answer_list(config, *when, path)?)?
            }
            Query::Find { config, when, path, pattern } => {
                self.marked(config, *when, self.answer_find(config, *when, path, pattern)?)?
            }
            Query::Versions { config, path } => {
                let config = self.which(config)?;
                let harmed = self.harmed(config)?;
                let mut versions = self.versions(config, path.as_bytes())?;
                for version in &mut versions {
                    let Version { node, since, .. } = *version;
                    version.harm = harm_of(&harmed, node, since);
                }
                json!(versions)
            }
            other => self.answer(other)?,
        })
    }

    fn marked(self: &Arc<Self>, config: &Which, when: When, mut names: Vec<Listing>) -> Result<Value> {
        let config = self.which(config)?;
        let point = self.when(config, when)?;
        let harmed = self.harmed(config)?;
        for name in &mut names {
            name.harm = harm_of(&harmed, name.node, point.0);
        }
        Ok(json!(names))
    }

    /// What can't be restored whole from here, or didn't come out of a trial as it was, wasn't read back, whenever its bytes were read.
    fn marked_points(self: &Arc<Self>, config: ConfigId) -> Result<Value> {
        let (harmed, doubtful) = (self.harmed(config)?, self.doubtful_points()?);
        let trials = self.trials()?;
        let failed = |point: u64| {
            trials.iter().any(|one| one.config == config.0 && one.point == point && one.why.is_some())
        };
        let mut points = json!(self.points(config)?);
        for one in points.as_array_mut().into_iter().flatten() {
            let point = one["point"].as_u64().unwrap_or(0);
            let shown = |harm: Harm| {
                let all = harmed.values().flatten();
                all.filter(|(since, until, of)| (*since..*until).contains(&point) && *of == harm).count()
            };
            let (damaged, lost) = (shown(Harm::Damaged), shown(Harm::Lost));
            let is_doubtful = doubtful.contains(&(config, PointSeq(point)));
            if damaged + lost > 0 || is_doubtful || failed(point) {
                one["read_back_ms"] = Value::Null;
            }
            (one["damaged"], one["lost"]) = (json!(damaged), json!(lost));
            one["is_doubtful"] = json!(is_doubtful);
        }
        Ok(points)
    }

    fn harmed(self: &Arc<Self>, config: ConfigId) -> Result<Harmed> {
        let mut harmed = Harmed::new();
        if self.is_unharmed()? {
            return Ok(harmed);
        }
        let sound = Soundness::known(self)?;
        if self.may_be_touched(&sound)? {
            self.check_versions(&sound, &mut |hit| {
                if hit.config == config {
                    let harm = if hit.remedy.is_lost { Harm::Lost } else { Harm::Damaged };
                    harmed.entry(hit.node).or_default().push((hit.since.0, hit.until, harm));
                }
                Ok(())
            })?;
        }
        Ok(harmed)
    }
}

fn harm_of(harmed: &Harmed, node: NodeId, point: u64) -> Option<Harm> {
    let found = harmed.get(&node)?.iter().find(|(since, until, _)| (*since..*until).contains(&point));
    found.map(|(_, _, harm)| *harm)
}
