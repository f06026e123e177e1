//! What a row holds: every feature's name, meaning, bounds, and the phrase that a reviewer reads.
//!
//! "log2" is the base-2 logarithm in 1/256 steps. Where there is no past yet, a feature takes the bound that
//! its line names.

/// Version of the features: it changes with every change of what a row holds.
pub const FEATURE_VERSION: u16 = 1;

/// Features of a row.
pub const FEATURE_COUNT: usize = 40;

/// The features of one transfer, in the order of [`FEATURES`], each within its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Row(pub [i32; FEATURE_COUNT]);

/// One feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name, as a column is headed.
    pub name: &'static str,
    /// What it counts, and in which unit.
    pub what: &'static str,
    /// The least value it takes.
    pub min: i32,
    /// The greatest value it takes.
    pub max: i32,
    /// What a reviewer reads when it moved the score.
    pub reason: &'static str,
}

const fn feature(
    name: &'static str,
    what: &'static str,
    min: i32,
    max: i32,
    reason: &'static str,
) -> Feature {
    Feature {
        name,
        what,
        min,
        max,
        reason,
    }
}

/// The greatest log2: of 2^128.
pub const LOG2_MAX: i32 = 128 * 256;
/// The log2 of gaps and ages ends here, at about 97 days.
pub const GAP_MAX: i32 = 23 * 256;
/// What a gap is when there was no time before.
pub const GAP_NONE: i32 = GAP_MAX + 1;
/// Counters end here, so that no model learns an account by its number of transfers.
pub const COUNT_MAX: i32 = 128;
/// Decayed counters are log2 of 1 + their value in 1/1024, and end here.
pub const DECAYED_MAX: i32 = 22 * 256;
/// Decayed reports are log2 of 1 + their value in 2^-20, and end here.
pub const REPORTS_MAX: i32 = 32 * 256;
/// Eight standard deviations in 1/256.
pub const DEVIATION_MAX: i32 = 8 * 256;
/// Ratios of amounts are differences of log2 and end here.
pub const RATIO_MAX: i32 = 16 * 256;
/// What a ratio is when there is nothing to compare with.
pub const RATIO_NONE: i32 = -RATIO_MAX - 1;
/// The greatest estimate of distinct counterparties, in 1/4.
pub const FAN_MAX: i32 = 1420 * 4;
/// A share of 1.
pub const SHARE_ONE: i32 = 1024;

/// Every feature, in the order of a [`Row`].
#[rustfmt::skip]
pub const FEATURES: [Feature; FEATURE_COUNT] = [
    feature("amount", "log2 of the amount", 0, LOG2_MAX, "the amount is unusual"),
    feature("digits", "significant decimal digits of the amount", 0, 39, "the amount is unusually round or unusually exact"),
    feature("from_deviation", "amount against the sender's past, in 1/256 standard deviations", -DEVIATION_MAX, DEVIATION_MAX, "the amount departs from what the sender usually pays"),
    feature("from_max", "amount over the sender's greatest payment, log2; least: none", RATIO_NONE, RATIO_MAX, "the amount compares oddly with the sender's greatest payment"),
    feature("drain", "amount over what the sender took in and has not paid out, log2", RATIO_NONE, RATIO_MAX, "the payment drains what the sender has received"),
    feature("to_deviation", "amount against the receiver's past, in 1/256 standard deviations", -DEVIATION_MAX, DEVIATION_MAX, "the amount departs from what the receiver usually gets"),
    feature("to_max", "amount over the receiver's greatest receipt, log2; least: none", RATIO_NONE, RATIO_MAX, "the amount compares oddly with the receiver's greatest receipt"),
    feature("to_repeat", "amount against the receiver's last receipt, log2; least: none", RATIO_NONE, RATIO_MAX, "the receiver gets much the same amount again and again"),
    feature("from_gap_out", "log2 of seconds since the sender last paid; greatest: never", 0, GAP_NONE, "the time since the sender's last payment is unusual"),
    feature("from_gap_in", "log2 of seconds since the sender was last paid; greatest: never", 0, GAP_NONE, "the sender passes on money soon after getting it"),
    feature("to_gap_in", "log2 of seconds since the receiver was last paid; greatest: never", 0, GAP_NONE, "the time since the receiver's last receipt is unusual"),
    feature("to_gap_out", "log2 of seconds since the receiver last paid; greatest: never", 0, GAP_NONE, "the time since the receiver's last payment is unusual"),
    feature("from_age", "log2 of seconds since the sender was first seen; greatest: new", 0, GAP_NONE, "the sender's account is young"),
    feature("to_age", "log2 of seconds since the receiver was first seen; greatest: new", 0, GAP_NONE, "the receiver's account is young"),
    feature("from_out_hour", "sender's payments, decayed by half hour by hour", 0, DECAYED_MAX, "the sender pays often within an hour"),
    feature("from_out_day", "sender's payments, decayed by half day by day", 0, DECAYED_MAX, "the sender pays often within a day"),
    feature("from_out_week", "sender's payments, decayed by half week by week", 0, DECAYED_MAX, "the sender pays often within a week"),
    feature("to_in_hour", "receiver's receipts, decayed by half hour by hour", 0, DECAYED_MAX, "the receiver is paid often within an hour"),
    feature("to_in_day", "receiver's receipts, decayed by half day by day", 0, DECAYED_MAX, "the receiver is paid often within a day"),
    feature("to_in_week", "receiver's receipts, decayed by half week by week", 0, DECAYED_MAX, "the receiver is paid often within a week"),
    feature("from_count_out", "sender's payments so far", 0, COUNT_MAX, "the sender's number of payments is unusual"),
    feature("from_count_in", "sender's receipts so far", 0, COUNT_MAX, "the sender's number of receipts is unusual"),
    feature("to_count_in", "receiver's receipts so far", 0, COUNT_MAX, "the receiver's number of receipts is unusual"),
    feature("to_count_out", "receiver's payments so far", 0, COUNT_MAX, "the receiver's number of payments is unusual"),
    feature("to_sum_in", "log2 of all that the receiver was paid", 0, LOG2_MAX, "what the receiver has taken in is unusual"),
    feature("to_mean_in", "log2 of the receiver's usual receipt", 0, LOG2_MAX, "what the receiver usually gets is unusual"),
    feature("to_spread_in", "spread of the receiver's receipts, log2", 0, LOG2_MAX, "the receiver's receipts vary unusually"),
    feature("from_flow", "sender's payments over receipts, log2 of sums", -RATIO_MAX, RATIO_MAX, "the sender's payments and receipts are out of proportion"),
    feature("to_flow", "receiver's payments over receipts, log2 of sums", -RATIO_MAX, RATIO_MAX, "the receiver's payments and receipts are out of proportion"),
    feature("from_fan_out", "distinct receivers of the sender, in 1/4", 0, FAN_MAX, "the sender pays an unusual number of accounts"),
    feature("from_fan_in", "distinct senders to the sender, in 1/4", 0, FAN_MAX, "an unusual number of accounts pay the sender"),
    feature("to_fan_in", "distinct senders to the receiver, in 1/4", 0, FAN_MAX, "an unusual number of accounts pay the receiver"),
    feature("to_fan_out", "distinct receivers of the receiver, in 1/4", 0, FAN_MAX, "the receiver pays an unusual number of accounts"),
    feature("pair", "0 new pair, 1 sender paid receiver before, +2 receiver paid sender before", 0, 3, "the sender has never paid this receiver"),
    feature("to_young", "share of the receiver's receipts from senders with little past, in 1/1024", 0, SHARE_ONE, "the receiver is paid by accounts with little past"),
    feature("from_reports", "confirmed reports against the sender, log2 in 2^-20, decayed by half week by week", 0, REPORTS_MAX, "the sender was reported for fraud"),
    feature("to_reports", "confirmed reports against the receiver, log2 in 2^-20, decayed by half week by week", 0, REPORTS_MAX, "the receiver was reported for fraud"),
    feature("to_report_share", "confirmed reports against the receiver over its receipts, both decayed, in 1/1024", 0, SHARE_ONE, "many payments to the receiver were reported as fraud"),
    feature("from_met", "reports met at the sender's counterparties, log2 in 2^-20, decayed by half week by week", 0, REPORTS_MAX, "the sender deals with reported accounts"),
    feature("to_met", "reports met at the receiver's counterparties, log2 in 2^-20, decayed by half week by week", 0, REPORTS_MAX, "the receiver deals with reported accounts"),
];

/// The least values, in the order of a row.
pub(crate) const LEAST: [i32; FEATURE_COUNT] = bounds(false);
/// The greatest values, in the order of a row.
pub(crate) const GREATEST: [i32; FEATURE_COUNT] = bounds(true);

const fn bounds(greatest: bool) -> [i32; FEATURE_COUNT] {
    let mut bounds = [0; FEATURE_COUNT];
    let mut at = 0;
    while at < FEATURE_COUNT {
        bounds[at] = if greatest {
            FEATURES[at].max
        } else {
            FEATURES[at].min
        };
        at += 1;
    }
    bounds
}
