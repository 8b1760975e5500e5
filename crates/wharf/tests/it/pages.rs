//! The pages as HTTP: how sessions travel, where they may begin, and what stands in front of every path. What people do with
//! them is in `browser`.

use crate::harness::{
    ADMIN_PASSWORD, Admin, Authority, Builder, Client, Image, Reply, Request, Wharf, basic, connector,
};

const FORM: &str = "application/x-www-form-urlencoded";

fn sign_in(path: &str) -> Request {
    let request = Request::new("POST", path).header("Sec-Fetch-Site", "same-origin").header("Content-Type", FORM);
    request.body(format!("username=admin&password={ADMIN_PASSWORD}"))
}

fn html(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

/// S-038, S-063: over TLS the cookie's name says that nobody but this host may have set it.
#[tokio::test]
async fn s038_over_tls_the_cookie_is_this_hosts_alone() {
    let authority = Authority::new();
    let files = tempfile::tempdir().unwrap();
    authority.issue().write(files.path());
    let server = Wharf::builder().accounts().tls(files.path()).start();
    let mut client = Client::tls(server.address(), connector(&authority, &["http/1.1"]));
    let reply = client.send(sign_in("/login")).await.expect(303);
    let cookie = reply.header("set-cookie").unwrap();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert!(pair.starts_with("__Host-wharf="), "{cookie}");
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Secure");
    let page = client.send(Request::new("GET", "/account").header("Cookie", pair)).await.expect(200);
    assert_eq!(page.header("strict-transport-security"), Some("max-age=31536000"));
    // Somebody on another port or without TLS could have set the plain name.
    let plain = pair.replace("__Host-wharf", "wharf-session");
    client.send(Request::new("GET", "/account").header("Cookie", plain)).await.expect(303);
}

/// S-082: a password that everybody on the way could read is not asked for.
#[tokio::test]
async fn s082_nobody_signs_in_over_a_plain_connection_from_elsewhere() {
    let server = Wharf::builder().accounts().set("server.trusted_proxies", "[\"127.0.0.1/32\"]").start();
    let mut client = server.client();
    let from = |request: Request| request.header("X-Forwarded-For", "192.0.2.9");
    let form = client.send(from(Request::new("GET", "/login"))).await.expect(200);
    assert!(html(&form).contains("server.tls_certificate"), "{form}");
    assert!(!html(&form).contains("type=\"password\""), "{form}");
    let refused = client.send(from(sign_in("/login"))).await.expect(403);
    assert_eq!(refused.header("set-cookie"), None);
    let behind_tls = |request: Request| from(request).header("X-Forwarded-Proto", "https");
    let reply = client.send(behind_tls(sign_in("/login"))).await.expect(303);
    let cookie = reply.header("set-cookie").unwrap().to_owned();
    assert!(cookie.starts_with("__Host-wharf=") && cookie.ends_with("; Secure"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    client.send(behind_tls(Request::new("GET", "/account").header("Cookie", pair))).await.expect(200);
    client.send(from(Request::new("GET", "/account").header("Cookie", pair))).await.expect(303);
}

/// P-028: behind a proxy that serves the registry below a path.
#[tokio::test]
async fn a_prefix_stands_in_front_of_every_path() {
    let server = Wharf::builder().accounts().set("server.external_url", "http://registry.example.org/below").start();
    let mut client = server.client();
    let reply = client.get("/below/").await.expect(303);
    assert_eq!(reply.header("location"), Some("/below/login?next=/"));
    let page = html(&client.get("/below/login").await.expect(200));
    for path in ["href=\"/below/assets/wharf.", "src=\"/below/assets/wharf.", "action=\"/below/login\""] {
        assert!(page.contains(path), "{path} in {page}");
    }
    assert!(!page.contains("=\"/assets/"), "{page}");
    let signed_in = client.send(sign_in("/below/login")).await.expect(303);
    assert_eq!(signed_in.header("location"), Some("/below/"));
}

/// With `--open` there is nobody to sign in, and everything to see.
#[tokio::test]
async fn an_open_registry_shows_everything_to_everybody() {
    let server = Wharf::start();
    let mut client = server.client();
    Image::small(1, "amd64", 100).push(&mut client, "a/b", "v1").await;
    for path in [
        "/",
        "/repositories",
        "/repository?repository=a/b",
        "/image?repository=a/b&reference=v1",
        "/policy",
        "/storage",
    ] {
        let page = client.get(path).await.expect(200);
        assert!(!html(&page).contains("Sign in"), "{path}: {page}");
    }
    let login = client.send(Request::new("GET", "/login").header("Accept", "text/html")).await.expect(409);
    assert!(html(&login).contains("--open"), "{login}");
}

/// A repository that anybody may pull can be looked at by anybody, and nothing else.
#[tokio::test]
async fn what_is_public_is_shown_to_who_has_not_signed_in() {
    let server = Wharf::with_accounts();
    let mut admin = Admin::of(&server);
    let public = serde_json::json!({
        "effect": "allow", "account_types": ["anonymous"], "actions": ["registry:pull"], "repositories": ["pub/*"],
    });
    admin.rule(public).await;
    let mut root = server.client().authorized(basic("admin", ADMIN_PASSWORD));
    for repository in ["pub/app", "own/app"] {
        Image::small(1, "amd64", 100).push(&mut root, repository, "v1").await;
    }
    let mut client = server.client();
    let page = client.get("/image?repository=pub/app&reference=v1").await.expect(200);
    assert!(html(&page).contains("docker pull"), "{page}");
    assert!(!html(&page).contains("Delete…"), "{page}");
    let reply = client.get("/image?repository=own/app&reference=v1").await.expect(303);
    assert_eq!(reply.header("location"), Some("/login?next=/image%3Frepository%3Down/app%26reference%3Dv1"));
}

/// What stands at no path is `/v2/`'s to answer for programs, and a page for people.
#[tokio::test]
async fn a_browser_gets_a_page_where_there_is_none() {
    let server = Wharf::with_accounts();
    let mut client = server.client();
    let program = client.get("/nothing").await.expect(404);
    assert_eq!(program.header("content-type"), Some("application/json"));
    let person = client.send(Request::new("GET", "/nothing").header("Accept", "text/html,*/*")).await.expect(404);
    assert_eq!(person.header("content-type"), Some("text/html; charset=utf-8"));
    let put = client.send(Request::new("PUT", "/repositories").body("")).await.expect(405);
    assert_eq!(put.header("allow"), Some("GET"));
    let head = client.head("/login").await.expect(200);
    assert!(head.body.is_empty());
    for not_a_browsers in ["/v2/nothing", "/api/v1/nothing"] {
        let reply = client.send(Request::new("GET", not_a_browsers).header("Accept", "text/html")).await;
        assert!(!reply.header("content-type").unwrap_or_default().contains("html"), "{reply}");
    }
}

/// B-104 and the limits of forms: what is no form of ours is refused, and nothing is changed.
#[tokio::test]
async fn what_is_no_form_is_refused() {
    let server = Wharf::with_accounts();
    let mut client = server.client();
    let post = || Request::new("POST", "/login").header("Sec-Fetch-Site", "same-origin");
    client.send(post().header("Content-Type", "application/json").body("{}")).await.expect(415);
    client.send(post().header("Content-Type", FORM).body("x".repeat(70_000))).await.expect(413);
    client.send(post().header("Content-Type", FORM).body("a=b&".repeat(300))).await.expect(400);
    let site = |site: &str| Request::new("POST", "/login").header("Sec-Fetch-Site", site).header("Content-Type", FORM);
    for elsewhere in ["cross-site", "same-site", "none"] {
        client.send(site(elsewhere).body("")).await.expect(403);
    }
}

/// Three sessions are three secrets, and the database has none of them.
#[tokio::test]
async fn s038_no_secret_of_a_session_is_in_the_database() {
    let mut server = with_few_sessions(Wharf::builder()).start();
    let mut client = server.client();
    let mut pairs = Vec::new();
    for _ in 0..3 {
        let reply = client.send(sign_in("/login")).await.expect(303);
        pairs.push(reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned());
    }
    client.send(Request::new("GET", "/account").header("Cookie", &pairs[0])).await.expect(303);
    client.send(Request::new("GET", "/account").header("Cookie", &pairs[2])).await.expect(200);
    // Sessions outlive the process.
    server.restart();
    let mut client = server.client();
    client.send(Request::new("GET", "/account").header("Cookie", &pairs[2])).await.expect(200);
    server.stop();
    for file in std::fs::read_dir(server.data()).unwrap().map(|entry| entry.unwrap().path()) {
        let Ok(bytes) = std::fs::read(&file) else { continue };
        for pair in &pairs {
            let secret = pair.split_once('=').unwrap().1.as_bytes();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", file.display());
        }
    }
}

fn with_few_sessions(builder: Builder) -> Builder {
    builder.accounts().set("auth.sessions_per_account", "2")
}
