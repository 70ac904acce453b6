//! The program itself: killed in the middle, stopped in good order, and what it ends with.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use coffer_link::{EnrolmentCode, enrol_branch};
use coffer_replicator::{Calendar, Rate, WanSettings};
use tempfile::TempDir;

use crate::branch::Branch;
use crate::world::{Running, settings};

pub(crate) fn coffer_hq() -> Command {
    Command::new(env!("CARGO_BIN_EXE_coffer-hq"))
}

pub(crate) fn run(dir: &Path, verb: &str, more: &[&str]) -> Output {
    coffer_hq().arg(verb).arg("--dir").arg(dir).args(more).output().unwrap()
}

pub(crate) fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap().trim().to_owned()
}

pub(crate) struct Serving {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Serving {
    pub(crate) fn start(mut command: Command, dir: &Path, listen: &str) -> Serving {
        command.arg("serve").arg("--dir").arg(dir).args(["--listen", listen, "--print-address"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Serving { address: line.trim().parse().unwrap(), child }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn terminate(mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Already gone where the test was about that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_hq_goes_on_where_it_was() {
    let dir = TempDir::new().unwrap();
    let hq = dir.path().join("hq");
    text(&run(&hq, "init", &["--name", "Example"]));
    let mut serving = Serving::start(coffer_hq(), &hq, "127.0.0.1:0");
    let address = serving.address;
    // The running server sees a code that the command line gives out.
    let code: EnrolmentCode = text(&run(&hq, "code", &["--branch", "leeds"])).parse().unwrap();
    let enrolled = enrol_branch(&address.to_string(), &code, "leeds", &dir.path().join("box")).await.unwrap();
    let mut branch = Branch::of(&enrolled);
    let point = branch.first_copy(200, 1);
    branch.vault.roll().unwrap();
    let calendar = Calendar::always(Rate::bits(8_000_000));
    let settings = WanSettings { calendar, ..settings(address, &enrolled.identity, "leeds") };
    let running = Running::start(branch.vault.clone(), settings);
    for part in 1..5 {
        let enough = branch.durable_bytes() * part / 5;
        running.until(|status| status.receipted_bytes >= enough).await;
        serving.child.kill().unwrap();
        serving.child.wait().unwrap();
        serving = Serving::start(coffer_hq(), &hq, &address.to_string());
    }
    let status = running.until_whole(1, point).await;
    assert!(status.receipted_bytes <= branch.durable_bytes(), "no byte is receipted twice");
    running.stop().await;
    assert_eq!(serving.terminate(), Some(0));
    for state in branch.vault.segments().unwrap().iter().filter(|state| state.closed) {
        let there =
            std::fs::read(hq.join(format!("branches/leeds/segments/{:016x}.seg", state.segment.0))).unwrap();
        assert!(there == branch.bytes_of(state.segment), "segment {}", state.segment);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_gives_no_code_for_a_branch_in_use_unless_it_is_to_be_replaced() {
    let dir = TempDir::new().unwrap();
    let hq = dir.path().join("hq");
    text(&run(&hq, "init", &["--name", "Example"]));
    let serving = Serving::start(coffer_hq(), &hq, "127.0.0.1:0");
    let code: EnrolmentCode = text(&run(&hq, "code", &["--branch", "leeds"])).parse().unwrap();
    enrol_branch(&serving.address.to_string(), &code, "leeds", &dir.path().join("box")).await.unwrap();

    let plain = run(&hq, "code", &["--branch", "leeds"]);
    assert_eq!((plain.status.code(), plain.stdout.len()), (Some(6), 0));
    assert!(String::from_utf8_lossy(&plain.stderr).contains("--replace"), "it says what to do");
    let replacing = run(&hq, "code", &["--branch", "leeds", "--replace"]);
    let warning = String::from_utf8_lossy(&replacing.stderr);
    assert!(warning.contains("is refused by HQ"), "{warning}");
    text(&replacing).parse::<EnrolmentCode>().unwrap();
}

#[test]
fn exit_codes_are_as_documented() {
    let dir = TempDir::new().unwrap();
    let hq = dir.path().join("hq");
    let made = run(&hq, "init", &["--name", "Example"]);
    assert!(String::from_utf8_lossy(&made.stderr).contains("recovery.key"), "the key is spoken of loudly");
    let code = |output: Output| output.status.code();
    assert_eq!(code(made), Some(0));
    assert_eq!(code(run(&hq, "init", &["--name", "Example"])), Some(3));
    assert_eq!(code(run(&dir.path().join("nothing"), "code", &["--branch", "x"])), Some(1));
    assert_eq!(code(run(&hq, "code", &["--branch", "../x"])), Some(6));
    assert_eq!(code(run(&hq, "serve", &["--listen", "203.0.113.1:1"])), Some(5));
    assert_eq!(code(run(&hq, "code", &[])), Some(2));
    std::fs::write(hq.join("organisation.toml"), "nonsense").unwrap();
    assert_eq!(code(run(&hq, "code", &["--branch", "x"])), Some(0), "it comes back from its second copy");
    for path in ["organisation.toml", "second/organisation.toml"] {
        std::fs::write(hq.join(path), "nonsense").unwrap();
    }
    std::fs::remove_file(hq.join("second/BLAKE3SUMS")).unwrap();
    assert_eq!(code(run(&hq, "code", &["--branch", "x"])), Some(4));
}
