//! The architecture test: the rules of ARCHITECTURE and STYLE that a machine can hold, each proved to catch its sin.

mod arrows;
mod bans;
mod book;
mod sources;
mod tree;

use tree::Tree;

/// Fails with every finding of `check` on this checkout, one a line.
fn hold(check: fn(&Tree) -> Vec<String>) {
    let findings = check(&Tree::checkout());
    assert!(
        findings.is_empty(),
        "{} finding(s):\n  {}\n",
        findings.len(),
        findings.join("\n  ")
    );
}

/// Fails unless `check` finds something that says `want` in a small tree made to be wrong.
fn catch(check: fn(&Tree) -> Vec<String>, files: &[(&str, &str)], want: &str) {
    let findings = check(&Tree::of(files));
    assert!(
        findings.iter().any(|finding| finding.contains(want)),
        "nothing says {want:?}: {findings:#?}"
    );
}

/// Fails when `check` finds anything in a small tree made to be right.
fn pass(check: fn(&Tree) -> Vec<String>, files: &[(&str, &str)]) {
    let findings = check(&Tree::of(files));
    assert!(findings.is_empty(), "{findings:#?}");
}
