//! Prints how fast one link moves messages of 1 MiB over loopback: `cargo run --release --example link_speed [MiB]`.

use std::time::{Duration, Instant};

use coffer_format::{SegmentId, VaultId};
use coffer_link::{Authority, ByteBudget, Identity, LinkError, Listener, Message, Receiver, Role, connect};

const MESSAGE_BYTES: usize = 1 << 20;
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::main]
async fn main() -> Result<(), LinkError> {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(2048u64);
    let dir = std::env::temp_dir().join(format!("link-speed-{}", std::process::id()));
    let authority = Authority::create(&dir, "link speed")?;
    let server = Role::Box(VaultId([1; 16]));
    let identity = Identity::issue(&authority, server.clone(), DAY)?;
    let listener = Listener::bind("127.0.0.1:0", &identity, &[], ByteBudget::for_server()).await?;
    let client = Identity::issue(&authority, Role::Operator("speed".into()), DAY)?;

    let sending = connect(&listener.local_addr().to_string(), &client, server, None).await?;
    let receiving = listener.accept().await?;
    let started = Instant::now();
    let counted = tokio::spawn(count_messages(receiving.receiver));
    for at in 0..count {
        let bytes = vec![at as u8; MESSAGE_BYTES].into();
        let offset = at * MESSAGE_BYTES as u64;
        sending
            .sender
            .send(Message::SegmentBytes { segment: SegmentId(1), offset, closed_len: 0, bytes })
            .await?;
    }
    sending.sender.send(Message::Goodbye).await?;
    let received = counted.await.expect("counting doesn't panic")?;
    let seconds = started.elapsed().as_secs_f64();
    println!("{received} messages of 1 MiB in {seconds:.2} s: {:.0} MiB/s", received as f64 / seconds);
    if let Err(error) = std::fs::remove_dir_all(&dir) {
        eprintln!("{} is left behind: {error}", dir.display());
    }
    Ok(())
}

async fn count_messages(mut receiver: Receiver) -> Result<u64, LinkError> {
    let mut count = 0;
    while receiver.recv().await?.is_some() {
        count += 1;
    }
    Ok(count)
}
