//! Named places at which a test can kill the process, make a call fail, leave out a sync, or hold a task while others go on.
//!
//! The names are those of the steps that recovery depends on (`reliability` §2, §4), written where the step has just been
//! done: `store.placed` stands behind the rename, not before it. In a product build, which lacks the feature `failpoints`,
//! every function here is empty.
//!
//! A process is told in its environment:
//!
//! - `WHARF_FAILPOINT=NAME=kill@N` ends it, as SIGKILL would, when it reaches NAME for the N-th time (once without `@N`);
//! - `WHARF_FAILPOINT=NAME=stop@N` puts it to sleep there, as SIGSTOP does, until somebody sends SIGCONT;
//! - `WHARF_FAILPOINT=NAME=skip` leaves out the system call that stands there, each time;
//! - `WHARF_FAILPOINT=NAME=fail:FILE` makes what stands there fail as long as FILE exists, so that a test says when a disk
//!   breaks and when it is mended;
//! - `WHARF_FAILPOINT=NAME=slow:MILLISECONDS` makes it take that much longer, each time;
//! - `WHARF_FAILPOINT_TRACE=FILE` appends the names to FILE as they are reached, a line each, so that a test learns what
//!   there is to kill.
//!
//! Several of the first five are separated by commas. A test in the same process holds a task with `held_at`.

/// The variables of the environment that are read here; none in a product build, where they mean nothing.
pub const VARIABLES: &[&str] = imp::VARIABLES;

/// The process stands at `name`: here it ends, if a test wants that.
#[inline]
pub fn reach(name: &'static str) {
    imp::reach(name);
}

/// Whether a test wants the system call that stands at `name` left out.
#[inline]
pub fn skips(name: &'static str) -> bool {
    imp::skips(name)
}

/// Whether a test wants what stands at `name` to fail. On a thread that may block: it may be made to wait here first.
#[inline]
pub fn fails(name: &'static str) -> bool {
    imp::fails(name)
}

/// As [`reach`]; and the task waits here, if a test holds it.
#[inline]
pub async fn arrive(name: &'static str) {
    imp::arrive(name).await;
}

#[cfg(feature = "failpoints")]
pub(crate) use imp::inherit;
#[cfg(feature = "failpoints")]
pub use imp::{Held, held_at};

#[cfg(not(feature = "failpoints"))]
mod imp {
    pub(super) const VARIABLES: &[&str] = &[];

    #[inline]
    pub(super) fn reach(_: &'static str) {}

    #[inline]
    pub(super) fn skips(_: &'static str) -> bool {
        false
    }

    #[inline]
    pub(super) fn fails(_: &'static str) -> bool {
        false
    }

    #[inline]
    pub(super) async fn arrive(_: &'static str) {}
}

#[cfg(feature = "failpoints")]
mod imp {
    use std::fs::{File, OpenOptions};
    use std::future::Future;
    use std::io::Write;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, LazyLock};
    use std::time::Duration;

    use tokio::sync::Semaphore;

    const WISHES: &str = "WHARF_FAILPOINT";
    const TRACE: &str = "WHARF_FAILPOINT_TRACE";
    pub(super) const VARIABLES: &[&str] = &[WISHES, TRACE];

    /// What the environment asks for.
    struct Plan {
        kills: Vec<Nth>,
        stops: Vec<Nth>,
        skips: Vec<String>,
        /// Names with the files whose existence makes them fail.
        failures: Vec<(String, PathBuf)>,
        delays: Vec<(String, Duration)>,
        trace: Option<File>,
    }

    struct Nth {
        name: String,
        /// How many times it is still to be passed.
        left: AtomicU64,
    }

    impl Nth {
        fn new(name: &str, nth: &str) -> Self {
            Self { name: name.to_owned(), left: AtomicU64::new(nth.parse().expect("a number behind @")) }
        }

        /// Whether this passing of `name` is the one.
        fn is_now(&self, name: &str) -> bool {
            self.name == name && self.left.fetch_sub(1, Ordering::AcqRel) == 1
        }
    }

    static PLAN: LazyLock<Plan> = LazyLock::new(|| {
        let mut plan = Plan {
            kills: Vec::new(),
            stops: Vec::new(),
            skips: Vec::new(),
            failures: Vec::new(),
            delays: Vec::new(),
            trace: None,
        };
        let wishes = std::env::var(WISHES).unwrap_or_default();
        for wish in wishes.split(',').filter(|wish| !wish.is_empty()) {
            let (name, action) = wish.split_once('=').expect("WHARF_FAILPOINT is NAME=ACTION");
            if let Some(file) = action.strip_prefix("fail:") {
                plan.failures.push((name.to_owned(), file.into()));
                continue;
            }
            if let Some(milliseconds) = action.strip_prefix("slow:") {
                let milliseconds = milliseconds.parse().expect("a number behind slow:");
                plan.delays.push((name.to_owned(), Duration::from_millis(milliseconds)));
                continue;
            }
            match action.split_once('@').unwrap_or((action, "1")) {
                ("skip", _) => plan.skips.push(name.to_owned()),
                ("kill", nth) => plan.kills.push(Nth::new(name, nth)),
                ("stop", nth) => plan.stops.push(Nth::new(name, nth)),
                _ => panic!("WHARF_FAILPOINT knows kill, stop, skip, fail and slow, not {action}"),
            }
        }
        if let Some(path) = std::env::var_os(TRACE) {
            let file = OpenOptions::new().create(true).append(true).open(path);
            plan.trace = Some(file.expect("the file that WHARF_FAILPOINT_TRACE names"));
        }
        plan
    });

    pub(super) fn reach(name: &'static str) {
        if let Some(mut trace) = PLAN.trace.as_ref() {
            // One write a line, so that threads do not mix theirs.
            trace.write_all(format!("{name}\n").as_bytes()).expect("writing the trace of failpoints");
        }
        if PLAN.kills.iter().any(|kill| kill.is_now(name)) {
            // Nothing runs any more: no destructor, no flush.
            std::process::abort();
        }
        if PLAN.stops.iter().any(|stop| stop.is_now(name)) {
            let ourselves = std::process::id().to_string();
            let stopped = std::process::Command::new("kill").args(["-STOP", &ourselves]).status();
            assert!(stopped.expect("the program `kill`").success(), "the process stops");
        }
    }

    pub(super) fn skips(name: &'static str) -> bool {
        PLAN.skips.iter().any(|skipped| skipped == name)
    }

    pub(super) fn fails(name: &'static str) -> bool {
        for (_, delay) in PLAN.delays.iter().filter(|(slow, _)| slow == name) {
            std::thread::sleep(*delay);
        }
        PLAN.failures.iter().any(|(failing, file)| failing == name && file.exists())
    }

    tokio::task_local! {
        static HOLD: Arc<Hold>;
    }

    struct Hold {
        name: &'static str,
        reached: Semaphore,
        may_go: Semaphore,
    }

    /// A task that stops at a failpoint, seen from outside.
    pub struct Held(Arc<Hold>);

    impl Held {
        /// Resolves when the task has arrived.
        pub async fn arrived(&self) {
            self.0.reached.acquire().await.expect("a semaphore that is never closed").forget();
        }

        /// Lets it go on, also past later arrivals at the same place.
        pub fn release(&self) {
            self.0.may_go.add_permits(Semaphore::MAX_PERMITS / 2);
        }
    }

    /// `work`, to be run as a task that stops when it, or a task that it starts by a `Spawner`, arrives at `name`.
    pub fn held_at<F: Future>(name: &'static str, work: F) -> (Held, impl Future<Output = F::Output>) {
        let hold = Arc::new(Hold { name, reached: Semaphore::new(0), may_go: Semaphore::new(0) });
        (Held(Arc::clone(&hold)), HOLD.scope(hold, work))
    }

    /// `work` under the hold of the task that starts it.
    pub(crate) fn inherit<F: Future>(work: F) -> impl Future<Output = F::Output> {
        let hold = HOLD.try_with(Arc::clone).ok();
        async move {
            match hold {
                Some(hold) => HOLD.scope(hold, work).await,
                None => work.await,
            }
        }
    }

    pub(super) async fn arrive(name: &'static str) {
        reach(name);
        let Ok(hold) = HOLD.try_with(Arc::clone) else { return };
        if hold.name == name {
            hold.reached.add_permits(1);
            hold.may_go.acquire().await.expect("a semaphore that is never closed").forget();
        }
    }
}
