//! What is on a cartridge, from the cartridge alone.

use coffer_format::container::{BLOCK_LEN, ContainerIndex, Label};

use super::SegmentPlace;
use super::index::read_index_before;
use super::label::require_label;
use super::reader::go_to_file;
use super::tail::FILES_MAX;
use super::walk::{Damage, WalkEnd, walk};
use crate::drive::{Drive, LocateOutcome, ReadOutcome, SpaceOutcome};
use crate::{BlockAddress, TapeError};

/// How a container's contents became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexSource {
    /// From its index.
    Index,
    /// A crash or damage took the index: each block was read.
    Walked,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerContents {
    pub index: ContainerIndex,
    /// Address of its first block; `None` if the drive tells no addresses.
    pub start: Option<BlockAddress>,
    pub source: IndexSource,
    /// What was found damaged on the way; an index that was read says nothing about the segments' blocks.
    pub damage: Vec<Damage>,
}

/// A whole cartridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CartridgeContents {
    pub label: Label,
    pub containers: Vec<ContainerContents>,
}

impl ContainerContents {
    /// Where its segments are, in the order they lie on tape.
    pub fn places(&self) -> impl Iterator<Item = SegmentPlace> + '_ {
        self.index.entries.iter().map(|entry| SegmentPlace {
            container: self.index.container,
            entry: entry.clone(),
            start: self.start.map(|start| BlockAddress(start.0 + u64::from(entry.first_block))),
        })
    }
}

impl CartridgeContents {
    /// Where all segments are, in the order they lie on tape.
    pub fn places(&self) -> impl Iterator<Item = SegmentPlace> + '_ {
        self.containers.iter().flat_map(ContainerContents::places)
    }
}

/// Reads the label and every container's index. Where an index can't be read, that container is walked; damage costs
/// only what it lies in.
pub fn scan_cartridge(drive: &mut Drive) -> Result<CartridgeContents, TapeError> {
    let label = require_label(drive)?;
    let mut containers = Vec::new();
    if drive.space_filemarks(1)? != SpaceOutcome::Done {
        return Ok(CartridgeContents { label, containers });
    }
    for container in 1..FILES_MAX {
        let start = drive.position()?;
        if is_end(drive)? {
            break;
        }
        let (contents, next) = scan_container(drive, &label, container, start)?;
        containers.push(contents);
        if next == Next::End {
            break;
        }
    }
    Ok(CartridgeContents { label, containers })
}

/// Whether another container follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Container,
    End,
}

/// Whether data ends here; leaves the tape behind the block or filemark that was looked at.
fn is_end(drive: &mut Drive) -> Result<bool, TapeError> {
    let mut block = vec![0; BLOCK_LEN];
    match drive.read_block(&mut block) {
        Ok(ReadOutcome::EndOfData) => Ok(true),
        // An empty file: go back before its filemark, which ends it.
        Ok(ReadOutcome::Filemark) => Ok(drive.space_filemarks(-1)? != SpaceOutcome::Done),
        Ok(_) => Ok(false),
        Err(error) if error.is_medium_error() => Ok(false),
        Err(error) => Err(error),
    }
}

/// From somewhere in a container to its end.
fn scan_container(
    drive: &mut Drive,
    label: &Label,
    container: u32,
    start: Option<BlockAddress>,
) -> Result<(ContainerContents, Next), TapeError> {
    if drive.space_filemarks(1)? == SpaceOutcome::Done
        && let Some(index) = read_index_before(drive, label, container)?
    {
        let next = next_file(drive)?;
        let contents = ContainerContents { index, start, source: IndexSource::Index, damage: Vec::new() };
        return Ok((contents, next));
    }
    tracing::warn!(tape = label.barcode, container, "no index that can be read: reading every block");
    go_to_start(drive, container, start)?;
    let walked = walk(drive, label, container)?;
    let next = match walked.end {
        WalkEnd::Filemark => Next::Container,
        WalkEnd::EndOfData => Next::End,
        WalkEnd::GivenUp => next_file(drive)?,
    };
    let contents =
        ContainerContents { index: walked.index, start, source: IndexSource::Walked, damage: walked.damage };
    Ok((contents, next))
}

fn next_file(drive: &mut Drive) -> Result<Next, TapeError> {
    match drive.space_filemarks(1)? {
        SpaceOutcome::Done => Ok(Next::Container),
        _ => Ok(Next::End),
    }
}

fn go_to_start(drive: &mut Drive, container: u32, start: Option<BlockAddress>) -> Result<(), TapeError> {
    if let Some(start) = start
        && drive.locate(start)? == LocateOutcome::Done
    {
        return Ok(());
    }
    go_to_file(drive, container)
}
