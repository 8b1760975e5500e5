//! The table of contents of the pages.

use wharf_policy::{
    AccountManage, AccountSelf, AuditRead, Catalog, CheckManage, Delete, GcManage, PolicyManage, Pull, Push,
    VersionCheck,
};

use super::{
    Answer, Visit, account, accounts, audit, browse, changes, check, compare, home, image, policy, repository, rule,
    sign_in, sign_on, storage, system,
};
use crate::routes::table;

table! {
    /// Every page there is.
    Visit => Answer:

    GET  "/"                      VersionCheck   home::show;
    GET  "/login"                 VersionCheck   sign_in::show;
    POST "/login"                 VersionCheck   sign_in::submit;
    GET  "/login/with"            VersionCheck   sign_on::leave;
    GET  "/login/back/{provider}" VersionCheck   sign_on::come_back;
    POST "/logout"                VersionCheck   sign_in::sign_out;
    POST "/logout/everywhere"     VersionCheck   sign_in::sign_out_everywhere;

    GET  "/repositories"          Catalog        browse::show;
    GET  "/repository"            Pull           repository::show;
    GET  "/image"                 Pull           image::show;
    GET  "/compare"               Pull           compare::show;
    GET  "/tag"                   Pull           changes::show_tag;
    GET  "/deleted"               Pull           changes::show_deleted;
    POST "/restore"               Push           changes::restore;
    GET  "/delete"                Delete         changes::preview;
    POST "/delete"                Delete         changes::delete;

    GET  "/account"               AccountSelf    account::show;
    POST "/account/password"      AccountSelf    account::set_password;
    POST "/account/tokens"        AccountSelf    account::create_token;
    POST "/account/tokens/delete" AccountSelf    account::delete_token;

    GET  "/policy"                PolicyManage   policy::show;
    GET  "/policy/explain"        PolicyManage   policy::explain;
    GET  "/policy/rule"           PolicyManage   rule::show;
    POST "/policy/rule"           PolicyManage   rule::save;
    POST "/policy/rule/delete"    PolicyManage   rule::delete;

    GET  "/accounts"              AccountManage  accounts::list;
    POST "/accounts"              AccountManage  accounts::create;
    GET  "/accounts/one"          AccountManage  accounts::show;
    POST "/accounts/change"       AccountManage  accounts::change;
    POST "/accounts/password"     AccountManage  accounts::set_password;
    POST "/accounts/delete"       AccountManage  accounts::delete;
    POST "/accounts/tokens"       AccountManage  accounts::create_token;
    POST "/accounts/tokens/delete" AccountManage accounts::delete_token;

    GET  "/audit"                 AuditRead      audit::show;
    POST "/audit/verify"          AuditRead      audit::verify;

    GET  "/storage"               GcManage       storage::show;
    POST "/storage/collect"       GcManage       storage::collect;
    POST "/storage/hold"          GcManage       storage::hold;
    POST "/storage/release"       GcManage       storage::release;

    GET  "/check"                 CheckManage    check::show;
    POST "/check/start"           CheckManage    check::start;
    POST "/check/stop"            CheckManage    check::stop;

    GET  "/system"                CheckManage    system::show;
}
