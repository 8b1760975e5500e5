//! The command line as a person sees it: what is typed, what is said, and how it ends.

use std::process::{Command, Stdio};

use wharf::config::Config;

/// What `wharf` with these arguments says, and its exit code, as one text. `variables` are all `WHARF_…` there are.
pub fn wharf(variables: &[(&str, &str)], args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WHARF_")) {
        command.env_remove(name);
    }
    let output = command.args(args).envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    format!("{}{}[exit {}]\n", text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

#[track_caller]
fn check(args: &[&str], expected: &str) {
    assert_eq!(wharf(&[], args), expected);
}

#[test]
fn the_help_of_wharf_says_what_to_type() {
    let expected = "\
Wharf, a container registry: one binary and a directory.

It stores images, Helm charts, signatures and any other OCI artifact for docker, podman, skopeo, oras, helm and everything else that
speaks the distribution specification.
";
    let text = wharf(&[], &["--help"]);
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(squeezed(&text).starts_with(&squeezed(expected)), "{text}");
    for line in [
        "Usage: wharf <COMMAND>",
        "  wharf serve                             a registry on 127.0.0.1:5000, data in ./wharf-data",
    ] {
        assert!(text.lines().any(|said| said == line), "{line:?} is not in\n{text}");
    }
    assert!(text.ends_with("[exit 0]\n"), "{text}");
}

#[test]
fn the_help_of_serve_names_every_flag_with_its_variable_and_default() {
    let text = wharf(&[], &["serve", "--help"]);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let default = Config::default();
    let (data, listen, level) = (default.storage.data.display(), default.server.listen[0], default.log.level);
    for of_flag in
        [format!("[env: WHARF_DATA] [default: {data}]"), format!("[default: {listen}]"), format!("[default: {level}]")]
    {
        assert!(text.contains(&of_flag), "{of_flag:?} is not in\n{text}");
    }
    for said in [
        "Usage: wharf serve [OPTIONS]",
        "--open... Let everybody who reaches the registry pull, push and delete",
        "--config <FILE> Configuration file in TOML; none is read unless named [env: WHARF_CONFIG]",
        "--data <DIR> Directory that everything is kept in, created if missing [env: WHARF_DATA]",
        "--listen <ADDRESS> Address to listen on; repeat it for several [env: WHARF_LISTEN]",
        "--tls-certificate <FILE>",
        "--tls-key <FILE>",
        "--read-only Serve reads and refuse every write [env: WHARF_READ_ONLY]",
        "--log-format <FORMAT>",
        "--log-level <LEVEL>",
        "--set <SECTION.KEY=VALUE>",
        "Flags win over environment variables",
        "wharf serve --listen 0.0.0.0:443 --tls-certificate chain.pem --tls-key key.pem",
        "WHARF_ADMIN_PASSWORD_FILE",
        "[exit 0]",
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
}

#[test]
fn the_version_is_said_in_two_ways() {
    let expected = concat!("wharf ", env!("CARGO_PKG_VERSION"), "\n[exit 0]\n");
    check(&["version"], expected);
    check(&["--version"], expected);
}

#[test]
fn no_command_shows_the_help_and_is_an_error() {
    let text = wharf(&[], &[]);
    assert!(text.contains("Usage: wharf <COMMAND>"), "{text}");
    assert!(text.ends_with("[exit 2]\n"), "{text}");
}

#[test]
fn a_command_line_that_is_not_right_ends_with_2() {
    check(
        &["serve", "--opne"],
        "error: unexpected argument '--opne' found

  tip: a similar argument exists: '--open'

Usage: wharf serve --open...

For more information, try '--help'.
[exit 2]
",
    );
    check(
        &["serve", "--set", "read_only"],
        "error: invalid value 'read_only' for '--set <SECTION.KEY=VALUE>': write SECTION.KEY=VALUE, for example \
         registry.read_only=true

For more information, try '--help'.
[exit 2]
",
    );
}

#[test]
fn s080_serving_everybody_beyond_this_machine_needs_to_be_said_twice() {
    check(
        &["serve", "--data", "/nowhere/wharf-data", "--log-level", "off", "--open", "--listen", "0.0.0.0:0"],
        "error: 0.0.0.0:0 can be reached from other machines, and everybody could pull, push and delete
hint: listen on 127.0.0.1, or say `--open --open` if that is really what you want
[exit 2]
",
    );
}
