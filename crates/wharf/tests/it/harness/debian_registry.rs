//! Debian's `docker-registry`: the registry that most people move away from.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;

use tempfile::TempDir;

use super::{Client, PATIENCE, tools};

/// A running registry and its storage; ends with the value.
pub struct DebianRegistry {
    directory: TempDir,
    running: Option<(Child, SocketAddr)>,
}

impl DebianRegistry {
    /// For everybody.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// With more lines of configuration.
    pub fn start_with(configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: \"127.0.0.1:0\"}}\n{}",
            directory.path().join("storage").display(),
            configuration.replace("$DIR", &directory.path().display().to_string()),
        );
        std::fs::write(directory.path().join("config.yml"), text).unwrap();
        let mut registry = Self { directory, running: None };
        registry.run();
        registry
    }

    fn run(&mut self) {
        let mut child = Command::new(tools::find("docker-registry"))
            .arg("serve")
            .arg(self.directory.path().join("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry");
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let _ = tell.send(rest.split(['"', ',']).next().unwrap_or_default().parse());
                }
            }
        });
        let address = told.recv_timeout(PATIENCE).expect("docker-registry does not listen").expect("an address");
        self.running = Some((child, address));
    }

    pub fn address(&self) -> SocketAddr {
        self.running.as_ref().expect("it runs").1
    }

    pub fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// `rootdirectory` of its configuration.
    pub fn storage(&self) -> PathBuf {
        self.directory.path().join("storage")
    }

    /// Where the content of `digest` lies.
    pub fn content(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        self.root().join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// `path` of a repository.
    pub fn in_repository(&self, repository: &str, path: &str) -> PathBuf {
        self.root().join("repositories").join(repository).join(path)
    }

    fn root(&self) -> PathBuf {
        self.storage().join(Path::new("docker/registry/v2"))
    }

    pub fn stop(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for DebianRegistry {
    fn drop(&mut self) {
        self.stop();
    }
}
