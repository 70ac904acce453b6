//! The order of a restore: from which cartridges segments are read, and in which order they lie there.
//!
//! Of all the sets of cartridges that together hold what is wanted, one that asks a person for the fewest is taken, and of these one
//! with the fewest mounts; a cartridge that is in a drive already costs nothing. Each cartridge is read in one pass.

use std::collections::{BTreeMap, BTreeSet};

use coffer_format::SegmentId;

/// How near a cartridge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Nearness {
    InDrive,
    InLibrary,
    /// A person has to fetch it.
    Away,
}

/// A copy of a wanted segment. `block` is the address of its first block; 0: not known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Copy {
    pub(super) barcode: String,
    pub(super) container: u32,
    pub(super) block: u64,
}

/// Where one segment lies on its cartridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub(super) container: u32,
    pub(super) block: u64,
    pub(super) segment: SegmentId,
}

/// One cartridge to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) barcode: String,
    pub(super) nearness: Nearness,
    /// In the order they lie on tape.
    pub(super) spots: Vec<Spot>,
}

/// A whole restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Order {
    /// In the order in which the cartridges are read: nearest first.
    pub(super) passes: Vec<Pass>,
    /// Segments without any copy.
    pub(super) nowhere: Vec<SegmentId>,
}

/// Up to this many cartridges that could be chosen either way, all choices are compared; beyond, the most useful one is
/// taken again and again.
const EXACT_MAX: usize = 16;

/// Plans a restore of the segments in `wanted`, each with its copies.
pub(super) fn plan(wanted: &BTreeMap<SegmentId, Vec<Copy>>, nearness: &dyn Fn(&str) -> Nearness) -> Order {
    let nowhere =
        wanted.iter().filter(|(_, copies)| copies.is_empty()).map(|(segment, _)| *segment).collect();
    let mut open: BTreeSet<BTreeSet<&str>> = wanted
        .values()
        .filter(|copies| !copies.is_empty())
        .map(|copies| copies.iter().map(|copy| copy.barcode.as_str()).collect())
        .collect();
    // What is on one cartridge alone, and what is in a drive, is read from there.
    let mut chosen: BTreeSet<&str> =
        open.iter().filter(|on| on.len() == 1).filter_map(|on| on.first().copied()).collect();
    chosen.extend(
        open.iter().flatten().filter(|on| nearness(on) == Nearness::InDrive).copied().collect::<Vec<_>>(),
    );
    open.retain(|on| on.is_disjoint(&chosen));
    let more = match open.iter().flatten().collect::<BTreeSet<_>>().len() {
        0 => BTreeSet::new(),
        few if few <= EXACT_MAX => cheapest(&open, nearness),
        _ => useful_first(open, nearness),
    };
    chosen.extend(more);
    Order { passes: passes(wanted, &chosen, nearness), nowhere }
}

/// What a choice costs: cartridges to fetch, then mounts.
fn cost<'a>(choice: impl Iterator<Item = &'a str>, nearness: &dyn Fn(&str) -> Nearness) -> (usize, usize) {
    choice.fold((0, 0), |(away, mounts), one| match nearness(one) {
        Nearness::InDrive => (away, mounts),
        Nearness::InLibrary => (away, mounts + 1),
        Nearness::Away => (away + 1, mounts + 1),
    })
}

/// Compares every choice of at most [`EXACT_MAX`] cartridges.
fn cheapest<'a>(
    open: &BTreeSet<BTreeSet<&'a str>>,
    nearness: &dyn Fn(&str) -> Nearness,
) -> BTreeSet<&'a str> {
    let all: Vec<&str> = open.iter().flatten().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let bits = |on: &BTreeSet<&str>| -> u32 {
        all.iter().enumerate().filter(|(_, one)| on.contains(*one)).map(|(at, _)| 1 << at).sum()
    };
    let needs: Vec<u32> = open.iter().map(bits).collect();
    let members = |choice: u32| {
        all.iter().enumerate().filter(move |(at, _)| choice & (1 << at) != 0).map(|(_, one)| *one)
    };
    let best = (1..1u32 << all.len())
        .filter(|choice| needs.iter().all(|need| need & choice != 0))
        .min_by_key(|choice| cost(members(*choice), nearness));
    members(best.unwrap_or(u32::MAX)).collect()
}

/// Takes the cartridge that covers most (of the nearest that cover any) until all is covered.
fn useful_first<'a>(
    mut open: BTreeSet<BTreeSet<&'a str>>,
    nearness: &dyn Fn(&str) -> Nearness,
) -> BTreeSet<&'a str> {
    let mut chosen = BTreeSet::new();
    while !open.is_empty() {
        let mut covers: BTreeMap<&str, usize> = BTreeMap::new();
        open.iter().flatten().for_each(|one| *covers.entry(one).or_default() += 1);
        let best = covers.into_iter().max_by_key(|(one, count)| (std::cmp::Reverse(nearness(one)), *count));
        let Some((best, _)) = best else { break };
        chosen.insert(best);
        open.retain(|on| !on.contains(best));
    }
    chosen
}

fn passes(
    wanted: &BTreeMap<SegmentId, Vec<Copy>>,
    chosen: &BTreeSet<&str>,
    nearness: &dyn Fn(&str) -> Nearness,
) -> Vec<Pass> {
    let mut spots: BTreeMap<(Nearness, &str), Vec<Spot>> = BTreeMap::new();
    for (segment, copies) in wanted {
        let nearest = copies
            .iter()
            .filter(|copy| chosen.contains(copy.barcode.as_str()))
            .min_by_key(|copy| (nearness(&copy.barcode), copy.barcode.as_str()));
        if let Some(copy) = nearest {
            let spot = Spot { container: copy.container, block: copy.block, segment: *segment };
            spots.entry((nearness(&copy.barcode), &copy.barcode)).or_default().push(spot);
        }
    }
    let pass = |((nearness, barcode), mut spots): ((Nearness, &str), Vec<Spot>)| {
        spots.sort_unstable();
        Pass { barcode: barcode.to_owned(), nearness, spots }
    };
    spots.into_iter().map(pass).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Nearness::{Away, InDrive, InLibrary};

    /// Barcode, container, block.
    type Place<'a> = (&'a str, u32, u64);

    fn wanted(lines: &[(u64, &[Place<'_>])]) -> BTreeMap<SegmentId, Vec<Copy>> {
        let copy = |(barcode, container, block): &Place<'_>| Copy {
            barcode: (*barcode).to_owned(),
            container: *container,
            block: *block,
        };
        lines
            .iter()
            .map(|(segment, copies)| (SegmentId(*segment), copies.iter().map(copy).collect()))
            .collect()
    }

    fn visited(order: &Order) -> Vec<(&str, Vec<u64>)> {
        let spots = |pass: &Pass| pass.spots.iter().map(|spot| spot.segment.0).collect();
        order.passes.iter().map(|pass| (pass.barcode.as_str(), spots(pass))).collect()
    }

    #[test]
    fn a_cartridge_is_read_once_in_the_order_of_its_blocks() {
        let wanted = wanted(&[
            (1, &[("A", 2, 90)]),
            (2, &[("A", 1, 50)]),
            (3, &[("B", 1, 2)]),
            (4, &[("A", 2, 70)]),
            (5, &[]),
        ]);
        let order = plan(&wanted, &|_| InLibrary);
        assert_eq!(visited(&order), [("A", vec![2, 4, 1]), ("B", vec![3])]);
        assert_eq!(order.nowhere, [SegmentId(5)]);
    }

    #[test]
    fn one_cartridge_that_has_it_all_is_better_than_two() {
        let wanted = wanted(&[(1, &[("A", 1, 1), ("C", 1, 1)]), (2, &[("B", 1, 1), ("C", 1, 2)])]);
        assert_eq!(visited(&plan(&wanted, &|_| InLibrary)), [("C", vec![1, 2])]);
    }

    #[test]
    fn two_in_the_library_are_better_than_one_that_a_person_fetches() {
        let wanted = wanted(&[(1, &[("A", 1, 1), ("C", 1, 1)]), (2, &[("B", 1, 1), ("C", 1, 2)])]);
        let order = plan(&wanted, &|one| if one == "C" { Away } else { InLibrary });
        assert_eq!(visited(&order), [("A", vec![1]), ("B", vec![2])]);
    }

    #[test]
    fn what_is_in_the_drive_comes_first_and_costs_nothing() {
        let wanted = wanted(&[(1, &[("A", 1, 1), ("Z", 1, 1)]), (2, &[("A", 1, 2)])]);
        let order = plan(&wanted, &|one| if one == "Z" { InDrive } else { InLibrary });
        assert_eq!(visited(&order), [("Z", vec![1]), ("A", vec![2])]);
    }

    /// Against every choice, tried out slowly.
    #[test]
    fn no_choice_has_fewer_mounts() {
        let mut seed = 7u64;
        let mut below = |limit: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % limit
        };
        for _ in 0..200 {
            let names = ["A", "B", "C", "D", "E", "F"];
            let near: Vec<Nearness> = (0..6).map(|_| [InDrive, InLibrary, Away][below(3) as usize]).collect();
            let nearness = |one: &str| near[names.iter().position(|name| *name == one).unwrap_or(0)];
            let wanted: BTreeMap<SegmentId, Vec<Copy>> = (0..1 + below(12))
                .map(|segment| {
                    let copies = (0..1 + below(3))
                        .map(|_| Copy { barcode: names[below(6) as usize].into(), container: 1, block: 1 })
                        .collect();
                    (SegmentId(segment), copies)
                })
                .collect();
            let order = plan(&wanted, &nearness);
            let found = cost(order.passes.iter().map(|pass| pass.barcode.as_str()), &nearness);
            let best = (0..64u32)
                .filter(|choice| {
                    let has = |copy: &Copy| {
                        names
                            .iter()
                            .position(|name| *name == copy.barcode)
                            .is_some_and(|at| choice & (1 << at) != 0)
                    };
                    wanted.values().all(|copies| copies.iter().any(has))
                })
                .map(|choice| {
                    cost(
                        names
                            .iter()
                            .enumerate()
                            .filter(|(at, _)| choice & (1 << at) != 0)
                            .map(|(_, name)| *name),
                        &nearness,
                    )
                })
                .min();
            assert_eq!(Some(found), best);
            assert_eq!(order.passes.iter().map(|pass| pass.spots.len()).sum::<usize>(), wanted.len());
        }
    }
}
