//! The description of this API, made from the handlers themselves, and completed with what holds for all of them.

use std::sync::LazyLock;

use http::StatusCode;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use wharf_policy::{Action, Authorized, VersionCheck};

use super::problem::ProblemDetails;
use super::{Answer, Call, ROUTES, accounts, audit, backup, check, gc, keys, me, ok, policy, tokens, undo};
use crate::routes::Route;

/// Everything that the command line does, over HTTP.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Wharf administration API",
        description = "Everything that the command line does, over HTTP.\n\n\
            Send `Authorization: Basic` with an account's name and password, or an API token as `Bearer`. Errors are problem \
            details (RFC 9457). Lists have pages: `limit` items, and `next` goes into `after` of the page that follows. \
            Members and values that are not described are refused. A `POST` that is sent again with the same \
            `Idempotency-Key` is carried out once.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
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
struct Handlers;

/// The whole document.
pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document = serde_json::to_value(Handlers::openapi()).unwrap_or_default();
    document["security"] = json!([{ "password": [] }, { "token": [] }]);
    document["components"]["securitySchemes"] = json!({
        "password": { "type": "http", "scheme": "basic", "description": "The name and the password of an account." },
        "token": { "type": "http", "scheme": "bearer", "description": "An API token." },
    });
    for (path, operations) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            complete(path, method, operation);
        }
    }
    document
});

/// Adds what every operation of its kind can be asked with and answer, so that no handler has to say it.
fn complete(path: &str, method: &str, operation: &mut Value) {
    if method == "post" {
        let parameters = operation.as_object_mut().map(|operation| operation.entry("parameters").or_insert(json!([])));
        parameters.and_then(Value::as_array_mut).into_iter().for_each(|parameters| parameters.push(idempotency_key()));
    }
    // What is optional among the parameters may be left out; there is no null in an address or a header.
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let schema = &parameter["schema"];
        let is_something = |form: &&Value| form["type"] != "null";
        if let Some(form) = schema["oneOf"].as_array().and_then(|forms| forms.iter().find(is_something)).cloned() {
            parameter["schema"] = form;
        } else if let Some(types) = schema["type"].as_array() {
            let only = types.iter().find(|kind| *kind != "null").cloned();
            parameter["schema"]["type"] = only.unwrap_or_default();
        }
    }
    let is_this =
        |route: &&Route<Call, Answer>| route.path == path && route.method.as_str().eq_ignore_ascii_case(method);
    if ROUTES.iter().find(is_this).is_some_and(|route| route.action == Action::VersionCheck) {
        operation["security"] = json!([{}, { "password": [] }, { "token": [] }]);
    }
    let has_body = operation.get("requestBody").is_some();
    let is_conditional = operation["parameters"].as_array().into_iter().flatten().any(|one| one["name"] == "If-Match");
    let needs_accounts = ["me", "accounts", "tokens", "keys"].iter().any(|tag| operation["tags"][0] == *tag);
    let statuses = [
        (StatusCode::BAD_REQUEST, true),
        (StatusCode::UNAUTHORIZED, true),
        (StatusCode::FORBIDDEN, true),
        (StatusCode::NOT_FOUND, path.contains('{')),
        (StatusCode::CONFLICT, method == "post" || needs_accounts),
        (StatusCode::PRECONDITION_FAILED, is_conditional),
        (StatusCode::PAYLOAD_TOO_LARGE, has_body),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, has_body),
        (StatusCode::UNPROCESSABLE_ENTITY, method == "post"),
        (StatusCode::TOO_MANY_REQUESTS, true),
        (StatusCode::INTERNAL_SERVER_ERROR, true),
        (StatusCode::SERVICE_UNAVAILABLE, true),
    ];
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (status, _) in statuses.iter().filter(|(_, applies)| *applies) {
        responses.entry(status.as_str()).or_insert_with(|| json!({}));
    }
    for (status, response) in responses.iter_mut() {
        describe(status, response);
    }
}

/// In words, and for a refusal with the one form that refusals have.
fn describe(status: &str, response: &mut Value) {
    let Some(status) = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok()) else { return };
    let Value::Object(response) = response else { return };
    let has_words = response.get("description").and_then(Value::as_str).is_some_and(|words| !words.is_empty());
    if !has_words {
        response.insert("description".into(), status.canonical_reason().unwrap_or_default().into());
    }
    if status.is_client_error() || status.is_server_error() {
        let schema = json!({ "$ref": "#/components/schemas/ProblemDetails" });
        let content = Map::from_iter([("application/problem+json".to_owned(), json!({ "schema": schema }))]);
        response.insert("content".into(), content.into());
    }
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "A value that nobody else has, such as a UUID. The same request with the same key is carried out once \
                        within a day, and answered as the first one was.",
        "schema": { "type": "string", "pattern": "^[A-Za-z0-9._-]{16,128}$" },
    })
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", operation_id = "getOpenApi", tag = "openapi", responses((status = 200, body = Object)))]
pub(crate) async fn get(_proof: Authorized<VersionCheck>, _call: Call) -> Answer {
    ok(&*DOCUMENT)
}
