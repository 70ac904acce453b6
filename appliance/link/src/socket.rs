//! How a TCP connection is set up for us.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::BufReader;
use tokio::net::TcpStream;

use crate::Throttle;
use crate::throttle::Throttled;

/// What TLS reads from and writes to. Without the read buffer, rustls would ask the kernel for 4 KiB at a time.
pub(crate) type Wire = BufReader<Throttled<TcpStream>>;

const READ_BUFFER: usize = 256 << 10;
/// A peer that lost its power is noticed within two minutes, at the price of a header a minute on an idle line.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

pub(crate) fn wire(stream: TcpStream, throttle: Option<Throttle>) -> io::Result<Wire> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    // A throttled line is read in small pieces anyway.
    let buffer = if throttle.is_some() { READ_BUFFER / 8 } else { READ_BUFFER };
    Ok(BufReader::with_capacity(buffer, Throttled::new(stream, throttle)))
}
