//! A computer whose battery is in the test's hand.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Running, Site};

pub(crate) struct Laptop<'a> {
    site: &'a Site,
}

impl<'a> Laptop<'a> {
    /// The site's computer, on mains power.
    pub(crate) fn of(site: &'a Site) -> Laptop<'a> {
        assert!(
            can_mount(),
            "/sys can't be replaced for a process here: allow user namespaces, or run as root"
        );
        let laptop = Laptop { site };
        fs::create_dir_all(laptop.battery()).unwrap();
        fs::write(laptop.battery().join("type"), "Battery\n").unwrap();
        laptop.plug_in();
        laptop
    }

    fn battery(&self) -> PathBuf {
        self.site.path("class/power_supply/BAT0")
    }

    pub(crate) fn plug_in(&self) {
        fs::write(self.battery().join("status"), "Charging\n").unwrap();
    }

    pub(crate) fn unplug(&self) {
        fs::write(self.battery().join("status"), "Discharging\n").unwrap();
    }

    /// An agent that sees this battery instead of the machine's power supplies. The box is at `server`.
    pub(crate) fn start_agent(&self, server: &str) -> Running {
        let agent = self.site.agent("run");
        let mut command = Command::new("unshare");
        let script = "mount --bind \"$0\" /sys/class && exec \"$@\"";
        command.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(self.site.path("class"));
        command.arg(agent.get_program()).args(agent.get_args()).args(["--server", server]);
        Running::start_logged(&mut command, &self.site.agent_log())
    }
}

fn can_mount() -> bool {
    let mut trial = Command::new("unshare");
    trial.args(["--map-root-user", "--mount", "mount", "--bind", "/tmp", "/sys/class"]);
    trial.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
