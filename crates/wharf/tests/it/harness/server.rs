//! A running `wharf serve`, its data directory and its log, as one value.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use wharf_testkit::PostgresDatabase;

use super::engines::{self, Engines};
use super::{Client, Kept, Memory};

/// How long a server may take to say that it listens, or to end after it was asked to.
const LIFE_LIMIT: Duration = Duration::from_secs(60);

/// The password of `admin` on servers with accounts.
pub const ADMIN_PASSWORD: &str = "canary-admin-correct-horse";

/// How many of the newest log lines are kept for the failure output.
const LOG_LINES: usize = 50_000;

/// What a server is started with.
#[derive(Clone)]
pub struct Builder {
    args: Vec<OsString>,
    accounts: bool,
    environment: Vec<(&'static str, OsString)>,
    /// Where its metadata and content are; `None`: where the suite has them.
    engines: Option<Engines>,
    /// The command line that the server's own is put behind.
    under: Vec<OsString>,
    data: PathBuf,
    /// Removes `data` in the end.
    _owned: Option<Arc<TempDir>>,
}

impl Builder {
    /// A further command line argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// One configuration key, as `--set SECTION.KEY=VALUE`.
    pub fn set(self, key: &str, value: &str) -> Self {
        self.arg("--set").arg(format!("{key}={value}"))
    }

    /// One variable of its environment.
    pub fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Kills, or leaves syncs out, as `wharf_base::failpoint` reads it.
    pub fn failpoints(self, wishes: &str) -> Self {
        self.env("WHARF_FAILPOINT", wishes)
    }

    /// Run by `program`, which makes itself a child of the server, as `strace -D` does.
    pub fn under(mut self, program: impl IntoIterator<Item = OsString>) -> Self {
        self.under = program.into_iter().collect();
        self
    }

    /// On the data directory at `path`, which somebody else removes.
    pub fn data_at(mut self, path: &Path) -> Self {
        self.data = path.to_owned();
        self._owned = None;
        self
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// With its metadata in this database, whatever the suite runs over.
    pub fn metadata_in(mut self, database: &PostgresDatabase) -> Self {
        self.engines = Some(Engines { metadata: Some(database.clone()), content: None });
        self
    }

    /// With accounts: `admin` has [`ADMIN_PASSWORD`], and nobody else is let in.
    pub fn accounts(mut self) -> Self {
        self.accounts = true;
        self
    }

    /// Serves TLS with the files of `directory` (`Identity::write`).
    pub fn tls(self, directory: &Path) -> Self {
        self.arg("--tls-certificate")
            .arg(directory.join("certificate.pem"))
            .arg("--tls-key")
            .arg(directory.join("key.pem"))
    }

    /// Whether its registry may have replicas.
    pub fn is_shared(&self) -> bool {
        self.engines().are_shared()
    }

    /// Changes the metadata of the registry behind its back.
    #[track_caller]
    pub fn tamper(&self, sql: &str) {
        match self.engines().metadata {
            Some(database) => _ = database.sql(sql),
            None => rusqlite::Connection::open(self.data.join("wharf.db")).unwrap().execute_batch(sql).unwrap(),
        }
    }

    /// Starts the server and waits until it listens.
    #[track_caller]
    pub fn start(self) -> Wharf {
        let running = Running::start(&self);
        Wharf { builder: self, running: Some(running) }
    }

    /// Starts the server, which may end before it listens.
    #[track_caller]
    pub fn try_start(self) -> Result<Wharf, Ended> {
        let running = Running::try_start(&self)?;
        Ok(Wharf { builder: self, running: Some(running) })
    }
}

/// How a server ended, and what it had said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code or the signal that ended it.
    pub status: ExitStatus,
    /// Its log.
    pub log: String,
}

/// A server process of this test; killed, with its log printed if the test fails, when the value is dropped.
pub struct Wharf {
    builder: Builder,
    running: Option<Running>,
}

impl Wharf {
    /// A server on an empty data directory that is removed with the last value that knows it.
    pub fn builder() -> Builder {
        let data = tempfile::tempdir().expect("a directory for the server's data");
        Builder {
            args: Vec::new(),
            accounts: false,
            environment: Vec::new(),
            engines: None,
            under: Vec::new(),
            data: data.path().to_owned(),
            _owned: Some(Arc::new(data)),
        }
    }

    /// The same with everything in its data directory, whatever the suite runs over.
    pub fn embedded() -> Builder {
        Builder { engines: Some(Engines::default()), ..Self::builder() }
    }

    /// A server with accounts, of which there is `admin`.
    #[track_caller]
    pub fn with_accounts() -> Self {
        Self::builder().accounts().start()
    }

    /// A server with the defaults.
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running().address
    }

    /// When the process was started.
    pub fn started_at(&self) -> Instant {
        self.running().started_at
    }

    /// A client of this server, on a connection of its own.
    pub fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.builder.data
    }

    /// The content that it keeps.
    pub fn kept(&self) -> Kept<'_> {
        Kept::by(self.data())
    }

    /// The texts that `sql` finds in its metadata.
    #[track_caller]
    pub fn look(&self, sql: &str) -> Vec<Vec<String>> {
        look(self.data(), &self.builder.engines(), sql)
    }

    /// As [`Builder::tamper`].
    #[track_caller]
    pub fn tamper(&self, sql: &str) {
        self.builder.tamper(sql);
    }

    /// Whether its metadata is in PostgreSQL, which has words of its own for some things.
    pub fn is_on_postgres(&self) -> bool {
        self.builder.engines().metadata.is_some()
    }

    /// As [`Builder::is_shared`].
    pub fn is_shared(&self) -> bool {
        self.builder.is_shared()
    }

    /// Bytes as hexadecimal digits, in the SQL of its database.
    pub fn hex_of(&self, column: &str) -> String {
        if self.is_on_postgres() { format!("encode({column}, 'hex')") } else { format!("lower(hex({column}))") }
    }

    /// What the kernel says about the process's memory now.
    pub fn memory(&self) -> Memory {
        Memory::of(self.pid())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.running().child.id()
    }

    /// Waits for a line of the log that has `text` in it, from the beginning of this life on.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        assert!(self.log_says(text), "the log ended without `{text}`");
    }

    /// Waits for such a line, or for the end of the log; whether there is one.
    #[track_caller]
    pub fn log_says(&self, text: &str) -> bool {
        self.running().log.wait_for(text, LIFE_LIMIT)
    }

    /// Everything the server has said so far, from the beginning of this life on.
    pub fn log_text(&self) -> String {
        self.running().log.text()
    }

    /// Ends the process as a power cut would, as far as the process can tell.
    pub fn kill9(&mut self) {
        let mut running = self.running.take().expect("a running server");
        running.child.kill().expect("killing the server");
        running.child.wait().expect("waiting for the killed server");
    }

    /// Asks the server to end and checks that it did so cleanly.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.ended_cleanly();
    }

    /// Sends `signal` and does not wait for anything.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("signalling the server");
    }

    /// Waits until the process stands still, as after SIGSTOP.
    pub async fn stands_still(&self) {
        let begun = Instant::now();
        let stat = format!("/proc/{}/stat", self.pid());
        loop {
            let found = std::fs::read_to_string(&stat).expect("the state of the process");
            if found.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')) {
                return;
            }
            assert!(begun.elapsed() < LIFE_LIMIT, "the process does not stop: {found}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for the process to end and checks that it reports success.
    #[track_caller]
    pub fn ended_cleanly(&mut self) {
        let running = self.running.as_mut().expect("a running server");
        running.wait_for_end();
        let status = running.child.wait().expect("waiting for the server");
        let log = running.log.text();
        self.running = None;
        assert!(status.success(), "the server ended with {status}\n{log}");
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub fn ended(&mut self) -> Ended {
        let mut running = self.running.take().expect("a running server");
        running.wait_for_end();
        let status = running.child.wait().expect("waiting for the server");
        Ended { status, log: running.log.text() }
    }

    /// Starts a server on the same data directory again, after `kill9` or `stop`, or stops the running one first.
    #[track_caller]
    pub fn restart(&mut self) {
        if self.running.is_some() {
            self.stop();
        }
        self.running = Some(Running::start(&self.builder));
    }

    /// Like `restart`, after `ended`, of a server that may end before it listens.
    pub fn try_restart(&mut self) -> Result<(), Ended> {
        self.running = Some(Running::try_start(&self.builder)?);
        Ok(())
    }

    /// Like `restart`, with other settings.
    #[track_caller]
    pub fn restart_with(&mut self, change: impl FnOnce(Builder) -> Builder) {
        self.builder = change(self.builder.plain());
        self.restart();
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("a running server")
    }
}

impl Drop for Wharf {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
            if std::thread::panicking() {
                running.wait_for_end();
                eprintln!("---- log of the server (pid {}) ----\n{}", running.child.id(), running.log.text());
            }
        }
    }
}

/// Runs `wharf serve` on `data`, where it must refuse to start; what it said and how it ended.
#[track_caller]
pub fn serve_expecting_failure(data: &Path) -> Output {
    let mut child = Wharf::builder().data_at(data).command().stderr(Stdio::piped()).spawn().expect("starting wharf");
    let (lines, ended) = channel();
    let stderr = child.stderr.take().expect("a piped stderr");
    std::thread::spawn(move || {
        let text: Vec<_> = BufReader::new(stderr).lines().map_while(Result::ok).collect();
        let _ = lines.send(text.join("\n"));
    });
    let Ok(text) = ended.recv_timeout(LIFE_LIMIT) else {
        let _ = child.kill();
        let _ = child.wait();
        panic!("wharf serve was expected to refuse {}, but it runs", data.display());
    };
    let status = child.wait().expect("waiting for wharf");
    Output { status, stdout: Vec::new(), stderr: text.into_bytes() }
}

/// One life of the server.
struct Running {
    child: Child,
    address: SocketAddr,
    started_at: Instant,
    log: Log,
}

impl Running {
    #[track_caller]
    fn start(builder: &Builder) -> Self {
        Self::try_start(builder)
            .unwrap_or_else(|ended| panic!("wharf serve ended before it listened ({})\n{}", ended.status, ended.log))
    }

    #[track_caller]
    fn try_start(builder: &Builder) -> Result<Self, Ended> {
        if builder.engines.is_none() {
            engines::nobody_else_is_there(&builder.data);
        }
        let started_at = Instant::now();
        let mut child = builder.command().stderr(Stdio::piped()).spawn().expect("starting wharf");
        let log = Log::default();
        let (listening, addresses) = channel();
        let stderr = child.stderr.take().expect("a piped stderr");
        let lines = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(address) = listening_address(&line) {
                    let _ = listening.send(address);
                }
                lines.push(line);
            }
            lines.end();
        });
        match addresses.recv_timeout(LIFE_LIMIT) {
            Ok(address) => Ok(Self { child, address, started_at, log }),
            Err(RecvTimeoutError::Disconnected) => {
                Err(Ended { status: child.wait().expect("waiting for wharf"), log: log.text() })
            }
            Err(RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                let status = child.wait().expect("waiting for wharf");
                panic!("wharf serve did not listen in time ({status})\n{}", log.text());
            }
        }
    }

    /// The log ends when the process does.
    fn wait_for_end(&mut self) {
        if !self.log.wait_for_end(LIFE_LIMIT) {
            let _ = self.child.kill();
            panic!("the server did not end within {LIFE_LIMIT:?}\n{}", self.log.text());
        }
    }
}

impl Builder {
    /// The same data directory and nothing else of what was set, but for the accounts.
    fn plain(&self) -> Self {
        Self { args: Vec::new(), environment: Vec::new(), under: Vec::new(), ..self.clone() }
    }

    fn engines(&self) -> Engines {
        self.engines.clone().unwrap_or_else(|| engines::begin(&self.data))
    }

    fn command(&self) -> Command {
        let mut words = self.under.iter().cloned().chain([binary().into_os_string()]);
        let mut command = Command::new(words.next().expect("at least the server"));
        command.args(words).arg("serve");
        if !self.accounts {
            command.arg("--open");
        }
        command.args(["--listen", "127.0.0.1:0", "--data"]).arg(&self.data).args(&self.args);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WHARF_")) {
            command.env_remove(name);
        }
        if self.accounts {
            command.env("WHARF_ADMIN_PASSWORD", ADMIN_PASSWORD);
        }
        // No load balancer has to take notice here.
        command.env("WHARF_SERVER__DRAIN_DELAY", "0s");
        command.envs(self.engines().environment());
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        command.current_dir(std::env::temp_dir()).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

/// The texts that `sql` finds in the metadata of a registry.
#[track_caller]
pub fn look(data: &Path, engines: &Engines, sql: &str) -> Vec<Vec<String>> {
    if let Some(database) = &engines.metadata {
        let cells = |line: &str| line.split('|').map(str::to_owned).collect();
        return database.sql(sql).lines().map(cells).collect();
    }
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = rusqlite::Connection::open_with_flags(data.join("wharf.db"), flags).unwrap();
    let mut statement = database.prepare(sql).unwrap();
    let width = statement.column_count();
    let rows = statement.query_map([], |row| (0..width).map(|column| row.get(column)).collect());
    rows.unwrap().map(Result::unwrap).collect()
}

/// The binary under test.
pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_wharf"))
}

/// The address in the log event that says where the server listens.
fn listening_address(line: &str) -> Option<SocketAddr> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = event.get("fields").unwrap_or(&event);
    if !fields.get("message")?.as_str()?.starts_with("listening on") {
        return None;
    }
    fields.get("server.address")?.as_str()?.parse().ok()
}

/// The newest lines that the server has said.
#[derive(Clone, Default)]
struct Log(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Default)]
struct Lines {
    newest: VecDeque<String>,
    ended: bool,
}

impl Log {
    fn push(&self, line: String) {
        let (lines, more) = &*self.0;
        let newest = &mut lines.lock().unwrap().newest;
        if newest.len() == LOG_LINES {
            newest.pop_front();
        }
        newest.push_back(line);
        more.notify_all();
    }

    fn end(&self) {
        self.0.0.lock().unwrap().ended = true;
        self.0.1.notify_all();
    }

    fn wait_for(&self, text: &str, limit: Duration) -> bool {
        let (lines, more) = &*self.0;
        let says = |lines: &Lines| lines.newest.iter().any(|line| line.contains(text));
        let missing = |lines: &mut Lines| !lines.ended && !says(lines);
        let (lines, waited) = more.wait_timeout_while(lines.lock().unwrap(), limit, missing).unwrap();
        let is_said = says(&lines);
        // Not while the lines are locked that a failure prints.
        drop(lines);
        assert!(!waited.timed_out(), "the log did not say `{text}` within {limit:?}");
        is_said
    }

    fn wait_for_end(&self, limit: Duration) -> bool {
        let (lines, more) = &*self.0;
        let running = |lines: &mut Lines| !lines.ended;
        !more.wait_timeout_while(lines.lock().unwrap(), limit, running).unwrap().1.timed_out()
    }

    fn text(&self) -> String {
        self.0.0.lock().unwrap().newest.iter().fold(String::new(), |text, line| text + line + "\n")
    }
}
