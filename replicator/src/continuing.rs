//! For a box that takes a branch over: what HQ holds of it, and as much as its catalog is made from.

use std::collections::BTreeMap;

use coffer_format::SegmentId;
use coffer_format::wire::{Message, SegmentHeld};
use coffer_link::{LinkError, Role, Throttle, connect};
use tokio::time::timeout;

use crate::fetch::{Of, fetch_each_that_can};
use crate::{WanError, WanSettings};

/// HQ closes a link whenever it finds something of the branch to be damaged; it's asked anew so often.
const TRIES: u32 = 5;

/// Tells HQ that a box takes this branch over, and learns what it holds. What HQ has of open segments ends with a whole record then.
pub async fn take_over(settings: &WanSettings) -> Result<Vec<SegmentHeld>, WanError> {
    for _ in 1..TRIES {
        match ask(settings).await {
            Err(WanError::Closed) => tracing::info!("HQ closed the connection: it's asked again"),
            other => return other,
        }
    }
    ask(settings).await
}

async fn ask(settings: &WanSettings) -> Result<Vec<SegmentHeld>, WanError> {
    let stall = settings.patience.stall;
    let mut link = connect(&settings.address, &settings.identity, Role::Hq, None).await?;
    link.sender.send(Message::BranchContinues).await?;
    let answer = timeout(stall, link.receiver.recv()).await;
    match answer.map_err(|_| WanError::Stalled { seconds: stall.as_secs() })?? {
        Some(Message::BranchHolds { segments }) => Ok(segments),
        Some(Message::Refused { refusal }) => Err(LinkError::Refused(refusal).into()),
        Some(_) => Err(WanError::OutOfTurn),
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
