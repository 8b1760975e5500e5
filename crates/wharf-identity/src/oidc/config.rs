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

/// `[oidc]`: other platforms that vouch for programs, and for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// What a program's token must be made for: a name that no other service has, such as this registry's host.
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
    /// Which programs are let in with its tokens, and as whom. The first that fits counts.
    #[serde(default)]
    pub trust: Vec<Trust>,
    /// Lets people sign in to the web pages with it.
    #[serde(default)]
    pub sign_in: Option<SignIn>,
}

/// `[oidc.issuers.sign_in]`: people who sign in to the web pages with an issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// What it is called in addresses: lower-case letters, digits and '-'. The provider sends browsers back to
    /// /login/back/ID.
    pub id: String,
    /// What people know it by: the words on the button.
    pub name: String,
    /// What the provider knows this registry by.
    pub client_id: String,
    /// A file with the secret that goes with it; without one, the registry is a public client.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// What is asked for; openid is always among it.
    #[serde(default = "SignIn::usual_scopes")]
    pub scopes: Vec<String>,
    /// Who is let in, and as whom. The first that fits counts.
    pub people: Vec<Person>,
}

/// Which of the people that an issuer knows are let in, and as whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// What claims must be, as in trust; of a claim with several values, such as groups, one is enough.
    #[serde(default)]
    pub claims: BTreeMap<String, String>,
    /// Needed where claims is empty: everybody whom the issuer knows is let in.
    #[serde(default)]
    pub anyone: bool,
    /// The subject that rules know them by; `{claim}` stands for the value of a claim.
    #[serde(default = "Person::usual_subject")]
    pub subject: String,
    /// The roles they have.
    #[serde(default)]
    pub roles: Vec<String>,
}

impl SignIn {
    fn usual_scopes() -> Vec<String> {
        ["openid", "profile", "email"].map(str::to_owned).to_vec()
    }

    fn check(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.id.is_empty() || self.id.len() > 32 || !self.id.chars().all(plain) {
            complaints.push("sign_in.id must have 1 to 32 lower-case letters, digits and '-'".to_owned());
        }
        if self.name.trim().is_empty() || self.name.chars().count() > 64 || self.name.chars().any(char::is_control) {
            complaints.push("sign_in.name must have 1 to 64 characters".to_owned());
        }
        if self.client_id.is_empty() {
            complaints.push("sign_in.client_id is empty; it is what the provider knows this registry by".to_owned());
        }
        let is_scope = |scope: &String| !scope.is_empty() && scope.chars().all(|c| c.is_ascii_graphic());
        if !self.scopes.iter().all(is_scope) || !self.scopes.iter().any(|scope| scope == "openid") {
            complaints.push("sign_in.scopes must be words, and openid one of them".to_owned());
        }
        if self.people.is_empty() {
            complaints.push("sign_in.people is empty, so nobody would be let in".to_owned());
        }
        complaints.extend(self.people.iter().flat_map(Person::check));
        complaints
    }
}

impl Person {
    fn usual_subject() -> String {
        "{sub}".to_owned()
    }

    fn check(&self) -> Vec<String> {
        let mut complaints = check_conditions(&self.claims);
        if self.claims.is_empty() != self.anyone {
            complaints.push(
                "sign_in.people needs claims, or anyone = true where everybody whom the issuer knows is meant"
                    .to_owned(),
            );
        }
        complaints.extend(check_subject(&self.subject));
        complaints
    }
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
            None if self.issuers.iter().any(|issuer| !issuer.trust.is_empty()) => complaints.push(
                "oidc.audience is missing: name what tokens must be made for, such as this registry's host".to_owned(),
            ),
            Some(audience) if SHARED_AUDIENCES.contains(&audience.as_str()) || audience.trim().is_empty() => {
                complaints
                    .push(format!("oidc.audience {audience:?} is shared by many services; choose this registry's own"));
            }
            _ => {}
        }
        for (index, issuer) in self.issuers.iter().enumerate() {
            let earlier = &self.issuers[..index];
            if earlier.iter().any(|earlier| earlier.issuer == issuer.issuer) {
                complaints.push(format!("oidc.issuers names {} twice", issuer.issuer));
            }
            if let Some(sign_in) = &issuer.sign_in {
                let ids = || earlier.iter().filter_map(|earlier| earlier.sign_in.as_ref());
                if ids().any(|earlier| earlier.id == sign_in.id) {
                    complaints.push(format!("oidc.issuers has two with the sign_in.id {:?}", sign_in.id));
                }
                // What a person's browser brings would else be good for a program's login as well.
                if self.audience.as_ref() == Some(&sign_in.client_id) {
                    complaints
                        .push(format!("oidc.audience must not be a sign_in.client_id, as {:?} is", sign_in.client_id));
                }
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
        if self.trust.is_empty() && self.sign_in.is_none() {
            complaints.push("it has neither trust nor sign_in, so none of its tokens could be of use".to_owned());
        }
        complaints.extend(self.trust.iter().flat_map(Trust::check));
        complaints.extend(self.sign_in.iter().flat_map(SignIn::check));
        complaints
    }
}

impl Trust {
    fn check(&self) -> Vec<String> {
        let mut complaints = check_conditions(&self.claims);
        let binds = |claim: &&str| self.claims.get(*claim).is_some_and(|wanted| is_binding(wanted));
        if !SUBJECT_CLAIMS.iter().any(binds) {
            complaints.push(
                "a trust binds no claim that says who somebody is (sub, repository_id, project_path, …) to a value, so \
                 everybody whom the issuer knows would be let in"
                    .to_owned(),
            );
        }
        complaints.extend(check_subject(&self.subject));
        complaints
    }
}

fn check_conditions(claims: &BTreeMap<String, String>) -> Vec<String> {
    let wrong = |(claim, wanted): (&String, &String)| {
        wanted.parse::<Pattern>().err().map(|error| format!("the condition on {claim}: {error}"))
    };
    claims.iter().filter_map(wrong).collect()
}

fn check_subject(subject: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if subject.is_empty() || subject.len() > 255 {
        complaints.push("a subject must have 1 to 255 characters".to_owned());
    }
    if template(subject).is_none() {
        complaints.push(format!("the subject {subject:?} has a brace without its other half"));
    }
    complaints
}

/// The conditions, compiled.
pub(super) fn patterns(claims: &BTreeMap<String, String>) -> Vec<(String, Pattern)> {
    claims.iter().filter_map(|(claim, wanted)| Some((claim.clone(), wanted.parse().ok()?))).collect()
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
