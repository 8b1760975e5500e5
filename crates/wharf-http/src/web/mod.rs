//! The pages: what the administration API tells programs, for people with a browser.
//!
//! A page is a pure function from a view to HTML, and its view is filled by the same use cases as the API. The routes are a
//! table ([`routes`]) in which each line names its permission, and the handler gets the proof of it as its first argument
//! (S-001, S-002). Who asks is known by a cookie alone: `Authorization` means nothing here, because a browser sends along what
//! a person once typed wherever it is led. What changes something needs proof that it comes from one of our own pages: the
//! browser says so, and the form carries a token of the session (S-039).

mod account;
mod accounts;
mod artifact;
mod assets;
mod audit;
mod browse;
mod changes;
mod chart;
mod check;
mod compare;
mod config_blob;
mod cookie;
mod form;
mod home;
mod image;
mod page;
mod policy;
mod repository;
mod routes;
mod rule;
mod sbom;
mod sign_in;
mod sign_on;
mod storage;
mod system;
mod text;

use std::str::FromStr;
use std::sync::Arc;

use http::header::{ACCEPT, CACHE_CONTROL, HeaderName, LOCATION, ORIGIN};
use http::{HeaderValue, Method, StatusCode};
use wharf_base::Secret;
use wharf_identity::{Identity, Visitor};
use wharf_oci::{Query, RepositoryName};
use wharf_policy::{Action, Asker, Authorized, Permission, Principal, Target};

use crate::App;
use crate::api::{self, Problem};
use crate::auth;
use crate::body::RequestBody;
use crate::reply::{Reply, header_value};
use crate::routes::{find, matches};
use crate::service::Inbound;
use form::Form;

pub(crate) use routes::ROUTES;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The field of every form that proves that it is of this session.
const FORM_TOKEN: &str = "form_token";

/// What a handler answers.
pub(crate) type Answer = Result<Reply, Failure>;

/// Why there is no page.
pub(crate) enum Failure {
    /// Something is not as it should be, which the page says instead.
    Problem(Problem),
    /// Somebody has to sign in first, and comes back afterwards.
    SignIn,
}

impl<E: Into<Problem>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

/// The status of a page that is shown once more, and what it says was wrong.
///
/// # Errors
///
/// What nobody can mend there is a page of its own.
fn to_mend(problem: Problem) -> Result<(StatusCode, String), Failure> {
    let status = problem.status();
    if status.is_server_error() { Err(Failure::Problem(problem)) } else { Ok((status, problem.sentence())) }
}

/// A request on its way to a handler.
pub(crate) struct Visit {
    pub(crate) app: Arc<App>,
    inbound: Box<Inbound>,
    query: Query,
    asker: Asker,
    /// Who has signed in, if somebody has.
    visitor: Option<Visitor>,
    /// What stands in the path where the table has braces, decoded.
    parts_of_path: Vec<String>,
    form: Form,
}

impl Visit {
    /// Asks policy about the registry as a whole, or about the repository that the address names.
    fn authorize<A: Permission<Target: Subject>>(&self) -> Result<Authorized<A>, Failure> {
        let target = Subject::of(self)?;
        auth::require_policy(&self.app, &self.asker, target).map_err(|denied| {
            let could_sign_in = self.asker.principal.is_anonymous() && self.app.parts.identity.is_some();
            if could_sign_in { Failure::SignIn } else { denied.into() }
        })
    }

    /// Whether policy allows it, for links that are shown only to those who may follow them. Nothing is recorded.
    fn may(&self, action: Action, repository: Option<&RepositoryName>) -> bool {
        self.app.parts.policy.permits(&self.asker, action, repository).is_ok()
    }

    /// The proof of a further permission on the same repository; `None` if policy does not give it.
    fn also<A: Permission>(&self, target: A::Target) -> Option<Authorized<A>> {
        self.app.parts.policy.authorize(&self.asker, target).ok()
    }

    /// Who people are; a registry that is open to everybody knows nobody.
    fn identity(&self) -> Result<&Arc<Identity>, Problem> {
        self.app.parts.identity.as_ref().ok_or_else(Problem::open)
    }

    /// A parameter of the address; empty if it is not there.
    fn parameter(&self, name: &str) -> &str {
        self.query.first(name).map_or("", str::trim)
    }

    /// Where a list goes on, if the address says.
    fn after(&self) -> Option<&str> {
        self.query.first("after").filter(|after| !after.is_empty())
    }

    /// The same, read; `None` at the beginning.
    fn after_as<T: FromStr>(&self) -> Result<Option<T>, Problem> {
        let after = self.after().map(str::parse).transpose();
        after.map_err(|_| Problem::field("after", "is not where a list goes on"))
    }

    /// What stands in front of every path of this site.
    fn root(&self) -> &str {
        self.app.origins.prefix()
    }

    fn href(&self, path: &str, parameters: &[(&str, &str)]) -> String {
        text::href(self.root(), path, parameters)
    }

    fn now(&self) -> wharf_base::Timestamp {
        self.app.parts.clock.now()
    }

    fn time(&self, at: wharf_base::Timestamp) -> text::Time {
        text::Time::new(at, self.now())
    }

    /// Sends the browser to a page of this site, to be read with GET.
    fn see(&self, path: &str, parameters: &[(&str, &str)]) -> Reply {
        see_other(&self.href(path, parameters))
    }

    /// Whether sessions may begin and go on over this connection: TLS, or nothing in between.
    fn is_secure(&self) -> bool {
        self.inbound.is_https(&self.app.origins)
    }
}

/// What a page is about.
trait Subject: Target + Sized {
    fn of(visit: &Visit) -> Result<Self, Problem>;
}

impl Subject for () {
    fn of(_visit: &Visit) -> Result<Self, Problem> {
        Ok(())
    }
}

impl Subject for RepositoryName {
    /// The parameter `repository`, also where a form is sent to: what policy is asked about stands in the address.
    fn of(visit: &Visit) -> Result<Self, Problem> {
        api::repository(visit.parameter("repository"))
    }
}

/// Whether the request is for a page or what belongs to one. A browser that asks for what is not there gets a page that says
/// so; anybody else gets the answer of `/v2/`.
pub(crate) fn is_ours(inbound: &Inbound) -> bool {
    let path = inbound.path.as_str();
    if path == "/v2" || path.starts_with("/v2/") {
        return false;
    }
    let accepts = inbound.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    path.starts_with(assets::BELOW)
        || ROUTES.iter().any(|route| matches(route.path, path).is_some())
        || accepts.contains("text/html")
}

/// Answers a request.
pub(crate) async fn answer(app: &Arc<App>, inbound: Box<Inbound>, body: RequestBody) -> Reply {
    let is_https = inbound.is_https(&app.origins);
    let reply = match inbound.path.strip_prefix(assets::BELOW) {
        Some(name) if matches!(inbound.method, Method::GET | Method::HEAD) => assets::answer(name),
        _ => None,
    };
    if let Some(reply) = reply {
        return page::with_headers(reply, is_https);
    }
    let limit = app.config.request_timeout.get();
    let reply = match tokio::time::timeout(limit, visit(app, inbound, body)).await {
        Ok(reply) => reply,
        Err(_) => page::of_problem(&page::Frame::bare(app), Problem::timed_out()),
    };
    page::with_headers(reply.with(CACHE_CONTROL, HeaderValue::from_static("no-store")), is_https)
}

async fn visit(app: &Arc<App>, inbound: Box<Inbound>, body: RequestBody) -> Reply {
    let query = match Query::parse(inbound.query.as_deref()) {
        Ok(query) => query,
        Err(error) => return page::of_problem(&page::Frame::bare(app), Problem::invalid(error.to_string())),
    };
    let asker = Asker::new(Principal::anonymous(), Some(inbound.client), Arc::clone(&inbound.request_id));
    let mut visit = Visit {
        app: Arc::clone(app),
        inbound,
        query,
        asker,
        visitor: None,
        parts_of_path: Vec::new(),
        form: Form::default(),
    };
    match recognize(&visit).await {
        Ok(Some(visitor)) => {
            visit.asker = visitor.asker.clone();
            visit.visitor = Some(visitor);
        }
        Ok(None) => {}
        Err(problem) => return page::of_problem(&page::Frame::bare(app), problem),
    }
    let frame = page::Frame::of(&visit, "");
    let back = visit.here();
    match dispatch(visit, body).await {
        Ok(reply) => reply,
        Err(Failure::Problem(problem)) => page::of_problem(&frame, problem),
        Err(Failure::SignIn) => see_other(&text::href(app.origins.prefix(), "/login", &[("next", &back)])),
    }
}

impl Visit {
    /// The address of this very page, to come back to; the front page if it cannot be come back to.
    fn here(&self) -> String {
        if self.inbound.method != Method::GET {
            return "/".to_owned();
        }
        match &self.inbound.query {
            Some(query) => format!("{}?{query}", self.inbound.path),
            None => self.inbound.path.clone(),
        }
    }
}

/// Who has signed in.
async fn recognize(visit: &Visit) -> Result<Option<Visitor>, Problem> {
    let Some(identity) = &visit.app.parts.identity else { return Ok(None) };
    let Some(secret) = cookie::read(cookie::Kind::Session, &visit.inbound.headers, visit.is_secure()) else {
        return Ok(None);
    };
    if !visit.may_have_sessions() {
        return Ok(None);
    }
    Ok(identity.visitor(&secret, &visit.inbound.asked()).await?)
}

impl Visit {
    /// S-082: what a browser sends in the clear over a network is everybody's.
    fn may_have_sessions(&self) -> bool {
        self.is_secure()
            || (self.inbound.client.is_loopback() && self.inbound.peer.address.to_canonical().is_loopback())
    }
}

async fn dispatch(mut visit: Visit, body: RequestBody) -> Answer {
    let (route, parts_of_path) = find(ROUTES, &visit.inbound, "There is no such page.")?;
    visit.parts_of_path = parts_of_path;
    if route.method != Method::GET {
        check_site(&visit)?;
        visit.form = Form::read(&visit.inbound.headers, body).await?;
        if route.path != "/login" {
            check_form(&visit)?;
        }
    }
    (route.run)(visit).await
}

/// Whatever changes something comes from one of our own pages, by the browser's word; one that says nothing at all is none
/// (S-039, B-101).
fn check_site(visit: &Visit) -> Result<(), Problem> {
    let headers = &visit.inbound.headers;
    let is_own = match (headers.get(FETCH_SITE), headers.get(ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => {
            let own = visit.inbound.origin(&visit.app.origins);
            own.is_some_and(|own| origin.as_bytes() == own.as_bytes())
        }
        (None, None) => false,
    };
    if is_own {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "this request does not come from a page of this registry; open the page and try again there",
    ))
}

/// The form was made for this session. Where nobody has signed in there is nothing that another site could borrow.
fn check_form(visit: &Visit) -> Result<(), Problem> {
    let Some(visitor) = &visit.visitor else { return Ok(()) };
    let sent: Secret<String> = visit.form.secret(FORM_TOKEN);
    if sent == visitor.form_token {
        return Ok(());
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "this form is of another session; load the page again and send it then"))
}

fn see_other(to: &str) -> Reply {
    Reply::empty(StatusCode::SEE_OTHER).with(LOCATION, header_value(to))
}
