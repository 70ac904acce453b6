//! Anything at all happens to a vault; every point that's kept equals a slow, obvious model: whole trees in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use coffer_format::event::Place;
use coffer_format::node::NodeKind;
use coffer_format::segment::Stream;
use coffer_format::{ComputerId, ConfigId, NodeId, PointSeq, SegmentId};
use coffer_vault::comparison::Comparison;
use coffer_vault::{Vault, reclaim, retention};
use jiff::tz::TimeZone;
use proptest::prelude::*;

use crate::support::Random;
use crate::support::agent::{Agent, PAGE};
use crate::support::fixture::{Fixture, HOUR_MS, enrol};

const ROOT: NodeId = NodeId::ROOT;

/// One thing that happens. Numbers choose among what there is then.
#[derive(Debug, Clone)]
enum Action {
    MakeFile(u16, u16),
    MakeDirectory(u16),
    Overwrite(u16, u16, u16),
    Insert(u16, u16, u16),
    Append(u16, u16),
    Truncate(u16, u16),
    Hole(u16, u16, u16),
    Rewrite(u16, u16),
    /// A file gets the bytes of another: its chunks are there already.
    Copy(u16, u16),
    Touch(u16),
    Delete(u16),
    Rename(u16, u16, bool),
    HardLink(u16, u16),
    Part,
    Close,
    Roll,
    Hours(u8),
    Retention,
    Reclaim(u8),
    Evict,
    BringBack,
    Verify,
    Reopen,
    Rebuild,
}

fn action() -> impl Strategy<Value = Action> {
    use Action::*;
    let n = any::<u16>;
    prop_oneof![
        4 => (n(), n()).prop_map(|(a, b)| MakeFile(a, b)),
        1 => n().prop_map(MakeDirectory),
        4 => (n(), n(), n()).prop_map(|(a, b, c)| Overwrite(a, b, c)),
        2 => (n(), n(), n()).prop_map(|(a, b, c)| Insert(a, b, c)),
        2 => (n(), n()).prop_map(|(a, b)| Append(a, b)),
        2 => (n(), n()).prop_map(|(a, b)| Truncate(a, b)),
        2 => (n(), n(), n()).prop_map(|(a, b, c)| Hole(a, b, c)),
        1 => (n(), n()).prop_map(|(a, b)| Rewrite(a, b)),
        2 => (n(), n()).prop_map(|(a, b)| Copy(a, b)),
        1 => n().prop_map(Touch),
        2 => n().prop_map(Delete),
        3 => (n(), n(), any::<bool>()).prop_map(|(a, b, c)| Rename(a, b, c)),
        1 => (n(), n()).prop_map(|(a, b)| HardLink(a, b)),
        3 => Just(Part),
        8 => Just(Close),
        3 => Just(Roll),
        2 => (1..60u8).prop_map(Hours),
        2 => Just(Retention),
        3 => (0..101u8).prop_map(Reclaim),
        2 => Just(Evict),
        2 => Just(BringBack),
        1 => Just(Verify),
        2 => Just(Reopen),
        2 => Just(Rebuild),
    ]
}

struct World {
    fixture: Fixture,
    computer: ComputerId,
    config: ConfigId,
    agent: Agent,
    random: Random,
    /// As a tape would have them.
    copies: BTreeMap<SegmentId, Vec<u8>>,
}

impl World {
    fn new(seed: u64) -> World {
        let fixture = Fixture::real();
        let vault = fixture.open();
        let (computer, config) = enrol(&vault, "desk").unwrap();
        let agent = Agent::new(&vault, computer, config).unwrap();
        World { fixture, computer, config, agent, random: Random::new(seed), copies: BTreeMap::new() }
    }

    fn vault(&self) -> Arc<Vault> {
        self.agent.vault.clone()
    }

    fn file(&self, choice: u16) -> Option<NodeId> {
        let files = self.agent.tree.of_kind(NodeKind::File);
        (!files.is_empty()).then(|| files[choice as usize % files.len()])
    }
    fn directory(&self, choice: u16) -> NodeId {
        let mut all = self.agent.tree.of_kind(NodeKind::Directory);
        all.push(ROOT);
        all[choice as usize % all.len()]
    }
    fn name(&self, choice: u16) -> Option<(NodeId, Vec<u8>)> {
        let names: Vec<_> = self.agent.tree.names.keys().collect();
        (!names.is_empty()).then(|| names[choice as usize % names.len()].clone())
    }
    /// A name that isn't taken in that directory.
    fn free_name(&mut self, directory: NodeId) -> String {
        let mut name = format!("n{}", self.random.below(30));
        while self.agent.tree.names.contains_key(&(directory, name.clone().into())) {
            name.push('x');
        }
        name
    }
    fn some_bytes(&mut self, choice: u16) -> Vec<u8> {
        let len = [0, 1, 100, PAGE, 5 * PAGE, 3 * PAGE + 7][choice as usize % 6];
        self.random.bytes(len)
    }

    fn run(mut self, action: &Action) -> World {
        match action {
            Action::Reopen => return self.reopen(false),
            Action::Rebuild => return self.reopen(true),
            action if self.change(action) => {}
            action => self.maintain(action),
        }
        self
    }

    /// What happens to the tree; `false` if it's something else.
    fn change(&mut self, action: &Action) -> bool {
        match *action {
            Action::MakeFile(at, len) => {
                let (directory, bytes) = (self.directory(at), self.some_bytes(len));
                let name = self.free_name(directory);
                self.agent.make_file(directory, &name, bytes);
            }
            Action::MakeDirectory(at) => {
                let directory = self.directory(at);
                let name = self.free_name(directory);
                self.agent.make(NodeKind::Directory, directory, &name);
            }
            Action::Delete(which) => {
                if let Some((parent, name)) = self.name(which) {
                    self.agent.delete(parent, &name);
                }
            }
            Action::Rename(which, to, touched) => self.rename(which, to, touched),
            Action::HardLink(which, to) => {
                if let Some(file) = self.file(which) {
                    let directory = self.directory(to);
                    let name = self.free_name(directory);
                    self.agent.link(directory, &name, file);
                }
            }
            Action::Overwrite(which, ..)
            | Action::Insert(which, ..)
            | Action::Append(which, _)
            | Action::Truncate(which, _)
            | Action::Hole(which, ..)
            | Action::Rewrite(which, _)
            | Action::Copy(which, _)
            | Action::Touch(which) => {
                if let Some(file) = self.file(which) {
                    self.edit(file, action);
                }
            }
            _ => return false,
        }
        true
    }

    fn rename(&mut self, which: u16, to: u16, touched: bool) {
        let Some((parent, name)) = self.name(which) else { return };
        let (node, directory) = (self.agent.tree.names[&(parent, name.clone())], self.directory(to));
        if self.agent.tree.is_below(directory, node) {
            return;
        }
        let new_name = self.free_name(directory);
        self.agent.rename(parent, &name, directory, &new_name, touched);
    }

    fn edit(&mut self, file: NodeId, action: &Action) {
        let size = self.agent.bytes(file).len();
        match *action {
            Action::Overwrite(_, at, len) => {
                let at = at as usize % (size + 1);
                let bytes = self.some_bytes(len | 1);
                self.agent.overwrite(file, at / PAGE * PAGE, &bytes);
            }
            Action::Insert(_, at, len) => {
                let bytes = self.some_bytes(len % 4);
                self.agent.insert(file, at as usize % (size + 1), &bytes);
            }
            Action::Append(_, len) => {
                let bytes = self.some_bytes(len);
                self.agent.overwrite(file, size, &bytes);
            }
            Action::Truncate(_, to) => self.agent.truncate(file, to as usize % (size + 1)),
            Action::Hole(_, at, len) => {
                self.agent.hole(file, at as usize % (size + 1), 1 + len as usize % (2 * PAGE))
            }
            Action::Rewrite(_, len) => {
                let bytes = self.some_bytes(len);
                self.agent.rewrite(file, bytes);
            }
            Action::Copy(_, other) => {
                let bytes = self.file(other).map(|other| self.agent.bytes(other)).unwrap_or_default();
                self.agent.rewrite(file, bytes);
            }
            _ => self.agent.touch(file),
        }
    }

    /// What happens to the vault.
    fn maintain(&mut self, action: &Action) {
        let vault = self.vault();
        match *action {
            Action::Part => drop(self.agent.commit(false).unwrap()),
            Action::Close => drop(self.agent.close().unwrap()),
            Action::Roll => vault.roll().unwrap(),
            Action::Hours(hours) => self.fixture.clock.advance(u64::from(hours) * HOUR_MS),
            Action::Retention => {
                let policy = retention::Policy { all_hours: 24, hourly: 0, daily: 2, weekly: 1, monthly: 0 };
                let plan = vault.plan_retention(self.config, &policy, &TimeZone::UTC).unwrap();
                vault.apply_retention(&plan, "test").unwrap();
                let points = &mut self.agent.points;
                plan.expire.iter().for_each(|point| assert!(points.remove(&PointSeq(*point)).is_some()));
                let newest = points.keys().copied().max();
                assert_eq!(
                    plan.keep.last().copied(),
                    newest.map(|point| point.0),
                    "the newest point is kept"
                );
            }
            Action::Reclaim(compact_below_percent) => {
                let compact_below_percent = compact_below_percent.into();
                self.copy_away();
                let policy = reclaim::Policy {
                    copies_before_eviction: 0,
                    free_target_bytes: 0,
                    compact_below_percent,
                };
                self.reclaim(policy);
            }
            Action::Evict => {
                self.copy_away();
                let free_target_bytes = u64::MAX >> 1;
                self.reclaim(reclaim::Policy {
                    copies_before_eviction: 1,
                    free_target_bytes,
                    compact_below_percent: 0,
                });
            }
            Action::BringBack => self.bring_back(),
            Action::Verify => {
                let report = vault.verify(&mut |_| {}).unwrap();
                assert!(report.damage.is_empty() && report.touched.is_empty(), "{report:?}");
                assert_eq!(report.catalog, Comparison::default(), "the catalog says what the segments do");
            }
            _ => unreachable!("changes are made elsewhere"),
        }
    }

    fn reclaim(&mut self, policy: reclaim::Policy) {
        if self.random.below(2) == 0 && self.agent.steps.is_empty() {
            self.agent.session.begin(self.config).unwrap();
        }
        let vault = self.vault();
        let plan = vault.plan_reclaim(policy).unwrap();
        if self.random.below(2) == 0 {
            // Something comes in between plan and deed.
            self.agent.close().unwrap();
        }
        vault.apply_reclaim(&plan, "test").unwrap();
    }

    fn copy_away(&mut self) {
        let vault = self.vault();
        for state in vault.segments().unwrap() {
            if state.closed && state.on_disk && state.stream != Stream::Meta {
                let bytes = self.fixture.segment_bytes(state.segment.0);
                let before = self.copies.insert(state.segment, bytes.clone());
                assert!(before.is_none_or(|before| before == bytes), "a closed segment never changes");
                let place = Place::Hq { name: "branch".into() };
                vault.record_copies(vec![(state.segment, state.hash.unwrap(), place)]).unwrap();
            }
        }
    }

    fn bring_back(&mut self) {
        let vault = self.vault();
        for state in vault.segments().unwrap().into_iter().filter(|state| !state.on_disk) {
            vault.import_segment(state.segment, &self.copies[&state.segment]).unwrap();
        }
    }

    /// Steps that weren't committed are committed first, so that the agent's tree stays what it is.
    fn reopen(mut self, rebuild: bool) -> World {
        self.agent.close().unwrap();
        let vault = self.vault();
        vault.roll().unwrap();
        let before = vault.dump_catalog().unwrap();
        let World { fixture, computer, config, agent, random, copies } = self;
        let memory = agent.leave();
        drop(vault);
        if rebuild {
            fixture.delete_catalog();
        }
        let vault = fixture.open();
        let after = vault.dump_catalog().unwrap();
        assert!(before == after, "rebuilt: {rebuild}\n{}", differences(&before, &after));
        let agent = Agent::resume(&vault, computer, config, memory).unwrap();
        World { fixture, computer, config, agent, random, copies }
    }
}

fn differences(before: &str, after: &str) -> String {
    let gone = before.lines().filter(|line| !after.contains(line)).map(|line| format!("- {line}\n"));
    let new = after.lines().filter(|line| !before.contains(line)).map(|line| format!("+ {line}\n"));
    gone.chain(new).collect()
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(64);
    ProptestConfig { cases, max_shrink_iters: 400, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn every_kept_version_equals_the_model(actions in prop::collection::vec(action(), 1..90), seed in any::<u64>()) {
        let mut world = World::new(seed);
        for action in &actions {
            world = world.run(action);
        }
        world.agent.close().unwrap();
        world.bring_back();
        world.agent.check_all().unwrap();
        let mut world = world.reopen(true);
        world.bring_back();
        world.agent.check_all().unwrap();
    }
}
