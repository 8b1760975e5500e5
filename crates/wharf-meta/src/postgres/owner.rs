//! Who uses the database: each process holds a lock of the server's for as long as it lives, on a connection that does nothing else.
//!
//! Replicas share the lock. One whose content is in a directory has it alone, because what it keeps to itself (who writes into an
//! upload's file, which file is just being placed or removed) would not be safe among several; and so has a command that works on a
//! registry which does not run.
//!
//! It says as well which schema the process knows, for newer versions ([`schema`](super::schema)).
//!
//! The same connection hears what other replicas have changed ([`changes`](crate::changes)). A notification only makes it quicker:
//! whoever keeps something in memory asks for itself as well.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot, watch};

use super::connector::Connector;
use super::session::Session;
use super::{Value, schema};
use crate::{Error, Result, sql};

const KEY: i64 = 8_604_252_872_373_661_298;

const TAKE_ALONE: &str = "select pg_try_advisory_lock($1)::text";
const TAKE_SHARED: &str = "select pg_try_advisory_lock_shared($1)::text";

/// Whoever holds it, for people. The key stands in two halves there.
const HOLDER: &str =
    "select coalesce(host(a.client_addr), 'this machine''s socket'), to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS')
                        from pg_locks l
                        join pg_stat_activity a on a.pid = l.pid
                       where l.locktype = 'advisory' and l.granted and l.objsubid = 1
                         and ((l.classid::bigint << 32) | l.objid::bigint) = $1
                         and l.database = (select oid from pg_database where datname = current_database())";

/// How long a process that is just ending is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the connection is tried, and a lock that another holds.
const EVERY: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(200);

/// With whom the database is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// With nobody.
    Alone,
    /// With other replicas. What only one may do at a time is done under leases.
    Replicas,
}

/// The lock, while this is there.
#[derive(Debug)]
pub(super) struct Owner {
    stop: Mutex<Option<oneshot::Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    taken: watch::Receiver<bool>,
    heard: Arc<Notify>,
}

/// What the thread needs that keeps the lock.
struct Keeper {
    connector: Arc<Connector>,
    sharing: Sharing,
    stopped: oneshot::Receiver<()>,
    taken: watch::Sender<bool>,
    heard: Arc<Notify>,
}

impl Owner {
    /// Takes the lock. Blocks.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] if another process has it, and one of the two wants it alone.
    pub(super) fn take(connector: Arc<Connector>, sharing: Sharing) -> Result<Self> {
        let doing = "taking the database";
        let heard = Arc::new(Notify::new());
        let (stop, stopped) = oneshot::channel();
        let (taken, take) = watch::channel(false);
        let keeper = Keeper { connector, sharing, stopped, taken, heard: Arc::clone(&heard) };
        let session = keeper.connect().map_err(|error| Error::sql(doing, error))?;
        let begun = Instant::now();
        while !try_to_take(&session, sharing).map_err(|error| Error::sql(doing, error))? {
            if begun.elapsed() > PATIENCE {
                return Err(Error::InUse { by: holder(&session) });
            }
            std::thread::sleep(AGAIN);
        }
        let thread = std::thread::Builder::new().name("wharf-pg-owner".to_owned());
        let thread = thread
            .spawn(move || keeper.keep(session))
            .map_err(|error| Error::unavailable("starting a thread", error))?;
        Ok(Self { stop: Mutex::new(Some(stop)), thread: Mutex::new(Some(thread)), taken: take, heard })
    }

    /// Resolves when another replica has said that something changed, once for all that it said since the last time.
    pub(super) async fn heard(&self) {
        self.heard.notified().await;
    }

    /// Whether another process has the database alone by now, or one of two that each want it alone, or a newer version has
    /// made it one of its own.
    pub(super) fn is_displaced(&self) -> bool {
        *self.taken.borrow()
    }

    /// Resolves when that is so, and never otherwise.
    pub(super) async fn displaced(&self) {
        let mut taken = self.taken.clone();
        if taken.wait_for(|taken| *taken).await.is_err() {
            // It was given up in order.
            std::future::pending::<()>().await;
        }
    }

    /// Gives it up. Blocks for the moment that it takes.
    pub(super) fn give_up(&self) {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

fn try_to_take(session: &Session, sharing: Sharing) -> sql::Result<bool> {
    let take = match sharing {
        Sharing::Alone => TAKE_ALONE,
        Sharing::Replicas => TAKE_SHARED,
    };
    let rows = session.query(take, vec![Value::Integer(KEY)])?;
    let row = rows.first().ok_or(sql::Error::NoRow)?;
    Ok(row.try_get::<_, &str>(0)? == "true")
}

fn holder(session: &Session) -> String {
    let rows = session.query(HOLDER, vec![Value::Integer(KEY)]).unwrap_or_default();
    let Some(row) = rows.first() else { return "another process".to_owned() };
    let text = |column| row.try_get::<_, &str>(column).unwrap_or("?");
    format!("a process that is connected from {} since {} UTC", text(0), text(1))
}

impl Keeper {
    fn connect(&self) -> sql::Result<Session> {
        let session = self.connector.connect_hearing(Some(Arc::clone(&self.heard)))?;
        session.batch("listen wharf_changes")?;
        schema::announce(&session, schema::MIGRATIONS)?;
        Ok(session)
    }

    /// Keeps the lock, and takes it again after the server was away.
    fn keep(mut self, session: Session) {
        let mut pid = own_pid(&session);
        let mut session = Some(session);
        while !self.rest(session.as_ref()) {
            match session.as_ref().map(|session| self.connector.is_usable(session)) {
                Some(Ok(true)) => continue,
                Some(Ok(false)) => {
                    tracing::error!(
                        "a newer version of Wharf has changed the metadata database so that this one cannot use it any \
                         more; start the newer version"
                    );
                    self.taken.send_replace(true);
                    return;
                }
                _ => session = None,
            }
            let Ok(new) = self.connect() else { continue };
            match try_to_take(&new, self.sharing) {
                Ok(true) => {
                    pid = own_pid(&new);
                    session = Some(new);
                    // Whatever was said meanwhile.
                    self.heard.notify_one();
                }
                // The server has not noticed yet that the old connection is gone.
                Ok(false) if ended(&new, pid) => {}
                Ok(false) => {
                    tracing::error!(
                        "the connection to the metadata database was lost, and meanwhile it was taken by {}",
                        holder(&new)
                    );
                    self.taken.send_replace(true);
                    return;
                }
                Err(_) => {}
            }
        }
    }

    /// Waits until it is time to look again; whether it is time to stop.
    fn rest(&mut self, session: Option<&Session>) -> bool {
        let Some(session) = session else {
            std::thread::sleep(EVERY);
            return self.stopped.try_recv() != Err(oneshot::error::TryRecvError::Empty);
        };
        let stopped = &mut self.stopped;
        session.listen(EVERY, async { _ = stopped.await })
    }
}

/// The number of the server's process for this connection.
fn own_pid(session: &Session) -> i64 {
    let rows = session.query("select pg_backend_pid()::bigint", Vec::new()).unwrap_or_default();
    rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or(0)
}

/// Ends our own old connection; `false` if it is not the one that holds the lock.
fn ended(session: &Session, pid: i64) -> bool {
    let ended = "select count(pg_terminate_backend(pid))
                   from pg_locks
                  where locktype = 'advisory' and granted and objsubid = 1
                    and ((classid::bigint << 32) | objid::bigint) = $1 and pid = $2";
    let rows = session.query(ended, vec![Value::Integer(KEY), Value::Integer(pid)]).unwrap_or_default();
    rows.first().and_then(|row| row.try_get::<_, i64>(0).ok()).unwrap_or(0) > 0
}
