//! Models on the command line: their files, where a node looks for them, and what `ai show` says of them.

use super::super::Failure;
use selfchain_ai::model::{Model, Predict, Scoring, default_model};
use selfchain_ai::rules::{Condition, Effect, Rule, Rules};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The model of a file, or the one that comes with the program.
pub(in super::super) fn read_model(path: Option<&Path>) -> Result<Model, Failure> {
    let Some(path) = path else {
        return Ok(default_model());
    };
    let cannot = || format!("cannot read the model {}", path.display());
    let bytes = fs::read(path).map_err(|error| Failure::usage(cannot(), "").because(&error))?;
    Model::read(&bytes).map_err(|error| Failure::usage(cannot(), MODEL_NEXT).because(&error))
}

/// The models of a data directory: files `*.safetensors`, and packs of rules `*.toml`, in its folder
/// `models`.
pub(in super::super) fn models_in(data: &Path) -> Result<Vec<Arc<Model>>, Failure> {
    let folder = data.join(MODELS_FOLDER);
    let files = match fs::read_dir(&folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let what = format!("cannot read the folder {}", folder.display());
            return Err(Failure::usage(what, "").because(&error));
        }
    };
    let mut paths: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
    paths.retain(|path| is_model_file(path));
    paths.sort();
    if paths.len() > MODELS_MAX {
        let what = format!(
            "{} models in {}, at most {MODELS_MAX} are loaded",
            paths.len(),
            folder.display()
        );
        return Err(Failure::usage(what, "move those away that are not used"));
    }
    paths
        .iter()
        .map(|path| read_model(Some(path)).map(Arc::new))
        .collect()
}

/// Whether a node loads a file of this name.
pub(in super::super) fn is_model_file(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    extension == "safetensors" || extension == "toml"
}

/// Where a node looks for models, in its data directory.
pub(in super::super) const MODELS_FOLDER: &str = "models";
/// Most models that a node loads.
const MODELS_MAX: usize = 64;
const MODEL_NEXT: &str = "see what a file is with `selfchain ai show FILE`";

/// A model's card as people read it, and its rules.
pub(super) fn describe(model: &Model) -> String {
    let card = model.card();
    let mut text = format!("{model}\n");
    for (name, value) in [
        ("data", &card.data),
        ("split", &card.split),
        ("licence", &card.licence),
        ("command", &card.command),
        ("notes", &card.notes),
    ] {
        if !value.is_empty() {
            text = format!("{text}{name:<10} {value}\n");
        }
    }
    for (name, value) in &card.metrics {
        text = format!("{text}{name:<36} {value:.4}\n");
    }
    for rule in rules_of(model).iter().flat_map(|rules| rules.rules()) {
        text = format!("{text}rule       {}\n", rule_text(rule));
    }
    text
}

/// The same for programs.
pub(super) fn value_of(model: &Model) -> Value {
    let mut value = json!({
        "hash": model.hash().to_hex(),
        "exact": model.is_exact(),
        "card": model.card(),
    });
    if let Some(rules) = rules_of(model) {
        value["version"] = rules.version().into();
        value["base"] = rules.base().into();
        value["rules"] = rules.rules().iter().map(rule_value).collect();
    }
    value
}

fn rules_of(model: &Model) -> Option<&Rules> {
    match model.scoring() {
        Scoring::Rules(rules) => Some(rules),
        _ => None,
    }
}

/// A rule as people read it: its code, what it does to the score, what it says, and what it asks.
pub(super) fn rule_text(rule: &Rule) -> String {
    let effect = match rule.effect {
        Effect::AtLeast(score) => format!("at least {score}"),
        Effect::Add(more) => format!("{more} more"),
    };
    let when: Vec<&str> = rule.when.iter().map(Condition::text).collect();
    format!("{} ({effect}): {} [{}]", rule.code, rule.says, when.join(", "))
}

/// The same for programs.
pub(super) fn rule_value(rule: &Rule) -> Value {
    let (at_least, add) = match rule.effect {
        Effect::AtLeast(score) => (Some(score), None),
        Effect::Add(more) => (None, Some(more)),
    };
    let when: Vec<&str> = rule.when.iter().map(Condition::text).collect();
    json!({ "code": rule.code, "says": rule.says, "score": at_least, "add": add, "when": when })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use selfchain_ai::rules::STARTER;

    #[test]
    fn a_node_loads_files_of_both_kinds_from_its_folder_and_says_which_one_is_wrong() {
        let data = tempfile::tempdir().unwrap();
        assert!(models_in(data.path()).unwrap().is_empty(), "no folder, no models");
        let folder = data.path().join(MODELS_FOLDER);
        fs::create_dir(&folder).unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
        write("pack.toml", STARTER.as_bytes());
        write("shipped.safetensors", &default_model().to_bytes());
        write("notes.txt", b"no model");
        let models = models_in(data.path()).unwrap();
        let names: Vec<&str> = models.iter().map(|model| &*model.card().name).collect();
        assert_eq!(names, ["starter", &*default_model().card().name]);
        write("wrong.toml", b"rule = []");
        let failure = models_in(data.path()).unwrap_err();
        assert!(failure.what.contains("wrong.toml"), "{}", failure.what);
        assert!(
            failure.causes[0].contains("neither safetensors nor a pack"),
            "{:?}",
            failure.causes
        );
    }

    #[test]
    fn a_packs_rules_are_shown_with_its_card() {
        let model = Model::read(STARTER.as_bytes()).unwrap();
        let text = describe(&model);
        let rule = "rule       woken (50 more): the sender was silent for two months and now makes its greatest \
                    payment [from_gap_out > 60 d, from_gap_out is not never, from_max > 1 x, amount >= 10_000]";
        assert!(text.lines().any(|line| line == rule), "{text}");
        let value = value_of(&model);
        assert_eq!((&value["version"], &value["base"]), (&json!(1), &json!(20)));
        assert_eq!(value["rules"].as_array().unwrap().len(), 13);
        assert_eq!(value["rules"][2]["code"], "over_limit");
        assert_eq!(value["rules"][2]["score"], 127);
        assert!(value_of(&default_model()).get("rules").is_none());
    }
}
