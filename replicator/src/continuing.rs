//! For a box that takes a branch over: what HQ holds of it, and as much as its catalog is made from.

use std::collections::{BTreeMap, HashSet};

use coffer_format::wire::{Message, RefusalCode, SegmentHeld};
use coffer_format::{Lsn, SegmentId};
use coffer_link::{Link, LinkError, Role, Throttle, connect};
use tokio::time::timeout;

use crate::fetch::{Of, fetch_each_that_can};
use crate::{WanError, WanSettings};

/// HQ closes a link whenever it finds something of the branch to be damaged; it's asked anew so often.
const TRIES: u32 = 5;

/// What HQ holds of a branch.
#[derive(Debug, Clone)]
pub struct AtHq {
    pub held: Vec<SegmentHeld>,
    /// Segments that are whole there: others may be damaged, though it's known how they were closed.
    pub whole: HashSet<SegmentId>,
    /// The newest metadata record that it knows of, whether or not it's there still.
    pub newest_record: Lsn,
}

/// Tells HQ that a box takes this branch over, and learns what it holds. What HQ has of open segments ends with a whole record then.
pub async fn take_over(settings: &WanSettings) -> Result<AtHq, WanError> {
    for _ in 1..TRIES {
        match ask(settings).await {
            Err(WanError::Closed) => tracing::info!("HQ closed the connection: it's asked again"),
            other => return other,
        }
    }
    ask(settings).await
}

async fn ask(settings: &WanSettings) -> Result<AtHq, WanError> {
    let mut link = connect(&settings.address, &settings.identity, Role::Hq, None).await?;
    let held = match answer(&mut link, settings, Message::BranchContinues).await? {
        Message::BranchHolds { segments } => segments,
        _ => return Err(WanError::OutOfTurn),
    };
    let has = match answer(&mut link, settings, Message::BranchSegments).await? {
        Message::BranchHas { segments } => segments,
        _ => return Err(WanError::OutOfTurn),
    };
    let whole = has.into_iter().filter(|has| has.closed).map(|has| has.segment).collect();
    // The last question: an HQ that doesn't know it closes the connection.
    let newest_record =
        match answer(&mut link, settings, Message::Ask { json: br#""newest_record""#[..].into() }).await {
            Ok(Message::Answer { json }) => {
                serde_json::from_slice(&json.0).map_err(|_| WanError::OutOfTurn)?
            }
            Ok(_) => return Err(WanError::OutOfTurn),
            Err(WanError::Link(LinkError::Refused(refusal))) if refusal.code == RefusalCode::NotAllowed => {
                tracing::warn!(
                    "HQ is older than this box, and can't say whether it knows of metadata that it lost"
                );
                0
            }
            Err(error) => return Err(error),
        };
    Ok(AtHq { held, whole, newest_record: Lsn(newest_record) })
}

async fn answer(link: &mut Link, settings: &WanSettings, question: Message) -> Result<Message, WanError> {
    let stall = settings.patience.stall;
    link.sender.send(question).await?;
    let answer = timeout(stall, link.receiver.recv()).await;
    match answer.map_err(|_| WanError::Stalled { seconds: stall.as_secs() })?? {
        Some(Message::Refused { refusal }) => Err(LinkError::Refused(refusal).into()),
        Some(answer) => Ok(answer),
        None => Err(WanError::Closed),
    }
}

/// Fetches outlines (of what never came whole to HQ: all that it has of it), one after another, and hands each to `sink`. Says what couldn't be had, and why, by segment.
pub async fn fetch_outlines<S>(
    settings: &WanSettings,
    throttle: Option<Throttle>,
    segments: &[SegmentId],
    sink: S,
) -> BTreeMap<SegmentId, String>
where
    S: FnMut(SegmentId, &[u8]) -> coffer_vault::Result<()> + Send + 'static,
{
    fetch_each_that_can(settings, throttle, Of::Outlines, segments, sink).await
}
