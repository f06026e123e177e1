//! The pack: TOML in, rules out, and everything wrong refused by name.

use super::condition::{Condition, ConditionError, Lists};
use super::fire::{Effect, Rule, Rules};
use crate::score::SCORE_MAX;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use thiserror::Error;

/// A pack to begin with: about ten rules, each with a word of why.
pub const STARTER: &str = include_str!("../../rules/starter.toml");

/// Bytes of a pack: lists of a few million accounts fit.
pub const RULES_BYTES_MAX: usize = 64 << 20;
/// Rules of a pack.
pub const RULES_MAX: usize = 64;
/// Conditions of a rule.
pub const CONDITIONS_MAX: usize = 16;
/// Lists of a pack.
pub const LISTS_MAX: usize = 64;
/// Accounts of a list.
pub const LIST_ACCOUNTS_MAX: usize = 1_000_000;
/// Bytes of a code, and of the name of a list or pack.
pub const CODE_BYTES_MAX: usize = 64;
/// Bytes of what a rule says.
pub const SAYS_BYTES_MAX: usize = 256;
/// Bytes of a condition.
pub const CONDITION_BYTES_MAX: usize = 256;

/// Why a text is no pack of rules.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum RulesError {
    /// It is too long.
    #[error("{bytes} bytes are more than {RULES_BYTES_MAX}")]
    TooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// It is not UTF-8.
    #[error("byte {at} is not text")]
    Text {
        /// The first byte that is wrong.
        at: usize,
    },
    /// It is not TOML, or has a key that packs do not know, or lacks one.
    #[error("it is no pack of rules: {why}")]
    Toml {
        /// What is wrong with it, and where.
        why: Box<toml::de::Error>,
    },
    /// Its name is empty, too long, or has characters that do not print.
    #[error(
        "the pack's name `{name}` has no letters, does not print, or has more than {CODE_BYTES_MAX} bytes"
    )]
    Name {
        /// What was written.
        name: String,
    },
    /// The score when nothing fires is none.
    #[error("base = {base} is not a score from 0 to {SCORE_MAX}")]
    Base {
        /// What was written.
        base: i64,
    },
    /// It has too many rules.
    #[error("{rules} rules are more than {RULES_MAX}")]
    TooManyRules {
        /// Its rules.
        rules: usize,
    },
    /// It has too many lists.
    #[error("{lists} lists are more than {LISTS_MAX}")]
    TooManyLists {
        /// Its lists.
        lists: usize,
    },
    /// A list is wrong.
    #[error("list `{list}`: {why}")]
    List {
        /// Its name.
        list: String,
        /// What is wrong with it.
        why: ListError,
    },
    /// A rule is wrong.
    #[error("rule `{rule}`: {why}")]
    Rule {
        /// Its code, or its number where it has none.
        rule: String,
        /// What is wrong with it.
        why: RuleError,
    },
}

/// What is wrong with a list.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ListError {
    /// Its name is none.
    #[error(
        "a name takes small letters, digits and _, begins with a letter, and has at most {CODE_BYTES_MAX} bytes"
    )]
    Name,
    /// Another has its name.
    #[error("another list has that name")]
    Duplicate,
    /// It is too long.
    #[error("{accounts} accounts are more than {LIST_ACCOUNTS_MAX}")]
    TooLong {
        /// Its accounts.
        accounts: usize,
    },
    /// A member is no account.
    #[error("`{account}` is no account")]
    Account {
        /// What was written.
        account: String,
    },
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum RuleError {
    /// It has a key that rules do not know, lacks one, or has a value of another kind.
    #[error("{}", why.to_string().trim_end().replace('\n', " "))]
    Key {
        /// What is wrong with it.
        why: Box<toml::de::Error>,
    },
    /// Its code is none.
    #[error(
        "a code takes small letters, digits and _, begins with a letter, and has at most {CODE_BYTES_MAX} bytes"
    )]
    Code,
    /// Another has its code.
    #[error("another rule has that code")]
    Duplicate,
    /// What it says is empty, too long, or does not print.
    #[error("says must be words that print, of at most {SAYS_BYTES_MAX} bytes")]
    Says,
    /// It does nothing to the score, or two things.
    #[error("either score or add says what it does to the score")]
    Effect,
    /// What it does to the score is out of bounds.
    #[error("{key} = {value} is not from 1 to {SCORE_MAX}")]
    Score {
        /// `score` or `add`.
        key: &'static str,
        /// What was written.
        value: i64,
    },
    /// It has no condition, or too many.
    #[error("{conditions} conditions: a rule has from 1 to {CONDITIONS_MAX}")]
    Conditions {
        /// How many.
        conditions: usize,
    },
    /// A condition is wrong.
    #[error("`{condition}`: {why}")]
    Condition {
        /// As it was written; its beginning, where it is too long.
        condition: String,
        /// What is wrong with it.
        why: ConditionError,
    },
}

/// What a pack's text says, before anything is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pack {
    name: String,
    version: u32,
    base: i64,
    #[serde(default)]
    list: Vec<ListText>,
    // Tables, so that what is wrong with a rule can be told with its code.
    #[serde(default)]
    rule: Vec<toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListText {
    name: String,
    accounts: Vec<Account>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "an account is a whole number, or its digits in quotes")]
enum Account {
    Number(i64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    code: String,
    says: String,
    score: Option<i64>,
    add: Option<i64>,
    when: Vec<String>,
}

impl Rules {
    /// Reads a pack.
    pub fn parse(bytes: &[u8]) -> Result<Self, RulesError> {
        if bytes.len() > RULES_BYTES_MAX {
            return Err(RulesError::TooLong { bytes: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|error| RulesError::Text {
            at: error.valid_up_to(),
        })?;
        let pack: Pack = toml::from_str(text).map_err(|why| RulesError::Toml { why: Box::new(why) })?;
        Self::compile(text, pack)
    }

    fn compile(text: &str, pack: Pack) -> Result<Self, RulesError> {
        if !prints(&pack.name, CODE_BYTES_MAX) {
            return Err(RulesError::Name {
                name: beginning(&pack.name),
            });
        }
        let base = score(pack.base).ok_or(RulesError::Base { base: pack.base })?;
        let lists = lists(pack.list)?;
        Ok(Self {
            text: text.into(),
            name: pack.name,
            version: pack.version,
            base,
            rules: rules(pack.rule, &lists)?,
        })
    }
}

fn lists(texts: Vec<ListText>) -> Result<Lists, RulesError> {
    if texts.len() > LISTS_MAX {
        return Err(RulesError::TooManyLists { lists: texts.len() });
    }
    let mut lists = Lists::new();
    for text in texts {
        let wrong = |why| RulesError::List {
            list: beginning(&text.name),
            why,
        };
        if !is_code(&text.name) {
            return Err(wrong(ListError::Name));
        }
        let accounts = accounts(&text.accounts).map_err(wrong)?;
        if lists.insert(text.name.clone(), accounts).is_some() {
            return Err(wrong(ListError::Duplicate));
        }
    }
    Ok(lists)
}

fn accounts(texts: &[Account]) -> Result<Arc<[u128]>, ListError> {
    if texts.len() > LIST_ACCOUNTS_MAX {
        return Err(ListError::TooLong {
            accounts: texts.len(),
        });
    }
    let mut accounts = texts
        .iter()
        .map(Account::id)
        .collect::<Result<Vec<u128>, ListError>>()?;
    accounts.sort_unstable();
    Ok(accounts.into())
}

impl Account {
    fn id(&self) -> Result<u128, ListError> {
        let id = match self {
            Self::Number(number) => u128::try_from(*number).ok(),
            Self::Text(text) => digits(text),
        };
        id.ok_or_else(|| ListError::Account {
            account: match self {
                Self::Number(number) => number.to_string(),
                Self::Text(text) => beginning(text),
            },
        })
    }
}

/// A number of digits alone: the standard library takes a sign too.
fn digits(text: &str) -> Option<u128> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn rules(tables: Vec<toml::Table>, lists: &Lists) -> Result<Vec<Rule>, RulesError> {
    if tables.len() > RULES_MAX {
        return Err(RulesError::TooManyRules { rules: tables.len() });
    }
    let mut codes = BTreeSet::new();
    let mut rules = Vec::with_capacity(tables.len());
    for (number, table) in (1..).zip(tables) {
        let name = match table.get("code").and_then(toml::Value::as_str) {
            Some(code) => beginning(code),
            None => format!("number {number}"),
        };
        let wrong = |why| RulesError::Rule { rule: name, why };
        let rule = match rule(table, lists) {
            Ok(rule) if codes.contains(&rule.code) => return Err(wrong(RuleError::Duplicate)),
            rule => rule.map_err(wrong)?,
        };
        codes.insert(rule.code.clone());
        rules.push(rule);
    }
    Ok(rules)
}

fn rule(table: toml::Table, lists: &Lists) -> Result<Rule, RuleError> {
    let text: RuleText = table
        .try_into()
        .map_err(|why| RuleError::Key { why: Box::new(why) })?;
    if !is_code(&text.code) {
        return Err(RuleError::Code);
    }
    if !prints(&text.says, SAYS_BYTES_MAX) {
        return Err(RuleError::Says);
    }
    let effect = effect(text.score, text.add)?;
    let conditions = text.when.len();
    if conditions == 0 || conditions > CONDITIONS_MAX {
        return Err(RuleError::Conditions { conditions });
    }
    let when = text.when.iter().map(|text| condition(text, lists));
    Ok(Rule {
        effect,
        when: when.collect::<Result<_, _>>()?,
        code: text.code,
        says: text.says,
    })
}

fn effect(at_least: Option<i64>, add: Option<i64>) -> Result<Effect, RuleError> {
    let (key, value, effect): (_, _, fn(u8) -> Effect) = match (at_least, add) {
        (Some(value), None) => ("score", value, Effect::AtLeast),
        (None, Some(value)) => ("add", value, Effect::Add),
        _ => return Err(RuleError::Effect),
    };
    let points = score(value).filter(|points| *points > 0);
    points.map(effect).ok_or(RuleError::Score { key, value })
}

fn condition(text: &str, lists: &Lists) -> Result<Condition, RuleError> {
    Condition::parse(text, lists).map_err(|why| RuleError::Condition {
        condition: beginning(text),
        why,
    })
}

fn score(value: i64) -> Option<u8> {
    u8::try_from(value).ok().filter(|score| *score <= SCORE_MAX)
}

fn is_code(text: &str) -> bool {
    let is_of_a_code = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.len() <= CODE_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(is_of_a_code)
}

fn prints(text: &str, bytes_max: usize) -> bool {
    text.len() <= bytes_max && !text.trim().is_empty() && !text.chars().any(char::is_control)
}

/// What an error quotes of a text that may be of any length.
fn beginning(text: &str) -> String {
    text.chars().take(CODE_BYTES_MAX).collect()
}
