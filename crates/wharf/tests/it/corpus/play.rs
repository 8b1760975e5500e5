//! Plays a block of the corpus against a server and says which cases failed, each by its id.

use std::fmt::Write as _;

use serde_json::Value;

use super::table::{Block, Case, Exchange, Expected, RequestBody, Step};
use super::world::World;
use super::{hand, rules};
use crate::harness::{Connection, Reply, Wharf, bearer_payload, hex_sha256};

/// Plays every case; panics with all failures at the end.
pub async fn play(text: &str) {
    let block = Block::parse(text);
    let server = block.settings.iter().fold(Wharf::builder(), |builder, setting| builder.arg("--set").arg(setting));
    let server = if block.accounts { server.accounts().start() } else { server.start() };
    let mut player = Player { server: &server, connection: None, world: World::new(), probe: String::new() };
    if block.accounts {
        hand::accounts(&mut player).await;
    }
    let mut failures = String::new();
    for case in &block.cases {
        if let Err(why) = player.case(case).await {
            let _ = writeln!(failures, "{} {}: {why}", case.id, case.title);
        }
    }
    assert!(failures.is_empty(), "cases of the corpus failed:\n{failures}");
}

/// One block being played: a server, a keep-alive connection to it, and what was learnt so far.
pub struct Player<'a> {
    pub server: &'a Wharf,
    connection: Option<Connection>,
    pub world: World,
    /// Headers of the request that shows that a reply without a body has none.
    pub probe: String,
}

impl Player<'_> {
    async fn case(&mut self, case: &Case) -> Result<(), String> {
        let Some((name, values)) = &case.repeat else { return self.steps(&case.steps).await };
        for value in values {
            self.world.set(name, value);
            self.steps(&case.steps).await.map_err(|why| format!("with {name} {value}: {why}"))?;
        }
        Ok(())
    }

    async fn steps(&mut self, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            match step {
                Step::Let { name, value } => {
                    let value = self.world.fill(value)?;
                    self.world.set(name, value);
                }
                Step::Hand(function) => hand::play(function, self).await?,
                Step::Exchange(exchange) => {
                    let target = self.world.fill(&exchange.target)?;
                    let told = format!("{} {target}", exchange.method);
                    self.exchange(exchange, &target).await.map_err(|why| format!("{told}: {why}"))?;
                }
            }
        }
        Ok(())
    }

    async fn exchange(&mut self, exchange: &Exchange, target: &str) -> Result<(), String> {
        let head = self.head(exchange, target)?;
        let method = exchange.method.as_str();
        let reply = match &exchange.body {
            None => self.send(method, &head, &[]).await?,
            Some(RequestBody::Sized(term)) => {
                let body = self.body(term)?;
                self.send(method, &format!("{head}Content-Length: {}\r\n", body.len()), &body).await?
            }
            Some(RequestBody::Withheld(term)) => {
                let length = self.body(term)?.len();
                let reply = self.unasked(&format!("{head}Content-Length: {length}\r\n\r\n")).await?;
                self.connection = None;
                reply
            }
            Some(RequestBody::Chunked(term)) => {
                let body = self.body(term)?;
                let framed = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
                self.send(method, &format!("{head}Transfer-Encoding: chunked\r\n"), &framed).await?
            }
        };
        let seen = |why: String| format!("{why}\n{reply}");
        rules::check(method, target, &reply).map_err(seen)?;
        self.expect(exchange, &reply).map_err(seen)?;
        if let Some(location) = reply.header("Location") {
            self.world.set("L", location);
        }
        let ranged = exchange.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Range"));
        if method == "GET" && !ranged {
            let as_head = head.replacen("GET", "HEAD", 1);
            let mirrored = self.send("HEAD", &as_head, &[]).await?;
            rules::same_head(&reply, &mirrored)?;
        }
        Ok(())
    }

    /// Request line and headers; `Host` is implied.
    fn head(&self, exchange: &Exchange, target: &str) -> Result<String, String> {
        let mut head = format!("{} {target} HTTP/1.1\r\nHost: {}\r\n", exchange.method, self.server.address());
        for (name, value) in &exchange.headers {
            let _ = write!(head, "{name}: {}\r\n", self.world.fill(value)?);
        }
        Ok(head)
    }

    /// The bytes of a request body; their digest and size get names.
    fn body(&mut self, term: &str) -> Result<Vec<u8>, String> {
        let body = self.world.bytes(term)?;
        self.world.set("sent", hex_sha256(&body));
        self.world.set("sent_size", body.len().to_string());
        Ok(body)
    }

    async fn send(&mut self, method: &str, head: &str, body: &[u8]) -> Result<Reply, String> {
        let reply = self.on_the_wire(method, format!("{head}\r\n").as_bytes(), body).await?;
        if method == "HEAD" || matches!(reply.status, 204 | 304) {
            self.nothing_follows().await?;
        }
        Ok(reply)
    }

    /// A reply without a body has none: the next byte on the connection is the first of the next reply.
    async fn nothing_follows(&mut self) -> Result<(), String> {
        if self.connection.is_none() {
            return Ok(());
        }
        let probe = format!("GET /v2/ HTTP/1.1\r\nHost: {}\r\n{}\r\n", self.server.address(), self.probe);
        let reply = self.on_the_wire("GET", probe.as_bytes(), &[]).await;
        match reply {
            Ok(reply) if reply.body == b"{}" => Ok(()),
            Ok(reply) => Err(format!("P-003: the reply after it is not the next one\n{reply}")),
            Err(why) => Err(format!("P-003: bytes follow a reply without a body: {why}")),
        }
    }

    /// The reply to a head whose body is held back; it has to come without a `100 Continue`.
    async fn unasked(&mut self, head: &str) -> Result<Reply, String> {
        let mut connection = Connection::open(self.server.address()).await.map_err(|error| error.to_string())?;
        connection.send(head.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut reply = connection.head().await.map_err(|error| error.to_string())?;
        if reply.status == 100 {
            return Err("the body was asked for".to_owned());
        }
        let length = reply.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while reply.body.len() < length {
            reply.body.extend(connection.some(length - reply.body.len()).await.map_err(|error| error.to_string())?);
        }
        Ok(reply)
    }

    async fn on_the_wire(&mut self, method: &str, head: &[u8], body: &[u8]) -> Result<Reply, String> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.server.address()).await.map_err(|error| error.to_string())?,
        };
        let reply = async {
            connection.send(head).await?;
            connection.send(body).await?;
            connection.reply(method == "HEAD").await
        };
        let reply = reply.await.map_err(|error| error.to_string())?;
        if !reply.closes() {
            self.connection = Some(connection);
        }
        Ok(reply)
    }

    fn expect(&mut self, exchange: &Exchange, reply: &Reply) -> Result<(), String> {
        let mut session = None;
        for expected in &exchange.expected {
            self.expect_one(expected, reply, &mut session)?;
        }
        if let Some(session) = session {
            self.world.set("uuid", session);
        }
        Ok(())
    }

    fn expect_one(&mut self, expected: &Expected, reply: &Reply, session: &mut Option<String>) -> Result<(), String> {
        match expected {
            Expected::Status(any) if any.contains(&reply.status) => Ok(()),
            Expected::Status(any) => Err(format!("status {}, expected {any:?}", reply.status)),
            Expected::Header { name, value } => self.header(name, value, reply, session),
            Expected::Has(name) if reply.header(name).is_some_and(|value| !value.is_empty()) => Ok(()),
            Expected::Has(name) => Err(format!("no {name}")),
            Expected::No(name) if !reply.has(name) => Ok(()),
            Expected::No(name) => Err(format!("{name} is there")),
            Expected::List { name, values } => {
                let found: Vec<_> = reply.all(name).flat_map(|value| value.split(',')).map(str::trim).collect();
                equal(name, &found, &values.iter().map(String::as_str).collect())
            }
            Expected::Link(target) => self.link(target, reply),
            Expected::Body(term) => {
                if reply.body == self.world.bytes(term)? {
                    return Ok(());
                }
                Err(format!("the body is not {term}"))
            }
            Expected::Json(text) => {
                let text = self.world.fill(text)?;
                let expected: Value = serde_json::from_str(&text).map_err(|error| format!("{text}: {error}"))?;
                let found = serde_json::from_slice(&reply.body).map_err(|error| format!("not JSON: {error}"))?;
                equal("the body", &found, &expected)
            }
            Expected::Errors(codes) => {
                let errors = rules::errors(reply)?;
                let found: Vec<_> = errors.iter().filter_map(|error| error["code"].as_str()).collect();
                equal("the error codes", &found, &codes.iter().map(String::as_str).collect())
            }
            Expected::Details(details) => {
                let errors = rules::errors(reply)?;
                let mut found: Vec<_> = errors.iter().filter_map(|error| error["detail"].as_str()).collect();
                let expected: Result<Vec<_>, _> = details.iter().map(|detail| self.world.fill(detail)).collect();
                let mut expected = expected?;
                found.sort_unstable();
                expected.sort_unstable();
                equal("the error details", &found, &expected.iter().map(String::as_str).collect())
            }
            Expected::Token { anonymous, refresh, access } => self.token(reply, *anonymous, *refresh, access),
            Expected::Parts { fixture, ranges } => parts(&self.world.bytes(fixture)?, ranges, reply),
        }
    }

    /// A header's value, in which `{uuid}` stands for any session id, the same one throughout a reply.
    fn header(&self, name: &str, value: &str, reply: &Reply, session: &mut Option<String>) -> Result<(), String> {
        let Some(before) = value.strip_suffix("{uuid}") else {
            return rules::once(reply, name, &self.world.fill(value)?);
        };
        let before = self.world.fill(before)?;
        let found = reply.header(name).and_then(|found| found.strip_prefix(&before));
        let found = found.filter(|id| is_uuid(id)).ok_or(format!("{name} is not `{before}` and a UUID"))?;
        rules::once(reply, name, &format!("{before}{found}"))?;
        equal("the session id", &found, &session.get_or_insert(found.to_owned()).as_str())
    }

    /// P-092, P-098, P-101: the members that clients read, and what the token inside says.
    fn token(&mut self, reply: &Reply, anonymous: bool, refresh: bool, access: &[String]) -> Result<(), String> {
        let body = reply.json();
        let token = body["token"].as_str().ok_or("no token")?;
        equal("access_token", &body["access_token"].as_str(), &Some(token))?;
        if body["expires_in"].as_u64().is_none_or(|seconds| seconds < 60) {
            return Err("expires_in is not a whole number of at least 60 seconds".into());
        }
        let issued_at = body["issued_at"].as_str().unwrap_or_default();
        if issued_at.len() < 20 || &issued_at[10..11] != "T" || !issued_at.ends_with('Z') {
            return Err(format!("issued_at is `{issued_at}`"));
        }
        equal("a refresh token", &body["refresh_token"].is_string(), &refresh)?;
        if let Some(refresh_token) = body["refresh_token"].as_str() {
            self.world.set("refresh_token", refresh_token);
        }
        let claims = bearer_payload(token);
        equal("the subject is empty", &(claims["sub"] == ""), &anonymous)?;
        let lines = claims["access"].as_array().ok_or("no access")?.iter().map(|line| {
            let mut actions: Vec<_> =
                line["actions"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            actions.sort_unstable();
            let text = |member: &str| line[member].as_str().unwrap_or("?").to_owned();
            format!("{}:{}:{}", text("type"), text("name"), actions.join(","))
        });
        equal("the access", &lines.collect::<Vec<_>>(), &access.to_vec())?;
        self.world.set("token", token);
        Ok(())
    }

    fn link(&mut self, expected: &str, reply: &Reply) -> Result<(), String> {
        let value = reply.header("Link").ok_or("no Link")?;
        let target = value.strip_prefix('<').and_then(|value| value.strip_suffix(">; rel=\"next\""));
        let target = target.ok_or_else(|| format!("P-262: Link: {value}"))?;
        equal("the next page", &page(target)?, &page(expected)?)?;
        self.world.set("link", target);
        Ok(())
    }
}

/// Path and parameters of a list's page; the order of parameters and the encoding of slashes are free.
fn page(target: &str) -> Result<(String, Vec<String>), String> {
    let (path, query) = target.split_once('?').ok_or_else(|| format!("`{target}` has no parameters"))?;
    let mut parameters: Vec<_> = query.split('&').map(|parameter| parameter.replace("%2F", "/")).collect();
    parameters.sort();
    Ok((path.to_owned(), parameters))
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<_> = text.split('-').collect();
    let hexadecimal = |group: &&str| group.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(hexadecimal)
}

/// P-122: a multipart body of these ranges of `whole`, in this order, each with type and place.
fn parts(whole: &[u8], ranges: &[String], reply: &Reply) -> Result<(), String> {
    let boundary = reply.header("Content-Type").and_then(|value| value.strip_prefix("multipart/byteranges; boundary="));
    let delimiter = format!("--{}", boundary.ok_or("not multipart/byteranges")?.trim_matches('"'));
    let body = reply.body.as_slice();
    let mut rest = body.strip_prefix(b"\r\n").unwrap_or(body);
    for range in ranges {
        let (start, end) = range.split_once('-').ok_or("a range")?;
        let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
        rest = rest.strip_prefix(format!("{delimiter}\r\n").as_bytes()).ok_or("a part without its delimiter")?;
        let end_of_head = rest.windows(4).position(|window| window == b"\r\n\r\n").ok_or("a part without a head")?;
        let head = String::from_utf8_lossy(&rest[..end_of_head]).to_ascii_lowercase();
        let place = format!("content-range: bytes {range}/{}", whole.len());
        if !head.lines().any(|line| line == place) || !head.contains("content-type: application/octet-stream") {
            return Err(format!("the head of part {range} is `{head}`"));
        }
        rest = rest[end_of_head + 4..].strip_prefix(&whole[start..=end]).ok_or("a part with other bytes")?;
        rest = rest.strip_prefix(b"\r\n").ok_or("a part without an end")?;
    }
    match rest {
        end if end == format!("{delimiter}--\r\n").as_bytes() || end == format!("{delimiter}--").as_bytes() => Ok(()),
        _ => Err("something follows the last part".to_owned()),
    }
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} is {found:?}, expected {expected:?}")) }
}
