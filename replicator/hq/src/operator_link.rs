//! An operator's link: questions about all branches and about one, and restores.

use std::sync::Arc;

use coffer_format::limits::FRAME_BODY_MAX;
use coffer_format::wire::{Message, RefusalCode};
use coffer_link::{Link, Role};
use coffer_vault::restore::Wanted;
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

fn verify(branch: &Branch) -> Result<Value> {
    let report = branch.verify()?.ok_or_else(|| nothing_of(branch))?;
    let mut told = json!(report);
    told["sentence"] = json!(report.sentence_at_hq());
    Ok(told)
}

fn nothing_of(branch: &Branch) -> HqError {
    let name = &branch.name;
    let sentence = match branch.trouble() {
        Some(why) => {
            format!("nothing of branch {name} can be taken in or read, which is tried again by itself: {why}")
        }
        None => format!("nothing of branch {name} has arrived at HQ yet: check its line, or wait"),
    };
    HqError::refused(RefusalCode::NoSuchPoint, sentence)
}

fn reading(branch: &Branch) -> Result<Arc<Reading>> {
    let mirror = branch.fresh_mirror()?.ok_or_else(|| nothing_of(branch))?;
    Ok(mirror.reading().clone())
}
