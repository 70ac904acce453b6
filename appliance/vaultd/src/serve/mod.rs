//! The running box: accepts links and gives each to who serves its role.

mod agent;
mod enrol;
mod operator;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use coffer_format::wire::{Message, PROTOCOL, RefusalCode};
use coffer_link::{Advertiser, Authority, ByteBudget, Identity, Link, Listener, Role, refuse};
use coffer_replicator::WanJob;
use coffer_vault::disk::RealDisk;
use coffer_vault::{BoxKey, Opener, Options, SystemClock, Vault};

use crate::layout::Layout;
use crate::live::Live;
use crate::restore_jobs::RestoreJobs;
use crate::settings::Settings;
use crate::tape::TapeJob;
use crate::updates::Updates;
use crate::{housekeeping, page, setup};

/// Everything that the parts of a running box share.
pub struct Appliance {
    pub(crate) vault: Arc<Vault>,
    pub(crate) settings: Settings,
    pub(crate) authority: Authority,
    pub(crate) identity: Identity,
    pub(crate) live: Live,
    pub(crate) restores: RestoreJobs,
    pub(crate) updates: Updates,
    pub(crate) tape: Option<TapeJob>,
    pub(crate) wan: Option<Arc<WanJob>>,
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
        let identity = Identity::load(&layout.identity())?;
        let authority = Authority::open(&layout.authority())?;
        let vault = Arc::new(open_vault(&layout, &settings)?);
        let tape = TapeJob::of(&settings, &layout)?;
        let wan = crate::copies::wan_job(&settings, &layout, vault.clone())?.map(Arc::new);
        let listener = Listener::bind(settings.listen, &identity, &[], ByteBudget::for_server()).await?;
        let advertiser = advertise(&settings, &vault, &authority, listener.local_addr());
        let appliance = Arc::new(Appliance {
            vault,
            settings,
            authority,
            identity,
            live: Live::default(),
            restores: RestoreJobs::default(),
            updates: Updates::of(dir),
            tape,
            wan,
            connections: AtomicU64::new(0),
        });
        let page = match appliance.settings.page {
            Some(address) => Some(page::serve(appliance.clone(), address).await?),
            None => None,
        };
        Ok(Running { appliance, listener, advertiser, page })
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.listener.local_addr()
    }

    /// Serves until `stop` says so; then everything durable stays so, and links are dropped.
    pub async fn run(self, stop: tokio::sync::watch::Receiver<bool>) -> Result<()> {
        let mut jobs = tokio::task::JoinSet::new();
        jobs.spawn(housekeeping::run(self.appliance.clone(), stop.clone()));
        if let Some(wan) = self.appliance.wan.clone() {
            let mut stop = stop.clone();
            jobs.spawn(async move {
                wan.run(async move { stop.wait_for(|stop| *stop).await.map(|_| ()).unwrap_or(()) }).await
            });
        }
        let mut stopping = stop.clone();
        loop {
            tokio::select! {
                link = self.listener.accept() => {
                    let appliance = self.appliance.clone();
                    tokio::spawn(async move { appliance.serve(link?).await });
                }
                _ = stopping.wait_for(|stop| *stop) => break,
            }
        }
        if let Some(advertiser) = self.advertiser {
            jobs.spawn_blocking(move || advertiser.withdraw());
        }
        while jobs.join_next().await.is_some() {}
        Ok(())
    }
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

fn open_vault(layout: &Layout, settings: &Settings) -> Result<Vault> {
    let key = BoxKey(setup::read_secret(&layout.box_key())?);
    let options = Options { reserve_bytes: settings.reserve_mib << 20 };
    Vault::open(Arc::new(RealDisk), &layout.vault(), Opener::Box(key), Arc::new(SystemClock), options)
        .context("the vault can't be opened")
}

impl Appliance {
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
            && let Err(error) = self
                .vault
                .check_computer(computer, &link.peer.certificate.unwrap_or(coffer_format::FileHash([0; 32])))
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
