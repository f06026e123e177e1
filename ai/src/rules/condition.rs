//! A condition: its text, and the range of integers that it stands for.

use super::number::Decimal;
use super::scale::{self, Scale, Unit};
use crate::explain::{RECEIVER_LISTED, SENDER_LISTED};
use crate::features::{FEATURES, Row};
use selfchain_types::Operation;
use selfchain_types::risk::NO_REASON;
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

/// What must hold for a rule to fire.
#[derive(Clone, Debug)]
pub struct Condition {
    text: String,
    test: Test,
}

/// Why a condition is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConditionError {
    /// Its words are no condition at all.
    #[error("it reads neither `feature operator number [unit]` nor `from in list`")]
    Shape,
    /// It is longer than [`super::CONDITION_BYTES_MAX`].
    #[error("it has {bytes} bytes, more than {}", super::CONDITION_BYTES_MAX)]
    TooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// There is no such feature.
    #[error("there is no feature `{name}`")]
    Feature {
        /// What was written.
        name: String,
    },
    /// There is no such operator.
    #[error("there is no operator `{operator}`: use is, is not, <, <=, > or >=")]
    Operator {
        /// What was written.
        operator: String,
    },
    /// Only the two parties can be in a list.
    #[error("`{name}` cannot be in a list: `from` and `to` can")]
    Party {
        /// What was written.
        name: String,
    },
    /// There is no such list.
    #[error("there is no list `{name}`")]
    List {
        /// What was written.
        name: String,
    },
    /// It is no number.
    #[error("`{text}` is no number")]
    Number {
        /// What was written.
        text: String,
    },
    /// The feature has another unit, or none.
    #[error("{feature} takes {wanted} after the number, not `{unit}`")]
    Unit {
        /// The feature.
        feature: &'static str,
        /// What was written.
        unit: String,
        /// Its units.
        wanted: &'static str,
    },
    /// The feature never has that value.
    #[error("{number} is out of bounds for {feature}")]
    Bounds {
        /// The feature.
        feature: &'static str,
        /// What was written.
        number: String,
    },
    /// A word is neither more nor less than anything.
    #[error("`{word}` is neither more nor less than anything: use is or is not")]
    Order {
        /// The word.
        word: &'static str,
    },
    /// It holds for every transfer.
    #[error("it always holds")]
    Always,
    /// It holds for no transfer.
    #[error("it never holds")]
    Never,
}

/// One of the two accounts of a transfer.
#[derive(Clone, Copy, Debug)]
enum Party {
    /// The one that pays.
    From,
    /// The one that is paid.
    To,
}

/// The lists of a pack, by name; their accounts in order.
pub(super) type Lists = BTreeMap<String, Arc<[u128]>>;

#[derive(Clone, Debug)]
enum Test {
    Feature {
        at: usize,
        range: Range<i32>,
    },
    Amount(Range<u128>),
    Party {
        party: Party,
        list: Arc<[u128]>,
        is_in: bool,
    },
}

/// The amount's number in a row.
const AMOUNT: u8 = 0;

impl Condition {
    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The code of the reason that it gives: its feature's, or that of a list.
    pub(super) fn reason(&self) -> u8 {
        match &self.test {
            Test::Feature { at, .. } => u8::try_from(*at).unwrap_or(NO_REASON),
            Test::Amount(_) => AMOUNT,
            Test::Party {
                party: Party::From, ..
            } => SENDER_LISTED,
            Test::Party { party: Party::To, .. } => RECEIVER_LISTED,
        }
    }

    /// Whether it holds for a transfer and its row.
    pub(super) fn holds(&self, row: &Row, operation: &Operation) -> bool {
        match &self.test {
            Test::Feature { at, range } => range.holds(row.0[*at]),
            Test::Amount(range) => range.holds(operation.amount.get()),
            Test::Party { party, list, is_in } => {
                let account = match party {
                    Party::From => operation.debit.get(),
                    Party::To => operation.credit.get(),
                };
                list.binary_search(&account).is_ok() == *is_in
            }
        }
    }

    pub(super) fn parse(text: &str, lists: &Lists) -> Result<Self, ConditionError> {
        if text.len() > super::CONDITION_BYTES_MAX {
            return Err(ConditionError::TooLong { bytes: text.len() });
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let test = match words.as_slice() {
            [party, "in", list] => of_party(party, list, lists, true)?,
            [party, "not", "in", list] => of_party(party, list, lists, false)?,
            [name, "is", "not", value @ ..] => of_feature(name, Operator::IsNot, value)?,
            [name, operator, value @ ..] => of_feature(name, Operator::parse(operator)?, value)?,
            _ => return Err(ConditionError::Shape),
        };
        Ok(Self {
            text: text.to_owned(),
            test,
        })
    }
}

fn of_party(party: &str, list: &str, lists: &Lists, is_in: bool) -> Result<Test, ConditionError> {
    let party = match party {
        "from" => Party::From,
        "to" => Party::To,
        name => {
            return Err(ConditionError::Party {
                name: name.to_owned(),
            });
        }
    };
    match lists.get(list) {
        Some(list) => Ok(Test::Party {
            party,
            list: Arc::clone(list),
            is_in,
        }),
        None => Err(ConditionError::List {
            name: list.to_owned(),
        }),
    }
}

fn of_feature(name: &str, operator: Operator, value: &[&str]) -> Result<Test, ConditionError> {
    let value = Value::parse(value)?;
    if name == "amount" {
        return of_amount(operator, &value);
    }
    let (at, scale) = scale::of(name).ok_or_else(|| ConditionError::Feature {
        name: name.to_owned(),
    })?;
    let feature = &FEATURES[at];
    let range = match scale.word() {
        Some(word) if value.text == word => of_word(operator, word, scale, (feature.min, feature.max))?,
        _ => of_number(operator, &value, at, scale)?,
    };
    let range = range.unless_constant(feature.min, feature.max)?;
    Ok(Test::Feature { at, range })
}

fn of_amount(operator: Operator, value: &Value<'_>) -> Result<Test, ConditionError> {
    if !value.unit.is_empty() {
        return Err(value.wrong_unit("amount", "no unit"));
    }
    let amount = value
        .number()?
        .whole()
        .ok_or_else(|| value.out_of_bounds("amount"))?;
    let range = match operator {
        Operator::Is => Range::inside(amount, amount),
        Operator::IsNot => Range::outside(amount, amount),
        Operator::Less => Range::outside(amount, u128::MAX),
        Operator::AtMost => Range::inside(0, amount),
        Operator::More => Range::outside(0, amount),
        Operator::AtLeast => Range::inside(amount, u128::MAX),
    };
    range.unless_constant(0, u128::MAX).map(Test::Amount)
}

/// The word is the end of the feature's bounds that has no order.
fn of_word(
    operator: Operator,
    word: &'static str,
    scale: Scale,
    (min, max): (i32, i32),
) -> Result<Range<i32>, ConditionError> {
    let end = if scale == Scale::RatioOrNone { min } else { max };
    match operator {
        Operator::Is => Ok(Range::inside(end, end)),
        Operator::IsNot => Ok(Range::outside(end, end)),
        _ => Err(ConditionError::Order { word }),
    }
}

fn of_number(
    operator: Operator,
    value: &Value<'_>,
    at: usize,
    scale: Scale,
) -> Result<Range<i32>, ConditionError> {
    let feature = &FEATURES[at];
    let number = value.number()?;
    let factor = match scale.unit(value.unit) {
        Unit::Of(factor) => factor,
        Unit::Wrong(wanted) => return Err(value.wrong_unit(feature.name, wanted)),
    };
    let out_of_bounds = || value.out_of_bounds(feature.name);
    let (first, last) = scale.values(number, factor).ok_or_else(out_of_bounds)?;
    let (min, max) = scale.ordered(feature.min, feature.max);
    if first < min || first > scale.greatest(max) {
        return Err(out_of_bounds());
    }
    Ok(match operator {
        Operator::Is => Range::inside(first, last),
        Operator::IsNot => Range::outside(first, last),
        Operator::AtLeast => Range::inside(first, max),
        Operator::More => Range::inside(last + 1, max),
        // A new account is younger than any number, though its value is the greatest.
        Operator::Less if scale == Scale::Age => Range::outside(first, max),
        Operator::AtMost if scale == Scale::Age => Range::outside(last + 1, max),
        Operator::Less => Range::inside(min, first - 1),
        Operator::AtMost => Range::inside(min, last),
    })
}

#[derive(Clone, Copy)]
enum Operator {
    Is,
    IsNot,
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Operator {
    fn parse(text: &str) -> Result<Self, ConditionError> {
        Ok(match text {
            "is" => Self::Is,
            "<" => Self::Less,
            "<=" => Self::AtMost,
            ">" => Self::More,
            ">=" => Self::AtLeast,
            other => {
                return Err(ConditionError::Operator {
                    operator: other.to_owned(),
                });
            }
        })
    }
}

/// What a feature is compared with: `2 d`, `2d` or a word.
struct Value<'a> {
    text: &'a str,
    unit: &'a str,
}

impl<'a> Value<'a> {
    fn parse(words: &[&'a str]) -> Result<Self, ConditionError> {
        match *words {
            [word] if word.starts_with(|first: char| first.is_ascii_digit() || first == '-') => {
                let is_of_a_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '.' | '_');
                let (text, unit) =
                    word.split_at(word.find(|c: char| !is_of_a_number(c)).unwrap_or(word.len()));
                Ok(Self { text, unit })
            }
            [text] => Ok(Self { text, unit: "" }),
            [text, unit] => Ok(Self { text, unit }),
            _ => Err(ConditionError::Shape),
        }
    }

    fn number(&self) -> Result<Decimal, ConditionError> {
        Decimal::parse(self.text).ok_or_else(|| ConditionError::Number {
            text: self.text.to_owned(),
        })
    }

    fn wrong_unit(&self, feature: &'static str, wanted: &'static str) -> ConditionError {
        ConditionError::Unit {
            feature,
            unit: self.unit.to_owned(),
            wanted,
        }
    }

    fn out_of_bounds(&self, feature: &'static str) -> ConditionError {
        ConditionError::Bounds {
            feature,
            number: self.text.to_owned(),
        }
    }
}

/// The values from `low` to `high`, or all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range<T> {
    low: T,
    high: T,
    is_outside: bool,
}

impl<T: Copy + PartialOrd> Range<T> {
    fn inside(low: T, high: T) -> Self {
        Self {
            low,
            high,
            is_outside: false,
        }
    }

    fn outside(low: T, high: T) -> Self {
        Self {
            is_outside: true,
            ..Self::inside(low, high)
        }
    }

    fn holds(&self, value: T) -> bool {
        (self.low <= value && value <= self.high) != self.is_outside
    }

    /// Itself, unless it says the same of all values from `min` to `max`.
    fn unless_constant(self, min: T, max: T) -> Result<Self, ConditionError> {
        let is_all = self.low <= min && max <= self.high;
        let is_none = self.low > self.high;
        match (is_all, is_none) {
            (false, false) => Ok(self),
            _ if is_all != self.is_outside => Err(ConditionError::Always),
            _ => Err(ConditionError::Never),
        }
    }
}
