//! Where the metadata that names folders is lost, what lies in them is given all the same.

use coffer_format::node::NodeKind;
use coffer_format::{NodeId, PointSeq};
use coffer_vault::lost_found::NAME;
use coffer_vault::query::{Query, When, Which};
use coffer_vault::restore::Wanted;
use serde_json::Value;

use crate::absence::{metadata_of, records_in};
use crate::support::Random;
use crate::support::agent::{Agent, PAGE};
use crate::support::fixture::{Fixture, enrol};
use crate::support::restored::{everything, restore_all_there_is};

const ROOT: NodeId = NodeId::ROOT;

#[test]
fn what_lies_in_folders_whose_names_are_lost_is_given_by_number() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    vault.roll().unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    let mut random = Random::new(7);
    let docs = agent.make(NodeKind::Directory, ROOT, "docs");
    let changed = agent.make_file(docs, "changed", random.bytes(PAGE));
    agent.close().unwrap();
    vault.roll().unwrap();
    let later = agent.make(NodeKind::Directory, docs, "later");
    agent.make_file(later, "deep", random.bytes(PAGE));
    agent.make_file(docs, "new", random.bytes(3 * PAGE));
    agent.make_file(ROOT, "apart", random.bytes(PAGE));
    agent.rewrite(changed, random.bytes(2 * PAGE));
    agent.close().unwrap();
    vault.roll().unwrap();
    let memory = agent.leave();
    let paths = memory.points[&PointSeq(2)].clone();
    let first = metadata_of(&vault)[1];
    drop(vault);
    let path = fixture.segment_path(first.0);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = records_in(&bytes)[0] + 40;
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    fixture.delete_catalog();

    let vault = fixture.open();
    let reading = vault.reading();
    let (found, left_out) = restore_all_there_is(reading, &everything(config, PointSeq(2))).unwrap();
    let (folder, file) = (format!("{NAME}/#{}", docs.0), format!("{NAME}/#{}", changed.0));
    let expected = [
        ("apart".to_owned(), "apart"),
        (format!("{folder}/later/deep"), "docs/later/deep"),
        (format!("{folder}/new"), "docs/new"),
        (file.clone(), "docs/changed"),
    ];
    for (path, was) in &expected {
        let one =
            found.get(path.as_bytes()).unwrap_or_else(|| panic!("{path} is missing: {:?}", found.keys()));
        assert!(one.bytes == *paths[was.as_bytes()].1.bytes, "{path}");
    }
    let files = found.values().filter(|one| one.kind == NodeKind::File).count();
    assert_eq!(files, expected.len());
    assert!(left_out[NAME.as_bytes()].what.contains("by a number"), "{left_out:?}");
    assert!(left_out[&b"/"[..]].what.contains("may be older"), "{left_out:?}");

    // By name too, and whoever asks for the folder hears where it may be.
    let named = |path: &str| {
        let paths = vec![path.as_bytes().to_vec()];
        restore_all_there_is(reading, &Wanted { paths, ..everything(config, PointSeq(2)) })
    };
    let (one, _) = named(&format!("{folder}/new")).unwrap();
    assert!(one[format!("{folder}/new").as_bytes()].bytes == *paths[&b"docs/new"[..]].1.bytes);
    let error = named("docs/new").unwrap_err();
    assert!(error.to_string().contains(NAME), "{error}");

    let config = || Which::Number(config.0);
    let names = |answer: Value| -> Vec<String> {
        answer.as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap().to_owned()).collect()
    };
    let listed = |path: &str| {
        let query = Query::List { config: config(), when: When::Newest, path: path.to_owned() };
        names(reading.answer_marked(&query).unwrap())
    };
    assert_eq!(listed("/"), ["apart", NAME]);
    assert_eq!(listed(NAME), [format!("#{}", docs.0), format!("#{}", changed.0)]);
    assert_eq!(listed(&file), [format!("#{}", changed.0)]);
    assert_eq!(listed(&folder), ["later", "new"]);
    let find = Query::Find {
        config: config(),
        when: When::Newest,
        path: "/".to_owned(),
        pattern: "deep".to_owned(),
    };
    assert_eq!(names(reading.answer_marked(&find).unwrap()), [format!("/{folder}/later/deep")]);
}
