//! `wharf serve`: opens the data directory, listens, and serves until told to stop.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use wharf_base::{Secret, Shutdown};

use crate::admin_password;
use crate::app::{Access, App, AppError, End};
use crate::cli::OpenMode;
use crate::config::Config;
use crate::error::{CommandError, Exit};
use crate::program_pages;

/// Threads for blocking work: reads, writes and syncs of blobs.
const BLOCKING_THREADS_MAX: usize = 128;

/// How long the end waits for calls that block.
const THREAD_GRACE: Duration = Duration::from_secs(5);

/// By then everything that runs by itself has run once, and what only the start needed is needed no more.
const STARTED_AFTER: Duration = Duration::from_secs(6);

/// Serves until a signal asks to stop.
///
/// # Errors
///
/// [`CommandError`] when the registry cannot start, or was cut off while stopping.
pub fn run(config: &Config, open: OpenMode) -> Result<(), CommandError> {
    let access = access(config, open)?;
    super::restrict_new_files();
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .map_err(|error| CommandError::unexpected("starting the runtime", error))?;
    let served = runtime.block_on(serve(config, access));
    // A call that hangs in a broken disk must not keep the process.
    runtime.shutdown_timeout(if served.is_ok() { THREAD_GRACE } else { Duration::ZERO });
    served
}

async fn serve(config: &Config, access: Access) -> Result<(), CommandError> {
    let shutdown = Shutdown::new();
    let signals = Signals::listen().map_err(|error| CommandError::unexpected("listening for signals", error))?;
    let is_open = matches!(access, Access::Open);
    let mut app = App::start(config, access, shutdown.clone()).await?;
    let addresses = app.addresses();
    for address in &addresses {
        tracing::info!(server.address = %address, "listening on {address}");
    }
    for address in app.metrics_addresses() {
        tracing::info!(server.address = %address, "metrics are on {address}");
    }
    warn_of_plain_text(config);
    if let Some(address) = addresses.first() {
        greet(config, *address, is_open, app.take_first_password());
    }
    tokio::spawn(async {
        tokio::time::sleep(STARTED_AFTER).await;
        program_pages::give_back_what_started();
    });
    let end = tokio::select! {
        end = app.run() => end,
        () = signals.handle(shutdown) => {
            let message = "told to stop a second time: stopped at once";
            return Err(CommandError::new(Exit::Unexpected, message));
        }
    };
    match end {
        End::InOrder => tracing::info!("stopped"),
        End::CutOff => tracing::warn!("stopped; what was still running was cut off, and clients go on from there"),
        End::NotSynced => return Err(not_synced()),
    }
    Ok(())
}

/// whoever starts the process again lets the database recover.
fn not_synced() -> CommandError {
    CommandError::new(Exit::NotSynced, "the disk did not keep a change of the metadata database")
        .with_lines([
            "everything that was acknowledged before is safe; what was not answered may have happened or not".into()
        ])
        .with_hint("look at the disk (`dmesg`, `smartctl -a`), then start Wharf again: the database recovers by itself")
}

/// Who is let in. Everybody only when asked for, and only on this machine unless asked for twice (S-080).
fn access(config: &Config, open: OpenMode) -> Result<Access, CommandError> {
    let beyond = config.server.listen.iter().find(|address| !address.ip().to_canonical().is_loopback());
    match (open, beyond) {
        (OpenMode::Closed, _) => Ok(Access::Accounts { admin_password: admin_password::take()? }),
        (OpenMode::Loopback, Some(address)) => Err(CommandError::new(
            Exit::Usage,
            format!("{address} can be reached from other machines, and everybody could pull, push and delete"),
        )
        .with_hint("listen on 127.0.0.1, or say `--open --open` if that is really what you want")),
        (OpenMode::Everywhere, Some(address)) => {
            tracing::warn!(server.address = %address, "everybody who reaches {address} may pull, push and delete");
            Ok(Access::Open)
        }
        (OpenMode::Loopback | OpenMode::Everywhere, None) => Ok(Access::Open),
    }
}

/// S-082.
fn warn_of_plain_text(config: &Config) {
    let is_plain = config.server.tls_certificate.is_none() && config.server.trusted_proxies.is_empty();
    for address in config.server.listen.iter().filter(|address| !address.ip().to_canonical().is_loopback()) {
        if is_plain {
            tracing::warn!(
                server.address = %address,
                "{address} is served without TLS: set server.tls_certificate and server.tls_key, or name the proxy in front in server.trusted_proxies"
            );
        }
    }
}

/// The next commands to type; on a first start also the password, which is shown here and nowhere else.
fn greet(config: &Config, address: SocketAddr, is_open: bool, password: Option<Secret<String>>) {
    let scheme = if config.server.tls_certificate.is_some() { "https" } else { "http" };
    let reached =
        if address.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], address.port())) } else { address };
    let to_whom = if is_open { ", open to everybody who reaches it" } else { "" };
    let mut text = format!(
        "Wharf is ready on {scheme}://{address}{to_whom}.\nData is kept in {}.\n\n",
        config.storage.data.display()
    );
    if let Some(password) = &password {
        text += &format!(
            "This is its first start. The account `admin` may do everything; its password, shown this once:\n\n    {}\n\n",
            password.expose()
        );
    }
    let log_in = if is_open { String::new() } else { format!("    docker login {reached} --username admin\n") };
    text += &format!(
        "Push something:\n\n{log_in}    docker tag alpine {reached}/alpine\n    docker push {reached}/alpine\n"
    );
    anstream::println!("{text}");
}

/// Connections and open blobs are descriptors: as many as the system lets us have.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files could not be raised");
    }
}

/// SIGTERM and SIGINT: the first stops in order, the second at once.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Resolves with the second signal.
    async fn handle(mut self, shutdown: Shutdown) {
        self.next().await;
        tracing::info!("stopping: requests in flight may end");
        shutdown.start();
        self.next().await;
    }
}

/// What a person can do about each way not to start.
impl From<AppError> for CommandError {
    fn from(error: AppError) -> Self {
        let (exit, hint) = advice(&error);
        let error = Self::from_source(exit, error);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

fn of_bucket(error: &wharf_store::BucketError) -> (Exit, Option<String>) {
    use wharf_store::BucketError;
    let (exit, advice) = match error {
        BucketError::Settings { .. } | BucketError::Certificates { .. } => {
            (Exit::Usage, "see the keys of [storage] in the reference of the configuration")
        }
        BucketError::BadId { .. } | BucketError::NewerLayout { .. } => (Exit::WrongStore, "nothing was changed"),
        BucketError::Lacks { .. } => {
            (Exit::NotSynced, "nothing is kept in a bucket that could lose it; use another service")
        }
        BucketError::Refused { .. } => (
            Exit::Unreachable,
            "see that the bucket exists, that storage.endpoint and storage.region are right, and that the key may read, write, \
             list and delete below the prefix",
        ),
    };
    (exit, Some(advice.to_owned()))
}

fn advice(error: &AppError) -> (Exit, Option<String>) {
    use wharf_http::StartError;
    use wharf_store::OpenError;
    match error {
        AppError::Store { path, source: OpenError::InUse { .. } } => (
            Exit::InUse,
            Some(format!("stop the other process, or name another directory than {} with --data", path.display())),
        ),
        AppError::Store { .. } | AppError::Probe { .. } => {
            (Exit::Usage, Some("name a directory of your own on a local disk with --data".into()))
        }
        AppError::Meta { source: wharf_meta::Error::Unavailable { .. }, place } if place.starts_with("postgres") => (
            Exit::Unreachable,
            Some("see that the server runs and that metadata.url, the password and the certificate are right".into()),
        ),
        AppError::Meta { source: wharf_meta::Error::InUse { .. }, .. } => {
            let advice = "stop the other process, or name another database with metadata.url; several replicas use one database \
                          when the content of each is in the same bucket (storage.url)";
            (Exit::InUse, Some(advice.into()))
        }
        AppError::Meta { source: wharf_meta::Error::Server { .. }, .. } => (Exit::Usage, None),
        AppError::Meta { source: wharf_meta::Error::NewerSchema { .. }, .. } => (
            Exit::WrongStore,
            Some("nothing was changed; start the version that has changed the database, or restore a backup of before".into()),
        ),
        AppError::Meta { source: wharf_meta::Error::OlderReplicas { .. }, .. } => (
            Exit::InUse,
            Some("nothing was changed; replicas are upgraded one version at a time, each of them before the next one".into()),
        ),
        AppError::Meta { .. } => (
            Exit::WrongStore,
            Some(
                "nothing was changed; restore the file from a backup, or use the version of Wharf that wrote it".into(),
            ),
        ),
        AppError::Credentials(_) => (Exit::Usage, Some("see storage.credentials_file and storage.profile".to_owned())),
        AppError::Bucket { source, .. } => of_bucket(source),
        AppError::PutBy { path, .. } => {
            (Exit::Unexpected, Some(format!("rename {} yourself, and start again", path.display())))
        }
        AppError::NoDatabase { .. } => (
            Exit::WrongStore,
            Some(
                "put the database back, or restore a backup with `wharf restore --from`; to begin anew, name another directory"
                    .to_owned(),
            ),
        ),
        AppError::ForeignStore { .. } => (
            Exit::WrongStore,
            Some(
                "nothing was changed; bring the database and the content that belong together into one directory"
                    .into(),
            ),
        ),
        AppError::Close(_) | AppError::Time(_) => (Exit::Unexpected, None),
        AppError::Identity(_) => (Exit::Usage, None),
        AppError::Rules(_) | AppError::Hold(_) => (
            Exit::WrongStore,
            Some("nothing was changed; restore the database from a backup, or try again if it was busy".into()),
        ),
        AppError::Server(StartError::Listen { address, .. }) => {
            (Exit::Usage, Some(format!("see what uses port {}, or choose another with --listen", address.port())))
        }
        AppError::Server(StartError::Tls(_)) => (
            Exit::Usage,
            Some("name a certificate and its key in PEM form with --tls-certificate and --tls-key".into()),
        ),
        AppError::Server(StartError::ExternalUrl(_)) => (Exit::Usage, None),
    }
}
