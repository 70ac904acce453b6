//! From a typed code to an identity on disk.

use std::time::SystemTime;

use coffer_format::wire::{Message, RefusalCode};
use coffer_format::{ComputerId, OrgId, VaultId};
use coffer_link::{
    EnrolmentCode, Identity, Link, LinkError, Role, enrol_branch, enrol_computer, refuse, secret_hash,
};

use crate::world::{DAY, World, computer};

/// Takes one enrolment, as a server that gave out `code` would; certifies whoever knows the secret as `role`.
async fn serve_enrolment(world: &World, code: &EnrolmentCode, role: Role) -> Link {
    let mut link = world.listener.accept().await.unwrap();
    assert_eq!(link.peer.role, None);
    let Some(Message::Enrol { secret, csr, .. }) = link.receiver.recv().await.unwrap() else {
        panic!("no request")
    };
    let answer = if secret_hash(&secret) == secret_hash(&code.secret) {
        let certificate =
            world.authority.sign_request(&csr, &role, DAY, SystemTime::now() - DAY / 2).unwrap();
        enrolled(role, certificate)
    } else {
        refuse(RefusalCode::WrongCode, "This code isn't valid here: ask for a new one.")
    };
    link.sender.send(answer).await.unwrap();
    link
}

fn enrolled(role: Role, certificate: Vec<u8>) -> Message {
    let (certificate, org, chunk_key) = (certificate.into(), OrgId([2; 16]), [3; 32]);
    match role {
        Role::Branch(branch) => {
            Message::EnrolledBranch { certificate, branch, org, chunk_key, recovery_key: [4; 32] }
        }
        _ => {
            let (computer, vault) = (ComputerId(7), VaultId([0xb0; 16]));
            Message::Enrolled { computer, certificate, vault, org, chunk_key }
        }
    }
}

#[tokio::test]
async fn a_code_becomes_a_computer() {
    let world = World::new().await;
    let code: EnrolmentCode = EnrolmentCode::new(&world.authority).unwrap().to_string().parse().unwrap();
    let (dir, address) = (world.dir.path().join("agent"), world.address());
    let enrolling = enrol_computer(&address, &code, "till 3", "Windows 11", &dir);
    let (enrolled, _) = tokio::join!(enrolling, serve_enrolment(&world, &code, computer(7)));
    let enrolled = enrolled.unwrap();
    assert_eq!(
        (enrolled.computer, enrolled.org, enrolled.chunk_key),
        (ComputerId(7), OrgId([2; 16]), [3; 32])
    );

    let identity = Identity::load(&dir).unwrap();
    let _client = world.connect_as(&identity).await.unwrap();
    let peer = world.listener.accept().await.unwrap().peer;
    assert_eq!(
        (peer.role, peer.certificate),
        (Some(computer(7)), Some(enrolled.identity.certificate_hash()))
    );
}

#[tokio::test]
async fn a_code_becomes_a_branch() {
    let world = World::new().await;
    let code = EnrolmentCode::new(&world.authority).unwrap();
    let (dir, address) = (world.dir.path().join("branch"), world.address());
    let role = Role::Branch("leeds".into());
    let enrolling = enrol_branch(&address, &code, "leeds", &dir);
    let (enrolled, _) = tokio::join!(enrolling, serve_enrolment(&world, &code, role.clone()));
    let enrolled = enrolled.unwrap();
    assert_eq!((enrolled.branch.as_str(), enrolled.recovery_key), ("leeds", [4; 32]));
    assert_eq!(Identity::load(&dir).unwrap().role(), role);
}

#[tokio::test]
async fn a_used_up_code_is_refused_with_the_servers_sentence() {
    let world = World::new().await;
    let (code, other) =
        (EnrolmentCode::new(&world.authority).unwrap(), EnrolmentCode::new(&world.authority).unwrap());
    let (dir, address) = (world.dir.path().join("agent"), world.address());
    let enrolling = enrol_computer(&address, &other, "till 3", "Windows 11", &dir);
    let (refused, _) = tokio::join!(enrolling, serve_enrolment(&world, &code, computer(7)));
    let Err(LinkError::Refused(refusal)) = refused else { panic!("{refused:?}") };
    assert_eq!(refusal.code, RefusalCode::WrongCode);
    assert!(!dir.exists());
}

#[tokio::test]
async fn the_secret_is_not_told_to_another_box() {
    let (world, other) = (World::new().await, World::new().await);
    let code = EnrolmentCode::new(&world.authority).unwrap();
    let refused =
        enrol_computer(&other.address(), &code, "till 3", "Linux", &world.dir.path().join("agent")).await;
    assert!(matches!(refused, Err(LinkError::OtherBox { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_certificate_for_another_role_is_not_taken() {
    let world = World::new().await;
    let code = EnrolmentCode::new(&world.authority).unwrap();
    let (dir, address) = (world.dir.path().join("agent"), world.address());
    let enrolling = enrol_computer(&address, &code, "till 3", "Windows 11", &dir);
    let (refused, _) = tokio::join!(enrolling, serve_enrolment(&world, &code, computer(8)));
    assert!(matches!(refused, Err(LinkError::OtherRole { .. })), "{refused:?}");
    assert!(!dir.exists());
}
