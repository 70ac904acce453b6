//! The power is cut at every single operation of a short life of a vault. Whatever was acknowledged is there afterwards, whole;
//! nothing else is half there; and the vault goes on working. Once with the catalog as it was last committed, once
//! without it.
//!
//! `COFFER_CRASH_SEEDS` sets how many choices of surviving writes are tried at each operation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coffer_format::event::Place;
use coffer_format::segment::Stream;
use coffer_format::{ComputerId, ConfigId, FileHash, NodeId, PointSeq, SegmentId};
use coffer_vault::disk::{CrashDisk, PowerCut};
use coffer_vault::{Result, Vault, VaultError, reclaim, retention};
use jiff::tz::TimeZone;

use crate::support::Random;
use crate::support::agent::{Agent, Memory, PAGE};
use crate::support::fixture::{Fixture, HOUR_MS, enrol};
use crate::support::restored::check_point;

const ROOT: NodeId = NodeId::ROOT;
const KEEP_NEWEST: retention::Policy =
    retention::Policy { all_hours: 2, hourly: 0, daily: 0, weekly: 0, monthly: 0 };
const COMPACT: reclaim::Policy =
    reclaim::Policy { copies_before_eviction: 0, free_target_bytes: 0, compact_below_percent: 90 };
const EVICT: reclaim::Policy =
    reclaim::Policy { copies_before_eviction: 1, free_target_bytes: u64::MAX >> 1, compact_below_percent: 0 };

/// What the outside knows of a vault's life, up to the cut.
#[derive(Default)]
struct Known {
    created: bool,
    enrolled: Option<(ComputerId, ConfigId)>,
    memory: Memory,
    /// Points that retention was asked to give up, and those that it said it had.
    expiring: BTreeSet<u64>,
    expired: BTreeSet<u64>,
    /// Copies elsewhere, as a tape or HQ would have them.
    copies: BTreeMap<SegmentId, Vec<u8>>,
    /// What reclaim planned.
    actions: Vec<String>,
}

/// Runs the script until its end or the cut.
fn live(fixture: &Fixture, known: &mut Known) -> Result<()> {
    fixture.create()?;
    known.created = true;
    let vault = fixture.try_open()?;
    let (computer, config) = enrol(&vault, "desk")?;
    known.enrolled = Some((computer, config));
    let mut agent = Agent::new(&vault, computer, config)?;
    let outcome = first_run(fixture, known, &mut agent);
    known.memory = agent.leave();
    drop(vault);
    outcome?;
    let vault = fixture.try_open()?;
    let mut agent = Agent::resume(&vault, computer, config, known.memory.clone())?;
    let outcome = second_run(known, &mut agent);
    known.memory = agent.leave();
    outcome
}

fn first_run(fixture: &Fixture, known: &mut Known, agent: &mut Agent) -> Result<()> {
    let mut random = Random::new(3);
    agent.stream = Stream::Bulk;
    let big = agent.make_file(ROOT, "big", random.bytes(9 * PAGE));
    agent.send_packs()?;
    agent.stream = Stream::Fresh;
    let small = agent.make_file(ROOT, "small", b"first".to_vec());
    agent.close()?;
    agent.overwrite(big, 2 * PAGE, &random.bytes(PAGE));
    agent.send_packs()?;
    agent.insert(small, 0, b"very ");
    agent.commit(false)?;
    agent.rename(ROOT, b"small", ROOT, "renamed", true);
    agent.close()?;
    let vault = agent.vault.clone();
    vault.roll()?;

    fixture.clock.advance(24 * HOUR_MS);
    agent.rewrite(big, random.bytes(3 * PAGE));
    let doomed = agent.make_file(ROOT, "doomed", random.bytes(2 * PAGE));
    agent.close()?;
    agent.overwrite(doomed, 0, &random.bytes(PAGE));
    agent.close()?;
    agent.delete(ROOT, b"doomed");
    // Packs that nothing has made durable yet lie in the segment when it's closed.
    agent.make_file(ROOT, "late", random.bytes(2 * PAGE));
    agent.send_packs()?;
    vault.roll()?;
    agent.close()?;

    // The first day's points go, and the space they took with them.
    let plan = vault.plan_retention(agent.config, &KEEP_NEWEST, &TimeZone::UTC)?;
    assert_eq!(plan.expire.len(), 2);
    known.expiring.extend(&plan.expire);
    vault.apply_retention(&plan, "test")?;
    known.expired.extend(&plan.expire);
    agent.session.begin(agent.config)?;
    let plan = vault.plan_reclaim(COMPACT)?;
    known.actions.extend(plan.steps.iter().map(|step| format!("{:?}", step.action)));
    vault.apply_reclaim(&plan, "test")?;
    agent.overwrite(big, 0, &random.bytes(100));
    agent.close()?;
    vault.roll()?;

    // What is left is copied elsewhere, leaves the disk, and comes back.
    copy_away(fixture, &vault, known)?;
    agent.session.begin(agent.config)?;
    let plan = vault.plan_reclaim(EVICT)?;
    known.actions.extend(plan.steps.iter().map(|step| format!("{:?}", step.action)));
    vault.apply_reclaim(&plan, "test")?;
    bring_back(&vault, known)
}

fn second_run(known: &mut Known, agent: &mut Agent) -> Result<()> {
    let mut random = Random::new(4);
    bring_back(&agent.vault, known)?;
    let more = agent.make_file(ROOT, "more", random.bytes(PAGE));
    agent.close()?;
    agent.insert(more, 10, &random.bytes(10));
    agent.close()?;
    agent.vault.roll()
}

fn copy_away(fixture: &Fixture, vault: &Vault, known: &mut Known) -> Result<()> {
    for state in vault.segments()?.into_iter().filter(|state| state.closed && state.stream != Stream::Meta) {
        let file =
            fixture.disk.open(&fixture.segment_path(state.segment.0)).map_err(|_| VaultError::ReadOnly)?;
        let mut bytes = vec![0; state.bytes as usize];
        file.read_at(0, &mut bytes).map_err(|_| VaultError::ReadOnly)?;
        let hash = FileHash(*blake3::hash(&bytes[..bytes.len() - 64]).as_bytes());
        assert_eq!(state.hash, Some(hash), "the catalog knows the hash of what is in the file");
        known.copies.insert(state.segment, bytes);
        vault.record_copies(vec![(state.segment, hash, Place::Hq { name: "branch".into() })])?;
    }
    Ok(())
}

fn bring_back(vault: &Vault, known: &Known) -> Result<()> {
    for state in vault.segments()?.into_iter().filter(|state| !state.on_disk) {
        vault.import_segment(state.segment, &known.copies[&state.segment])?;
    }
    Ok(())
}

/// Opens the disk that the cut left, and holds it to what was said before.
fn check(fixture: &Fixture, known: &Known) -> Result<()> {
    if !known.created && !fixture.disk.list(fixture.dir()).unwrap().contains(&"vault.id".into()) {
        fixture.create()?;
    }
    let vault = fixture.try_open()?;
    let (computer, config) = match known.enrolled {
        Some(enrolled) => enrolled,
        None => enrol(&vault, "desk")?,
    };
    bring_back(&vault, known)?;
    let memory = &known.memory;
    let landed = landed(&vault, computer, config, memory)?;
    let model: BTreeMap<_, _> = memory.attempts[..landed]
        .iter()
        .filter(|one| one.closed)
        .map(|one| (one.point.0, &one.tree))
        .collect();
    let kept: BTreeSet<_> = vault.reading().points(config)?.iter().map(|point| point.point).collect();
    let given_up: BTreeSet<_> = model.keys().filter(|point| !kept.contains(point)).copied().collect();
    assert!(kept.iter().all(|point| model.contains_key(point)), "points appeared: {kept:?}");
    assert!(given_up.is_subset(&known.expiring), "points are gone: {given_up:?}");
    assert!(known.expired.is_subset(&given_up), "points came back: {kept:?}");
    for point in &kept {
        check_point(vault.reading(), config, PointSeq(*point), &model[point].paths())?;
    }
    let report = vault.verify(&mut |_| {})?;
    assert!(report.damage.is_empty() && report.touched.is_empty(), "{report:?}");
    go_on(fixture, vault, computer, config, landed, memory)
}

/// How many of the attempted commits are in the vault: at least the acknowledged ones.
fn landed(vault: &Arc<Vault>, computer: ComputerId, config: ConfigId, memory: &Memory) -> Result<usize> {
    let standing = coffer_vault::Session::new(vault.clone(), computer).begin(config)?;
    let landed = memory.attempts.iter().take_while(|one| match standing.draft {
        Some(draft) => one.point < draft.point || one.point == draft.point && one.parts <= draft.parts,
        None => one.point <= standing.head,
    });
    let landed = landed.count();
    assert!(landed >= memory.acked, "{} commits were acknowledged, {landed} are there", memory.acked);
    if let Some(last) = memory.attempts[..landed].last() {
        assert_eq!(last.closed, standing.draft.is_none(), "a point is closed with the part that closes it");
    }
    Ok(landed)
}

/// The vault takes new work, also after another start.
fn go_on(
    fixture: &Fixture,
    vault: Arc<Vault>,
    computer: ComputerId,
    config: ConfigId,
    landed: usize,
    memory: &Memory,
) -> Result<()> {
    let tree = memory.attempts[..landed].last().map(|one| one.tree.clone()).unwrap_or_default();
    let before =
        Memory { tree, next_node: memory.next_node, ticks: memory.ticks + 1000, ..Memory::default() };
    let mut agent = Agent::resume(&vault, computer, config, before)?;
    let mut random = Random::new(5);
    for file in agent.tree.of_kind(coffer_format::node::NodeKind::File) {
        agent.insert(file, 1, &random.bytes(20));
    }
    // What the cut may have torn is sent again; what the vault says it has must be whole.
    for (number, object) in memory.tree.objects.values().enumerate() {
        agent.make_file(ROOT, &format!("again{number}"), object.bytes.to_vec());
    }
    agent.close()?;
    let memory = agent.leave();
    drop(vault);
    let vault = fixture.try_open()?;
    for (point, model) in &memory.points {
        check_point(vault.reading(), config, *point, model)?;
    }
    Ok(())
}

fn crash_at(cut: PowerCut) -> u64 {
    let disk = CrashDisk::new();
    let mut fixture = Fixture::empty(Arc::new(disk.clone()));
    disk.cut_power(cut);
    let mut known = Known::default();
    let ended = live(&fixture, &mut known);
    let operations = disk.operations();
    if operations <= cut.at_operation {
        ended.unwrap();
        println!("{:?}", known.actions);
        for action in ["Drop", "Compact", "Evict"] {
            assert!(
                known.actions.iter().any(|planned| planned == action),
                "the script has no {action}: {:?}",
                known.actions
            );
        }
    }
    for keeps_catalog in [true, false] {
        if !keeps_catalog {
            fixture.delete_catalog();
        }
        fixture.disk = Arc::new(disk.reboot());
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&fixture, &known)));
        if !matches!(outcome, Ok(Ok(()))) {
            panic!("{cut:?}, catalog kept: {keeps_catalog}: {outcome:?}");
        }
    }
    operations
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_power_is_cut() {
    let seeds: u64 =
        std::env::var("COFFER_CRASH_SEEDS").map_or(2, |text| text.parse().expect("a number of seeds"));
    let all = crash_at(PowerCut { at_operation: u64::MAX, seed: 1 });
    println!("{all} operations, {seeds} seeds each");
    for at_operation in 0..=all {
        for seed in 0..seeds {
            crash_at(PowerCut { at_operation, seed: Random::new(at_operation << 16 | seed).next() });
        }
    }
}
