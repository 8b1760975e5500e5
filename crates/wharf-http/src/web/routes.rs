//! The table of contents of the pages.

use futures_util::future::BoxFuture;
use http::Method;
use wharf_policy::{AccountSelf, Action, Catalog, Delete, Permission, Pull, Push, VersionCheck};

use super::{Answer, Visit, account, browse, changes, compare, home, image, repository, sign_in};

/// One line: what is asked for, which permission it needs, who answers.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) action: Action,
    pub(super) run: fn(Visit) -> BoxFuture<'static, Answer>,
}

macro_rules! routes {
    ($($method:ident $path:literal $permission:ident $handler:path;)+) => {
        /// Every page there is.
        pub(crate) static ROUTES: &[Route] = &[$(
            Route {
                method: Method::$method,
                path: $path,
                action: <$permission as Permission>::ACTION,
                run: |visit| Box::pin(async move {
                    let ok = visit.authorize::<$permission>()?;
                    $handler(ok, visit).await
                }),
            }
        ),+];
    };
}

routes! {
    GET  "/"                      VersionCheck   home::show;
    GET  "/login"                 VersionCheck   sign_in::show;
    POST "/login"                 VersionCheck   sign_in::submit;
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
}
