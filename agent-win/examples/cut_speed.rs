//! Prints how fast a folder is read, cut, named and compressed: `cargo run --release --example cut_speed -- FOLDER`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use coffer_agent::capture::{Outcome, Progress, Target};
use coffer_agent::config::{BackupConfig, CompressionChoice, Scope};
use coffer_agent::journal::Journal;
use coffer_agent::session::{CaptureOrder, Session};
use coffer_agent::wire::{INCOMING_MAX, OUTGOING_MAX, Wire};
use coffer_format::wire::Message;
use coffer_format::{ConfigId, NodeId, OrgId, PointSeq, VaultId};

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = std::fs::canonicalize(folder.ok_or_else(|| anyhow::anyhow!("name a folder"))?)?;
    let config = BackupConfig::parse(&format!(
        "include = [{:?}]\nautomatic_exclusions = false",
        folder.display().to_string()
    ))
    .map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?;
    let state = std::env::temp_dir().join(format!("coffer-cut-speed-{}", std::process::id()));
    let mut journal = Journal::open(&state)?;
    let scope = Arc::new(Scope::new(&config, &[&state])?);
    for (name, head) in [("first copy", 0), ("nothing changed", 1)] {
        let began = Instant::now();
        let progress = Progress::default();
        let mut session = Session::open(box_that_forgets(head))?;
        let order = CaptureOrder {
            config: ConfigId(1),
            scope: scope.clone(),
            compression: CompressionChoice::Auto,
            chunk_key: [1; 32],
            target: Target::Everything,
            progress: &progress,
        };
        let outcome = session.capture(&mut journal, order)?;
        let seconds = began.elapsed().as_secs_f64();
        match outcome {
            Outcome::Unchanged { .. } => println!("{name}: {seconds:.3} s"),
            Outcome::Closed(closed) => println!(
                "{name}: {} files, {:.0} MB to {:.0} MB in {seconds:.2} s, {:.0} MB/s, {:?}",
                closed.files,
                closed.bytes as f64 / 1e6,
                closed.sent as f64 / 1e6,
                closed.bytes as f64 / 1e6 / seconds,
                closed.consistency
            ),
        }
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
    Ok(std::fs::remove_dir_all(state)?)
}

/// Commits everything at once and keeps nothing.
fn box_that_forgets(head: u64) -> Wire {
    let (to_box, from_agent) = sync_channel(OUTGOING_MAX);
    let (to_agent, from_box) = sync_channel(INCOMING_MAX);
    std::thread::spawn(move || {
        while let Ok(message) = from_agent.recv() {
            if let Some(answer) = answer(message, head)
                && to_agent.send(answer).is_err()
            {
                return;
            }
        }
    });
    Wire::new(to_box, from_box)
}

fn answer(message: Message, head: u64) -> Option<Message> {
    match message {
        Message::Hello { protocol, .. } => {
            let (vault, org) = (VaultId([1; 16]), OrgId([1; 16]));
            Some(Message::Welcome { protocol, name: "none".to_owned(), vault, org, vault_ms: 0 })
        }
        Message::Begin { config } => {
            let next_node = NodeId(if head == 0 { 2 } else { 1 << 40 });
            Some(Message::Begun { config, head: PointSeq(head), draft: None, next_node })
        }
        Message::CatchupWanted { .. } => Some(Message::CatchupEnd),
        Message::Part { config, point, part, close, .. } => {
            Some(Message::Committed { config, point, part, closed: close.is_some(), vault_ms: 0 })
        }
        _ => None,
    }
}
