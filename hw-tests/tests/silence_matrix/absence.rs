//! What is taken away.

use std::fs;

use crate::place::Place;
use crate::world::World;

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
}

impl Absence {
    pub(crate) const ALL: [Absence; 4] =
        [Absence::Folder, Absence::LinkTarget, Absence::Link, Absence::Mount];

    /// More in `box.toml`. Without tape and headquarters a box is never content.
    pub(crate) fn settings(self) -> &'static str {
        "[tape]\nenabled = false\n"
    }

    pub(crate) fn take_away(self, world: &mut World) {
        match self {
            Absence::Folder => world.rename("other", "elsewhere"),
            Absence::LinkTarget => world.rename("linked", "elsewhere"),
            Absence::Link => fs::remove_file(world.path("way")).unwrap(),
            Absence::Mount => world.unmount(),
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
        }
    }

    /// How the places that name it name it.
    pub(crate) fn name(self, world: &World) -> String {
        let name = match self {
            Absence::Folder => "other",
            Absence::LinkTarget => "linked",
            Absence::Link => "way",
            Absence::Mount => "data/volume",
        };
        world.shown(name)
    }

    pub(crate) fn places(self) -> &'static [Place] {
        &Place::ALL
    }
}
