//! HQ's disk is full: box and HQ say so, and go on by themselves once there is room.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use coffer_format::segment::Stream;
use coffer_link::{EnrolmentCode, Identity, Role, connect, enrol_branch};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::branch::{Branch, noise};
use crate::kill::{Serving, coffer_hq, run, text};
use crate::restored::restore;
use crate::world::{LONG, Running, ask, select, settings};

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

/// A folder on a small disk of its own, which lasts as long as this does.
struct SmallDisk {
    holder: Child,
    folder: PathBuf,
}

impl SmallDisk {
    fn of(folder: &Path) -> SmallDisk {
        let script = "cp -a \"$0\" \"$0.copy\" && mount -t tmpfs -o size=12m tmpfs \"$0\" && cp -a \"$0.copy/.\" \"$0\" && echo ready && exec cat";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(folder);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        SmallDisk { holder, folder: folder.into() }
    }

    /// A command that sees the disk.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id())).arg(program);
        command
    }

    fn shell(&self, script: &str) {
        assert!(self.command("sh").args(["-c", script]).arg(&self.folder).status().unwrap().success());
    }

    fn fill(&self) {
        self.shell("cat /dev/zero >> \"$0/filler\" 2>/dev/null; true");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// What is there can be verified and restored though nothing can be written, also after HQ was started anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_restored_from() {
    let dir = TempDir::new().unwrap();
    let hq = dir.path().join("hq");
    text(&run(&hq, "init", &["--name", "Example"]));
    text(&run(&hq, "operator", &["--name", "desk", "--out", dir.path().join("desk").to_str().unwrap()]));
    let disk = SmallDisk::of(&hq);
    let serving = Serving::start(disk.command(coffer_hq().get_program()), &hq, "127.0.0.1:0");
    let mut code = disk.command(coffer_hq().get_program());
    let code = code.args(["code", "--branch", "leeds", "--dir"]).arg(&hq).output().unwrap();
    let code: EnrolmentCode = text(&code).parse().unwrap();
    let address = serving.address.to_string();
    let enrolled = enrol_branch(&address, &code, "leeds", &dir.path().join("box")).await.unwrap();
    let mut branch = Branch::of(&enrolled);
    let first = branch.back_up(Stream::Bulk, &[("one", noise(1, 300_000))]);
    branch.vault.roll().unwrap();
    let settings = settings(serving.address, &enrolled.identity, "leeds");
    let running = Running::start(branch.vault.clone(), settings.clone());
    running.until_whole(1, first).await;

    disk.fill();
    let second = branch.back_up(Stream::Bulk, &[("two", noise(2, 6_000_000))]);
    branch.vault.roll().unwrap();
    running.until(|status| status.hq_is_full).await;
    let identity = Identity::load(&dir.path().join("desk")).unwrap();
    assert_can_be_restored(&address, &identity, &branch, first).await;
    running.stop().await;

    assert_eq!(serving.terminate(), Some(0));
    disk.fill();
    let serving = Serving::start(disk.command(coffer_hq().get_program()), &hq, &address);
    assert_can_be_restored(&address, &identity, &branch, first).await;
    let running = Running::start(branch.vault.clone(), settings);
    running.until(|status| status.hq_is_full).await;
    assert_can_be_restored(&address, &identity, &branch, first).await;

    disk.shell("rm \"$0/filler\"");
    running.until_whole(1, second).await;
    // Nor does enrolling wait for anybody: HQ wasn't started again.
    let mut code = disk.command(coffer_hq().get_program());
    let code = code.args(["code", "--branch", "york", "--dir"]).arg(&hq).output().unwrap();
    let code: EnrolmentCode = text(&code).parse().unwrap();
    let enrolling =
        async { while enrol_branch(&address, &code, "york", &dir.path().join("other")).await.is_err() {} };
    timeout(LONG, enrolling).await.expect("York is enrolled");
    assert_can_be_restored(&address, &identity, &branch, second).await;
    running.stop().await;

    // One that takes no writes at all is as good.
    assert_eq!(serving.terminate(), Some(0));
    disk.shell("mount -o remount,ro \"$0\"");
    let serving = Serving::start(disk.command(coffer_hq().get_program()), &hq, &address);
    assert_can_be_restored(&address, &identity, &branch, second).await;
    let mut desk = connect(&address, &identity, Role::Hq, None).await.unwrap();
    let told = ask(&mut desk, json!({ "hq": "branches" })).await;
    assert!(told[0]["sentence"].as_str().unwrap().contains("HQ's disk takes no writes"), "{told}");
    drop(serving);
}

async fn assert_can_be_restored(address: &str, identity: &Identity, branch: &Branch, point: u64) {
    let mut desk = connect(address, identity, Role::Hq, None).await.unwrap();
    select(&mut desk, "leeds").await;
    let report = ask(&mut desk, json!({ "do": "verify" })).await;
    assert_eq!(report["lost_count"], 0, "{report}");
    // A newer point's metadata may have fitted.
    let touched = report["touched"].as_array().unwrap();
    assert!(touched.iter().all(|one| one["since"].as_u64() > Some(point)), "{report}");
    let restored = restore(&mut desk, branch.config, point, &[]).await;
    assert_eq!(restored.as_ref(), Ok(&branch.points[&point]));
}
