//! TLS: the certificate, its renewal, the protocols offered, and what a client without TLS is told.

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use crate::harness::{Authority, Client, Connection, Fixture, PATIENCE, Wharf, connector};

async fn handshake(server: &Wharf, authority: &Authority, protocols: &[&str]) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let name = ServerName::IpAddress(server.address().ip().into());
    connector(authority, protocols).connect(name, stream).await.unwrap()
}

async fn certificate_shown(server: &Wharf, authority: &Authority) -> CertificateDer<'static> {
    let stream = handshake(server, authority, &["http/1.1"]).await;
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn a_push_and_a_pull_over_tls() {
    let authority = Authority::new();
    let files = tempfile::tempdir().unwrap();
    authority.issue().write(files.path());
    let server = Wharf::builder().tls(files.path()).start();
    let mut client = Client::tls(server.address(), connector(&authority, &["http/1.1"]));
    let digest = client.put_blob("t/a", Fixture::K.bytes()).await;
    let pulled = client.get(&format!("/v2/t/a/blobs/{digest}")).await.expect(200);
    assert_eq!(pulled.body, Fixture::K.bytes());
}

#[tokio::test]
async fn p024_http_2_is_chosen_where_the_client_offers_it() {
    let authority = Authority::new();
    let files = tempfile::tempdir().unwrap();
    authority.issue().write(files.path());
    let server = Wharf::builder().tls(files.path()).start();
    for (offered, chosen) in
        [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&["h2"], Some("h2")), (&[], None)]
    {
        let stream = handshake(&server, &authority, offered).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen.map(str::as_bytes), "{offered:?}");
    }

    let stream = handshake(&server, &authority, &["h2"]).await;
    let (mut h2, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = http::Request::get(format!("https://{}/v2/", server.address())).body(()).unwrap();
    let (reply, _) = h2.send_request(request, true).unwrap();
    let reply = tokio::time::timeout(PATIENCE, reply).await.unwrap().unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.headers()["docker-distribution-api-version"], "registry/2.0");
    let mut body = reply.into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), Bytes::from_static(b"{}"));
    driver.abort();
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let authority = Authority::new();
    let files = tempfile::tempdir().unwrap();
    let (old, new) = (authority.issue(), authority.issue());
    old.write(files.path());
    let server = Wharf::builder().tls(files.path()).start();
    assert_eq!(certificate_shown(&server, &authority).await, old.certificate_der);
    let mut kept = Client::tls(server.address(), connector(&authority, &["http/1.1"]));
    kept.get("/v2/").await.expect(200);

    new.write(files.path());
    server.wait_for_log("has changed and is in use");
    assert_eq!(certificate_shown(&server, &authority).await, new.certificate_der);
    kept.get("/v2/").await.expect(200);
}

#[tokio::test]
async fn a_broken_renewal_keeps_the_old_certificate() {
    let authority = Authority::new();
    let files = tempfile::tempdir().unwrap();
    let (old, new) = (authority.issue(), authority.issue());
    old.write(files.path());
    let server = Wharf::builder().tls(files.path()).start();

    std::fs::write(files.path().join("certificate.pem"), "no certificate").unwrap();
    server.wait_for_log("has changed and cannot be used");
    assert_eq!(certificate_shown(&server, &authority).await, old.certificate_der);
    new.write(files.path());
    server.wait_for_log("has changed and is in use");
    assert_eq!(certificate_shown(&server, &authority).await, new.certificate_der);
}

#[tokio::test]
async fn b012_plain_http_on_the_tls_port_is_told_so() {
    let authority = Authority::new();
    let files = tempfile::tempdir().unwrap();
    authority.issue().write(files.path());
    let server = Wharf::builder().tls(files.path()).start();
    let mut connection = Connection::open(server.address()).await.unwrap();
    connection.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let reply = connection.reply(false).await.unwrap().expect(400);
    assert!(String::from_utf8_lossy(&reply.body).to_lowercase().contains("https"), "{reply}");
}

#[tokio::test]
async fn b012_a_client_that_says_nothing_is_not_waited_for() {
    let authority = Authority::new();
    let files = tempfile::tempdir().unwrap();
    authority.issue().write(files.path());
    let server = Wharf::builder().tls(files.path()).set("server.tls_handshake_timeout", "1s").start();
    let mut connection = Connection::open(server.address()).await.unwrap();
    assert!(connection.until_closed().await.unwrap().is_empty());
}
