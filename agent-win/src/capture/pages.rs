//! Reading a file that changes in place: page by page against the signatures of the version that the box has.
//! Only changed pages are sent, gathered into chunks however far apart they lie; pages of zeros are never sent. What a hole costs
//! doesn't depend on how long it is, wherever the box has nothing or a hole as well.

use coffer_format::limits::PAGE;
use coffer_format::manifest::{Range, Source};
use coffer_format::page_signature;

use super::file_task::FileTask;
use super::reading::{ReadError, Reading};
use crate::changes::ByteRun;
use crate::cut::Ticket;
use crate::journal::{ChangedPages, PageSignature, PageSignatures, ZERO_PAGE};
use crate::platform::SourceFile;
use crate::scan::Stat;

/// Pages of a hole that are compared at a time, where the box has something else than a hole.
const HOLE_PAGES: u64 = 8192;
/// Pages of a part beyond which it's cut: every other page may be a range.
const RANGES_MAX: usize = 24 << 10;

static ZEROS: [u8; PAGE] = [0; PAGE];

/// A file being read in pages.
struct PagesReading<'a> {
    ticket: Ticket,
    task: &'a FileTask,
    stat: &'a Stat,
    base: Option<PageSignatures>,
    /// Size of the version that the box has by now; `None` where it has none.
    sent_size: Option<u64>,
    ranges: Vec<Range>,
    changed: ChangedPages,
    changed_bytes: u64,
    /// Only parts of it are read.
    is_as_told: bool,
    zero_page: PageSignature,
}

/// What reading came to.
pub(super) struct PagesRead {
    pub(super) ticket: Ticket,
    pub(super) size: u64,
    pub(super) ranges: Vec<Range>,
    pub(super) changed: ChangedPages,
    pub(super) sent_size: Option<u64>,
    /// False where every byte is as the box has it.
    pub(super) is_changed: bool,
    pub(super) is_as_told: bool,
}

impl Reading<'_> {
    /// Reads from `start` (before which all has been sent), or only where it's `told` to.
    pub(super) fn read_pages(
        &mut self,
        task: &FileTask,
        source: &SourceFile,
        stat: &Stat,
        base: Option<PageSignatures>,
        (start, told): (u64, Option<Vec<ByteRun>>),
    ) -> Result<PagesRead, ReadError> {
        let sent_size = base.as_ref().map(PageSignatures::size);
        let mut file = PagesReading {
            ticket: self.outlet.ticket(),
            task,
            stat,
            base,
            sent_size,
            ranges: Vec::new(),
            changed: ChangedPages::default(),
            changed_bytes: 0,
            is_as_told: told.is_some(),
            zero_page: page_signature(&self.chunk_key, &ZEROS),
        };
        let mut size = stat.size;
        for run in told.unwrap_or_else(|| vec![ByteRun { at: start, end: stat.size }]) {
            let end = self.read_blocks(&mut file, source, run)?;
            if end < run.end {
                size = end;
                break;
            }
        }
        let is_changed = file.changed_bytes > 0 || file.sent_size != Some(size);
        let PagesReading { ticket, ranges, changed, sent_size, is_as_told, .. } = file;
        Ok(PagesRead { ticket, size, ranges, changed, sent_size, is_changed, is_as_told })
    }

    /// Returns how far it came: less than the run's end where the file ends before it.
    fn read_blocks(
        &mut self,
        file: &mut PagesReading<'_>,
        source: &SourceFile,
        run: ByteRun,
    ) -> Result<u64, ReadError> {
        let size = run.end;
        let mut at = run.at;
        while at < size {
            let mut data = ByteRun { at, end: size };
            if file.stat.is_sparse() {
                data = source.data_from(at, size)?.unwrap_or(ByteRun { at: size, end: size });
                let hole_end = if data.at == size { size } else { data.at / PAGE as u64 * PAGE as u64 };
                if hole_end > at {
                    self.hole(file, at, hole_end)?;
                    at = hole_end;
                    continue;
                }
            }
            let room = self.outlet.pages_room(source.is_direct())?;
            let len = (data.end - at).next_multiple_of(PAGE as u64).min(room.len() as u64) as usize;
            let count = source.read_at(&mut room[..len], at)?.min((size - at) as usize);
            if count == 0 {
                break;
            }
            self.block(file, at, count)?;
            at += count as u64;
            self.read_so_far(count as u64)?;
            if at < size && count.is_multiple_of(PAGE) {
                self.maybe_partial(file, at)?;
            }
        }
        Ok(at)
    }

    /// From a page's beginning to another's, or to the end of the file.
    fn hole(&mut self, file: &mut PagesReading<'_>, at: u64, end: u64) -> Result<(), ReadError> {
        const LEN: u64 = PAGE as u64;
        let (mut page, last) = (at / LEN, end / LEN);
        while page < last {
            let count = (last - page).min(HOLE_PAGES) as usize;
            let before = match &file.base {
                Some(base) => {
                    page = base.zeros_end(page..last)?;
                    base.read(page, count.min((last - page) as usize))?
                }
                None => Vec::new(),
            };
            if before.is_empty() {
                file.zero_pages(page..last);
                break;
            }
            for (page, before) in (page..).zip(&before) {
                self.zeros(file, page * LEN, PAGE, Some(before));
            }
            page += before.len() as u64;
            self.read_so_far(0)?;
            if page < last {
                self.maybe_partial(file, page * LEN)?;
            }
        }
        let rest = (end % LEN) as usize;
        if rest > 0 {
            let before = file.base.as_ref().map(|base| base.read(last, 1)).transpose()?.unwrap_or_default();
            self.zeros(file, last * LEN, rest, before.first());
        }
        Ok(())
    }

    /// A page of `len` zeros.
    fn zeros(&self, file: &mut PagesReading<'_>, at: u64, len: usize, before: Option<&PageSignature>) {
        let page = at / PAGE as u64;
        if len == PAGE {
            if before.is_none_or(|before| *before != ZERO_PAGE && *before != file.zero_page) {
                file.zero_pages(page..page + 1);
            }
            return;
        }
        let signature = page_signature(&self.chunk_key, &ZEROS[..len]);
        if before != Some(&signature) {
            file.changed.signed.push((page, signature));
            file.changed_bytes += len as u64;
            push_zero(&mut file.ranges, at, len as u64);
        }
    }

    /// Compares the pages of `count` bytes just read, and keeps the changed ones, neighbours together.
    fn block(&mut self, file: &mut PagesReading<'_>, at: u64, count: usize) -> Result<(), ReadError> {
        let first = at / PAGE as u64;
        let before = match &file.base {
            Some(base) => base.read(first, count.div_ceil(PAGE))?,
            None => Vec::new(),
        };
        let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
        for (index, page) in self.outlet.pages_read()[..count].chunks(PAGE).enumerate() {
            let (start, end) = (index * PAGE, index * PAGE + page.len());
            let before = before.get(index);
            if *page == ZEROS[..page.len()] {
                self.zeros(file, at + start as u64, page.len(), before);
            } else if before.is_none_or(|before| *before != page_signature(&self.chunk_key, page)) {
                file.changed_bytes += page.len() as u64;
                match runs.last_mut() {
                    Some(run) if run.end == start => run.end = end,
                    _ => runs.push(start..end),
                }
            }
        }
        self.outlet.keep_pages(file.ticket, at, &runs);
        Ok(())
    }

    /// Sends what there is of a file that's too large for one part; the rest follows as a change of it.
    fn maybe_partial(&mut self, file: &mut PagesReading<'_>, done: u64) -> Result<(), ReadError> {
        if !self.outlet.part_is_full() && file.ranges.len() < RANGES_MAX {
            return Ok(());
        }
        if file.changed_bytes == 0 {
            return Ok(self.outlet.cut_part()?);
        }
        let size = done.max(file.sent_size.unwrap_or(0));
        let ranges = std::mem::take(&mut file.ranges);
        let changed = std::mem::take(&mut file.changed);
        // Between the parts that were read are some that weren't: whoever goes on begins at the start.
        let done = if file.is_as_told { 0 } else { done };
        self.put_partial(file.task, file.ticket, file.stat, file.sent_size, (done, size), ranges, changed)?;
        file.sent_size = Some(size);
        file.changed_bytes = 0;
        file.ticket = self.outlet.ticket();
        Ok(self.outlet.cut_part()?)
    }
}

impl PagesReading<'_> {
    /// Whole pages of zeros, where the box has something else or nothing.
    fn zero_pages(&mut self, pages: std::ops::Range<u64>) {
        if pages.is_empty() {
            return;
        }
        let (at, len) = (pages.start * PAGE as u64, (pages.end - pages.start) * PAGE as u64);
        self.changed.push_zeros(pages);
        self.changed_bytes += len;
        push_zero(&mut self.ranges, at, len);
    }
}

fn push_zero(ranges: &mut Vec<Range>, at: u64, len: u64) {
    match ranges.last_mut() {
        Some(last) if last.end() == at => last.len += len,
        _ => ranges.push(Range { at, len, source: Source::Zero }),
    }
}
