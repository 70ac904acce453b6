//! What goes in comes out, now and after the catalog is gone.

use coffer_format::node::NodeKind;
use coffer_format::{NodeId, PointSeq};

use crate::support::Random;
use crate::support::agent::{Agent, PAGE};
use crate::support::fixture::{Fixture, enrol};
use crate::support::restored;

const ROOT: NodeId = NodeId::ROOT;

/// A few points with every kind of change in them.
fn history(agent: &mut Agent) {
    let mut random = Random::new(1);
    let docs = agent.make(NodeKind::Directory, ROOT, "docs");
    let big = agent.make_file(docs, "big.db", random.bytes(40 * PAGE + 17));
    let letter = agent.make_file(docs, "letter.txt", b"Dear Sir or Madam".to_vec());
    agent.make_file(ROOT, "empty", Vec::new());
    agent.make_file(ROOT, "zeros", vec![0; 3 * PAGE]);
    agent.make(NodeKind::Symlink, ROOT, "link");
    agent.close().unwrap();

    agent.overwrite(big, 7 * PAGE, &random.bytes(PAGE));
    agent.insert(letter, 5, b"est");
    agent.link(ROOT, "letter-too", letter);
    agent.close().unwrap();

    agent.truncate(big, 30 * PAGE);
    agent.commit(false).unwrap();
    agent.hole(big, 2 * PAGE, PAGE);
    agent.rename(docs, b"letter.txt", ROOT, "moved.txt", true);
    agent.commit(false).unwrap();
    let attic = agent.make(NodeKind::Directory, ROOT, "attic");
    agent.rename(ROOT, b"docs", attic, "papers", true);
    agent.close().unwrap();

    agent.insert(big, 3, &random.bytes(100));
    agent.delete(ROOT, b"empty");
    agent.close().unwrap();
    agent.delete(ROOT, b"attic");
    agent.close().unwrap();
}

#[test]
fn every_point_comes_back_bit_for_bit() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    history(&mut agent);
    agent.check_all().unwrap();

    let memory = agent.leave();
    drop(vault);
    let vault = fixture.open();
    for (point, model) in &memory.points {
        restored::check_point(vault.reading(), config, *point, model).unwrap();
    }
}

#[test]
fn the_catalog_can_be_deleted() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    history(&mut agent);
    vault.roll().unwrap();
    let memory = agent.leave();
    drop(vault);
    let before = fixture.open().dump_catalog().unwrap();

    fixture.delete_catalog();
    let vault = fixture.open();
    let after = vault.dump_catalog().unwrap();
    assert!(before == after, "{before}\n=====\n{after}");
    for (point, model) in &memory.points {
        restored::check_point(vault.reading(), config, *point, model).unwrap();
    }
}

#[test]
fn history_can_be_looked_at() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    history(&mut agent);
    let reading = vault.reading();

    assert_eq!(reading.points(config).unwrap().len(), 5);
    assert_eq!(reading.point_at(config, None).unwrap(), PointSeq(5));
    let mut names = Vec::new();
    reading
        .walk(config, PointSeq(3), ROOT, &mut |path, _| {
            names.push(String::from_utf8_lossy(path).into_owned());
            Ok(())
        })
        .unwrap();
    names.sort();
    let expected =
        ["attic", "attic/papers", "attic/papers/big.db", "empty", "letter-too", "link", "moved.txt", "zeros"];
    assert_eq!(names, expected);

    let versions = reading.versions(config, b"docs/big.db").unwrap();
    assert_eq!(versions.iter().map(|v| (v.since, v.until)).collect::<Vec<_>>(), [(2, Some(3)), (1, Some(2))]);
    let versions = reading.versions(config, b"attic/papers/big.db").unwrap();
    assert_eq!(versions.iter().map(|v| (v.since, v.until)).collect::<Vec<_>>(), [(4, Some(5)), (3, Some(4))]);
    assert!(reading.lookup(config, PointSeq(4), b"empty").is_err());
    assert!(reading.lookup(config, PointSeq(3), b"docs").is_err());
    assert_eq!(reading.lookup(config, PointSeq(5), b"link").unwrap().kind, NodeKind::Symlink);

    let mut wanted = restored::everything(config, PointSeq(3));
    wanted.paths = vec![b"attic/papers/big.db".to_vec(), b"zeros".to_vec()];
    let found = restored::restore(reading, &wanted).unwrap();
    let paths: Vec<_> = found.keys().map(|path| String::from_utf8_lossy(path)).collect();
    assert_eq!(paths, ["attic", "attic/papers", "attic/papers/big.db", "zeros"]);
}
