//! What a person asks of a vault, the same at a branch and at HQ: plain questions, answers as JSON.

use std::sync::Arc;

use coffer_format::node::NodeKind;
use coffer_format::wire::RefusalCode;
use coffer_format::{ConfigId, PointSeq};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::browse::Listing;
use crate::reading::Reading;
use crate::{Result, VaultError};

/// Most names that one search returns.
const FOUND_MAX: usize = 10_000;

/// Which configuration: by number, or by the names of computer and configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Which {
    Number(u32),
    Named { computer: String, name: String },
}

/// Which of its points: a number, the newest at a time (milliseconds since 1970-01-01 UTC), or the newest of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    #[default]
    Newest,
    Point(u64),
    At(u64),
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "query", rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    Computers,
    Configurations,
    Points {
        config: Which,
    },
    List {
        config: Which,
        when: When,
        path: String,
    },
    /// Names that match a pattern with `*` and `?`, anywhere below a path.
    Find {
        config: Which,
        when: When,
        path: String,
        pattern: String,
    },
    Versions {
        config: Which,
        path: String,
    },
    /// What a point's capture had to say.
    Report {
        config: Which,
        when: When,
    },
    /// The numbers that names stand for: for a restore.
    Resolve {
        config: Which,
        when: When,
    },
    Segments,
    Cartridges,
    Audit {
        newest: usize,
    },
}

impl Reading {
    pub fn answer(self: &Arc<Self>, query: &Query) -> Result<Value> {
        Ok(match query {
            Query::Computers => json!(self.computers()?),
            Query::Configurations => json!(self.configurations()?),
            Query::Points { config } => json!(self.points(self.which(config)?)?),
            Query::List { config, when, path } => json!(self.answer_list(config, *when, path)?),
            Query::Find { config, when, path, pattern } => {
                json!(self.answer_find(config, *when, path, pattern)?)
            }
            Query::Versions { config, path } => json!(self.versions(self.which(config)?, path.as_bytes())?),
            Query::Report { config, when } => {
                let config = self.which(config)?;
                json!(self.report(config, self.when(config, *when)?)?)
            }
            Query::Resolve { config, when } => {
                let config = self.which(config)?;
                json!({ "config": config.0, "point": self.when(config, *when)?.0 })
            }
            Query::Segments => json!(self.segments()?),
            Query::Cartridges => json!(self.cartridges()?),
            Query::Audit { newest } => json!(self.audit_log(*newest)?),
        })
    }

    /// The configuration that is meant.
    pub fn which(&self, which: &Which) -> Result<ConfigId> {
        let all = self.configurations()?;
        let found = all.iter().find(|config| match which {
            Which::Number(number) => config.config == *number,
            Which::Named { computer, name } => config.computer_name == *computer && config.name == *name,
        });
        found.map(|config| ConfigId(config.config)).ok_or_else(|| {
            VaultError::refused(
                RefusalCode::NoSuchConfiguration,
                "there's no such backup configuration: `coffer config list` shows what there is",
            )
        })
    }

    /// The point that is meant; it's closed and kept.
    pub fn when(&self, config: ConfigId, when: When) -> Result<PointSeq> {
        match when {
            When::Newest => self.point_at(config, None),
            When::At(at_ms) => self.point_at(config, Some(at_ms)),
            When::Point(point) => self.check_point(config, PointSeq(point)).map(|()| PointSeq(point)),
        }
    }

    pub(crate) fn answer_list(&self, config: &Which, when: When, path: &str) -> Result<Vec<Listing>> {
        let config = self.which(config)?;
        let point = self.when(config, when)?;
        let found = self.lookup(config, point, path.as_bytes())?;
        if found.kind == NodeKind::Directory {
            return self.list(config, point, found.node);
        }
        // What is no folder is listed itself.
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let beside = self.list(config, point, found.parent)?;
        Ok(beside.into_iter().filter(|one| one.name == name.as_bytes()).collect())
    }

    pub(crate) fn answer_find(
        &self,
        config: &Which,
        when: When,
        path: &str,
        pattern: &str,
    ) -> Result<Vec<Listing>> {
        let config = self.which(config)?;
        let point = self.when(config, when)?;
        let from = self.lookup(config, point, path.as_bytes())?;
        let mut found = Vec::new();
        self.walk(config, point, from.node, &mut |below, listing| {
            if matches(pattern.as_bytes(), &listing.name) {
                if found.len() >= FOUND_MAX {
                    return Err(VaultError::refused(
                        RefusalCode::BadRequest,
                        format!("more than {FOUND_MAX} names match: narrow the pattern or the path"),
                    ));
                }
                let whole = format!("{}/{}", path.trim_end_matches('/'), String::from_utf8_lossy(below));
                found.push(Listing { path: whole, ..listing.clone() });
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// Whether a name matches a pattern of literal bytes, `?` (one byte) and `*` (any number).
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(b'?') => {
                p += 1;
                n += 1;
            }
            Some(byte) if *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    p = after;
                    n = from + 1;
                    retry = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_people_expect() {
        for (pattern, name, expected) in [
            ("*.doc", "a.doc", true),
            ("*.doc", "a.docx", false),
            ("?.txt", "a.txt", true),
            ("a*b*c", "aXbYbZc", true),
            ("*", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
