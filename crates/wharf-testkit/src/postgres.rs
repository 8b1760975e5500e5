use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::Authority;

const SCRIPT: &str = include_str!("postgres.sh");

/// A real PostgreSQL server of the system's packages, which ends with the process.
#[derive(Debug)]
pub struct PostgresServer {
    bin: PathBuf,
    socket: PathBuf,
    port: u16,
    script: Mutex<Script>,
}

#[derive(Debug)]
struct Script {
    /// Nothing once it shall end.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    child: Child,
}

/// A fresh database on a server.
#[derive(Clone, Debug)]
pub struct PostgresDatabase {
    /// By the server's socket.
    pub url: String,
    /// By TCP, without the parameters behind the `?`.
    pub tcp_url: String,
    name: String,
    psql: PathBuf,
    socket: PathBuf,
    port: u16,
}

impl PostgresServer {
    /// The one that the tests of a process share.
    pub fn shared() -> &'static Self {
        static SERVER: OnceLock<PostgresServer> = OnceLock::new();
        SERVER.get_or_init(|| Self::start(None))
    }

    /// A server for one test; with a certificate of `authority` for `localhost` it takes TLS connections.
    pub fn start(authority: Option<&Authority>) -> Self {
        let bin = programs();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = as_unprivileged("sh");
        command.args(["-c", SCRIPT, "postgres.sh"]).arg(&bin).arg(port.to_string());
        if let Some(authority) = authority {
            let (certificate, key) = authority.pem_for("localhost");
            command.arg(certificate).arg(key);
        }
        let mut child = command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut script =
            Script { orders: child.stdin.take(), answers: BufReader::new(child.stdout.take().unwrap()), child };
        let socket = script.answer();
        assert!(!socket.is_empty(), "PostgreSQL did not start; its words stand above");
        Self { bin, socket: socket.into(), port, script: Mutex::new(script) }
    }

    /// An empty database.
    pub fn database(&self) -> PostgresDatabase {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("wharf_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let database = |name: &str| PostgresDatabase {
            url: format!("postgres://wharf@/{name}?host={}&port={}", self.socket.display(), self.port),
            tcp_url: format!("postgres://wharf@localhost:{}/{name}", self.port),
            name: name.to_owned(),
            psql: self.bin.join("psql"),
            socket: self.socket.clone(),
            port: self.port,
        };
        database("postgres").sql(&format!("create database {name}"));
        database(&name)
    }

    /// How `psql` reaches it.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("PGHOST", self.socket.display().to_string()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", "wharf".to_owned()),
            ("PGDATABASE", "postgres".to_owned()),
        ]
    }

    /// From now on its log has every statement, with the name of the program that sent it in front.
    pub fn log_statements(&self) {
        let database = self.database();
        for setting in ["log_statement = 'all'", "log_line_prefix = '[%a] '"] {
            database.sql(&format!("alter system set {setting}"));
        }
        database.sql("select pg_reload_conf()");
    }

    /// Its log so far. What a program was answered is in it.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.socket.join("server.log")).unwrap()).into_owned()
    }

    /// The ids of its processes: one for each connection, and some that it has for itself.
    pub fn processes(&self) -> Vec<u32> {
        let file = fs::read_to_string(self.socket.join("data/postmaster.pid")).unwrap();
        let first: u32 = file.lines().next().unwrap().parse().unwrap();
        let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
        children.split_whitespace().map(|pid| pid.parse().unwrap()).chain([first]).collect()
    }

    /// Ends it as a crash would.
    pub fn crash(&self) {
        assert_eq!(self.script.lock().unwrap().order("stop"), "stopped");
    }

    /// Starts it again.
    pub fn start_again(&self) {
        assert_eq!(self.script.lock().unwrap().order("start"), "started");
    }
}

impl Script {
    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let script = self.script.get_mut().unwrap();
        // The script ends when its input does, and takes the server along; killing it would leave that behind.
        script.orders = None;
        let _ = script.child.wait();
    }
}

impl PostgresDatabase {
    /// Where its server listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// A URL that goes by way of another address.
    pub fn url_by(&self, way: SocketAddr) -> String {
        format!("postgres://wharf@{way}/{}?sslmode=disable", self.name)
    }

    /// Runs `statement` and answers what it prints: columns between `|`, a row a line.
    pub fn sql(&self, statement: &str) -> String {
        self.try_sql(statement).unwrap_or_else(|said| panic!("{statement}: {said}"))
    }

    /// The same.
    ///
    /// # Errors
    ///
    /// What the server says against it.
    pub fn try_sql(&self, statement: &str) -> Result<String, String> {
        let mut command = Command::new(&self.psql);
        command.arg("--host").arg(&self.socket).args(["--port", &self.port.to_string(), "--username", "wharf"]);
        command.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set", "ON_ERROR_STOP=1"]);
        let output = command.args(["--command", statement, &self.name]).output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
    }
}

/// Where the newest installed server is.
fn programs() -> PathBuf {
    let versions = Path::new("/usr/lib/postgresql");
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(versions)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let bin = entry.ok()?.path().join("bin");
            let version = bin.parent()?.file_name()?.to_str()?.parse().ok()?;
            bin.join("postgres").exists().then_some((version, bin))
        })
        .collect();
    found.sort();
    let (_, bin) =
        found.pop().expect("PostgreSQL is missing; scripts/install-test-tools installs it (package postgresql)");
    bin
}

/// The server refuses to run as root; the package has made a user for it.
fn as_unprivileged(program: &str) -> Command {
    let id = Command::new("id").arg("--user").output().unwrap();
    if id.stdout.trim_ascii() != b"0" {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", program]);
    command
}
