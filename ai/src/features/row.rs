//! The row of one transfer, from the past of its two accounts.

use super::catalogue::{
    COUNT_MAX, DEVIATION_MAX, FAN_MAX, FEATURE_COUNT, GAP_MAX, GAP_NONE, GREATEST, LEAST, RATIO_MAX,
    RATIO_NONE, Row, SHARE_ONE,
};
use super::context::{Context, Event, Flow, ONE_REPORT, bit_of};
use super::fixed;

/// Writes the row; both contexts are decayed to the transfer's time.
#[inline(always)]
#[allow(clippy::inline_always, reason = "else it is compiled for the least processor")]
pub(super) fn write(from: &Context, to: &Context, event: &Event, row: &mut Row) {
    let is_known = i32::from(from.out.has(bit_of(event.credit)));
    let is_reverse = i32::from(to.out.has(bit_of(event.debit)));
    let (spread_out, spread_in) = (spread(&from.out), spread(&to.into));
    let held = from.into.sum().saturating_sub(from.out.sum());
    let since = |past: u64| event.second.saturating_sub(past);
    let [
        gap_from_out,
        gap_from_into,
        gap_to_into,
        gap_to_out,
        age_from,
        age_to,
        from_hour,
        from_day,
        from_week,
        to_hour,
        to_day,
        to_week,
        from_reports,
        to_reports,
        from_met,
        to_met,
    ] = fixed::log2s_of_one_more([
        since(from.out.last),
        since(from.into.last),
        since(to.into.last),
        since(to.out.last),
        since(from.first),
        since(to.first),
        from.out.hour.into(),
        from.out.day.into(),
        from.out.week.into(),
        to.into.hour.into(),
        to.into.day.into(),
        to.into.week.into(),
        from.reports.into(),
        to.reports.into(),
        from.met.into(),
        to.met.into(),
    ]);
    let features: [i32; FEATURE_COUNT] = [
        event.log,
        fixed::digits(event.amount),
        deviation(event.log, &from.out, spread_out),
        ratio(event.log, i32::from(from.out.greatest), &from.out),
        within(event.log - fixed::log2_of_more(held)),
        deviation(event.log, &to.into, spread_in),
        ratio(event.log, i32::from(to.into.greatest), &to.into),
        ratio(event.log, i32::from(to.into.latest), &to.into),
        gap(gap_from_out, from.out.count > 0),
        gap(gap_from_into, from.into.count > 0),
        gap(gap_to_into, to.into.count > 0),
        gap(gap_to_out, to.out.count > 0),
        gap(age_from, from.is_seen()),
        gap(age_to, to.is_seen()),
        from_hour,
        from_day,
        from_week,
        to_hour,
        to_day,
        to_week,
        count(from.out.count),
        count(from.into.count),
        count(to.into.count),
        count(to.out.count),
        fixed::log2_of_more(to.into.sum()),
        to.into.mean >> 8,
        spread_in,
        flow(from),
        flow(to),
        fan(&from.out),
        fan(&from.into),
        fan(&to.into),
        fan(&to.out),
        is_known + 2 * is_reverse,
        share(to.young.into(), to.into.count.into()),
        from_reports,
        to_reports,
        share(
            u64::from(to.reports) << 10,
            (u64::from(to.into.week) * u64::from(ONE_REPORT >> 10)) << 10,
        ),
        from_met,
        to_met,
    ];
    for (at, feature) in row.0.iter_mut().enumerate() {
        *feature = features[at].max(LEAST[at]).min(GREATEST[at]);
    }
}

fn within(ratio: i32) -> i32 {
    ratio.clamp(-RATIO_MAX, RATIO_MAX)
}

fn ratio(log: i32, past: i32, flow: &Flow) -> i32 {
    if flow.count == 0 {
        return RATIO_NONE;
    }
    within(log - past)
}

/// By how many standard deviations the amount departs from the past; 1/4 of a doubling is added to them, so
/// that a past of equal amounts does not make every other one extreme.
fn deviation(log: i32, flow: &Flow, spread: i32) -> i32 {
    if flow.count == 0 {
        return 0;
    }
    let difference = (log - (flow.mean >> 8)) * 256;
    (difference / (spread + 64)).clamp(-DEVIATION_MAX, DEVIATION_MAX)
}

/// The root of an integer below 2^32 in floats is exact once rounded down: IEEE 754 rounds roots correctly, the same on
/// every processor.
#[inline]
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "a root below 2^16 is cut to an integer"
)]
fn spread(flow: &Flow) -> i32 {
    f64::from(flow.variance).sqrt() as i32
}

fn gap(log: i32, is_seen: bool) -> i32 {
    if is_seen { log.min(GAP_MAX) } else { GAP_NONE }
}

fn count(count: u32) -> i32 {
    i32::try_from(count).map_or(COUNT_MAX, |count| count.min(COUNT_MAX))
}

fn flow(context: &Context) -> i32 {
    within(fixed::log2_of_more(context.out.sum()) - fixed::log2_of_more(context.into.sum()))
}

/// Linear counting: −256 ln(z / 256) distinct accounts where z of 256 bits are zero, in 1/4.
#[inline]
fn fan(flow: &Flow) -> i32 {
    let zeros = 256_u32.saturating_sub(flow.marked);
    if zeros == 0 {
        return FAN_MAX;
    }
    (8 * 256 - fixed::log2_u64(zeros.into())) * 2839 / 1024
}

fn share(part: u64, whole: u64) -> i32 {
    // Of nothing reported, as nearly always, no division.
    if whole == 0 || part == 0 {
        return 0;
    }
    let share = part.saturating_mul(SHARE_ONE.unsigned_abs().into()) / whole;
    i32::try_from(share).map_or(SHARE_ONE, |share| share.min(SHARE_ONE))
}
