//! The server: takes links, and gives each to what serves its role.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use coffer_format::VaultId;
use coffer_format::wire::{Message, PROTOCOL, RefusalCode};
use coffer_link::{ByteBudget, Link, Listener, Role, refuse};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::branches::Branches;
use crate::registry::now_ms;
use crate::{HqError, Organisation, Registry, Result, branch_link, enrol, operator_link, scrub};

/// Links served at once; more are refused with a sentence.
const LINKS_MAX: usize = 2000;
/// Disk work at once, whatever the number of branches; and restores beside that.
const SHORT_WORK_MAX: usize = 16;
const RESTORES_MAX: usize = 16;
/// How long links may take to finish what they do when HQ stops.
const STOP_MAX: Duration = Duration::from_secs(10);

/// What all links share.
pub(crate) struct Shared {
    pub organisation: Arc<Organisation>,
    pub registry: Arc<Registry>,
    pub branches: Branches,
    /// A box takes a branch over.
    pub taken_over: Notify,
    short_work: Semaphore,
    restores: Semaphore,
}

/// A server that listens.
pub struct Server {
    shared: Arc<Shared>,
    listener: Listener,
}

impl Server {
    /// Listens at `address` (`host:port`). Within a tokio runtime.
    pub async fn bind(organisation: Organisation, address: &str) -> Result<Server> {
        let budget = ByteBudget::for_server();
        let listener = Listener::bind(address, &organisation.identity, &[], budget).await?;
        Ok(Server { shared: Arc::new(Shared::new(organisation)?), listener })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` resolves; then lets links finish what they are making durable.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let (stop, stopping) = watch::channel(false);
        let slots = Arc::new(Semaphore::new(LINKS_MAX));
        let mut links = JoinSet::new();
        links.spawn(scrub::run(self.shared.clone(), stopping.clone()));
        links.spawn(scrub::read_back_taken_over(self.shared.clone(), stopping.clone()));
        links.spawn(scrub::compare_catalogs(self.shared.clone(), stopping.clone()));
        let accepting = async {
            loop {
                let link = self.listener.accept().await?;
                while links.try_join_next().is_some() {}
                let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                    links.spawn(turn_away(link));
                    continue;
                };
                let (shared, stopping) = (self.shared.clone(), stopping.clone());
                links.spawn(async move {
                    serve(shared, link, stopping).await;
                    drop(slot);
                });
            }
        };
        let outcome: Result<()> = tokio::select! {
            outcome = accepting => outcome,
            () = shutdown => Ok(()),
        };
        stop.send_replace(true);
        let all_done = async { while links.join_next().await.is_some() {} };
        if timeout(STOP_MAX, all_done).await.is_err() {
            tracing::warn!(
                "some links did not finish in time and are cut; the boxes go on where they stopped"
            );
        }
        outcome
    }
}

async fn serve(shared: Arc<Shared>, link: Link, stopping: watch::Receiver<bool>) {
    let peer = link.peer.clone();
    let outcome = by_role(&shared, link, stopping).await;
    let role = peer.role.map_or_else(|| "nobody yet".to_owned(), |role| role.to_string());
    match outcome {
        Ok(()) => tracing::debug!(role, address = %peer.address, "a link ended"),
        Err(error) => tracing::warn!(role, address = %peer.address, %error, "a link ended"),
    }
}

async fn by_role(shared: &Arc<Shared>, link: Link, stopping: watch::Receiver<bool>) -> Result<()> {
    let (Some(role), Some(certificate)) = (link.peer.role.clone(), link.peer.certificate) else {
        return enrol::serve(shared, link).await;
    };
    let (registry, asked) = (shared.registry.clone(), role.clone());
    if let Err(error) = shared.in_background(move || registry.check_holder(&asked, &certificate)).await {
        if let Role::Branch(name) = &role
            && let Ok(branch) = shared.branches.get(name)
        {
            branch.note_refused(now_ms());
        }
        link.sender.send(Message::Refused { refusal: error.refusal() }).await?;
        return Err(error);
    }
    match role {
        Role::Branch(name) => branch_link::serve(shared, link, name, certificate, stopping).await,
        Role::Operator(_) => operator_link::serve(shared, link, role, stopping).await,
        _ => {
            let no = refuse(
                RefusalCode::NotAllowed,
                "HQ serves boxes and operators only: connect to the box instead",
            );
            Ok(link.sender.send(no).await?)
        }
    }
}

async fn turn_away(link: Link) {
    let busy = refuse(RefusalCode::Busy, "HQ serves as many connections as it can: try again later");
    if let Err(error) = link.sender.send(busy).await {
        tracing::debug!(%error, "a peer went before it could be turned away");
    }
}

/// The answer to a greeting. HQ has no vault of its own, so it names none (all zeros).
pub(crate) fn welcome(shared: &Shared, protocol: u16) -> Result<Message> {
    if protocol != PROTOCOL {
        return Err(HqError::refused(
            RefusalCode::Version,
            format!("HQ speaks version {PROTOCOL} of the protocol, not {protocol}: update the older program"),
        ));
    }
    let organisation = &shared.organisation;
    Ok(Message::Welcome {
        protocol: PROTOCOL,
        name: organisation.name.clone(),
        vault: VaultId([0; 16]),
        org: organisation.org,
        vault_ms: now_ms(),
    })
}

impl Shared {
    fn new(organisation: Organisation) -> Result<Shared> {
        let registry = Arc::new(Registry::open(&organisation.dir)?);
        let organisation = Arc::new(organisation);
        let branches = Branches::new(organisation.clone(), registry.clone());
        let (short_work, restores) = (Semaphore::new(SHORT_WORK_MAX), Semaphore::new(RESTORES_MAX));
        let taken_over = Notify::new();
        Ok(Shared { organisation, registry, branches, taken_over, short_work, restores })
    }

    /// Runs what may block (disk, catalog) beside the runtime, a bounded number at once.
    pub(crate) async fn in_background<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        within(&self.short_work, work).await
    }

    /// The same for what takes as long as its peer likes, so that nothing else waits for it.
    pub(crate) async fn restoring<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        within(&self.restores, work).await
    }
}

async fn within<T: Send + 'static>(
    slots: &Semaphore,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let _slot = slots.acquire().await.map_err(|_| HqError::Internal)?;
    tokio::task::spawn_blocking(work).await.map_err(|_| HqError::Internal)?
}
