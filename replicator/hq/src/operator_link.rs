//! An operator's link: questions about all branches and about one, and restores.

use std::collections::BTreeSet;
use std::sync::Arc;

use coffer_format::SegmentId;
use coffer_format::limits::FRAME_BODY_MAX;
use coffer_format::wire::{Message, RefusalCode};
use coffer_link::{Link, Role};
use coffer_vault::restore::Wanted;
use coffer_vault::verify::Verdict;
use coffer_vault::{Reading, VaultError};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::branch::Branch;
use crate::overview::overview;
use crate::server::{Shared, welcome};
use crate::{HqError, Result};

/// Room for a message's kind and lengths.
const ANSWER_MAX: usize = FRAME_BODY_MAX - 64;

/// Serves an operator until he goes or HQ stops.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    link: Link,
    role: Role,
    mut stopping: watch::Receiver<bool>,
) -> Result<()> {
    let mut service = Service { shared: shared.clone(), link, role, selected: None };
    tokio::select! {
        outcome = service.run() => outcome,
        _ = stopping.wait_for(|stopping| *stopping) => Ok(()),
    }
}

struct Service {
    shared: Arc<Shared>,
    link: Link,
    role: Role,
    /// The branch that this link's questions are about.
    selected: Option<Arc<Branch>>,
}

impl Service {
    async fn run(&mut self) -> Result<()> {
        while let Some(message) = self.link.receiver.recv().await? {
            let answer = match self.answer(message).await {
                Ok(answer) => answer,
                Err(error @ HqError::Link(_)) => return Err(error),
                Err(error) => {
                    tracing::info!(role = %self.role, %error, "an operator was refused");
                    Message::Refused { refusal: error.refusal() }
                }
            };
            self.link.sender.send(answer).await?;
        }
        Ok(())
    }

    async fn answer(&mut self, message: Message) -> Result<Message> {
        match message {
            Message::Hello { protocol, .. } => welcome(&self.shared, protocol),
            Message::Ask { json } => {
                let question = serde_json::from_slice(&json).map_err(|_| {
                    HqError::refused(RefusalCode::BadRequest, "the question isn't JSON: update this program")
                })?;
                let answer = self.ask(question).await?;
                let json = serde_json::to_vec(&answer).map_err(|_| HqError::Internal)?;
                if json.len() > ANSWER_MAX {
                    return Err(HqError::refused(
                        RefusalCode::BadRequest,
                        "the answer is too long: ask for less (a folder further down, or a narrower pattern)",
                    ));
                }
                Ok(Message::Answer { json: json.into() })
            }
            Message::RestoreWanted { config, point, paths } => {
                let paths = paths.into_iter().map(|path| path.0).collect();
                self.restore(Wanted { config, point, paths, trusted: true }).await
            }
            _ => Err(HqError::refused(
                RefusalCode::NotAllowed,
                "an operator may not do that at HQ: do it at the box",
            )),
        }
    }

    async fn ask(&mut self, question: Value) -> Result<Value> {
        if question == json!({ "hq": "branches" }) {
            let shared = self.shared.clone();
            return self.shared.in_background(move || overview(&shared.branches)).await;
        }
        if let Some(name) = question.get("select").and_then(Value::as_str) {
            let (shared, name) = (self.shared.clone(), name.to_owned());
            let branch = self.shared.in_background(move || shared.branches.get(&name)).await?;
            let answer = json!({ "selected": branch.name });
            self.selected = Some(branch);
            return Ok(answer);
        }
        let order = question.get("do").and_then(Value::as_str).map(str::to_owned);
        if order.as_deref() == Some("verify") {
            let branch = self.branch()?;
            return self.shared.restoring(move || verify(&branch)).await;
        }
        if let Some(order) = order {
            let sentence = format!(
                "{order:?} can't be done from HQ: ask the branch's box (`--server` with its address)"
            );
            return Err(HqError::refused(RefusalCode::NotAllowed, sentence));
        }
        let query = serde_json::from_value(question).map_err(|error| {
            let sentence = format!("HQ doesn't know this question ({error}): update this program or HQ");
            HqError::refused(RefusalCode::BadRequest, sentence)
        })?;
        let branch = self.branch()?;
        self.shared.in_background(move || Ok(reading(&branch)?.answer(&query)?)).await
    }

    async fn restore(&mut self, wanted: Wanted) -> Result<Message> {
        let (branch, sender) = (self.branch()?, self.link.sender.clone());
        tracing::info!(role = %self.role, branch = branch.name, config = %wanted.config, point = %wanted.point, "a restore from HQ");
        let restored = self.shared.restoring(move || {
            let mut send = |message| {
                let cut = |error| VaultError::Io {
                    doing: "send to",
                    path: "the operator".into(),
                    source: std::io::Error::other(error),
                };
                sender.blocking_send(message).map_err(cut)
            };
            Ok(reading(&branch)?.restore(&wanted, &mut send)?)
        });
        let restored = restored.await?;
        Ok(Message::RestoreEnd { nodes: restored.nodes, bytes: restored.bytes, failed: Vec::new() })
    }

    fn branch(&self) -> Result<Arc<Branch>> {
        let none = || HqError::refused(RefusalCode::BadRequest, "no branch is selected: select one first");
        self.selected.clone().ok_or_else(none)
    }
}

/// Reads all that is here of a branch back, and says whether every point that is whole here can be restored from here.
fn verify(branch: &Branch) -> Result<Value> {
    for segment in branch.whole_segments()? {
        branch.check(segment)?;
    }
    let read = reading(branch)?;
    let report = read.inspect(&mut |_| {})?;
    // What isn't closed yet isn't waited for either: the box hears at once what is here of it.
    report.damage.iter().for_each(|damage| read.suspect(damage.segment, damage.offset));
    if !report.damage.is_empty()
        && let Err(error) = branch.look()
    {
        tracing::warn!(branch = branch.name, %error, "what is damaged of a branch couldn't be looked at closely; it's tried again");
    }
    let mut told = json!(report);
    told["sentence"] = json!(report.sentence());
    // Copies that the catalog knows of are tapes. The box itself has what it hasn't given up.
    let is_at_box = match report.verdict {
        Verdict::Whole => true,
        _ => is_all_at_box(branch, report.damage.iter().map(|damage| damage.segment))?,
    };
    if !is_at_box && report.lost_count > 0 {
        told["sentence"] = json!(format!(
            "{} damaged places, {} versions can't be restored from HQ, {} of them neither from a verified copy nor from the branch's box",
            report.damage.len(),
            report.touched_count,
            report.lost_count
        ));
    } else if is_at_box && report.verdict != Verdict::Whole {
        told["verdict"] = json!(Verdict::Heals);
        told["from_box"] = json!(true);
        told["lost_count"] = json!(0);
        for touched in told["touched"].as_array_mut().into_iter().flatten() {
            if touched["is_lost"] == true {
                touched["is_lost"] = json!(false);
                touched["from"] = json!(["the branch's box"]);
            }
        }
        told["sentence"] = json!(format!(
            "{} damaged places, {} versions can't be restored from HQ as it is; the branch's box is asked for what is damaged or missing here, \
             and sends it again once it's connected",
            report.damage.len(),
            report.touched_count
        ));
    }
    Ok(told)
}

/// Whether the box has all that is damaged or missing here.
fn is_all_at_box(branch: &Branch, mut damaged: impl Iterator<Item = SegmentId>) -> Result<bool> {
    let Some(mirror) = branch.mirror()? else { return Ok(true) };
    for segment in mirror.damaged_segments() {
        if mirror.is_given_up(segment)? {
            return Ok(false);
        }
    }
    // What has come whole is damaged at the box as it is here.
    let whole: BTreeSet<SegmentId> = mirror.whole_segments().into_iter().collect();
    Ok(!damaged.any(|segment| whole.contains(&segment)) && mirror.lacking_at_box()?.is_empty())
}

fn reading(branch: &Branch) -> Result<Arc<Reading>> {
    match branch.fresh_mirror()? {
        Some(mirror) => Ok(mirror.reading().clone()),
        None => Err(HqError::refused(
            RefusalCode::NoSuchPoint,
            format!("nothing of branch {} has arrived at HQ yet: check its line, or wait", branch.name),
        )),
    }
}
