//! Whether the vault is still on the line of history that HQ knows. A vault that was set back to an older state goes on with numbers
//! that HQ has seen already, for other things: HQ must not get those.

use std::collections::BTreeSet;
use std::sync::Arc;

use coffer_format::SegmentId;
use coffer_format::segment::SegmentHeader;
use coffer_format::wire::{Message, SegmentHas};
use coffer_link::{Link, LinkError};
use coffer_vault::{SegmentState, Vault};

use crate::WanError;
use crate::job::in_background;

/// The newest segments are compared: a line that was left differs in its newest ones.
const COMPARED: usize = 32;

/// Fails where HQ knows of a segment that this vault hasn't made yet, or has another one under the same number.
pub(crate) async fn check(
    link: &mut Link,
    vault: &Arc<Vault>,
    has: &[SegmentHas],
    states: &[SegmentState],
) -> Result<(), WanError> {
    let asked = vault.clone();
    let newest = in_background(move || asked.newest_number()).await??;
    let at_hq = has.iter().filter(|has| has.bytes > SegmentHeader::LEN as u64);
    let at_hq: BTreeSet<SegmentId> = at_hq.map(|has| has.segment).collect();
    if at_hq.last().is_some_and(|last| *last > newest) {
        return Err(WanError::SetBack);
    }
    let both = states.iter().map(|state| state.segment).filter(|segment| at_hq.contains(segment));
    let both: BTreeSet<SegmentId> = both.collect();
    let segments: Vec<SegmentId> = both.into_iter().rev().take(COMPARED).collect();
    link.sender.send(Message::MarksWanted { segments }).await?;
    let there = match link.receiver.recv().await? {
        Some(Message::Marks { segments }) => segments,
        Some(Message::Refused { refusal }) => return Err(LinkError::Refused(refusal).into()),
        Some(_) => return Err(WanError::OutOfTurn),
        None => return Err(WanError::Closed),
    };
    let reading = vault.reading().clone();
    let are_same = in_background(move || {
        there.iter().try_fold(true, |are_same, mark| Ok::<_, WanError>(are_same && reading.is_same(mark)?))
    });
    if are_same.await?? { Ok(()) } else { Err(WanError::SetBack) }
}
