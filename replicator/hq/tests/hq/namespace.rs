//! Network namespaces, which need root (or sudo without a password) and iproute2.

use std::process::Command;

/// Runs one command as root; it must succeed.
pub(crate) fn step(step: &str) {
    let output = as_root(step).output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{step}`: {why}: run the tests as root, or where sudo works");
}

/// One that may fail: what isn't there needn't go.
pub(crate) fn remove(step: &str) {
    let _gone = as_root(step).output();
}

/// A command that is run in a namespace, as ourselves.
pub(crate) fn run_in(space: &str, command: &Command) -> Command {
    let mut wrapped = as_root(&format!("ip netns exec {space}"));
    if !is_root() {
        wrapped.args(["sudo", "-n", "-E", "-u", &format!("#{}", nix::unistd::Uid::effective())]);
    }
    wrapped.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            wrapped.env(name, value);
        }
    }
    wrapped
}

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

fn as_root(step: &str) -> Command {
    let mut words = step.split(' ').map(str::to_owned).collect::<Vec<_>>();
    if !is_root() {
        words.splice(0..0, ["sudo".to_owned(), "-n".to_owned()]);
    }
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}
