//! HQ's disk is full: box and HQ say so, and go on by themselves once there is room.

use std::process::Command;

use coffer_link::{EnrolmentCode, Identity, Role, connect, enrol_branch};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::branch::Branch;
use crate::kill::{Serving, coffer_hq, run, text};
use crate::world::{LONG, Running, ask, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_as_such_and_waited_for() {
    let dir = TempDir::new().unwrap();
    let hq = dir.path().join("hq");
    text(&run(&hq, "init", &["--name", "Example"]));
    text(&run(&hq, "operator", &["--name", "desk", "--out", dir.path().join("desk").to_str().unwrap()]));
    // The branches alone are on a small disk, which nobody else sees.
    let script = "mount -t tmpfs -o size=600k tmpfs \"$0\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(hq.join("branches"));
    command.arg(coffer_hq().get_program());
    let serving = Serving::start(command, &hq, "127.0.0.1:0");
    let code: EnrolmentCode = text(&run(&hq, "code", &["--branch", "leeds"])).parse().unwrap();
    let address = serving.address.to_string();
    let enrolled = enrol_branch(&address, &code, "leeds", &dir.path().join("box")).await.unwrap();
    let mut branch = Branch::of(&enrolled);
    let point = branch.first_copy(200, 1);
    branch.vault.roll().unwrap();
    assert!(branch.durable_bytes() > 1 << 20, "more than fits");

    let running =
        Running::start(branch.vault.clone(), settings(serving.address, &enrolled.identity, "leeds"));
    let status = running.until(|status| status.hq_is_full).await;
    assert!(status.behind_bytes != Some(0));
    let identity = Identity::load(&dir.path().join("desk")).unwrap();
    let mut desk = connect(&address, &identity, Role::Hq, None).await.unwrap();
    // What just fits is taken now and then, so one look may come between two refusals.
    let told = async {
        while !ask(&mut desk, json!({ "hq": "branches" })).await.to_string().contains("disk is full") {}
    };
    timeout(LONG, told).await.expect("HQ says that its disk is full");

    let mut room = Command::new("nsenter");
    room.arg(format!("--mount=/proc/{}/ns/mnt", serving.pid())).args(["mount", "-o", "remount,size=64m"]);
    assert!(room.arg(hq.join("branches")).status().unwrap().success());
    let status = running.until_whole(1, point).await;
    assert!(!status.hq_is_full);
    running.stop().await;
}
