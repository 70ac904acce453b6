//! What a box does by itself: retention, reclaim, looking after the tape library. One task, one thing at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::healing::Healing;
use crate::serve::Appliance;
use crate::tape::Pace;
use crate::tape::telling::Teller;
use crate::{copies, operator, own_files};

/// How often it's looked whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(20);

/// How often retention and reclaim run while the disk is full.
const RECLAIM_WHEN_FULL: Duration = Duration::from_secs(60);

/// How often the tape library is looked at.
const TAPE_EVERY: Duration = Duration::from_secs(60);

pub(crate) async fn run(appliance: Arc<Appliance>, mut stop: watch::Receiver<bool>) {
    let mut due = Due::at_start(&appliance);
    loop {
        tokio::select! {
            _ = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let working = appliance.clone();
        match tokio::task::spawn_blocking(move || work(&working, due)).await {
            Ok(next) => due = next,
            Err(panic) => {
                tracing::error!(%panic, "housekeeping broke off");
                let what = "Housekeeping broke off: a mistake in cofferd. It goes on by itself; report this, with the box's log.";
                appliance.trouble(what.to_owned());
                due = Due::at_start(&appliance);
            }
        }
    }
}

/// When each was last done, and who tells the branch.
struct Due {
    reclaim: Instant,
    /// `None` before the first time: what the library's state is has to be known soon.
    tape: Option<Instant>,
    healing: Healing,
    teller: Teller,
}

impl Due {
    fn at_start(appliance: &Appliance) -> Due {
        let tape = &appliance.settings.tape;
        let teller = Teller::new(tape.tell.clone(), tape.lamp.clone());
        Due { reclaim: Instant::now(), tape: None, healing: Healing::default(), teller }
    }
}

/// Brings back from HQ what was only on a cartridge that is lost, so that it's written to tape again.
fn heal(appliance: &Appliance) {
    if appliance.tape.is_none() || appliance.wan.is_none() {
        return;
    }
    let healed = appliance
        .vault
        .reading()
        .on_no_other_tape("")
        .and_then(|lost| copies::heal_from_hq(appliance, &lost));
    match healed {
        Ok(0) => {}
        Ok(segments) => tracing::info!(segments, "what no tape holds any more came back from HQ"),
        Err(error) => tracing::warn!(%error, "what no tape holds any more couldn't be brought back from HQ"),
    }
}

/// Looks whether the clock can still be believed.
fn look_at_clock(appliance: &Appliance) {
    let Some(told) = appliance.clock.look(appliance.vault.now_ms(), appliance.hq_clock_ms()) else { return };
    tracing::warn!(told, "clock");
    if let Err(error) = appliance.vault.audit("box", &told) {
        tracing::warn!(%error, "that couldn't be audited");
    }
}

fn is_full(appliance: &Appliance) -> bool {
    appliance.vault.free_bytes().is_ok_and(|free| free < appliance.settings.reserve_mib << 20)
}

fn work(appliance: &Appliance, mut due: Due) -> Due {
    if appliance.only_restores() {
        return due;
    }
    look_at_clock(appliance);
    own_files::look_after(appliance);
    // First: what is damaged must not be given up, nor go to tape.
    due.healing.work(appliance);
    let reclaim = appliance.settings.reclaim.every_minutes;
    // What nothing needs isn't left on a full disk.
    let every = if is_full(appliance) { RECLAIM_WHEN_FULL } else { Duration::from_secs(60 * reclaim) };
    if reclaim > 0 && due.reclaim.elapsed() >= every {
        due.reclaim = Instant::now();
        match operator::housekeep(appliance) {
            Ok(freed) => tracing::info!(freed, "retention and reclaim ran"),
            Err(error) => tracing::error!(%error, "retention and reclaim failed; they run again later"),
        }
        heal(appliance);
    }
    if let Some(tape) = &appliance.tape
        && due.tape.is_none_or(|last| last.elapsed() >= TAPE_EVERY)
    {
        match tape.tend(&appliance.vault, Pace::AsDue, &mut |_| {}) {
            Ok(done) if done.segments > 0 => tracing::info!(?done, "everything new is on tape"),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "the tape run failed; it's tried again later"),
        }
        let request = tape.request().map_or_else(String::new, |request| request.to_string());
        due.teller.tell(&request);
        due.tape = Some(Instant::now());
    }
    due
}
