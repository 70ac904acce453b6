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
/// Of segments that this vault never made one is enough, but HQ may not be able to read each.
const UNKNOWN_MAX: usize = 32;

/// Fails where HQ knows of a segment that this vault never made, or has another one under the same number.
pub(crate) async fn check(
    link: &mut Link,
    vault: &Arc<Vault>,
    has: &[SegmentHas],
    states: &[SegmentState],
) -> Result<(), WanError> {
    let at_hq = has.iter().filter(|has| has.bytes > SegmentHeader::LEN as u64);
    let at_hq: BTreeSet<SegmentId> = at_hq.map(|has| has.segment).collect();
    let (asked, of) = (vault.clone(), at_hq.iter().copied().collect::<Vec<_>>());
    let unknown = in_background(move || asked.never_made(&of)).await??;
    let both = states.iter().map(|state| state.segment).filter(|segment| at_hq.contains(segment));
    let both: BTreeSet<SegmentId> = both.collect();
    let mut segments: Vec<SegmentId> = both.into_iter().rev().take(COMPARED).collect();
    segments.extend(unknown.iter().rev().take(UNKNOWN_MAX));
    link.sender.send(Message::MarksWanted { segments }).await?;
    let marks = match link.receiver.recv().await? {
        Some(Message::Marks { segments }) => segments,
        Some(Message::Refused { refusal }) => return Err(LinkError::Refused(refusal).into()),
        Some(_) => return Err(WanError::OutOfTurn),
        None => return Err(WanError::Closed),
    };
    // What HQ can't read any more has no mark, and says nothing.
    let vault = vault.clone();
    let is_on_line = in_background(move || vault.is_on_line(&marks));
    if is_on_line.await?? { Ok(()) } else { Err(WanError::SetBack) }
}
