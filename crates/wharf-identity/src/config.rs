use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharf_base::HumanDuration;

/// Who is asked who somebody is. API tokens are always looked at first: their form says what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProviderName {
    /// The accounts of this registry.
    Local,
    /// The single sign-on of section `[mcias]`, if that names one.
    Mcias,
    /// The issuers of section `[oidc]`, if that names any.
    Oidc,
}

/// `[auth]`: who is let in, and how long what they are given lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Who is asked, in this order, until one knows the name. A provider that is left out is off.
    pub providers: Vec<ProviderName>,
    /// The name under which tokens are issued and accepted; by default the host of server.external_url, else "wharf".
    pub service: Option<String>,
    /// How long a bearer token lives, from 1 min to 1 h.
    pub token_life: HumanDuration,
    /// How often a new key begins to sign tokens.
    pub key_rotation: HumanDuration,
    /// Whether a client that asks for one gets a refresh token, so that it need not keep the password.
    pub refresh_tokens: bool,
    /// How long a refresh token lives.
    pub refresh_token_life: HumanDuration,
    /// How long an API token lives if its maker does not say.
    pub api_token_life: HumanDuration,
    /// The longest life of an API token, at most 365 days.
    pub api_token_life_max: HumanDuration,
    /// How many API tokens an account may have.
    pub api_tokens_per_account: u32,
    /// How many failed logins one account may have from one network within five minutes.
    pub failures_per_account: u32,
    /// How many failed logins may come from one network within five minutes.
    pub failures_per_source: u32,
    /// How many tokens one principal may ask for in a minute.
    pub tokens_per_principal: u32,
    /// How many tokens may be asked for from one network in a minute.
    pub tokens_per_source: u32,
    /// How long a session of the web pages lasts unused, from 1 min to the whole of its life.
    pub session_idle: HumanDuration,
    /// How long a session of the web pages lasts at most, up to 30 days.
    pub session_life: HumanDuration,
    /// How many sessions of the web pages one account may have; one more ends the one that was unused for longest.
    pub sessions_per_account: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            providers: vec![ProviderName::Local, ProviderName::Mcias, ProviderName::Oidc],
            service: None,
            token_life: HumanDuration::secs(300),
            key_rotation: HumanDuration::days(90),
            refresh_tokens: true,
            refresh_token_life: HumanDuration::days(90),
            api_token_life: HumanDuration::days(90),
            api_token_life_max: HumanDuration::days(365),
            api_tokens_per_account: 50,
            failures_per_account: 10,
            failures_per_source: 50,
            tokens_per_principal: 600,
            tokens_per_source: 1_200,
            session_idle: HumanDuration::secs(1_800),
            session_life: HumanDuration::hours(12),
            sessions_per_account: 20,
        }
    }
}

impl Config {
    /// Values that cannot be; empty when all is well.
    pub fn check(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut between = |key: &str, value: HumanDuration, min: HumanDuration, max: HumanDuration| {
            if value.get() < min.get() || value.get() > max.get() {
                complaints.push(format!("auth.{key} must be from {min} to {max}, not {value}"));
            }
        };
        let day = HumanDuration::days(1);
        let year = HumanDuration::days(365);
        between("token_life", self.token_life, HumanDuration::secs(60), HumanDuration::secs(3_600));
        between("key_rotation", self.key_rotation, HumanDuration::hours(1), HumanDuration::days(3_650));
        between("refresh_token_life", self.refresh_token_life, HumanDuration::hours(1), year);
        between("api_token_life_max", self.api_token_life_max, day, year);
        between("api_token_life", self.api_token_life, HumanDuration::secs(60), self.api_token_life_max);
        between("session_life", self.session_life, HumanDuration::secs(60), HumanDuration::days(30));
        between("session_idle", self.session_idle, HumanDuration::secs(60), self.session_life);
        for (key, value) in [
            ("sessions_per_account", self.sessions_per_account),
            ("api_tokens_per_account", self.api_tokens_per_account),
            ("failures_per_account", self.failures_per_account),
            ("failures_per_source", self.failures_per_source),
            ("tokens_per_principal", self.tokens_per_principal),
            ("tokens_per_source", self.tokens_per_source),
        ] {
            if value == 0 {
                complaints.push(format!("auth.{key} must be at least 1"));
            }
        }
        if let Some(service) = &self.service
            && !is_service(service)
        {
            complaints.push(format!(
                "auth.service {service:?} must be 1 to 128 visible characters without quotes, and not contain the words \
                 basic or bearer, which clients take for a scheme"
            ));
        }
        if self.providers.is_empty() {
            complaints.push("auth.providers is empty, so nobody could log in".into());
        }
        complaints
    }
}

/// Whether clients read it as it is from a challenge (P-066).
fn is_service(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    !text.is_empty()
        && text.len() <= 128
        && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | ','))
        && !lower.contains("basic")
        && !lower.contains("bearer")
}

/// `[audit]`: the record of what happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditConfig {
    /// How long records are kept; "0 s" keeps them forever.
    pub retention: HumanDuration,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { retention: HumanDuration::days(365) }
    }
}

impl AuditConfig {
    /// Values that cannot be; empty when all is well.
    pub fn check(&self) -> Vec<String> {
        let retention = self.retention.get();
        if !retention.is_zero() && retention < HumanDuration::days(1).get() {
            return vec![format!("audit.retention must be at least 1 day, or 0 s for ever, not {}", self.retention)];
        }
        Vec::new()
    }
}
