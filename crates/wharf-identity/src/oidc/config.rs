use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;
use wharf_policy::Pattern;

/// Audiences that many services share: a token for them was not made for this registry.
const SHARED_AUDIENCES: [&str; 6] =
    ["sts.amazonaws.com", "sigstore", "api", "default", "https://kubernetes.default.svc", "account"];

/// Claims that say who somebody is and cannot be chosen by him.
const SUBJECT_CLAIMS: [&str; 16] = [
    "sub",
    "repository",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "project_path",
    "project_id",
    "namespace_path",
    "namespace_id",
    "organization",
    "organization_id",
    "workspace_id",
    "environment",
    "azp",
    "email",
    "kubernetes.io",
];

/// `[oidc]`: workload identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// What a token must be made for: a name that no other service has, such as this registry's host.
    pub audience: Option<String>,
    /// Whose tokens are trusted, and for what.
    pub issuers: Vec<Issuer>,
}

/// One issuer of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Its URL, exactly as its tokens spell it in `iss`.
    pub issuer: String,
    /// Certificates in PEM of the authorities that its certificate may come from, in place of the system's.
    #[serde(default)]
    pub ca_certificate: Option<PathBuf>,
    /// What it signs with.
    #[serde(default = "JwtAlgorithm::usual")]
    pub algorithms: Vec<JwtAlgorithm>,
    /// Who is let in, and as whom. The first that fits counts.
    pub trust: Vec<Trust>,
}

/// A signature algorithm with a public key; there are no others here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum JwtAlgorithm {
    /// RSA with SHA-256.
    RS256,
    /// RSA with SHA-384.
    RS384,
    /// RSA with SHA-512.
    RS512,
    /// RSA-PSS with SHA-256.
    PS256,
    /// ECDSA on P-256.
    ES256,
    /// ECDSA on P-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

impl JwtAlgorithm {
    fn usual() -> Vec<Self> {
        vec![Self::RS256, Self::ES256, Self::EdDSA]
    }
}

/// Which of an issuer's tokens are let in, and as whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// What claims must be: an exact value, or a pattern as in rules (`*` does not cross a slash, a segment `**` does).
    pub claims: BTreeMap<String, String>,
    /// The subject that rules know it by; `{claim}` stands for the value of a claim.
    pub subject: String,
    /// The roles it has.
    #[serde(default)]
    pub roles: Vec<String>,
}

impl Config {
    /// Values that cannot be, or would let in whom nobody meant; empty when all is well (S-035).
    pub fn check(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        match &self.audience {
            None if !self.issuers.is_empty() => complaints.push(
                "oidc.audience is missing: name what tokens must be made for, such as this registry's host".to_owned(),
            ),
            Some(audience) if SHARED_AUDIENCES.contains(&audience.as_str()) || audience.trim().is_empty() => {
                complaints
                    .push(format!("oidc.audience {audience:?} is shared by many services; choose this registry's own"));
            }
            _ => {}
        }
        for (index, issuer) in self.issuers.iter().enumerate() {
            if self.issuers[..index].iter().any(|earlier| earlier.issuer == issuer.issuer) {
                complaints.push(format!("oidc.issuers names {} twice", issuer.issuer));
            }
            complaints.extend(
                issuer.check().into_iter().map(|problem| format!("oidc.issuers: {}: {problem}", issuer.issuer)),
            );
        }
        complaints
    }

    /// What is allowed, and may not be what was meant.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for issuer in &self.issuers {
            for trust in &issuer.trust {
                let names = ["sub", "repository", "project_path"].iter().any(|claim| trust.claims.contains_key(*claim));
                let ids = trust.claims.keys().any(|claim| claim.ends_with("_id"));
                if names && !ids {
                    warnings.push(format!(
                        "oidc.issuers: {}: only names are bound, which can be given up and taken by somebody else; bind an \
                         id too (repository_id, project_id) if the issuer has one",
                        issuer.issuer
                    ));
                }
            }
        }
        warnings
    }
}

impl Issuer {
    fn check(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        match Url::parse(&self.issuer) {
            Ok(url) if url.scheme() != "https" => complaints.push("must be an https:// URL".to_owned()),
            Ok(url)
                if !url.username().is_empty()
                    || url.password().is_some()
                    || url.query().is_some()
                    || url.fragment().is_some() =>
            {
                complaints.push("must have no user, query and fragment".to_owned());
            }
            Ok(_) if self.issuer.is_ascii() => {}
            _ => complaints.push("must be an https:// URL in ASCII".to_owned()),
        }
        if self.algorithms.is_empty() {
            complaints.push("algorithms is empty".to_owned());
        }
        if self.trust.is_empty() {
            complaints.push("trust is empty, so none of its tokens could be of use".to_owned());
        }
        complaints.extend(self.trust.iter().flat_map(Trust::check));
        complaints
    }
}

impl Trust {
    fn check(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for (claim, wanted) in &self.claims {
            if let Err(error) = wanted.parse::<Pattern>() {
                complaints.push(format!("the condition on {claim}: {error}"));
            }
        }
        let binds = |claim: &&str| self.claims.get(*claim).is_some_and(|wanted| is_binding(wanted));
        if !SUBJECT_CLAIMS.iter().any(binds) {
            complaints.push(
                "a trust binds no claim that says who somebody is (sub, repository_id, project_path, …) to a value, so \
                 everybody whom the issuer knows would be let in"
                    .to_owned(),
            );
        }
        if self.subject.is_empty() || self.subject.len() > 255 {
            complaints.push("a trust's subject must have 1 to 255 characters".to_owned());
        }
        if template(&self.subject).is_none() {
            complaints.push(format!("the subject {:?} has a brace without its other half", self.subject));
        }
        complaints
    }

    /// The conditions, compiled.
    pub(super) fn patterns(&self) -> Vec<(String, Pattern)> {
        let parsed = self.claims.iter().filter_map(|(claim, wanted)| Some((claim.clone(), wanted.parse().ok()?)));
        parsed.collect()
    }
}

/// Whether a condition holds a value at least in part: its first letters are letters, not wildcards.
fn is_binding(wanted: &str) -> bool {
    let begin: String = wanted.chars().take_while(|c| !matches!(c, '*' | '?' | '[' | '\\')).collect();
    begin.chars().filter(|c| c.is_alphanumeric()).count() >= 1
        && !matches!(begin.as_str(), "repo:" | "project_path:" | "system:")
}

/// A subject's pieces: text, and in every second place the name of a claim.
pub(super) fn template(subject: &str) -> Option<Vec<&str>> {
    let mut pieces = Vec::new();
    let mut rest = subject;
    while let Some(open) = rest.find('{') {
        let close = rest[open..].find('}')? + open;
        pieces.extend([&rest[..open], &rest[open + 1..close]]);
        rest = &rest[close + 1..];
    }
    pieces.push(rest);
    let texts_are_plain = pieces.iter().step_by(2).all(|text| !text.contains(['{', '}']));
    texts_are_plain.then_some(pieces)
}
