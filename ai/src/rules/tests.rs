//! What a pack says is what fires; everything wrong is refused by name; no bytes panic.

use super::*;
use crate::explain::{RECEIVER_LISTED, SENDER_LISTED};
use crate::features::catalogue::{GAP_NONE, RATIO_NONE};
use crate::features::{Contexts, FEATURES, Row};
use crate::model::Predict;
use crate::score::{LOG_ODDS_ONE, LogOdds, SCORE_STEPS};
use proptest::prelude::*;
use selfchain_types::time::NS_PER_S;
use selfchain_types::{AccountId, Amount, AssetId, Operation, TimeNs};

fn transfer(from: u128, to: u128, amount: u128) -> Operation {
    Operation::transfer(1, AccountId(from), AccountId(to), Amount(amount), AssetId(1))
}

/// A pack of one list and of these rules.
fn pack(rules: &str) -> String {
    format!(
        "name = \"it\"\nversion = 1\nbase = 20\n[[list]]\nname = \"known\"\naccounts = [7, 5, \"{}\"]\n{rules}",
        u128::MAX - 1
    )
}

fn rule(code: &str, effect: &str, when: &[&str]) -> String {
    format!("[[rule]]\ncode = \"{code}\"\nsays = \"it\"\n{effect}\nwhen = {when:?}\n")
}

fn parse(text: &str) -> Rules {
    Rules::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn one_rule(when: &[&str]) -> Rules {
    parse(&pack(&rule("it", "score = 200", when)))
}

fn feature(name: &str) -> usize {
    FEATURES
        .iter()
        .position(|feature| feature.name == name)
        .expect(name)
}

/// A typical row with other values in some places.
fn row(changes: &[(&str, i32)]) -> Row {
    let mut row = *one_rule(&["amount is 1"]).typical();
    for (name, value) in changes {
        row.0[feature(name)] = *value;
    }
    row
}

/// For which of these values of the condition's feature it holds.
fn held(condition: &str, values: &[i32]) -> Vec<i32> {
    let rules = one_rule(&[condition]);
    let name = condition.split(' ').next().expect("a first word");
    let is_held = |value: &i32| rules.fired(&row(&[(name, *value)]), &transfer(1, 2, 3)).count() == 1;
    values.iter().copied().filter(is_held).collect()
}

fn held_amounts(condition: &str, amounts: &[u128]) -> Vec<u128> {
    let rules = one_rule(&[condition]);
    let is_held = |amount: &u128| rules.fired(&row(&[]), &transfer(1, 2, *amount)).count() == 1;
    amounts.iter().copied().filter(is_held).collect()
}

#[test]
fn operators_divide_the_values_of_a_feature() {
    let counts = [0, 1, 2, 3, 128];
    assert_eq!(held("to_count_in is 2", &counts), [2]);
    assert_eq!(held("to_count_in is not 2", &counts), [0, 1, 3, 128]);
    assert_eq!(held("to_count_in < 2", &counts), [0, 1]);
    assert_eq!(held("to_count_in <= 2", &counts), [0, 1, 2]);
    assert_eq!(held("to_count_in > 2", &counts), [3, 128]);
    assert_eq!(held("to_count_in >= 2", &counts), [2, 3, 128]);
}

#[test]
fn amounts_are_exact() {
    let amounts = [0, 999_999, 1_000_000, 1_000_001, u128::MAX];
    assert_eq!(held_amounts("amount is 1_000_000", &amounts), amounts[2..3]);
    assert_eq!(held_amounts("amount < 1_000_000", &amounts), amounts[..2]);
    assert_eq!(held_amounts("amount <= 1_000_000", &amounts), amounts[..3]);
    assert_eq!(held_amounts("amount > 1_000_000", &amounts), amounts[3..]);
    assert_eq!(held_amounts("amount >= 1_000_000", &amounts), amounts[2..]);
    assert_eq!(
        held_amounts("amount is not 1_000_000", &amounts),
        [0, 999_999, 1_000_001, u128::MAX]
    );
    let last = format!("amount >= {}", u128::MAX);
    assert_eq!(held_amounts(&last, &amounts), amounts[4..]);
}

#[test]
fn a_new_account_is_young_and_never_is_long_ago() {
    // A minute, a day, a month, none.
    let times = [1518, 4197, 5453, GAP_NONE];
    assert_eq!(held("to_age < 2 d", &times), [1518, 4197, GAP_NONE]);
    assert_eq!(held("to_age <= 1 d", &times), [1518, 4197, GAP_NONE]);
    assert_eq!(held("to_age > 1 d", &times), [5453]);
    assert_eq!(held("to_age >= 1d", &times), [4197, 5453]);
    assert_eq!(held("to_age is new", &times), [GAP_NONE]);
    assert_eq!(held("to_age is not new", &times), times[..3]);
    assert_eq!(held("from_gap_in < 24 h", &times), [1518]);
    assert_eq!(held("from_gap_in <= 1_440 m", &times), [1518, 4197]);
    assert_eq!(held("from_gap_in > 86400 s", &times), [5453, GAP_NONE]);
    assert_eq!(held("from_gap_in is never", &times), [GAP_NONE]);
    assert_eq!(held("from_gap_in is not never", &times), times[..3]);
}

#[test]
fn without_a_past_no_ratio_is_more_or_less() {
    let ratios = [RATIO_NONE, -4096, -256, 0, 256];
    assert_eq!(held("from_max < 1 x", &ratios), [-4096, -256]);
    assert_eq!(held("from_max <= 0.5 x", &ratios), [-4096, -256]);
    assert_eq!(held("from_max >= 1x", &ratios), [0, 256]);
    assert_eq!(held("from_max is none", &ratios), [RATIO_NONE]);
    assert_eq!(
        held("from_max is not 1 x", &ratios),
        [RATIO_NONE, -4096, -256, 256]
    );
    assert_eq!(held("from_deviation < -1.5", &[-512, -384, 0]), [-512]);
    assert_eq!(held("to_young > 50 %", &[512, 513]), [513]);
    assert_eq!(held("to_young > 50%", &[512, 513]), [513]);
}

#[test]
fn fans_of_few_accounts_are_what_was_counted() {
    let fan = |contexts: &Contexts| {
        let row = contexts.row(&transfer(1, 2, 3), TimeNs(1));
        row.expect("a transfer has a row").0[feature("to_fan_in")]
    };
    let (mut contexts, mut counted) = (Contexts::default(), 0);
    for sender in 10..30 {
        let before = fan(&contexts);
        assert_eq!(
            held(&format!("to_fan_in is {counted}"), &[before]),
            [before],
            "{counted}"
        );
        assert_eq!(
            held(&format!("to_fan_in > {counted}"), &[before]),
            [0; 0],
            "{counted}"
        );
        contexts.observe(&transfer(sender, 2, 3), TimeNs(1));
        // Two senders in one place of the sketch count as one.
        counted += u32::from(fan(&contexts) != before);
        if counted > 10 {
            return;
        }
    }
    panic!("twenty senders share {counted} places of the sketch");
}

#[test]
fn parties_are_found_in_lists() {
    let codes = |when: &str, from, to| {
        let operation = transfer(from, to, 3);
        one_rule(&[when]).fired(&row(&[]), &operation).count()
    };
    let last = u128::MAX - 1;
    assert_eq!(
        [5, 7, last, 6].map(|from| codes("from in known", from, 1)),
        [1, 1, 1, 0]
    );
    assert_eq!(
        [5, 7, last, 6].map(|to| codes("to in known", 1, to)),
        [1, 1, 1, 0]
    );
    assert_eq!([5, 6].map(|from| codes("from not in known", from, 1)), [0, 1]);
    assert_eq!([5, 6].map(|to| codes("to not in known", 5, to)), [0, 1]);
}

#[test]
fn the_score_is_the_greatest_demand_and_what_others_add() {
    let rules = parse(&pack(
        &[
            rule("many", "score = 150", &["amount >= 10"]),
            rule("seven", "score = 100", &["from in known"]),
            rule("more", "add = 30", &["amount >= 20"]),
            rule("most", "add = 200", &["amount >= 30"]),
        ]
        .concat(),
    ));
    let score = |from, amount| rules.score(&row(&[]), &transfer(from, 2, amount));
    assert_eq!(
        [score(1, 1), score(7, 1), score(7, 10), score(1, 20), score(1, 30)],
        [20, 100, 150, 180, 254]
    );
    let fired: Vec<&str> = rules
        .fired(&row(&[]), &transfer(7, 2, 20))
        .map(|rule| rule.code.as_str())
        .collect();
    assert_eq!(fired, ["many", "seven", "more"]);
    let operations = [transfer(7, 2, 10), transfer(1, 2, 1)];
    let mut out = vec![LogOdds(1)];
    rules.log_odds(&[row(&[]); 2], &[&operations[0], &operations[1]], &mut out);
    assert_eq!(out, [LogOdds(1), LogOdds::of_score(150), LogOdds::of_score(20)]);
    assert!(rules.is_exact());
}

#[test]
fn all_conditions_of_a_rule_must_hold() {
    let rules = one_rule(&["pair is 0", "amount >= 10"]);
    let fires = |pair, amount| {
        rules
            .fired(&row(&[("pair", pair)]), &transfer(1, 2, amount))
            .count()
    };
    assert_eq!([fires(0, 10), fires(0, 9), fires(1, 10)], [1, 0, 0]);
}

/// What the pack is refused with.
fn refusal(text: &str) -> String {
    match Rules::parse(text.as_bytes()) {
        Ok(_) => panic!("taken:\n{text}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn refuses(text: &str, words: &[&str]) {
    let refusal = refusal(text);
    for word in words {
        assert!(refusal.contains(word), "{refusal:?} says nothing of {word:?}");
    }
}

#[test]
fn a_wrong_condition_is_refused_with_its_rule_and_text() {
    for (condition, why) in [
        ("colour is 3", "there is no feature `colour`"),
        ("amount is 3 d", "amount takes no unit after the number, not `d`"),
        ("to_age < 2", "to_age takes s, m, h or d after the number, not ``"),
        (
            "to_age < 2 w",
            "to_age takes s, m, h or d after the number, not `w`",
        ),
        ("to_young > 2 x", "to_young takes % after the number, not `x`"),
        ("from_max > 2", "from_max takes x after the number"),
        ("pair is 2x", "pair takes no unit after the number, not `x`"),
        ("amount is -1", "-1 is out of bounds for amount"),
        ("amount is 1.5", "1.5 is out of bounds for amount"),
        (
            "amount is 340282366920938463463374607431768211456",
            "is no number",
        ),
        ("to_count_in > 129", "129 is out of bounds for to_count_in"),
        ("to_age < 98 d", "98 is out of bounds for to_age"),
        ("from_gap_in > 98 d", "98 is out of bounds for from_gap_in"),
        // Its logarithm is the one that stands for "never".
        ("from_gap_in > 97.5 d", "97.5 is out of bounds for from_gap_in"),
        ("from_out_day > 5000", "5000 is out of bounds"),
        ("to_young > 101 %", "101 is out of bounds"),
        ("from_max > 0 x", "0 is out of bounds"),
        ("to_spread_in < 0.5 x", "0.5 is out of bounds"),
        ("from_deviation > 8.5", "8.5 is out of bounds"),
        ("to_fan_in > 1421", "1421 is out of bounds"),
        ("pair is zero", "`zero` is no number"),
        ("pair is new", "`new` is no number"),
        ("to_age < new", "`new` is neither more nor less"),
        ("from_max >= none", "`none` is neither more nor less"),
        ("pair = 0", "there is no operator `=`"),
        ("pair is", "it reads neither"),
        ("pair", "it reads neither"),
        ("", "it reads neither"),
        ("pair is 1 2 3", "it reads neither"),
        ("from in lost", "there is no list `lost`"),
        ("to not in lost", "there is no list `lost`"),
        ("amount in known", "`amount` cannot be in a list"),
        ("amount >= 0", "it always holds"),
        ("amount < 0", "it never holds"),
        ("to_count_in <= 128", "it always holds"),
        ("to_count_in > 128", "it never holds"),
        ("pair < 0", "it never holds"),
    ] {
        let text = pack(&rule("mine", "score = 1", &["pair is 0", condition]));
        refuses(&text, &["rule `mine`", &format!("`{condition}`: "), why]);
    }
    let long = "x".repeat(CONDITION_BYTES_MAX + 1);
    refuses(
        &pack(&rule("mine", "score = 1", &[&long])),
        &["`mine`", "257 bytes"],
    );
}

#[test]
fn a_wrong_rule_is_refused_with_its_code() {
    let of = |effect: &str| pack(&rule("mine", effect, &["pair is 0"]));
    refuses(
        &of("score = 1\ncolour = 2"),
        &["rule `mine`", "unknown field `colour`"],
    );
    refuses(&of(""), &["rule `mine`", "either score or add"]);
    refuses(&of("score = 1\nadd = 1"), &["rule `mine`", "either score or add"]);
    refuses(&of("score = 255"), &["rule `mine`", "score = 255"]);
    refuses(&of("score = 0"), &["rule `mine`", "score = 0"]);
    refuses(&of("add = -1"), &["rule `mine`", "add = -1"]);
    refuses(
        &of("score = \"high\""),
        &["rule `mine`", "invalid type", "in `score`"],
    );
    refuses(
        &pack("[[rule]]\nsays = \"it\""),
        &["rule `number 1`", "missing field `code`"],
    );
    refuses(
        &pack(&rule("Mine", "add = 1", &["pair is 0"])),
        &["rule `Mine`", "small letters"],
    );
    refuses(
        &pack(&rule("", "add = 1", &["pair is 0"])),
        &["rule ``", "small letters"],
    );
    let twice = rule("mine", "add = 1", &["pair is 0"]).repeat(2);
    refuses(&pack(&twice), &["rule `mine`", "another rule has that code"]);
    refuses(
        &pack(&rule("mine", "add = 1", &[])),
        &["rule `mine`", "0 conditions"],
    );
    let many = ["pair is 0"; CONDITIONS_MAX + 1];
    refuses(
        &pack(&rule("mine", "add = 1", &many)),
        &["rule `mine`", "17 conditions"],
    );
    parse(&pack(&rule("mine", "add = 1", &many[1..])));
    for says in [
        String::new(),
        " ".to_owned(),
        "a\\u0007".to_owned(),
        "x".repeat(SAYS_BYTES_MAX + 1),
    ] {
        let text = of("add = 1").replace("says = \"it\"", &format!("says = \"{says}\""));
        refuses(&text, &["rule `mine`", "says must be words"]);
    }
}

#[test]
fn a_wrong_pack_is_refused() {
    refuses("name = 1", &["it is no pack of rules", "line 1"]);
    refuses(
        &pack("").replace("version", "colour"),
        &["unknown field `colour`"],
    );
    refuses(&pack("").replace("20", "255"), &["base = 255"]);
    refuses(&pack("").replace("\"it\"", "\" \""), &["the pack's name ` `"]);
    refuses(
        &pack("").replace("\"known\"", "\"Known\""),
        &["list `Known`", "small letters"],
    );
    refuses(
        &pack("").replace("[7,", "[true,"),
        &["an account is a whole number"],
    );
    refuses(
        &pack("").replace("[7,", "[-7,"),
        &["list `known`", "`-7` is no account"],
    );
    refuses(
        &pack("").replace("[7,", "[\"+7\","),
        &["list `known`", "`+7` is no account"],
    );
    refuses(
        &pack("").replace("[7,", "[\"\","),
        &["list `known`", "`` is no account"],
    );
    refuses(
        &pack("[[list]]\nname = \"known\"\naccounts = []"),
        &["list `known`", "another list has that name"],
    );
    let list = |at: usize| format!("[[list]]\nname = \"list_{at}\"\naccounts = []\n");
    let lists = |count: usize| (0..count).map(list).collect::<String>();
    refuses(&pack(&lists(LISTS_MAX)), &["65 lists are more than 64"]);
    parse(&pack(&lists(LISTS_MAX - 1)));
    let numbered = |at: usize| rule(&format!("rule_{at}"), "add = 1", &["pair is 0"]);
    let rules = |count: usize| (0..count).map(numbered).collect::<String>();
    refuses(&pack(&rules(RULES_MAX + 1)), &["65 rules are more than 64"]);
    parse(&pack(&rules(RULES_MAX)));
    let error = Rules::parse(b"name = \"\xff\"").expect_err("no pack");
    assert_eq!(error, RulesError::Text { at: 8 });
    let long = vec![b'#'; RULES_BYTES_MAX + 1];
    let error = Rules::parse(&long).expect_err("no pack");
    assert_eq!(error, RulesError::TooLong { bytes: long.len() });
}

#[test]
fn a_list_holds_a_million_accounts_and_no_more() {
    let of = |count: usize| {
        let accounts = "9,".repeat(count);
        format!("name = \"it\"\nversion = 1\nbase = 0\n[[list]]\nname = \"long\"\naccounts = [{accounts}]")
    };
    parse(&of(LIST_ACCOUNTS_MAX));
    refuses(
        &of(LIST_ACCOUNTS_MAX + 1),
        &["list `long`", "1000001 accounts are more than 1000000"],
    );
}

/// A code, an amount, and what differs from a typical row.
type Story = (&'static str, u128, &'static [(&'static str, i32)]);

/// What fires each rule of the starter pack: an amount, and what differs from a typical row.
const STARTERS: [Story; 13] = [
    ("listed_sender", 10, &[]),
    ("listed_receiver", 10, &[]),
    ("over_limit", 1_000_000, &[]),
    ("new_payee_large", 100_000, &[("pair", 0), ("to_age", GAP_NONE)]),
    ("velocity_hour", 10, &[("from_out_hour", 3410)]),
    ("velocity_day", 10, &[("from_out_day", 4004)]),
    ("structuring", 10_000, &[("to_repeat", 0), ("from_out_day", 3154)]),
    ("below_limit", 999_999, &[("to_in_day", 2816)]),
    ("drain", 10, &[("drain", 0), ("from_gap_in", 3000)]),
    (
        "fan_in_burst",
        10,
        &[("to_fan_in", 80), ("to_in_day", 3410), ("to_age", 4000)],
    ),
    ("reported_receiver", 10, &[("to_reports", 4500)]),
    ("reported_sender", 10, &[("from_reports", 4500)]),
    ("woken", 10_000, &[("from_gap_out", 5800), ("from_max", 256)]),
];

#[test]
fn every_rule_of_the_starter_fires_on_a_row_made_for_it() {
    let text = STARTER.replace("accounts = []", "accounts = [7]");
    let rules = parse(&text);
    assert_eq!(rules.rules().len(), STARTERS.len());
    for (code, amount, changes) in STARTERS {
        let (from, to) = match code {
            "listed_sender" => (7, 2),
            "listed_receiver" => (1, 7),
            _ => (1, 2),
        };
        let operation = transfer(from, to, amount);
        let fired = |row: &Row| {
            let codes = rules.fired(row, &operation).map(|rule| rule.code.clone());
            codes.collect::<Vec<_>>()
        };
        assert_eq!(fired(&row(changes)), [code]);
        assert!(rules.score(&row(changes), &operation) > rules.base(), "{code}");
        // Without any one of the changes it does not fire.
        for (name, value) in changes {
            let others: Vec<_> = changes
                .iter()
                .copied()
                .filter(|(other, _)| other != name)
                .collect();
            assert!(fired(&row(&others)).is_empty(), "{code} without {name} {value}");
        }
    }
}

#[test]
fn the_strongest_rule_gives_the_first_reasons_and_nothing_is_said_twice() {
    let rules = [
        rule("weak", "add = 5", &["pair is 0", "amount >= 10"]),
        rule(
            "strong",
            "score = 200",
            &["to in known", "amount >= 10", "from not in known"],
        ),
        rule("idle", "score = 9", &["digits < 3"]),
        rule("silent", "score = 254", &["to_count_in is 1"]),
    ];
    let rules = parse(&pack(&rules.concat()));
    let reasons = rules.explain(&row(&[("pair", 0)]), &transfer(1, 7, 10));
    let got: Vec<(u8, u8)> = reasons
        .iter()
        .map(|reason| (reason.feature, reason.raises.score() - 127))
        .collect();
    let (amount, pair) = (code("amount"), code("pair"));
    // More than 127 steps are past the end of a byte.
    let strong = 127;
    let want = [
        (RECEIVER_LISTED, strong),
        (amount, strong),
        (SENDER_LISTED, strong),
        (pair, 5),
    ];
    assert_eq!(got, want);
    assert_eq!(reasons[0].raises.0, (200 - 20) * LOG_ODDS_ONE / SCORE_STEPS);
    assert!(reasons.iter().all(|reason| !reason.words().is_empty()));
}

fn code(name: &str) -> u8 {
    u8::try_from(feature(name)).expect("few features")
}

#[test]
fn nothing_fires_on_a_typical_row() {
    let rules = parse(STARTER);
    for amount in [0, 10_000, 500_000] {
        assert_eq!(
            rules.score(rules.typical(), &transfer(1, 2, amount)),
            rules.base()
        );
    }
    for (feature, value) in FEATURES.iter().zip(rules.typical().0) {
        assert!((feature.min..=feature.max).contains(&value), "{}", feature.name);
    }
}

/// The codes that fire for the last of these transfers, each a second after the one before.
fn fired_last(transfers: &[(u128, u128, u128)]) -> Vec<String> {
    let mut contexts = Contexts::default();
    let mut fired = Vec::new();
    let rules = parse(STARTER);
    for (second, (from, to, amount)) in (1_500_000_000..).zip(transfers) {
        let operation = transfer(*from, *to, *amount);
        let time = TimeNs(second * NS_PER_S);
        let row = contexts.row(&operation, time).expect("a transfer has a row");
        fired = rules
            .fired(&row, &operation)
            .map(|rule| rule.code.clone())
            .collect();
        contexts.observe(&operation, time);
    }
    fired
}

#[test]
fn stories_told_by_transfers_fire_the_starter() {
    assert_eq!(fired_last(&[(1, 2, 200_000)]), ["new_payee_large"]);
    assert_eq!(fired_last(&[(1, 2, 200); 2]), [""; 0]);
    assert_eq!(fired_last(&[(1, 2, 50_000); 6]), ["structuring"]);
    assert_eq!(fired_last(&[(1, 2, 50_000); 5]), [""; 0]);
    assert_eq!(fired_last(&[(1, 2, 5_000), (2, 3, 4_900)]), ["drain"]);
    let many: Vec<_> = (10..40).map(|from| (from, 2, 100 + from)).collect();
    assert_eq!(fired_last(&many), ["fan_in_burst"]);
}

/// Pieces of packs, right and wrong.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "name = \"it\"\n",
        "version = 1\n",
        "base = 20\n",
        "[[list]]\n",
        "[[rule]]\n",
        "accounts = [1]\n",
        "code = \"a\"\n",
        "says = \"a\"\n",
        "score = 3\n",
        "add = 3\n",
        "when = [\"pair is 0\"]\n",
        "[",
        "]",
        "\"",
        "=",
        "\n",
        "1979-05-27",
        "0x10",
        "-1",
        "when = [\"amount >= 1_\"]\n",
        "rule = 3\n",
        "rule = [3]\n",
    ];
    prop_oneof![
        proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        ".{0,8}"
    ]
}

/// Words of conditions, right and wrong.
fn word() -> impl Strategy<Value = String> {
    let words = [
        "amount",
        "to_age",
        "from_max",
        "to_fan_in",
        "pair",
        "from",
        "to",
        "in",
        "not",
        "is",
        "<",
        "<=",
        ">",
        ">=",
        "0",
        "-1",
        "1.5",
        "2d",
        "2",
        "d",
        "x",
        "%",
        "never",
        "new",
        "none",
        "known",
        "97",
        "٣",
        "-",
        "_",
        "340282366920938463463374607431768211455",
        "99999999999999999999",
        "0.000001",
    ];
    let features: Vec<&str> = FEATURES.iter().map(|feature| feature.name).collect();
    prop_oneof![
        3 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => proptest::sample::select(features).prop_map(str::to_owned),
        1 => "[^\"\\\\[:cntrl:]]{0,6}",
    ]
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop(Rules::parse(&bytes));
    }

    #[test]
    fn no_pieces_of_packs_panic(pieces in proptest::collection::vec(piece(), 0..24)) {
        drop(Rules::parse(pieces.concat().as_bytes()));
    }

    #[test]
    fn no_damaged_starter_panics(at in 0_usize..10_000, byte: u8, cut in 0_usize..10_000) {
        let mut bytes = STARTER.as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        drop(Rules::parse(&bytes));
        bytes.truncate(cut % bytes.len());
        drop(Rules::parse(&bytes));
    }

    #[test]
    fn no_condition_panics_where_it_is_read_or_asked(
        words in proptest::collection::vec(word(), 1..6),
        values in proptest::collection::vec(any::<i32>(), 40),
        amount: u128,
    ) {
        let text = pack(&rule("it", "add = 254", &[&words.join(" ")]));
        if let Ok(rules) = Rules::parse(text.as_bytes()) {
            let row = Row(values.try_into().expect("as many as a row has"));
            let operation = transfer(7, 2, amount);
            let score = rules.score(&row, &operation);
            prop_assert!(score == 20 || score == 254);
        }
    }
}
