//! Scores where several validators decide: those of own blocks, and what this node finds of another's.
//!
//! A block has the scores of all its operations, as the exact model in force gives them, or none at all: nobody can
//! leave out the one that would be held. Whoever has the model computes them anew, and finds a block that says
//! something else invalid. Every node folds the same past, so all who have the model find the same.

use crate::drive::scoring::{Asked, Scoring, Sight};
use selfchain_engine::commit::{Block, Candidate, Chain};
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::seam::scorer::Scorer;
use selfchain_types::{Hash, Risk, TimeNs, Verified};
use std::collections::BTreeSet;

/// What scores own blocks and judges the others', if this node scores.
pub(super) struct Scores {
    scoring: Option<Scoring>,
    /// The block that was scored last: kept if it is decided.
    last: Option<Hash>,
    /// Blocks of this height that leave out what can be scored.
    left_out: BTreeSet<Hash>,
}

impl Scores {
    pub(super) fn new(scoring: Option<Scoring>) -> Self {
        Self {
            scoring,
            last: None,
            left_out: BTreeSet::new(),
        }
    }

    /// Scores of an own next block: of all its operations, or none where the model is missing or the budget was
    /// used up.
    pub(super) fn propose(&mut self, chain: &Chain, envelopes: &[Verified], now: TimeNs) -> Risk {
        self.last = None;
        let Some(scoring) = &mut self.scoring else {
            return Risk::default();
        };
        scoring.pass_over();
        let views: Vec<EnvelopeView<'_>> = envelopes.iter().map(|envelope| envelope.view()).collect();
        let time = chain.next_time(&views, now);
        let asks_preferred = match scoring.sight(chain) {
            Sight::Blind | Sight::Inexact => return Risk::default(),
            Sight::Part => false,
            Sight::Whole => true,
        };
        scoring.score_views(chain, &views, time, Asked::Own, asks_preferred)
    }

    /// The own block that was just scored has this hash.
    pub(super) fn proposed(&mut self, block: Hash) {
        let is_scored = self.scoring.as_ref().is_some_and(Scoring::is_scored);
        self.last = is_scored.then_some(block);
    }

    /// Whether another's block may be voted for as far as its scores go. Without the model they are taken as they
    /// are: the validators who have it look.
    pub(super) fn judge(&mut self, chain: &Chain, candidate: &Candidate) -> bool {
        let said = candidate.risk();
        let Some(scoring) = &mut self.scoring else {
            return true;
        };
        let sight = scoring.sight(chain);
        match sight {
            Sight::Blind => return true,
            Sight::Inexact => return said.scores.is_empty(),
            Sight::Whole | Sight::Part => {}
        }
        let block = candidate.hash();
        let views: Vec<EnvelopeView<'_>> = candidate.envelopes().iter().map(|one| one.view()).collect();
        let time = candidate.header().time_ns;
        let mut score =
            |asks_preferred| scoring.score_views(chain, &views, time, Asked::Others, asks_preferred);
        let found = score(true);
        let is_so = if said.scores.is_empty() {
            if found.scores.iter().any(|score| *score != NOT_SCORED) {
                self.left_out.insert(block);
            }
            true
        } else if *said == found {
            true
        } else {
            let preferring = Scoring::preferred(chain, &views, time);
            // A proposer without some model that an account prefers asks none of them.
            !preferring.is_empty()
                && (*said == score(false)
                    || (sight == Sight::Part && is_so_but_for(&preferring, said, &found)))
        };
        self.last = scoring.is_scored().then_some(block);
        if self.left_out.contains(&block) {
            scoring.metrics().scores_left_out.add(1);
        }
        if !is_so {
            scoring.metrics().scores_disputed.add(1);
        }
        is_so
    }

    /// Whether a block of this height that was judged leaves out what can be scored.
    pub(super) fn leaves_out(&self, block: &Hash) -> bool {
        self.left_out.contains(block)
    }

    /// A block is decided and executed: what was folded of it stays, whatever else was is taken back.
    pub(super) fn keep(&mut self, candidate: &Candidate, chain: &Chain, block: &Block) {
        self.left_out.clear();
        let is_last = self.last.take() == Some(candidate.hash());
        let Some(scoring) = &mut self.scoring else { return };
        if !is_last {
            scoring.pass_over();
        }
        scoring.keep(candidate, chain, &block.result);
        scoring.count(chain, candidate.risk());
    }

    /// The scorer, for snapshots of its memory between blocks. They take back what was scored last.
    pub(super) fn scorer(&mut self) -> Option<&mut dyn Scorer> {
        self.last = None;
        self.scoring.as_mut().map(Scoring::scorer)
    }

    pub(super) fn into_scoring(self) -> Option<Scoring> {
        self.scoring
    }
}

/// Whether scores are the same but for operations of accounts that prefer another model: theirs are not below those of
/// the models that are here.
fn is_so_but_for(preferring: &[u32], said: &Risk, found: &Risk) -> bool {
    let is_asked = |at: &u32| preferring.binary_search(at).is_ok();
    let reasons = |risk: &Risk| -> Vec<_> {
        let of_others = risk.reasons.iter().filter(|(at, _)| !is_asked(at));
        of_others.copied().collect()
    };
    let both = said.scores.iter().zip(&found.scores);
    let mut scores = (0_u32..).zip(both);
    said.scores.len() == found.scores.len()
        && reasons(said) == reasons(found)
        && scores.all(|(at, (said, found))| {
            said == found || (is_asked(&at) && *found != NOT_SCORED && (*found..NOT_SCORED).contains(said))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_preferred_model_only_what_it_is_asked_about_may_be_higher() {
        let risk = |scores: &[u8], reasons: &[(u32, [u8; 3])]| Risk {
            scores: scores.to_vec(),
            reasons: reasons.to_vec(),
        };
        let found = risk(&[10, 20, NOT_SCORED, 200], &[(3, [1, 2, 3])]);
        let is_so = |said: Risk| is_so_but_for(&[1, 2], &said, &found);
        assert!(is_so(found.clone()));
        assert!(is_so(risk(
            &[10, 220, NOT_SCORED, 200],
            &[(1, [7, 8, 9]), (3, [1, 2, 3])]
        )));
        for scores in [
            [10, 19, NOT_SCORED, 200],
            [10, NOT_SCORED, NOT_SCORED, 200],
            [10, 20, 0, 200],
            [11, 20, NOT_SCORED, 200],
            [10, 20, NOT_SCORED, NOT_SCORED],
        ] {
            assert!(!is_so(risk(&scores, &[(3, [1, 2, 3])])), "{scores:?}");
        }
        assert!(
            !is_so(risk(&[10, 20, NOT_SCORED, 200], &[])),
            "reasons are scores' too"
        );
        assert!(!is_so(risk(&[10, 20], &[])));
    }
}
