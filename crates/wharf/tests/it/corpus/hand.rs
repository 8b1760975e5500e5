//! The cases that are more than one exchange after another.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::play::Player;
use super::rules;
use crate::harness::{Admin, Fixture, Forge, PATIENCE, Request, basic, bearer_payload};

/// Plays the case that the table calls `function`.
pub async fn play(function: &str, player: &mut Player<'_>) -> Result<(), String> {
    match function {
        "hang_up_within_the_body" => hang_up_within_the_body(player).await,
        "two_writers" => two_writers(player).await,
        "over_http_2" => over_http_2(player).await,
        "more_requests_than_the_limit" => more_requests_than_the_limit(player).await,
        unknown => Err(format!("no function is called `{unknown}`")),
    }
}

/// The password of `u`.
const PASSWORD: &str = "canary-password-of-u";

/// Account `u` may pull and push t/a and nothing on t/s, anonymous may pull pub/*; and tokens, good and bad.
pub async fn accounts(player: &mut Player<'_>) {
    let mut admin = Admin::of(player.server);
    admin.human("u", PASSWORD).await;
    admin.deny("u", &["t/s"]).await;
    let public = serde_json::json!({
        "effect": "allow", "account_types": ["anonymous"], "actions": ["registry:pull"], "repositories": ["pub/*"],
    });
    admin.rule(public).await;

    let mut client = player.server.client().authorized(basic("u", PASSWORD));
    let scopeless = client.fetch_token(&[]).await;
    let for_t_a = client.fetch_token(&["repository:t/a:pull,push"]).await;
    let forge = Forge::of(player.server);
    let claims = bearer_payload(&scopeless);
    let changed = |member: &str, value: serde_json::Value| {
        let mut claims = claims.clone();
        claims[member] = value;
        claims
    };
    let past = claims["exp"].as_i64().expect("a time") - 1_000;
    let mut expired = changed("exp", past.into());
    for member in ["iat", "nbf"] {
        expired[member] = (past - 300).into();
    }
    for (name, value) in [
        ("service", claims["aud"].as_str().expect("an audience")),
        ("host", &player.server.address().to_string()),
        ("p", PASSWORD),
        ("token without scope", &scopeless),
        ("token for t", &for_t_a),
        ("expired token", &forge.sign(&expired)),
        ("token of another audience", &forge.sign(&changed("aud", "elsewhere".into()))),
        ("space", " "),
    ] {
        player.world.set(name, value);
    }
    player.world.set("password of u", basic("u", PASSWORD));
    player.world.set("wrong password of u", basic("u", "not-the-password"));
    player.probe = format!("Authorization: Bearer {scopeless}\r\n");
}

/// C-029. What the session says afterwards must be true: an upload that goes on from there ends with the right digest.
async fn hang_up_within_the_body(player: &mut Player<'_>) -> Result<(), String> {
    let mut client = player.server.client();
    let blob = Fixture::K.bytes();
    let location = client.begin_upload("t/a").await;
    let target = format!("{location}?digest={}", Fixture::K.digest());
    let mut connection = client.connect().await.map_err(told)?;
    let head = Request::new("PUT", &target).header("Content-Length", "2048").head(&client.host());
    connection.send(head.as_bytes()).await.map_err(told)?;
    connection.send(&blob[..1000]).await.map_err(told)?;
    drop(connection);

    let reply = client.head(&format!("/v2/t/a/blobs/{}", Fixture::K.digest())).await;
    if reply.status != 404 {
        return Err(format!("half a blob became visible\n{reply}"));
    }
    // Until the server has noticed the end of the connection, the session has a writer and refuses another (P-172).
    let begun = Instant::now();
    let mut start = 0;
    while begun.elapsed() < PATIENCE {
        let range = format!("{start}-2047");
        let rest = Bytes::from(blob[start..].to_vec());
        let reply = client.send(Request::new("PUT", &target).header("Content-Range", range).body(rest)).await;
        match reply.status {
            201 | 404 => return Ok(()),
            416 => start = next_offset(reply.header("Range").ok_or("a 416 without a Range")?, start)?,
            _ => return Err(format!("going on from {start}\n{reply}")),
        }
        if start > 1000 {
            return Err(format!("the session claims {start} bytes of 1000 that were sent"));
        }
    }
    Err("the session never became free again".to_owned())
}

/// The offset that `Range: 0-<last>` asks for. An empty session and one of one byte read the same, so the other of the
/// two is tried next.
fn next_offset(range: &str, tried: usize) -> Result<usize, String> {
    let last: usize = range.strip_prefix("0-").and_then(|last| last.parse().ok()).ok_or(format!("Range: {range}"))?;
    Ok(if last == 0 && tried == 1 { 0 } else { last + 1 })
}

/// C-042. `100 Continue` tells when the first writer has the session, so nobody has to guess.
async fn two_writers(player: &mut Player<'_>) -> Result<(), String> {
    let mut client = player.server.client();
    let blob = Fixture::K.bytes();
    let location = client.begin_upload("t/a").await;
    let mut first = client.connect().await.map_err(told)?;
    let head = Request::new("PATCH", &location).header("Expect", "100-continue").header("Content-Length", "1024");
    first.send(head.head(&client.host()).as_bytes()).await.map_err(told)?;
    let interim = first.head().await.map_err(told)?;
    if interim.status != 100 {
        return Err(format!("the first writer was not asked for its body\n{interim}"));
    }
    first.send(&blob[..100]).await.map_err(told)?;

    let second = client.append(&location, 0, blob[..1024].to_vec()).await;
    rules::check("PATCH", &location, &second)?;
    if second.status != 416 || second.code() != "BLOB_UPLOAD_INVALID" || !second.has("Range") {
        return Err(format!("the second writer\n{second}"));
    }

    first.send(&blob[100..1024]).await.map_err(told)?;
    let reply = first.reply(false).await.map_err(told)?;
    if reply.status != 202 || reply.header("Range") != Some("0-1023") {
        return Err(format!("the first writer\n{reply}"));
    }
    let state = client.get(&location).await;
    if state.status != 204 || state.header("Range") != Some("0-1023") {
        return Err(format!("the session afterwards\n{state}"));
    }
    Ok(())
}

/// C-145: C-013 to C-016 once more, without TLS by prior knowledge.
async fn over_http_2(player: &mut Player<'_>) -> Result<(), String> {
    let stream = TcpStream::connect(player.server.address()).await.map_err(told)?;
    let (mut h2, connection) = h2::client::handshake(stream).await.map_err(told)?;
    let driver = tokio::spawn(connection);
    let origin = format!("http://{}", player.server.address());
    let mut send = async |method: &str, target: &str, body: Option<Bytes>| {
        let mut request = http::Request::builder().method(method).uri(format!("{origin}{target}"));
        if let Some(body) = &body {
            request = request.header("content-length", body.len());
        }
        let request = request.body(()).map_err(told)?;
        let (reply, mut stream) = h2.send_request(request, body.is_none()).map_err(told)?;
        if let Some(body) = body {
            stream.send_data(body, true).map_err(told)?;
        }
        let reply = timeout(PATIENCE, reply).await.map_err(told)?.map_err(told)?;
        let (head, mut incoming) = reply.into_parts();
        let mut bytes = Vec::new();
        while let Some(data) = timeout(PATIENCE, incoming.data()).await.map_err(told)? {
            let data = data.map_err(told)?;
            incoming.flow_control().release_capacity(data.len()).map_err(told)?;
            bytes.extend_from_slice(&data);
        }
        let hop_by_hop = ["connection", "keep-alive", "transfer-encoding"];
        match hop_by_hop.iter().find(|name| head.headers.contains_key(**name)) {
            Some(name) => Err(format!("P-024: {name} over HTTP/2")),
            None => Ok((head, bytes)),
        }
    };
    let is = |head: &http::response::Parts, status: u16, headers: &[(&str, &str)]| {
        let wrong = |(name, value): &&(&str, &str)| head.headers.get(*name).is_none_or(|found| found != value);
        if head.status.as_u16() == status && !headers.iter().any(|header| wrong(&header)) {
            return Ok(());
        }
        Err(format!("expected {status} {headers:?}, found {head:?}"))
    };
    let version = ("docker-distribution-api-version", "registry/2.0");
    let digest = Fixture::H.digest();

    let (head, _) = send("POST", "/v2/t/a/blobs/uploads/", Some(Bytes::new())).await?;
    is(&head, 202, &[version, ("content-length", "0"), ("range", "0-0")])?;
    let location = head.headers["location"].to_str().map_err(told)?.to_owned();
    let (head, body) = send("GET", &location, None).await?;
    is(&head, 204, &[version, ("location", &location), ("range", "0-0")])?;
    if !body.is_empty() || head.headers.contains_key("content-length") {
        return Err(format!("P-002: a 204 with a length or a body: {head:?}"));
    }
    let (head, _) = send("PUT", &format!("{location}?digest={digest}"), Some(Fixture::H.bytes().into())).await?;
    let blob = format!("/v2/t/a/blobs/{digest}");
    is(&head, 201, &[version, ("content-length", "0"), ("location", &blob), ("docker-content-digest", &digest)])?;
    let (head, body) = send("GET", &blob, None).await?;
    let kind = ("content-type", "application/octet-stream");
    is(&head, 200, &[version, ("content-length", "5"), ("docker-content-digest", &digest), kind])?;
    driver.abort();
    if body == b"hello" { Ok(()) } else { Err(format!("the blob is {body:?}")) }
}

/// C-146. The limit is 5 a second; nobody waits, so it is met long before `AT_MOST` requests.
async fn more_requests_than_the_limit(player: &mut Player<'_>) -> Result<(), String> {
    const AT_MOST: usize = 1_000;
    const TARGET: &str = "/v2/t/none/tags/list";
    let mut client = player.server.client();
    for _ in 0..AT_MOST {
        let reply = client.get(TARGET).await;
        rules::check("GET", TARGET, &reply)?;
        if reply.status == 404 {
            continue;
        }
        let seconds = reply.header("Retry-After").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        if reply.status == 429 && reply.code() == "TOOMANYREQUESTS" && seconds.is_some_and(|wait| wait <= PATIENCE) {
            return Ok(());
        }
        return Err(format!("neither an answer nor a refusal\n{reply}"));
    }
    Err(format!("{AT_MOST} requests in a row were answered"))
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
