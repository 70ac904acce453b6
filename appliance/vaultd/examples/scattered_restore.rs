//! Restores 1,000 files scattered over a set of cartridges: mounts and time as planned, against the order in which they're asked
//! for. Mounts are counted on the simulated robot; times are the simulator's own and those of a model of an LTO-6 drive.
//!
//! `cargo run --release -p coffer-vaultd --example scattered_restore`
// It shares the tests' small agent and library.
#![allow(clippy::unwrap_used)]

#[path = "../../vault/tests/support/mod.rs"]
#[allow(dead_code, unreachable_pub)]
mod support;
#[path = "../tests/tape_read/world.rs"]
#[allow(dead_code)]
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use coffer_format::{NodeId, SegmentId};
use coffer_tape::simulator::LibraryShape;
use coffer_vault::outline::TapePlace;
use coffer_vault::restore::Wanted;
use world::World;

const RUNS: usize = 48;
const FILES_PER_RUN: usize = 120;
const FILE_BYTES: usize = 12_000;
const WANTED: usize = 1000;
const CAPACITY: u64 = 16 << 20;

/// An LTO-6 drive and a robot, in seconds (lower ends of what is met).
const MOVE_S: f64 = 20.0;
const LOAD_S: f64 = 15.0;
const UNLOAD_S: f64 = 20.0;
/// From one end of the tape to the other.
const WIND_S: f64 = 55.0;
/// Each positioning has this in it.
const LOCATE_S: f64 = 2.0;
/// What one of the small segments here stands for: 64 MiB at 160 MB/s.
const SEGMENT_S: f64 = 67.1 / 160.0;

/// Where the model's drive is.
#[derive(Default)]
struct Model {
    cartridge: String,
    at: f64,
    mounts: u32,
    seconds: f64,
}

impl Model {
    /// Reads a segment, from one part of a cartridge to another; both from 0 to 1.
    fn read(&mut self, cartridge: &str, from: f64, to: f64) {
        if self.cartridge != cartridge {
            if !self.cartridge.is_empty() {
                self.seconds += self.at * WIND_S + UNLOAD_S + MOVE_S;
            }
            self.seconds += MOVE_S + LOAD_S;
            (self.cartridge, self.at) = (cartridge.to_owned(), 0.0);
            self.mounts += 1;
        }
        if (from - self.at).abs() > f64::EPSILON {
            self.seconds += LOCATE_S + (from - self.at).abs() * WIND_S;
        }
        self.seconds += SEGMENT_S;
        self.at = to;
    }

    fn tell(&self, what: &str) {
        println!("{what:<28} {:>6} mounts {:>9.0} s on an LTO-6 (model)", self.mounts, self.seconds);
    }
}

fn main() {
    let shape = LibraryShape {
        slots: 24,
        drives: 1,
        cartridges: 24,
        capacity_bytes: CAPACITY,
        ..LibraryShape::default()
    };
    let mut world = World::with(shape);
    for run in 0..RUNS {
        for file in 0..FILES_PER_RUN {
            let bytes = world.random.bytes(FILE_BYTES);
            world.agent.make_file(NodeId::ROOT, &format!("{file:03}-{run:02}"), bytes);
        }
        world.agent.close().unwrap();
        world.write_to_tape();
    }
    world.evict();
    let point = coffer_format::PointSeq(world.agent.point.0 - 1);
    let mut paths: Vec<Vec<u8>> = Vec::new();
    while paths.len() < WANTED {
        let (file, run) = (world.random.below(FILES_PER_RUN), world.random.below(RUNS));
        paths.push(format!("{file:03}-{run:02}").into_bytes());
        paths.sort();
        paths.dedup();
    }
    let reading = world.vault.reading().clone();
    let of = |paths: &[Vec<u8>]| {
        let wanted = Wanted { config: world.config, point, paths: paths.to_vec(), trusted: true };
        reading.missing_for(&wanted).unwrap()
    };
    let sizes: BTreeMap<SegmentId, u64> =
        reading.segments().unwrap().iter().map(|state| (state.segment, state.bytes)).collect();
    let places: BTreeMap<SegmentId, TapePlace> =
        reading.tape_places(0).unwrap().into_iter().map(|place| (place.segment, place)).collect();
    let span = |segment: &SegmentId| {
        let from = places[segment].block as f64 * (256 << 10) as f64 / CAPACITY as f64;
        (from, from + sizes[segment] as f64 / CAPACITY as f64)
    };

    let missing = of(&paths);
    println!(
        "{WANTED} files of {} in {} segments ({} wanted) on {} cartridges",
        RUNS * FILES_PER_RUN,
        places.len(),
        missing.len(),
        world.cartridges().len()
    );
    let mut naive = Model::default();
    for path in &paths {
        for segment in of(std::slice::from_ref(path)) {
            let (from, to) = span(&segment);
            naive.read(&places[&segment].barcode, from, to);
        }
    }
    naive.tell("as asked for, file by file");
    let mut once = Model::default();
    let mut seen = std::collections::BTreeSet::new();
    for segment in paths.iter().flat_map(|path| of(std::slice::from_ref(path))) {
        if seen.insert(segment) {
            let (from, to) = span(&segment);
            once.read(&places[&segment].barcode, from, to);
        }
    }
    once.tell("the same, each segment once");
    let mut planned = Model::default();
    let mut order = missing.clone();
    order.sort_by_key(|segment| (places[segment].barcode.clone(), places[segment].block));
    for segment in &order {
        let (from, to) = span(segment);
        planned.read(&places[segment].barcode, from, to);
    }
    planned.tell("planned");

    let loads: Arc<Mutex<u32>> = Arc::default();
    let counted = loads.clone();
    world.simulated.observe(move |one| {
        *counted.lock().unwrap() += u32::from(matches!(one.to, coffer_tape::simulator::Spot::Drive(_)));
    });
    let started = Instant::now();
    world.fetch(&missing).unwrap();
    println!(
        "{:<28} {:>6} mounts {:>9.2} s on the simulator",
        "done by the box",
        loads.lock().unwrap(),
        started.elapsed().as_secs_f64()
    );
    assert!(of(&paths).is_empty());
}
