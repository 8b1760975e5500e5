//! The example of replicas behind nginx, with a real nginx.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{file, read, wharf};
use crate::harness::{Authority, Client, Image, Tool, Wharf, connector, sha256, tools};

struct Nginx {
    child: Child,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn pushes_and_pulls_pass_through_the_example_also_past_a_replica_that_is_gone() {
    let place = TempDir::new().unwrap();
    let authority = Authority::new();
    authority.issue().write(place.path());
    let server = Wharf::builder().set("server.trusted_proxies", "127.0.0.1/32").start();
    let (port, plain, gone) = (free_port(), free_port(), free_port());
    let example = read("deploy/nginx/wharf.conf");
    let replaced = [
        ("wharf-1.internal:5000", server.address().to_string()),
        ("wharf-2.internal:5000", format!("127.0.0.1:{gone}")),
        ("/etc/nginx/tls/fullchain.pem", place.path().join("certificate.pem").display().to_string()),
        ("/etc/nginx/tls/privkey.pem", place.path().join("key.pem").display().to_string()),
        ("listen 443", format!("listen 127.0.0.1:{port}")),
        ("listen 80", format!("listen 127.0.0.1:{plain}")),
    ];
    let example = replaced.iter().fold(example, |text, (from, to)| {
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
    let mut nginx = Nginx { child };
    wait_until_it_listens(&mut nginx);
    let address = format!("127.0.0.1:{port}").parse().unwrap();

    Image::small(1, "amd64", 3_000_000).write_layout(&place.path().join("image"));
    let copy = |from: String, to: String| {
        let words = format!("copy --insecure-policy --src-tls-verify=false --dest-tls-verify=false {from} {to}");
        Tool::new("skopeo").args(&words).inside(place.path())
    };
    copy("oci:image".into(), format!("docker://{address}/team/app:1")).ok().await;
    copy(format!("docker://{address}/team/app:1"), "oci:pulled".into()).ok().await;
    assert_eq!(
        crate::clients::layout_digest(&place.path().join("pulled")),
        Image::small(1, "amd64", 3_000_000).digest()
    );

    // Larger than any buffer; the addresses in answers are those that clients use.
    let mut client = Client::tls(address, connector(&authority, &["http/1.1"]));
    let digest = client.put_blob("team/large", crate::harness::content(7, 9 << 20)).await;
    let pulled = client.get(&format!("/v2/team/large/blobs/{digest}")).await.expect(200);
    assert_eq!(sha256(&pulled.body), digest);
    client.get("/metrics").await.expect(404);
    let redirected = Client::new(format!("127.0.0.1:{plain}").parse().unwrap()).get("/v2/").await.expect(308);
    assert!(redirected.header("location").unwrap().starts_with("https://"), "{redirected}");
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
