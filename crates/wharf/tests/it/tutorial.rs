//! The documents are run as they are printed: every command in their `console` blocks, in order, in one directory, with
//! the output compared to what they say. Their examples of configuration are checked.
//!
//! In the text, `…` stands for anything within a line, and a line that is only `…` for any number of lines. The
//! registry of the tutorial runs on a free port instead of 5000, so that the test can run beside a registry.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wharf_testkit::PostgresServer;

use crate::harness::{bucket, engines, tools};
use crate::only_in_the_embedded_run;

/// A command with the output that the tutorial promises.
struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
}

#[test]
fn the_tutorial_says_what_happens() {
    check("tutorial.md");
}

#[test]
fn the_document_on_the_command_line_says_what_happens() {
    check("cli.md");
}

#[test]
fn the_document_on_accounts_says_what_happens() {
    check("accounts.md");
}

#[test]
fn the_document_on_operations_says_what_happens() {
    check("operations.md");
}

#[test]
fn the_document_on_bad_days_says_what_happens() {
    only_in_the_embedded_run!("tells of the disk under a data directory");
    check("bad-days.md");
}

#[test]
fn the_document_on_backups_says_what_happens() {
    only_in_the_embedded_run!("names its engines itself");
    check_with("backup.md", &bucket::environment_of_documents("backups"));
}

#[test]
fn the_document_on_checks_says_what_happens() {
    only_in_the_embedded_run!("damages a file of the data directory");
    check("check.md");
}

#[test]
fn the_document_on_postgresql_says_what_happens() {
    only_in_the_embedded_run!("names its engines itself");
    // The document makes a role, which databases of one server share.
    let server = PostgresServer::start(None);
    check_with("postgresql.md", &server.environment());
}

#[test]
fn the_examples_of_configuration_are_valid() {
    let with_examples =
        ["mcias.md", "keyless-ci.md", "metrics.md", "bad-days.md", "single-sign-on.md", "scaling.md", "migrate.md"];
    for document in with_examples {
        let text = fs::read_to_string(documents().join(document)).expect(document);
        let (_, rest) = text.split_once("```toml\n").expect("an example");
        let (example, _) = rest.split_once("```").expect("its end");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("wharf.toml");
        fs::write(&path, example).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.env_remove("WHARF_TEST_METADATA").env_remove("WHARF_TEST_STORAGE");
        let output = command.args(["config", "check", "--config"]).arg(&path).output().expect("wharf");
        assert!(output.status.success(), "{document}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Commands that stand in the documents outside of `console` blocks, and why they are not run from there.
const NOT_RUN: &[(&str, &str)] = &[
    ("cargo run --release -- serve", "a release build; the tutorial starts the same server with the binary under test"),
    (
        "docker ",
        "there is no docker daemon here; the clients' tests log in, push and pull with podman, skopeo, crane and oras",
    ),
    (
        "echo \"$ID_TOKEN\" | docker login",
        "the same; `s034_a_job_pushes_to_its_own_repository_and_nowhere_else` does it with skopeo",
    ),
    (
        "wharf policy create --effect allow --subject oidc:",
        "docs/accounts.md runs the command; the job is that of the test of S-034",
    ),
    ("wharf config ", "the tests of the configuration run all three"),
    ("wharf bench ", "measures for minutes; the tests of `bench` run it for seconds"),
    ("scripts/test", "is what runs this test"),
    ("scripts/prove", "runs for hours"),
    (".ci/run", "runs this test"),
    ("wharf login https://registry.example.com", "docs/cli.md runs the command; the rest is that of `migrate`"),
    ("wharf import ", "the tests of `transfer` do it, from registries of other makes, from files and after kills"),
    ("wharf export ", "the same, and skopeo, crane and oras read what is written"),
    ("skopeo copy oci", "the same"),
    ("not copied: ", "is what a command says"),
    ("error: ", "is what a command says"),
    ("hint: ", "is what a command says"),
    ("wharf migrate ", "the tests of `migrate` do it, there and back, with a real PostgreSQL and a bucket"),
    ("wharf serve --config ", "the same; they serve what has moved"),
    (
        "systemctl ",
        "no systemd runs here; `deploy::systemd` has the unit verified, and the server run with what it allows",
    ),
    ("systemd-sysusers", "the same"),
    ("journalctl ", "the same"),
    ("install -", "would install into this machine"),
    ("cargo build --release --locked", "a release build; `deploy::image` makes an image of the binary under test"),
    ("scripts/image ", "`deploy::image` runs it, twice, and compares"),
    ("podman ", "`deploy::image` starts the image where this machine lets it"),
    ("helm install ", "no cluster is here; `deploy::chart` lints the chart and compares what it makes"),
    ("kubectl ", "the same"),
    ("https://registry.example.org/", "is an address, not a command"),
];

/// What is shown as a command is run by a test, or stands above with the reason why not.
#[test]
fn every_command_is_run_or_says_why_not() {
    let root = documents().join("..");
    let others = ["README.md", "CONTRIBUTING.md"].map(|name| root.join(name));
    let listed = fs::read_dir(documents()).expect("docs").map(|entry| entry.expect("an entry").path());
    let mut unused: Vec<&str> = NOT_RUN.iter().map(|(beginning, _)| *beginning).collect();
    for path in listed.filter(|path| path.extension().is_some_and(|extension| extension == "md")).chain(others) {
        let text = fs::read_to_string(&path).expect("a document");
        let mut is_fenced = false;
        for line in text.lines() {
            is_fenced ^= line.starts_with("```");
            let Some(command) = line.strip_prefix("    ").filter(|_| !is_fenced && !line.starts_with("     ")) else {
                continue;
            };
            let known = NOT_RUN.iter().find(|(beginning, _)| command.starts_with(beginning));
            let (beginning, _) = known.unwrap_or_else(|| panic!("{}: nothing runs `{command}`", path.display()));
            unused.retain(|other| other != beginning);
        }
    }
    assert_eq!(unused, [""; 0], "these stand in no document any more");
}

fn documents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// On the engines of the suite, which are in the environment as an administrator may have set it.
fn check(document: &str) {
    let place = tempfile::tempdir().expect("a directory");
    let environment = engines::begin(place.path()).environment();
    let environment: Vec<_> =
        environment.into_iter().map(|(name, value)| (name, value.into_string().expect("text"))).collect();
    check_with(document, &environment);
}

fn check_with(document: &str, environment: &[(&str, String)]) {
    let text = fs::read_to_string(documents().join(document)).expect(document);
    let port = free_port();
    let text = text.replace(":5000", &format!(":{port}"));
    let steps = steps(&text);
    assert!(steps.len() > 10, "{document} has only {} commands", steps.len());

    let directory = tempfile::tempdir().expect("a directory");
    let transcript = run(directory.path(), &steps, port, environment);
    for (step, output) in steps.iter().zip(&transcript) {
        let expected: Vec<&str> = step.expected.iter().map(String::as_str).collect();
        let found: Vec<&str> = output.lines().collect();
        assert!(
            matches(&expected, &found),
            "docs/{document}:{}: `{}`\n--- it says\n{}\n--- it printed\n{output}",
            step.line,
            step.command,
            expected.join("\n"),
        );
    }
    assert_eq!(transcript.len(), steps.len(), "{document} stopped after {} commands", transcript.len());
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// The commands of the `console` blocks: lines that begin with `$ `; lines up to the next one are output.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if !inside => {}
            _ => match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => {
                    steps.push(Step { line: index + 1, command: command.to_owned(), expected: Vec::new() });
                }
                (None, Some(step)) => step.expected.push(line.to_owned()),
                (None, None) => panic!("line {}: output before the first command", index + 1),
            },
        }
    }
    steps
}

/// Runs all steps in one shell, so that variables and background jobs live on, and cuts its output at marks.
fn run(directory: &Path, steps: &[Step], port: u16, environment: &[(&str, String)]) -> Vec<String> {
    const MARK: &str = "=== end of step ===";
    let mut script = String::from("exec 2>&1\n");
    for step in steps {
        script += &format!("{}\necho '{MARK}'\n", settled(&step.command, port));
    }
    let bin = directory.join("bin");
    link_programs(&bin);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH"));
    let mut shell = Command::new("bash")
        .args(["-s"])
        .current_dir(directory)
        .env("PATH", path)
        .env("HOME", directory)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env_remove("WHARF_TEST_METADATA")
        .env_remove("WHARF_TEST_STORAGE")
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("DOCKER_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash");
    shell.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("the script");
    let output = shell.wait_with_output().expect("the output");
    let output = String::from_utf8(output.stdout).expect("UTF-8");
    let mut parts: Vec<String> = output.split(&format!("{MARK}\n")).map(str::to_owned).collect();
    parts.pop();
    parts
}

/// A command that starts the registry goes on in the background; the next one waits until it answers.
fn settled(command: &str, port: u16) -> String {
    if !command.ends_with('&') {
        return command.to_owned();
    }
    let answers = format!(
        "curl --silent --fail --output /dev/null --retry 100 --retry-connrefused --retry-delay 1 --max-time 30 http://127.0.0.1:{port}/readyz"
    );
    format!("{command}\n{answers}")
}

fn link_programs(bin: &PathBuf) {
    fs::create_dir(bin).expect("a directory");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_wharf"), bin.join("wharf")).expect("a link");
    std::os::unix::fs::symlink(tools::find("oras"), bin.join("oras")).expect("a link");
}

/// Whether `found` is what `expected` says, with its `…`.
fn matches(expected: &[&str], found: &[&str]) -> bool {
    match (expected.split_first(), found.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((&"…", rest)), _) => (0..=found.len()).any(|skipped| matches(rest, &found[skipped..])),
        (Some(_), None) => false,
        (Some((line, rest)), Some((seen, others))) => line_matches(line, seen) && matches(rest, others),
    }
}

fn line_matches(expected: &str, found: &str) -> bool {
    let mut parts = expected.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = found.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}
