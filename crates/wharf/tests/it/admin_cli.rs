//! The command line against a running registry: one administrator's day, command by command.

use crate::harness::{ADMIN_PASSWORD, Terminal, basic};

#[tokio::test]
async fn an_administrators_day() {
    let terminal = Terminal::new();
    terminal.fails(&format!("account ls --server {}", terminal.url()), 6, "hint: run `wharf login http://127.0.0.1");
    let wrong = terminal.run(&format!("login {} -u admin --password-stdin", terminal.url()), "not the password");
    assert_eq!(wrong.exit, 6, "{wrong:?}");
    terminal.login();
    let kept = std::fs::read_to_string(terminal.home.path().join("config/wharf/credentials.toml")).unwrap();
    assert!(!kept.contains(ADMIN_PASSWORD), "the password is not kept");
    assert!(terminal.ok("whoami", "").contains("policy:manage"));

    terminal.ok("account create alice --role dev --password-stdin", "canary-alice-password\n");
    terminal.ok("account create ci --robot", "");
    let accounts: serde_json::Value = serde_json::from_str(&terminal.ok("account ls --json", "")).unwrap();
    let names: Vec<&str> =
        accounts.as_array().unwrap().iter().map(|account| account["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["admin", "alice", "ci"]);
    terminal.fails("account create alice --robot", 9, "there is an account alice already");
    terminal.fails("account create Alice --robot", 2, "name must be 1 to 128 lower-case letters");
    terminal.fails("account disable admin", 9, "is the last account");
    terminal.fails("account show nobody", 9, "there is no account nobody");

    // The secret stands alone on standard output, so that a script can take it.
    let secret = terminal.ok("token create --account ci --scope 'repository:team/**:pull,push' --days 30", "");
    let secret = secret.trim_end();
    assert!(secret.starts_with("wharf_") && secret.len() == 55, "{secret}");
    terminal.fails(
        "token create --account ci --scope 'repository:team/**:fly'",
        2,
        "\"fly\" is not pull, push, delete or *",
    );
    terminal.fails("token create --days 400", 2, "life_days must be from 1 to 365");

    let mut robot = terminal.server.client().authorized(basic("ci", secret));
    robot.get("/v2/team/app/tags/list").await.expect(403);
    let explained = terminal.ok("policy explain --as ci push team/app", "");
    assert!(explained.starts_with("deny: no rule matches"), "{explained}");
    terminal.fails("policy explain --as ci push team/app --exit-code", 7, "deny: no rule matches");
    let rule = "policy create --effect allow --subject ci --action pull --action push --repository 'team/**' --json";
    let rule: serde_json::Value = serde_json::from_str(&terminal.ok(rule, "")).unwrap();
    let id = rule[0]["id"].as_str().unwrap();
    robot.get("/v2/team/app/tags/list").await.expect(404);
    assert!(terminal.ok("policy explain --as ci push team/app", "").starts_with(&format!("allow: rule {id} matches")));
    terminal.ok(&format!("policy disable {id}"), "");
    robot.get("/v2/team/app/tags/list").await.expect(403);
    terminal.ok(&format!("policy enable {id}"), "");
    robot.put_blob("team/app", &b"content"[..]).await;

    terminal.fails("policy create --effect allow --repository 'team/['", 2, "is not a pattern: a class has no end");
    terminal.fails("policy create --effect deny", 2, "matches every request there is");
    terminal.fails("policy create --effect deny --matches-everything", 9, "could not manage the policy any more");
    terminal.fails("policy delete builtin:human", 9, "is built in");
    let freeze = terminal.home.path().join("freeze.json");
    std::fs::write(&freeze, r#"{"effect":"deny","actions":["registry:push"],"repositories":["team/**"]}"#).unwrap();
    let simulated = terminal.ok(&format!("policy simulate --add --file {}", freeze.display()), "");
    assert!(simulated.contains("1 would be answered differently"), "{simulated}");

    let audit = terminal.ok("audit ls --principal ci", "");
    assert!(audit.contains("blob.push"), "{audit}");
    assert!(terminal.ok("audit ls --action rule.create", "").contains(id));
    assert!(terminal.ok("keys rotate", "").contains("wharf-"));
    let exported = terminal.ok("audit export", "");
    assert!(exported.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{exported}");

    terminal.ok("account disable ci", "");
    robot.get("/v2/").await.expect(401);
    terminal.ok("account delete ci", "");
    terminal.ok("logout", "");
    terminal.fails(&format!("whoami --server {}", terminal.url()), 6, "you are not logged in");
}

#[tokio::test]
async fn b145_an_audit_log_that_was_edited_is_found_out() {
    let terminal = Terminal::new();
    terminal.login();
    terminal.ok("account create ci --robot", "");
    terminal.server.wait_for_log("the audit log is sealed");
    assert!(terminal.ok("audit verify", "").contains("all as they were sealed"));
    terminal.server.tamper("update audit_log set principal = 'somebody' where sequence = 1");
    terminal.fails("audit verify", 8, "record 1: it, or what stands before it, was edited");
}

#[tokio::test]
async fn s080_a_lost_password_is_made_anew_on_the_machine_itself() {
    let mut terminal = Terminal::new();
    let data = terminal.server.data().to_owned();
    let reset = format!("account reset-admin --data {}", data.display());
    terminal.fails(&reset, 3, "already in use by process");
    terminal.fails("account reset-admin --data /nowhere", 2, "there is no data directory");
    terminal.server.stop();
    let said = terminal.ok(&reset, "");
    let password = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap().to_owned();
    terminal.server.restart();
    let mut admin = terminal.server.client().authorized(basic("admin", &password));
    admin.get("/api/v1/me").await.expect(200);
    let mut before = terminal.server.client().authorized(basic("admin", ADMIN_PASSWORD));
    before.get("/api/v1/me").await.expect(401);
}

/// S-003, B-140: a row that somebody has damaged neither allows nor denies, and is told of.
#[tokio::test]
async fn b140_a_damaged_rule_is_out_of_effect_and_reported() {
    let mut terminal = Terminal::new();
    terminal.login();
    let rule = "policy create --effect deny --subject admin --action pull --repository 'secret/**' --json";
    let rule: serde_json::Value = serde_json::from_str(&terminal.ok(rule, "")).unwrap();
    let id = rule[0]["id"].as_str().unwrap().to_owned();
    terminal.server.stop();
    terminal.server.tamper("update policy_rules set rule_json = '{\"effect\":\"allow\",\"repositorys\":[]}'");
    terminal.server.restart();
    terminal.server.wait_for_log(&format!("policy rule {id} is not in force: repositorys is not a member of a rule"));
    let mut nobody = terminal.server.client();
    nobody.get("/v2/secret/app/tags/list").await.expect(401);
    let mut admin = terminal.server.client().authorized(basic("admin", ADMIN_PASSWORD));
    admin.get("/v2/secret/app/tags/list").await.expect(404);
    let listed = admin.get("/api/v1/policy/rules").await.expect(200).json();
    assert!(listed["items"][0]["problem"].as_str().unwrap().contains("repositorys"), "{listed}");
}

/// Checks are for administrators; whoever asks is named in the record of what was repaired.
#[tokio::test]
async fn only_administrators_check() {
    let terminal = Terminal::new();
    terminal.fails(&format!("check --server {}", terminal.url()), 6, "hint: run `wharf login http://127.0.0.1");
    terminal.login();
    terminal.ok("account create alice --password-stdin", "canary-alice-password\n");
    assert!(terminal.ok("check --deep", "").contains("clean: everything is as it should be"));
    let status = terminal.ok("check --status", "");
    assert!(status.contains("deep: clean") && status.contains("0 blobs wait for a push"), "{status}");
    terminal.fails("check --stop", 9, "there is no such running check");
    terminal.fails("check --repair I-19", 2, "findings of class I-19 are not repaired by a check");
    terminal.fails("check --dry-run", 2, "--repair");
    terminal.fails("check --data x --server http://127.0.0.1:1", 2, "cannot be used with");
    let mut alice = terminal.server.client().authorized(basic("alice", "canary-alice-password"));
    for (method, path) in [("GET", "/check"), ("POST", "/check"), ("DELETE", "/check"), ("GET", "/check/findings")] {
        let request = crate::harness::Request::new(method, format!("/api/v1{path}"));
        alice.send(request.header("Content-Type", "application/json").body("{\"mode\":\"fast\"}")).await.expect(403);
    }
    let mut admin = terminal.server.client().authorized(basic("admin", ADMIN_PASSWORD));
    let request = crate::harness::Request::new("POST", "/api/v1/check").header("Content-Type", "application/json");
    let wrong = admin.send(request.body("{\"mode\":\"slow\"}")).await.expect(400);
    assert!(wrong.json()["detail"].as_str().unwrap().contains("must be fast or deep"), "{wrong}");
}
