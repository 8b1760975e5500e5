//! From a view to an answer, and what all pages share.

use askama::Template;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode, header};
use wharf_policy::Action;

use super::{Visit, assets, text};
use crate::App;
use crate::api::Problem;
use crate::reply::{Payload, Reply};

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Security requirements, §5. Nothing on a page comes from elsewhere, nothing is written into it that runs.
const HEADERS: [(HeaderName, HeaderValue); 8] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
             connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-embedder-policy"), HeaderValue::from_static("require-corp")),
];

/// The answer with the headers that every answer to a browser has.
pub(super) fn with_headers(mut reply: Reply, is_https: bool) -> Reply {
    let mut headers: HeaderMap = HEADERS.into_iter().collect();
    if is_https {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    reply.headers.extend(headers);
    reply
}

/// What stands around every page.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) root: String,
    pub(super) title: String,
    pub(super) assets: assets::Names,
    /// The name of whoever has signed in.
    pub(super) user: Option<String>,
    pub(super) form_token: String,
    pub(super) can_sign_in: bool,
    /// The parts of the site that whoever asks may enter.
    pub(super) parts: Vec<Part>,
    /// Something that has just been done.
    pub(super) notice: Option<&'static str>,
}

/// An entry of the navigation.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) href: String,
    pub(super) label: &'static str,
    pub(super) is_current: bool,
}

/// What was done by the form before this page; the address says which, and nothing else of it is shown.
const NOTICES: [(&str, &str); 11] = [
    ("deleted", "The image was deleted. It can be restored until the undo period ends."),
    ("tag-deleted", "The tag was deleted. Its image is still here."),
    ("restored", "Restored."),
    ("password", "The password was changed. Other sessions have ended."),
    ("token-deleted", "The token was deleted. Whatever used it has to log in anew."),
    ("signed-out", "You are signed out."),
    ("signed-out-everywhere", "You are signed out in all browsers."),
    ("saved", "Saved."),
    ("removed", "Removed."),
    ("started", "Started."),
    ("stopped", "Stopped."),
];

/// The parts of the site: where, what it is called, and what one needs for it.
const PARTS: [(&str, &str, Action); 7] = [
    ("/repositories", "Repositories", Action::Catalog),
    ("/policy", "Policy", Action::PolicyManage),
    ("/accounts", "Accounts", Action::AccountManage),
    ("/audit", "Audit", Action::AuditRead),
    ("/storage", "Storage", Action::GcManage),
    ("/check", "Check", Action::CheckManage),
    ("/system", "System", Action::CheckManage),
];

impl Frame {
    /// For a page of this title. The title of the site's part is the page's own where it has one.
    pub(super) fn of(visit: &Visit, title: &str) -> Self {
        let is_current = |path: &str| visit.inbound.path == path;
        let parts = PARTS.iter().filter(|(_, _, action)| visit.may(*action, None)).map(|(path, label, _)| Part {
            href: visit.href(path, &[]),
            label,
            is_current: is_current(path),
        });
        let done = visit.query.first("done");
        Self {
            root: visit.root().to_owned(),
            title: title.to_owned(),
            assets: assets::names(),
            user: visit.visitor.as_ref().map(|visitor| visitor.asker.principal.name().to_owned()),
            form_token: visit.visitor.as_ref().map(|visitor| visitor.form_token.expose().clone()).unwrap_or_default(),
            can_sign_in: visit.app.parts.identity.is_some(),
            parts: parts.collect(),
            notice: NOTICES.iter().find(|(key, _)| Some(*key) == done).map(|(_, text)| *text),
        }
    }

    /// Where nothing is known of who asks.
    pub(super) fn bare(app: &App) -> Self {
        Self {
            root: app.origins.prefix().to_owned(),
            title: String::new(),
            assets: assets::names(),
            user: None,
            form_token: String::new(),
            can_sign_in: false,
            parts: Vec::new(),
            notice: None,
        }
    }
}

/// 200 with a page.
pub(super) fn ok(view: &impl Template) -> super::Answer {
    Ok(answer(StatusCode::OK, view)?)
}

/// A page with a status.
pub(super) fn answer(status: StatusCode, view: &impl Template) -> Result<Reply, Problem> {
    let html = view.render().map_err(|_| Problem::internal())?;
    Ok(Reply::of(status, HTML, Payload::Bytes(html.into())))
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'p> {
    f: &'p Frame,
    status: u16,
    heading: &'static str,
    detail: String,
}

/// The page that says why there is none.
pub(super) fn of_problem(frame: &Frame, problem: Problem) -> Reply {
    let heading = match problem.status() {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::TOO_MANY_REQUESTS => "Too many requests",
        status if status.is_server_error() => "Not now",
        _ => "That did not work",
    };
    let frame = Frame { title: heading.to_owned(), notice: None, ..frame.clone() };
    let view =
        ProblemPage { f: &frame, status: problem.status().as_u16(), heading, detail: text::shown(&problem.sentence()) };
    let html = view.render().unwrap_or_else(|_| heading.to_owned());
    let mut reply = Reply::of(problem.status(), HTML, Payload::Bytes(html.into()));
    let (headers, cause) = problem.into_rest();
    reply.headers.extend(headers);
    reply.headers.remove(header::WWW_AUTHENTICATE);
    reply.cause = cause;
    reply
}

/// A list's link to its next page.
pub(super) fn next_page(visit: &Visit, path: &str, parameters: &[(&str, &str)], after: Option<&str>) -> Option<String> {
    let mut parameters = parameters.to_vec();
    parameters.retain(|(_, value)| !value.is_empty());
    parameters.push(("after", after?));
    Some(visit.href(path, &parameters))
}
