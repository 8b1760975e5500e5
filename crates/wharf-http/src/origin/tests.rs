use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Asked, ExternalUrl, Origins};

const PROXY: &str = "10.0.0.1";
const STRANGER: &str = "192.0.2.7";

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header value"));
    }
    headers
}

fn behind_proxies(external: Option<&str>) -> Origins {
    let external = external.map(|url| ExternalUrl::parse(url).expect("a valid URL"));
    Origins::new(external, true, vec!["10.0.0.0/8".parse().expect("a network")])
}

#[track_caller]
fn check_base(origins: &Origins, peer: &str, lines: &[(&'static str, &str)], expected: &str) {
    let peer: IpAddr = peer.parse().expect("an address");
    let headers = headers(lines);
    assert_eq!(origins.base(Asked { peer, tls: false, headers: &headers, authority: None }), expected);
}

#[track_caller]
fn check_client(peer: &str, lines: &[(&'static str, &str)], expected: &str) {
    let peer: IpAddr = peer.parse().expect("an address");
    assert_eq!(behind_proxies(None).client(peer, &headers(lines)).to_string(), expected);
}

#[test]
fn p025_references_are_paths_unless_absolute_ones_are_configured() {
    let paths = Origins::new(None, false, Vec::new());
    check_base(&paths, STRANGER, &[("host", "r.example")], "");
    let prefixed = ExternalUrl::parse("https://r.example/registry/").expect("a valid URL");
    check_base(&Origins::new(Some(prefixed), false, Vec::new()), STRANGER, &[], "/registry");
}

#[test]
fn p027_the_origin_is_configured_or_forwarded_by_a_trusted_proxy_or_our_own() {
    let forwarded = ("forwarded", "for=192.0.2.1;proto=https;host=\"f.example\", for=10.0.0.2;host=wrong");
    let x_proto = ("x-forwarded-proto", "https, http");
    let x_host = ("x-forwarded-host", "x.example:8443, inner");
    let host = ("host", "h.example:5000");
    let all = [forwarded, x_proto, x_host, host];

    check_base(&behind_proxies(Some("https://c.example/p")), PROXY, &all, "https://c.example/p");
    check_base(&behind_proxies(None), PROXY, &all, "https://f.example");
    check_base(&behind_proxies(None), PROXY, &[x_proto, x_host, host], "https://x.example:8443");
    check_base(&behind_proxies(None), PROXY, &[host], "http://h.example:5000");
    check_base(&behind_proxies(None), STRANGER, &all, "http://h.example:5000");
}

#[test]
fn s026_a_host_that_is_none_never_becomes_part_of_a_url() {
    for hostile in ["evil.example/path", "user@evil.example", "a b", "evil.example?x", "evil.example#x", ""] {
        check_base(&behind_proxies(None), STRANGER, &[("host", hostile)], "");
        let lines = [("x-forwarded-host", hostile), ("host", "h.example")];
        check_base(&behind_proxies(None), PROXY, &lines, "http://h.example");
    }
}

#[test]
fn s079_the_client_is_the_peer_unless_the_peer_is_a_trusted_proxy() {
    let spoofed = ("x-forwarded-for", "203.0.113.9");
    check_client(STRANGER, &[spoofed], STRANGER);
    check_client(PROXY, &[spoofed], "203.0.113.9");
    check_client(PROXY, &[], PROXY);
}

#[test]
fn s079_it_is_the_right_most_address_that_is_no_trusted_proxy() {
    check_client(PROXY, &[("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.1.1.1")], "203.0.113.9");
    check_client(PROXY, &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.9")], "203.0.113.9");
    check_client(PROXY, &[("forwarded", "for=6.6.6.6, for=\"[2001:db8::1]:443\"")], "2001:db8::1");
    check_client(PROXY, &[("x-forwarded-for", "203.0.113.9:1234")], "203.0.113.9");
    check_client(PROXY, &[("x-forwarded-for", "6.6.6.6, unknown")], PROXY);
    check_client("::ffff:10.0.0.1", &[("x-forwarded-for", "::ffff:203.0.113.9")], "203.0.113.9");
}

#[test]
fn p028_a_configured_prefix_is_taken_off_once_and_only_as_a_whole() {
    let origins = behind_proxies(Some("https://r.example/a/b"));
    for (path, expected) in [
        ("/a/b/v2/", "/v2/"),
        ("/v2/", "/v2/"),
        ("/a/bc/v2/", "/a/bc/v2/"),
        ("/a/b", "/a/b"),
        ("/a/b/a/b/v2/", "/a/b/v2/"),
    ] {
        assert_eq!(origins.strip(path), expected, "{path}");
    }
}

#[test]
fn an_external_url_is_an_origin_with_a_plain_path() {
    for good in ["https://r.example", "http://localhost:5000", "https://[::1]:443/x/", "https://r.example/a-b/c_d"] {
        assert!(ExternalUrl::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "r.example",
        "ftp://r.example",
        "https://",
        "https://a b",
        "https://r.example//x",
        "https://r.example/../x",
        "https://r.example/%2e",
        "https://u@r.example",
    ] {
        assert!(ExternalUrl::parse(bad).is_err(), "{bad}");
    }
}
