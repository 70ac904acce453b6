//! A box and an agent with an included folder, a folder that a link leads to, and a volume of its own that's mounted below.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::absence::{ADDED, Absence, NO_LIBRARY};
use crate::headquarters::Headquarters;
use crate::support::{Running, Site, bytes, contents, program, succeed};

pub(crate) type Tree = BTreeMap<PathBuf, blake3::Hash>;

pub(crate) struct World {
    hq: Option<Headquarters>,
    pub(crate) site: Site,
    /// Mounts that nobody else sees; programs of the computer run in it.
    space: Running,
    last: Option<Output>,
    /// What the first point had.
    pub(crate) had: Tree,
}

impl World {
    /// Everything that was asked for is there, and in a point.
    pub(crate) fn prepare(absence: Absence) -> World {
        let (hq, site) = match absence {
            Absence::Hq => {
                let (hq, site) = Headquarters::with_site(NO_LIBRARY);
                (Some(hq), site)
            }
            _ => (None, Site::start_with(NO_LIBRARY)),
        };
        let mut space = Command::new("unshare");
        space.args(["--mount", "--propagation", "private", "sh", "-c", "echo ready; exec sleep infinity"]);
        let mut space = Running::start(space.stdout(Stdio::piped()));
        assert!(space.first_line().is_some(), "there's no namespace of its own for mounts");
        let mut world = World { hq, site, space, last: None, had: Tree::new() };
        for folder in ["data/docs", "data/volume", "linked", "other"] {
            fs::create_dir_all(world.path(folder)).unwrap();
        }
        std::os::unix::fs::symlink(world.path("linked"), world.path("way")).unwrap();
        world.mount();
        for number in 0..20 {
            for folder in ["data/docs", "linked", "other"] {
                fs::write(world.path(folder).join(format!("file-{number}")), bytes(number, 4000)).unwrap();
            }
        }
        world.inside(
            "sh",
            &[
                "-c",
                "for n in 1 2 3 4 5; do echo $n > \"$0\"/on-volume-$n; done",
                &world.shown("data/volume"),
            ],
        );
        let include = ["data", "way", "other"].map(|name| world.path(name));
        world.site.configure(&format!("include = {include:?}\nwhen = \"manual\"\n"));
        world.capture();
        world.had = world.restore_newest();
        assert_eq!(world.had.len(), 65, "{:?}", world.last);
        if world.hq.is_some() {
            // A person who is asked at once has no use for patience.
            world.change_settings(&[("[hq]".into(), "[hq]\naway_minutes = 0".into())]);
            world.wait_for_hq();
        }
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.site.path(name)
    }

    pub(crate) fn shown(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Mounts the volume, which is made the first time.
    pub(crate) fn mount(&self) {
        let image = self.path("volume.img");
        if !image.exists() {
            fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
            succeed(Command::new("mkfs.ext4").arg("-q").arg(&image));
        }
        self.inside("mount", &["-o", "loop", image.to_str().unwrap(), &self.shown("data/volume")]);
    }

    pub(crate) fn unmount(&self) {
        self.inside("umount", &[&self.shown("data/volume")]);
    }

    /// Runs a program where the computer's mounts are seen.
    fn inside(&self, program: &str, words: &[&str]) -> Output {
        succeed(self.entering().arg(program).args(words))
    }

    fn entering(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.space.id()));
        command
    }

    /// One capture of everything, however it ends.
    pub(crate) fn capture(&mut self) {
        let mut command = self.entering();
        command.arg(program("coffer-agent").get_program()).arg("capture").arg("--state");
        command.arg(self.path("agent")).args(["--server", &self.site.server]);
        self.last = Some(command.output().unwrap());
    }

    pub(crate) fn last_capture(&self) -> &Output {
        self.last.as_ref().unwrap()
    }

    /// Everything that the newest point gives, by its path.
    pub(crate) fn restore_newest(&self) -> Tree {
        let to = tempfile::tempdir_in(self.site.dir.path()).unwrap();
        self.site.try_coffer(&["restore", "alpha/files", "--to", to.path().to_str().unwrap()]);
        // The link comes back as one, and leads to where it always did.
        let link = to.path().join(self.path("way").strip_prefix("/").unwrap());
        if link.is_symlink() {
            fs::remove_file(link).unwrap();
        }
        contents(to.path())
    }

    pub(crate) fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.site.coffer(&[words, &["--json"]].concat())).unwrap()
    }

    /// The status page, as a browser gets it.
    pub(crate) fn page(&self) -> String {
        let mut browser = Command::new("curl");
        let page = succeed(browser.args(["--silent", "--insecure", "--show-error", &self.site.page]));
        String::from_utf8(page.stdout).unwrap()
    }

    /// Starts the box anew with other settings: what they said, and what they say now.
    pub(crate) fn change_settings(&mut self, changes: &[(String, String)]) {
        let path = self.path("box/box.toml");
        let mut settings = fs::read_to_string(&path).unwrap();
        for (from, to) in changes {
            assert!(settings.contains(from), "{from} isn't in {settings}");
            settings = settings.replace(from, to);
        }
        self.site.kill_box();
        fs::write(&path, settings).unwrap();
        self.site.start_box();
    }

    /// The library is looked at when the box has started, and then now and then.
    pub(crate) fn wait_until_library_was_looked_at(&self) {
        self.site.wait_until("the library was looked at", || {
            self.site.status()["sentences"] != serde_json::json!([])
        });
    }

    pub(crate) fn stop_hq(&mut self) {
        self.hq.as_mut().unwrap().stop();
        self.site.wait_until("the line is cut", || self.site.status()["hq"]["connected"] == false);
    }

    pub(crate) fn start_hq(&mut self) {
        let dir = self.site.dir.path().to_owned();
        self.hq.as_mut().unwrap().start(&dir);
        self.wait_for_hq();
    }

    fn wait_for_hq(&self) {
        self.site.wait_until("the line is there", || self.site.status()["hq"]["connected"] == true);
    }

    /// One more computer, of which nothing comes.
    pub(crate) fn add_computer(&mut self) {
        let code = self.site.coffer(&["computer", "code", ADDED]);
        succeed(self.added("enrol").args(["--name", ADDED, "--code", code.trim()]));
        let config = self.path("files.toml");
        self.site.coffer(&["config", "set", ADDED, "files", config.to_str().unwrap()]);
    }

    pub(crate) fn capture_added(&self) {
        let mut entering = self.entering();
        let added = self.added("capture");
        succeed(entering.arg(added.get_program()).args(added.get_args()));
    }

    fn added(&self, verb: &str) -> Command {
        let mut command = program("coffer-agent");
        command.arg(verb).arg("--state").arg(self.path("agent-added")).args(["--server", &self.site.server]);
        command
    }

    pub(crate) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }
}
