//! Who the two ends see, and whom a client insists on.

use coffer_format::VaultId;
use coffer_link::{Authority, Expect, Identity, LinkError, Message, Role, connect};
use tempfile::TempDir;

use crate::world::{DAY, World, computer, the_box};

#[tokio::test]
async fn both_ends_know_the_other_by_its_certificate() {
    let world = World::new().await;
    let identity = world.issue(computer(7));
    let client = world.connect_as(&identity).await.unwrap();
    let server = world.listener.accept().await.unwrap();
    assert_eq!(server.peer.role, Some(computer(7)));
    assert_eq!(server.peer.certificate, Some(identity.certificate_hash()));
    assert_eq!(client.peer.role, Some(the_box()));
    assert_eq!(client.peer.address, world.listener.local_addr());
}

#[tokio::test]
async fn every_role_can_be_a_client() {
    let world = World::new().await;
    for role in
        [computer(1), Role::Operator("anna".into()), Role::Branch("leeds".into()), the_box(), Role::Hq]
    {
        let _client = world.connect_as(&world.issue(role.clone())).await.unwrap();
        assert_eq!(world.listener.accept().await.unwrap().peer.role, Some(role));
    }
}

#[tokio::test]
async fn a_client_insists_on_the_role_it_expects() {
    let world = World::new().await;
    let identity = world.issue(computer(7));
    let other = Role::Box(VaultId([1; 16]));
    let refused = connect(&world.address(), &identity, other, None).await;
    let Err(error @ LinkError::OtherRole { .. }) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains(&the_box().to_string()), "{error}");
    assert!(connect(&world.address(), &identity, Expect::AnyBox, None).await.is_ok());
    let refused = connect(&world.address(), &identity, Role::Hq, None).await;
    assert!(matches!(refused, Err(LinkError::OtherRole { .. })));
}

#[tokio::test]
async fn a_computer_cannot_pose_as_a_box() {
    let world = World::new().await;
    let impostor = Identity::issue(&world.authority, computer(8), DAY).unwrap();
    let client = world.issue(computer(7));
    let impostors = World::with_server(TempDir::new().unwrap(), world.authority, &impostor, &[]).await;
    // TLS itself refuses already: such a certificate isn't for servers.
    let refused = connect(&impostors.address(), &client, Expect::AnyBox, None).await;
    assert!(matches!(refused, Err(LinkError::OtherBox { .. })), "{refused:?}");
}

#[tokio::test]
async fn another_authority_vouches_for_operators_but_not_for_computers() {
    let dir = TempDir::new().unwrap();
    let hq = Authority::create(&dir.path().join("hq"), "HQ").unwrap();
    let world = World::trusting(&[hq.certificate_der().to_vec()]).await;
    let help_desk = client_of(&hq, &world, Role::Operator("help desk".into()));
    let _link = world.connect_as(&help_desk).await.unwrap();
    assert_eq!(world.listener.accept().await.unwrap().peer.role, Some(help_desk.role()));

    let mut link = world.connect_as(&client_of(&hq, &world, computer(7))).await.unwrap();
    let refused = link.receiver.recv().await;
    assert!(matches!(refused, Err(LinkError::NotTrusted { .. })), "{refused:?}");
    let refused = link.sender.send(Message::ConfigsWanted).await;
    assert!(matches!(refused, Err(LinkError::NotTrusted { .. })), "{refused:?}");
}

/// An identity that `issuer` issued and whose holder trusts the world's box.
fn client_of(issuer: &Authority, world: &World, role: Role) -> Identity {
    let identity = Identity::issue(issuer, role, DAY).unwrap();
    identity.trusting(world.authority.certificate_der()).unwrap()
}
