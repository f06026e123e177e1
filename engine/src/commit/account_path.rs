//! What proves an account: its path, taken while the state stands where a header's roots are.

use super::chain::Chain;
use crate::proof::{AccountProof, path_sides};
use selfchain_types::account::{AccountCold, AccountHot};
use selfchain_types::roots::{Roots, Table};
use selfchain_types::{AccountId, Hash, Height};

/// An account after a height, with its path and the table of roots that it leads to. Header `by` commits to that table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountPath {
    /// After which block.
    pub height: Height,
    /// The height of the header that commits to it: ROOT_LAG later.
    pub by: Height,
    /// Every table's root after that block.
    pub roots: Roots,
    hot: AccountHot,
    cold: AccountCold,
    sides: u64,
    path: Vec<Hash>,
}

impl Chain {
    /// The path of an account as it is, if there is such an account. The table of roots is the oldest that says of
    /// accounts what the tip's says: where the last blocks changed none, the tip's own header commits to it already.
    pub fn account_path(&self, id: AccountId) -> Option<AccountPath> {
        let accounts = self.roots.get(Table::Accounts);
        let same = self
            .past_roots
            .iter()
            .rposition(|roots| roots.get(Table::Accounts) != accounts)
            .map_or(0, |last| last + 1);
        self.account_path_under(id, same)
    }

    /// The path of an account as it is, under the tip's own table of roots.
    pub fn account_path_at_tip(&self, id: AccountId) -> Option<AccountPath> {
        self.account_path_under(id, self.past_roots.len())
    }

    /// Under a table of the past ones, or the tip's after them.
    fn account_path_under(&self, id: AccountId, table: usize) -> Option<AccountPath> {
        let (index, size, path, account) = self.ledger.account_path(id)?;
        let back = selfchain_types::codec::wide(self.past_roots.len() - table);
        let height = self.tip.height.back(back);
        Some(AccountPath {
            height,
            by: Height(height.0 + self.genesis.plane.root_lag()),
            roots: self.past_roots.get(table).unwrap_or(&self.roots).clone(),
            hot: account.hot,
            cold: account.cold,
            sides: path_sides(index, size),
            path,
        })
    }
}

impl AccountPath {
    /// The proof, with the header that commits to the table of roots and the certificate of that header.
    pub fn proof(self, header: Vec<u8>, certificate: Vec<u8>) -> AccountProof {
        AccountProof {
            hot: self.hot,
            cold: self.cold,
            sides: self.sides,
            path: self.path,
            roots: self.roots,
            header,
            certificate,
        }
    }
}
