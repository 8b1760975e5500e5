//! Ways to the server, and the settings without which the promises do not hold.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use rustls_platform_verifier::ConfigVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::{PostgresConfig, Protection};
use super::schema;
use super::session::Session;
use crate::{Error, sql};

/// The oldest server that has all that is used.
const VERSION_MIN: u32 = 140_000;

/// How much longer than the server itself we wait before we take it for gone.
const MORE_PATIENCE: Duration = Duration::from_secs(5);

/// After how long a transaction whose replica says nothing more is ended by the server.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// How long bytes may be on their way before the connection counts as broken.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

/// Makes connections.
pub(super) struct Connector {
    config: tokio_postgres::Config,
    tls: Option<MakeRustlsConnect>,
    connect_timeout: Duration,
    statement_timeout: Duration,
    lock_timeout: Duration,
    /// Whether the schema is there, so that each new connection looks whether it may still be used.
    is_guarded: AtomicBool,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

/// Moves a connection's messages until it ends. What the server says unasked is of no interest, but for notifications.
async fn drive<S, T>(mut connection: Connection<S, T>, heard: Option<Arc<Notify>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
        if let (AsyncMessage::Notification(_), Some(heard)) = (message, &heard) {
            heard.notify_one();
        }
    }
}

fn refused(reason: impl Into<String>) -> Error {
    Error::Server { reason: reason.into() }
}

impl Connector {
    /// Reads what the configuration names: the password, the authorities' certificates.
    pub(super) fn new(config: &PostgresConfig) -> Result<Self, Error> {
        let url = config.url.as_ref().ok_or_else(|| refused("metadata.url is not set"))?;
        let mut target = url.config().clone();
        if let Some(path) = &config.password_file {
            target.password(password(path)?);
        }
        target
            .connect_timeout(config.connect_timeout.get())
            .tcp_user_timeout(UNACKNOWLEDGED_MAX)
            .keepalives_idle(Duration::from_secs(30));
        if target.get_application_name().is_none() {
            target.application_name("wharf");
        }
        let tls = match url.protection() {
            Protection::Plain => {
                target.ssl_mode(SslMode::Disable);
                None
            }
            Protection::Tls => {
                target.ssl_mode(SslMode::Require);
                Some(MakeRustlsConnect::new(tls(config.ca_certificate.as_deref())?))
            }
        };
        Ok(Self {
            config: target,
            tls,
            connect_timeout: config.connect_timeout.get(),
            statement_timeout: config.statement_timeout.get(),
            lock_timeout: config.lock_timeout.get(),
            is_guarded: AtomicBool::new(false),
        })
    }

    /// The schema is there. From now on no connection is made to a database that a newer version has made useless for this one.
    pub(super) fn guard(&self) {
        self.is_guarded.store(true, Ordering::Release);
    }

    /// Whether this binary may use what it reaches; `true` as long as there is nothing to look at.
    pub(super) fn is_usable(&self, session: &Session) -> sql::Result<bool> {
        if self.is_guarded.load(Ordering::Acquire) { schema::is_usable(session) } else { Ok(true) }
    }

    /// A connection to a server that may be trusted with what is acknowledged. Blocks.
    pub(super) fn connect(&self) -> sql::Result<Session> {
        let session = self.connect_hearing(None)?;
        if !self.is_usable(&session)? {
            return Err(sql::Error::Server("a newer version has changed the database so that this one cannot use it"));
        }
        Ok(session)
    }

    /// The same, and `heard` is told of each notification that comes while somebody waits in the session.
    pub(super) fn connect_hearing(&self, heard: Option<Arc<Notify>>) -> sql::Result<Session> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|_| sql::Error::Server("no connection can be driven: out of file descriptors?"))?;
        let connecting = async {
            // Spawned where it is made: the connection is driven whenever somebody waits for an answer.
            match &self.tls {
                Some(tls) => {
                    let (client, connection) = self.config.connect(tls.clone()).await?;
                    tokio::spawn(drive(connection, heard));
                    Ok(client)
                }
                None => {
                    let (client, connection) = self.config.connect(NoTls).await?;
                    tokio::spawn(drive(connection, heard));
                    Ok::<_, tokio_postgres::Error>(client)
                }
            }
        };
        let connected = runtime.block_on(async { tokio::time::timeout(self.connect_timeout, connecting).await });
        let client = connected.map_err(|_| sql::Error::Server("connecting to the server took too long"))??;
        let session = Session::new(runtime, client, self.statement_timeout + MORE_PATIENCE);
        self.set_up(&session)?;
        Ok(session)
    }

    fn set_up(&self, session: &Session) -> sql::Result<()> {
        session.batch(&format!(
            "set statement_timeout = {}; set lock_timeout = {}; set idle_in_transaction_session_timeout = {}; \
             set client_encoding = 'UTF8'; set timezone = 'UTC'",
            self.statement_timeout.as_millis().max(1),
            self.lock_timeout.as_millis().max(1),
            IDLE_MAX.as_millis(),
        ))?;
        let [commit, recovery, life] = session
            .texts(
                "select current_setting('synchronous_commit'), pg_is_in_recovery()::text,
                        (select coalesce(stats_reset::text, '') from pg_stat_bgwriter)",
            )?
            .try_into()
            .map_err(|_| sql::Error::Server("the server does not say how it is set"))?;
        // Its statistics survive an orderly end, by which everything is synced, and begin anew after a crash.
        session.is_of_life(life);
        if recovery != "false" {
            return Err(sql::Error::Server("the server is a standby, which cannot be written"));
        }
        // Weaker ones answer before a commit is on stable storage; stronger ones are somebody's choice.
        if !["on", "remote_apply"].contains(&commit.as_str()) {
            session.batch("set synchronous_commit = on")?;
        }
        Ok(())
    }
}

/// Whether the server as it is set up keeps what it acknowledges. Asked once, at the start.
pub(super) fn check_server(session: &Session) -> Result<(), Error> {
    let asked = session.texts(
        "select current_setting('server_version_num'), current_setting('fsync'), current_setting('full_page_writes'),
                current_setting('server_encoding')",
    );
    let asked = asked.map_err(|error| Error::sql("asking how the server is set", error))?;
    let [version, fsync, full_pages, encoding] = <[String; 4]>::try_from(asked).unwrap_or_default();
    if version.parse::<u32>().unwrap_or(0) < VERSION_MIN {
        return Err(refused(format!("it is of version {version}; PostgreSQL 14 or newer is needed")));
    }
    if fsync != "on" {
        return Err(refused("fsync is off, so a power cut would take what it has acknowledged; set fsync = on"));
    }
    if full_pages != "on" {
        return Err(refused("full_page_writes is off, so a power cut may damage it; set full_page_writes = on"));
    }
    if encoding != "UTF8" {
        return Err(refused(format!(
            "the database's encoding is {encoding}; make one by: create database wharf encoding 'UTF8' template template0"
        )));
    }
    Ok(())
}

fn password(path: &Path) -> Result<String, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| refused(format!("metadata.password_file {} cannot be read: {error}", path.display())))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

fn tls(ca_certificate: Option<&Path>) -> Result<ClientConfig, Error> {
    let Some(path) = ca_certificate else {
        return ClientConfig::with_platform_verifier()
            .map_err(|error| refused(format!("TLS cannot be set up: {error}; name metadata.ca_certificate")));
    };
    let unusable = |why: String| refused(format!("metadata.ca_certificate {}: {why}", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
