//! The registry as a process: version, health, configuration.

use askama::Template;
use wharf_policy::{Authorized, CheckManage};

use super::page::{self, Frame};
use super::text::{self, Time};
use super::{Answer, Visit};

#[derive(Template)]
#[template(path = "system.html")]
struct SystemPage {
    f: Frame,
    version: &'static str,
    is_ready: bool,
    trouble: Option<Trouble>,
    uploads: Option<String>,
    is_encrypted: bool,
    has_accounts: bool,
    records_lost: u64,
    configuration: String,
}

struct Trouble {
    what: String,
    details: String,
    remedy: &'static str,
    since: Time,
}

/// The page.
pub(super) async fn show(_ok: Authorized<CheckManage>, visit: Visit) -> Answer {
    let parts = &visit.app.parts;
    let figures = parts.registry.figures().await;
    let view = SystemPage {
        f: Frame::of(&visit, "System"),
        version: parts.about.version,
        is_ready: parts.registry.ready().await.is_ok(),
        trouble: figures.health.protection.map(|protection| Trouble {
            what: protection.trouble.to_string(),
            details: text::shown(&protection.details),
            remedy: protection.trouble.remedy(),
            since: visit.time(protection.since),
        }),
        uploads: figures.uploads_open.map(|count| text::number(u64::from(count))),
        is_encrypted: visit.is_secure(),
        has_accounts: parts.identity.is_some(),
        records_lost: parts.identity.as_ref().map_or(0, |identity| identity.audit_records_lost()),
        configuration: parts.about.configuration.to_string(),
    };
    page::ok(&view)
}
