//! Replay: folds a block's recorded outcomes into the state without deciding anew.

use super::chain::{Chain, Tip, Transaction, transactions};
use super::receipts;
use super::verify::{VerifyError, parts};
use crate::ledger::HistoryChange;
use crate::proof::Handover;
use core::ops::Deref;
use rayon::prelude::*;
use selfchain_types::block::{BlockResult, Body, Header, Row};
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::{Hash, Height, Risk, codec};

/// What a folded block says to the projections behind the log.
#[derive(Clone, Debug)]
pub struct Folded {
    /// Its height, hash and ledger time.
    pub tip: Tip,
    /// Its transactions, in order.
    pub transactions: Vec<Transaction>,
    /// Every change of an account with history.
    pub history: Vec<HistoryChange>,
    /// Nodes that its receipts appended to the mountain, in post-order.
    pub receipt_nodes: Vec<Hash>,
    /// What it hands over, where another set of validators decides from the next height on.
    pub handover: Option<Handover>,
}

/// A row whose parts are split and decoded. Nothing of it is hashed.
pub struct Unpacked<'a> {
    pub(super) header: Header,
    pub(super) body: Body<'a>,
    pub(super) result: BlockResult,
    pub(super) local: &'a [u8],
    pub(super) views: Vec<EnvelopeView<'a>>,
    pub(super) risk: Risk,
}

impl<'a> Unpacked<'a> {
    /// Splits and decodes a row.
    ///
    /// # Errors
    /// [`VerifyError`] with `height` when the bytes are not a row.
    pub fn new(height: Height, row: &'a [u8]) -> Result<Self, VerifyError> {
        let damaged = |what, source| VerifyError::Decode { height, what, source };
        let row = Row::decode(row).map_err(|source| damaged("row", source))?;
        let header = Header::decode(row.header).map_err(|source| damaged("header", source))?;
        let body = Body::decode(row.body).map_err(|source| damaged("body", source))?;
        let result = BlockResult::decode(row.result).map_err(|source| damaged("result", source))?;
        let risk = Risk::decode(body.scores, body.reasons).map_err(|source| damaged("reasons", source))?;
        let views = body
            .envelopes
            .iter()
            .enumerate()
            .map(|(index, bytes)| {
                EnvelopeView::new(bytes).map_err(|refusal| VerifyError::Envelope {
                    height,
                    index,
                    refusal,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let operations: usize = views.iter().map(|view| view.operations().len()).sum();
        if operations != result.outcomes.len() {
            return Err(VerifyError::Mismatch {
                height,
                what: "number of outcomes",
            });
        }
        Ok(Self {
            header,
            body,
            result,
            local: row.local,
            views,
            risk,
        })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The envelopes.
    pub fn views(&self) -> &[EnvelopeView<'a>] {
        &self.views
    }

    /// The id and the place of the transaction at `index`, which alone is hashed.
    pub fn transaction(&self, index: usize) -> Option<Transaction> {
        let view = self.views.get(index)?;
        let before = self.views[..index].iter().map(|view| view.operations().len());
        Some(Transaction {
            tx_id: view.tx_id(),
            first_operation: codec::narrow(before.sum()),
            operations: codec::narrow(view.operations().len()),
        })
    }

    /// What execution said.
    pub fn result(&self) -> &BlockResult {
        &self.result
    }

    /// One score an operation, or empty.
    pub fn scores(&self) -> &'a [u8] {
        self.body.scores
    }

    /// What a scorer said of its operations.
    pub fn risk(&self) -> &Risk {
        &self.risk
    }
}

/// An unpacked row that was hashed: all that can be done without the state, on any thread.
pub struct Prepared<'a> {
    pub(super) unpacked: Unpacked<'a>,
    pub(super) hash: Hash,
    pub(super) transactions: Vec<Transaction>,
    pub(super) leaves: Vec<Hash>,
}

impl<'a> Prepared<'a> {
    /// Splits, decodes and hashes a row, its transactions in parallel.
    ///
    /// # Errors
    /// As [`Unpacked::new`].
    pub fn new(height: Height, row: &'a [u8]) -> Result<Self, VerifyError> {
        let unpacked = Unpacked::new(height, row)?;
        let views = &unpacked.views;
        let ids: Vec<Hash> = views.par_iter().map(|view| view.tx_id()).collect();
        let transactions = transactions(ids.into_iter(), views);
        let leaves = receipts::leaves(
            height,
            views,
            &transactions,
            &unpacked.result,
            unpacked.body.scores,
        );
        let hash = unpacked.header.hash();
        Ok(Self {
            unpacked,
            hash,
            transactions,
            leaves,
        })
    }

    /// The block's hash.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Its transactions' ids and places.
    pub fn transactions(&self) -> &[Transaction] {
        &self.transactions
    }
}

impl<'a> Deref for Prepared<'a> {
    type Target = Unpacked<'a>;

    fn deref(&self) -> &Unpacked<'a> {
        &self.unpacked
    }
}

impl Chain {
    /// Folds the next block. Roots are only hashed, and only checked against the header, when `with_roots`:
    /// a fold of a long log asks for them at its last heights ([`Chain::roots_needed_from`]).
    ///
    /// # Errors
    /// [`VerifyError`], naming the height.
    pub fn fold(&mut self, block: Prepared<'_>, with_roots: bool) -> Result<Folded, VerifyError> {
        let height = block.header.height;
        self.check_links(&block.header)?;
        if with_roots {
            self.check_commitment(&block.header)?;
        }
        self.ledger
            .validate_risk(&block.header, &block.views, &block.risk)
            .map_err(|source| VerifyError::Invalid { height, source })?;
        let said = self.council.read(
            &block.header,
            &self.genesis.limits,
            &parts(&block.body, &block.views),
        )?;
        let offences = self
            .council
            .observe(&block.header, said)
            .map_err(|source| VerifyError::Standing { height, source })?;
        let folded = self
            .ledger
            .fold_among(
                self.council.voting(&offences),
                height,
                block.header.time_ns,
                &block.views,
                &block.risk,
                &block.result,
            )
            .map_err(|source| VerifyError::Fold { height, source })?;
        self.council.close();
        let receipt_nodes = if with_roots {
            let roots = self.ledger.roots();
            self.advance(&block.header, block.hash, roots, &block.leaves)
        } else {
            let nodes = self.append_receipts(&block.leaves);
            self.tip = Tip {
                height,
                hash: block.hash,
                time_ns: block.header.time_ns,
            };
            self.commitments.clear();
            self.past_roots.clear();
            nodes
        };
        Ok(Folded {
            tip: self.tip,
            handover: self.handover(&block.header, || block.local.to_vec()),
            transactions: block.transactions,
            history: folded.history,
            receipt_nodes,
        })
    }

    /// When folding up to `tip`: the first height to fold with roots, so that the last blocks' commitments
    /// are all checked and known.
    pub fn roots_needed_from(&self, tip: Height) -> Height {
        tip.back(self.genesis.plane.root_lag())
    }

    /// Checks that a block follows the tip.
    pub(super) fn check_links(&self, header: &Header) -> Result<(), VerifyError> {
        let height = self.tip.height.next();
        let mismatch = |what| Err(VerifyError::Mismatch { height, what });
        match () {
            () if header.height != height => mismatch("height"),
            () if header.chain_id != self.chain_id => mismatch("chain id"),
            () if header.parent != self.tip.hash => mismatch("parent hash"),
            () if header.protocol_version != selfchain_types::block::PROTOCOL_VERSION => {
                mismatch("protocol version: this program does not know it")
            }
            () => Ok(()),
        }
    }

    /// Checks what the header says of the state ROOT_LAG heights before, where that is known.
    pub(super) fn check_commitment(&self, header: &Header) -> Result<(), VerifyError> {
        let height = header.height;
        let known = self.commitments.len() == self.lag();
        let Some(commitment) = self.commitments.front().filter(|_| known) else {
            return Ok(());
        };
        if header.state_root != commitment.state_root {
            return Err(VerifyError::Mismatch {
                height,
                what: "state root",
            });
        }
        if (header.receipts_root, header.receipts_size)
            != (commitment.receipts_root, commitment.receipts_size)
        {
            return Err(VerifyError::Mismatch {
                height,
                what: "receipts root",
            });
        }
        Ok(())
    }
}
