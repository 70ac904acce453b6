//! Reaching the box or HQ from the command line.

use coffer_vaultd::client::{Client, ClientError, Server};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{Cli, Failure};

/// A link, and the runtime that carries it.
pub(crate) struct Connection {
    pub(crate) client: Client,
    // Dropped after the client.
    _runtime: Runtime,
}

pub(crate) fn connect(cli: &Cli) -> Result<Connection, Failure> {
    let server = match &cli.hq_branch {
        Some(branch) => Server::Hq { branch: Some(branch.clone()) },
        None => Server::Box,
    };
    open(cli, server)
}

/// Reaches HQ itself, whatever branch.
pub(crate) fn connect_hq(cli: &Cli) -> Result<Connection, Failure> {
    open(cli, Server::Hq { branch: cli.hq_branch.clone() })
}

fn open(cli: &Cli, server: Server) -> Result<Connection, Failure> {
    let runtime = Runtime::new().map_err(anyhow::Error::from)?;
    let client = runtime.block_on(Client::connect(&cli.server, &cli.operator, server))?;
    Ok(Connection { client, _runtime: runtime })
}

impl Connection {
    pub(crate) fn of(client: Client, runtime: Runtime) -> Connection {
        Connection { client, _runtime: runtime }
    }

    /// Asks, and shows progress on a terminal.
    pub(crate) fn ask(&mut self, request: Value) -> Result<Value, ClientError> {
        let shown = crate::show::Progress::new();
        let answer = self.client.ask(&request, &mut |working| shown.working(&working));
        shown.clear();
        answer
    }
}
