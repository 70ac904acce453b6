//! What is taken away.

use std::fs;

use crate::place::Place;
use crate::world::World;

/// Name of the computer that's enrolled besides.
pub(crate) const ADDED: &str = "beta";
/// A changer that isn't there.
const CHANGER: &str = "/dev/sg-that-was-unplugged";
/// In `box.toml`. Without tape and headquarters a box is never content.
pub(crate) const NO_LIBRARY: &str = "[tape]\nenabled = false\n";

/// What `box.toml` says of the library, without one and with one.
fn library() -> [(&'static str, String); 2] {
    let devices = format!("changer = {CHANGER:?}\ndrives = [\"/dev/sg-the-drive-in-it\"]");
    [("[tape]\nenabled = false", "[tape]\nenabled = true".into()), ("drives = []", devices)]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absence {
    /// An included folder was moved elsewhere.
    Folder,
    /// What a link on the way to an include leads to.
    LinkTarget,
    /// The link itself.
    Link,
    /// A volume that's mounted below an include.
    Mount,
    /// A whole computer: it was enrolled and configured, and brings nothing.
    Computer,
    /// The tape library that the settings name.
    Library,
    /// Headquarters.
    Hq,
}

impl Absence {
    pub(crate) const ALL: [Absence; 7] = [
        Absence::Folder,
        Absence::LinkTarget,
        Absence::Link,
        Absence::Mount,
        Absence::Computer,
        Absence::Library,
        Absence::Hq,
    ];

    pub(crate) fn take_away(self, world: &mut World) {
        match self {
            Absence::Folder => world.rename("other", "elsewhere"),
            Absence::LinkTarget => world.rename("linked", "elsewhere"),
            Absence::Link => fs::remove_file(world.path("way")).unwrap(),
            Absence::Mount => world.unmount(),
            Absence::Computer => world.add_computer(),
            Absence::Library => {
                world.change_settings(&library().map(|(without, with)| (without.to_owned(), with)));
                world.wait_until_library_was_looked_at();
            }
            Absence::Hq => world.stop_hq(),
        }
    }

    pub(crate) fn put_back(self, world: &mut World) {
        match self {
            Absence::Folder => world.rename("elsewhere", "other"),
            Absence::LinkTarget => world.rename("elsewhere", "linked"),
            Absence::Link => {
                std::os::unix::fs::symlink(world.path("linked"), world.path("way")).unwrap();
            }
            Absence::Mount => world.mount(),
            Absence::Computer => world.capture_added(),
            Absence::Library => {
                world.change_settings(&library().map(|(without, with)| (with, without.to_owned())));
            }
            Absence::Hq => world.start_hq(),
        }
    }

    /// How the places that name it name it.
    pub(crate) fn name(self, world: &World) -> String {
        let name = match self {
            Absence::Folder => "other",
            Absence::LinkTarget => "linked",
            Absence::Link => "way",
            Absence::Mount => "data/volume",
            Absence::Computer => return ADDED.to_owned(),
            Absence::Library => return CHANGER.to_owned(),
            Absence::Hq => return "Headquarters".to_owned(),
        };
        world.shown(name)
    }

    /// Where it has to be said: what isn't a matter of one restore point isn't said of one.
    pub(crate) fn places(self) -> &'static [Place] {
        match self {
            Absence::Computer => &[Place::Status, Place::Page, Place::Computers],
            Absence::Library | Absence::Hq => &[Place::Status, Place::Page],
            _ => &Place::ALL,
        }
    }
}
