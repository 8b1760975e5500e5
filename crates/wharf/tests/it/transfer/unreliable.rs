//! Sources that break off, send elsewhere, or lie: scripted, answer by answer.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{copied, manifest, open_terminal, partly_copied};
use crate::harness::{Image, OCI_MANIFEST, sha256};

/// What a request is answered with: all of these bytes, and then the connection ends.
type Answer = Vec<u8>;

/// A server that answers by what it is asked, and remembers all it was asked.
struct Scripted {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// `script` gets the request line, its `Authorization`, and how often it was asked the same before.
    fn start(script: impl Fn(&str, &str, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let (script, remembered) = (Arc::new(script), Arc::clone(&asked));
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (script, asked) = (Arc::clone(&script), Arc::clone(&remembered));
                std::thread::spawn(move || serve(&connection, &*script, &asked));
            }
        });
        Self { address, asked }
    }

    /// An image is there, and `blob` answers for its layer.
    fn with_image(image: &Image, blob: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        let (image, layer) = (image.clone(), sha256(&image.layers[0]));
        Self::start(move |line, authorization, before| match line.split(' ').nth(1).unwrap() {
            "/v2/team/app/manifests/1.0" => ok(OCI_MANIFEST, &image.manifest),
            path if path.contains(&image.digest()) && path.contains("manifests") => ok(OCI_MANIFEST, &image.manifest),
            path if path.contains(&sha256(&image.config)) => ok("application/octet-stream", &image.config),
            path if path.contains(&layer) => blob(authorization, before),
            _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
        })
    }

    fn count(&self, of: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|line| line.contains(of)).count()
    }
}

fn serve(connection: &TcpStream, script: &dyn Fn(&str, &str, usize) -> Answer, asked: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    let Some(line) = lines.next() else { return };
    let heads: Vec<String> = lines.take_while(|head| !head.is_empty()).collect();
    let authorization =
        heads.iter().find_map(|head| head.to_ascii_lowercase().strip_prefix("authorization: ").map(str::to_owned));
    let before = {
        let mut asked = asked.lock().unwrap();
        asked.push(line.clone());
        asked.iter().filter(|known| **known == line).count() - 1
    };
    let answer = script(&line, &authorization.unwrap_or_default(), before);
    let is_head = line.starts_with("HEAD ");
    let head_end = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let mut connection = connection;
    let _ = connection.write_all(if is_head { &answer[..head_end] } else { &answer });
    let _ = connection.shutdown(std::net::Shutdown::Write);
    // The client may want to say more; what it says is not waited for long.
    let _ = connection.take(1).read(&mut [0]);
}

fn ok(media_type: &str, body: &[u8]) -> Answer {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nDocker-Content-Digest: {}\r\n\
         Connection: close\r\n\r\n",
        body.len(),
        sha256(body)
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn what_breaks_off_and_what_is_busy_is_tried_again() {
    let image = Image::small(1, "amd64", 100_000);
    let layer = image.layers[0].clone();
    let source = Scripted::with_image(&image, move |_, before| match before {
        0 => ok("application/octet-stream", &layer)[..50_000].to_vec(),
        1 => b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            .to_vec(),
        _ => ok("application/octet-stream", &layer),
    });
    let terminal = open_terminal();
    let report = copied(&terminal, &format!("import {}/team/app:1.0 --jobs 1", source.address));
    assert_eq!(report["blobs_copied"], 2, "{report}");
    assert_eq!(source.count(&sha256(&image.layers[0])), 3);
    assert_eq!(manifest(&mut terminal.server.client(), "team/app", "1.0").await, image.manifest);
}

/// Blobs often lie in a bucket; what is sent to the registry is none of its business.
#[tokio::test]
async fn a_redirect_is_followed_and_gets_no_credentials() {
    let image = Image::small(1, "amd64", 10_000);
    let layer = image.layers[0].clone();
    let bucket = Scripted::start(move |_, authorization, _| {
        assert_eq!(authorization, "", "credentials for another server");
        ok("application/octet-stream", &layer)
    });
    let there = format!("http://localhost:{}/signed?by=them", bucket.address.port());
    let source = Scripted::with_image(&image, move |authorization, _| {
        match authorization {
        "" => b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
        _ => format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {there}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes(),
    }
    });
    let terminal = open_terminal();
    let import = format!("import {}/team/app:1.0 --source-username mover --server {}", source.address, terminal.url());
    let ran = terminal.run_with(&import, "", &[("WHARF_SOURCE_PASSWORD", "canary-source")]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert_eq!(bucket.count("/signed?by=them"), 1);
}

#[tokio::test]
async fn a_source_that_lies_is_not_believed() {
    let image = Image::small(1, "amd64", 10_000);
    let digest = image.digest();
    let terminal = open_terminal();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\nConnection: close\r\n";
    let named = format!("{head}Docker-Content-Digest: {digest}\r\n\r\n");
    let endless = [named.as_bytes(), &vec![b' '; 5 << 20]].concat();
    let other = [named.as_bytes(), b"{}"].concat();
    let schema_1 = format!("{head}\r\n{}", json!({ "schemaVersion": 1, "name": "team/app" })).into_bytes();
    let token = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://tokens.example/t\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for (answer, says) in [
        (endless, "more than 4194304 bytes"),
        (other, "the manifest that is there is sha256:"),
        (schema_1, "schema"),
        (token.to_vec(), "tokens come from http://tokens.example/t"),
    ] {
        let source = Scripted::start(move |_, _, _| answer.clone());
        let (report, _) = partly_copied(&terminal, &format!("import {}/team/app:1.0", source.address));
        let why = report["problems"][0]["why"].as_str().unwrap().to_owned();
        assert!(why.contains(says), "{why}");
    }
    // Lists that lead to another server, and lists that are none.
    for (answer, says) in [
        (
            "Link: <http://elsewhere.example/v2/_catalog?n=1>; rel=\"next\"\r\n\r\n{\"repositories\":[\"a\"]}",
            "is another server",
        ),
        ("\r\n[", "EOF"),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{answer}").into_bytes();
        let source = Scripted::start(move |_, _, _| answer.clone());
        terminal.fails(&format!("import http://{} --server {}", source.address, terminal.url()), 8, says);
    }
    super::assert_untagged(terminal.server.address(), "team/app").await;
}
