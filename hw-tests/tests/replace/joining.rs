//! A box that was made without a headquarters joins one later, with all that it has.

use std::fs;

use crate::folder::{capture, change, fill, replace};
use crate::headquarters::{Headquarters, code};
use crate::support::{Site, contents, program, said, succeed};

#[test]
fn a_box_made_alone_joins_headquarters_and_can_be_replaced_from_there() {
    let (hq, dir) = Headquarters::alone();
    let mut site = Site::start_in(dir, "", &[]);
    fill(&site);
    capture(&site);
    let first = contents(&site.data());
    let join = |site: &Site, code: &str| {
        let mut join = program("cofferd");
        join.args(["join", "--hq", &hq.address, "--code", code, "--dir"]).arg(site.path("box"));
        join
    };
    let running = join(&site, &code(site.dir.path(), &[])).output().unwrap();
    assert!(!running.status.success());
    assert!(said(&running).contains("must not be running"), "{}", said(&running));
    site.kill_box();
    let told = said(&succeed(&mut join(&site, &code(site.dir.path(), &[]))));
    assert!(told.contains("HQ's recovery key opens its vault from now on"), "{told}");
    site.start_box();
    change(&site, 1);
    capture(&site);
    let second = contents(&site.data());
    hq.wait_until_whole(&site, 2);

    site.kill_box();
    fs::remove_dir_all(site.path("box")).unwrap();
    fs::create_dir(site.path("box")).unwrap();
    let code = code(site.dir.path(), &["--replace"]);
    let output = replace(&site, &["--hq", &hq.address, "--code", &code]);
    assert!(output.status.success(), "{}", said(&output));
    site.start_box();
    change(&site, 2);
    capture(&site);
    assert_eq!(contents(&site.restore(&["--point", "1"])), first);
    assert_eq!(contents(&site.restore(&["--point", "2"])), second);
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
    hq.wait_until_whole(&site, 3);
}
