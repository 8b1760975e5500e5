use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;
use wharf_base::HumanDuration;

/// `[mcias]`: single sign-on. Answers are remembered for 30 s, which is no setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Where it is, such as `https://sso.example.org`; without it there is no single sign-on.
    pub url: Option<String>,
    /// Certificates in PEM of the authorities that its certificate may come from, in place of the system's.
    pub ca_certificate: Option<PathBuf>,
    /// How long connecting may take.
    pub connect_timeout: HumanDuration,
    /// How long an answer may take in all.
    pub timeout: HumanDuration,
    /// How many questions may be asked at once; others wait.
    pub in_flight_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: None,
            ca_certificate: None,
            connect_timeout: HumanDuration::secs(2),
            timeout: HumanDuration::secs(5),
            in_flight_max: 32,
        }
    }
}

impl Config {
    /// Values that cannot be; empty when all is well.
    pub fn check(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if let Some(text) = &self.url
            && self.base().is_none()
        {
            complaints.push(format!("mcias.url {text:?} must be an https:// URL without user, query and fragment"));
        }
        if self.url.is_none() && self.ca_certificate.is_some() {
            complaints.push("mcias.ca_certificate is set, but mcias.url is not".into());
        }
        if self.in_flight_max == 0 {
            complaints.push("mcias.in_flight_max must be at least 1".into());
        }
        for (key, value) in [("connect_timeout", self.connect_timeout), ("timeout", self.timeout)] {
            if value.get().is_zero() || value.get() > HumanDuration::secs(60).get() {
                complaints.push(format!("mcias.{key} must be more than 0 s and at most 60 s, not {value}"));
            }
        }
        complaints
    }

    /// The URL, if there is a good one.
    pub(super) fn base(&self) -> Option<Url> {
        let url = Url::parse(self.url.as_deref()?).ok()?;
        let is_plain = url.scheme() == "https"
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        is_plain.then_some(url)
    }
}
