use std::net::IpAddr;
use std::time::Duration;

use url::Url;

use crate::{Client, Error, Options, Reach, TlsMin, is_public};

fn options(reach: Reach) -> Options {
    Options {
        tls_min: TlsMin::V1_2,
        ca_certificates: None,
        reach,
        connect_timeout: Duration::from_secs(2),
        timeout: Duration::from_secs(5),
        answer_max_bytes: 1_024,
        in_flight_max: 2,
    }
}

#[test]
fn b106_b108_what_is_not_the_public_internet() {
    let public = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"];
    let private = [
        "0.0.0.0",
        "10.0.0.1",
        "127.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "fc00::1",
        "fd00::1",
        "fe80::1",
        "ff02::1",
    ];
    for address in public {
        assert!(is_public(address.parse::<IpAddr>().expect("an address")), "{address}");
    }
    for address in private {
        assert!(!is_public(address.parse::<IpAddr>().expect("an address")), "{address}");
    }
}

#[tokio::test]
async fn b105_b107_b110_what_is_never_connected_to() {
    let client = Client::new(options(Reach::Public)).expect("a client");
    for url in [
        "http://example.org/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://0.0.0.0/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://017700000001/",
        "https://127.1/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://user:pass@example.org/",
        "ftp://example.org/",
    ] {
        let error = client.get(&Url::parse(url).expect("a URL")).await.expect_err(url);
        assert!(matches!(error, Error::Forbidden { .. }), "{url}: {error}");
    }
}

#[tokio::test]
async fn b109_a_name_with_a_private_address_is_not_connected_to() {
    let client = Client::new(options(Reach::Public)).expect("a client");
    let error = client.get(&Url::parse("https://localhost:1/").expect("a URL")).await.expect_err("refused");
    assert!(error.to_string().contains("not public"), "{error}");
}

#[test]
fn certificates_that_are_none_are_said_to_be_none() {
    let with = |pem: &str| Client::new(Options { ca_certificates: Some(pem.into()), ..options(Reach::Anywhere) });
    assert!(with("").is_err());
    assert!(with("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
}
