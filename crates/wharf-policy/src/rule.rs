//! Rules: how they are written down, and what each of them says.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::{AccountType, Action, Pattern};

/// The most bytes of one rule (security requirements, §3.4).
pub(crate) const RULE_MAX_BYTES: usize = 16 << 10;

/// The most entries of one field.
pub(crate) const ENTRIES_MAX: usize = 256;

/// The members that a rule consists of.
pub const MEMBERS: [&str; 6] = ["effect", "subjects", "account_types", "roles", "actions", "repositories"];

/// A row of `policy_rules` as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRule {
    /// Its id.
    pub id: String,
    /// Lower comes first.
    pub priority: i64,
    /// The members `effect`, `subjects`, `account_types`, `roles`, `actions`, `repositories` as a JSON object.
    pub rule_json: String,
    /// What it is for.
    pub description: String,
}

/// What a rule that matches says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Yes, unless another one says no.
    Allow,
    /// No.
    Deny,
}

impl Effect {
    /// The word that rules use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// A rule. Every populated field must match; an empty one matches everything (F-05).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its id; the built-in ones begin with `builtin:`.
    pub id: Arc<str>,
    /// Lower comes first.
    pub priority: i64,
    /// What it is for.
    pub description: String,
    /// What it says.
    pub effect: Effect,
    /// Subjects, bare or as `provider:subject`.
    pub subjects: Vec<String>,
    /// Account types.
    pub account_types: Vec<AccountType>,
    /// Roles; one of them is enough.
    pub roles: Vec<String>,
    /// Actions.
    pub actions: Vec<Action>,
    /// Repositories; questions about the registry as a whole never match a rule that names some.
    pub repositories: Vec<Pattern>,
}

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct RuleError {
    /// The member that is wrong, or `rule` for the whole.
    pub field: String,
    /// What is wrong with it; continues a sentence that begins with the field.
    pub problem: String,
}

impl Rule {
    /// Reads `rule_json`. Since an empty field matches everything, nothing is guessed at: an unknown or repeated member, a
    /// wrong type, an empty effect or a malformed pattern is no rule (S-003).
    ///
    /// # Errors
    ///
    /// [`RuleError`], which names the member.
    pub fn parse(id: &str, priority: i64, description: &str, rule_json: &str) -> Result<Self, RuleError> {
        if rule_json.len() > RULE_MAX_BYTES {
            return Err(error("rule", format!("has more than {RULE_MAX_BYTES} bytes")));
        }
        let members: Members = serde_json::from_str(rule_json).map_err(|problem| {
            error("rule", format!("is not a JSON object with members each at most once: {problem}"))
        })?;
        let members = members.0;
        if let Some((unknown, _)) = members.iter().find(|(name, _)| !MEMBERS.contains(&name.as_str())) {
            let known = nearest(unknown).map_or_else(|| MEMBERS.join(", "), |near| format!("{near}, perhaps?"));
            let shown: String = unknown.chars().take(64).collect();
            return Err(error(&shown, format!("is not a member of a rule; known is {known}")));
        }
        let member = |name| members.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let effect = match member("effect") {
            Some(Value::String(text)) if text == "allow" => Effect::Allow,
            Some(Value::String(text)) if text == "deny" => Effect::Deny,
            Some(other) => {
                return Err(error("effect", format!("must be \"allow\" or \"deny\", not {}", shortened(other))));
            }
            None => return Err(error("effect", "is missing: \"allow\" or \"deny\"")),
        };
        Ok(Self {
            id: id.into(),
            priority,
            description: description.to_owned(),
            effect,
            subjects: list("subjects", member("subjects"))?,
            account_types: list("account_types", member("account_types"))?,
            roles: list("roles", member("roles"))?,
            actions: list("actions", member("actions"))?,
            repositories: list("repositories", member("repositories"))?,
        })
    }

    /// The canonical `rule_json`, which parses as the same rule.
    pub fn to_json(&self) -> String {
        let texts = |texts: &[String]| Value::from(texts.to_vec());
        let rule = json!({
            "effect": self.effect.as_str(),
            "subjects": texts(&self.subjects),
            "account_types": self.account_types.iter().map(|account_type| account_type.as_str()).collect::<Vec<_>>(),
            "roles": texts(&self.roles),
            "actions": self.actions.iter().map(|action| action.as_str()).collect::<Vec<_>>(),
            "repositories": self.repositories.iter().map(Pattern::as_str).collect::<Vec<_>>(),
        });
        rule.to_string()
    }

    /// Whether it matches every request there is: whoever writes such a rule has to say so (S-005).
    pub fn matches_everything(&self) -> bool {
        self.subjects.is_empty()
            && self.account_types.is_empty()
            && self.roles.is_empty()
            && self.actions.is_empty()
            && self.repositories.is_empty()
    }
}

impl TryFrom<&StoredRule> for Rule {
    type Error = RuleError;

    fn try_from(stored: &StoredRule) -> Result<Self, RuleError> {
        Self::parse(&stored.id, stored.priority, &stored.description, &stored.rule_json)
    }
}

/// The entries of one field; an absent one is empty.
fn list<T>(field: &'static str, value: Option<&Value>) -> Result<Vec<T>, RuleError>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    let Some(value) = value else { return Ok(Vec::new()) };
    let Value::Array(entries) = value else {
        return Err(error(field, format!("must be a list of texts, not {}", shortened(value))));
    };
    if entries.len() > ENTRIES_MAX {
        return Err(error(field, format!("has more than {ENTRIES_MAX} entries")));
    }
    let entry = |value: &Value| match value {
        Value::String(text) if text.is_empty() || text.len() > crate::PATTERN_MAX_BYTES => Err(error(
            field,
            format!("holds an entry that is empty or has more than {} bytes", crate::PATTERN_MAX_BYTES),
        )),
        Value::String(text) => {
            text.parse().map_err(|problem| error(field, format!("holds an entry that is none: {problem}")))
        }
        other => Err(error(field, format!("must hold texts, not {}", shortened(other)))),
    };
    entries.iter().map(entry).collect()
}

fn error(field: &str, problem: impl Into<String>) -> RuleError {
    RuleError { field: field.to_owned(), problem: problem.into() }
}

fn shortened(value: &Value) -> String {
    value.to_string().chars().take(64).collect()
}

/// The member that shares the longest beginning with `unknown`, if that is three letters at least.
fn nearest(unknown: &str) -> Option<&'static str> {
    let common = |member: &str| member.chars().zip(unknown.chars()).take_while(|(a, b)| a == b).count();
    MEMBERS.into_iter().filter(|member| common(member) >= 3).max_by_key(|member| common(member))
}

/// The members of a JSON object in their order, each at most once. A map would keep the last of two silently.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, Value)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        let name: String = name.chars().take(64).collect();
                        return Err(serde::de::Error::custom(format!("{name} is there twice")));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}
