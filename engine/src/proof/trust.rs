//! Trust: what a verifier believes before it reads a proof. A chain, how far its roots lag, and one set of validators.
//!
//! It is read from the chain's genesis file, or from a validators file: a few lines of text that say which validators
//! decide from some height on, so that proofs can leave out how they came to.

use super::checkpoint::TrustedSigners;
use super::handover::TrustedSet;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use selfchain_types::codec::DecodeError;
use selfchain_types::crypto::{PublicKey, Scheme};
use selfchain_types::genesis::{Genesis, Validator};
use selfchain_types::{Hash, Height};
use thiserror::Error;

/// What a validators file begins with.
pub const TRUST_HEAD: &str = "selfchain-validators 1";
/// Most bytes of a trust file: a genesis of the most validators fits, with the longest keys.
pub const TRUST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most heights that roots may lag behind.
const ROOT_LAG_MAX: u64 = 16;

/// What a verifier believes. Table: `docs/formats/trust.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The chain.
    pub chain_id: Hash,
    /// Header `h` commits the roots after `h − root_lag`.
    pub root_lag: u64,
    /// Who decides, and from which height on.
    pub set: TrustedSet,
    /// Who signs checkpoints, where that is known: a genesis file says so, a validators file does not.
    pub signers: Option<TrustedSigners>,
}

/// Why a file is none that can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TrustError {
    /// It is neither a validators file nor a genesis.
    #[error("it does not begin with `{TRUST_HEAD}`, and is no genesis file either")]
    Genesis(#[from] DecodeError),
    /// It is too long.
    #[error("it has {got} bytes, and at most {TRUST_BYTES_MAX} are read")]
    Length {
        /// Its length.
        got: usize,
    },
    /// A line of a validators file.
    #[error("line {line}: {what} is expected, not `{got}`")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What should be there.
        what: &'static str,
        /// What is, cut short.
        got: String,
    },
    /// A validators file ends early.
    #[error("it ends before {what}")]
    End {
        /// What should follow.
        what: &'static str,
    },
}

impl Trust {
    /// Trusts those that a chain was born with.
    pub fn of_genesis(genesis: &Genesis) -> Self {
        Self {
            chain_id: genesis.chain_id(),
            root_lag: genesis.plane.root_lag(),
            set: TrustedSet::new(Height(1), genesis.validators.clone()),
            signers: TrustedSigners::of_genesis(genesis),
        }
    }

    /// Reads a genesis file or a validators file.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn read(bytes: &[u8]) -> Result<Self, TrustError> {
        if bytes.len() > TRUST_BYTES_MAX {
            return Err(TrustError::Length { got: bytes.len() });
        }
        match core::str::from_utf8(bytes) {
            Ok(text) if text.starts_with(TRUST_HEAD) => read_text(text),
            _ => Ok(Self::of_genesis(&Genesis::decode(bytes)?)),
        }
    }

    /// The text of a validators file.
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "{TRUST_HEAD}\nchain {}\nroot-lag {}\nsince {}\n",
            self.chain_id,
            self.root_lag,
            self.set.since().0
        );
        for validator in self.set.validators() {
            let (scheme, power) = (validator.key.scheme().name(), validator.power);
            write!(text, "validator {scheme} {power} ").expect("writing to a string cannot fail");
            for byte in validator.key.as_bytes() {
                write!(text, "{byte:02x}").expect("writing to a string cannot fail");
            }
            text.push('\n');
        }
        text
    }
}

fn read_text(text: &str) -> Result<Trust, TrustError> {
    let is_said = |(_, line): &(usize, &str)| !line.is_empty() && !line.starts_with('#');
    let mut lines = (1..).zip(text.lines().map(str::trim_end)).filter(is_said);
    let mut next = |what: &'static str| lines.next().ok_or(TrustError::End { what });
    let head = next("its first line")?;
    if head.1 != TRUST_HEAD {
        return Err(wrong(head, "`selfchain-validators 1`"));
    }
    let line = next("the chain's id")?;
    let what = "`chain` and 64 hexadecimal characters";
    let chain_id = value(line.1, "chain")
        .and_then(Hash::from_hex)
        .ok_or_else(|| wrong(line, what))?;
    let line = next("how far roots lag")?;
    let root_lag = value(line.1, "root-lag")
        .and_then(number)
        .filter(|lag| (1..=ROOT_LAG_MAX).contains(lag))
        .ok_or_else(|| wrong(line, "`root-lag` and a small number"))?;
    let line = next("the first height")?;
    let since = value(line.1, "since")
        .and_then(number)
        .filter(|since| *since > 0)
        .ok_or_else(|| wrong(line, "`since` and a height"))?;
    let mut validators = Vec::new();
    for line in lines {
        let read = value(line.1, "validator").and_then(validator);
        validators.push(read.ok_or_else(|| wrong(line, "`validator`, a scheme, a power and a key"))?);
    }
    if validators.is_empty() {
        return Err(TrustError::End { what: "a validator" });
    }
    Ok(Trust {
        chain_id,
        root_lag,
        set: TrustedSet::new(Height(since), validators),
        signers: None,
    })
}

/// What follows a line's name.
fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.strip_prefix(name)?.strip_prefix(' ')
}

/// A number in its only form.
fn number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

fn validator(text: &str) -> Option<Validator> {
    let mut words = text.split(' ');
    let scheme = Scheme::from_name(words.next()?)?;
    let power = number(words.next()?).filter(|power| *power > 0)?;
    let key = PublicKey::new(scheme, &hex(words.next()?)?).ok()?;
    words.next().is_none().then_some(Validator { key, power })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let byte = |pair: &[u8; 2]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

fn wrong((line, text): (usize, &str), what: &'static str) -> TrustError {
    let got = text.chars().take(GOT_CHARS_MAX).collect::<String>();
    let got = if got.len() < text.len() {
        got + "…"
    } else {
        text.to_owned()
    };
    TrustError::Line { line, what, got }
}

/// Most characters of a line that an error quotes.
const GOT_CHARS_MAX: usize = 80;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use selfchain_types::crypto::SigningKey;

    fn trust() -> Trust {
        let key = |seed: u8| SigningKey::from_seed(&[seed; 32]).public().clone();
        let hybrid = PublicKey::new(Scheme::Ed25519SlhDsa128s, &[key(3).as_bytes(), &[7; 32]].concat());
        let validators = [key(1), key(2), hybrid.unwrap()].into_iter().zip(1..);
        Trust {
            chain_id: Hash([0xab; 32]),
            root_lag: 2,
            set: TrustedSet::new(
                Height(33),
                validators.map(|(key, power)| Validator { key, power }).collect(),
            ),
            signers: None,
        }
    }

    #[test]
    fn a_validators_file_reads_back_with_comments_and_other_line_ends() {
        let text = trust().to_text();
        assert_eq!(Trust::read(text.as_bytes()).unwrap(), trust());
        let mailed = text.replace('\n', "\r\n# a remark\n\n");
        assert_eq!(Trust::read(mailed.as_bytes()).unwrap(), trust());
    }

    #[test]
    fn a_genesis_file_is_told_apart() {
        let key = SigningKey::from_seed(&[1; 32]).public().clone();
        let genesis = Genesis::solo("name", 4, key);
        let trust = Trust::read(&genesis.to_bytes()).unwrap();
        assert_eq!((trust.chain_id, trust.root_lag), (genesis.chain_id(), 1));
        assert_eq!(trust.set.validators(), genesis.validators);
        assert!(matches!(Trust::read(b"anything"), Err(TrustError::Genesis(_))));
        assert!(matches!(Trust::read(&[]), Err(TrustError::Genesis(_))));
    }

    #[test]
    fn whatever_is_wrong_with_a_line_is_named() {
        let text = trust().to_text();
        let check = |from: &str, to: &str, line: usize| {
            let error = Trust::read(text.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert!(
                matches!(&error, TrustError::Line { line: at, .. } if *at == line),
                "{from} as {to}: {error}"
            );
        };
        check("validators 1", "validators 12", 1);
        check("chain ab", "chain zz", 2);
        check("root-lag 2", "root-lag 99", 3);
        check("root-lag 2", "root-lag +2", 3);
        check("since 33", "since 0", 4);
        check("since 33", "since 033", 4);
        check("ed25519 1", "ed25519 0", 5);
        check("ed25519 1 ", "ed25519 1 00", 5);
        check("ed25519 1 ", "ed25518 1 ", 5);
        check("validator ", "validator  ", 5);
        for cut in ["chain", "root-lag", "since", "validator"] {
            let end = text.find(&format!("\n{cut}")).unwrap() + 1;
            assert!(
                matches!(Trust::read(&text.as_bytes()[..end]), Err(TrustError::End { .. })),
                "{cut}"
            );
        }
    }
}
