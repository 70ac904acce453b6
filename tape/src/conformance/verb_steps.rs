//! Steps about a drive's own verbs. The cartridge holds a label and two containers, and keeps them.

use coffer_format::container::BLOCK_LEN;

use super::library_steps::performed;
use super::{Loaded, Suite, Verdict, check, unsupported};
use crate::drive::{Erasure, LocateOutcome, Performed, ReadOutcome, Reservation, SpaceOutcome, Support};
use crate::scsi::cdb::Removal;
use crate::scsi::{Attribute, EncryptionKey, ReservationKey, mam};
use crate::{BlockAddress, Drive, TapeError};

/// "coffer" and a number.
const SCRATCH_KEY: ReservationKey = ReservationKey(0x636f_6666_6572_0001);

type Verb = fn(&mut Drive) -> Result<Verdict, TapeError>;

impl Suite<'_> {
    pub(super) fn winding(&mut self, loaded: &Loaded) {
        self.each(
            loaded,
            &[
                ("blocks and filemarks are met in order", in_order),
                ("winding backward", backward),
                ("winding to the end of data", to_the_end),
                ("addresses follow the tape", addresses),
                ("going to an address", locates),
                ("going past the end of data", past_the_end),
            ],
        );
    }

    pub(super) fn verbs(&mut self, loaded: &Loaded) {
        self.each(
            loaded,
            &[
                ("health", health),
                ("compression is set", compression),
                ("the cartridge's memory is written", memory),
                ("a key is set and cleared", encryption),
                ("the drive is reserved and released", reservation),
                ("the eject button is locked and freed", removal),
                ("unloaded and loaded in the drive", reload),
            ],
        );
    }

    /// What leaves nothing on the cartridge that is looked for later.
    pub(super) fn last_verbs(&mut self, loaded: &Loaded) {
        self.each(loaded, &[("blocks of one fixed length", fixed_blocks), ("erased to the end", erased)]);
    }

    fn each(&mut self, loaded: &Loaded, steps: &[(&'static str, Verb)]) {
        for (name, verb) in steps {
            self.step(name, |library| verb(library.drive(loaded.index)?));
        }
    }
}

/// The label's block, its filemark, a block of the first container.
fn in_order(drive: &mut Drive) -> Result<Verdict, TapeError> {
    drive.rewind()?;
    let mut block = vec![0; BLOCK_LEN];
    let found = [drive.read_block(&mut block)?, drive.read_block(&mut block)?, drive.read_block(&mut block)?];
    let wanted = [ReadOutcome::Block(BLOCK_LEN), ReadOutcome::Filemark, ReadOutcome::Block(BLOCK_LEN)];
    Ok(check(found == wanted, || format!("read {found:?}")))
}

fn backward(drive: &mut Drive) -> Result<Verdict, TapeError> {
    drive.rewind()?;
    drive.space_filemarks(1)?;
    match drive.space_filemarks(-1)? {
        SpaceOutcome::Unsupported => {
            return Ok(unsupported("the end is found by counting from the beginning"));
        }
        SpaceOutcome::Done => {}
        other => return Ok(Verdict::Failed(format!("winding back over a filemark ended with {other:?}"))),
    }
    let mut block = vec![0; BLOCK_LEN];
    let mark = drive.read_block(&mut block)?;
    if mark != ReadOutcome::Filemark {
        // Some stand before the block in front of the filemark. Whoever winds backward looks where it came to.
        tracing::warn!(drive = drive.name(), ?mark, "winding back over a filemark leads elsewhere");
        return Ok(unsupported(
            "it leads elsewhere: indexes and the end are found going forward, which takes longer",
        ));
    }
    drive.rewind()?;
    drive.read_block(&mut block)?;
    drive.space_blocks(-1)?;
    let again = drive.read_block(&mut block)?;
    Ok(check(again == ReadOutcome::Block(BLOCK_LEN), || format!("the block before is {again:?}")))
}

fn to_the_end(drive: &mut Drive) -> Result<Verdict, TapeError> {
    let wound = drive.space_end()?;
    let mut block = vec![0; BLOCK_LEN];
    let found = drive.read_block(&mut block)?;
    let holds = wound == SpaceOutcome::Done && found == ReadOutcome::EndOfData;
    Ok(check(holds, || format!("wound with {wound:?}, then read {found:?}")))
}

fn addresses(drive: &mut Drive) -> Result<Verdict, TapeError> {
    const WITHOUT: &str = "no addresses are recorded, places are found by filemarks";
    drive.rewind()?;
    let beginning = drive.position()?;
    let mut block = vec![0; BLOCK_LEN];
    drive.read_block(&mut block)?;
    let first = drive.position()?;
    drive.space_filemarks(1)?;
    let second = drive.position()?;
    if first.is_none() || drive.features().position == Support::No {
        return Ok(unsupported(WITHOUT));
    }
    let found = [beginning, first, second];
    let wanted = [0, 1, 2].map(|block| Some(BlockAddress(block)));
    Ok(check(found == wanted, || format!("addresses were {found:?}")))
}

fn locates(drive: &mut Drive) -> Result<Verdict, TapeError> {
    let mut block = vec![0; BLOCK_LEN];
    for (at, wanted) in [(2, ReadOutcome::Block(BLOCK_LEN)), (1, ReadOutcome::Filemark)] {
        match drive.locate(BlockAddress(at))? {
            LocateOutcome::Unsupported => {
                return Ok(unsupported("places are found by counting filemarks, which takes longer"));
            }
            LocateOutcome::EndOfData => return Ok(Verdict::Failed(format!("block {at} wasn't found"))),
            LocateOutcome::Done => {}
        }
        let found = drive.read_block(&mut block)?;
        if found != wanted {
            return Ok(Verdict::Failed(format!("at address {at} lies {found:?}")));
        }
    }
    Ok(Verdict::Passed)
}

fn past_the_end(drive: &mut Drive) -> Result<Verdict, TapeError> {
    match drive.locate(BlockAddress(1_000_000))? {
        LocateOutcome::EndOfData => {}
        LocateOutcome::Unsupported => return Ok(unsupported("there are no addresses")),
        LocateOutcome::Done => {
            return Ok(Verdict::Failed("a block that was never written was found".to_owned()));
        }
    }
    let mut block = vec![0; BLOCK_LEN];
    let found = drive.read_block(&mut block)?;
    Ok(check(found == ReadOutcome::EndOfData, || format!("there lies {found:?}")))
}

fn health(drive: &mut Drive) -> Result<Verdict, TapeError> {
    let health = drive.health()?;
    let lacks: Vec<_> = drive
        .features()
        .lines()
        .into_iter()
        .filter(|line| matches!(line.name, "TapeAlert" | "error counters" | "device status page"))
        .filter(|line| line.support == Support::No)
        .map(|line| format!("no {}: {}", line.name, line.without))
        .collect();
    let sentences = health.sentences();
    if !sentences.is_empty() {
        return Ok(Verdict::Failed(sentences.join("; ")));
    }
    Ok(if lacks.is_empty() { Verdict::Passed } else { Verdict::Unsupported(lacks.join("; ")) })
}

fn compression(drive: &mut Drive) -> Result<Verdict, TapeError> {
    const WITHOUT: &str = "the drive compresses or not as it was set";
    let Some(before) = drive.compression()? else { return Ok(unsupported(WITHOUT)) };
    // Set at the beginning: some drives take it nowhere else.
    drive.rewind()?;
    let set = drive.set_compression(!before)?;
    let changed = drive.compression()?;
    drive.set_compression(before)?;
    Ok(match performed(set, WITHOUT) {
        Verdict::Passed => check(changed == Some(!before), || "it stayed as it was".to_owned()),
        other => other,
    })
}

fn memory(drive: &mut Drive) -> Result<Verdict, TapeError> {
    const WITHOUT: &str = "loads and serial numbers of cartridges aren't known";
    const LABEL_LEN: usize = 160;
    let name = Attribute {
        format: crate::scsi::AttributeFormat::Text,
        ..Attribute::ascii(mam::USER_LABEL, "scratch", LABEL_LEN)
    };
    if drive.attributes()?.is_none() {
        return Ok(unsupported(WITHOUT));
    }
    let written = drive.write_attributes(std::slice::from_ref(&name))?;
    let read = drive.attributes()?.unwrap_or_default();
    let found = read.iter().find(|one| one.id == mam::USER_LABEL).and_then(Attribute::text);
    Ok(match performed(written, "the cartridge's memory is only read") {
        Verdict::Passed => check(found.as_deref() == Some("scratch"), || format!("it reads {found:?}")),
        other => other,
    })
}

fn encryption(drive: &mut Drive) -> Result<Verdict, TapeError> {
    const WITHOUT: &str = "data is sealed before it reaches the drive in any case";
    if drive.encryption()?.is_none() {
        return Ok(unsupported(WITHOUT));
    }
    if drive.set_encryption_key(&EncryptionKey::new([0x5c; EncryptionKey::LEN]))? == Performed::Unsupported {
        return Ok(unsupported(WITHOUT));
    }
    let set = drive.encryption()?.is_some_and(|status| status.encrypts);
    drive.clear_encryption_key()?;
    let cleared = drive.encryption()?.is_some_and(|status| !status.encrypts);
    Ok(check(set && cleared, || format!("encrypting with a key: {set}; plain without: {cleared}")))
}

fn reservation(drive: &mut Drive) -> Result<Verdict, TapeError> {
    let held = drive.reserve(SCRATCH_KEY)?;
    let holders = drive.holders()?;
    drive.release()?;
    Ok(match held {
        Reservation::None => unsupported("other computers could use the drive amid a job: connect it to one"),
        Reservation::Classic => unsupported("no persistent reservation: RESERVE(6), until a reset"),
        Reservation::Persistent(key) => {
            let found = holders.and_then(|holders| holders.holder);
            check(found == Some(key), || format!("it is held by {found:?}"))
        }
    })
}

fn removal(drive: &mut Drive) -> Result<Verdict, TapeError> {
    let locked = drive.lock_removal(Removal::Prevent)?;
    drive.lock_removal(Removal::Allow)?;
    Ok(performed(locked, "a button can take a cartridge out in use"))
}

fn reload(drive: &mut Drive) -> Result<Verdict, TapeError> {
    drive.rewind()?;
    drive.unload()?;
    drive.load()?;
    let mut block = vec![0; BLOCK_LEN];
    let found = drive.read_block(&mut block)?;
    Ok(check(found == ReadOutcome::Block(BLOCK_LEN), || format!("the first thing on it is {found:?}")))
}

/// Three blocks written and read one at a time, in place of the label.
fn fixed_blocks(drive: &mut Drive) -> Result<Verdict, TapeError> {
    const LEN: usize = 64 << 10;
    const WITHOUT: &str = "every block is written at its own length";
    drive.rewind()?;
    if drive.set_block_len(LEN as u32)? == Performed::Unsupported {
        return Ok(unsupported(WITHOUT));
    }
    for number in 0..3 {
        drive.write_block(&[number; LEN])?;
    }
    drive.write_filemarks(1)?;
    drive.rewind()?;
    let mut block = vec![0; LEN];
    let mut verdict = Verdict::Passed;
    for number in 0..3 {
        let found = drive.read_block(&mut block)?;
        if found != ReadOutcome::Block(LEN) || block != [number; LEN] {
            verdict = Verdict::Failed(format!("block {number} read {found:?}"));
        }
    }
    let mark = drive.read_block(&mut block)?;
    drive.prepare()?;
    Ok(match (verdict, mark) {
        (Verdict::Passed, ReadOutcome::Filemark) => Verdict::Passed,
        (Verdict::Passed, other) => Verdict::Failed(format!("behind them lies {other:?}")),
        (failed, _) => failed,
    })
}

fn erased(drive: &mut Drive) -> Result<Verdict, TapeError> {
    drive.rewind()?;
    let performed_it = drive.erase(Erasure::Mark)?;
    drive.rewind()?;
    let mut block = vec![0; BLOCK_LEN];
    Ok(match performed(performed_it, "a cartridge is overwritten from its beginning") {
        Verdict::Passed => {
            let found = drive.read_block(&mut block)?;
            check(found == ReadOutcome::EndOfData, || format!("there is still {found:?}"))
        }
        other => other,
    })
}
