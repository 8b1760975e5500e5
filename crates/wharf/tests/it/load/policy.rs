//! What accounts, rules and records cost a reader.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{ADMIN_PASSWORD, Admin, Client, Image, Wharf, basic};

/// Requests in one round, on one connection.
const REQUESTS: u32 = 4_000;

/// Rounds of each, one after the other in turn, so that the machine's moods are shared.
const ROUNDS: usize = 9;

/// Time of one GET of a manifest: on an open registry, and with a bearer token, 200 rules and the audit log.
pub async fn cost() -> (Duration, Duration) {
    let image = Image::small(1, "amd64", 1_000);
    let open = Wharf::start();
    let mut open_client = open.client();
    image.push(&mut open_client, "team-7/app", "v1").await;

    let closed = Wharf::with_accounts();
    let mut closed_client = with_rules(&closed).await.puller;
    let mut pusher = closed.client().authorized(basic("admin", ADMIN_PASSWORD));
    image.push(&mut pusher, "team-7/app", "v1").await;

    let target = format!("/v2/team-7/app/manifests/{}", image.digest());
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(round(&mut open_client, &target).await);
        with.push(round(&mut closed_client, &target).await);
    }
    without.sort();
    with.sort();
    (without[ROUNDS / 2] / REQUESTS, with[ROUNDS / 2] / REQUESTS)
}

/// Those who ask a registry with 200 rules.
pub struct Asking {
    /// Everything in `team-7/app`, with a bearer token.
    pub puller: Client,
    /// The same, and pushes.
    pub pusher: Client,
}

/// Writes 200 rules, and gives a robot whom one of them is about a token.
pub async fn with_rules(server: &Wharf) -> Asking {
    let mut admin = Admin::of(server);
    for number in 0..200 {
        let effect = if number % 10 == 0 { "deny" } else { "allow" };
        let rule = json!({
            "effect": effect, "subjects": [format!("ci-{number}")], "actions": ["registry:pull", "registry:push"],
            "repositories": [format!("team-{number}/**")],
        });
        admin.rule(rule).await;
    }
    let secret = admin.robot("ci-7", &[]).await;
    let with_token = async |actions| {
        let mut robot = server.client().authorized(basic("ci-7", &secret));
        let token = robot.fetch_token(&[&format!("repository:team-7/app:{actions}")]).await;
        server.client().authorized(format!("Bearer {token}"))
    };
    Asking { puller: with_token("pull").await, pusher: with_token("pull,push").await }
}

async fn round(client: &mut Client, target: &str) -> Duration {
    let begun = Instant::now();
    for _ in 0..REQUESTS {
        client.get(target).await.expect(200);
    }
    begun.elapsed()
}
