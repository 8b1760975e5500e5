//! What is true of every reply, whatever was asked.

use serde_json::Value;

use crate::harness::Reply;

/// The codes that a 4xx may carry (P-052).
const CODES: [&str; 14] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
];

/// Headers that no reply carries: P-011, P-015, P-016, P-030.
const NEVER: [&str; 4] = ["OCI-Namespace", "X-Registry-Supports-Signatures", "Content-Encoding", "Vary"];

/// An error body ends before this (P-057).
const ERROR_BODY_LIMIT_BYTES: usize = 64 * 1024;

/// Checks `reply` to `method` on `target` against the rules for all replies.
pub fn check(method: &str, target: &str, reply: &Reply) -> Result<(), String> {
    if reply.status >= 500 {
        return Err(format!("{} is a fault of the server", reply.status));
    }
    if target.starts_with("/v2") {
        once(reply, "Docker-Distribution-API-Version", "registry/2.0").map_err(|why| format!("P-001: {why}"))?;
    }
    length(method, reply).map_err(|why| format!("P-002: {why}"))?;
    for name in NEVER {
        if reply.has(name) {
            return Err(format!("{name} is never sent"));
        }
    }
    for name in ["Location", "Link"] {
        if let Some(value) = reply.header(name)
            && !value.trim_start_matches('<').starts_with("/v2/")
        {
            return Err(format!("P-025: {name}: {value} is not a path below /v2/"));
        }
    }
    // An unsatisfiable range of a blob needs no body.
    let error_body = method != "HEAD" && !(reply.status == 416 && reply.body.is_empty());
    if reply.status >= 400 && target.starts_with("/v2") && error_body {
        errors(reply).map_err(|why| format!("P-051: {why}"))?;
    }
    Ok(())
}

/// The list of errors in the body, if it has the shape that the specification asks for.
pub fn errors(reply: &Reply) -> Result<Vec<Value>, String> {
    once(reply, "Content-Type", "application/json")?;
    if reply.body.len() >= ERROR_BODY_LIMIT_BYTES {
        return Err(format!("an error body of {} bytes", reply.body.len()));
    }
    let body: Value = serde_json::from_slice(&reply.body).map_err(|error| format!("the body is not JSON: {error}"))?;
    let members: Vec<_> = body.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    // Beside them the token service says the same in the words of OAuth2 (P-104).
    if members != ["errors"] && members != ["error", "error_description", "errors"] {
        return Err(format!("the members of the body are {members:?}"));
    }
    let errors = body["errors"].as_array().filter(|errors| !errors.is_empty()).ok_or("no list of errors")?;
    for error in errors {
        let code = error["code"].as_str().ok_or("an error without a code")?;
        if !CODES.contains(&code) {
            return Err(format!("P-052: {code} is not a code of the specification"));
        }
        if !error["message"].is_string() {
            return Err("an error without a message".to_owned());
        }
        if error.get("detail").is_some_and(|detail| !detail.is_string()) {
            return Err("P-053: a detail that is not a string".to_owned());
        }
    }
    Ok(errors.clone())
}

/// `name` is there once and says `value`.
pub fn once(reply: &Reply, name: &str, value: &str) -> Result<(), String> {
    match reply.all(name).collect::<Vec<_>>()[..] {
        [only] if only == value => Ok(()),
        ref found => Err(format!("{name} is {found:?}, expected once `{value}`")),
    }
}

fn length(method: &str, reply: &Reply) -> Result<(), String> {
    if reply.has("Transfer-Encoding") {
        return Err("the body is chunked".to_owned());
    }
    let lengths: Vec<_> = reply.all("Content-Length").collect();
    match (reply.status, &lengths[..]) {
        (204 | 304, []) => Ok(()),
        (204 | 304, _) => Err("a length where there is no body".to_owned()),
        (201 | 202, ["0"]) => Ok(()),
        (201 | 202, _) => Err(format!("{lengths:?} on a {}, expected 0", reply.status)),
        (_, [length]) if length.parse().is_ok_and(|length: usize| method == "HEAD" || length == reply.body.len()) => {
            Ok(())
        }
        _ => Err(format!("Content-Length is {lengths:?} for {} bytes", reply.body.len())),
    }
}

/// P-003: HEAD on the same target has the same status and the same headers.
pub fn same_head(get: &Reply, head: &Reply) -> Result<(), String> {
    let steady = |reply: &Reply| {
        let own = |name: &str| matches!(name, "date" | "x-request-id");
        let headers = reply.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
        let mut headers: Vec<_> = headers.filter(|(name, _)| !own(name)).collect();
        headers.sort();
        (reply.status, headers)
    };
    if steady(get) == steady(head) {
        return Ok(());
    }
    Err(format!("P-003: HEAD differs from GET\n  GET\n{get}  HEAD\n{head}"))
}
