//! Tests of the configuration: every key by every way, precedence, and what is refused.

use super::*;

fn file(text: &str) -> Option<(PathBuf, String)> {
    Some(("selfchain.toml".into(), text.into()))
}

/// A value of the key's type that is not its default.
fn other_value(key: &Key) -> String {
    let default = (key.show)(&Config::default());
    let hash = "ab".repeat(32);
    let peer = format!("{hash}@10.0.0.1:9");
    let kept = format!("{hash}:1000");
    let candidates = [
        "false",
        "off",
        "fair",
        "debug",
        "json",
        "10.0.0.1:9",
        "http://10.0.0.1:9/v1",
        &peer,
        "elsewhere",
        &hash,
        &kept,
    ];
    let mut numbers = default
        .parse::<u64>()
        .map_or(vec![], |number| vec![number + 1, number.saturating_sub(1)]);
    let numbers = numbers.drain(..).map(|number| number.to_string());
    let mut all = numbers.chain(candidates.map(str::to_owned));
    all.find(|value| *value != default && (key.set)(&mut Config::default(), value).is_ok())
        .unwrap_or_else(|| panic!("{} takes no other value", key.name))
}

#[test]
fn every_key_works_in_the_file_in_the_environment_and_as_a_flag() {
    for (at, key) in KEYS.iter().enumerate() {
        let value = other_value(key);
        let quoted = if key.is_bare {
            value.clone()
        } else {
            format!("\"{value}\"")
        };
        for (layers, source) in [
            (
                Layers {
                    file: file(&format!("{} = {quoted}", key.name)),
                    ..Layers::default()
                },
                Source::File,
            ),
            (
                Layers {
                    env: vec![(env_name(key.name), value.clone())],
                    ..Layers::default()
                },
                Source::Env,
            ),
            (
                Layers {
                    flags: vec![(key.name.into(), value.clone())],
                    ..Layers::default()
                },
                Source::Flag,
            ),
        ] {
            let resolved = resolve(&layers).unwrap_or_else(|error| panic!("{}: {error}", key.name));
            assert_eq!((key.show)(&resolved.config), value, "{} by {source}", key.name);
            assert_eq!(resolved.sources[at], source, "{}", key.name);
        }
    }
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let mut layers = Layers {
        file: file("[pipeline]\nquery_queue_len = 1\nverify_threads = 1\nblock_interval_ms = 1\n"),
        env: vec![
            ("SELFCHAIN_PIPELINE__QUERY_QUEUE_LEN".into(), "2".into()),
            ("SELFCHAIN_PIPELINE__VERIFY_THREADS".into(), "2".into()),
            ("PATH".into(), "untouched".into()),
            ("SELFCHAIN_CONFIG".into(), "selfchain.toml".into()),
        ],
        flags: vec![("pipeline.query_queue_len".into(), "3".into())],
        unused_ports: false,
    };
    let pipeline = resolve(&layers).unwrap().config.pipeline;
    assert_eq!(
        (
            pipeline.query_queue_len,
            pipeline.verify_threads,
            pipeline.block_interval_ms
        ),
        (3, 2, 1)
    );
    layers.flags.clear();
    assert_eq!(resolve(&layers).unwrap().config.pipeline.query_queue_len, 2);
}

#[test]
fn unknown_keys_are_refused_wherever_they_stand_and_the_nearest_is_named() {
    let check = |layers: Layers, origin: &str| {
        let message = resolve(&layers).unwrap_err().to_string();
        assert!(message.starts_with(origin), "{message}");
        assert!(message.contains("did you mean `ingest.listen`?"), "{message}");
    };
    check(
        Layers {
            file: file("[ingest]\nlistn = \"x\""),
            ..Layers::default()
        },
        "selfchain.toml",
    );
    check(
        Layers {
            file: file("ingest.listen_ = 1"),
            ..Layers::default()
        },
        "selfchain.toml",
    );
    let env = vec![("SELFCHAIN_INGEST_LISTEN".into(), "x".into())];
    check(
        Layers {
            env,
            ..Layers::default()
        },
        "environment SELFCHAIN_INGEST_LISTEN",
    );
    let flags = vec![("ingest.listeen".into(), "x".into())];
    check(
        Layers {
            flags,
            ..Layers::default()
        },
        "flag --ingest.listeen",
    );
}

#[test]
fn wrong_values_are_refused_with_what_is_expected() {
    let check = |text: &str, want: &str| {
        let message = resolve(&Layers {
            file: file(text),
            ..Layers::default()
        })
        .unwrap_err()
        .to_string();
        assert!(message.contains(want), "{text}: {message}");
    };
    check("ingest.listen = \"nowhere\"", "expected an address with a port");
    check("pipeline.query_queue_len = 0", "must be from 1 to 10000000");
    check(
        "pipeline.query_queue_len = 1.5",
        "takes one plain value, not a float",
    );
    check("pipeline.order = \"random\"", "expected fee or fair");
    check("storage = 7", "there is no key `storage`");
    check("[a.b]\nc = 1", "`a.b` takes one plain value, not a table");
    check("pipeline.query_queue_len = ", "is not TOML");
    check(
        "ingest.connections_max = 3",
        "`ingest.connections_per_ip_max` = 64 must not exceed",
    );
}

#[test]
fn the_annotated_file_names_every_key_and_changes_nothing_but_what_was_chosen() {
    let text = annotated(&Config::default());
    let resolved = resolve(&Layers {
        file: file(&text),
        ..Layers::default()
    })
    .unwrap();
    assert_eq!(resolved.config, Config::default());
    assert!(resolved.sources.iter().all(|source| *source == Source::Default));

    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|rest| is_setting(rest))
                .unwrap_or(line)
        })
        .collect();
    let resolved = resolve(&Layers {
        file: file(&uncommented.join("\n")),
        ..Layers::default()
    })
    .unwrap();
    assert_eq!(resolved.config, Config::default());
    assert!(resolved.sources.iter().all(|source| *source == Source::File));

    let mut chosen = Config::default();
    chosen.pipeline.verify_threads = 7;
    chosen.data_dir = "with \"quotes\"".into();
    let resolved = resolve(&Layers {
        file: file(&annotated(&chosen)),
        ..Layers::default()
    })
    .unwrap();
    assert_eq!(resolved.config, chosen);
}

fn is_setting(line: &str) -> bool {
    line.split_once(" = ")
        .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
}

#[test]
fn what_was_said_is_told_apart_from_what_follows_from_it() {
    let flags = vec![("port_base".into(), "9000".into())];
    let said = resolve(&Layers {
        flags,
        ..Layers::default()
    })
    .unwrap()
    .said();
    assert_eq!(
        said,
        Config {
            port_base: 9_000,
            ..Config::default()
        }
    );
}

#[test]
fn ports_follow_the_base_unless_they_are_set() {
    let ports = |layers: &Layers| {
        let config = resolve(layers).unwrap().config;
        (
            config.ingest.listen.port(),
            config.http.listen.map(|address| address.port()),
        )
    };
    let mut layers = Layers::default();
    assert_eq!(ports(&layers), (7_400, Some(7_401)));
    layers.flags.push(("port_base".into(), "9000".into()));
    assert_eq!(ports(&layers), (9_000, Some(9_001)));
    layers.flags.push(("http.listen".into(), "127.0.0.1:80".into()));
    assert_eq!(ports(&layers), (9_000, Some(80)));
    layers.unused_ports = true;
    assert_eq!(ports(&layers), (0, Some(0)));
    layers.flags.push(("http.listen".into(), "off".into()));
    assert_eq!(ports(&layers), (0, None));
}
