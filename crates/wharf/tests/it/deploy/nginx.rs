//! The example of replicas behind nginx, with a real nginx.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

use super::{file, read, wharf};
use crate::harness::{
    Authority, Client, Cluster, Image, OCI_MANIFEST, PATIENCE, Request, Tool, Wharf, connector, content, sha256, tools,
};

struct Nginx {
    child: Child,
    /// Where it speaks TLS,
    address: SocketAddr,
    /// and where it does not.
    plain: SocketAddr,
    authority: Authority,
    place: TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Nginx {
    /// The example, with these replicas in place of its two; more get a line like theirs.
    async fn before(replicas: &[SocketAddr]) -> Self {
        let place = TempDir::new().unwrap();
        let authority = Authority::new();
        authority.issue().write(place.path());
        let (address, plain) = (free_port(), free_port());
        let second = "server wharf-2.internal:5000 max_fails=1 fail_timeout=2s;";
        let more: String =
            replicas[2..].iter().map(|more| second.replace("wharf-2.internal:5000", &more.to_string())).collect();
        let replaced = [
            (second, format!("{second}{more}")),
            ("wharf-1.internal:5000", replicas[0].to_string()),
            ("wharf-2.internal:5000", replicas[1].to_string()),
            ("/etc/nginx/tls/fullchain.pem", place.path().join("certificate.pem").display().to_string()),
            ("/etc/nginx/tls/privkey.pem", place.path().join("key.pem").display().to_string()),
            ("listen 443", format!("listen {address}")),
            ("listen 80", format!("listen {plain}")),
        ];
        let example = replaced.iter().fold(read("deploy/nginx/wharf.conf"), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {}/{kind};\n", place.path().display()))
            .collect();
        let whole = format!(
            "daemon off; master_process off; pid {0}/pid; error_log stderr notice;\n\
             events {{}}\nhttp {{\naccess_log off;\n{paths}{example}\n}}\n",
            place.path().display()
        );
        let main = place.path().join("nginx.conf");
        std::fs::write(&main, whole).unwrap();
        let said = Tool::new("nginx").args("-t -q -c").arg(&main).run().await;
        assert!(said.success && said.stderr.is_empty(), "{said:?}");
        let mut command = Command::new(tools::find("nginx"));
        let child = command.arg("-c").arg(&main).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut nginx = Self { child, address, plain, authority, place };
        wait_until_it_listens(&mut nginx);
        nginx
    }

    fn client(&self) -> Client {
        Client::tls(self.address, connector(&self.authority, &["http/1.1"]))
    }

    /// skopeo from one place to another; `image` is a layout beside nginx's own files.
    fn copy(&self, from: &str, to: &str) -> Tool {
        let words = format!("copy --insecure-policy --src-tls-verify=false --dest-tls-verify=false {from} {to}");
        Tool::new("skopeo").args(&words).inside(self.place.path())
    }

    /// An image goes up and comes down again.
    async fn passes(&self, seed: u64) {
        let image = Image::small(seed, "amd64", 3_000_000);
        image.write_layout(&self.place.path().join(format!("image-{seed}")));
        let there = format!("docker://{}/team/app:{seed}", self.address);
        self.copy(&format!("oci:image-{seed}"), &there).ok().await;
        self.copy(&there, &format!("oci:pulled-{seed}")).ok().await;
        let pulled = crate::clients::layout_digest(&self.place.path().join(format!("pulled-{seed}")));
        assert_eq!(pulled, image.digest());
    }
}

#[tokio::test]
async fn pushes_and_pulls_pass_through_the_example_also_past_a_replica_that_is_gone() {
    let server = Wharf::builder().set("server.trusted_proxies", "127.0.0.1/32").start();
    let nginx = Nginx::before(&[server.address(), free_port()]).await;
    nginx.passes(1).await;

    // Larger than any buffer; the addresses in answers are those that clients use.
    let mut client = nginx.client();
    let digest = client.put_blob("team/large", content(7, 9 << 20)).await;
    let pulled = client.get(&format!("/v2/team/large/blobs/{digest}")).await.expect(200);
    assert_eq!(sha256(&pulled.body), digest);
    client.get("/metrics").await.expect(404);
    let redirected = Client::new(nginx.plain).get("/v2/").await.expect(308);
    assert!(redirected.header("location").unwrap().starts_with("https://"), "{redirected}");
}

/// Two and three real replicas. One is killed: clients notice nothing. What was pushed by way of one is pulled by way of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft15_the_other_replicas_answer_when_one_behind_nginx_is_killed() {
    for count in [2, 3] {
        let mut cluster =
            Cluster::with(count, |_, builder| builder.set("server.trusted_proxies", "127.0.0.1/32")).await;
        let addresses: Vec<_> = cluster.replicas.iter().map(Wharf::address).collect();
        let nginx = Nginx::before(&addresses).await;
        nginx.passes(1).await;
        let blob = Bytes::from(content(3, 300_000));
        let mut client = nginx.client();
        let location = client.begin_upload("a/b").await;
        client.append(&location, 0, blob.slice(..100_000)).await.expect(202);
        // The chunks came to different ones, as they do here by turns.
        cluster.replicas[0].kill9();
        client.append(&location, 100_000, blob.slice(100_000..200_000)).await.expect(202);
        let digest = sha256(&blob);
        client.finish_upload(&location, &digest, blob.slice(200_000..)).await.expect(201);
        nginx.passes(2).await;
        for _ in 0..2 * count {
            assert!(client.get(&format!("/v2/a/b/blobs/{digest}")).await.expect(200).body == blob);
        }
    }
}

/// A server that takes every request and ends the connection instead of an answer; which methods it was asked.
async fn dying() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let read = stream.read(&mut head).await.unwrap_or(0);
            let method = String::from_utf8_lossy(&head[..read]).split(' ').next().unwrap_or_default().to_owned();
            noted.lock().unwrap().push(method);
        }
    });
    (address, asked)
}

/// A replica may have done what it was asked before it died. What may be asked twice goes to the next one, and what may not is
/// answered 502, for the client to decide: it opens another session, and nothing was done twice behind its back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_asks_another_replica_only_what_may_be_asked_twice() {
    let server = Wharf::builder().set("server.trusted_proxies", "127.0.0.1/32").start();
    let (dying, asked) = dying().await;
    let nginx = Nginx::before(&[server.address(), dying]).await;
    let mut client = nginx.client();
    let image = Image::small(1, "amd64", 2_000);
    image.push(&mut server.client(), "a/b", "v1").await;
    let count = |method: &str| asked.lock().unwrap().iter().filter(|asked| *asked == method).count();
    // nginx leaves alone for two seconds who has failed.
    let begun = Instant::now();
    let patient = || assert!(begun.elapsed() < PATIENCE, "it is not asked: {:?}", asked.lock().unwrap());
    let mut opened = 0;
    while count("POST") < 2 {
        patient();
        let before = count("POST");
        let reply = client.send(Request::new("POST", "/v2/a/b/blobs/uploads/").body("")).await;
        match count("POST") - before {
            0 => opened += usize::from(reply.expect(202).status == 202),
            _ => _ = reply.expect(502),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        server.look("select cast(count(*) as text) from uploads where state = 'open'")[0][0],
        opened.to_string()
    );
    while count("PUT") < 1 {
        patient();
        let manifest = Request::new("PUT", "/v2/a/b/manifests/v1").header("Content-Type", OCI_MANIFEST);
        // Whether it had the body whole when the one replica broke off is a matter of a moment.
        let put = client.send(manifest.body(image.manifest.clone())).await;
        assert!([201, 502].contains(&put.status), "{put}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // By themselves: a request of another method would be the one that meets it, each time that nginx tries it again.
    while count("GET") < 1 {
        patient();
        assert!(client.get("/v2/a/b/manifests/v1").await.expect(200).body == image.manifest);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let history = server.look("select cast(count(*) as text) from tag_history");
    assert_eq!(history[0][0], "1", "the tag was moved once");
}

#[tokio::test]
async fn the_configuration_of_a_replica_is_valid() {
    wharf(&[]).args("config check --config").arg(file("deploy/nginx/replica.toml")).ok().await;
}

fn wait_until_it_listens(nginx: &mut Nginx) {
    use std::io::{BufRead as _, BufReader, Read as _};
    let mut said = BufReader::new(nginx.child.stderr.take().unwrap());
    let mut log = String::new();
    while !log.contains("start worker process") && !log.contains("getrlimit") {
        let before = log.len();
        assert!(said.read_line(&mut log).unwrap() > 0, "nginx ended: {log}");
        assert!(log.len() > before);
    }
    // Whoever does not read it stops it.
    std::thread::spawn(move || said.read_to_end(&mut Vec::new()));
}
