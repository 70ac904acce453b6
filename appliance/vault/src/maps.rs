//! From an agent's step to what is kept: which map a version's delta is on, and when a full one is written again.
//!
//! Version `k` of a chain is kept as a delta on version `k & (k - 1)`, so the steps in between are folded into it.
//! A delta that has grown to half of the chain's full map is replaced by a new full map: then `k` is 0 again. So
//! metadata costs what changed, times the logarithm of the number of versions, whatever the size of the file.

use std::collections::HashMap;

use coffer_format::manifest::{Map, Source, base_ordinal, compose};
use coffer_format::node::{NodeKind, NodeMeta};
use coffer_format::op::{Content, MapBody, Op, Step, StepContent};
use coffer_format::wire::RefusalCode;
use coffer_format::{ConfigId, Locator, NodeId, limits};

use crate::catalog::{self, ChainEnd, Head};
use crate::commit::Batch;
use crate::{Result, VaultError};

/// Most ranges kept inside a part; more go into pages.
const INLINE_RANGES_MAX: usize = 2048;
/// A chain whose full map is smaller than this is never worth shortening.
const SMALL_MAP_RANGES: u64 = 64;

/// Turns a step into the operation to keep. Its chunks have been checked by the caller.
pub(crate) fn keep_step(batch: &mut Batch<'_>, config: ConfigId, step: Step) -> Result<Op> {
    Ok(match step {
        Step::Link { parent, name, node } => Op::Link { parent, name, node },
        Step::Unlink { parent, name } => Op::Unlink { parent, name },
        Step::Put { node, meta, content } => {
            let content = keep_content(batch, config, node, &meta, content)?;
            Op::Put { node, meta, content }
        }
    })
}

/// Folds the steps of a part that put the same node again into its first: each says its bytes against the one before,
/// while a part is kept as one record that knows only the parts before it.
pub(crate) fn join_steps(steps: Vec<Step>) -> Result<Vec<Step>> {
    let mut joined: Vec<Step> = Vec::with_capacity(steps.len());
    let mut first_puts = HashMap::new();
    for step in steps {
        let Step::Put { node, meta, content } = step else {
            joined.push(step);
            continue;
        };
        match first_puts.get(&node).map(|at: &usize| &mut joined[*at]) {
            Some(Step::Put { meta: earlier_meta, content: earlier, .. }) => {
                *earlier = join_content(std::mem::replace(earlier, StepContent::None), content)?;
                *earlier_meta = meta;
            }
            _ => {
                first_puts.insert(node, joined.len());
                joined.push(Step::Put { node, meta, content });
            }
        }
    }
    Ok(joined)
}

fn join_content(earlier: StepContent, later: StepContent) -> Result<StepContent> {
    use StepContent::*;
    Ok(match (earlier, later) {
        (earlier, Same) => earlier,
        (Whole { map }, Change { map: delta }) => Whole { map: join_maps(&map, &delta, true)? },
        (Change { map }, Change { map: delta }) => Change { map: join_maps(&map, &delta, false)? },
        (_, later) => later,
    })
}

fn join_maps(map: &Map, delta: &Map, full: bool) -> Result<Map> {
    let checked = map.check().and_then(|()| delta.check()).and_then(|()| compose(map, delta, full));
    checked.map_err(|e| bad(&e.to_string()))
}

fn bad(sentence: &str) -> VaultError {
    VaultError::refused(RefusalCode::BadRequest, format!("{sentence}: update the agent"))
}

fn keep_content(
    batch: &mut Batch<'_>,
    config: ConfigId,
    node: NodeId,
    meta: &NodeMeta,
    content: StepContent,
) -> Result<Content> {
    let is_file = meta.kind == NodeKind::File;
    match content {
        StepContent::None if is_file => Err(bad("a file was sent without its bytes")),
        StepContent::None => Ok(Content::None),
        _ if !is_file => Err(bad("something that isn't a file was sent with bytes")),
        StepContent::Whole { map } => {
            map.check_full().map_err(|e| bad(&e.to_string()))?;
            same_size(&map, meta)?;
            check_reach(batch, &map)?;
            keep_map(batch, 0, None, map)
        }
        StepContent::Same => {
            let (head, chain) = base_of(batch, config, node)?;
            if head.size != meta.size {
                return Err(out_of_step(node));
            }
            Ok(Content::Same { map_at: chain.at })
        }
        StepContent::Change { map } => {
            let (head, chain) = base_of(batch, config, node)?;
            map.check_delta(head.size).map_err(|e| bad(&e.to_string()))?;
            same_size(&map, meta)?;
            check_reach(batch, &map)?;
            keep_delta(batch, chain, map)
        }
    }
}

fn same_size(map: &Map, meta: &NodeMeta) -> Result<()> {
    if map.size == meta.size { Ok(()) } else { Err(bad("a file's size and its map's differ")) }
}

/// Every chunk is there, and long enough: what lies next to it in its pack may be another computer's.
fn check_reach(batch: &Batch<'_>, map: &Map) -> Result<()> {
    let mut reach = vec![0; map.chunks.len()];
    for range in &map.ranges {
        if let Source::Chunk { chunk, offset } = range.source {
            let end = &mut reach[chunk as usize];
            *end = (u64::from(offset) + range.len).max(*end);
        }
    }
    for (id, reach) in map.chunks.iter().zip(reach) {
        match catalog::has_chunk(batch.db(), id)? {
            Some(at) if reach <= u64::from(at.raw_len) => {}
            Some(_) => return Err(bad("a map reaches beyond a chunk")),
            None => {
                return Err(VaultError::refused(
                    RefusalCode::OutOfStep,
                    "a part names a chunk that the vault has no more: the agent begins again",
                ));
            }
        }
    }
    Ok(())
}

fn base_of(batch: &Batch<'_>, config: ConfigId, node: NodeId) -> Result<(Head, ChainEnd)> {
    let head = catalog::find_head(batch.db(), config, node)?.ok_or_else(|| out_of_step(node))?;
    let chain = head.chain.ok_or_else(|| out_of_step(node))?;
    Ok((head, chain))
}

fn out_of_step(node: NodeId) -> VaultError {
    VaultError::refused(
        RefusalCode::OutOfStep,
        format!(
            "the vault has no version of node {node} that this change fits: the agent catches up and tries again"
        ),
    )
}

fn keep_delta(batch: &mut Batch<'_>, chain: ChainEnd, step: Map) -> Result<Content> {
    let ordinal = chain.ordinal + 1;
    let target = base_ordinal(ordinal);
    let mut delta = step;
    let mut at = chain.at;
    let mut number = chain.ordinal;
    while number > target {
        let link = batch.map_link(at)?;
        at = link.base.ok_or_else(|| bad("a chain of maps ends early"))?;
        number = base_ordinal(number);
        delta = compose(&link.map, &delta, false).map_err(|e| bad(&e.to_string()))?;
    }
    let ranges = delta.ranges.len() as u64;
    if ranges > SMALL_MAP_RANGES && 2 * ranges >= chain.full_ranges {
        let full = compose(&batch.full_map(at)?, &delta, true).map_err(|e| bad(&e.to_string()))?;
        return keep_map(batch, 0, None, full);
    }
    keep_map(batch, ordinal, Some(at), delta)
}

fn keep_map(batch: &mut Batch<'_>, ordinal: u32, base: Option<Locator>, map: Map) -> Result<Content> {
    if map.ranges.len() <= INLINE_RANGES_MAX {
        return Ok(Content::Map { ordinal, base, body: MapBody::Inline { map } });
    }
    let mut pages = Vec::new();
    for ranges in map.ranges.chunks(limits::PAGE_RANGES_MAX) {
        pages.push(batch.write_page(page_of(&map, ranges))?);
    }
    Ok(Content::Map { ordinal, base, body: MapBody::Pages { size: map.size, pages } })
}

/// A page with the chunks that its own ranges name.
fn page_of(map: &Map, ranges: &[coffer_format::manifest::Range]) -> Map {
    let mut page = Map { size: map.size, ..Map::default() };
    let mut known = HashMap::new();
    for range in ranges {
        let mut range = *range;
        if let Source::Chunk { chunk, .. } = &mut range.source {
            let next = page.chunks.len() as u32;
            let index = *known.entry(*chunk).or_insert(next);
            if index == next {
                page.chunks.push(map.chunks[*chunk as usize]);
            }
            *chunk = index;
        }
        page.ranges.push(range);
    }
    page
}
