//! The table of contents of the administration API.

use wharf_policy::{
    AccountManage, AccountSelf, AuditRead, BackupCreate, CheckManage, GcManage, PolicyManage, Pull, Push, VersionCheck,
};

use super::{Answer, Call, accounts, audit, backup, check, document, gc, keys, me, policy, tokens, undo};
use crate::routes::table;

table! {
    /// Every route there is.
    Call => Answer:

    GET    "/api/v1/openapi.json"                        VersionCheck   document::get;

    GET    "/api/v1/me"                                  VersionCheck   me::get;
    PUT    "/api/v1/me/password"                         AccountSelf    me::set_password;
    GET    "/api/v1/me/tokens"                           AccountSelf    me::list_tokens;
    POST   "/api/v1/me/tokens"                           AccountSelf    me::create_token;
    DELETE "/api/v1/me/tokens/{id}"                      AccountSelf    me::delete_token;

    GET    "/api/v1/accounts"                            AccountManage  accounts::list;
    POST   "/api/v1/accounts"                            AccountManage  accounts::create;
    GET    "/api/v1/accounts/{name}"                     AccountManage  accounts::get;
    PATCH  "/api/v1/accounts/{name}"                     AccountManage  accounts::change;
    DELETE "/api/v1/accounts/{name}"                     AccountManage  accounts::delete;
    PUT    "/api/v1/accounts/{name}/password"            AccountManage  accounts::set_password;
    POST   "/api/v1/accounts/{name}/tokens"              AccountManage  tokens::create;

    GET    "/api/v1/tokens"                              AccountManage  tokens::list;
    DELETE "/api/v1/tokens/{id}"                         AccountManage  tokens::delete;

    GET    "/api/v1/keys"                                AccountManage  keys::list;
    POST   "/api/v1/keys/rotate"                         AccountManage  keys::rotate;

    GET    "/api/v1/policy/rules"                        PolicyManage   policy::list;
    POST   "/api/v1/policy/rules"                        PolicyManage   policy::create;
    GET    "/api/v1/policy/rules/{id}"                   PolicyManage   policy::get;
    PUT    "/api/v1/policy/rules/{id}"                   PolicyManage   policy::replace;
    DELETE "/api/v1/policy/rules/{id}"                   PolicyManage   policy::delete;
    POST   "/api/v1/policy/explain"                      PolicyManage   policy::explain;
    POST   "/api/v1/policy/simulate"                     PolicyManage   policy::simulate;

    GET    "/api/v1/audit"                               AuditRead      audit::list;
    GET    "/api/v1/audit/verify"                        AuditRead      audit::verify;
    GET    "/api/v1/audit/export"                        AuditRead      audit::export;

    GET    "/api/v1/tags/history"                        Pull           undo::history;
    GET    "/api/v1/deleted"                             Pull           undo::deleted;
    POST   "/api/v1/restore"                             Push           undo::restore;

    GET    "/api/v1/gc"                                  GcManage       gc::status;
    GET    "/api/v1/gc/preview"                          GcManage       gc::preview;
    GET    "/api/v1/gc/log"                              GcManage       gc::log;
    POST   "/api/v1/gc/run"                              GcManage       gc::run;
    POST   "/api/v1/gc/holds"                            GcManage       gc::hold;
    DELETE "/api/v1/gc/holds/{id}"                       GcManage       gc::release;

    GET    "/api/v1/check"                               CheckManage    check::status;
    POST   "/api/v1/check"                               CheckManage    check::start;
    DELETE "/api/v1/check"                               CheckManage    check::stop;
    GET    "/api/v1/check/findings"                      CheckManage    check::findings;
    POST   "/api/v1/backup"                              BackupCreate   backup::begin;
    POST   "/api/v1/backup/{id}/renew"                   BackupCreate   backup::renew;
    GET    "/api/v1/backup/{id}/database"                BackupCreate   backup::database;
    GET    "/api/v1/backup/{id}/blobs/{digest}"          BackupCreate   backup::blob;
    DELETE "/api/v1/backup/{id}"                         BackupCreate   backup::end;
}
