//! Authorities, identities and servers for the tests, on loopback.

use std::time::{Duration, SystemTime};

use coffer_format::{ComputerId, SegmentId, VaultId};
use coffer_link::{Authority, ByteBudget, Identity, Link, LinkError, Listener, Message, Role, connect};
use tempfile::TempDir;

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// One authority with a server.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) authority: Authority,
    pub(crate) listener: Listener,
    pub(crate) budget: ByteBudget,
}

pub(crate) fn the_box() -> Role {
    Role::Box(VaultId([0xb0; 16]))
}

pub(crate) fn computer(id: u32) -> Role {
    Role::Computer(ComputerId(id))
}

pub(crate) fn segment_bytes(len: usize) -> Message {
    let bytes = vec![7; len].into();
    Message::SegmentBytes { segment: SegmentId(1), offset: 0, closed_len: 0, bytes }
}

impl World {
    pub(crate) async fn new() -> World {
        Self::trusting(&[]).await
    }

    pub(crate) async fn trusting(others: &[Vec<u8>]) -> World {
        let dir = TempDir::new().unwrap();
        let authority = Authority::create(&dir.path().join("authority"), "Leeds").unwrap();
        let identity = Identity::issue(&authority, the_box(), DAY).unwrap();
        Self::with_server(dir, authority, &identity, others).await
    }

    pub(crate) async fn with_server(
        dir: TempDir,
        authority: Authority,
        server: &Identity,
        others: &[Vec<u8>],
    ) -> World {
        let budget = ByteBudget::new(16 << 20);
        let listener = Listener::bind("127.0.0.1:0", server, others, budget.clone()).await.unwrap();
        World { dir, authority, listener, budget }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().to_string()
    }

    pub(crate) fn issue(&self, role: Role) -> Identity {
        Identity::issue(&self.authority, role, DAY).unwrap()
    }

    pub(crate) async fn connect_as(&self, identity: &Identity) -> Result<Link, LinkError> {
        connect(&self.address(), identity, the_box(), None).await
    }

    /// Both ends of a link of computer 7.
    pub(crate) async fn pair(&self) -> (Link, Link) {
        let client = self.connect_as(&self.issue(computer(7))).await.unwrap();
        (client, self.listener.accept().await.unwrap())
    }
}

/// An identity valid from `offset` seconds from now, for a day.
pub(crate) fn dated(authority: &Authority, role: Role, from: SystemTime) -> Identity {
    let pending = Identity::request().unwrap();
    let certificate = authority.sign_request(pending.csr_der(), &role, DAY, from).unwrap();
    pending.complete(&certificate, authority.certificate_der()).unwrap()
}
