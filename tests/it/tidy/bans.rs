//! Clippy's bans by name: each says what to use instead, and every crate's own file repeats the root's.

use std::collections::BTreeMap;

use super::tree::Tree;
use super::{catch, hold, pass};

/// What nobody may use.
const EVERYWHERE: [&str; 5] = [
    "std::thread::sleep",
    "std::sync::mpsc::channel",
    "crossbeam_channel::unbounded",
    "crossbeam_queue::SegQueue",
    "tokio::sync::mpsc::unbounded_channel",
];

/// What the two pure planes may not use.
const PURE: [&str; 5] = [
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "tokio::spawn",
];

const LISTS: [&str; 3] = ["disallowed-methods", "disallowed-types", "disallowed-macros"];

#[test]
fn every_clippy_file_holds_the_bans() {
    hold(bans);
}

#[test]
fn a_forgotten_ban_is_caught() {
    let root = clippy(&EVERYWHERE, "use a limit");
    let pure = clippy(&[&EVERYWHERE[..], &PURE[..]].concat(), "use a limit");
    let good = [
        ("clippy.toml", root.as_str()),
        ("engine/clippy.toml", &pure),
        ("consensus/clippy.toml", &pure),
    ];
    pass(bans, &good);
    let with = |path, text| [&good[..], &[(path, text)]].concat();

    let poor_root = clippy(&EVERYWHERE[1..], "use a limit");
    catch(
        bans,
        &with("clippy.toml", &poor_root),
        "clippy.toml: std::thread::sleep is not banned",
    );
    let poor_copy = clippy(&EVERYWHERE[..4], "use a limit");
    catch(
        bans,
        &with("ai/clippy.toml", &poor_copy),
        "ai/clippy.toml: does not repeat the root's ban",
    );
    let other_words = clippy(&EVERYWHERE, "do something else");
    catch(
        bans,
        &with("ai/clippy.toml", &other_words),
        "ai/clippy.toml: does not repeat the root's ban",
    );
    catch(
        bans,
        &with("engine/clippy.toml", &root),
        "engine/clippy.toml: std::collections::HashMap is not banned",
    );
    catch(
        bans,
        &with("ai/clippy.toml", "disallowed-types = [\"std::rc::Rc\"]"),
        "std::rc::Rc has no reason",
    );
}

fn bans(tree: &Tree) -> Vec<String> {
    let root = listed(tree, "clippy.toml");
    let mut findings = Vec::new();
    let copies: Vec<&str> = tree.ending(&["/clippy.toml"]).map(|(path, _)| path).collect();
    for path in copies.iter().copied().chain(["clippy.toml"]) {
        let own = listed(tree, path);
        for name in own
            .iter()
            .filter(|(_, reason)| reason.is_empty())
            .map(|(name, _)| name)
        {
            findings.push(format!("{path}: {name} has no reason: say what to use instead"));
        }
        for (name, _) in root
            .iter()
            .filter(|(name, reason)| own.get(*name) != Some(*reason))
        {
            findings.push(format!(
                "{path}: does not repeat the root's ban of {name} in the same words"
            ));
        }
    }
    findings.extend(required(tree, "clippy.toml", &EVERYWHERE));
    findings.extend(
        ["engine/clippy.toml", "consensus/clippy.toml"]
            .iter()
            .flat_map(|path| required(tree, path, &PURE)),
    );
    findings
}

fn required(tree: &Tree, path: &str, names: &[&str]) -> Vec<String> {
    let own = listed(tree, path);
    names
        .iter()
        .filter(|name| !own.contains_key(**name))
        .map(|name| format!("{path}: {name} is not banned"))
        .collect()
}

/// The banned paths in one file, with their reasons.
fn listed(tree: &Tree, path: &str) -> BTreeMap<String, String> {
    let table = tree.toml(path);
    let entries = LISTS
        .iter()
        .filter_map(|list| table.get(*list)?.as_array())
        .flatten();
    let words = |entry: &toml::Value, key: &str| {
        entry
            .get(key)
            .and_then(toml::Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    entries
        .map(|entry| match entry.as_str() {
            Some(bare) => (bare.to_owned(), String::new()),
            None => (words(entry, "path"), words(entry, "reason")),
        })
        .collect()
}

fn clippy(paths: &[&str], reason: &str) -> String {
    let entries: Vec<String> = paths
        .iter()
        .map(|path| format!("{{ path = \"{path}\", reason = \"{reason}\" }}"))
        .collect();
    format!("disallowed-methods = [{}]\n", entries.join(", "))
}
