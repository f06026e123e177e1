//! Rules that people write: a pack in TOML becomes a model that is the same on every processor.
//!
//! # A pack
//!
//! ```toml
//! name = "starter"              # shown with the model
//! version = 1                   # of this pack, by its authors
//! base = 20                     # the score when nothing fires, 0 to 254
//!
//! [[list]]                      # accounts with a name; those past 2^63 in quotes
//! name = "sanctioned"
//! accounts = [1001, "340282366920938463463374607431768211454"]
//!
//! [[rule]]
//! code = "new_payee_large"      # for programs: small letters, digits and _
//! says = "a large first payment to an account that is new"    # for whoever reviews
//! score = 200                   # at least this when it fires; or add = 15: so much more
//! when = ["pair is 0", "amount >= 1_000_000", "to_age < 2 d"] # all must hold
//! ```
//!
//! The score is the greatest of `base` and the `score` of rules that fire, plus the `add` of rules that fire, at
//! most 254. The order of rules does not matter.
//!
//! # Conditions
//!
//! ```text
//! condition = feature operator number [unit]
//!           | feature ("is" | "is not") word
//!           | ("from" | "to") ("in" | "not in") list
//! operator  = "is" | "is not" | "<" | "<=" | ">" | ">="
//! number    = ["-"] digits ["." digits]          at most six decimals; 1_000_000 may be grouped
//! ```
//!
//! A feature is one of [`crate::features::FEATURES`], in the unit that people use:
//!
//! | Features | Number | Remark |
//! |---|---|---|
//! | `amount` | units of the asset | exact, up to 2^128 − 1, from the operation itself |
//! | `digits`, `pair`, `from_count_out` and other counts | a whole number | counts end at 128: `>= 128` means "that or more" |
//! | `from_gap_out` and other gaps | with `s`, `m`, `h` or `d`, below 97 days | `never` is longer than any time |
//! | `from_age`, `to_age` | the same | `new` is younger than any time |
//! | `from_out_hour` and other decayed counts | transfers, below 4096 | five within the last minutes are a little less than 5 |
//! | `from_fan_out` and other fans | accounts, a whole number | an estimate, rounded |
//! | `to_young`, `to_report_share` | with `%` | |
//! | `drain`, `from_max`, `to_max`, `to_repeat`, `from_flow`, `to_flow`, `to_spread_in` | with `x`, from 1/65,536 to 65,536 times | `none` of the last three before them when there is no past: it is neither less nor more than anything |
//! | `from_deviation`, `to_deviation` | standard deviations, −8 to 8 | |
//! | `to_sum_in`, `to_mean_in` | units of the asset | |
//! | `from_reports` and other reports | reports, below 4096 | |
//!
//! Times, decayed counts, ratios, sums and reports are logarithms in a row, in steps of 1/256 of a doubling. A
//! number is rounded down to that scale in the way that the row was, so that two which lie within about half a
//! per cent of one another count as equal.
//!
//! What is wrong is refused by name: a key, feature, list or unit that is not known, a number out of bounds, a
//! condition that always holds or never does.

mod fire;
mod pack;
mod condition;
mod scale;
mod number;

#[cfg(test)]
mod tests;

pub use condition::{Condition, ConditionError};
pub use fire::{Effect, Rule, Rules};
pub use pack::{
    CODE_BYTES_MAX, CONDITION_BYTES_MAX, CONDITIONS_MAX, LIST_ACCOUNTS_MAX, LISTS_MAX, ListError,
    RULES_BYTES_MAX, RULES_MAX, RuleError, RulesError, SAYS_BYTES_MAX, STARTER,
};
