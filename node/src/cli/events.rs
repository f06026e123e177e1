//! `events`: what happened, one JSON object a line, in the order of the ledger.

use super::access::{self, asked};
use super::arguments::EventsArguments;
use super::output::Output;
use super::settings::Settings;
use super::transaction::{Block, decode};
use super::{Failure, describe};
use selfchain_types::block::Exception;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::{Height, Outcome};
use serde_json::json;

pub(super) fn events(
    arguments: &EventsArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let client = access::connect(&arguments.node, settings)?;
    let status = client.status().map_err(asked("cannot ask for the tip"))?;
    let first = match (arguments.from, arguments.follow) {
        (Some(height), _) => Height(height),
        (None, true) => status.tip.next(),
        (None, false) => status.first,
    };
    let mut next = first.max(Height(1));
    let mut rows = client.subscribe(next);
    while arguments.follow || next <= status.tip {
        let row = rows
            .next_within(client.deadline())
            .map_err(asked("the events end here"))?;
        if let Some(bytes) = row {
            print(&decode(&bytes)?, output)?;
            next = next.next();
        } else if !arguments.follow {
            let error = crate::client::ClientError::Deadline {
                after: client.deadline(),
            };
            return Err(Failure::of_client("the events stop before the tip", &error));
        }
    }
    Ok(())
}

/// One line an operation.
fn print(block: &Block<'_>, output: Output) -> Result<(), Failure> {
    let mut at = 0u32;
    for (index, envelope) in block.body.envelopes.iter().enumerate() {
        let Ok(view) = EnvelopeView::new(envelope) else {
            continue;
        };
        let tx_id = view.tx_id().to_hex();
        for (position, operation) in view.operations().iter().enumerate() {
            let mut value = describe::operation(operation);
            value["height"] = block.header.height.0.into();
            value["time_ns"] = block.header.time_ns.0.into();
            value["tx_id"] = tx_id.clone().into();
            value["index"] = index.into();
            value["operation"] = position.into();
            let outcome = usize::try_from(at)
                .ok()
                .and_then(|at| block.result.outcomes.get(at));
            value["outcome"] = outcome
                .and_then(|code| Outcome::from_code(*code))
                .map(Outcome::name)
                .into();
            match block.result.exception(at) {
                Some(Exception::Actual(amount)) => value["actual_units"] = amount.to_string().into(),
                Some(Exception::Shortfall { needed, available }) => {
                    value["shortfall"] = json!({ "needed_units": needed.to_string(), "available_units": available.to_string() });
                }
                None => {}
            }
            output.json_line(&value)?;
            at += 1;
        }
    }
    Ok(())
}
