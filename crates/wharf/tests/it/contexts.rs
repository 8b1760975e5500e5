//! Several servers and accounts, by name; and how what is printed looks.

use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{ADMIN_PASSWORD, Terminal, Wharf, basic, binary};

#[tokio::test]
async fn contexts_are_servers_and_accounts_by_name() {
    let terminal = Terminal::new();
    let other = Wharf::with_accounts();
    terminal.login();
    terminal.ok("account create alice --password-stdin", "canary-alice-password");
    let first = terminal.url().replace("http://", "");
    terminal
        .ok(&format!("login {} -u alice --password-stdin --context alice", terminal.url()), "canary-alice-password");
    let at_other = format!("login http://{} -u admin --password-stdin --context far/away --quiet", other.address());
    assert_eq!(terminal.ok(&at_other, ADMIN_PASSWORD), "");

    let listed: Value = serde_json::from_str(&terminal.ok("context ls --json", "")).unwrap();
    let names: Vec<(&str, bool, &str)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["current"] == true, one["account"].as_str().unwrap()))
        .collect();
    assert_eq!(names, [(first.as_str(), false, "admin"), ("alice", false, "alice"), ("far/away", true, "admin")]);
    assert_eq!(terminal.ok("context ls --quiet", ""), format!("{first}\nalice\nfar/away\n"));

    // Which server, and who: by flag, by variable, by what is current.
    let who = |args: &str, variables: &[(&str, &str)]| {
        let ran = terminal.run_with(&format!("whoami --quiet {args}"), "", variables);
        assert_eq!(ran.exit, 0, "{ran:?}");
        ran.out
    };
    assert_eq!(who("", &[]), "admin\n");
    assert_eq!(who("--context alice", &[]), "alice\n");
    assert_eq!(who("", &[("WHARF_CONTEXT", "alice")]), "alice\n");
    assert_eq!(who(&format!("--context {first}"), &[("WHARF_CONTEXT", "alice")]), "admin\n");
    terminal.ok("context use alice", "");
    assert_eq!(who("", &[]), "alice\n");
    // A server is meant with the context that is current, if it is of that server.
    assert_eq!(who(&format!("--server {}", terminal.url()), &[("WHARF_CONTEXT", "far/away")]), "alice\n");
    assert_eq!(who(&format!("--server http://{}", other.address()), &[]), "admin\n");
    terminal.fails("whoami --context alice --server http://127.0.0.1:1", 2, "cannot be used with");
    terminal.fails("whoami --context nobody", 2, "hint: `wharf context ls` lists them");
    terminal.fails(&format!("login {} --context 'a b' -u x", terminal.url()), 2, "is not the name of a context");

    // Tokens are in the file, which is for its owner only, and nowhere else.
    let path = terminal.path("config/wharf/credentials.toml");
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let kept = std::fs::read_to_string(&path).unwrap();
    assert_eq!(kept.matches("token = \"wharf_").count(), 3, "three tokens");
    assert!(!kept.contains("canary"), "no passwords");
    for command in
        ["context ls", "context ls --json", "context show", "context show alice --json", "context show far/away"]
    {
        assert!(!terminal.ok(command, "").contains("wharf_"), "{command} shows no token");
    }
    assert!(terminal.ok("context show", "").contains("alice"));

    // Logging out deletes the token there and here, removing a context only here.
    let tokens = async |server: &Wharf, name: &str, password: &str| {
        let mut client = server.client().authorized(basic(name, password));
        let all = client.get("/api/v1/me/tokens").await.expect(200).json();
        all["items"].as_array().unwrap().iter().filter(|one| one["kind"] == "api").count()
    };
    let before = (
        tokens(&terminal.server, "alice", "canary-alice-password").await,
        tokens(&other, "admin", ADMIN_PASSWORD).await,
    );
    let gone: Value = serde_json::from_str(&terminal.ok("logout --context alice --json", "")).unwrap();
    assert_eq!(gone, json!({ "context": "alice", "server": terminal.url() }));
    terminal.ok("context remove far/away", "");
    let after = (
        tokens(&terminal.server, "alice", "canary-alice-password").await,
        tokens(&other, "admin", ADMIN_PASSWORD).await,
    );
    assert_eq!(after, (before.0 - 1, before.1));
    assert_eq!(terminal.ok("context ls --quiet", ""), format!("{first}\n"));
    terminal.fails("context show", 6, "hint: run `wharf context use NAME`");
    terminal.fails("context remove alice", 2, "there is no context alice");
}

/// A terminal of 60 columns, as `script` makes one.
fn on_a_terminal(terminal: &Terminal, args: &str, no_color: bool) -> String {
    let mut command = Command::new("script");
    let line = format!("stty cols 60; {} {args}", binary().display());
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).stdin(Stdio::null());
    command.env("HOME", terminal.home.path()).env("XDG_CONFIG_HOME", terminal.home.path().join("config"));
    command.env("TERM", "xterm-256color").env("SHELL", "/bin/sh").env_remove("NO_COLOR").env_remove("CI");
    if no_color {
        command.env("NO_COLOR", "1");
    }
    let output = command.output().expect("script, of bsdutils");
    String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n")
}

#[tokio::test]
async fn tables_fit_the_terminal_and_only_a_terminal_sees_colours() {
    let terminal = Terminal::new();
    terminal.login();
    let description = "a description that is longer than the terminal is wide, so that it has to be broken into lines";
    terminal.ok(&format!("token create --description '{description}'"), "");
    let listed = terminal.ok("token ls", "");
    assert!(listed.lines().any(|line| line.contains(description)), "nothing is broken elsewhere: {listed}");
    let shown = on_a_terminal(&terminal, "token ls", false);
    assert!(shown.contains(" ACCOUNT      admin\n") && shown.lines().all(|line| line.chars().count() <= 60), "{shown}");

    let wrong = format!("account show nobody --server {}", terminal.url());
    assert!(on_a_terminal(&terminal, &wrong, false).contains("\u{1b}["));
    let plain = on_a_terminal(&terminal, &wrong, true);
    assert!(plain.contains("error: there is no account nobody") && !plain.contains('\u{1b}'), "{plain}");
    assert!(!terminal.run(&wrong, "").err.contains('\u{1b}'));
    assert!(!on_a_terminal(&terminal, "account --help", true).contains('\u{1b}'));
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let said = |args: &[&str]| crate::cli::wharf(&[], args);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(&["completions", shell]);
        for word in ["distribution-dir", "completions", "annotate"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    let bash = said(&["completions", "bash"]);
    let mut check = Command::new("bash");
    let mut check = check.args(["-n"]).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut check.stdin.take().unwrap(), bash.replace("[exit 0]\n", "").as_bytes()).unwrap();
    assert!(check.wait().unwrap().success(), "bash reads it");
    assert!(said(&["completions", "csh"]).contains("possible values: bash, elvish, fish, powershell, zsh"));

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("man");
    let told = said(&["man", path.to_str().unwrap()]);
    assert!(told.contains("pages are in"), "{told}");
    let page = |name: &str| std::fs::read_to_string(path.join(name)).unwrap();
    assert!(page("wharf.1").contains(".TH wharf 1"));
    assert!(page("wharf-import.1").contains("distribution\\-dir"));
    assert!(page("wharf-tag-set.1").contains("wharf tag set team/app:stable"));
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), told.split(' ').next().unwrap().parse::<usize>().unwrap());
}
