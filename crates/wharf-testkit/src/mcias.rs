use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::request::Parts;
use serde_json::{Value, json};

use crate::https::Https;
use crate::{Authority, Fault, Tls};

/// MCIAS as far as a registry sees it: logins and validations, in its wire format, over TLS 1.3.
pub struct FakeMcias {
    https: Https,
    authority: Authority,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    users: HashMap<String, User>,
    tokens: HashMap<String, String>,
    expires_at: String,
    issued: usize,
    logins: usize,
    validations: usize,
}

#[derive(Clone)]
struct User {
    password: String,
    account_type: String,
    roles: Vec<String>,
    is_revoked: bool,
}

impl FakeMcias {
    /// A server that knows nobody yet.
    pub async fn start() -> Self {
        Self::start_with(&Tls::default()).await
    }

    /// The same with another face on the wire.
    pub async fn start_with(tls: &Tls) -> Self {
        let authority = Authority::new();
        let state = Arc::new(Mutex::new(State { expires_at: "2099-01-01T00:00:00Z".to_owned(), ..State::default() }));
        let shared = Arc::clone(&state);
        let answer = Arc::new(move |head: &Parts, body: &[u8]| {
            let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
            let mut state = shared.lock().unwrap();
            match (head.method.as_str(), head.uri.path()) {
                ("POST", "/v1/auth/login") => state.login(&body),
                ("POST", "/v1/token/validate") => state.validate(&body),
                _ => (404, "{}".to_owned()),
            }
        });
        let https = Https::start(&authority, tls, answer).await;
        Self { https, authority, state }
    }

    /// Its URL, for `mcias.url`.
    pub fn url(&self) -> String {
        format!("https://{}", self.https.address)
    }

    /// Its authority's certificate, for `mcias.ca_certificate`.
    pub fn ca_pem(&self) -> String {
        self.authority.pem()
    }

    /// Makes a user.
    pub fn add_user(&self, name: &str, password: &str, account_type: &str, roles: &[&str]) {
        let user = User {
            password: password.to_owned(),
            account_type: account_type.to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            is_revoked: false,
        };
        self.state.lock().unwrap().users.insert(name.to_owned(), user);
    }

    /// From now on the user's tokens are not valid, and there is no login.
    pub fn revoke(&self, name: &str) {
        self.state.lock().unwrap().users.get_mut(name).unwrap().is_revoked = true;
    }

    /// All of the user's roles from now on.
    pub fn set_roles(&self, name: &str, roles: &[&str]) {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        self.state.lock().unwrap().users.get_mut(name).unwrap().roles = roles;
    }

    /// When tokens end, in RFC 3339.
    pub fn expire_at(&self, time: &str) {
        time.clone_into(&mut self.state.lock().unwrap().expires_at);
    }

    /// Misbehaves from now on.
    pub fn misbehave(&self, fault: Fault) {
        *self.https.fault.lock().unwrap() = fault;
    }

    /// How often it was asked for a login.
    pub fn logins(&self) -> usize {
        self.state.lock().unwrap().logins
    }

    /// How often it was asked whose a token is.
    pub fn validations(&self) -> usize {
        self.state.lock().unwrap().validations
    }
}

impl State {
    fn login(&mut self, body: &Value) -> (u16, String) {
        self.logins += 1;
        let (name, password) = (body["username"].as_str().unwrap_or(""), body["password"].as_str().unwrap_or(""));
        let is_right = self.users.get(name).is_some_and(|user| user.password == password && !user.is_revoked);
        if !is_right {
            return (401, json!({ "error": "invalid credentials" }).to_string());
        }
        self.issued += 1;
        let token = format!("canary-mcias-token-{}-{}", name, self.issued);
        self.tokens.insert(token.clone(), name.to_owned());
        (200, json!({ "token": token, "expires_at": self.expires_at }).to_string())
    }

    fn validate(&mut self, body: &Value) -> (u16, String) {
        self.validations += 1;
        let name = body["token"].as_str().and_then(|token| self.tokens.get(token));
        let user = name.and_then(|name| Some((name, self.users.get(name)?))).filter(|(_, user)| !user.is_revoked);
        let Some((name, user)) = user else { return (200, json!({ "valid": false }).to_string()) };
        let answer = json!({
            "valid": true, "subject": name, "account_type": user.account_type, "roles": user.roles,
            "expires_at": self.expires_at,
        });
        (200, answer.to_string())
    }
}
