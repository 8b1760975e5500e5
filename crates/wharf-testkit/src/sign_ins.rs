use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::request::Parts;
use serde_json::{Value, json};

/// The authorization code flow of an issuer whose people always consent. It takes nothing that a strict one would refuse.
#[derive(Default)]
pub(crate) struct SignIns {
    /// Id, secret and address of the one client.
    pub(crate) client: Option<(String, String, String)>,
    pub(crate) person: Value,
    pub(crate) exchanges: usize,
    codes: HashMap<String, Grant>,
    issued: usize,
}

struct Grant {
    challenge: String,
    nonce: String,
}

impl SignIns {
    pub(crate) fn authorize(&mut self, issuer: &str, query: &str) -> (u16, String) {
        let asked = pairs(query);
        let said = |name: &str| asked.get(name).map_or("", String::as_str);
        let Some((client_id, _, redirect_uri)) = &self.client else { return (400, "no client".to_owned()) };
        let is_good = said("response_type") == "code"
            && said("client_id") == client_id
            && said("redirect_uri") == redirect_uri
            && said("scope").split(' ').any(|scope| scope == "openid")
            && said("code_challenge_method") == "S256"
            && said("code_challenge").len() == 43
            && said("state").len() >= 32
            && said("nonce").len() >= 32;
        if !is_good {
            return (400, format!("not what is expected: {asked:?}"));
        }
        self.issued += 1;
        let code = format!("canary-code-{}", self.issued);
        let grant = Grant { challenge: said("code_challenge").to_owned(), nonce: said("nonce").to_owned() };
        self.codes.insert(code.clone(), grant);
        let back = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("code", &code)
            .append_pair("state", said("state"))
            .append_pair("iss", issuer)
            .finish();
        (302, format!("{redirect_uri}?{back}"))
    }

    /// The claims of the ID token; a code is good once.
    pub(crate) fn exchange(&mut self, issuer: &str, head: &Parts, body: &[u8]) -> Result<Value, &'static str> {
        let asked = pairs(std::str::from_utf8(body).map_err(|_| "invalid_request")?);
        let said = |name: &str| asked.get(name).map_or("", String::as_str);
        let (client_id, secret, redirect_uri) = self.client.as_ref().ok_or("invalid_client")?;
        let expected = format!("Basic {}", STANDARD.encode(format!("{client_id}:{secret}")));
        let authorization = head.headers.get("authorization").and_then(|value| value.to_str().ok());
        if authorization != Some(&expected) {
            return Err("invalid_client");
        }
        if said("grant_type") != "authorization_code" || said("redirect_uri") != redirect_uri {
            return Err("invalid_request");
        }
        let grant = self.codes.remove(said("code")).ok_or("invalid_grant")?;
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, said("code_verifier").as_bytes()));
        if challenge != grant.challenge {
            return Err("invalid_grant");
        }
        self.exchanges += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({ "iss": issuer, "aud": client_id, "iat": now, "exp": now + 300, "nonce": grant.nonce });
        for (name, value) in self.person.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        Ok(claims)
    }
}

fn pairs(text: &str) -> HashMap<String, String> {
    url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}
