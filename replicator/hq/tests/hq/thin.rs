//! A real thin line: a network namespace and a token bucket of 56 kbit/s.

use std::time::Instant;

use coffer_format::segment::Stream;
use coffer_link::{EnrolmentCode, enrol_branch};
use coffer_replicator::{Calendar, Patience, Rate, WanSettings};
use tempfile::TempDir;

use crate::branch::{Branch, noise};
use crate::kill::{Serving, coffer_hq, run, text};
use crate::namespace::{remove, run_in, step};
use crate::world::{Running, settings};

const RATE: u64 = 7000;

/// A namespace with one end of the line in it.
struct ThinLine {
    name: String,
    near: String,
    net: u32,
}

impl ThinLine {
    fn new() -> ThinLine {
        let pid = std::process::id();
        let line = ThinLine { name: format!("coffer{pid}"), near: format!("cof{pid}a"), net: pid % 250 };
        let far = format!("cof{pid}b");
        let (name, near, net) = (&line.name, &line.near, line.net);
        let steps = [
            format!("ip netns add {name}"),
            format!("ip link add {near} type veth peer name {far}"),
            format!("ip link set {far} netns {name}"),
            format!("ip addr add 10.213.{net}.1/30 dev {near}"),
            format!("ip netns exec {name} ip addr add 10.213.{net}.2/30 dev {far}"),
            format!("ip link set {near} up"),
            format!("ip netns exec {name} ip link set {far} up"),
            format!("tc qdisc add dev {near} root tbf rate 56kbit burst 3200 latency 400ms"),
            format!(
                "ip netns exec {name} tc qdisc add dev {far} root tbf rate 56kbit burst 3200 latency 400ms"
            ),
        ];
        // `line` is taken down again by its drop if a step fails.
        for one in &steps {
            step(one);
        }
        line
    }

    /// Bytes on the wire so far, both ways, with Ethernet headers.
    fn wire_bytes(&self) -> u64 {
        let count = |name: &str| {
            let path = format!("/sys/class/net/{}/statistics/{name}_bytes", self.near);
            std::fs::read_to_string(path).unwrap().trim().parse::<u64>().unwrap()
        };
        count("tx") + count("rx")
    }
}

impl Drop for ThinLine {
    fn drop(&mut self) {
        remove(&format!("ip link del {}", self.near));
        remove(&format!("ip netns del {}", self.name));
    }
}

/// A change of 8 KiB gets past the bulk within seconds, and the line carries no more than its budget.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_gets_through_56_kbit_while_bulk_waits() {
    let line = ThinLine::new();
    let dir = TempDir::new().unwrap();
    let hq = dir.path().join("hq");
    text(&run(&hq, "init", &["--name", "Example"]));
    let command = run_in(&line.name, &coffer_hq());
    let serving = Serving::start(command, &hq, &format!("10.213.{}.2:0", line.net));
    let code: EnrolmentCode = text(&run(&hq, "code", &["--branch", "leeds"])).parse().unwrap();
    let enrolled =
        enrol_branch(&serving.address.to_string(), &code, "leeds", &dir.path().join("box")).await.unwrap();
    let mut branch = Branch::of(&enrolled);
    branch.back_up(Stream::Bulk, &[("big", noise(1, 2_000_000))]);

    let (started, before) = (Instant::now(), line.wire_bytes());
    let mut settings = settings(serving.address, &enrolled.identity, "leeds");
    settings.patience = Patience::default();
    settings = WanSettings { calendar: Calendar::always(Rate::bits(8 * RATE)), ..settings };
    let running = Running::start(branch.vault.clone(), settings);
    running.until(|status| status.receipted_bytes > 15_000).await;

    let changed = Instant::now();
    branch.back_up(Stream::Fresh, &[("small", noise(2, 8192))]);
    running.job.wake();
    let fresh = *branch.vault.segments().unwrap().iter().find(|state| state.stream == Stream::Fresh).unwrap();
    let there = hq.join(format!("branches/leeds/segments/{:016x}.seg", fresh.segment.0));
    let arrived = |_: &_| std::fs::metadata(&there).is_ok_and(|meta| meta.len() >= fresh.bytes);
    let status = running.until(arrived).await;
    let (seconds, wire) = (started.elapsed().as_secs_f64(), line.wire_bytes() - before);
    let change_seconds = changed.elapsed().as_secs_f64();
    eprintln!(
        "the change took {change_seconds:.1} s; {wire} bytes on the wire in {seconds:.1} s; counted {}",
        status.sent_bytes + status.received_bytes
    );
    running.stop().await;

    assert!(status.behind_bytes.unwrap() > 1_000_000, "bulk still waits");
    assert!(change_seconds < 12.0, "the change took {change_seconds} s");
    let budget = RATE as f64 * seconds + 6400.0;
    assert!(wire as f64 <= budget * 1.05, "{wire} bytes on the wire, {budget} allowed");
}
