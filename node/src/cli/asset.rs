//! `asset`: creates and shows assets.

use super::account::commit;
use super::arguments::AssetCommand;
use super::output::Output;
use super::settings::Settings;
use super::{Failure, access, describe};
use selfchain_types::{AccountId, Amount, AssetId, KeyId, Operation};
use serde_json::json;

pub(super) fn asset(command: AssetCommand, settings: &Settings, output: Output) -> Result<(), Failure> {
    match command {
        AssetCommand::Create {
            asset,
            scale,
            cap,
            issuance,
            sign,
        } => {
            let digits = u8::try_from(scale).unwrap_or(u8::MAX);
            let cap = match &cap {
                Some(cap) => access::amount(cap, digits)?,
                None => Amount::MAX,
            };
            let issuance = AccountId(issuance.unwrap_or((1 << 64) + u128::from(asset)));
            let (_, signer) = access::sign(&sign, settings)?;
            // No issuer named: the envelope's signer.
            let operation = Operation::create_asset(AssetId(asset), issuance, KeyId::NONE, scale, cap);
            let also = json!({ "asset": asset, "scale": scale, "issuance_account": issuance.to_string() });
            commit(
                &format!("cannot create asset {asset}"),
                &signer,
                operation,
                Some(digits),
                also,
                output,
            )
        }
        AssetCommand::Show { asset, node } => {
            let client = access::connect(&node, settings)?;
            let record = access::asset(&client, AssetId(asset))?;
            let value = json!({
                "asset": asset,
                "scale": record.scale.get(),
                "issuer": record.issuer.to_hex(),
                "issuance_index": record.issuance.get(),
            });
            output.result(&describe::lines(&value), &value)
        }
    }
}
