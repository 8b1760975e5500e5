use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::FakeS3;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often one is started that ends at once: a port that was free has been taken meanwhile.
const ATTEMPTS: usize = 5;

/// Ends the server together with its own input, and itself with the server. What runs behind the script has no input but that
/// which it is given.
const SCRIPT: &str = r#"exec 3<&0; "$@" 3<&- & server=$!; { read -r _ <&3; kill -9 "$server"; } & wait "$server""#;

/// A real S3 server, SeaweedFS, which `scripts/install-test-tools` installs. Ends with the process. Buckets are made by the first
/// object in them.
#[derive(Debug)]
pub struct Weed {
    address: SocketAddr,
    /// Nothing once it shall end.
    input: Option<ChildStdin>,
    child: Child,
    _place: tempfile::TempDir,
}

impl Weed {
    /// The key that it lets in,
    pub const KEY: &str = FakeS3::KEY;
    /// and its secret.
    pub const SECRET: &str = FakeS3::SECRET;

    /// The one that the tests of a process share.
    pub fn shared() -> &'static Self {
        static SERVER: OnceLock<Weed> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    /// Starts one and waits until it answers.
    pub fn start() -> Self {
        let begun = (0..ATTEMPTS).find_map(|_| Self::try_start());
        begun.expect("weed ends at once: has scripts/install-test-tools been run?")
    }

    fn try_start() -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let identities = serde_json::json!({ "identities": [{
            "name": "test",
            "credentials": [{ "accessKey": Self::KEY, "secretKey": Self::SECRET }],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }] });
        let access = place.path().join("s3.json");
        std::fs::write(&access, identities.to_string()).unwrap();
        let ports: Vec<u16> = free_ports(5);
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh", "weed", "-logtostderr=true", "server"]);
        command.arg(format!("-dir={}", place.path().display())).args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
        command.args(["-volume.max=200", "-master.volumeSizeLimitMB=256", "-filer", "-s3"]);
        // Nothing at fixed ports, where another test's server may be, and nobody is told of it.
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]);
        let names = ["-master.port", "-volume.port", "-filer.port", "-s3.port", "-s3.port.grpc"];
        command.args(names.iter().zip(&ports).map(|(name, port)| format!("{name}={port}")));
        command.arg(format!("-s3.config={}", access.display()));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], ports[3]));
        let mut weed = Self { address, input: child.stdin.take(), child, _place: place };
        weed.comes_to_answer().then_some(weed)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As an address.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether it answers at last; otherwise it has ended.
    fn comes_to_answer(&mut self) -> bool {
        let begun = Instant::now();
        while !self.answers().unwrap_or(false) {
            assert!(begun.elapsed() < PATIENCE, "weed does not answer");
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        true
    }

    fn answers(&self) -> std::io::Result<bool> {
        let mut connection = TcpStream::connect(self.address)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.write_all(b"GET /status HTTP/1.1\r\nHost: weed\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

/// Ports that nobody has, and that have nobody 10,000 above them, where each service listens as well.
fn free_ports(count: usize) -> Vec<u16> {
    let mut held = Vec::new();
    // Other processes that look for some at the same time begin elsewhere.
    let first = 21_000 + u16::try_from(std::process::id() % 100).unwrap_or(0) * 100;
    for port in (first..32_000).chain(21_000..first) {
        let both = (TcpListener::bind(("127.0.0.1", port)), TcpListener::bind(("127.0.0.1", port + 10_000)));
        if let (Ok(one), Ok(other)) = both {
            held.push((port, one, other));
        }
        if held.len() == count {
            break;
        }
    }
    assert_eq!(held.len(), count, "there are no free ports");
    held.into_iter().map(|(port, ..)| port).collect()
}
