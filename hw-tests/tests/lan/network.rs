//! A LAN of network namespaces: each machine has its own, all hang on a bridge that has one too. Nothing of it can be seen
//! from outside, nor the other way round.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::namespace::{remove, run_in, step};

static LANS: AtomicU32 = AtomicU32::new(0);

/// The bridge's namespace, and the machines' so far.
pub(crate) struct Lan {
    name: String,
    machines: Vec<String>,
}

/// A machine's namespace; it goes with its LAN.
pub(crate) struct Machine {
    space: String,
}

impl Lan {
    pub(crate) fn new() -> Lan {
        let number = LANS.fetch_add(1, Ordering::Relaxed);
        let lan = Lan { name: format!("cl{}n{number}", std::process::id()), machines: Vec::new() };
        let name = &lan.name;
        step(&format!("ip netns add {name}"));
        step(&format!("ip -n {name} link add bridge type bridge mcast_snooping 0"));
        step(&format!("ip -n {name} link set bridge up"));
        lan
    }

    /// A machine with that last number of its address.
    pub(crate) fn machine(&mut self, host: u8) -> Machine {
        let (lan, space, port) = (&self.name, format!("{}m{host}", self.name), format!("port{host}"));
        step(&format!("ip netns add {space}"));
        self.machines.push(space.clone());
        step(&format!("ip -n {lan} link add {port} type veth peer name eth0 netns {space}"));
        step(&format!("ip -n {lan} link set {port} master bridge up"));
        step(&format!("ip -n {space} link set lo up"));
        step(&format!("ip -n {space} link set eth0 up"));
        let machine = Machine { space };
        machine.take_address(host);
        machine
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for space in self.machines.iter().chain([&self.name]) {
            remove(&format!("ip netns del {space}"));
        }
    }
}

impl Machine {
    /// That address instead of what it had, as from a DHCP server.
    pub(crate) fn take_address(&self, host: u8) {
        let space = &self.space;
        step(&format!("ip -n {space} addr flush dev eth0 scope global"));
        step(&format!("ip -n {space} addr add {}/24 dev eth0", address(host)));
    }

    /// A command that is run on this machine, as ourselves.
    pub(crate) fn run(&self, command: &Command) -> Command {
        run_in(&self.space, command)
    }
}

pub(crate) fn address(host: u8) -> String {
    format!("10.214.0.{host}")
}
