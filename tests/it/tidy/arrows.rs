//! Who may depend on whom: the star around `types`, the fences around outside crates, one version table.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::Tree;
use super::{catch, hold, pass};

/// A package, and the others of ours that it may name, dev-dependencies included.
///
/// One arrow leaves the star: `node` carries the `bench` subcommand (docs/decisions/0005-bench-is-a-library-of-node.md),
/// so `bench` must never name `node`.
const ARROWS: [(&str, &str); 9] = [
    ("selfchain-types", ""),
    ("selfchain-transport", "selfchain-types"),
    ("selfchain-engine", "selfchain-types"),
    ("selfchain-ai", "selfchain-types"),
    ("selfchain-consensus", "selfchain-types"),
    ("selfchain-storage", "selfchain-types"),
    ("selfchain-bench", BENCH),
    ("selfchain", NODE),
    ("selfchain-tests", ANY),
];

const BENCH: &str =
    "selfchain-types selfchain-transport selfchain-engine selfchain-ai selfchain-consensus selfchain-storage";
const NODE: &str = "selfchain-types selfchain-transport selfchain-engine selfchain-ai selfchain-consensus selfchain-storage selfchain-bench";
const ANY: &str = "selfchain-types selfchain-transport selfchain-engine selfchain-ai selfchain-consensus selfchain-storage \
    selfchain-bench selfchain";

/// Outside crates (a `*` at the end stands for any ending) and the only packages that may name them.
const FENCES: [(&[&str], &[&str]); 11] = [
    (
        &["tokio*", "quinn*", "libp2p*", "async-*", "futures*", "smol*"],
        &["selfchain-transport", "selfchain", "selfchain-tests"],
    ),
    (
        &["rustls*"],
        &["selfchain-transport", "selfchain", "selfchain-tests"],
    ),
    (&["redb", "fjall", "rocksdb", "sled"], &["selfchain-storage"]),
    (&["candle*", "safetensors"], &["selfchain-ai"]),
    (
        &[
            "axum*",
            "hyper*",
            "tower*",
            "reqwest",
            "ureq",
            "clap*",
            "prometheus-client",
        ],
        &["selfchain"],
    ),
    (
        // In `ai` for the card of a model file alone.
        &["serde_json"],
        &["selfchain", "selfchain-ai", "selfchain-bench", "selfchain-tests"],
    ),
    // The rivals that the harness measures; nothing else of ours speaks SQL.
    (&["rusqlite", "postgres*", "sqlx*"], &["selfchain-bench"]),
    // One signature library, behind `types`: the harness alone measures it bare, to know the ceiling.
    (
        &["ed25519-*", "curve25519-*", "ed25519"],
        &["selfchain-types", "selfchain-bench", "selfchain-tests"],
    ),
    // The format of backups.
    (&["age*", "zstd*", "lz4*"], &["selfchain-storage"]),
    // Ciphers behind `types` too.
    (&["chacha20*", "aes-gcm*", "argon2"], &["selfchain-types"]),
    // Signatures after quantum computers; the tests hold them against a second implementation of each.
    (
        &["fips*", "hpke", "ml-dsa", "ml-kem", "slh-dsa", "pqcrypto*"],
        &["selfchain-types", "selfchain-tests"],
    ),
];

#[test]
fn the_arrows_point_at_types() {
    hold(arrows);
}

#[test]
fn a_sibling_arrow_is_caught_even_in_dev_dependencies() {
    let root = workspace(&["consensus"], "selfchain-storage = { path = \"storage\" }");
    for section in [
        "dependencies",
        "dev-dependencies",
        "build-dependencies",
        "target.'cfg(unix)'.dependencies",
    ] {
        let manifest = format!(
            "[package]\nname = \"selfchain-consensus\"\n[{section}]\nselfchain-storage.workspace = true\n"
        );
        catch(
            arrows,
            &[("Cargo.toml", &root), ("consensus/Cargo.toml", &manifest)],
            "must not depend on selfchain-storage",
        );
    }
}

#[test]
fn a_renamed_sibling_is_caught() {
    let root = workspace(
        &["ai"],
        "log = { path = \"storage\", package = \"selfchain-storage\" }",
    );
    let manifest = "[package]\nname = \"selfchain-ai\"\n[dependencies]\nlog.workspace = true\n";
    catch(
        arrows,
        &[("Cargo.toml", &root), ("ai/Cargo.toml", manifest)],
        "must not depend on selfchain-storage",
    );
}

#[test]
fn node_may_use_bench_but_never_the_reverse() {
    let root = workspace(
        &["node", "bench"],
        "selfchain = { path = \"node\" }\nselfchain-bench = { path = \"bench\" }",
    );
    let node = "[package]\nname = \"selfchain\"\n[dependencies]\nselfchain-bench.workspace = true\n";
    let alone = "[package]\nname = \"selfchain-bench\"\n";
    let back = "[package]\nname = \"selfchain-bench\"\n[dev-dependencies]\nselfchain.workspace = true\n";
    pass(
        arrows,
        &[
            ("Cargo.toml", &root),
            ("node/Cargo.toml", node),
            ("bench/Cargo.toml", alone),
        ],
    );
    catch(
        arrows,
        &[
            ("Cargo.toml", &root),
            ("node/Cargo.toml", node),
            ("bench/Cargo.toml", back),
        ],
        "bench/Cargo.toml: selfchain-bench must not depend on selfchain",
    );
}

#[test]
fn an_unknown_package_is_caught() {
    let root = workspace(&["extra"], "");
    catch(
        arrows,
        &[
            ("Cargo.toml", &root),
            ("extra/Cargo.toml", "[package]\nname = \"extra\"\n"),
        ],
        "no arrows are stated for",
    );
}

fn arrows(tree: &Tree) -> Vec<String> {
    let allowed: BTreeMap<&str, &str> = ARROWS.into_iter().collect();
    let mut findings = Vec::new();
    for package in packages(tree) {
        let Some(targets) = allowed.get(package.name.as_str()) else {
            findings.push(format!(
                "{}: no arrows are stated for {}: add it to ARROWS",
                package.path, package.name
            ));
            continue;
        };
        for name in package
            .dependencies
            .iter()
            .filter(|name| is_ours(name) && !targets.split(' ').any(|target| target == *name))
        {
            findings.push(format!(
                "{}: {} must not depend on {name}",
                package.path, package.name
            ));
        }
    }
    findings
}

#[test]
fn outside_crates_stay_behind_their_fences() {
    hold(fences);
}

#[test]
fn a_crate_outside_its_fence_is_caught() {
    for (package, name) in [
        ("selfchain-engine", "tokio"),
        ("selfchain-engine", "tokio-util"),
        ("selfchain-consensus", "libp2p"),
        ("selfchain", "redb"),
        ("selfchain", "candle-core"),
        ("selfchain-storage", "serde_json"),
        ("selfchain-transport", "axum"),
        ("selfchain-engine", "ed25519-zebra"),
        ("selfchain-transport", "fips205"),
    ] {
        let root = workspace(&["it"], &format!("{name} = \"1\""));
        let manifest =
            format!("[package]\nname = \"{package}\"\n[dev-dependencies]\n{name}.workspace = true\n");
        catch(
            fences,
            &[("Cargo.toml", &root), ("it/Cargo.toml", &manifest)],
            &format!("{package} must not name {name}"),
        );
    }
}

fn fences(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for package in packages(tree) {
        for name in &package.dependencies {
            for (crates, owners) in FENCES {
                if crates.iter().any(|pattern| matches(pattern, name))
                    && !owners.contains(&package.name.as_str())
                {
                    findings.push(format!(
                        "{}: {} must not name {name}: only {owners:?} may",
                        package.path, package.name
                    ));
                }
            }
        }
    }
    findings
}

#[test]
fn every_package_inherits_lints_and_versions() {
    hold(inheritance);
}

#[test]
fn own_lints_and_own_versions_are_caught() {
    let root = workspace(&["ai"], "csv = \"1\"");
    let own_version =
        "[package]\nname = \"selfchain-ai\"\n[lints]\nworkspace = true\n[dependencies]\ncsv = \"1.3\"\n";
    let no_lints = "[package]\nname = \"selfchain-ai\"\n";
    let own_lints = "[package]\nname = \"selfchain-ai\"\n[lints.rust]\nunsafe_code = \"allow\"\n";
    catch(
        inheritance,
        &[("Cargo.toml", &root), ("ai/Cargo.toml", own_version)],
        "csv has a version of its own",
    );
    catch(
        inheritance,
        &[("Cargo.toml", &root), ("ai/Cargo.toml", no_lints)],
        "does not inherit the workspace lints",
    );
    catch(
        inheritance,
        &[("Cargo.toml", &root), ("ai/Cargo.toml", own_lints)],
        "does not inherit the workspace lints",
    );
}

fn inheritance(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for path in manifests(tree) {
        let manifest = tree.toml(&path);
        let lints = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(toml::Value::as_bool);
        if lints != Some(true) {
            findings.push(format!(
                "{path}: does not inherit the workspace lints: write [lints] workspace = true"
            ));
        }
        for (key, value) in dependency_tables(&manifest).into_iter().flatten() {
            if value.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                findings.push(format!(
                    "{path}: {key} has a version of its own: put it in the root's table"
                ));
            }
        }
    }
    findings
}

#[test]
fn every_dependency_says_why_it_is_here() {
    hold(reasons);
}

#[test]
fn a_dependency_without_a_reason_and_a_reason_without_a_dependency_are_caught() {
    let root = workspace(&[], "csv = \"1\"\nselfchain-types = { path = \"types\" }");
    catch(
        reasons,
        &[("Cargo.toml", &root), (REASONS, "# Dependencies\n")],
        "csv has no line",
    );
    catch(
        reasons,
        &[("Cargo.toml", &root), (REASONS, "| `csv` | |\n")],
        "csv has no line",
    );
    catch(
        reasons,
        &[
            ("Cargo.toml", &root),
            (REASONS, "| `csv` | reads |\n| `left-pad` | pads |\n"),
        ],
        "left-pad is no dependency",
    );
    pass(
        reasons,
        &[("Cargo.toml", &root), (REASONS, "| `csv` | reads transfers |\n")],
    );
}

const REASONS: &str = "docs/decisions/0003-dependencies.md";

fn reasons(tree: &Tree) -> Vec<String> {
    let table = version_table(tree);
    let outside: BTreeSet<&str> = table
        .iter()
        .filter(|(_, value)| value.get("path").is_none())
        .map(|(key, _)| key.as_str())
        .collect();
    let stated: BTreeSet<&str> = tree
        .text(REASONS)
        .unwrap_or_default()
        .lines()
        .filter_map(reason_row)
        .collect();
    let missing = outside
        .difference(&stated)
        .map(|name| format!("{REASONS}: {name} has no line: add | `{name}` | why |"));
    let stale = stated
        .difference(&outside)
        .map(|name| format!("{REASONS}: {name} is no dependency any more"));
    missing.chain(stale).collect()
}

/// The name in a row ``| `name` | why |`` whose why is not empty.
fn reason_row(line: &str) -> Option<&str> {
    let (name, why) = line.strip_prefix("| `")?.split_once("` |")?;
    (!why.trim_matches(['|', ' ']).is_empty()).then_some(name)
}

struct Package {
    path: String,
    name: String,
    dependencies: BTreeSet<String>,
}

fn packages(tree: &Tree) -> Vec<Package> {
    let versions = version_table(tree);
    let package = |path: String| {
        let manifest = tree.toml(&path);
        let dependencies = dependency_tables(&manifest)
            .into_iter()
            .flatten()
            .map(|(key, value)| {
                let inherited = versions.get(key).and_then(|entry| entry.get("package"));
                value
                    .get("package")
                    .or(inherited)
                    .and_then(toml::Value::as_str)
                    .unwrap_or(key)
                    .to_owned()
            })
            .collect();
        let name = manifest["package"]["name"]
            .as_str()
            .expect("a package has a name")
            .to_owned();
        Package {
            path,
            name,
            dependencies,
        }
    };
    manifests(tree).into_iter().map(package).collect()
}

fn manifests(tree: &Tree) -> Vec<String> {
    let root = tree.toml("Cargo.toml");
    let members = root["workspace"]["members"]
        .as_array()
        .expect("the workspace lists its members");
    members
        .iter()
        .map(|member| format!("{}/Cargo.toml", member.as_str().expect("a member is a path")))
        .collect()
}

fn version_table(tree: &Tree) -> toml::Table {
    tree.toml("Cargo.toml")["workspace"]["dependencies"]
        .as_table()
        .expect("the workspace has one version table")
        .clone()
}

/// Every table of dependencies: plain, dev and build, for all targets and for some.
fn dependency_tables(manifest: &toml::Table) -> Vec<&toml::Table> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let holders = targets
        .into_iter()
        .flat_map(toml::Table::values)
        .filter_map(toml::Value::as_table);
    holders
        .chain([manifest])
        .flat_map(|holder| {
            SECTIONS
                .iter()
                .filter_map(|section| holder.get(*section)?.as_table())
        })
        .collect()
}

const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

fn is_ours(name: &str) -> bool {
    name == "selfchain" || name.starts_with("selfchain-")
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(pattern == name, |start| name.starts_with(start))
}

fn workspace(members: &[&str], dependencies: &str) -> String {
    format!("[workspace]\nmembers = {members:?}\n[workspace.dependencies]\n{dependencies}\n")
}
