//! How source files read: a first line that says what for, telling names, nothing unfinished, nothing of this machine.

use super::tree::Tree;
use super::{catch, hold, pass};

#[test]
fn every_file_says_what_it_is_for() {
    hold(first_lines);
}

#[test]
fn a_file_without_a_first_line_is_caught() {
    pass(
        first_lines,
        &[("engine/src/pool.rs", "//! Holds what is admitted.\n")],
    );
    catch(
        first_lines,
        &[("engine/src/pool.rs", "use std::fmt;\n")],
        "engine/src/pool.rs: the first line",
    );
    catch(
        first_lines,
        &[("engine/src/pool.rs", "\n//! Too late.\n")],
        "engine/src/pool.rs: the first line",
    );
    catch(
        first_lines,
        &[("engine/src/pool.rs", "//!\n")],
        "engine/src/pool.rs: the first line",
    );
}

fn first_lines(tree: &Tree) -> Vec<String> {
    tree.ending(&[".rs"])
        .filter(|(_, text)| {
            !text
                .lines()
                .next()
                .is_some_and(|line| line.starts_with("//! ") && line.len() > 8)
        })
        .map(|(path, _)| {
            format!("{path}: the first line is not `//!` and a sentence saying what the file is for")
        })
        .collect()
}

#[test]
fn nothing_is_named_for_nothing() {
    hold(names);
}

#[test]
fn a_module_named_for_nothing_is_caught() {
    for declaration in [
        "mod utils;",
        "pub mod common;",
        "pub(crate) mod misc {",
        "    mod manager;",
        "mod shared;",
    ] {
        catch(
            names,
            &[("ai/src/lib.rs", &format!("//! Scores.\n{declaration}\n"))],
            "ai/src/lib.rs:2: name the module",
        );
    }
    catch(
        names,
        &[("ai/src/utils/rows.rs", "//! Rows.\n")],
        "ai/src/utils/rows.rs: name the folder or file",
    );
    catch(
        names,
        &[("ai/src/common.rs", "//! Rows.\n")],
        "ai/src/common.rs: name the folder or file",
    );
    pass(
        names,
        &[(
            "ai/src/lib.rs",
            "//! Rows.\nmod sharedness;\n// the mod utils; was here\nlet model = common;\n",
        )],
    );
}

const NAMELESS: [&str; 6] = ["utils", "util", "common", "misc", "manager", "shared"];

fn names(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(&[".rs"]) {
        if path
            .trim_end_matches(".rs")
            .split('/')
            .any(|part| NAMELESS.contains(&part))
        {
            findings.push(format!("{path}: name the folder or file for what it holds"));
        }
        for (number, _) in (1..)
            .zip(text.lines())
            .filter(|(_, line)| module(line).is_some_and(|name| NAMELESS.contains(&name)))
        {
            findings.push(format!("{path}:{number}: name the module for what it holds"));
        }
    }
    findings
}

/// The name that a line `mod name;` or `mod name {` declares, whatever its visibility.
fn module(line: &str) -> Option<&str> {
    let line = line.trim().trim_end_matches([';', '{', '}', ' ']);
    let (before, name) = line.rsplit_once("mod ").unwrap_or(("-", line));
    let visible = before.is_empty() || (before.starts_with("pub") && before.ends_with(' '));
    visible.then_some(name)
}

#[test]
fn nothing_unfinished_or_asleep_is_merged() {
    hold(unfinished);
}

// In two halves each, so that this file does not catch itself.
const FIX_ME: &str = concat!("FIX", "ME");
const IGNORE: &str = concat!("#[", "ignore");
const THREAD_SLEEP: &str = concat!("thread::", "sleep(");
const TIMER_SLEEP: &str = concat!("time::", "sleep(");

#[test]
fn unfinished_work_and_sleep_are_caught() {
    let check = |path: &str, line: &str, want: &str| {
        catch(unfinished, &[(path, &format!("//! It.\n{line}\n"))], want)
    };
    check(
        "ai/src/lib.rs",
        &format!("// {FIX_ME} later"),
        "ai/src/lib.rs:2: mend it",
    );
    check(".ci/run", &format!("# {FIX_ME}"), ".ci/run:2: mend it");
    check(
        "ai/src/lib.rs",
        &format!("{IGNORE}]"),
        "ai/src/lib.rs:2: a test runs or goes",
    );
    check(
        "ai/src/lib.rs",
        &format!("{IGNORE} = \"slow\"]"),
        "ai/src/lib.rs:2: a test runs or goes",
    );
    check(
        "tests/it/crash.rs",
        &format!("std::{THREAD_SLEEP}PAUSE);"),
        "tests/it/crash.rs:2: wait for the event",
    );
    check(
        "ai/src/off_tests.rs",
        &format!("{THREAD_SLEEP}PAUSE);"),
        "ai/src/off_tests.rs:2: wait for the event",
    );
    check(
        "tests/it/process.rs",
        &format!("tokio::{TIMER_SLEEP}PAUSE).await;"),
        "tests/it/process.rs:2: wait for the event",
    );
    let below = format!("//! It.\n#[cfg(test)]\nmod tests {{\ntokio::{TIMER_SLEEP}PAUSE).await;\n}}\n");
    catch(
        unfinished,
        &[("node/src/run.rs", &below)],
        "node/src/run.rs:4: wait for the event",
    );
    let above = format!("//! It.\ntokio::{TIMER_SLEEP}BACKOFF).await;\n#[cfg(test)]\nmod tests {{}}\n");
    pass(unfinished, &[("node/src/client.rs", &above)]);
}

fn unfinished(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(&[".rs", ".sh", ".ci/run", ".ci/nightly", "Cargo.toml"]) {
        // Elsewhere clippy bans sleeping, but for exceptions that give their reason; in a test there is none: it always
        // stands for an event that nobody waits for.
        let mut in_tests = path.starts_with("tests/") || path.ends_with("tests.rs");
        for (number, line) in (1..).zip(text.lines()) {
            in_tests |= line.starts_with("mod tests {");
            if line.contains(FIX_ME) {
                findings.push(format!("{path}:{number}: mend it, or open an issue"));
            }
            if line.contains(IGNORE) {
                findings.push(format!("{path}:{number}: a test runs or goes"));
            }
            if in_tests
                && [THREAD_SLEEP, TIMER_SLEEP]
                    .iter()
                    .any(|sleep| line.contains(sleep))
            {
                findings.push(format!(
                    "{path}:{number}: wait for the event, with a limit, instead of sleeping"
                ));
            }
        }
    }
    findings
}

#[test]
fn no_path_of_a_machine_is_written_down() {
    hold(machine_paths);
}

#[test]
fn a_path_of_a_machine_is_caught() {
    for folder in MACHINE_FOLDERS {
        for line in [
            format!("let path = \"{folder}me/data\";"),
            format!("cd {folder}me"),
            format!("{folder}me"),
        ] {
            catch(
                machine_paths,
                &[("docs/operating.md", &line)],
                "docs/operating.md:1: a path of one machine",
            );
        }
    }
    let fine = "see https://example.org/home/ and ../home/index.md and $PREFIX/home/me";
    pass(machine_paths, &[("docs/operating.md", fine)]);
}

const MACHINE_FOLDERS: [&str; 5] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/t", "mp/"),
    concat!("/wo", "rk/"),
];

fn machine_paths(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(&[
        ".rs",
        ".toml",
        ".md",
        ".json",
        ".sh",
        ".js",
        ".html",
        ".yml",
        ".ci/run",
        ".ci/nightly",
    ]) {
        for (number, _) in (1..).zip(text.lines()).filter(|(_, line)| names_a_machine(line)) {
            findings.push(format!(
                "{path}:{number}: a path of one machine: write it from the root of the checkout"
            ));
        }
    }
    findings
}

/// Whether a folder of some machine starts a path here, rather than goes on with an address or a relative one.
fn names_a_machine(line: &str) -> bool {
    let starts_path =
        |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}*/".contains(c));
    MACHINE_FOLDERS
        .iter()
        .any(|folder| line.match_indices(folder).any(|(at, _)| starts_path(at)))
}
