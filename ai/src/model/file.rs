//! A model file: safetensors with the card beside the numbers, or a pack of rules in TOML. The hash of its bytes is
//! the model's name on the chain.

use super::card::{CARD_FORMAT, Card};
use super::predict::Predict;
use super::tensors::{TensorError, TensorsIn, TensorsOut};
use crate::explain::Reason;
use crate::features::{FEATURE_VERSION, Row};
#[cfg(feature = "candle")]
use crate::network::FloatNetwork;
use crate::network::{self, FixedError, FixedNetwork, Network};
use crate::rules::{Rules, RulesError};
use crate::score::LogOdds;
use crate::trees::{Asymmetric, FileError, Symmetric};
use selfchain_types::{Hash, Operation, hash};
use std::fmt;
use thiserror::Error;

/// What scores.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a node has a few models, for as long as it runs"
)]
pub enum Scoring {
    /// Trees that were grown here.
    Symmetric(Symmetric),
    /// Trees of any shape, imported.
    Asymmetric(Asymmetric),
    /// A neural network, in fixed point; boxed, for it is large.
    Network(Box<(Network, FixedNetwork)>),
    /// The same in floats, by candle; boxed likewise.
    #[cfg(feature = "candle")]
    Float(Box<(Network, FloatNetwork)>),
    /// Rules that people wrote.
    Rules(Rules),
}

/// A model with its card and hash.
#[derive(Clone, Debug)]
pub struct Model {
    scoring: Scoring,
    card: Card,
    hash: Hash,
}

/// Why bytes are not a model of this program.
#[derive(Debug, Error)]
pub enum ModelError {
    /// It is no file of models at all.
    #[error("the file is neither safetensors nor a pack of rules in TOML")]
    Format(#[source] RulesError),
    /// A pack of rules has something wrong in it.
    #[error(transparent)]
    Rules(RulesError),
    /// The container or a tensor is not as it must be.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The trees are not as they must be.
    #[error(transparent)]
    Trees(#[from] FileError),
    /// The network is not as it must be.
    #[error(transparent)]
    Network(#[from] network::FileError),
    /// The network does not fit fixed point.
    #[error(transparent)]
    Fixed(#[from] FixedError),
    /// The network cannot be computed in floats.
    #[cfg(feature = "candle")]
    #[error("candle cannot compute the network")]
    Float(#[from] candle_core::Error),
    /// Networks in floats need candle.
    #[cfg(not(feature = "candle"))]
    #[error("the model is a network in floats, and this program was built without candle, which computes it")]
    NoCandle,
    /// The card cannot be read.
    #[error("the model's card cannot be read")]
    Card(#[source] serde_json::Error),
    /// The card is of another version.
    #[error("the model's card has version {got}, this program knows {CARD_FORMAT}")]
    CardFormat {
        /// Its version.
        got: u16,
    },
    /// The model reads other rows.
    #[error("the model reads features of version {got}, this program makes version {FEATURE_VERSION}")]
    Features {
        /// The version.
        got: u16,
    },
    /// The card names a kind that is not known.
    #[error("the model is of the kind \"{kind}\", which this program does not know")]
    Kind {
        /// The kind.
        kind: String,
    },
    /// The file is not the one that was asked for.
    #[error("the file is model {got}, where {want} was asked for")]
    Hash {
        /// Its hash.
        got: Hash,
        /// What was asked for.
        want: Hash,
    },
}

impl Model {
    /// A model with its card; what the card says of kind and versions is filled in. Rules have no card in their
    /// file: theirs is what the pack says of itself.
    pub fn new(scoring: Scoring, mut card: Card) -> Self {
        if let Scoring::Rules(rules) = &scoring {
            card = card_of(rules);
        }
        card.format = CARD_FORMAT;
        card.feature_version = FEATURE_VERSION;
        card.kind = scoring.kind().into();
        let hash = hash::MODEL.hash(&write(&scoring, &card));
        Self { scoring, card, hash }
    }

    /// Reads a model file; its bytes tell which of both it is.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn read(bytes: &[u8]) -> Result<Self, ModelError> {
        if is_safetensors(bytes) {
            Self::of_tensors(bytes)
        } else {
            let rules = Rules::parse(bytes)?;
            Ok(Self::new(Scoring::Rules(rules), Card::default()))
        }
    }

    fn of_tensors(bytes: &[u8]) -> Result<Self, ModelError> {
        let tensors = TensorsIn::read(bytes)?;
        let card: Card = serde_json::from_str(tensors.text()).map_err(ModelError::Card)?;
        if card.format != CARD_FORMAT {
            return Err(ModelError::CardFormat { got: card.format });
        }
        if card.feature_version != FEATURE_VERSION {
            return Err(ModelError::Features {
                got: card.feature_version,
            });
        }
        let scoring = match card.kind.as_str() {
            SYMMETRIC => Scoring::Symmetric(Symmetric::read(&tensors)?),
            ASYMMETRIC => Scoring::Asymmetric(Asymmetric::read(&tensors)?),
            NETWORK => Scoring::network(Network::from_tensors(tensors.container())?)?,
            #[cfg(feature = "candle")]
            NETWORK_FLOAT => Scoring::float(Network::from_tensors(tensors.container())?)?,
            #[cfg(not(feature = "candle"))]
            NETWORK_FLOAT => return Err(ModelError::NoCandle),
            kind => return Err(ModelError::Kind { kind: kind.into() }),
        };
        Ok(Self {
            scoring,
            card,
            hash: hash::MODEL.hash(bytes),
        })
    }

    /// Reads a model file that must have this hash.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn read_named(bytes: &[u8], want: Hash) -> Result<Self, ModelError> {
        let got = hash::MODEL.hash(bytes);
        if got != want {
            return Err(ModelError::Hash { got, want });
        }
        Self::read(bytes)
    }

    /// The file's bytes: equal models give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        write(&self.scoring, &self.card)
    }

    /// Its name on the chain: the hash of its file.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Its card.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// What scores.
    pub fn scoring(&self) -> &Scoring {
        &self.scoring
    }
}

impl Scoring {
    /// A network, put into fixed point.
    ///
    /// # Errors
    /// [`FixedError`].
    pub fn network(network: Network) -> Result<Self, FixedError> {
        let fixed = FixedNetwork::new(&network)?;
        Ok(Self::Network(Box::new((network, fixed))))
    }

    /// A network that stays in floats.
    ///
    /// # Errors
    /// What candle says.
    #[cfg(feature = "candle")]
    pub fn float(network: Network) -> candle_core::Result<Self> {
        let float = FloatNetwork::new(&network)?;
        Ok(Self::Float(Box::new((network, float))))
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Symmetric(_) => SYMMETRIC,
            Self::Asymmetric(_) => ASYMMETRIC,
            Self::Network(_) => NETWORK,
            #[cfg(feature = "candle")]
            Self::Float(_) => NETWORK_FLOAT,
            Self::Rules(_) => RULES,
        }
    }

    /// What computes the scores.
    pub fn predict(&self) -> &dyn Predict {
        match self {
            Self::Symmetric(trees) => trees,
            Self::Asymmetric(trees) => trees,
            Self::Network(both) => &both.1,
            #[cfg(feature = "candle")]
            Self::Float(both) => &both.1,
            Self::Rules(rules) => rules,
        }
    }
}

const SYMMETRIC: &str = "symmetric";
const ASYMMETRIC: &str = "asymmetric";
const NETWORK: &str = "network";
const NETWORK_FLOAT: &str = "network-float";
const RULES: &str = "rules";

/// Safetensors begin with the length of their head, in eight bytes of which the upper ones are zero for any head that
/// fits [`super::FILE_BYTES_MAX`]; text has no zeros.
fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(6..8) == Some(&[0, 0])
}

impl From<RulesError> for ModelError {
    fn from(error: RulesError) -> Self {
        match error {
            RulesError::Text { .. } | RulesError::Toml { .. } => Self::Format(error),
            _ => Self::Rules(error),
        }
    }
}

/// What a pack says of itself.
fn card_of(rules: &Rules) -> Card {
    Card {
        name: rules.name().into(),
        notes: format!(
            "version {} of the pack: {} rules, and a score of {} where none fires",
            rules.version(),
            rules.rules().len(),
            rules.base()
        ),
        ..Card::default()
    }
}

fn write(scoring: &Scoring, card: &Card) -> Vec<u8> {
    let mut out = TensorsOut::default();
    match scoring {
        Scoring::Symmetric(trees) => trees.write(&mut out),
        Scoring::Asymmetric(trees) => trees.write(&mut out),
        Scoring::Network(both) => put(&both.0, &mut out),
        #[cfg(feature = "candle")]
        Scoring::Float(both) => put(&both.0, &mut out),
        Scoring::Rules(rules) => return rules.text().as_bytes().to_vec(),
    }
    out.write(&serde_json::to_string(card).expect("a card is plain data with text keys"))
}

fn put(network: &Network, out: &mut TensorsOut) {
    let tensors = network.tensors().into_iter();
    tensors.for_each(|(name, tensor)| out.put(name, &tensor));
}

impl Predict for Model {
    fn log_odds(&self, rows: &[Row], operations: &[&Operation], out: &mut Vec<LogOdds>) {
        self.scoring.predict().log_odds(rows, operations, out);
    }

    fn is_exact(&self) -> bool {
        self.scoring.predict().is_exact()
    }

    fn typical(&self) -> &Row {
        self.scoring.predict().typical()
    }

    fn failed(&self) -> u64 {
        self.scoring.predict().failed()
    }

    fn explain(&self, row: &Row, operation: &Operation) -> Vec<Reason> {
        self.scoring.predict().explain(row, operation)
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {})", self.card.name, self.card.kind, self.hash)
    }
}

/// The model that comes with the program: `ai/models/default.safetensors`, whose card says what made it.
pub fn default_model() -> Model {
    Model::read(DEFAULT).expect("the model that comes with the program is whole: a test reads it")
}

const DEFAULT: &[u8] = include_bytes!("../../models/default.safetensors");

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::dataset::Dataset;
    use crate::features::FEATURE_COUNT;
    use crate::rules::STARTER;
    use crate::trees::{TreeOptions, import, train};
    use proptest::prelude::*;

    fn symmetric() -> Model {
        let mut set = Dataset::default();
        for at in 0..200 {
            let mut row = Row([0; FEATURE_COUNT]);
            (row.0[0], row.0[9]) = (at * 7 % 100, at * 3 % 50);
            set.push(row, Operation::default(), at * 7 % 100 > 60, 0, 0);
        }
        let options = TreeOptions {
            trees: 5,
            ..TreeOptions::default()
        };
        let trees = train(&set, None, &options, &mut |_| ()).unwrap();
        Model::new(
            Scoring::Symmetric(trees),
            Card {
                name: "small".into(),
                ..Card::default()
            },
        )
    }

    fn asymmetric() -> Model {
        let text = "tree\nnum_class=1\nobjective=binary sigmoid:1\nfeature_names=amount\n\nTree=0\nnum_leaves=2\n\
            split_feature=0\nthreshold=9.5\ndecision_type=2\nleft_child=-1\nright_child=-2\nleaf_value=-1 1\n";
        let trees = import(text, Row([0; FEATURE_COUNT])).unwrap();
        Model::new(Scoring::Asymmetric(trees), Card::default())
    }

    fn rules() -> Model {
        Model::read(STARTER.as_bytes()).unwrap()
    }

    fn scores(model: &Model) -> Vec<LogOdds> {
        let rows: Vec<Row> = (0..100).map(|at| Row([at; FEATURE_COUNT])).collect();
        let operation = Operation::default();
        let mut out = Vec::new();
        model.log_odds(&rows, &vec![&operation; rows.len()], &mut out);
        out
    }

    #[test]
    fn a_file_gives_the_model_back_bit_for_bit() {
        for model in [symmetric(), asymmetric(), rules()] {
            let bytes = model.to_bytes();
            let read = Model::read_named(&bytes, model.hash()).unwrap();
            assert_eq!(read.card(), model.card());
            assert_eq!(read.to_bytes(), bytes);
            assert_eq!(scores(&read), scores(&model));
        }
    }

    #[test]
    fn a_pack_of_rules_is_its_own_file_and_its_head_is_the_card() {
        let model = rules();
        assert_eq!(model.to_bytes(), STARTER.as_bytes());
        assert_eq!(model.hash(), hash::MODEL.hash(STARTER.as_bytes()));
        assert!(model.is_exact());
        let card = model.card();
        assert_eq!((&*card.kind, &*card.name, card.format), ("rules", "starter", 1));
        assert_eq!(
            card.notes,
            "version 1 of the pack: 13 rules, and a score of 20 where none fires"
        );
        let mut commented = STARTER.to_owned();
        commented.push_str("# one more word\n");
        assert_ne!(
            Model::read(commented.as_bytes()).unwrap().hash(),
            model.hash(),
            "every byte counts"
        );
    }

    #[test]
    fn what_is_neither_tensors_nor_rules_is_refused_with_both_names() {
        for bytes in [
            &b"\xff\xd8\xff\xe0 a picture"[..],
            b"a letter",
            b"",
            &asymmetric().to_bytes()[..7],
        ] {
            let error = Model::read(bytes).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the file is neither safetensors nor a pack of rules in TOML"
            );
            assert!(std::error::Error::source(&error).is_some());
        }
        let wrong = STARTER.replace("base = 20", "base = 255");
        let error = Model::read(wrong.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "base = 255 is not a score from 0 to 254");
    }

    fn with_card(change: impl FnOnce(&mut Card)) -> String {
        let model = symmetric();
        let mut card = model.card().clone();
        change(&mut card);
        Model::read(&write(model.scoring(), &card))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn refuses_bad_models_by_name() {
        let check = |got: String, want: &str| assert_eq!(got, want);
        check(
            with_card(|card| card.feature_version = 9),
            "the model reads features of version 9, this program makes version 1",
        );
        check(
            with_card(|card| card.format = 2),
            "the model's card has version 2, this program knows 1",
        );
        check(
            with_card(|card| card.kind = "oracle".into()),
            "the model is of the kind \"oracle\", which this program does not know",
        );
        check(
            with_card(|card| card.kind = ASYMMETRIC.into()),
            "the tensor \"nodes\" is missing",
        );
        let model = symmetric();
        let mut bytes = model.to_bytes();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let error = Model::read_named(&bytes, model.hash()).unwrap_err().to_string();
        assert!(error.contains("was asked for"), "{error}");
        let cut = Model::read(&model.to_bytes()[..last]).unwrap_err().to_string();
        check(cut, "the file is not whole, or no safetensors file");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_flip_is_read_or_refused_and_never_panics(at in any::<prop::sample::Index>(), flip in 1_u8..) {
            for model in [symmetric(), asymmetric(), rules()] {
                let mut bytes = model.to_bytes();
                let at = at.index(bytes.len());
                bytes[at] ^= flip;
                if let Ok(model) = Model::read(&bytes) {
                    scores(&model);
                }
                drop(Model::read(&bytes[..at]));
            }
        }
    }
}
