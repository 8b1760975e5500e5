//! `wharf bench` measures a registry that is right, and refuses one that is not.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{ADMIN_PASSWORD, Wharf, binary};

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(["bench", "--rounds=2", "--time=20ms", "--warm-up=1ms", "--large=256KiB", "--huge=1MiB", "--tags=40"]);
    command.args(arguments);
    command
}

/// Every kind of work, with a login, beside a directory of files that nobody has to be asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_work_is_measured_and_what_comes_out_is_json_and_a_picture() {
    let server = Wharf::with_accounts();
    let scratch = TempDir::new().unwrap();
    let picture = scratch.path().join("bench.svg");
    let url = format!("wharf=http://{}", server.address());
    let pid = format!("wharf={}", server.pid());
    let run = bench(&[&url, "--pid", &pid, "--user=admin", "--limit", "--json", "--svg"])
        .arg(&picture)
        .env("WHARF_BENCH_PASSWORD", ADMIN_PASSWORD)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    let works = report["works"].as_array().unwrap();
    assert_eq!(works.len(), 17);
    for work in works {
        let wharf = &work["outcomes"][0];
        assert_eq!(wharf["target"], "wharf");
        assert!(wharf["operations"].as_u64() > Some(0) && wharf["rate"]["median"].as_f64() > Some(0.0), "{work}");
        assert!(wharf["cpu"]["median"].as_f64() > Some(0.0), "{work}");
    }
    assert!(report["memory"][0]["peak_bytes"].as_u64() > Some(1 << 20));
    let svg = std::fs::read_to_string(&picture).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("pull blobs of 4 KiB") && svg.contains("client"), "{svg}");
}

#[test]
fn a_wrong_answer_is_a_failure_and_no_fast_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("liar=http://{}", listener.local_addr().unwrap());
    // A web server whose files are all of the right length and nothing else.
    let files = TempDir::new().unwrap();
    let served = format!("{url},{}", files.path().display());
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            std::thread::spawn(move || {
                let mut head = [0; 4096];
                while socket.read(&mut head).is_ok_and(|read| read > 0) {
                    let body = vec![b'x'; 4096];
                    let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n");
                    let _ = socket.write_all(&body);
                }
            });
        }
    });
    let server = Wharf::start();
    let honest = format!("http://{}", server.address());
    let run = bench(&[&honest, "--files", &served, "--only=pull-small"]).output().unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(9), "{said}");
    assert!(said.contains("bytes that hash to"), "{said}");
}

#[test]
fn what_cannot_be_measured_is_said_with_a_remedy() {
    for (arguments, code, says) in [
        (vec!["http://127.0.0.1:1", "--only=speed"], 2, "wharf bench --list"),
        (vec!["ftp://127.0.0.1"], 2, "http://"),
        (vec!["http://127.0.0.1:1", "--user=alice"], 2, "WHARF_BENCH_PASSWORD"),
        (vec!["http://127.0.0.1:1", "--pid=other=1"], 2, "no server is called"),
        (vec!["http://127.0.0.1:1"], 10, "cannot be reached"),
    ] {
        let run = bench(&arguments).env_remove("WHARF_BENCH_PASSWORD").output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}
