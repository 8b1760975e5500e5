//! What a token says, as far as it is looked at.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use wharf_base::Timestamp;

/// How far clocks may be apart, and the longest life and age of a token, in seconds (security requirements, §3.3).
const LEEWAY_S: i64 = 30;
const LIFE_MAX_S: i64 = 24 * 3_600;

/// How many values of one claim are looked at.
const VALUES_MAX: usize = 1_000;

/// The claims of a token whose signature holds. The times are whole numbers; anything else is no token.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    exp: i64,
    iat: i64,
    #[serde(default)]
    nbf: Option<i64>,
    /// Everything else. `aud` among them: whoever has several audiences was not made for us alone.
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

impl Claims {
    /// Whether it is for `audience` and nobody else.
    pub(super) fn is_for(&self, audience: &str) -> bool {
        match self.others.get("aud") {
            Some(Value::String(only)) => only == audience,
            Some(Value::Array(list)) => matches!(list.as_slice(), [Value::String(only)] if only == audience),
            _ => false,
        }
    }

    /// Whether its life has begun, not ended, and is no longer than allowed.
    pub(super) fn is_timely(&self, now: Timestamp) -> bool {
        let now = now.as_micros().div_euclid(1_000_000);
        let life = self.exp.saturating_sub(self.iat);
        let age = now.saturating_sub(self.iat);
        (0..=LIFE_MAX_S).contains(&life)
            && age <= LIFE_MAX_S
            && self.exp.saturating_add(LEEWAY_S) > now
            && self.iat <= now.saturating_add(LEEWAY_S)
            && self.nbf.is_none_or(|nbf| nbf <= now.saturating_add(LEEWAY_S))
    }

    pub(super) fn expires_at(&self) -> Timestamp {
        Timestamp::from_micros(self.exp.saturating_mul(1_000_000))
    }

    /// Whether there is such a claim at all.
    pub(super) fn has(&self, name: &str) -> bool {
        self.others.contains_key(name)
    }

    /// The values of a claim about a person, such as each of their groups. An address that nobody has verified is none: anybody
    /// may have typed it.
    pub(super) fn of_person(&self, name: &str) -> Vec<String> {
        let is_verified = matches!(self.others.get("email_verified"), Some(Value::Bool(true)))
            || self.text("email_verified").as_deref() == Some("true");
        if name == "email" && !is_verified {
            return Vec::new();
        }
        match self.others.get(name) {
            Some(Value::Array(values)) => {
                values.iter().filter_map(Value::as_str).map(str::to_owned).take(VALUES_MAX).collect()
            }
            _ => self.text(name).into_iter().collect(),
        }
    }

    /// A claim as text: only texts and whole numbers have one.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.others.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
            _ => None,
        }
    }
}
