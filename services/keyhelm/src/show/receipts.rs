//! A receipt and what was found in it.

use machines::receipt::{Check, receipt_hash};
use protocol::receipt::RotationReceipt;

use super::time::{count, moment};
use super::{table, visible};

/// What the receipt is of.
pub fn head(receipt: &RotationReceipt) -> String {
    let from = receipt.from.map_or_else(|| "none".to_owned(), |from| from.to_string());
    [
        format!("RECEIPT: {}", receipt_hash(receipt)),
        format!("  rotation    {}", receipt.rotation),
        format!("  instance    {} ({})", receipt.instance, visible::line(&receipt.instance_name)),
        format!("  ended       {}", moment(receipt.finished_at)),
        format!("  keys        {}", count(receipt.key_versions)),
        format!("  from        {from}"),
        format!("  to          {}", receipt.to),
    ]
    .join("\n")
}

/// What was checked.
pub fn checks(checks: &[Check]) -> String {
    let mut table = table::wrapped(["CHECKED", "RESULT", "FOUND"]);
    for check in checks {
        let (result, found) = match &check.found {
            Ok(found) => ("ok", found),
            Err(wrong) => ("FAILED", wrong),
        };
        table.add_row([check.subject, result, found]);
    }
    table::text(&table)
}
