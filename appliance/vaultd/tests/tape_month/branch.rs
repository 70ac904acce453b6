//! A branch: a computer that changes, its box, and the box's tape library.

use std::sync::Arc;

use coffer_format::event::CartridgeState;
use coffer_format::{ComputerId, ConfigId, NodeId, PointSeq, SegmentId};
use coffer_tape::simulator::{LibraryShape, Simulated};
use coffer_tape::{Barcode, Library, NoWaiter};
use coffer_vault::copies::{Cartridge, DriveWear};
use coffer_vault::{Vault, reclaim, retention};
use coffer_vaultd::tape::media::{Calendar, OffSite, Request, Rules};
use coffer_vaultd::tape::{Pace, TapeJob};
use jiff::tz::TimeZone;

use crate::power::{Kind, Power, Powered};
use crate::support::Random;
use crate::support::agent::{Agent, Memory, PAGE};
use crate::support::fixture::{Fixture, HOUR_MS, enrol};
use crate::support::restored::{check_point, everything};

const KEEP: retention::Policy =
    retention::Policy { all_hours: 24, hourly: 0, daily: 7, weekly: 1, monthly: 0 };
const EVICT: reclaim::Policy =
    reclaim::Policy { copies_before_eviction: 1, free_target_bytes: u64::MAX / 2, compact_below_percent: 40 };
const MIB: u64 = 1 << 20;
const DATABASE_PAGES: usize = 400;

/// What runs while there is power.
struct Running {
    simulated: Simulated,
    job: TapeJob,
    agent: Agent,
    vault: Arc<Vault>,
}

pub(crate) struct Branch {
    fixture: Fixture,
    library: tempfile::TempDir,
    pub(crate) power: Arc<Power>,
    random: Random,
    computer: ComputerId,
    config: ConfigId,
    database: NodeId,
    rules: Rules,
    running: Option<Running>,
    pub(crate) drive_failures_told: u32,
}

pub(crate) fn shape() -> LibraryShape {
    // Eight in the slots, the rest blank in a cupboard.
    LibraryShape {
        slots: 8,
        drives: 1,
        mail_slots: 1,
        cartridges: 11,
        capacity_bytes: 40 * MIB,
        ..LibraryShape::default()
    }
}

fn rules() -> Rules {
    let calendar = Calendar::weekly("friday", "16:00").unwrap().in_zone(TimeZone::UTC);
    Rules {
        branch: "branch".into(),
        offsite: Some(OffSite { set: "offsite".into(), calendar }),
        copies_before_eviction: 1,
        start_bytes: 16 * MIB,
        every_ms: 20 * HOUR_MS,
        spare_tapes: 2,
        empty_below_percent: 60,
        missing_ms: 3 * 24 * HOUR_MS,
        capacity_bytes: None,
        read_back_bytes: 16 * MIB,
    }
}

impl Branch {
    pub(crate) fn with(shape: LibraryShape) -> Branch {
        let fixture = Fixture::real();
        let library = tempfile::tempdir_in(fixture.dir().parent().unwrap()).unwrap();
        drop(Simulated::create(library.path(), shape).unwrap());
        let vault = fixture.open();
        let (computer, config) = enrol(&vault, "desk").unwrap();
        drop(vault);
        let mut branch = Branch {
            fixture,
            library,
            power: Power::on(),
            random: Random::new(20_260_105),
            computer,
            config,
            database: NodeId::ROOT,
            rules: rules(),
            running: None,
            drive_failures_told: 0,
        };
        branch.start(Memory::default());
        let bytes = branch.random.bytes(DATABASE_PAGES * PAGE);
        branch.database = branch.running().agent.make_file(NodeId::ROOT, "orders.db", bytes);
        branch.running().agent.close().unwrap();
        branch
    }

    fn start(&mut self, memory: Memory) {
        self.power.restore();
        let vault = self.fixture.open();
        let simulated = Simulated::open(self.library.path()).unwrap();
        let powered = |inner, kind| -> Box<dyn coffer_tape::scsi::ScsiTransport + Send> {
            Box::new(Powered { inner, power: self.power.clone(), kind })
        };
        let drives = simulated.drives().into_iter().enumerate();
        let kind = |number| if number == 0 { Kind::FirstDrive } else { Kind::OtherDrive };
        let drives = drives.map(|(number, drive)| powered(drive, kind(number))).collect();
        let changer = powered(simulated.changer(), Kind::Changer);
        let mut library = Library::open(changer, drives, Arc::new(NoWaiter)).unwrap();
        library.keep_journal(self.library.path().join("journal")).unwrap();
        let job = TapeJob::new(library, self.rules.clone());
        let agent = Agent::resume(&vault, self.computer, self.config, memory).unwrap();
        self.running = Some(Running { simulated, job, agent, vault });
    }

    fn running(&mut self) -> &mut Running {
        self.running.as_mut().unwrap()
    }
    fn on(&self) -> &Running {
        self.running.as_ref().unwrap()
    }
    pub(crate) fn simulated(&self) -> &Simulated {
        &self.on().simulated
    }
    pub(crate) fn request(&self) -> Option<Request> {
        self.on().job.request()
    }
    pub(crate) fn cartridges(&self) -> Vec<Cartridge> {
        self.on().vault.reading().cartridges().unwrap()
    }
    pub(crate) fn state_of(&self, barcode: &Barcode) -> Option<CartridgeState> {
        let all = self.cartridges();
        all.iter().find(|one| one.barcode == barcode.as_str()).and_then(|one| one.state)
    }

    pub(crate) fn hour_passes(&self) {
        self.fixture.clock.advance(HOUR_MS);
    }

    /// Nothing that runs hears of it.
    pub(crate) fn power_cut(&mut self) {
        let Running { agent, simulated, job, vault } = self.running.take().unwrap();
        let memory = agent.leave();
        drop((job, simulated, vault));
        self.start(memory);
    }

    pub(crate) fn power_fails_some_time_today(&mut self) {
        let commands = 150 + self.random.below(900) as i64;
        self.power.fail_after(commands);
    }

    /// Some pages of a database change, a file comes, a file goes.
    pub(crate) fn capture(&mut self) {
        let database = self.database;
        let writes: Vec<(usize, Vec<u8>)> =
            (0..60).map(|_| (self.random.below(DATABASE_PAGES), self.random.bytes(PAGE))).collect();
        let letter = self.random.bytes(90 * PAGE);
        let agent = &mut self.running().agent;
        for (page, bytes) in writes {
            agent.overwrite(database, page * PAGE, &bytes);
        }
        let name = format!("letter-{:04}", agent.point.0);
        agent.make_file(NodeId::ROOT, &name, letter);
        let old = agent.point.0.checked_sub(9).map(|old| format!("letter-{old:04}"));
        if let Some(old) =
            old.filter(|old| agent.tree.names.contains_key(&(NodeId::ROOT, old.clone().into_bytes())))
        {
            agent.delete(NodeId::ROOT, old.as_bytes());
        }
        agent.close().unwrap();
    }

    /// Retention, and everything off the disk that has a copy.
    pub(crate) fn nightly_work(&mut self) {
        let config = self.config;
        let vault = &self.on().vault;
        let plan = vault.plan_retention(config, &KEEP, &TimeZone::UTC).unwrap();
        vault.apply_retention(&plan, "test").unwrap();
        let expired: Vec<PointSeq> = plan.expire.iter().map(|point| PointSeq(*point)).collect();
        let plan = vault.plan_reclaim(EVICT).unwrap();
        vault.apply_reclaim(&plan, "test").unwrap();
        let points = &mut self.running().agent.points;
        points.retain(|point, _| !expired.contains(point));
    }

    /// The box looks after its library; a power cut in the middle ends everything.
    pub(crate) fn tend(&mut self) {
        let running = self.on();
        let outcome = running.job.tend(&running.vault, Pace::AsDue, &mut |_| {});
        if self.power.has_failed() {
            return self.power_cut();
        }
        let told = self.on().job.sentences();
        let says_failed = told.iter().any(|sentence| sentence.contains("drive 0 failed"));
        self.drive_failures_told += u32::from(says_failed);
        if let Err(error) = outcome {
            assert!(says_failed, "{error}; {told:?}");
        }
    }

    pub(crate) fn tend_now(&self) {
        let running = self.on();
        running.job.tend(&running.vault, Pace::Now, &mut |_| {}).unwrap();
    }

    pub(crate) fn job(&self) -> &TapeJob {
        &self.on().job
    }
    pub(crate) fn vault(&self) -> &Arc<Vault> {
        &self.on().vault
    }
    pub(crate) fn sentences(&self) -> Vec<String> {
        self.on().job.sentences()
    }
    pub(crate) fn drive_wear(&self) -> Vec<DriveWear> {
        self.vault().reading().drive_wear().unwrap()
    }
    pub(crate) fn audit(&self) -> Vec<(String, String)> {
        let log = self.vault().reading().audit_log(1000).unwrap();
        log.into_iter().map(|entry| (entry.who, entry.what)).collect()
    }

    pub(crate) fn without_offsite_set(&mut self) {
        self.rules.offsite = None;
        self.power_cut();
    }

    /// Does something with the library while no box runs.
    pub(crate) fn between_runs(&mut self, work: impl FnOnce(&Simulated)) {
        let Running { agent, simulated, job, vault } = self.running.take().unwrap();
        let memory = agent.leave();
        drop((job, simulated, vault));
        work(&Simulated::open(self.library.path()).unwrap());
        self.start(memory);
    }

    /// Everything off the disk that has a copy; returns what went. What a running session has named stays.
    pub(crate) fn take_off_the_disk(&mut self) -> Vec<SegmentId> {
        self.power_cut();
        let plan = self.vault().plan_reclaim(EVICT).unwrap();
        self.vault().apply_reclaim(&plan, "test").unwrap();
        let off = self.vault().reading().segments().unwrap().into_iter().filter(|one| !one.on_disk);
        off.map(|one| one.segment).collect()
    }

    /// How long ago the oldest point was closed that isn't whole in the branch set.
    pub(crate) fn hours_at_risk(&self) -> u64 {
        let missing = self.missing_of("branch");
        let open = |segment| !self.is_closed(segment);
        let reading = self.on().vault.reading();
        let oldest = reading.oldest_point_without(|one| !missing.contains(&one) && !open(one)).unwrap();
        oldest.map_or(0, |oldest| (self.on().vault.now_ms() - oldest) / HOUR_MS)
    }

    fn is_closed(&self, segment: SegmentId) -> bool {
        self.on().vault.reading().segments().unwrap().iter().any(|one| one.segment == segment && one.closed)
    }

    /// Closed segments that no cartridge of a set holds.
    pub(crate) fn missing_of(&self, set: &str) -> Vec<SegmentId> {
        let cartridges = self.cartridges();
        let counts = |barcode: &str| {
            use CartridgeState::{Filling, Full};
            let found = cartridges.iter().find(|one| one.barcode == barcode);
            found.is_some_and(|one| one.set == set && matches!(one.state, Some(Filling | Full)))
        };
        let reading = self.on().vault.reading();
        let closed = reading.segments().unwrap().into_iter().filter(|segment| segment.closed);
        let missing = closed.map(|segment| segment.segment).filter(|segment| {
            !reading.copies(*segment).unwrap().iter().any(|place| match place {
                coffer_format::event::Place::Tape { barcode, .. } => counts(barcode),
                coffer_format::event::Place::Hq { .. } => false,
            })
        });
        missing.collect()
    }

    /// One line on what there is, to be read when the test fails.
    pub(crate) fn tell(&self, day: u64) {
        let one = |one: &Cartridge| {
            format!(
                "{}:{}:{}:{}K:{}",
                &one.barcode[3..6],
                one.state_name,
                one.set,
                one.written >> 10,
                one.whereabouts_name
            )
        };
        let tapes: Vec<String> = self.cartridges().iter().map(one).collect();
        let plan: Vec<String> =
            self.on().job.plan(&self.on().vault).unwrap().steps.iter().map(ToString::to_string).collect();
        println!("day {day}: {} | {plan:?} | {:?}", tapes.join(" "), self.on().job.sentences());
    }

    /// How often a cartridge was made free by itself.
    pub(crate) fn recycled(&self) -> usize {
        let log = self.on().vault.reading().audit_log(100_000).unwrap();
        log.iter().filter(|entry| entry.what.contains("be overwritten: what is kept")).count()
    }

    /// Takes everything off the disk, then restores every kept point.
    pub(crate) fn everything_comes_back_from_tape(&mut self) {
        self.power_cut();
        let vault = self.on().vault.clone();
        let plan = vault.plan_reclaim(EVICT).unwrap();
        vault.apply_reclaim(&plan, "test").unwrap();
        let reading = vault.reading();
        let kept: Vec<u64> =
            reading.points(self.config).unwrap().iter().rev().map(|point| point.point).collect();
        let model = &self.on().agent.points;
        assert_eq!(kept, model.keys().map(|point| point.0).collect::<Vec<_>>(), "points that are kept");
        assert!(kept.len() >= 8, "{kept:?}");
        let mut fetched = Vec::<SegmentId>::new();
        for (point, paths) in model {
            let missing = reading.missing_for(&everything(self.config, *point)).unwrap();
            self.on()
                .job
                .fetch(&vault, &missing, &mut |_| {}, &mut |segment, bytes| {
                    fetched.push(segment);
                    vault.import_segment(segment, bytes)
                })
                .unwrap();
            check_point(reading, self.config, *point, paths).unwrap();
        }
        assert!(fetched.len() > 5, "only {} segments had to be read from tape", fetched.len());
    }
}
