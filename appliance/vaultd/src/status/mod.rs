//! The state of a box in plain sentences: what is wrong, what it endangers, what to do.

mod computers;
mod copies;
mod damage;
mod fewer;
mod proof;
mod standing;
mod unread;

use coffer_format::ComputerId;
use coffer_replicator::{WanStatus, due_bytes};
use coffer_vault::VaultError;
use coffer_vault::scrub::Progress;
use serde::Serialize;

pub use self::computers::{ComputerStatus, ConfigStatus};
pub(crate) use self::fewer::Fewer;
pub use self::standing::Standing;
pub(crate) use self::unread::OnUnread;
use crate::live::Doing;
use crate::serve::Appliance;

/// Everything that a status screen shows. Times are milliseconds since 1970-01-01 UTC; sizes in bytes.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    pub name: String,
    pub vault: String,
    pub version: &'static str,
    pub now_ms: u64,
    pub read_only: bool,
    pub free_bytes: u64,
    pub stored_bytes: u64,
    pub segments: u64,
    pub has_library: bool,
    /// Segments that have no verified copy on tape, those among them that are still being written to.
    pub not_on_tape: u64,
    pub not_on_tape_bytes: u64,
    /// Closed segments that HQ hasn't confirmed; `None` where there's no HQ, or until it has said what it has.
    pub not_at_hq: Option<u64>,
    pub computers: Vec<ComputerStatus>,
    /// Metadata is missing, and a copy may bring it back: what's listed may not be all.
    pub awaits_metadata: bool,
    pub doing: Vec<Doing>,
    pub hq: Option<serde_json::Value>,
    /// How far reading the disk back is; none where it's turned off.
    pub scrub: Option<Progress>,
    /// What a person should know, worst first. Empty when all is well.
    pub sentences: Vec<String>,
    /// What is good to know and calls for nothing.
    pub notes: Vec<String>,
}

impl Status {
    pub fn of(appliance: &Appliance) -> Result<Status, VaultError> {
        let vault = &appliance.vault;
        let reading = vault.reading();
        let segments = reading.segments()?;
        let not_on_tape =
            reading.without_copy(|place| matches!(place, coffer_format::event::Place::Tape { .. }))?;
        let open: Vec<_> = segments.iter().filter(|one| !one.closed).cloned().collect();
        let mut status = Status {
            name: appliance.settings.name.clone(),
            vault: vault.id().to_string(),
            version: env!("CARGO_PKG_VERSION"),
            now_ms: vault.now_ms(),
            read_only: vault.is_read_only(),
            free_bytes: vault.free_bytes()?,
            stored_bytes: segments.iter().filter(|one| one.on_disk).map(|one| one.bytes).sum(),
            segments: segments.len() as u64,
            has_library: appliance.tape.is_some(),
            not_on_tape: (not_on_tape.len() + open.len()) as u64,
            not_at_hq: None,
            not_on_tape_bytes: not_on_tape.iter().chain(&open).map(|one| one.bytes).sum(),
            computers: computers::of(appliance)?,
            awaits_metadata: appliance.awaits_metadata()?,
            doing: appliance.live.doing(),
            scrub: proof::progress(appliance)?,
            hq: None,
            sentences: Vec::new(),
            notes: copies::notes(&appliance.settings),
        };
        if let Some(hq) = at_hq(appliance)? {
            let not_there =
                reading.without_copy(|place| matches!(place, coffer_format::event::Place::Hq { .. }))?;
            status.not_at_hq = hq.behind_bytes.map(|_| not_there.len() as u64);
            status.hq = Some(serde_json::json!(hq));
        }
        status.sentences = sentences(appliance, &status)?;
        status.notes.extend(computers::notes(&status.computers));
        status.notes.extend(proof::notes(&status));
        status.notes.extend(proof::catalog(&reading.catalog_care()?, status.now_ms));
        Ok(status)
    }
}

/// How the line to HQ stands now, with what has come since the job last counted; `None` where the box has no HQ.
pub(crate) fn at_hq(appliance: &Appliance) -> Result<Option<WanStatus>, VaultError> {
    let Some(wan) = &appliance.wan else { return Ok(None) };
    let status = wan.status().borrow().clone();
    Ok(Some(status.counting(due_bytes(&appliance.vault.segments()?))))
}

fn sentences(appliance: &Appliance, status: &Status) -> Result<Vec<String>, VaultError> {
    let mut told = appliance.troubles();
    if appliance.only_restores() {
        told.push(
            "The box's disk takes no writes: nothing new is protected on any computer, and nothing goes to tape or headquarters. What \
             the box holds can be restored and verified. Restore what is needed at once and have the disk checked; the box goes on by itself once \
             it takes writes."
                .into(),
        );
    } else if status.read_only {
        told.push(
            "The box's disk failed while writing: nothing new is protected on any computer. Have the disk checked; the box goes on by itself \
             once it takes writes."
                .into(),
        );
    }
    let reserve = appliance.settings.reserve_mib << 20;
    if status.free_bytes < reserve {
        told.push(format!(
            "The box's disk is full ({} MiB free): nothing new is protected on any computer. Free space, or let tape or HQ copies release some.",
            status.free_bytes >> 20
        ));
    }
    told.extend(damage::sentences(appliance)?);
    told.extend(proof::sentences(&appliance.settings.scrub, status));
    told.extend(appliance.clock.sentence(status.now_ms));
    told.extend(copies::sentences(appliance, &status.computers, status.now_ms));
    let programs = appliance.live.programs();
    for computer in status.computers.iter().filter(|computer| !computer.revoked) {
        if let Some(program) = programs.get(&ComputerId(computer.computer))
            && !program.sentence.is_empty()
        {
            told.push(format!("{}: its agent wasn't updated: {}.", computer.name, program.sentence));
        }
        told.extend(computers::another_memory(computer, &appliance.memories, status.now_ms));
        computers::sentences(computer, status, &mut told);
    }
    for path in appliance.layout.all_set_aside() {
        told.push(format!(
            "This vault had been set back to an older state, and goes on with what headquarters knew. What it took in meanwhile is kept \
             apart in {}: \
             the computers send it again; remove that folder once nobody misses anything.",
            path.display()
        ));
    }
    Ok(told)
}
