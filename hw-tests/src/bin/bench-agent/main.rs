//! What the agent's core costs: `cargo bench-agent`. Against a box in the same process that commits everything at once
//! and keeps nothing, so that only the agent is measured.

mod forgetful;
mod measure;
mod workloads;

use std::path::PathBuf;

use clap::Parser;
use measure::Bench;

/// Measures CPU time, bytes read and bytes sent.
#[derive(Debug, Parser)]
struct Arguments {
    /// Measures a first copy of this folder, and a second look at it, instead.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Where the workloads are made; needs about twice the large file's size.
    #[arg(long, default_value = "/var/tmp")]
    scratch: PathBuf,
    /// Size of the large file, in MiB.
    #[arg(long, default_value_t = 4096)]
    large_mib: u64,
    /// How many small files.
    #[arg(long, default_value_t = 100_000)]
    files: u64,
    /// Size of the mailbox, in MiB.
    #[arg(long, default_value_t = 500)]
    mailbox_mib: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let scratch = tempfile::tempdir_in(&arguments.scratch)?;
    println!("{:<52} {:>8} {:>8} {:>12} {:>12}", "", "wall s", "cpu s", "read MB", "sent MB");
    if let Some(folder) = &arguments.folder {
        let mut bench = Bench::new(folder, &scratch.path().join("state"))?;
        bench.first("first copy")?.print();
        bench.everything("nothing changed")?.print();
        return Ok(());
    }
    workloads::large_file(scratch.path(), arguments.large_mib << 20)?;
    workloads::many_files(scratch.path(), arguments.files)?;
    workloads::mailbox(scratch.path(), arguments.mailbox_mib << 20)
}
