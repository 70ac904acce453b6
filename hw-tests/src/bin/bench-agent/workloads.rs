//! What's captured: a database that changes a little, many files of which few change, and a mailbox that grows.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use coffer_agent::capture::Target;
use coffer_agent::changes::{ByteRun, Hints, Written};

use crate::measure::Bench;

const PAGE: u64 = coffer_format::limits::PAGE as u64;
/// Of so many pages one changes.
const ONE_OF: u64 = 100;
/// Files are filled by so much at once.
const BLOCK: usize = 1 << 20;
/// What the journal tells of is at least so much.
const TOLD: u64 = 16_384;

pub(crate) fn large_file(scratch: &Path, size: u64) -> anyhow::Result<()> {
    let data = scratch.join("large");
    fs::create_dir(&data)?;
    let path = data.join("base.mdf");
    let file = filled(&path, size)?;
    file.sync_all()?;
    let mut bench = Bench::new(&data, &scratch.join("large-state"))?;
    bench.first(&format!("a database of {} MiB, first copy", size >> 20))?.print();
    let change = |seed: u64| -> anyhow::Result<Vec<u64>> {
        let pages: Vec<u64> =
            (0..size / PAGE / ONE_OF).map(|n| n * ONE_OF + (n * 7 + seed) % ONE_OF).collect();
        let mut page = vec![0; PAGE as usize];
        for number in &pages {
            fill(&mut page, seed << 40 | number);
            file.write_all_at(&page, number * PAGE)?;
        }
        file.sync_all()?;
        Ok(pages)
    };
    change(1)?;
    let without = bench.everything("  1 % of its pages changed, nobody tells where")?;
    without.print();
    let pages = change(2)?;
    let (target, hints) = told(&path, &pages)?;
    let with = bench.capture("  1 % of its pages changed, the journal tells where", target, &hints)?;
    with.print();
    with.print_against(&without);
    Ok(fs::remove_file(path)?)
}

pub(crate) fn many_files(scratch: &Path, count: u64) -> anyhow::Result<()> {
    let data = scratch.join("many");
    let path = |number: u64| data.join(format!("folder {}", number % 500)).join(format!("file {number}.txt"));
    let mut bytes = vec![0; 4000];
    for number in 0..count {
        if number < 500 {
            fs::create_dir_all(path(number).parent().unwrap_or(&data))?;
        }
        fill(&mut bytes, number);
        fs::write(path(number), &bytes)?;
    }
    let mut bench = Bench::new(&data, &scratch.join("many-state"))?;
    bench.first(&format!("{count} files of 4 kB, first copy"))?.print();
    let change = |seed: u64| -> anyhow::Result<Target> {
        let mut target = Target::nothing();
        for number in (0..count).step_by((count / 50).max(1) as usize) {
            let path = path(number);
            fs::write(&path, format!("changed {seed}"))?;
            let (folder, name) = (path.parent().unwrap_or(&data), path.file_name().unwrap_or_default());
            target.notice(folder.as_os_str().as_bytes().to_vec(), name.as_bytes().to_vec());
        }
        Ok(target)
    };
    change(1)?;
    let without = bench.everything("  50 changed, nobody tells which")?;
    without.print();
    let target = change(2)?;
    let with =
        bench.capture("  50 changed, the journal or the watch tells which", target, &Hints::default())?;
    with.print();
    with.print_against(&without);
    Ok(fs::remove_dir_all(data)?)
}

pub(crate) fn mailbox(scratch: &Path, size: u64) -> anyhow::Result<()> {
    let data = scratch.join("mail");
    fs::create_dir(&data)?;
    let path = data.join("inbox.mbox");
    let mut file = filled(&path, size)?;
    let mut bench = Bench::new(&data, &scratch.join("mail-state"))?;
    bench.first(&format!("a mailbox of {} MiB, first copy", size >> 20))?.print();
    let mut mail = vec![0; BLOCK];
    fill(&mut mail, u64::MAX);
    file.write_all(&mail[..200_000])?;
    bench.everything("  200 kB appended")?.print();
    Ok(())
}

fn told(path: &Path, pages: &[u64]) -> anyhow::Result<(Target, Hints)> {
    let mut target = Target::nothing();
    let (folder, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
    target.notice(folder.as_os_str().as_bytes().to_vec(), name.as_bytes().to_vec());
    let run = |page: &u64| {
        let at = page * PAGE / TOLD * TOLD;
        ByteRun { at, end: at + TOLD }
    };
    let stat = fs::metadata(path)?;
    let mut hints = Hints::default();
    hints.insert(stat.dev(), stat.ino(), Written::Runs(pages.iter().map(run).collect()));
    Ok((target, hints))
}

/// A file of so many bytes, rounded down to whole blocks.
fn filled(path: &Path, size: u64) -> anyhow::Result<File> {
    let mut file = File::create_new(path)?;
    let mut block = vec![0; BLOCK];
    for number in 0..size / BLOCK as u64 {
        fill(&mut block, number);
        file.write_all(&block)?;
    }
    Ok(file)
}

/// Half of it compresses, as a database's pages do.
fn fill(bytes: &mut [u8], seed: u64) {
    let noise = bytes.len() / 2;
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes[..noise]);
    bytes[noise..].fill(b'x');
}
