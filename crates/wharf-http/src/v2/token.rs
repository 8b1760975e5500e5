//! `/v2/token`: credentials in, a bearer token out (F-14; protocol checklist §6).

use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use http::{HeaderValue, Method, StatusCode};
use serde::Serialize;
use wharf_base::Secret;
use wharf_identity::{AuthError, Credentials, Login, Origin};
use wharf_oci::{Challenge, Code, Query, Scope, ScopeAction, ScopeResource, parse_scopes};
use wharf_policy::{Access, Action, Asker, Limits, Resource};

use super::{Answer, Failure};
use crate::App;
use crate::auth::{self, unauthorized};
use crate::body::RequestBody;
use crate::reply::Reply;
use crate::service::Inbound;

/// The longest form that is read, in bytes (security requirements, §3.1).
const FORM_MAX_BYTES: u64 = 64 << 10;

/// What is asked of the token service.
struct Wanted {
    scopes: Vec<Scope>,
    /// Whether a refresh token is wanted as well.
    offline: bool,
}

/// Who says so.
enum Grant<'r> {
    Credentials(Credentials<'r>),
    RefreshToken(Secret<String>),
}

/// GET with Basic credentials or none, POST with a form.
pub(super) async fn answer(app: &App, inbound: &Inbound, query: &Query, body: RequestBody) -> Answer {
    let limit = app.config.request_timeout.get();
    let answering = async {
        if inbound.method == Method::POST { post(app, inbound, body).await } else { get(app, inbound, query).await }
    };
    let reply = tokio::time::timeout(limit, answering).await.unwrap_or_else(|_| Err(Failure::timed_out()))?;
    Ok(reply.with(CACHE_CONTROL, NO_STORE).with(PRAGMA, HeaderValue::from_static("no-cache")))
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// `GET ?service=…&scope=…&offline_token=true` (P-085 … P-099).
async fn get(app: &App, inbound: &Inbound, query: &Query) -> Answer {
    check_service(app, query.first("service"))?;
    let scopes = parse_scopes(query.all("scope")).map_err(|error| Failure::parameter(error.to_string()))?;
    let wanted = Wanted { scopes, offline: query.first("offline_token") == Some("true") };
    let credentials = auth::read_credentials(&inbound.headers).map_err(|error| wrong(app, &error.to_string()))?;
    let granted = grant(app, inbound, Grant::Credentials(credentials), &wanted).await;
    granted.map_err(|refused| match refused {
        Refused::Credentials(message) => wrong(app, &message),
        Refused::Failure(failure) => failure,
    })
}

/// The OAuth2 form (P-100 … P-106).
async fn post(app: &App, inbound: &Inbound, body: RequestBody) -> Answer {
    let is_form = inbound.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value
            .split(';')
            .next()
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
    });
    if !is_form {
        return Err(oauth("invalid_request", "send a form: Content-Type: application/x-www-form-urlencoded"));
    }
    let form = body.collect(FORM_MAX_BYTES).await.map_err(|error| match error {
        crate::body::CollectError::TooLarge => {
            let message = format!("a request for a token may have at most {FORM_MAX_BYTES} bytes");
            Failure::new(StatusCode::PAYLOAD_TOO_LARGE, Code::Unsupported, message)
        }
        crate::body::CollectError::Body(_) => oauth("invalid_request", "the form did not arrive as a whole"),
    })?;
    let form = Form::read(&form)?;
    check_service(app, form.first("service"))?;
    let scopes = parse_scopes(form.all("scope")).map_err(|error| oauth("invalid_scope", &error.to_string()))?;
    let wanted = Wanted { scopes, offline: form.first("access_type") == Some("offline") };
    let grant_type = match (form.first("grant_type"), form.secret("password"), form.secret("refresh_token")) {
        (Some("password"), Some(password), _) => {
            let username = form.first("username").unwrap_or_default().to_owned();
            Grant::Credentials(Credentials::Basic { username, password })
        }
        (Some("refresh_token"), _, Some(token)) => Grant::RefreshToken(token),
        (Some("password"), None, _) => return Err(oauth("invalid_request", "the field password is missing")),
        (Some("refresh_token"), _, None) => return Err(oauth("invalid_request", "the field refresh_token is missing")),
        _ => return Err(oauth("unsupported_grant_type", "grant_type must be password or refresh_token")),
    };
    grant(app, inbound, grant_type, &wanted).await.map_err(|refused| match refused {
        Refused::Credentials(message) => invalid_grant(&message),
        Refused::Failure(failure) => failure,
    })
}

/// Why there is no token.
enum Refused {
    /// Who asks is not who they say; each method has its own form for it.
    Credentials(String),
    Failure(Failure),
}

impl From<AuthError> for Refused {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::InvalidToken | AuthError::WrongCredentials => Self::Credentials(error.to_string()),
            error => Self::Failure(error.into()),
        }
    }
}

/// Who, how much, signed.
async fn grant(app: &App, inbound: &Inbound, grant: Grant<'_>, wanted: &Wanted) -> Result<Reply, Refused> {
    let Some(identity) = &app.parts.identity else {
        // Open to everybody: nobody is ever sent here by a challenge.
        return Err(Refused::Failure(Failure::not_found()));
    };
    let origin = inbound.asked();
    let (login, presented) = match grant {
        Grant::Credentials(Credentials::None) => (Login::anonymous(), None),
        Grant::Credentials(Credentials::Basic { username, password }) => {
            (identity.log_in(&username, &password, &origin).await?, None)
        }
        Grant::Credentials(Credentials::Bearer(_)) => {
            return Err(Refused::Credentials("a token cannot be exchanged for another; send name and password".into()));
        }
        Grant::RefreshToken(token) => (identity.log_in_with_refresh_token(&token, &origin).await?, Some(token)),
    };
    let access = narrow(app, &login, &origin, &wanted.scopes);
    let issued = identity.issue(&login, &access, &origin)?;
    let refresh_token = match presented {
        Some(token) => Some(token),
        None if wanted.offline => identity.refresh_token(&login, &origin).await?,
        None => None,
    };
    let token = issued.token.expose();
    let body = TokenReply {
        token,
        access_token: token,
        scope: granted_scopes(&access),
        expires_in: issued.expires_in.as_secs(),
        issued_at: issued.issued_at.to_string(),
        refresh_token: refresh_token.as_ref().map(|token| token.expose().as_str()),
    };
    let body = serde_json::to_vec(&body).map_err(|_| Refused::Failure(Failure::internal()))?;
    Ok(Reply::json(StatusCode::OK, body))
}

/// Of what is asked for, what the principal may do now (P-088, S-025). What it may not do stays as a line without
/// actions, which tells "asked and refused" from "never asked" (P-089).
fn narrow(app: &App, login: &Login, origin: &Origin, scopes: &[Scope]) -> Vec<Access> {
    let asker = Asker {
        principal: login.principal.clone(),
        limits: Limits { bearer: None, api_token: login.scopes.clone() },
        source: origin.source,
        request_id: origin.request_id.clone(),
    };
    let permits = |action, repository| app.parts.policy.permits(&asker, action, repository).is_ok();
    let narrowed = scopes.iter().map(|scope| match &scope.resource {
        ScopeResource::Repository(name) => {
            let wanted = |action| scope.actions.contains(&ScopeAction::All) || scope.actions.contains(&action);
            let may = |action: ScopeAction| wanted(action) && permits(permission(action), Some(name));
            let actions = [ScopeAction::Pull, ScopeAction::Push, ScopeAction::Delete].into_iter();
            let actions = actions.filter(|action| may(*action)).map(permission).collect();
            Access { resource: Resource::Repository(name.clone()), actions }
        }
        ScopeResource::Catalog => {
            let may = scope.actions.contains(&ScopeAction::All) && permits(Action::Catalog, None);
            Access { resource: Resource::Catalog, actions: if may { vec![Action::Catalog] } else { Vec::new() } }
        }
    });
    narrowed.collect()
}

fn permission(action: ScopeAction) -> Action {
    match action {
        ScopeAction::Pull => Action::Pull,
        ScopeAction::Push => Action::Push,
        ScopeAction::Delete => Action::Delete,
        ScopeAction::All => Action::Catalog,
    }
}

/// The granted list as OAuth2 answers spell it (P-101).
fn granted_scopes(access: &[Access]) -> String {
    let scopes = access.iter().filter(|line| !line.actions.is_empty()).filter_map(|line| {
        let resource = match &line.resource {
            Resource::Repository(name) => ScopeResource::Repository(name.clone()),
            Resource::Catalog => ScopeResource::Catalog,
            Resource::Repositories(_) => return None,
        };
        let words = line.actions.iter().map(|action| match action {
            Action::Pull => ScopeAction::Pull,
            Action::Push => ScopeAction::Push,
            Action::Delete => ScopeAction::Delete,
            _ => ScopeAction::All,
        });
        Some(Scope { resource, actions: words.collect() }.to_string())
    });
    scopes.collect::<Vec<_>>().join(" ")
}

/// Field names are what docker, containerd and skopeo decode (P-092, P-101).
#[derive(Serialize)]
struct TokenReply<'t> {
    token: &'t str,
    access_token: &'t str,
    scope: String,
    expires_in: u64,
    issued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'t str>,
}

/// A token for another registry would be of no use to the client, and is not ours to make (P-095).
fn check_service(app: &App, service: Option<&str>) -> Result<(), Failure> {
    let own = app.parts.identity.as_ref().map_or("", |identity| identity.service());
    match service.filter(|service| !service.is_empty()) {
        Some(other) if other != own => {
            Err(Failure::parameter(format!("this is the token service of {own:?}, not of the service asked for")))
        }
        _ => Ok(()),
    }
}

/// Wrong credentials on GET (P-091).
fn wrong(app: &App, message: &str) -> Failure {
    let service = app.parts.identity.as_ref().map_or("", |identity| identity.service());
    unauthorized(message, &Challenge::Basic { realm: service.to_owned() })
}

fn invalid_grant(message: &str) -> Failure {
    oauth_failure(StatusCode::UNAUTHORIZED, Code::Unauthorized, "invalid_grant", message)
}

fn oauth(error: &'static str, message: &str) -> Failure {
    oauth_failure(StatusCode::BAD_REQUEST, Code::Unsupported, error, message)
}

/// Both forms in one body: OAuth2 clients read `error`, the others `errors` (P-104).
fn oauth_failure(status: StatusCode, code: Code, error: &'static str, message: &str) -> Failure {
    Failure::new(status, code, message).with_members(&[("error", error), ("error_description", message)])
}

/// The fields of a form. Unlike in a query, `+` is a space here.
struct Form(Vec<(String, Secret<String>)>);

impl Form {
    fn read(bytes: &[u8]) -> Result<Self, Failure> {
        let fields = url::form_urlencoded::parse(bytes);
        let fields: Vec<_> = fields.take(wharf_oci::limits::QUERY_PARAMETERS_MAX + 1).collect();
        if fields.len() > wharf_oci::limits::QUERY_PARAMETERS_MAX {
            return Err(oauth("invalid_request", "the form has too many fields"));
        }
        Ok(Self(fields.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect()))
    }

    fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.expose().as_str())
    }

    fn secret(&self, name: &str) -> Option<Secret<String>> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}
