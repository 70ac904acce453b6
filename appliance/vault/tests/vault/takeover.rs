//! One computer over two connections: what the one that it has given up still brings doesn't disturb the other.

use std::sync::mpsc::sync_channel;

use coffer_format::wire::RefusalCode;
use coffer_format::{PartNo, PointSeq};
use coffer_vault::{Session, Standing};

use crate::support::fixture::{Fixture, enrol};

fn due(standing: &Standing) -> (PointSeq, PartNo) {
    standing.draft.map_or((PointSeq(standing.head.0 + 1), PartNo(0)), |draft| (draft.point, draft.parts))
}

#[test]
fn a_part_that_comes_after_another_session_began_is_refused() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let session = || Session::new(vault.clone(), computer);
    let (mut old, mut new) = (session(), session());
    old.begin(config).unwrap();
    let late = old.prepare_part(config, PointSeq(1), PartNo(0), Vec::new(), None).unwrap();
    let standing = new.begin(config).unwrap();
    assert_eq!(late.commit().unwrap_err().refusal().code, RefusalCode::Busy);
    let (point, part) = due(&standing);
    new.commit_part(config, point, part, Vec::new(), None).unwrap();
    // Who begins again is the last one.
    let (point, part) = due(&old.begin(config).unwrap());
    assert_eq!((point, part), (PointSeq(1), PartNo(1)));
    old.commit_part(config, point, part, Vec::new(), None).unwrap();
}

/// Whatever the old session gets in before the new one begins is in what that one is told.
#[test]
fn what_a_new_session_is_told_is_what_is_due() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    for _ in 0..20 {
        let mut old = Session::new(vault.clone(), computer);
        let (point, first) = due(&old.begin(config).unwrap());
        let (commits, under_way) = sync_channel(1);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for part in first.0.. {
                    let prepared = old.prepare_part(config, point, PartNo(part), Vec::new(), None).unwrap();
                    // Nobody looks any more once the new one has begun.
                    commits.try_send(()).ok();
                    if let Err(error) = prepared.commit() {
                        assert_eq!(error.refusal().code, RefusalCode::Busy);
                        return;
                    }
                }
            });
            under_way.recv().unwrap();
            let mut new = Session::new(vault.clone(), computer);
            let (point, part) = due(&new.begin(config).unwrap());
            new.commit_part(config, point, part, Vec::new(), None).unwrap();
        });
    }
}
