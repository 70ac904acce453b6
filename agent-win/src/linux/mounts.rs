//! What's mounted where (proc_pid_mountinfo(5)).

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::{Directory, identity};
use crate::config::below;
use crate::scan::Stat;

pub(super) const TABLE: &str = "/proc/self/mountinfo";

/// What has no files of its own: handles of the kernel's, and a desktop's way to files that lie elsewhere.
const ONLY_SHOWN: [&str; 2] = ["nsfs", "fuse.portal"];
/// What comes and goes with a container or a package, by its kind and a part of the path at which it's mounted. Nothing is lost with it: a
/// container's files lie beside it as well, and a package's come from its image.
const COMES_AND_GOES: [(&str, &str); 6] = [
    ("overlay", "/overlay2/"),
    ("overlay", "/containers/storage/overlay/"),
    ("overlay", "/containerd/"),
    ("squashfs", "/snap/"),
    ("fuse.snapfuse", "/snap/"),
    ("fuse.squashfuse", "/snap/"),
];
/// A place at which something is mounted as soon as somebody looks.
const AT_A_LOOK: &str = "autofs";

/// What was mounted at one moment, by the path at which it's seen. The root of all is left off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mounts(BTreeMap<Vec<u8>, Mount>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    id: u64,
    kind: String,
    /// The folder of the file system that's seen, and what's mounted, as whoever mounted it said.
    root: Vec<u8>,
    source: Vec<u8>,
    /// The folders that an overlay is made of: the one that is written to, or all of them.
    layers: Vec<u8>,
}

/// One line of the table.
struct Line {
    parent: u64,
    path: Vec<u8>,
    kind: String,
    root: Vec<u8>,
    source: Vec<u8>,
    layers: Vec<u8>,
}

impl Mounts {
    pub(crate) fn read() -> io::Result<Mounts> {
        Ok(Mounts::parse(&std::fs::read(TABLE)?))
    }

    /// Lines that can't be read are of a kernel that nobody knows yet; what they tell isn't missed.
    fn parse(table: &[u8]) -> Mounts {
        Mounts::seen(&table.split(|byte| *byte == b'\n').filter_map(line).collect())
    }

    /// Leaves off what something else is mounted over.
    fn seen(lines: &BTreeMap<u64, Line>) -> Mounts {
        let mut seen = BTreeMap::new();
        let is_top = |id: &u64, line: &Line| line.parent == *id || !lines.contains_key(&line.parent);
        let mut pending: Vec<u64> =
            lines.iter().filter(|(id, line)| is_top(id, line)).map(|(id, _)| *id).collect();
        while let Some(id) = pending.pop() {
            let Some(line) = lines.get(&id) else { continue };
            let Line { path, .. } = line;
            seen.insert(path.clone(), line.mount(id));
            let on_it = || lines.iter().filter(|(child, line)| line.parent == id && **child != id);
            let is_bare = |line: &Line| !on_it().any(|(_, other)| below(&line.path, &other.path));
            pending.extend(on_it().filter(|(_, line)| is_bare(line)).map(|(child, _)| *child));
        }
        seen.remove(&b""[..]);
        Mounts(seen)
    }

    /// Whether something that keeps files of its own is mounted at a path.
    pub(crate) fn has_volume(&self, path: &[u8]) -> bool {
        self.0.get(path).is_some_and(|mount| mount.is_volume(path))
    }

    /// Where something that keeps files of its own is mounted.
    pub(crate) fn volumes(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.0.iter().filter(|(path, mount)| mount.is_volume(path)).map(|(path, _)| path)
    }

    /// What tells the volume at a path from others that may be mounted there.
    pub(crate) fn identity(&self, path: &[u8], top: &Directory) -> Option<String> {
        let Mount { kind, root, source, layers, .. } = self.0.get(path)?;
        let source = if layers.is_empty() { source } else { layers };
        Some(identity::of(kind, (source, root), top))
    }

    /// Paths at which a volume is, or was before, and not the same.
    pub(super) fn others_than(&self, before: &Mounts) -> Vec<Vec<u8>> {
        let is_other = |path: &&Vec<u8>| self.0.get(*path) != before.0.get(*path);
        let paths: BTreeSet<&Vec<u8>> = self.0.keys().chain(before.0.keys()).filter(is_other).collect();
        let has_volume = |path: &&Vec<u8>| self.has_volume(path) || before.has_volume(path);
        paths.into_iter().filter(has_volume).cloned().collect()
    }

    /// Whether something is mounted at a path as soon as somebody looks, and isn't yet.
    pub(crate) fn waits_for_a_look(&self, path: &[u8]) -> bool {
        self.0.get(path).is_some_and(|mount| mount.kind == AT_A_LOOK)
    }

    /// The top of what's mounted at `path`, described as it's found by opening it; `None` where that's something else by now.
    pub(crate) fn top(
        &self,
        path: &[u8],
        parent: &Directory,
        name: &[u8],
        _listed: Stat,
    ) -> io::Result<Option<Stat>> {
        let top = parent.open_child(name)?;
        if self.is_still(path, &top)? { top.stat().map(Some) } else { Ok(None) }
    }

    /// Whether a directory that was opened at `path` lies on what was mounted there at that moment: meanwhile something may
    /// have come or gone.
    pub(crate) fn is_still(&self, path: &[u8], directory: &Directory) -> io::Result<bool> {
        let over = |mounted: &[u8]| mounted == path || below(path, mounted);
        let expected =
            self.0.iter().filter(|(mounted, _)| over(mounted)).map(|(_, mount)| mount.id).next_back();
        match expected {
            Some(id) => Ok(directory.mount_id()? == id),
            // On what's mounted at the root; nothing else is known of that.
            None => {
                let found = directory.mount_id()?;
                Ok(self.0.values().all(|mount| mount.id != found))
            }
        }
    }
}

impl Line {
    fn mount(&self, id: u64) -> Mount {
        let Line { kind, root, source, layers, .. } = self;
        let (root, source, layers) = (root.clone(), source.clone(), layers.clone());
        Mount { id, kind: kind.clone(), root, source, layers }
    }
}

impl Mount {
    fn is_volume(&self, path: &[u8]) -> bool {
        let is_below = |part: &str| path.windows(part.len()).any(|at| at == part.as_bytes());
        let comes_and_goes = COMES_AND_GOES.iter().any(|(kind, part)| self.kind == *kind && is_below(part));
        self.kind != AT_A_LOOK && !ONLY_SHOWN.contains(&&self.kind[..]) && !comes_and_goes
    }
}

/// Number, number of what it's mounted on, device, root, path, options, more of them, a dash, and the kind.
fn line(line: &[u8]) -> Option<(u64, Line)> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let number = |at: usize| std::str::from_utf8(fields.get(at)?).ok()?.parse().ok();
    let dash = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
    let kind = String::from_utf8_lossy(fields.get(dash + 1)?).into_owned();
    let path = unescaped(fields.get(4)?);
    let path = if path == b"/" { Vec::new() } else { path };
    let (root, source) = (unescaped(fields.get(3)?), unescaped(fields.get(dash + 2)?));
    let layers =
        fields.get(dash + 3).filter(|_| kind == "overlay").map_or_else(Vec::new, |field| layers(field));
    Some((number(0)?, Line { parent: number(1)?, path, kind, root, source, layers }))
}

/// Whatever lies below it, an overlay that is written to in the same folder is the same.
fn layers(options: &[u8]) -> Vec<u8> {
    let named = |name: &'static str| {
        let options = options.split(|byte| *byte == b',');
        options.filter(move |option| option.starts_with(name.as_bytes())).map(unescaped).collect::<Vec<_>>()
    };
    let upper = named("upperdir=");
    let all = if upper.is_empty() { named("lowerdir") } else { upper };
    all.join(&b","[..])
}

/// Spaces and their like are written as three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(field.len()), field);
    while let [first, after @ ..] = rest {
        let octal = after.first_chunk::<3>().filter(|_| *first == b'\\');
        let code = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw
23 22 0:21 / /proc rw shared:5 - proc proc rw
30 22 8:17 / /srv/two\\040words rw shared:9 master:3 - xfs /dev/sdb1 rw
31 22 8:33 / /mnt rw - ext4 /dev/sdc1 rw
32 31 8:49 / /mnt rw - ext4 /dev/sdd1 rw
33 31 8:65 / /mnt/hidden rw - ext4 /dev/sde1 rw
34 32 8:81 / /mnt/seen rw - ext4 /dev/sdf1 rw
35 22 0:50 / /net/home rw - autofs auto rw
36 22 0:51 / /var/lib/docker/overlay2/5b/merged rw - overlay overlay rw
39 22 0:52 / /srv/merged rw - overlay overlay rw,lowerdir=/a:/b,upperdir=/srv/upper\\040dir,workdir=/w,uuid=on
40 22 0:53 / /srv/read ro - overlay overlay ro,lowerdir+=/a,lowerdir+=/b
41 22 7:1 / /snap/core/9 ro - squashfs /dev/loop1 ro
42 22 7:2 / /srv/image ro - squashfs /dev/loop2 ro,errors=continue
43 22 0:54 / /run/netns/x rw - nsfs nsfs rw
37 22 8:97 / /srv/covered/below rw - ext4 /dev/sdg1 rw
38 22 8:98 / /srv/covered rw - ext4 /dev/sdh1 rw
an unknown line
";

    #[test]
    fn only_what_can_be_seen_counts() {
        let mounts = Mounts::parse(TABLE.as_bytes());
        let volumes = mounts.others_than(&Mounts::default());
        assert_eq!(
            volumes,
            [
                &b"/mnt"[..],
                b"/mnt/seen",
                b"/proc",
                b"/srv/covered",
                b"/srv/image",
                b"/srv/merged",
                b"/srv/read",
                b"/srv/two words"
            ],
            "{mounts:?}"
        );
        let layers = |path: &str| String::from_utf8_lossy(&mounts.0[path.as_bytes()].layers).into_owned();
        assert_eq!(layers("/srv/merged"), "upperdir=/srv/upper dir");
        assert_eq!(layers("/srv/read"), "lowerdir+=/a,lowerdir+=/b");
        assert_eq!(layers("/srv/image"), "");
        let left = TABLE.lines().filter(|line| !line.starts_with("32 ") && !line.starts_with("34 "));
        let unmounted = Mounts::parse(left.collect::<Vec<_>>().join("\n").as_bytes());
        assert_eq!(unmounted.others_than(&mounts), [&b"/mnt"[..], b"/mnt/hidden", b"/mnt/seen"]);
        assert_eq!(mounts.others_than(&mounts), [b""; 0]);
        assert_eq!(mounts.0[&b"/mnt"[..]].id, 32, "the one below");
        assert!(mounts.waits_for_a_look(b"/net/home") && !mounts.has_volume(b"/net/home"));
        assert!(!mounts.has_volume(b""), "the root is missed by nobody");
    }

    #[test]
    fn a_directory_tells_what_it_lies_on() {
        let mounts = Mounts::read().unwrap();
        let open = |path: &[u8]| Directory::open_path(path).unwrap();
        assert!(mounts.has_volume(b"/proc"), "{mounts:?}");
        assert!(mounts.is_still(b"/proc", &open(b"/proc")).unwrap());
        assert!(mounts.is_still(b"/proc/self", &open(b"/proc")).unwrap());
        assert!(!mounts.is_still(b"/proc", &open(b"")).unwrap());
        assert!(!mounts.is_still(b"", &open(b"/proc")).unwrap());
    }

    #[test]
    fn what_is_no_code_stays_as_it_is() {
        assert_eq!(unescaped(br"a\040b\134\\9\01"), br"a b\\\9\01");
    }
}
