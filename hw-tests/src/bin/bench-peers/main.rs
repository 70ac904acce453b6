//! `cargo bench-peers`: Coffer side by side with restic, borg and rustic, as far as they're installed, in one run.
//!
//! Everyone gets the same files, a cold cache for each step, and encryption. Coffer works over TLS on loopback between two processes and
//! is durable on both sides when its time is taken; the peers write to a local folder. Prints seconds, bytes and ratios.

mod dataset;
mod ours;
mod peers;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;

#[derive(Parser)]
struct Options {
    /// Where the files and repositories go; wants about 12 GB.
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Number of small files.
    #[arg(long, default_value_t = 36_000)]
    files: u64,
    /// Size of the large file, in MiB.
    #[arg(long, default_value_t = 2048)]
    large_mib: u64,
    /// Leave the peers out.
    #[arg(long)]
    alone: bool,
}

/// What one tool did. Seconds; bytes on its disk.
#[derive(Debug, Default, Clone)]
pub(crate) struct Figures {
    name: String,
    first_s: f64,
    first_bytes: u64,
    change_s: f64,
    change_bytes: u64,
    nothing_s: f64,
    restore_s: f64,
    memory: String,
}

/// A backup tool under test.
pub(crate) trait Tool {
    fn name(&self) -> String;
    fn prepare(&mut self) -> Result<()>;
    fn backup(&mut self) -> Result<()>;
    fn restore(&mut self, to: &Path) -> Result<()>;
    /// Bytes on the tool's disk.
    fn stored(&self) -> Result<u64>;
    fn memory(&self) -> String;
}

fn main() -> Result<()> {
    let options = Options::parse();
    std::fs::create_dir_all(&options.dir)?;
    let dir = options.dir.canonicalize()?;
    let data = dir.join("data");
    println!("making {} small files and a file of {} MiB", options.files, options.large_mib);
    dataset::make(&data, options.files, options.large_mib << 20)?;

    let mut tools: Vec<Box<dyn Tool>> = vec![Box::new(ours::Coffer::new(&dir, &data)?)];
    if !options.alone {
        tools.extend(peers::installed(&dir, &data));
    }
    let mut figures = Vec::new();
    for tool in &mut tools {
        tool.prepare()?;
        let first_s = timed(|| tool.backup())?;
        let first_bytes = tool.stored()?;
        println!("{}: first backup {first_s:.1} s, {first_bytes} bytes", tool.name());
        figures.push(Figures { name: tool.name(), first_s, first_bytes, ..Figures::default() });
    }
    let change = dataset::change(&data)?;
    println!("changed: {} bytes; zstd -3 makes {} of it", change.bytes, change.zstd_bytes);
    for (tool, figures) in tools.iter_mut().zip(&mut figures) {
        figures.change_s = timed(|| tool.backup())?;
        figures.change_bytes = tool.stored()?.saturating_sub(figures.first_bytes);
        figures.nothing_s = timed(|| tool.backup())?;
        let to = dir.join("restored");
        figures.restore_s = timed(|| tool.restore(&to))?;
        dataset::compare(&data, &to).with_context(|| format!("{} restored something else", tool.name()))?;
        std::fs::remove_dir_all(&to)?;
        figures.memory = tool.memory();
        println!(
            "{}: change {:.1} s, nothing {:.1} s, restore {:.1} s",
            figures.name, figures.change_s, figures.nothing_s, figures.restore_s
        );
    }
    print(&figures, &change);
    Ok(())
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    cold_cache()?;
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64())
}

fn cold_cache() -> Result<()> {
    Command::new("sync").status()?;
    if std::fs::write("/proc/sys/vm/drop_caches", "3").is_err() {
        println!("the cache stays warm: dropping it needs root");
    }
    Ok(())
}

/// One of the figures.
type Figure = fn(&Figures) -> f64;

fn print(figures: &[Figures], change: &dataset::Change) {
    println!(
        "\n{:<10} {:>9} {:>14} {:>9} {:>14} {:>10} {:>10}  memory",
        "", "first s", "stored", "change s", "added", "nothing s", "restore s"
    );
    for one in figures {
        println!(
            "{:<10} {:>9.1} {:>14} {:>9.1} {:>14} {:>10.2} {:>10.1}  {}",
            one.name,
            one.first_s,
            one.first_bytes,
            one.change_s,
            one.change_bytes,
            one.nothing_s,
            one.restore_s,
            one.memory
        );
    }
    let Some((ours, peers)) = figures.split_first() else { return };
    println!(
        "\nadded by the change / zstd -3 of what changed: {:.3}",
        ours.change_bytes as f64 / change.zstd_bytes as f64
    );
    if peers.is_empty() {
        return;
    }
    let best = |of: Figure| peers.iter().map(of).fold(f64::INFINITY, f64::min);
    let ratios: [(&str, Figure); 5] = [
        ("first backup", |one| one.first_s),
        ("change", |one| one.change_s),
        ("bytes added", |one| one.change_bytes as f64),
        ("nothing changed", |one| one.nothing_s),
        ("restore", |one| one.restore_s),
    ];
    for (what, of) in ratios {
        println!("{what}: {:.3} of the best peer's", of(ours) / best(of));
    }
}
