//! Accounts, rules and tokens of a server under test, and tokens that it never issued.

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{ADMIN_PASSWORD, Client, Reply, Request, Wharf};

/// `Authorization: Basic …`.
pub fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// The claims of a token, unverified.
pub fn bearer_payload(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap_or_else(|| panic!("{token} is not a JWT"));
    let payload = URL_SAFE_NO_PAD.decode(payload).expect("base64url without padding");
    serde_json::from_slice(&payload).expect("claims in JSON")
}

/// The administrator of a server with accounts, over `/api/v1/`.
pub struct Admin {
    pub client: Client,
}

impl Admin {
    /// Logs in as `admin` with every request.
    pub fn of(server: &Wharf) -> Self {
        Self { client: server.client().authorized(basic("admin", ADMIN_PASSWORD)) }
    }

    /// One request with a JSON body.
    pub async fn send(&mut self, method: &'static str, path: &str, body: &Value) -> Reply {
        let request = Request::new(method, format!("/api/v1{path}")).header("Content-Type", "application/json");
        self.client.send(request.body(body.to_string())).await
    }

    /// A human account.
    pub async fn human(&mut self, name: &str, password: &str) {
        self.send("POST", "/accounts", &json!({ "name": name, "password": password })).await.expect(201);
    }

    /// A robot, with the secret of a token of its own that has `scopes`.
    pub async fn robot(&mut self, name: &str, scopes: &[&str]) -> String {
        self.send("POST", "/accounts", &json!({ "name": name, "account_type": "system" })).await.expect(201);
        self.token(name, scopes).await
    }

    /// The secret of a new token of an account.
    pub async fn token(&mut self, account: &str, scopes: &[&str]) -> String {
        let path = format!("/accounts/{account}/tokens");
        let reply = self.send("POST", &path, &json!({ "scopes": scopes })).await.expect(201);
        reply.json()["secret"].as_str().expect("a secret").to_owned()
    }

    /// A rule; its id.
    pub async fn rule(&mut self, rule: Value) -> String {
        let reply = self.send("POST", "/policy/rules", &rule).await.expect(201);
        reply.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Lets `subject` do `actions` on `repositories`.
    pub async fn allow(&mut self, subject: &str, actions: &[&str], repositories: &[&str]) -> String {
        let rule = json!({
            "effect": "allow", "subjects": [subject], "actions": actions, "repositories": repositories,
        });
        self.rule(rule).await
    }

    /// Forbids `subject` everything on `repositories`.
    pub async fn deny(&mut self, subject: &str, repositories: &[&str]) -> String {
        self.rule(json!({ "effect": "deny", "subjects": [subject], "repositories": repositories })).await
    }
}

impl Client {
    /// A token of the token service for `scopes`, with the client's own credentials.
    pub async fn fetch_token(&mut self, scopes: &[&str]) -> String {
        let query: String = scopes.iter().map(|scope| format!("scope={scope}&")).collect();
        let reply = self.get(&format!("/v2/token?{query}")).await.expect(200);
        reply.json()["token"].as_str().expect("a token").to_owned()
    }
}

/// Signs whatever a test wants with the server's own key, read from its database, or with another.
pub struct Forge {
    pub kid: String,
    key: Ed25519KeyPair,
}

impl Forge {
    /// With the key that the server signs with.
    pub fn of(server: &Wharf) -> Self {
        let key = server.hex_of("private_key");
        let sql = format!("select id, {key} from signing_keys order by signs_from_us desc limit 1");
        let [kid, key] = server.look(&sql).pop().and_then(|row| row.try_into().ok()).expect("a signing key");
        let key = hex::decode(key).expect("hexadecimal digits");
        Self { kid, key: Ed25519KeyPair::from_pkcs8(&key).expect("an Ed25519 key in PKCS #8") }
    }

    /// With a key that the server does not know.
    pub fn stranger(kid: &str) -> Self {
        Self { kid: kid.to_owned(), key: Ed25519KeyPair::generate().expect("a key") }
    }

    /// A token of these claims with a good header.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with_header(&json!({ "alg": "EdDSA", "typ": "JWT", "kid": self.kid }), claims)
    }

    /// A token of this header and these claims, signed all the same.
    pub fn sign_with_header(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}
