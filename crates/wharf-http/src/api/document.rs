//! The description of this API, made from the handlers themselves.

use utoipa::OpenApi;
use wharf_policy::{Authorized, VersionCheck};

use super::problem::ProblemDetails;
use super::{Answer, Call, accounts, audit, backup, check, gc, keys, me, ok, policy, tokens, undo};

/// Everything that the command line does, over HTTP.
///
/// Send `Authorization: Basic` with an account's name and password, or an API token as `Bearer`. Errors are problem
/// details (RFC 9457). Lists have pages: `limit` items, and `next` goes into `after` of the page that follows.
#[derive(OpenApi)]
#[openapi(
    info(title = "Wharf administration API", license(name = "Apache-2.0")),
    paths(
        get,
        me::get,
        me::set_password,
        me::list_tokens,
        me::create_token,
        me::delete_token,
        accounts::list,
        accounts::create,
        accounts::get,
        accounts::change,
        accounts::delete,
        accounts::set_password,
        tokens::create,
        tokens::list,
        tokens::delete,
        keys::list,
        keys::rotate,
        policy::list,
        policy::create,
        policy::get,
        policy::replace,
        policy::delete,
        policy::explain,
        policy::simulate,
        audit::list,
        audit::verify,
        audit::export,
        undo::history,
        undo::deleted,
        undo::restore,
        gc::status,
        gc::preview,
        gc::log,
        gc::run,
        gc::hold,
        gc::release,
        check::status,
        check::start,
        check::findings,
        check::stop,
        backup::begin,
        backup::renew,
        backup::database,
        backup::blob,
        backup::end
    ),
    components(schemas(ProblemDetails))
)]
pub(crate) struct Document;

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", operation_id = "getOpenApi", tag = "openapi", responses((status = 200)))]
pub(crate) async fn get(_proof: Authorized<VersionCheck>, _call: Call) -> Answer {
    ok(&Document::openapi())
}
