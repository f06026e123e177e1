//! The prose holds together: the book lists all its pages, links lead somewhere, README and CI run the same tests.

use std::collections::BTreeSet;

use super::tree::Tree;
use super::{catch, hold, pass};

const SUMMARY: &str = "docs/SUMMARY.md";

#[test]
fn the_book_lists_every_page() {
    hold(pages);
}

#[test]
fn a_page_that_nobody_can_reach_is_caught() {
    let summary = "- [Start](README.md)\n- [Formats](formats/envelope.md)\n";
    let good = [
        (SUMMARY, summary),
        ("docs/README.md", "# It\n"),
        ("docs/formats/envelope.md", "# It\n"),
    ];
    pass(pages, &good);
    catch(
        pages,
        &good[..2],
        "docs/formats/envelope.md is listed but missing",
    );
    let lost = [&good[..], &[("docs/decisions/0001-star.md", "# It\n")]].concat();
    catch(pages, &lost, "docs/decisions/0001-star.md is not listed");
    catch(
        pages,
        &[("docs/README.md", "# It\n")],
        "docs/SUMMARY.md is missing",
    );
}

fn pages(tree: &Tree) -> Vec<String> {
    let Some(summary) = tree.text(SUMMARY) else {
        return vec![format!("{SUMMARY} is missing")];
    };
    let listed: BTreeSet<String> = links(summary).filter_map(|link| target(SUMMARY, link)).collect();
    let unlisted = tree
        .ending(&[".md"])
        .map(|(path, _)| path)
        .filter(|path| path.starts_with("docs/") && *path != SUMMARY && !listed.contains(*path))
        .map(|path| format!("{SUMMARY}: {path} is not listed"));
    let missing = listed
        .iter()
        .filter(|path| !tree.has(path))
        .map(|path| format!("{SUMMARY}: {path} is listed but missing"));
    unlisted.chain(missing).collect()
}

#[test]
fn every_link_leads_somewhere() {
    hold(dead_links);
}

#[test]
fn a_dead_link_is_caught() {
    let page = |link: &str| format!("# It\nsee [there]({link}) for more\n");
    let check = |link: &str| {
        catch(
            dead_links,
            &[("docs/formats/block.md", &page(link))],
            "leads nowhere",
        )
    };
    check("header.md");
    check("../../engine/src/lost.rs");
    check("../../../outside.md");
    check("header.md#round");
    for link in [
        "block.md",
        "#it",
        "../formats/",
        "https://example.org/x",
        "../../README.md#it",
    ] {
        pass(
            dead_links,
            &[("docs/formats/block.md", &page(link)), ("README.md", "# It\n")],
        );
    }
    pass(
        dead_links,
        &[("README.md", "```text\n[a](b.md)\n```\nor `[a](b.md)`\n")],
    );
}

fn dead_links(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(&[".md"]) {
        for link in links(text).filter(|link| !is_address(link)) {
            if !target(path, link).is_some_and(|target| tree.has(&target)) {
                findings.push(format!("{path}: ({link}) leads nowhere"));
            }
        }
    }
    findings
}

/// The targets of inline links, outside of code.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    let prose = text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    });
    prose.flat_map(|line| {
        let outside_code = line
            .match_indices("](")
            .filter(|(at, _)| line[..*at].matches('`').count() % 2 == 0);
        outside_code.filter_map(|(at, mark)| line[at + mark.len()..].split_once(')').map(|(link, _)| link))
    })
}

fn is_address(link: &str) -> bool {
    link.contains("://") || link.starts_with("mailto:")
}

/// The path from the root that `link` means on the page `page`; nothing when it leaves the checkout.
fn target(page: &str, link: &str) -> Option<String> {
    let link = link.split('#').next().unwrap_or_default();
    if link.is_empty() {
        return Some(page.to_owned());
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match part {
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[test]
fn the_readme_and_ci_run_the_same_tests() {
    hold(test_commands);
}

#[test]
fn different_test_commands_are_caught() {
    let readme = "# It\n```sh\ncargo test --workspace    # all of it\n```\n";
    pass(
        test_commands,
        &[
            ("README.md", readme),
            (".ci/run", "cargo test --workspace 2>&1 | tee \"$log\"\n"),
        ],
    );
    pass(
        test_commands,
        &[("README.md", readme), (".ci/run", "  cargo test --workspace\n")],
    );
    catch(
        test_commands,
        &[
            ("README.md", readme),
            (".ci/run", "cargo test --workspace --release\n"),
        ],
        "README.md says",
    );
    catch(
        test_commands,
        &[("README.md", readme), (".ci/run", "cargo build\n")],
        "README.md says",
    );
    catch(
        test_commands,
        &[("README.md", "# It\n"), (".ci/run", "cargo build\n")],
        "names no test command",
    );
}

fn test_commands(tree: &Tree) -> Vec<String> {
    let command = |path: &str| {
        tree.text(path)
            .and_then(|text| text.lines().find_map(test_command))
    };
    match (command("README.md"), command(".ci/run")) {
        (None, _) => vec!["README.md: names no test command".to_owned()],
        (said, run) if said != run => vec![format!("README.md says {said:?}, .ci/run runs {run:?}")],
        _ => Vec::new(),
    }
}

/// The `cargo test` with its arguments that starts a line, without redirections and comments.
fn test_command(line: &str) -> Option<&str> {
    let line = line.trim();
    let end = ["2>", "|", "#", ">"]
        .iter()
        .filter_map(|mark| line.find(mark))
        .min()
        .unwrap_or(line.len());
    line.starts_with("cargo test").then(|| line[..end].trim())
}
