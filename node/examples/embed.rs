//! The embedded ledger: from an empty directory to a committed transfer and a receipt that verifies offline.

use selfchain::{AccountId, Amount, AssetId, Ledger};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let mut ledger = Ledger::open(directory.path())?;
    let euro = ledger.create_asset(AssetId(978), 2)?;
    let alice = ledger.open_account(AccountId(1), euro)?;
    let bob = ledger.open_account(AccountId(2), euro)?;
    ledger.issue(euro, alice, Amount(10_000))?;
    let done = ledger.transfer(alice, bob, Amount(1_250))?;
    let receipt = ledger.receipt(&done, 0)?;
    let proved = receipt.verify(&ledger.genesis().chain_id(), &ledger.genesis().validators)?;
    println!(
        "block {}: {} moved, proved by block {}",
        done.height,
        receipt.actual.at_scale(2),
        proved.height
    );
    println!(
        "{}",
        ledger
            .transfer(alice, bob, Amount(100_000))
            .expect_err("alice has 87.50")
    );
    Ok(())
}
