//! All statements of this crate, for the tests that ask each database about them.

use crate::sql::Sql;
use crate::{
    accounts, audit, blobs, browsing, changes, check, collection, collection_log, deletion, jobs, kept_answers, keys,
    leases, life, manifests, mend, push, referrers, repositories, retention, reviews, rules, sessions, sign_ins,
    snapshot, tags, tokens, undo, uploads, usage,
};

/// Each statement with its file and its name.
pub(crate) fn all() -> Vec<(&'static str, &'static str, Sql)> {
    let files: [(&str, &[(&str, Sql)]); 30] = [
        ("accounts", accounts::STATEMENTS),
        ("audit", audit::STATEMENTS),
        ("blobs", blobs::STATEMENTS),
        ("browsing", browsing::STATEMENTS),
        ("changes", changes::STATEMENTS),
        ("check", check::STATEMENTS),
        ("collection", collection::STATEMENTS),
        ("collection_log", collection_log::STATEMENTS),
        ("deletion", deletion::STATEMENTS),
        ("jobs", jobs::STATEMENTS),
        ("kept_answers", kept_answers::STATEMENTS),
        ("keys", keys::STATEMENTS),
        ("leases", leases::STATEMENTS),
        ("life", life::STATEMENTS),
        ("manifests", manifests::STATEMENTS),
        ("mend", mend::STATEMENTS),
        ("push", push::STATEMENTS),
        ("referrers", referrers::STATEMENTS),
        ("repositories", repositories::STATEMENTS),
        ("retention", retention::STATEMENTS),
        ("reviews", reviews::STATEMENTS),
        ("rules", rules::STATEMENTS),
        ("sessions", sessions::STATEMENTS),
        ("sign_ins", sign_ins::STATEMENTS),
        ("snapshot", snapshot::STATEMENTS),
        ("tags", tags::STATEMENTS),
        ("tokens", tokens::STATEMENTS),
        ("undo", undo::STATEMENTS),
        ("uploads", uploads::STATEMENTS),
        ("usage", usage::STATEMENTS),
    ];
    files.into_iter().flat_map(|(file, list)| list.iter().map(move |(name, sql)| (file, *name, *sql))).collect()
}
