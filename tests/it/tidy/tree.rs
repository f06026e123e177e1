//! The files of a checkout as one map, so that every check reads the real tree and a made-up one alike.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Text by path from the root, `/` between the parts; a file that is not UTF-8 is there with no text.
pub struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// The checkout that these tests were built from, without hidden folders (but for `.ci`) and build output.
    pub fn checkout() -> Tree {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the package lies in a folder of the workspace");
        let mut files = BTreeMap::new();
        collect(root, "", DEPTH_MAX, &mut files);
        assert!(
            files.contains_key("Cargo.toml"),
            "{} is no workspace",
            root.display()
        );
        Tree { files }
    }

    /// A tree made of the given paths and texts.
    pub fn of(files: &[(&str, &str)]) -> Tree {
        Tree {
            files: files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
        }
    }

    /// The text at `path`, or nothing when there is no such file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether `path` is a file or a folder here.
    pub fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        path.is_empty()
            || self.files.contains_key(path)
            || self.files.keys().any(|file| file.starts_with(&folder))
    }

    /// Every file whose path ends in one of `suffixes`, in order of path.
    pub fn ending(&self, suffixes: &[&str]) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter(move |(path, _)| suffixes.iter().any(|suffix| path.ends_with(suffix)))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The parsed TOML at `path`. Panics when it is missing or malformed: nothing can be said without it.
    pub fn toml(&self, path: &str) -> toml::Table {
        let text = self.text(path).unwrap_or_else(|| panic!("{path} is missing"));
        text.parse().unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

/// Folders deeper than this are not ours.
const DEPTH_MAX: usize = 12;

fn collect(folder: &Path, prefix: &str, depth_left: usize, files: &mut BTreeMap<String, String>) {
    assert!(
        depth_left > 0,
        "{} is nested more than {DEPTH_MAX} deep",
        folder.display()
    );
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().expect("file names are UTF-8");
        let kind = entry.file_type().unwrap();
        let path = format!("{prefix}{name}");
        if kind.is_dir() && name != "target" && (!name.starts_with('.') || name == ".ci") {
            collect(&entry.path(), &format!("{path}/"), depth_left - 1, files);
        } else if kind.is_file() {
            // Other processes may remove a scratch file between listing and reading: then it is no part of the tree.
            let Ok(bytes) = fs::read(entry.path()) else {
                continue;
            };
            files.insert(path, String::from_utf8(bytes).unwrap_or_default());
        }
    }
}
