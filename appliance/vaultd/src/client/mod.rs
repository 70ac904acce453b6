//! The operator's side of a link to a box or to HQ: asking, and receiving restores.

mod exit;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use coffer_format::limits::UPDATE_PIECE_MAX;
use coffer_format::wire::{Message, PROTOCOL};
use coffer_format::{Blob, ConfigId, PointSeq};
use coffer_link::{Expect, Identity, Link, LinkError, Role};
use serde_json::Value;
use thiserror::Error;

pub use exit::{ExitClass, exit_class};

/// Why a request got no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("{0}")]
    Identity(String),
    #[error("the other end sent something that has no place here: use programs of the same version")]
    OutOfTurn,
    #[error("the connection ended before the answer came: try again")]
    Ended,
}

/// An open link of an operator.
pub struct Client {
    link: Link,
    pub server_name: String,
}

/// Whom an operator talks to.
#[derive(Debug, Clone)]
pub enum Server {
    Box,
    /// HQ, and the branch whose history is looked at.
    Hq {
        branch: Option<String>,
    },
}

impl Client {
    /// Connects as the operator whose identity is in `identity`.
    pub async fn connect(address: &str, identity: &Path, server: Server) -> Result<Client, ClientError> {
        let identity = Identity::load(identity).map_err(|error| ClientError::Identity(error.to_string()))?;
        let expect = match server {
            Server::Box => Expect::AnyBox,
            Server::Hq { .. } => Expect::Exactly(Role::Hq),
        };
        let mut link = coffer_link::connect(address, &identity, expect, None).await?;
        let clock_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
        let program = concat!("coffer ", env!("CARGO_PKG_VERSION")).to_owned();
        link.sender.send(Message::Hello { protocol: PROTOCOL, program, clock_ms }).await?;
        let server_name = match link.receiver.recv().await? {
            Some(Message::Welcome { name, .. }) => name,
            Some(Message::Refused { refusal }) => return Err(LinkError::Refused(refusal).into()),
            _ => return Err(ClientError::OutOfTurn),
        };
        let mut client = Client { link, server_name };
        if let Server::Hq { branch: Some(branch) } = server {
            client.ask_async(&serde_json::json!({ "select": branch })).await?;
        }
        Ok(client)
    }

    async fn ask_async(&mut self, request: &Value) -> Result<Value, ClientError> {
        self.link.sender.send(Message::Ask { json: to_blob(request) }).await?;
        match self.link.receiver.recv().await? {
            Some(Message::Answer { json }) => {
                serde_json::from_slice(&json).map_err(|_| ClientError::OutOfTurn)
            }
            Some(Message::Refused { refusal }) => Err(LinkError::Refused(refusal).into()),
            Some(_) => Err(ClientError::OutOfTurn),
            None => Err(ClientError::Ended),
        }
    }

    /// Asks and waits for the answer; `working` hears of progress. Not from within a runtime's own thread.
    pub fn ask(&mut self, request: &Value, working: &mut dyn FnMut(Value)) -> Result<Value, ClientError> {
        self.link.sender.blocking_send(Message::Ask { json: to_blob(request) })?;
        loop {
            match self.link.receiver.blocking_recv()? {
                Some(Message::Answer { json }) => {
                    return serde_json::from_slice(&json).map_err(|_| ClientError::OutOfTurn);
                }
                Some(Message::Working { json }) => {
                    working(serde_json::from_slice(&json).map_err(|_| ClientError::OutOfTurn)?);
                }
                Some(Message::Refused { refusal }) => return Err(LinkError::Refused(refusal).into()),
                Some(_) => return Err(ClientError::OutOfTurn),
                None => return Err(ClientError::Ended),
            }
        }
    }

    /// Brings a file to the box, piece by piece. What's wrong with it shows in the answer to what's asked next.
    pub fn bring(&mut self, file: &mut dyn std::io::Read) -> Result<std::io::Result<()>, ClientError> {
        let (mut at, mut piece) = (0, vec![0; UPDATE_PIECE_MAX]);
        loop {
            let len = match file.read(&mut piece) {
                Ok(len) => len,
                Err(error) => return Ok(Err(error)),
            };
            if len == 0 && at > 0 {
                return Ok(Ok(()));
            }
            let bytes = Blob(piece[..len].to_vec());
            self.link.sender.blocking_send(Message::UpdateBytes { at, bytes })?;
            at += len as u64;
            if len == 0 {
                return Ok(Ok(()));
            }
        }
    }

    /// Asks for files; each message of the restore goes to `take` until the last.
    pub fn restore(
        &mut self,
        config: ConfigId,
        point: PointSeq,
        paths: &[String],
        take: &mut dyn FnMut(Message) -> std::io::Result<()>,
    ) -> Result<std::io::Result<()>, ClientError> {
        let paths = paths.iter().map(|path| Blob(path.clone().into_bytes())).collect();
        self.link.sender.blocking_send(Message::RestoreWanted { config, point, paths })?;
        loop {
            match self.link.receiver.blocking_recv()? {
                Some(Message::Refused { refusal }) => return Err(LinkError::Refused(refusal).into()),
                Some(message) => {
                    let last = matches!(message, Message::RestoreEnd { .. });
                    let taken = take(message);
                    if last || taken.is_err() {
                        return Ok(taken);
                    }
                }
                None => return Err(ClientError::Ended),
            }
        }
    }
}

fn to_blob(value: &Value) -> Blob {
    value.to_string().into_bytes().into()
}
