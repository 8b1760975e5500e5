#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::flag::SHORT;
use super::keys::Keys;
use super::{Config, Flag, Invalid, Loaded, Sources, schema};
use crate::error::CommandError;

/// A directory with a `wharf.toml` of this content.
fn file(content: impl AsRef<[u8]>) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("wharf.toml"), content).unwrap();
    directory
}

fn load(file: Option<PathBuf>, variables: &[(&str, &str)], flags: &[Flag]) -> Result<Loaded, Invalid> {
    let environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Sources { file, environment, flags: flags.to_vec() }.load()
}

fn valid(content: &str, variables: &[(&str, &str)], flags: &[Flag]) -> Config {
    let directory = file(content);
    load(Some(directory.path().join("wharf.toml")), variables, flags).unwrap().config
}

/// The complaints, one a line, with the file called `wharf.toml`.
fn complaints(content: impl AsRef<[u8]>, variables: &[(&str, &str)], flags: &[Flag]) -> String {
    let directory = file(content);
    let Invalid(complaints) = load(Some(directory.path().join("wharf.toml")), variables, flags).unwrap_err();
    let text = complaints.iter().fold(String::new(), |text, complaint| text + &complaint.to_string() + "\n");
    text.replace(&format!("{}/", directory.path().display()), "")
}

#[track_caller]
fn check_complaints(content: impl AsRef<[u8]>, variables: &[(&str, &str)], flags: &[Flag], expected: &[&str]) {
    assert_eq!(complaints(content, variables, flags).lines().collect::<Vec<_>>(), expected);
}

#[track_caller]
fn check_file(content: impl AsRef<[u8]>, expected: &[&str]) {
    check_complaints(content, &[], &[], expected);
}

#[test]
fn nothing_needs_to_be_configured() {
    let loaded = load(None, &[("PATH", "/bin"), ("RUST_LOG", "trace")], &[]).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.config.storage.data, Path::new("./wharf-data"));
    assert!(loaded.origins.is_empty());
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let in_file = "[log]\nformat = \"json\"\n[registry]\ntags_page_max = 1\n";
    for sources in 0..8_u32 {
        let (has_file, has_variable, has_flag) = (sources & 1 != 0, sources & 2 != 0, sources & 4 != 0);
        let content = if has_file { in_file } else { "" };
        let variables: &[_] = if has_variable { &[("WHARF_REGISTRY__TAGS_PAGE_MAX", "2")] } else { &[] };
        let flags: &[_] = if has_flag { &[Flag::set("registry.tags_page_max", "3")] } else { &[] };
        let expected = match (has_flag, has_variable, has_file) {
            (true, _, _) => 3,
            (_, true, _) => 2,
            (_, _, true) => 1,
            _ => Config::default().registry.tags_page_max,
        };
        assert_eq!(valid(content, variables, flags).registry.tags_page_max, expected, "sources {sources:03b}");
    }
}

#[test]
fn the_origin_of_what_is_in_force_is_remembered() {
    let directory = file("\n[log]\nlevel = \"warn\"\nformat = \"json\"\n");
    let path = directory.path().join("wharf.toml");
    let flags = [Flag::short("log-level", "debug".into())];
    let loaded = load(Some(path.clone()), &[("wharf_data", "d")], &flags).unwrap();
    let origins: Vec<_> = loaded.origins.iter().map(|(key, origin)| format!("{key} {origin}")).collect();
    let in_file = format!("log.format {}:4", path.display());
    assert_eq!(origins, [&in_file, "log.level --log-level", "storage.data wharf_data"]);
}

#[test]
fn the_environment_names_the_file_unless_a_flag_does() {
    let (first, second) = (file("[log]\nlevel = \"warn\""), file("[log]\nlevel = \"error\""));
    let (first, second) = (first.path().join("wharf.toml"), second.path().join("wharf.toml"));
    let variable = [("WHARF_CONFIG", first.to_str().unwrap())];
    let level = |file| load(file, &variable, &[]).unwrap().config.log.level.to_string();
    assert_eq!((level(None), level(Some(second))), ("warn".into(), "error".into()));
}

/// Variable, value, and what `config show` makes of it.
#[test]
fn variables_speak_of_lists_sizes_durations_and_texts() {
    for (name, value, expected) in [
        ("WHARF_SERVER__LISTEN", "127.0.0.1:1", "listen = [\"127.0.0.1:1\"]"),
        ("WHARF_SERVER__LISTEN", "127.0.0.1:1, [::1]:2", "listen = [\"127.0.0.1:1\", \"[::1]:2\"]"),
        ("WHARF_SERVER__LISTEN", "[::1]:2", "listen = [\"[::1]:2\"]"),
        ("WHARF_SERVER__LISTEN", "[\"127.0.0.1:1\", \"[::1]:2\"]", "listen = [\"127.0.0.1:1\", \"[::1]:2\"]"),
        ("WHARF_LISTEN", "127.0.0.1:1", "listen = [\"127.0.0.1:1\"]"),
        ("WHARF_SERVER__TRUSTED_PROXIES", "10.0.0.0/8,fd00::/8", "trusted_proxies = [\"10.0.0.0/8\", \"fd00::/8\"]"),
        ("wharf_server__header_timeout", "90s", "header_timeout = \"1m 30s\""),
        ("WHARF_REGISTRY__BLOB_SIZE_MAX", "4 MiB", "blob_size_max = \"4 MiB\""),
        ("WHARF_REGISTRY__BLOB_SIZE_MAX", "1024", "blob_size_max = \"1 KiB\""),
        ("WHARF_REGISTRY__READ_ONLY", "true", "read_only = true"),
        ("WHARF_READ_ONLY", "true", "read_only = true"),
        ("WHARF_SERVER__MAX_CONNECTIONS", "1_000", "max_connections = 1000"),
        ("WHARF_METADATA__READERS", "2", "readers = 2"),
        ("WHARF_DATA", "2026", "data = \"2026\""),
        ("WHARF_DATA", "true", "data = \"true\""),
        ("WHARF_DATA", "a, b", "data = \"a, b\""),
        ("WHARF_STORAGE__DATA", "\"in quotes\"", "data = \"in quotes\""),
        ("WHARF_LOG_LEVEL", "info,wharf_http=debug", "level = \"info,wharf_http=debug\""),
        ("WHARF_LOG_FORMAT", "json", "format = \"json\""),
    ] {
        let shown = load(None, &[(name, value)], &[]).unwrap().show();
        let expected = format!("{expected} # from {name}");
        assert!(shown.lines().any(|line| line == expected), "{expected} is not in\n{shown}");
    }
}

#[test]
fn empty_variables_and_those_of_service_links_mean_nothing() {
    let variables = [
        ("WHARF_DATA", ""),
        ("WHARF_CONFIG", ""),
        ("WHARF_SERVICE_HOST", "10.0.0.1"),
        ("WHARF_SERVICE_PORT", "5000"),
        ("WHARF_SERVICE_PORT_HTTP", "5000"),
        ("WHARF_PORT", "tcp://10.0.0.1:5000"),
        ("WHARF_PORT_5000_TCP", "tcp://10.0.0.1:5000"),
        ("WHARF_PORT_5000_TCP_ADDR", "10.0.0.1"),
        ("WHARF_UI_SERVICE_HOST", "10.0.0.2"),
    ];
    assert_eq!(load(None, &variables, &[]).unwrap().config, Config::default());
}

#[test]
fn s081_unknown_variables_are_refused_with_the_nearest_known() {
    check_complaints(
        "",
        &[
            ("WHARF_DTA", "x"),
            ("WHARF_PORT", "5000"),
            ("WHARF_SERVER_LISTEN", "x"),
            ("WHARF_SERVER__LISTN", "x"),
            ("WHARF_ZZZ__QQQ", "x"),
        ],
        &[],
        &[
            "WHARF_DTA: unknown variable; did you mean WHARF_DATA?",
            "WHARF_PORT: unknown variable",
            "WHARF_SERVER_LISTEN: unknown variable; did you mean WHARF_SERVER__LISTEN?",
            "WHARF_SERVER__LISTN: unknown variable; did you mean WHARF_SERVER__LISTEN?",
            "WHARF_ZZZ__QQQ: unknown variable",
        ],
    );
}

#[test]
fn variables_and_flags_are_checked_like_the_file() {
    check_complaints(
        "",
        &[("WHARF_LISTEN", "localhost"), ("WHARF_REGISTRY__READ_ONLY", "yes")],
        &[Flag::set("server.listn", "x"), Flag::set("log.format", "xml"), Flag::short("log-level", "inof".into())],
        &[
            "WHARF_LISTEN: server.listen = [\"localhost\"]: invalid socket address syntax",
            "WHARF_REGISTRY__READ_ONLY: registry.read_only = \"yes\": expected true or false",
            "--set server.listn: unknown key server.listn; did you mean server.listen?",
            "--set log.format: log.format = \"xml\": expected one of `auto`, `human`, `json`",
            "--log-level: log.level: \"inof\" is not one of off, error, warn, info, debug, trace; write for example \
             \"info,wharf_http=debug\"",
        ],
    );
}

#[test]
fn one_source_says_a_key_once() {
    check_complaints(
        "",
        &[("WHARF_DATA", "a"), ("WHARF_STORAGE__DATA", "b"), ("wharf_data", "c")],
        &[Flag::short("data", "d".into()), Flag::set("storage.data", "e")],
        &[
            "WHARF_STORAGE__DATA: storage.data is already set by WHARF_DATA",
            "wharf_data: storage.data is already set by WHARF_DATA",
            "--set storage.data: storage.data is already set by --data",
        ],
    );
}

#[test]
fn a_variable_that_is_not_utf_8_is_refused() {
    let environment = vec![(OsString::from("WHARF_DATA"), OsString::from_vec(vec![0xff]))];
    let Invalid(complaints) = Sources { environment, ..Sources::default() }.load().unwrap_err();
    assert_eq!(complaints[0].to_string(), "WHARF_DATA: is not UTF-8");
}

#[test]
fn b132_unknown_and_misspelled_keys_are_listed_with_their_lines() {
    check_file(
        "read_only = true\n\"storage.data\" = \"x\"\n\n[server]\nlistn = []\nfrobnicate = 1\nlevel = \"info\"\n[sever]\na = 1\n\
         [storage.data]\n[zzz.yyy]\n",
        &[
            "wharf.toml:1: unknown key read_only; did you mean registry.read_only?",
            "wharf.toml:2: unknown key \"storage.data\"; did you mean storage.data?",
            "wharf.toml:5: unknown key server.listn; did you mean server.listen?",
            "wharf.toml:6: unknown key server.frobnicate",
            "wharf.toml:7: unknown key server.level; did you mean log.level?",
            "wharf.toml:8: unknown section sever; did you mean server?",
            "wharf.toml:10: storage.data = {}: expected a text in quotes",
            "wharf.toml:11: unknown section zzz",
        ],
    );
}

#[test]
fn b132_wrong_types_say_what_is_expected() {
    check_file(
        r#"
            server.listen = "127.0.0.1:1"
            server.max_connections = "many"
            server.requests_per_second = -1
            server.header_timeout = 30
            server.keep_alive_timeout = "soon"
            server.trusted_proxies = ["10.0.0.0/99"]
            registry.read_only = "yes"
            registry.blob_size_max = "12 parsecs"
            registry.catalog = 1979-05-27
            metadata.readers = 0
            metadata.wal_max = true
            storage.data = 7
            log = "info"
        "#,
        &[
            "wharf.toml:2: server.listen = \"127.0.0.1:1\": expected a list, such as [\"a\", \"b\"]",
            "wharf.toml:3: server.max_connections = \"many\": expected a whole number from 0 to 4294967295",
            "wharf.toml:4: server.requests_per_second = -1: expected a whole number from 0 to 4294967295",
            "wharf.toml:5: server.header_timeout = 30: expected a span of time such as \"30s\", \"12h\" or \"7d\"",
            "wharf.toml:6: server.keep_alive_timeout: \"soon\" is not a span of time; write for example \"30s\", \"12h\" or \
             \"7d\"",
            "wharf.toml:7: server.trusted_proxies = [\"10.0.0.0/99\"]: invalid IP address syntax",
            "wharf.toml:8: registry.read_only = \"yes\": expected true or false",
            "wharf.toml:9: registry.blob_size_max: \"12 parsecs\" is not a size; write for example \"64 KiB\", \"4 MiB\" or \
             \"10 GiB\"",
            "wharf.toml:10: registry.catalog = 1979-05-27: expected true or false",
            "wharf.toml:11: metadata.readers = 0: expected a whole number of at least 1",
            "wharf.toml:12: metadata.wal_max = true: expected a size such as \"4 MiB\" or a number of bytes",
            "wharf.toml:13: storage.data = 7: expected a text in quotes",
            "wharf.toml:14: log is a section; write [log]",
        ],
    );
}

/// S-070: the URL of a database may have a password, and nobody is told it.
#[test]
fn s070_a_wrong_url_of_a_database_is_not_repeated() {
    check_file(
        "[metadata]\nurl = \"mysql://wharf:swordfish@db/wharf\"\nurls = 1\n",
        &[
            "wharf.toml:2: metadata.url: must be a URL such as \"postgres://wharf@db.example.com/wharf\"",
            "wharf.toml:3: unknown key metadata.urls; did you mean metadata.url?",
        ],
    );
    check_file(
        "[metadata]\nurl = \"postgres://wharf:swordfish@db/wharf?sslmode=prefer\"\n",
        &[
            "wharf.toml:2: metadata.url: its sslmode must be verify-full, which is the default, or disable: the others protect \
           from nobody",
        ],
    );
    check_file(
        "[metadata]\npassword_file = \"secret\"\n",
        &["metadata.password_file is for PostgreSQL; set metadata.url as well, or remove it"],
    );
}

#[test]
fn b132_a_file_that_is_no_toml_is_refused() {
    check_file("[server]\nlisten = \n", &["wharf.toml:2: string values must be quoted, expected literal string"]);
    check_file("[log]\n[server]\n[log]\n", &["wharf.toml:3: duplicate key"]);
    check_file("[log]\nlevel = \"a\"\nlevel = \"b\"\n", &["wharf.toml:3: duplicate key"]);
    check_file(b"[log]\nlevel = \"\xff\"\n", &["wharf.toml:2: is not UTF-8"]);
    check_file(vec![b'#'; (1 << 20) + 1], &["wharf.toml: is larger than 1 MiB"]);
    let largest = file(vec![b'#'; 1 << 20]);
    assert!(load(Some(largest.path().join("wharf.toml")), &[], &[]).is_ok());
}

#[test]
fn a_file_that_cannot_be_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let said = |path: PathBuf| load(Some(path), &[], &[]).unwrap_err().0[0].to_string();
    let missing = directory.path().join("missing.toml");
    let expected = format!("{}: cannot be read: No such file or directory (os error 2)", missing.display());
    assert_eq!(said(missing), expected);
    let expected = format!("{}: cannot be read: Is a directory (os error 21)", directory.path().display());
    assert_eq!(said(directory.path().into()), expected);
}

#[test]
fn relations_between_keys_are_checked_when_the_keys_are_right() {
    check_complaints(
        "[server]\nlisten = []\ntls_key = \"key.pem\"\n",
        &[("WHARF_REGISTRY__CATALOG_PAGE", "7")],
        &[Flag::set("registry.catalog_page_max", "6"), Flag::short("data", String::new())],
        &[
            "server.listen must name at least one address",
            "server.tls_certificate must be set together with server.tls_key",
            "registry.catalog_page must not be larger than registry.catalog_page_max",
            "storage.data must name a directory",
        ],
    );
}

#[test]
fn complaints_command_no_terminal_and_stay_one_line() {
    check_file(
        "\"a\\u001b[31m\\nb\" = 1\n[storage]\ndata = [\"\\u001b]0;x\\u0007\"]\n",
        &[
            "wharf.toml:1: unknown key a\u{1b}[31m",
            "b",
            "wharf.toml:3: storage.data = [\"\\u001B]0;x\\u0007\"]: expected a text in quotes",
        ],
    );
    let directory = file("\"a\\u001b[31m\\nb\" = 1\n");
    let invalid = load(Some(directory.path().join("wharf.toml")), &[], &[]).unwrap_err();
    let text = CommandError::from(invalid).to_string();
    assert_eq!(
        text.replace(&format!("{}/", directory.path().display()), ""),
        "error: the configuration is not valid\n  \
           wharf.toml:1: unknown key a\\u{1b}[31m\\nb\n\
         hint: correct these; `wharf config schema` says what each key may be\n"
    );
}

#[test]
fn a_long_value_is_cut_in_a_complaint() {
    let content = format!("[registry]\nread_only = \"{}\"\n", "x".repeat(100_000));
    let expected = format!("wharf.toml:2: registry.read_only = \"{}…: expected true or false", "x".repeat(79));
    check_file(content, &[&expected]);
}

#[test]
fn what_is_shown_loads_as_the_same_configuration() {
    let everything = [
        ("WHARF_LISTEN", "127.0.0.1:1,[::1]:2"),
        ("WHARF_TLS_CERTIFICATE", "a \"b\" # c.pem"),
        ("WHARF_TLS_KEY", "key.pem"),
        ("WHARF_SERVER__HEADER_TIMEOUT", "1500ms"),
        ("WHARF_REGISTRY__BLOB_SIZE_MAX", "1025"),
        ("WHARF_LOG_LEVEL", "off,wharf=trace"),
    ];
    for variables in [&[][..], &everything] {
        let loaded = load(None, variables, &[]).unwrap();
        assert_eq!(valid(&loaded.show(), &[], &[]), loaded.config);
    }
}

#[test]
fn what_is_shown_has_every_key_and_the_origin_of_each_value() {
    let shown = load(None, &[("WHARF_DATA", "d")], &[Flag::set("log.level", "warn")]).unwrap().show();
    assert!(shown.contains("\ndata = \"d\" # from WHARF_DATA\n"), "{shown}");
    assert!(shown.contains("[log]\nformat = \"auto\"\nlevel = \"warn\" # from --set log.level\n"), "{shown}");
    assert!(shown.contains("# external_url is not set\n"), "{shown}");
    for key in Keys::new().names() {
        let name = key.rsplit('.').next().unwrap();
        assert!(shown.contains(&format!("\n{name} = ")) || shown.contains(&format!("\n# {name} is not set")), "{key}");
    }
}

#[test]
fn the_short_names_stand_for_keys_that_exist() {
    let keys = Keys::new();
    for (name, key) in SHORT {
        assert!(keys.contains(key), "{name} stands for {key}");
    }
}

#[test]
fn the_schema_describes_every_key_and_refuses_others() {
    fn walk(path: &str, schema: &serde_json::Value) {
        assert!(schema["description"].is_string(), "{path} has no description");
        if let Some(properties) = schema["properties"].as_object() {
            assert_eq!(schema["additionalProperties"], false, "{path}");
            properties.iter().for_each(|(name, schema)| walk(&format!("{path}.{name}"), schema));
        } else {
            assert!(schema.get("default").is_some(), "{path} has no default");
        }
    }
    walk("", &schema());
}

proptest::proptest! {
    /// S-087: whatever a file or a variable says is a configuration or a complaint.
    #[test]
    fn no_input_makes_the_loader_panic(
        anything: Vec<u8>,
        toml_like in r#"(\[?(server|log|storage|[a-z.\n"])\]?|\n(listen|level|data) ?= ?|[\[\]{}",=#'0-9]|ä|\\u001b){0,24}"#,
    ) {
        for content in [anything.as_slice(), toml_like.as_bytes()] {
            let directory = file(content);
            let text = String::from_utf8_lossy(content);
            let _ = load(Some(directory.path().join("wharf.toml")), &[], &[]);
            let _ = load(None, &[("WHARF_LISTEN", &*text), ("WHARF_LOG_LEVEL", &*text)], &[Flag::set(&text, &text)]);
        }
    }

    #[test]
    fn any_text_is_shown_so_that_it_loads_again(data in "[^\0]{1,20}") {
        let flag = Flag::set("storage.data", &format!("x{data}"));
        let loaded = load(None, &[], &[flag]).unwrap();
        proptest::prop_assert_eq!(valid(&loaded.show(), &[], &[]), loaded.config);
    }
}
