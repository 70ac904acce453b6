//! A line to the box in the test's hand: it takes all that the agent says at once, and passes it on when it may.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

pub(crate) struct HeldLine {
    pub(crate) address: String,
    connections: Arc<Mutex<Vec<Arc<Connection>>>>,
    is_closed: Arc<AtomicBool>,
}

/// One connection of the agent's.
#[derive(Default)]
pub(crate) struct Connection {
    taken: AtomicU64,
    passed: AtomicU64,
    is_over: AtomicBool,
    /// What the connection before had taken when this one came.
    before_taken: u64,
    is_held: Mutex<bool>,
    released: Condvar,
}

impl HeldLine {
    pub(crate) fn to(server: &str) -> HeldLine {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections: Arc<Mutex<Vec<Arc<Connection>>>> = Arc::default();
        let is_closed: Arc<AtomicBool> = Arc::default();
        let (server, all, closed) = (server.to_owned(), connections.clone(), is_closed.clone());
        std::thread::spawn(move || {
            for agent in listener.incoming().filter(|_| !closed.load(Ordering::SeqCst)) {
                let mut all = all.lock().unwrap();
                let before_taken = all.last().map_or(0, |before| before.taken());
                let connection = Arc::new(Connection { before_taken, ..Connection::default() });
                all.push(connection.clone());
                carry(connection, agent.unwrap(), TcpStream::connect(&server).unwrap());
            }
        });
        HeldLine { address, connections, is_closed }
    }

    /// No further connection is taken: the box is away.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn open(&self) {
        self.is_closed.store(false, Ordering::SeqCst);
    }

    pub(crate) fn count(&self) -> usize {
        self.connections.lock().unwrap().len()
    }

    pub(crate) fn connection(&self, number: usize) -> Arc<Connection> {
        self.connections.lock().unwrap()[number].clone()
    }
}

impl Connection {
    /// Bytes that the agent has said.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
    }

    /// Of them, those that the box hasn't got yet.
    pub(crate) fn held(&self) -> u64 {
        self.taken() - self.passed.load(Ordering::SeqCst)
    }

    pub(crate) fn before_taken(&self) -> u64 {
        self.before_taken
    }

    /// The agent says nothing more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Keeps what the agent says from here on.
    pub(crate) fn hold(&self) {
        *self.gate() = true;
    }

    pub(crate) fn release(&self) {
        *self.gate() = false;
        self.released.notify_all();
    }

    fn gate(&self) -> MutexGuard<'_, bool> {
        self.is_held.lock().unwrap()
    }

    fn take_all(&self, mut agent: TcpStream, pass: impl Fn(Vec<u8>)) {
        let mut buffer = vec![0; 64 << 10];
        // A connection that's cut ends as well.
        while let Ok(len @ 1..) = agent.read(&mut buffer) {
            self.taken.fetch_add(len as u64, Ordering::SeqCst);
            pass(buffer[..len].to_vec());
        }
        self.is_over.store(true, Ordering::SeqCst);
    }

    fn pass_all(&self, taken: &Receiver<Vec<u8>>, mut server: TcpStream) {
        for bytes in taken {
            drop(self.released.wait_while(self.gate(), |is_held| *is_held).unwrap());
            if server.write_all(&bytes).is_err() {
                break;
            }
            self.passed.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        }
        server.shutdown(Shutdown::Write).ok();
    }
}

/// Threads that end with either side.
fn carry(connection: Arc<Connection>, agent: TcpStream, server: TcpStream) {
    let (to_pass, taken) = channel();
    let (mut from_server, mut to_agent) = (server.try_clone().unwrap(), agent.try_clone().unwrap());
    let taking = connection.clone();
    std::thread::spawn(move || taking.take_all(agent, |bytes| drop(to_pass.send(bytes))));
    std::thread::spawn(move || connection.pass_all(&taken, server));
    std::thread::spawn(move || {
        std::io::copy(&mut from_server, &mut to_agent).ok();
        to_agent.shutdown(Shutdown::Both).ok();
    });
}
