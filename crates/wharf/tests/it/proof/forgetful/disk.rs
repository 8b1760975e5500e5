//! A disk that keeps nothing it was not told to keep.
//!
//! It learns from a trace what a process did to the files below one directory. What was written lasts once the file was
//! synced, a name once its directory was, and nothing else makes either last: no journal, no order, no next sync of
//! another file. File systems are kinder than that, each in its own way; what survives here survives on all of them.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use tempfile::TempDir;
use wharf_base::SeededRng;

use super::super::kills::draw;
use crate::harness::Call;

/// What becomes of that which nobody synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// All of it is lost.
    Lost,
    /// All of it happens to be there.
    Kept,
    /// Each write and each name is there or not, as a seed says.
    Random(u64),
}

type Number = usize;

#[derive(Clone)]
enum Node {
    File(File),
    Directory(Directory),
}

#[derive(Clone, Default)]
struct File {
    synced: Vec<u8>,
    /// In order.
    since: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write {
        at: usize,
        bytes: Vec<u8>,
    },
    Resize(usize),
    /// Space that was reserved reads as zeros.
    Reserve(usize),
}

#[derive(Clone, Default)]
struct Directory {
    now: BTreeMap<String, Number>,
    synced: BTreeMap<String, Number>,
}

/// The files and directories below `root`, by number; the first is `root` itself.
#[derive(Clone)]
pub struct ForgetfulDisk {
    root: PathBuf,
    nodes: Vec<Node>,
    /// Where a descriptor without an offset of its own stands.
    positions: BTreeMap<u64, usize>,
    /// Syncs of this place do nothing.
    ignored: Option<String>,
}

impl ForgetfulDisk {
    /// An empty directory that lasts itself; syncs of the places that `ignored` names do nothing.
    pub fn new(root: &Path, ignored: Option<&str>) -> Self {
        Self {
            root: root.to_owned(),
            nodes: vec![Node::Directory(Directory::default())],
            positions: BTreeMap::new(),
            ignored: ignored.map(str::to_owned),
        }
    }

    /// What is left of the files below `root` when the power goes after `calls`.
    pub fn left_after<'a>(
        calls: impl IntoIterator<Item = &'a Call>,
        root: &Path,
        ignored: Option<&str>,
        unsynced: Unsynced,
    ) -> TempDir {
        let mut disk = Self::new(root, ignored);
        for call in calls {
            disk.apply(call);
        }
        let left = tempfile::tempdir().expect("a directory for what is left");
        disk.after_a_power_cut(unsynced, left.path());
        left
    }

    /// Does what a call did that has ended. The place that was synced, if that is what it was.
    pub fn apply(&mut self, call: &Call) -> Option<String> {
        let result: i64 = call.result.split(['<', ' ']).next()?.parse().ok()?;
        if result < 0 {
            return None;
        }
        let arguments = split(&call.arguments);
        match call.name.as_str() {
            "open" | "openat" | "openat2" | "creat" => self.open(call, result),
            "mkdir" => self.insert(&self.below(&text(&arguments[0])), Node::Directory(Directory::default())),
            "mkdirat" => self.insert(&self.at(&arguments[0], &arguments[1]), Node::Directory(Directory::default())),
            "rename" => self.rename(&self.below(&text(&arguments[0])), &self.below(&text(&arguments[1]))),
            "renameat" | "renameat2" => {
                assert!(!call.arguments.contains("RENAME_EXCHANGE"), "nobody exchanges names yet: {call:?}");
                self.rename(&self.at(&arguments[0], &arguments[1]), &self.at(&arguments[2], &arguments[3]));
            }
            "unlink" | "rmdir" => self.remove(&self.below(&text(&arguments[0]))),
            "unlinkat" => self.remove(&self.at(&arguments[0], &arguments[1])),
            "ftruncate" => self.change(&arguments[0], Change::Resize(number(&arguments[1]))),
            "fallocate" if !arguments[1].contains("KEEP_SIZE") => {
                self.change(&arguments[0], Change::Reserve(number(&arguments[2]) + number(&arguments[3])));
            }
            "pwrite64" => self.write(&arguments[0], number(&arguments[3]), bytes(&arguments[1]), result),
            "pwritev" | "pwritev2" => self.write(&arguments[0], number(&arguments[3]), bytes(&arguments[1]), result),
            "write" | "writev" => {
                let (descriptor, at) = (descriptor(&arguments[0]), self.position(&arguments[0]));
                self.write(&arguments[0], at, bytes(&arguments[1]), result);
                self.positions.insert(descriptor, at + usize::try_from(result).expect("a length"));
            }
            "copy_file_range" => self.copy(&arguments[0], &arguments[2], result),
            "fsync" | "fdatasync" => return self.sync(&arguments[0]),
            "syncfs" => return self.sync_all(),
            "fallocate" | "read" | "recvfrom" | "sendto" | "sendmsg" => {}
            other => panic!("the forgetful disk does not know `{other}`: {}", call.arguments),
        }
        None
    }

    /// Writes what is left after a power cut to `target`.
    pub fn after_a_power_cut(&self, unsynced: Unsynced, target: &Path) {
        let rng = SeededRng::new(if let Unsynced::Random(seed) = unsynced { seed } else { 0 });
        self.restore(
            0,
            &|| match unsynced {
                Unsynced::Lost => false,
                Unsynced::Kept => true,
                Unsynced::Random(_) => draw(&rng, 2) == 0,
            },
            target,
        );
    }

    fn restore(&self, number: Number, kept: &dyn Fn() -> bool, target: &Path) {
        match &self.nodes[number] {
            Node::File(file) => {
                std::fs::write(target, file.content(kept)).expect("writing what is left");
                private(target, 0o600);
            }
            Node::Directory(directory) => {
                std::fs::create_dir_all(target).expect("writing what is left");
                private(target, 0o700);
                for (name, number) in directory.names(kept) {
                    self.restore(number, kept, &target.join(name));
                }
            }
        }
    }

    // Calls ---------------------------------------------------------------------------------------------------------

    fn open(&mut self, call: &Call, result: i64) {
        self.positions.insert(u64::try_from(result).expect("a descriptor"), 0);
        let Some(path) = self.inside(&described(&call.result)) else { return };
        if call.arguments.contains("O_CREAT") && self.find(&path).is_none() {
            self.insert(&Some(path.clone()), Node::File(File::default()));
        }
        if call.arguments.contains("O_TRUNC") {
            self.file(&path).since.push(Change::Resize(0));
        }
    }

    fn write(&mut self, file: &str, at: usize, mut bytes: Vec<u8>, written: i64) {
        bytes.truncate(usize::try_from(written).expect("a length"));
        self.change(file, Change::Write { at, bytes });
    }

    /// What was copied from a file that nobody changed since.
    fn copy(&mut self, from: &str, to: &str, copied: i64) {
        let length = usize::try_from(copied).expect("a length");
        let (start, at) = (self.position(from), self.position(to));
        let source = std::fs::read(described(from)).expect("the file that was copied");
        self.write(to, at, source[start..start + length].to_vec(), copied);
        self.positions.insert(descriptor(from), start + length);
        self.positions.insert(descriptor(to), at + length);
    }

    fn change(&mut self, file: &str, change: Change) {
        // Files without a name are gone after a power cut anyway.
        if let Some(path) = self.inside(&described(file)).filter(|_| !file.ends_with("(deleted)")) {
            self.file(&path).since.push(change);
        }
    }

    fn sync(&mut self, what: &str) -> Option<String> {
        let path = self.inside(&described(what)).filter(|_| !what.ends_with("(deleted)"))?;
        let place = place(&path);
        if self.ignored.as_ref() != Some(&place) {
            let number = self.find(&path).unwrap_or_else(|| panic!("a sync of {path:?}, which nobody made"));
            self.nodes[number].sync();
        }
        Some(place)
    }

    fn sync_all(&mut self) -> Option<String> {
        let place = "everything".to_owned();
        if self.ignored.as_ref() != Some(&place) {
            self.nodes.iter_mut().for_each(Node::sync);
        }
        Some(place)
    }

    fn insert(&mut self, path: &Option<Vec<String>>, node: Node) {
        let Some((name, parent)) = path.as_ref().and_then(|path| path.split_last()) else { return };
        let number = self.nodes.len();
        self.nodes.push(node);
        self.directory(parent).now.insert(name.clone(), number);
    }

    fn rename(&mut self, from: &Option<Vec<String>>, to: &Option<Vec<String>>) {
        let (Some(from), Some(to)) = (from, to) else { return };
        let number = self.find(from).unwrap_or_else(|| panic!("a new name for {from:?}, which nobody made"));
        self.remove(&Some(from.clone()));
        let (name, parent) = to.split_last().expect("a name");
        self.directory(parent).now.insert(name.clone(), number);
    }

    fn remove(&mut self, path: &Option<Vec<String>>) {
        if let Some((name, parent)) = path.as_ref().and_then(|path| path.split_last()) {
            self.directory(parent).now.remove(name);
        }
    }

    // Where things are ----------------------------------------------------------------------------------------------

    /// The names that lead from the root to `path`; `None` for places elsewhere.
    fn inside(&self, path: &str) -> Option<Vec<String>> {
        let names = Path::new(path).strip_prefix(&self.root).ok()?.components();
        names
            .map(|name| if let Component::Normal(name) = name { Some(name.to_str()?.to_owned()) } else { None })
            .collect()
    }

    fn below(&self, path: &str) -> Option<Vec<String>> {
        assert!(path.starts_with('/'), "a relative path: {path}");
        self.inside(path)
    }

    fn at(&self, directory: &str, name: &str) -> Option<Vec<String>> {
        let path = Path::new(&described(directory)).join(text(name));
        self.below(path.to_str()?)
    }

    fn find(&self, path: &[String]) -> Option<Number> {
        path.iter().try_fold(0, |number, name| match &self.nodes[number] {
            Node::Directory(directory) => directory.now.get(name).copied(),
            Node::File(_) => None,
        })
    }

    fn directory(&mut self, path: &[String]) -> &mut Directory {
        let number = self.find(path);
        match number.map(|number| &mut self.nodes[number]) {
            Some(Node::Directory(directory)) => directory,
            _ => panic!("{path:?} is no directory"),
        }
    }

    fn file(&mut self, path: &[String]) -> &mut File {
        let number = self.find(path);
        match number.map(|number| &mut self.nodes[number]) {
            Some(Node::File(file)) => file,
            _ => panic!("{path:?} is no file"),
        }
    }

    fn position(&self, file: &str) -> usize {
        self.positions.get(&descriptor(file)).copied().unwrap_or(0)
    }
}

impl Node {
    fn sync(&mut self) {
        match self {
            Self::File(file) => {
                file.synced = file.content(&|| true);
                file.since.clear();
            }
            Self::Directory(directory) => directory.synced = directory.now.clone(),
        }
    }
}

impl File {
    fn content(&self, kept: &dyn Fn() -> bool) -> Vec<u8> {
        let mut content = self.synced.clone();
        for change in self.since.iter().filter(|_| kept()) {
            match change {
                Change::Write { at, bytes } => {
                    content.resize(content.len().max(at + bytes.len()), 0);
                    content[*at..at + bytes.len()].copy_from_slice(bytes);
                }
                Change::Resize(length) => content.resize(*length, 0),
                Change::Reserve(end) => content.resize(content.len().max(*end), 0),
            }
        }
        content
    }
}

impl Directory {
    fn names(&self, kept: &dyn Fn() -> bool) -> BTreeMap<String, Number> {
        let mut names = self.synced.clone();
        for name in self.now.keys().chain(self.synced.keys()) {
            if self.now.get(name) != self.synced.get(name) && kept() {
                match self.now.get(name) {
                    Some(number) => names.insert(name.clone(), *number),
                    None => names.remove(name),
                };
            }
        }
        names
    }
}

fn private(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("nobody else's business");
}

/// What kind of place a path is: names that differ from run to run are stars.
fn place(path: &[String]) -> String {
    let differs = |name: &str| {
        name.bytes().filter(u8::is_ascii_digit).count() >= 6
            || name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let names: Vec<_> = path.iter().map(|name| if differs(name) { "*" } else { name.as_str() }).collect();
    if names.is_empty() { ".".to_owned() } else { names.join("/") }
}

// Arguments, as `strace -xx -yy` writes them --------------------------------------------------------------------------

/// What stands between the commas of the first level.
fn split(arguments: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0_u32);
    for letter in arguments.chars() {
        match letter {
            '[' | '{' | '(' => depth += 1,
            ']' | '}' | ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("a part").push(letter);
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

fn number(argument: &str) -> usize {
    argument.trim_end_matches(')').parse().unwrap_or_else(|_| panic!("`{argument}` is no number"))
}

fn descriptor(argument: &str) -> u64 {
    argument.split('<').next().and_then(|number| number.parse().ok()).unwrap_or(u64::MAX)
}

/// The path behind a descriptor.
fn described(argument: &str) -> String {
    let path = argument.split_once('<').and_then(|(_, path)| path.split_once('>')).map_or("", |(path, _)| path);
    String::from_utf8_lossy(&unescape(path)).into_owned()
}

fn text(argument: &str) -> String {
    String::from_utf8(bytes(argument)).expect("a path")
}

/// All strings of an argument, one after the other.
pub fn bytes(argument: &str) -> Vec<u8> {
    assert!(!argument.contains("\"..."), "strace cut a string short");
    argument.split('"').skip(1).step_by(2).flat_map(unescape).collect()
}

/// `\x41\x42`; a path of a socket or a pipe is not escaped and has no bytes.
fn unescape(text: &str) -> Vec<u8> {
    let pairs = text.split("\\x").skip(1);
    pairs.filter_map(|pair| u8::from_str_radix(pair.get(..2)?, 16).ok()).collect()
}
