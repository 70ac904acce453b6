//! The box's tape job: pulls segments without a verified copy from the vault and writes them; reads them back when asked.
//!
//! It keeps no list of its own. What is to be written is derived from the catalog at every run, so a restart, a lost
//! tape or a new set needs no special case.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use coffer_format::container::Label;
use coffer_format::event::{CartridgeState, Event, Place};
use coffer_format::{SegmentId, VaultId};
use coffer_tape::container::{
    ContainerWriter, ExpectedHash, LabelPolicy, LabelState, PlannedSegment, extract_all, label_cartridge,
    read_label, read_segment, scan_cartridge,
};
use coffer_tape::scsi::{ScsiTransport, SgIo};
use coffer_tape::simulator::{LibraryShape, Simulated};
use coffer_tape::{Barcode, DriveIndex, Library, NoWaiter, SystemWaiter, TapeError};
use coffer_vault::adopt::Adoption;
use coffer_vault::copies::Cartridge;
use coffer_vault::disk::RealDisk;
use coffer_vault::{Reading, SegmentState, Vault, VaultError};
use serde::Serialize;
use serde_json::{Value, json};

use crate::layout::Layout;
use crate::settings::Settings;

/// Where a library is.
pub enum Source {
    Devices { changer: PathBuf, drives: Vec<PathBuf> },
    Simulated(PathBuf),
}

impl Source {
    /// A real changer with its drives, or a simulated library's directory.
    pub fn new(changer: Option<&Path>, drives: &[PathBuf], simulated: Option<&Path>) -> Result<Source> {
        match (changer, simulated) {
            (Some(changer), _) => Ok(Source::Devices { changer: changer.into(), drives: drives.to_vec() }),
            (None, Some(dir)) => Ok(Source::Simulated(dir.into())),
            (None, None) => anyhow::bail!("no library was named: give its changer, such as /dev/sg3"),
        }
    }

    fn open(&self) -> Result<(Library, Option<Simulated>)> {
        match self {
            Source::Simulated(dir) => {
                let simulated = match Simulated::exists(dir) {
                    true => Simulated::open(dir)?,
                    false => Simulated::create(dir, LibraryShape::default())?,
                };
                let library = Library::open(simulated.changer(), simulated.drives(), Arc::new(NoWaiter))?;
                Ok((library, Some(simulated)))
            }
            Source::Devices { changer, drives } => {
                let open = |path: &PathBuf| -> Result<Box<dyn ScsiTransport + Send>> {
                    let device = SgIo::open(path)
                        .with_context(|| format!("cannot open {}: is it the sg device?", path.display()))?;
                    Ok(Box::new(device))
                };
                let drives = drives.iter().map(open).collect::<Result<Vec<_>>>()?;
                Ok((Library::open(open(changer)?, drives, Arc::new(SystemWaiter))?, None))
            }
        }
    }
}

/// The library, and what the box does with it. One job at a time.
pub struct TapeJob {
    library: Mutex<Library>,
    /// Kept open: it answers for the simulated devices.
    _simulated: Option<Simulated>,
    set: String,
    moves: Arc<Mutex<Vec<String>>>,
}

/// What a run wrote.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Written {
    pub segments: u64,
    pub bytes: u64,
    pub cartridges: Vec<String>,
    /// What couldn't be written, in sentences.
    pub refused: Vec<String>,
}

/// Takes a segment that was read back.
type Sink<'a> = dyn FnMut(SegmentId, &[u8]) -> Result<(), VaultError> + 'a;

/// What an extraction read.
#[derive(Debug, Clone, Copy)]
pub struct Extracted {
    pub segments: u64,
    pub cartridges: u64,
}

impl TapeJob {
    /// Opens the library that the settings name; nothing if tape is turned off.
    pub(crate) fn open(settings: &Settings, layout: &Layout) -> Result<Option<TapeJob>> {
        if !settings.tape.enabled {
            return Ok(None);
        }
        let simulated = layout.simulated_library();
        let source = Source::new(settings.tape.changer.as_deref(), &settings.tape.drives, Some(&simulated))?;
        let (library, simulated) = source.open().context("the tape library can't be used")?;
        let moves = Arc::new(Mutex::new(Vec::new()));
        if let Some(simulated) = &simulated {
            let told = moves.clone();
            simulated.observe(move |one| {
                let sentence = format!("robot moves {} from {:?} to {:?}", one.barcode, one.from, one.to);
                told.lock().expect("nothing panics while it lists moves").push(sentence);
            });
        }
        Ok(Some(TapeJob {
            library: Mutex::new(library),
            _simulated: simulated,
            set: settings.tape.set.clone(),
            moves,
        }))
    }

    fn library(&self) -> Result<std::sync::MutexGuard<'_, Library>, VaultError> {
        self.library.lock().map_err(|_| tape_refused("the tape job stopped in the middle: restart cofferd"))
    }

    /// What the library holds, as JSON.
    pub(crate) fn inventory(&self) -> Result<Value, VaultError> {
        Ok(json!(self.library()?.take_stock().map_err(failed)?))
    }

    /// Bytes of closed segments without a copy on tape.
    pub(crate) fn waiting_bytes(&self, vault: &Vault) -> Result<u64, VaultError> {
        Ok(waiting(vault.reading())?.iter().map(|one| one.bytes).sum())
    }

    /// Writes everything that has no copy on tape, closing open segments first.
    pub(crate) fn run(
        &self,
        vault: &Arc<Vault>,
        working: &mut dyn FnMut(Value),
    ) -> Result<Written, VaultError> {
        let mut library = self.library()?;
        vault.roll()?;
        let mut written = Written::default();
        let mut tried = Vec::new();
        loop {
            let plan = waiting(vault.reading())?;
            if plan.is_empty() {
                return Ok(written);
            }
            let (barcode, drive) = self.next_cartridge(&mut library, vault, &tried)?;
            self.tell_moves(working);
            tried.push(barcode.clone());
            let before = written.refused.len();
            self.write_one(&mut library, drive, vault, &plan, &mut written)?;
            library.unload(drive).map_err(failed)?;
            self.tell_moves(working);
            written.cartridges.push(barcode.to_string());
            if written.refused.len() > before {
                return Ok(written);
            }
        }
    }

    fn tell_moves(&self, working: &mut dyn FnMut(Value)) {
        for doing in self.moves.lock().expect("nothing panics while it lists moves").drain(..) {
            working(json!({ "doing": doing }));
        }
    }

    /// Loads the cartridge to go on with: the one being filled, or a blank one that gets a label.
    fn next_cartridge(
        &self,
        library: &mut Library,
        vault: &Arc<Vault>,
        tried: &[Barcode],
    ) -> Result<(Barcode, DriveIndex), VaultError> {
        let known = vault.reading().cartridges()?;
        let inventory = library.inventory().map_err(failed)?;
        let state_of = |barcode: &Barcode| {
            known.iter().find(|one| one.barcode == barcode.as_str()).and_then(|one| one.state)
        };
        let mut candidates: Vec<Barcode> = inventory.barcodes();
        candidates.retain(|barcode| !barcode.is_cleaning() && !tried.contains(barcode));
        candidates.retain(|barcode| matches!(state_of(barcode), None | Some(CartridgeState::Filling)));
        candidates.sort_by_key(|barcode| (state_of(barcode).is_none(), barcode.clone()));
        for barcode in candidates {
            let drive = library.load(&barcode).map_err(failed)?;
            if self.is_usable(library, drive, vault, &barcode, &known)? {
                return Ok((barcode, drive));
            }
            library.unload(drive).map_err(failed)?;
        }
        Err(tape_refused("no cartridge in the library can take more: put a blank tape in"))
    }

    /// Whether the loaded cartridge is ours to write on; a blank one becomes so.
    fn is_usable(
        &self,
        library: &mut Library,
        drive: DriveIndex,
        vault: &Arc<Vault>,
        barcode: &Barcode,
        known: &[Cartridge],
    ) -> Result<bool, VaultError> {
        let drive = library.drive(drive).map_err(failed)?;
        match read_label(drive).map_err(failed)? {
            LabelState::Ours(label) => Ok(label.vault == vault.id() && label.barcode == barcode.as_str()),
            LabelState::Foreign => Ok(false),
            LabelState::Blank => {
                let number = known.iter().map(|one| one.number).max().unwrap_or(0) + 1;
                let label = self.label(vault, barcode, number)?;
                label_cartridge(drive, &label, LabelPolicy::OnlyBlank).map_err(failed)?;
                vault.record(vec![self.cartridge_event(barcode, CartridgeState::Filling, number, 0, 0)])?;
                Ok(true)
            }
        }
    }

    fn label(&self, vault: &Vault, barcode: &Barcode, number: u32) -> Result<Label, VaultError> {
        Ok(Label {
            cartridge: coffer_vault::random()?,
            barcode: barcode.to_string(),
            vault: vault.id(),
            org: vault.org(),
            set: self.set.clone(),
            number,
            created_ms: vault.now_ms(),
        })
    }

    fn cartridge_event(
        &self,
        barcode: &Barcode,
        state: CartridgeState,
        number: u32,
        containers: u32,
        written: u64,
    ) -> Event {
        Event::CartridgeSet {
            barcode: barcode.to_string(),
            state,
            set: self.set.clone(),
            number,
            containers,
            written,
        }
    }

    fn write_one(
        &self,
        library: &mut Library,
        drive: DriveIndex,
        vault: &Arc<Vault>,
        plan: &[SegmentState],
        written: &mut Written,
    ) -> Result<(), VaultError> {
        let mut writer = ContainerWriter::open(library.drive(drive).map_err(failed)?).map_err(failed)?;
        let label = writer.label().clone();
        let mut left: Vec<PlannedSegment> = plan.iter().filter_map(planned).collect();
        while !left.is_empty() {
            let receipt =
                match writer.write(&left, &mut |segment| Ok(Box::new(SegmentStream::new(vault, segment)))) {
                    Ok(receipt) => receipt,
                    Err(TapeError::CartridgeFull) => {
                        return self.set_full(vault, &label, writer.next_container() - 1);
                    }
                    Err(error) => return Err(failed(error)),
                };
            let barcode: Barcode = label
                .barcode
                .parse()
                .map_err(|_| tape_refused("a label has no barcode: take that tape out"))?;
            let mut bytes = 0;
            let mut copies = Vec::new();
            for recorded in &receipt.recorded {
                let segment = recorded.entry.segment;
                let Some(hash) = plan.iter().find(|one| one.segment == segment).and_then(|one| one.hash)
                else {
                    continue;
                };
                let block = recorded.start.map_or(0, |start| start.0);
                copies.push((
                    segment,
                    hash,
                    Place::Tape { barcode: label.barcode.clone(), container: receipt.container, block },
                ));
                bytes += recorded.entry.bytes;
            }
            written.segments += copies.len() as u64;
            written.bytes += bytes;
            vault.record_copies(copies)?;
            let before = vault
                .reading()
                .cartridges()?
                .iter()
                .find(|one| one.barcode == label.barcode)
                .map_or(0, |one| one.written);
            let state = if receipt.full { CartridgeState::Full } else { CartridgeState::Filling };
            vault.record(vec![self.cartridge_event(
                &barcode,
                state,
                label.number,
                receipt.container,
                before + bytes,
            )])?;
            written.refused.extend(receipt.refused.iter().map(|one| one.why.clone()));
            if receipt.full {
                return Ok(());
            }
            left.retain(|one| receipt.not_written.contains(&one.segment));
        }
        Ok(())
    }

    fn set_full(&self, vault: &Vault, label: &Label, containers: u32) -> Result<(), VaultError> {
        let before = vault
            .reading()
            .cartridges()?
            .into_iter()
            .find(|one| one.barcode == label.barcode)
            .map_or(0, |one| one.written);
        let barcode =
            label.barcode.parse().map_err(|_| tape_refused("a label has no barcode: take that tape out"))?;
        vault.record(vec![self.cartridge_event(
            &barcode,
            CartridgeState::Full,
            label.number,
            containers,
            before,
        )])
    }

    /// Reads segments back from the cartridges they're on, each cartridge once; hands each to `sink`.
    pub(crate) fn fetch(
        &self,
        reading: &Reading,
        segments: &[SegmentId],
        working: &mut dyn FnMut(Value),
        sink: &mut Sink<'_>,
    ) -> Result<(), VaultError> {
        let mut by_cartridge: std::collections::BTreeMap<String, Vec<SegmentId>> = Default::default();
        for segment in segments {
            let copies = reading.copies(*segment)?;
            let on_tape = copies.into_iter().find_map(|place| match place {
                Place::Tape { barcode, .. } => Some(barcode),
                Place::Hq { .. } => None,
            });
            if let Some(barcode) = on_tape {
                by_cartridge.entry(barcode).or_default().push(*segment);
            }
        }
        let mut library = self.library()?;
        for (barcode, wanted) in by_cartridge {
            let barcode: Barcode = barcode
                .parse()
                .map_err(|_| tape_refused("the catalog holds a bad barcode: run `coffer rebuild`"))?;
            let index = library.load(&barcode).map_err(failed)?;
            self.tell_moves(working);
            let drive = library.drive(index).map_err(failed)?;
            let contents = scan_cartridge(drive).map_err(failed)?;
            // In the order they lie on tape, whatever order they're asked for in.
            for place in contents.places().filter(|place| wanted.contains(&place.entry.segment)) {
                let mut bytes = Vec::with_capacity(place.entry.bytes as usize);
                read_segment(drive, &contents.label, &place, &mut bytes).map_err(failed)?;
                sink(place.entry.segment, &bytes)?;
            }
            library.unload(index).map_err(failed)?;
            self.tell_moves(working);
        }
        Ok(())
    }
}

fn waiting(reading: &Reading) -> Result<Vec<SegmentState>, VaultError> {
    reading.without_copy(|place| matches!(place, Place::Tape { .. }))
}

fn planned(state: &SegmentState) -> Option<PlannedSegment> {
    Some(PlannedSegment {
        segment: state.segment,
        bytes: state.bytes,
        expected: ExpectedHash::BeforeTrailer(state.hash?),
    })
}

fn failed(error: TapeError) -> VaultError {
    tape_refused(&format!("tape: {error}"))
}

fn tape_refused(sentence: &str) -> VaultError {
    VaultError::Refused { code: coffer_format::wire::RefusalCode::CopyNeeded, sentence: sentence.into() }
}

/// A segment's bytes, from the vault.
struct SegmentStream {
    vault: Arc<Vault>,
    segment: SegmentId,
    offset: u64,
}

impl SegmentStream {
    fn new(vault: &Arc<Vault>, segment: SegmentId) -> SegmentStream {
        SegmentStream { vault: vault.clone(), segment, offset: 0 }
    }
}

impl Read for SegmentStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count =
            self.vault.reading().read_segment(self.segment, self.offset, buffer).map_err(io::Error::other)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// Makes a vault's directory from every cartridge in a library that is of one vault.
pub fn extract_vault(source: Source, dir: &Path) -> Result<Extracted> {
    let (mut library, _simulated) = source.open()?;
    let barcodes: Vec<Barcode> =
        library.take_stock()?.barcodes().into_iter().filter(|one| !one.is_cleaning()).collect();
    let mut adoption = Adoption::begin(Arc::new(RealDisk), dir)?;
    let mut vault: Option<VaultId> = None;
    let mut segments = 0;
    let report = extract_all(&mut library, &barcodes, &mut |delivery| {
        if *vault.get_or_insert(delivery.label.vault) != delivery.label.vault {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(delivery.entry.bytes as usize);
        delivery.bytes.read_to_end(&mut bytes)?;
        segments += u64::from(adoption.take(&bytes).map_err(io::Error::other)?);
        Ok(())
    })?;
    for lost in &report.lost {
        tracing::error!(segment = %lost.segment, barcode = %lost.barcode, error = %lost.error, "a segment can't be read from this cartridge");
    }
    adoption.finish()?;
    Ok(Extracted { segments, cartridges: report.read.len() as u64 })
}
