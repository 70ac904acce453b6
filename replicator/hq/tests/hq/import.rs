//! A first copy comes by post: cartridges are read in at HQ, and the line goes on from there.

use std::io::{self, Cursor};
use std::path::Path;
use std::sync::Arc;

use coffer_format::container::Label;
use coffer_format::event::Place;
use coffer_format::segment::Stream;
use coffer_format::{OrgId, VaultId};
use coffer_hq::{HqError, Imported, Organisation, import_cartridges};
use coffer_tape::container::{ContainerWriter, ExpectedHash, LabelPolicy, PlannedSegment, label_cartridge};
use coffer_tape::simulator::{LibraryShape, Simulated};
use coffer_tape::{Library, NoWaiter};
use coffer_vault::Vault;
use tempfile::TempDir;

use crate::branch::{Branch, noise};
use crate::restored::restore;
use crate::world::{Running, World, select, settings};

/// Writes all closed segments on one cartridge of a new library.
fn post(vault: &Vault, org: OrgId) -> TempDir {
    let dir = TempDir::new().unwrap();
    let shape = LibraryShape {
        slots: 4,
        drives: 1,
        cartridges: 2,
        capacity_bytes: 256 << 20,
        ..LibraryShape::default()
    };
    let simulated = Simulated::create(dir.path(), shape).unwrap();
    let mut library = Library::open(simulated.changer(), simulated.drives(), Arc::new(NoWaiter)).unwrap();
    let barcode = library.inventory().unwrap().barcodes()[0].clone();
    let index = library.load(&barcode).unwrap();
    let label = Label {
        cartridge: [7; 16],
        barcode: barcode.to_string(),
        vault: vault.id(),
        org,
        set: "branch".into(),
        number: 1,
        created_ms: 1,
    };
    let drive = library.drive(index).unwrap();
    label_cartridge(drive, &label, LabelPolicy::OnlyBlank).unwrap();
    let closed: Vec<_> = vault.segments().unwrap().into_iter().filter(|state| state.closed).collect();
    let planned = |state: &coffer_vault::SegmentState| PlannedSegment {
        segment: state.segment,
        bytes: state.bytes,
        expected: ExpectedHash::BeforeTrailer(state.hash.unwrap()),
    };
    let plan: Vec<_> = closed.iter().map(planned).collect();
    let mut writer = ContainerWriter::open(drive).unwrap();
    let receipt = writer
        .write(&plan, &mut |segment| {
            let bytes = closed.iter().find(|state| state.segment == segment).unwrap().bytes;
            let mut whole = vec![0; bytes as usize];
            vault.reading().read_segment(segment, 0, &mut whole).map_err(io::Error::other)?;
            Ok(Box::new(Cursor::new(whole)))
        })
        .unwrap();
    assert_eq!(receipt.recorded.len(), closed.len());
    library.unload(index).unwrap();
    dir
}

fn import(hq: &Path, branch: &str, tapes: &Path) -> Result<Imported, HqError> {
    let simulated = Simulated::open(tapes).unwrap();
    let mut library = Library::open(simulated.changer(), simulated.drives(), Arc::new(NoWaiter)).unwrap();
    import_cartridges(&Organisation::open(hq).unwrap(), branch, &mut library, &mut |_| {})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_copy_that_came_by_post_is_not_sent_again() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let first = branch.first_copy(300, 1);
    branch.vault.roll().unwrap();
    let by_post: u64 =
        branch.vault.segments().unwrap().iter().filter(|one| one.closed).map(|one| one.bytes).sum();
    let tapes = post(&branch.vault, enrolled.org);
    let second = branch.back_up(Stream::Fresh, &[("new", noise(10, 5000))]);

    let world = world
        .restart_after(|hq| {
            let imported = import(hq, "leeds", tapes.path()).unwrap();
            assert_eq!((imported.bytes, imported.known, imported.cartridges), (by_post, 0, 1));
            assert!(
                imported.failed.iter().all(|failed| failed.barcode.to_string() != "COF001L6"),
                "{imported:?}"
            );
            // A second time nothing is read in again.
            let again = import(hq, "leeds", tapes.path()).unwrap();
            assert_eq!((again.segments, again.known), (0, imported.segments));
        })
        .await;
    let mut operator = world.operator("anna").await;
    select(&mut operator, "leeds").await;
    assert_eq!(restore(&mut operator, branch.config, first, &[]).await.as_ref(), Ok(&branch.points[&first]));

    let running = Running::start(branch.vault.clone(), settings(world.address, &enrolled.identity, "leeds"));
    let status = running.until_whole(1, second).await;
    assert!(status.sent_bytes < by_post / 10, "{} of {by_post} went over the line", status.sent_bytes);
    running.stop().await;
    assert_eq!(
        restore(&mut operator, branch.config, second, &[]).await.as_ref(),
        Ok(&branch.points[&second])
    );
    let at_hq = |place: &Place| matches!(place, Place::Hq { name } if name == "leeds");
    let without = branch.vault.reading().without_copy(at_hq).unwrap();
    assert!(without.is_empty(), "HQ's receipts are recorded for what came by post: {without:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tapes_of_another_vault_or_organisation_are_left_out() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    branch.first_copy(20, 1);
    branch.vault.roll().unwrap();
    let key = enrolled.recovery_key;
    let mut other = Branch::with(VaultId([0xcc; 16]), enrolled.org, enrolled.chunk_key, key);
    other.first_copy(20, 2);
    other.vault.roll().unwrap();
    let (ours, others) = (post(&branch.vault, enrolled.org), post(&other.vault, enrolled.org));
    let strange = post(&branch.vault, OrgId([9; 16]));
    world
        .restart_after(|hq| {
            assert!(import(hq, "leeds", ours.path()).unwrap().segments > 0);
            let left_out = import(hq, "leeds", others.path()).unwrap();
            assert_eq!((left_out.segments, left_out.foreign.len()), (0, 1));
            assert!(matches!(import(hq, "york", strange.path()), Err(HqError::Refused { .. })));
            assert!(matches!(import(hq, "../york", ours.path()), Err(HqError::Refused { .. })));
        })
        .await;
}
