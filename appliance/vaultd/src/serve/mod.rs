//! The running box: accepts links and gives each to who serves its role.

mod agent;
mod enrol;
mod operator;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use coffer_format::wire::{Message, PROTOCOL, RefusalCode};
use coffer_format::{ComputerId, FileHash};
use coffer_link::{Advertiser, Authority, ByteBudget, Identity, Link, Listener, Peer, Role, refuse};
use coffer_replicator::WanJob;
use coffer_vault::disk::RealDisk;
use coffer_vault::{BoxKey, Opener, Options, SystemClock, Vault, VaultError};
use tempfile::TempDir;

use crate::clock_watch::ClockWatch;
use crate::layout::Layout;
use crate::live::Live;
use crate::memories::Memories;
use crate::restore_jobs::RestoreJobs;
use crate::settings::Settings;
use crate::status::{Fewer, OnUnread};
use crate::tape::TapeJob;
use crate::traffic::Traffic;
use crate::trials::Trials;
use crate::updates::Updates;
use crate::{disk_watch, escrow, housekeeping, own_files, page, scrubbing, setup, simulated, taking_over};

/// Everything that the parts of a running box share.
pub struct Appliance {
    pub(crate) vault: Arc<Vault>,
    pub(crate) settings: Settings,
    pub(crate) authority: Authority,
    pub(crate) identity: Identity,
    pub(crate) live: Live,
    pub(crate) memories: Memories,
    pub(crate) restores: RestoreJobs,
    pub(crate) updates: Updates,
    pub(crate) tape: Option<TapeJob>,
    pub(crate) wan: Option<Arc<WanJob>>,
    /// The way to HQ's copies: the same job, which doesn't run on a disk that takes no writes.
    pub(crate) line: Option<Arc<WanJob>>,
    /// What was wrong since the start and doesn't keep the box from its work, each a sentence.
    troubles: Mutex<Vec<String>>,
    /// Where that is written which can't be written to the box's disk: it takes no writes, and all the box can do is restore.
    scratch: Option<TempDir>,
    pub(crate) clock: Arc<ClockWatch>,
    pub(crate) traffic: Traffic,
    pub(crate) trials: Trials,
    pub(crate) fewer: Fewer,
    pub(crate) on_unread: OnUnread,
    /// Copies of missing metadata haven't been asked yet, if any is missing.
    asks_for_metadata: AtomicBool,
    /// Whether this run began by taking up what HQ knows: that isn't tried again and again.
    took_up: bool,
    pub(crate) layout: Layout,
    connections: AtomicU64,
}

/// A box that is listening.
pub struct Running {
    pub appliance: Arc<Appliance>,
    listener: Listener,
    advertiser: Option<Advertiser>,
    pub page: Option<std::net::SocketAddr>,
}

impl Running {
    /// Opens the box in `dir` and starts listening.
    pub async fn start(dir: &Path) -> Result<Running> {
        let layout = Layout::new(dir);
        let settings = Settings::load(&layout.settings())?;
        let mut troubles = Vec::new();
        let authority = own_files::authority(&layout, &mut troubles)?;
        let identity = own_files::identity(&layout, &mut troubles)?;
        own_files::operator(&layout, &mut troubles);
        let room = || tempfile::tempdir().context("there's no room for what restoring needs");
        let mut scratch = match disk_watch::takes_writes(&layout) {
            true => None,
            false => Some(room()?),
        };
        let taken_up = match scratch {
            Some(_) => None,
            None => take_up(&layout, &settings).await,
        };
        let took_up = taken_up.is_some();
        let vault = match open_vault(&layout, &settings, scratch.as_ref(), &mut troubles) {
            // Not even the catalog can be opened then: what the box has can be restored all the same.
            Err(error) if scratch.is_none() && is_full_disk(&error) => {
                tracing::error!("the disk is full: {error:#}");
                scratch = Some(room()?);
                open_vault(&layout, &settings, scratch.as_ref(), &mut troubles)?
            }
            opened => opened?,
        };
        let vault = Arc::new(vault);
        if scratch.is_none()
            && let Some(failed_ms) = disk_watch::last_failed_ms(&layout, vault.now_ms())
        {
            troubles.push(disk_watch::sentence(failed_ms));
        }
        troubles.extend(finish_taking_up(&layout, &vault, taken_up));
        if scratch.is_none() {
            troubles.extend(escrow::keep(&layout, &settings, &authority, &vault));
            if settings.hq.is_none()
                && let Err(error) = vault.give_up_copies_at_hq()
            {
                troubles.push(format!(
                    "Copies at headquarters may still count, though this box has none: {error}. Mend that, then restart the box."
                ));
            }
            if let Err(error) = simulated::leave(&settings, &layout, &vault) {
                troubles.push(format!(
                    "Copies in the simulated library may still count, though it isn't used now: {error:#}. Mend that, then restart the box."
                ));
            }
        }
        if settings.hq.is_some() {
            vault.ask_before_handing_on()?;
        }
        let newest_ms = vault.reading().newest_record_ms()?;
        let clock = Arc::new(ClockWatch::start(layout.clock(), newest_ms, vault.now_ms()));
        let line = wan_job(&settings, &layout, &vault, &mut troubles);
        let (tape, wan) = match scratch {
            // What tapes and HQ take, and what tapes give, has to be noted on the disk.
            Some(_) => (None, None),
            None => (tape_job(&settings, &layout, &clock, &mut troubles), line.clone()),
        };
        if let (Some(line), true) = (&line, scratch.is_some()) {
            crate::copies::rescue_from_hq(&vault, line);
        }
        troubles.iter().for_each(|sentence| tracing::error!("{sentence}"));
        let listener = Listener::bind(settings.listen, &identity, &[], ByteBudget::for_server()).await?;
        let advertiser = advertise(&settings, &vault, &authority, listener.local_addr());
        let appliance = Arc::new(Appliance {
            vault,
            settings,
            authority,
            identity,
            live: Live::default(),
            memories: Memories::default(),
            restores: RestoreJobs::default(),
            updates: Updates::of(dir),
            tape,
            wan,
            line,
            troubles: Mutex::new(troubles),
            scratch,
            clock,
            traffic: Traffic::default(),
            trials: Trials::default(),
            fewer: Fewer::default(),
            on_unread: OnUnread::default(),
            asks_for_metadata: AtomicBool::new(true),
            took_up,
            layout,
            connections: AtomicU64::new(0),
        });
        let page = match appliance.settings.page {
            Some(address) => {
                page::serve(appliance.clone(), address).await.map(Some).unwrap_or_else(|error| {
                    appliance.trouble(format!("There is no status page: {error:#}."));
                    None
                })
            }
            None => None,
        };
        Ok(Running { appliance, listener, advertiser, page })
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.listener.local_addr()
    }

    /// Serves until `stop` says so, or until it has to start anew; then everything durable stays so, and links are dropped.
    pub async fn run(self, stop: tokio::sync::watch::Receiver<bool>) -> Result<Ended> {
        let mut jobs = tokio::task::JoinSet::new();
        jobs.spawn(housekeeping::run(self.appliance.clone(), stop.clone()));
        jobs.spawn(disk_watch::run(self.appliance.clone(), stop.clone()));
        jobs.spawn(scrubbing::run(self.appliance.clone(), stop.clone()));
        if let Some(wan) = self.appliance.wan.clone() {
            let mut stop = stop.clone();
            jobs.spawn(async move {
                wan.run(async move { stop.wait_for(|stop| *stop).await.map(|_| ()).unwrap_or(()) }).await
            });
        }
        let mut stopping = stop.clone();
        let watched = self.appliance.clone();
        let mut recovered = std::pin::pin!(disk_watch::recovered(&watched));
        loop {
            tokio::select! {
                link = self.listener.accept() => {
                    let appliance = self.appliance.clone();
                    tokio::spawn(async move { appliance.serve(link?).await });
                }
                _ = stopping.wait_for(|stop| *stop) => break,
                () = set_back(&self.appliance) => {
                    taking_over::note_set_back(&self.appliance.layout)?;
                    return Ok(Ended::SetBack);
                }
                () = &mut recovered => {
                    self.appliance.note_recovered();
                    return Ok(Ended::DiskRecovered);
                }
            }
        }
        if let Some(advertiser) = self.advertiser {
            jobs.spawn_blocking(move || advertiser.withdraw());
        }
        while jobs.join_next().await.is_some() {}
        keep_files_in_place(&self.appliance).await;
        disk_watch::put_back(&self.appliance).await;
        Ok(Ended::Stopped)
    }
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Stopped,
    /// The vault is older than what HQ knows: the next start takes that up.
    SetBack,
    /// The disk took no writes and takes them again: the next start opens the vault for them.
    DiskRecovered,
}

/// The next start goes by the files' names: what somebody put in their places since they were last looked at isn't what counts.
async fn keep_files_in_place(appliance: &Arc<Appliance>) {
    let vault = appliance.vault.clone();
    if vault.is_read_only() {
        return;
    }
    match tokio::task::spawn_blocking(move || vault.keep_files_in_place()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::error!(%error, "a segment may not be found by its name at the next start"),
        Err(panic) => tracing::error!(%panic, "it couldn't be seen whether the segments are in their places"),
    }
}

/// Resolves when HQ has shown that the vault was set back; never where that was tried to mend already.
async fn set_back(appliance: &Appliance) {
    if let (Some(wan), false) = (&appliance.wan, appliance.took_up)
        && wan.status().wait_for(|status| status.set_back).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

type TakenUp = Option<Result<(taking_over::Branch, taking_over::FromHq)>>;

/// Where the last run found that the vault had been set back, takes up what HQ knows.
async fn take_up(layout: &Layout, settings: &Settings) -> TakenUp {
    if !layout.set_back().exists() {
        return None;
    }
    let key = setup::read_secret(&layout.box_key());
    Some(match key {
        Ok(key) => taking_over::after_set_back(layout, settings, Opener::Box(BoxKey(key))).await,
        Err(error) => Err(error),
    })
}

/// A box that couldn't do it serves all the same, and says so.
fn finish_taking_up(layout: &Layout, vault: &Vault, taken_up: TakenUp) -> Option<String> {
    let finished = taken_up?
        .and_then(|(branch, from_hq)| taking_over::finish_set_back(layout, vault, &branch, &from_hq));
    let error = finished.err()?;
    tracing::error!(error = format!("{error:#}"), "what HQ knows couldn't be taken up");
    Some(format!(
        "This box's vault was set back to an older state, and what headquarters knows couldn't be taken up again: {error:#}. Nothing new gets to \
         headquarters. Restart the box to try again."
    ))
}

/// A box that can't be told to its LAN works all the same.
fn advertise(
    settings: &Settings,
    vault: &Vault,
    authority: &Authority,
    address: std::net::SocketAddr,
) -> Option<Advertiser> {
    if !settings.advertise {
        return None;
    }
    Advertiser::start(&settings.name, vault.id(), authority.pin(), address).unwrap_or_else(|error| {
        tracing::warn!(%error, source = ?std::error::Error::source(&error), "computers won't find this box by themselves");
        None
    })
}

fn open_vault(
    layout: &Layout,
    settings: &Settings,
    scratch: Option<&TempDir>,
    troubles: &mut Vec<String>,
) -> Result<Vault> {
    let key = own_files::key(layout, troubles)?;
    let options = Options { reserve_bytes: settings.reserve_mib << 20 };
    let (dir, clock) = (layout.vault(), Arc::new(SystemClock));
    match scratch {
        Some(scratch) => Vault::open_read_only(&dir, key, clock, options, scratch.path()),
        None => Vault::open(Arc::new(RealDisk), &dir, key, clock, options),
    }
    .context("the vault can't be opened")
}

fn is_full_disk(error: &anyhow::Error) -> bool {
    error.downcast_ref::<VaultError>().is_some_and(VaultError::is_disk_full)
}

/// The job that writes tapes. A box without its library still protects and restores.
fn tape_job(
    settings: &Settings,
    layout: &Layout,
    clock: &Arc<ClockWatch>,
    troubles: &mut Vec<String>,
) -> Option<TapeJob> {
    TapeJob::of(settings, layout, clock.clone()).unwrap_or_else(|error| {
        troubles.push(format!("Nothing is written to tape: {error:#}. Mend that, then restart the box."));
        None
    })
}

/// The job that sends to HQ. Where it can't begin, the box goes on without it, and says so.
fn wan_job(
    settings: &Settings,
    layout: &Layout,
    vault: &Arc<Vault>,
    troubles: &mut Vec<String>,
) -> Option<Arc<WanJob>> {
    let Some(table) = &settings.hq else {
        if layout.branch().exists() {
            troubles.push(
                "Nothing is sent to headquarters: this box has joined one, but box.toml has no [hq]. Put [hq] with its address back, \
                 or remove the folder `branch` if the box is to be on its own."
                    .into(),
            );
        }
        return None;
    };
    let branch = own_files::branch(layout, troubles);
    let job = branch
        .context("the identity of this branch can't be used")
        .and_then(|branch| crate::copies::wan_job(table, branch, vault.clone()));
    match job {
        Ok(job) => Some(Arc::new(job)),
        Err(error) => {
            troubles.push(format!(
                "Nothing is sent to headquarters, and nothing comes from there: {error:#}. Mend that, then restart the box."
            ));
            None
        }
    }
}

impl Appliance {
    /// What was wrong when the box started.
    pub(crate) fn troubles(&self) -> Vec<String> {
        self.troubles.lock().expect("nothing panics while it lists troubles").clone()
    }

    /// What headquarters' clock shows; `None` before it was heard of.
    pub(crate) fn hq_clock_ms(&self) -> Option<u64> {
        self.wan.as_ref().and_then(|wan| wan.status().borrow().clock_ms())
    }

    /// Whether metadata is missing that a copy may bring back: computers, configurations and points may come with it.
    pub(crate) fn awaits_metadata(&self) -> Result<bool, VaultError> {
        Ok(self.asks_for_metadata.load(Ordering::Relaxed)
            && !self.vault.reading().missing_records()?.is_empty())
    }

    /// All copies were asked for what metadata is missing, or couldn't be for long.
    pub(crate) fn awaits_no_metadata(&self) {
        self.asks_for_metadata.store(false, Ordering::Relaxed);
    }

    /// Whether the box was started on a disk that takes no writes: it restores, and does nothing else.
    pub(crate) fn only_restores(&self) -> bool {
        self.scratch.is_some()
    }

    /// Notes for the next run what this one found wrong with the disk.
    fn note_recovered(&self) {
        if !self.only_restores()
            && let Err(error) = disk_watch::note_failed(&self.layout, self.vault.now_ms())
        {
            tracing::warn!(%error, "that the disk failed can't be noted: the next run won't tell it");
        }
    }

    /// Whether nothing that computers send can be taken in.
    pub(crate) fn takes_nothing_in(&self) -> Result<bool, VaultError> {
        let vault = &self.vault;
        Ok(self.only_restores()
            || vault.is_read_only()
            || vault.free_bytes()? < self.settings.reserve_mib << 20)
    }

    /// Notes what was wrong; the status says it from then on, once.
    pub(crate) fn trouble(&self, sentence: String) {
        tracing::error!("{sentence}");
        let mut troubles = self.troubles.lock().expect("nothing panics while it lists troubles");
        if !troubles.contains(&sentence) {
            troubles.push(sentence);
        }
    }

    async fn serve(self: Arc<Self>, mut link: Link) -> Result<(), coffer_link::LinkError> {
        let Some(hello) = link.receiver.recv().await? else { return Ok(()) };
        let Some(role) = link.peer.role.clone() else { return enrol::serve(self, link, hello).await };
        let Message::Hello { protocol, program, .. } = hello else {
            return link
                .sender
                .send(refuse(RefusalCode::BadRequest, "a link begins with a greeting: update this program"))
                .await;
        };
        if protocol != PROTOCOL {
            let sentence = format!(
                "this box speaks protocol {PROTOCOL}, the other end speaks {protocol}: update the older one"
            );
            return link.sender.send(refuse(RefusalCode::Version, sentence)).await;
        }
        if let Role::Computer(computer) = role
            && let Err(error) = self.check_computer(computer, &link.peer)
        {
            return link.sender.send(Message::Refused { refusal: error.refusal() }).await;
        }
        link.sender.send(self.welcome()).await?;
        let connection = self.connections.fetch_add(1, Ordering::Relaxed);
        let served = tokio::task::spawn_blocking(move || match role {
            Role::Computer(computer) => agent::serve(&self, link, computer, (connection, &program)),
            Role::Operator(name) => operator::serve(&self, link, &name),
            _ => link.sender.blocking_send(refuse(
                RefusalCode::NotAllowed,
                "this certificate is for something else: use a computer's or an operator's",
            )),
        });
        served.await.unwrap_or_else(|panic| {
            tracing::error!(%panic, "serving a link failed; this is a mistake in cofferd");
            Ok(())
        })
    }

    /// Fails unless the other end shows the certificate that counts for this computer now.
    fn check_computer(&self, computer: ComputerId, peer: &Peer) -> Result<(), VaultError> {
        self.vault.check_computer(computer, &peer.certificate.unwrap_or(FileHash([0; 32])))
    }

    fn welcome(&self) -> Message {
        Message::Welcome {
            protocol: PROTOCOL,
            name: self.settings.name.clone(),
            vault: self.vault.id(),
            org: self.vault.org(),
            vault_ms: self.vault.now_ms(),
        }
    }
}
