//! An HQ in this process, and a line to it that can be cut.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coffer_format::wire::Message;
use coffer_hq::{CodeFor, HqError, Organisation, Registry, Server};
use coffer_link::{EnrolledBranch, EnrolmentCode, Identity, Link, LinkError, Role, connect, enrol_branch};
use coffer_replicator::{Calendar, Patience, Rate, WanJob, WanSettings, WanStatus};
use coffer_vault::Vault;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// No test waits longer for anything; what is waited for is always an event.
pub(crate) const LONG: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// An HQ that serves.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), HqError>>,
}

impl World {
    pub(crate) async fn new() -> World {
        let dir = TempDir::new().unwrap();
        let organisation = Organisation::create(&dir.path().join("hq"), "Example").unwrap();
        Self::serve(dir, organisation, "127.0.0.1:0").await
    }

    async fn serve(dir: TempDir, organisation: Organisation, address: &str) -> World {
        let server = loop {
            let organisation = Organisation::open(&organisation.dir).unwrap();
            match Server::bind(organisation, address).await {
                Ok(server) => break server,
                // The socket of the one before is closed by a task that is about to end.
                Err(HqError::Link(LinkError::Listen { .. })) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        World { dir, address, stop: Some(stop), served }
    }

    pub(crate) fn hq_dir(&self) -> PathBuf {
        self.dir.path().join("hq")
    }

    /// Stops HQ in good order and starts it again at the same address.
    pub(crate) async fn restart(self) -> World {
        self.restart_after(|_| {}).await
    }

    /// The same, with something done to HQ's folder in between.
    pub(crate) async fn restart_after(mut self, meanwhile: impl FnOnce(&Path)) -> World {
        self.stop.take().unwrap().send(()).unwrap();
        timeout(LONG, &mut self.served).await.unwrap().unwrap().unwrap();
        timeout(LONG, until_left(&self.hq_dir())).await.unwrap();
        meanwhile(&self.hq_dir());
        let organisation = Organisation::open(&self.hq_dir()).unwrap();
        let address = self.address.to_string();
        Self::serve(self.dir, organisation, &address).await
    }

    pub(crate) fn code(&self, branch: &str) -> EnrolmentCode {
        self.code_for(branch, CodeFor::NewBranch).unwrap()
    }

    pub(crate) fn code_for(&self, branch: &str, purpose: CodeFor) -> Result<EnrolmentCode, HqError> {
        let organisation = Organisation::open(&self.hq_dir()).unwrap();
        let registry = Registry::open(&self.hq_dir()).unwrap();
        registry.issue_code(organisation.authority(), branch, HOUR, purpose)
    }

    pub(crate) async fn enrol(&self, branch: &str) -> EnrolledBranch {
        self.enrol_with(&self.code(branch), branch).await.unwrap()
    }

    pub(crate) async fn enrol_with(
        &self,
        code: &EnrolmentCode,
        name: &str,
    ) -> Result<EnrolledBranch, LinkError> {
        let dir = self.dir.path().join(format!("box-{name}"));
        enrol_branch(&self.address.to_string(), code, name, &dir).await
    }

    /// An operator's link to HQ.
    pub(crate) async fn operator(&self, name: &str) -> Link {
        let organisation = Organisation::open(&self.hq_dir()).unwrap();
        let registry = Registry::open(&self.hq_dir()).unwrap();
        let out = self.dir.path().join(format!("operator-{name}"));
        organisation.issue_operator(&registry, name, &out).unwrap();
        connect(&self.address.to_string(), &Identity::load(&out).unwrap(), Role::Hq, None).await.unwrap()
    }
}

pub(crate) async fn ask(link: &mut Link, question: Value) -> Value {
    link.sender.send(Message::Ask { json: serde_json::to_vec(&question).unwrap().into() }).await.unwrap();
    match timeout(LONG, link.receiver.recv()).await.unwrap().unwrap() {
        Some(Message::Answer { json }) => serde_json::from_slice(&json).unwrap(),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn select(link: &mut Link, branch: &str) {
    assert_eq!(ask(link, json!({ "select": branch })).await, json!({ "selected": branch }));
}

/// Less patience than on real lines.
pub(crate) fn quick() -> Patience {
    Patience {
        stall: Duration::from_millis(400),
        reconnect_first: Duration::from_millis(5),
        reconnect_most: Duration::from_millis(20),
        refused_most: Duration::from_millis(20),
        idle: Duration::from_millis(20),
        ask_whole: Duration::from_millis(20),
        away: LONG,
    }
}

pub(crate) fn settings(address: SocketAddr, identity: &Identity, branch: &str) -> WanSettings {
    WanSettings {
        address: address.to_string(),
        identity: identity.clone(),
        branch: branch.to_owned(),
        calendar: Calendar::always(Rate::UNLIMITED),
        patience: Patience { stall: LONG, ..quick() },
    }
}

/// A WAN job that runs.
pub(crate) struct Running {
    pub(crate) job: Arc<WanJob>,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(vault: Arc<Vault>, settings: WanSettings) -> Running {
        let noon = "2026-11-21T12:00:00".parse().unwrap();
        let job = Arc::new(WanJob::new(vault, settings, Arc::new(move || noon)));
        let (stop, stopped) = oneshot::channel();
        let running = job.clone();
        let done = tokio::spawn(async move {
            running
                .run(async {
                    let _ = stopped.await;
                })
                .await
        });
        Running { job, stop, done }
    }

    /// Waits until the status is as wanted.
    pub(crate) async fn until(&self, wanted: impl FnMut(&WanStatus) -> bool) -> WanStatus {
        let mut status = self.job.status();
        let found = timeout(LONG, status.wait_for(wanted)).await;
        match found {
            Ok(found) => found.unwrap().clone(),
            Err(_) => panic!("still waiting at {:?}", *self.job.status().borrow()),
        }
    }

    /// Waits until HQ says that the point is whole there, and nothing is left to send.
    pub(crate) async fn until_whole(&self, config: u32, point: u64) -> WanStatus {
        let whole = move |status: &WanStatus| {
            status.behind_bytes == Some(0)
                && status.whole.iter().any(|w| w.config == config && w.point == Some(point))
        };
        self.until(whole).await
    }

    /// Waits until HQ knows of the point, and has all that the box can send.
    pub(crate) async fn until_taken(&self, config: u32, point: u64) -> WanStatus {
        let taken =
            move |status: &WanStatus| status.whole.iter().any(|w| w.config == config && w.newest >= point);
        self.until(taken).await
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(LONG, self.done).await.unwrap().unwrap();
    }
}

/// What HQ did beside its links may hold a branch's folder a little longer; a program that ends lets go of it.
async fn until_left(hq: &Path) {
    let Ok(branches) = std::fs::read_dir(hq.join("branches")) else { return };
    for branch in branches {
        let Ok(lock) = std::fs::File::open(branch.unwrap().path().join("lock")) else { continue };
        while lock.try_lock().is_err() {
            tokio::task::yield_now().await;
        }
    }
}

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Both ends are reset.
    Reset,
    /// Nothing arrives any more, and nobody is told.
    BlackHole,
}

/// A line whose first connections end after so many bytes to HQ; later ones live.
pub(crate) struct Line {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Line {
    pub(crate) async fn new(to: SocketAddr, cuts: Vec<(u64, Cut)>) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut cuts = cuts.into_iter();
            let mut held = Vec::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(to).await.unwrap();
                let (limit, cut) = cuts.next().unwrap_or((u64::MAX, Cut::Reset));
                held.push(tokio::spawn(carry(near, far, limit, cut)));
            }
        });
        Line { address, task }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(near: TcpStream, far: TcpStream, limit: u64, cut: Cut) {
    let (mut near_in, mut near_out) = near.into_split();
    let (mut far_in, mut far_out) = far.into_split();
    let there = async {
        let mut buffer = vec![0; 8 << 10];
        let mut left = limit;
        while left > 0 {
            let most = (buffer.len() as u64).min(left) as usize;
            match near_in.read(&mut buffer[..most]).await {
                Ok(0) | Err(_) => return false,
                Ok(read) => {
                    left -= read as u64;
                    if far_out.write_all(&buffer[..read]).await.is_err() {
                        return false;
                    }
                }
            }
        }
        true
    };
    let back = tokio::io::copy(&mut far_in, &mut near_out);
    let cut_now = tokio::select! {
        cut_now = there => cut_now,
        _ = back => false,
    };
    if cut_now && cut == Cut::BlackHole {
        // Held open until the test is over.
        std::future::pending::<()>().await;
    }
}
