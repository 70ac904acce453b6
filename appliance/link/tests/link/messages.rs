//! Messages both ways, and every way a link ends.

use coffer_format::wire::{Message, RefusalCode};
use coffer_format::{ConfigId, limits};
use coffer_link::{Arrival, ByteBudget, Identity, LinkError, refuse};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{World, computer, segment_bytes, the_box};

#[tokio::test]
async fn messages_arrive_both_ways_in_order() {
    let world = World::new().await;
    let (client, server) = world.pair().await;
    let (mut client_in, mut server_in) = (client.receiver, server.receiver);
    let sending = tokio::spawn(async move {
        for config in 0..100 {
            client.sender.send(Message::Begin { config: ConfigId(config) }).await.unwrap();
            server.sender.send(segment_bytes(100_000 + config as usize)).await.unwrap();
        }
    });
    for config in 0..100 {
        let begin = server_in.recv().await.unwrap();
        assert_eq!(begin, Some(Message::Begin { config: ConfigId(config) }));
        assert_eq!(client_in.recv().await.unwrap(), Some(segment_bytes(100_000 + config as usize)));
    }
    sending.await.unwrap();
    assert_eq!(server_in.recv().await.unwrap(), None);
    assert_eq!(client_in.recv().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_outside_the_runtime_can_use_a_link() {
    let world = World::new().await;
    let (client, server) = world.pair().await;
    let sending = std::thread::spawn(move || {
        for _ in 0..10 {
            client.sender.blocking_send(segment_bytes(1 << 20)).unwrap();
        }
        client
    });
    let taking = std::thread::spawn(move || {
        let mut server = server;
        for _ in 0..10 {
            assert_eq!(server.receiver.blocking_recv().unwrap(), Some(segment_bytes(1 << 20)));
        }
        let nothing = server.receiver.blocking_recv_within(std::time::Duration::from_millis(1)).unwrap();
        assert_eq!(nothing, Arrival::Nothing);
        server
    });
    let (client, server) =
        tokio::task::spawn_blocking(move || (sending.join().unwrap(), taking.join().unwrap())).await.unwrap();
    drop(client);
    let closed = tokio::task::spawn_blocking(move || {
        let mut server = server;
        server.receiver.blocking_recv().unwrap()
    });
    assert_eq!(closed.await.unwrap(), None);
}

#[tokio::test]
async fn try_recv_tells_nothing_from_closed() {
    let world = World::new().await;
    let (client, mut server) = world.pair().await;
    assert_eq!(server.receiver.try_recv().unwrap(), Arrival::Nothing);
    drop(client);
    assert_eq!(server.receiver.recv().await.unwrap(), None);
    assert_eq!(server.receiver.try_recv().unwrap(), Arrival::Closed);
}

#[tokio::test]
async fn goodbye_is_a_clean_end() {
    let world = World::new().await;
    let (client, mut server) = world.pair().await;
    client.sender.send(Message::ConfigsWanted).await.unwrap();
    client.sender.send(Message::Goodbye).await.unwrap();
    assert_eq!(server.receiver.recv().await.unwrap(), Some(Message::ConfigsWanted));
    assert_eq!(server.receiver.recv().await.unwrap(), None);
    assert_eq!(server.receiver.recv().await.unwrap(), None);
}

#[tokio::test]
async fn the_last_words_arrive_although_the_speaker_left_without_listening() {
    let world = World::new().await;
    let (client, server) = world.pair().await;
    let mut client_in = client.receiver;
    let uploading =
        tokio::spawn(async move { while client.sender.send(segment_bytes(1 << 20)).await.is_ok() {} });
    server.sender.send(refuse(RefusalCode::DiskFull, "The box is full: free space.")).await.unwrap();
    drop(server);
    let last = client_in.recv().await.unwrap();
    assert!(matches!(last, Some(Message::Refused { refusal }) if refusal.code == RefusalCode::DiskFull));
    uploading.abort();
}

#[tokio::test]
async fn sending_to_someone_who_left_fails() {
    let world = World::new().await;
    let (client, server) = world.pair().await;
    drop(server);
    let error = loop {
        if let Err(error) = client.sender.send(segment_bytes(1 << 20)).await {
            break error;
        }
    };
    assert!(matches!(error, LinkError::Cut { .. }), "{error:?}");
}

#[tokio::test]
async fn a_line_that_breaks_between_two_messages_is_a_cut() {
    let world = World::new().await;
    let line = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, box_address) = (line.local_addr().unwrap().to_string(), world.listener.local_addr());
    let (breaking, broken) = tokio::sync::oneshot::channel::<()>();
    let carrying = tokio::spawn(async move {
        let (mut near, _) = line.accept().await.unwrap();
        let mut far = TcpStream::connect(box_address).await.unwrap();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
            _ = broken => {}
        }
    });
    let mut client =
        coffer_link::connect(&address, &world.issue(computer(7)), the_box(), None).await.unwrap();
    let mut server = world.listener.accept().await.unwrap();
    client.sender.send(Message::ConfigsWanted).await.unwrap();
    assert_eq!(server.receiver.recv().await.unwrap(), Some(Message::ConfigsWanted));
    breaking.send(()).unwrap();
    carrying.await.unwrap();
    assert!(matches!(server.receiver.recv().await, Err(LinkError::Cut { .. })));
    assert!(matches!(client.receiver.recv().await, Err(LinkError::Cut { .. })));
    assert!(matches!(client.receiver.recv().await, Err(LinkError::Cut { .. })), "the reason stays");
}

#[tokio::test]
async fn too_long_a_message_stays_here_and_the_link_lives() {
    let world = World::new().await;
    let (client, mut server) = world.pair().await;
    let refused = client.sender.send(segment_bytes(limits::FRAME_BODY_MAX)).await;
    assert!(matches!(refused, Err(LinkError::TooLong { .. })));
    client.sender.send(Message::ConfigsWanted).await.unwrap();
    assert_eq!(server.receiver.recv().await.unwrap(), Some(Message::ConfigsWanted));
}

#[tokio::test]
async fn many_uploads_at_once_stay_within_the_budget() {
    let world = World::new().await;
    let identity = world.issue(computer(7));
    let mut servers = Vec::new();
    let mut uploads = Vec::new();
    for _ in 0..30 {
        let link = world.connect_as(&identity).await.unwrap();
        servers.push(world.listener.accept().await.unwrap());
        uploads.push(tokio::spawn(async move {
            for _ in 0..6 {
                link.sender.send(segment_bytes(1 << 20)).await.unwrap();
            }
        }));
    }
    // 180 MiB are on their way, nobody takes any: at most the budget is in memory, and it's all taken.
    while world.budget.free_bytes() > 2 << 20 {
        tokio::task::yield_now().await;
    }
    let mut taking = tokio::task::JoinSet::new();
    for mut server in servers {
        taking.spawn(async move {
            let mut taken = 0;
            while server.receiver.recv().await.unwrap().is_some() {
                taken += 1;
            }
            taken
        });
    }
    assert_eq!(taking.join_all().await.iter().sum::<u32>(), 180);
    for upload in uploads {
        upload.await.unwrap();
    }
    assert_eq!(world.budget.free_bytes(), world.budget.size_bytes());
}

#[tokio::test]
async fn a_short_message_gets_through_while_the_budget_is_spent() {
    let world = World::new().await;
    let (hog, idle_hog) = world.pair().await;
    let hogging = tokio::spawn(async move { while hog.sender.send(segment_bytes(7 << 20)).await.is_ok() {} });
    while world.budget.free_bytes() > 7 << 20 {
        tokio::task::yield_now().await;
    }
    let (client, mut server) = world.pair().await;
    client.sender.send(Message::ConfigsWanted).await.unwrap();
    assert_eq!(server.receiver.recv().await.unwrap(), Some(Message::ConfigsWanted));
    drop(idle_hog);
    hogging.abort();
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let world = World::new().await;
    let address = world.address();
    let identity: Identity = world.issue(computer(7));
    drop(world.listener);
    tokio::task::yield_now().await;
    let refused = coffer_link::connect(&address, &identity, the_box(), None).await;
    assert!(matches!(refused, Err(LinkError::Unreachable { .. })), "{refused:?}");
    assert!(ByteBudget::new(1).size_bytes() >= limits::FRAME_BODY_MAX);
}
