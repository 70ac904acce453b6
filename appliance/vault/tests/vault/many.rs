//! Many computers at once, and reclaim among them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use coffer_format::NodeId;
use coffer_format::node::NodeKind;
use coffer_vault::disk::CrashDisk;
use coffer_vault::reclaim;

use crate::support::Random;
use crate::support::agent::{Agent, Memory, PAGE};
use crate::support::fixture::{Fixture, enrol};
use crate::support::restored::check_point;

const COMPUTERS: u64 = 8;
const POINTS: usize = 12;
const ALL: reclaim::Policy =
    reclaim::Policy { copies_before_eviction: 0, free_target_bytes: 0, compact_below_percent: 100 };

/// A computer's work: a few points with chunks of its own, and chunks that all computers have.
fn work(mut agent: Agent, seed: u64) -> (coffer_format::ConfigId, Memory) {
    let mut random = Random::new(seed);
    let mine = agent.make_file(NodeId::ROOT, "mine", random.bytes(4 * PAGE));
    agent.make_file(NodeId::ROOT, "ours", Random::new(99).bytes(3 * PAGE));
    agent.close().unwrap();
    for point in 0..POINTS {
        agent.overwrite(mine, random.below(4) * PAGE, &random.bytes(PAGE));
        // Chunks that come and go, the same at every computer.
        match agent.tree.names.contains_key(&(NodeId::ROOT, b"shared".to_vec())) {
            true => agent.delete(NodeId::ROOT, b"shared"),
            false => {
                agent.make_file(NodeId::ROOT, "shared", Random::new(point as u64 / 4).bytes(2 * PAGE));
            }
        }
        agent.commit(point % 3 == 0).unwrap();
        if agent.steps.is_empty() && point % 5 == 0 {
            agent.session.begin(agent.config).unwrap();
        }
    }
    agent.close().unwrap();
    (agent.config, agent.leave())
}

fn run(fixture: &Fixture, reclaims: bool) -> usize {
    let vault = fixture.open();
    let agents: Vec<_> = (0..COMPUTERS)
        .map(|number| {
            let (computer, config) = enrol(&vault, &format!("desk{number}")).unwrap();
            Agent::new(&vault, computer, config).unwrap()
        })
        .collect();
    let (start, done) = (Arc::new(Barrier::new(COMPUTERS as usize)), AtomicBool::new(false));
    let (memories, steps) = std::thread::scope(|scope| {
        let reclaiming = reclaims.then(|| {
            scope.spawn(|| {
                let mut steps = 0;
                while !done.load(Ordering::SeqCst) {
                    vault.roll().unwrap();
                    expire_all_but_newest(&vault);
                    let plan = vault.plan_reclaim(ALL).unwrap();
                    steps += plan.steps.len();
                    vault.apply_reclaim(&plan, "test").unwrap();
                }
                steps
            })
        });
        let working: Vec<_> = agents
            .into_iter()
            .zip(1..)
            .map(|(agent, seed)| {
                let start = start.clone();
                scope.spawn(move || {
                    start.wait();
                    work(agent, seed)
                })
            })
            .collect();
        let memories: Vec<_> = working.into_iter().map(|thread| thread.join()).collect();
        done.store(true, Ordering::SeqCst);
        let steps = reclaiming.map_or(0, |thread| thread.join().unwrap());
        (memories, steps)
    });
    let memories: Vec<_> = memories.into_iter().map(|memory| memory.unwrap()).collect();
    for rebuilt in [false, true] {
        for (config, memory) in &memories {
            let kept = vault.reading().points(*config).unwrap();
            assert!(reclaims || kept.len() == memory.points.len());
            for point in kept {
                let point = coffer_format::PointSeq(point.point);
                check_point(vault.reading(), *config, point, &memory.points[&point]).unwrap();
            }
        }
        if !rebuilt {
            let report = vault.verify(&mut |_| {}).unwrap();
            assert!(report.damage.is_empty() && report.touched.is_empty(), "{report:?}");
        }
    }
    drop(vault);
    fixture.delete_catalog();
    let vault = fixture.open();
    for (config, memory) in &memories {
        for point in vault.reading().points(*config).unwrap() {
            let point = coffer_format::PointSeq(point.point);
            check_point(vault.reading(), *config, point, &memory.points[&point]).unwrap();
        }
        assert!(memory.tree.of_kind(NodeKind::File).len() >= 2);
    }
    steps
}

fn expire_all_but_newest(vault: &coffer_vault::Vault) {
    let policy = coffer_vault::retention::Policy { all_hours: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0 };
    for config in vault.reading().configurations().unwrap() {
        let config = coffer_format::ConfigId(config.config);
        let mut plan = vault.plan_retention(config, &policy, &jiff::tz::TimeZone::UTC).unwrap();
        // The clock stands still here, so everything looks fresh: all but the newest go.
        let newest = plan.keep.last().copied();
        plan.expire = plan.keep.iter().copied().filter(|point| Some(*point) != newest).collect();
        vault.apply_retention(&plan, "test").unwrap();
    }
}

#[test]
fn eight_computers_commit_at_once() {
    run(&Fixture::real(), false);
}

#[test]
fn commits_that_wait_together_share_their_syncs() {
    let disk = CrashDisk::new();
    let fixture = Fixture::on(Arc::new(disk.clone()));
    run(&fixture, false);
    // Three syncs and two writes for each of them alone would be more than this.
    let commits = COMPUTERS * (POINTS as u64 + 2) + COMPUTERS * 3;
    assert!(disk.operations() < commits * 7, "{} operations for {commits} commits", disk.operations());
}

#[test]
fn reclaim_never_takes_what_is_coming_in() {
    // On a busy machine reclaim may not get its turn in one of them.
    let steps: Vec<_> = (0..3).map(|_| run(&Fixture::real(), true)).collect();
    assert!(steps.iter().any(|steps| *steps > 0), "no step of reclaim in any round: {steps:?}");
}
