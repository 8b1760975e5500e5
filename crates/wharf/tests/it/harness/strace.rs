//! The system calls of a server, as strace wrote them down.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Builder, tools};

/// A trace that a server is started under.
pub struct Strace {
    directory: TempDir,
    options: Vec<OsString>,
}

/// One call from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Call {
    /// The thread that made it.
    pub thread_id: u32,
    /// Its name.
    pub thread: String,
    /// The call.
    pub name: String,
    /// Its arguments, descriptors with what is behind them.
    pub arguments: String,
    /// What it returned.
    pub result: String,
    /// The line of the trace on which it began; lines are in the order of time.
    pub begun: usize,
    /// The line on which it ended.
    pub ended: usize,
}

impl Strace {
    /// Writes down `calls`, separated by commas.
    pub fn of(calls: &str) -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory for the trace"),
            options: vec!["-e".into(), format!("trace={calls}").into()],
        }
    }

    /// Makes each thread's `time`-th `call` fail with `error`; counted from 1, and at most 65 535.
    pub fn inject(mut self, call: &str, error: &str, time: usize) -> Self {
        self.options.extend(["-e".into(), format!("inject={call}:error={error}:when={time}").into()]);
        self
    }

    /// Writes down strings and paths whole, every byte as `\\x41`.
    pub fn whole(mut self) -> Self {
        self.options.extend(["-xx", "-s", "16777216"].map(OsString::from));
        self
    }

    /// Looks only at calls that are about one of `paths`, or about a file that was opened there.
    pub fn about(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        for path in paths {
            self.options.extend(["-P".into(), path.into()]);
        }
        self
    }

    /// `server` under this trace. The server is the child of the test, and strace a child of the server, so signals
    /// reach the right process.
    pub fn around(&self, server: Builder) -> Builder {
        server.under(self.words())
    }

    /// What a command line is put behind, to be run under this trace. Whoever waits for the end of what the command
    /// says has the whole trace.
    pub fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![tools::find("strace").into()];
        words.extend(["-D", "-f", "--seccomp-bpf", "-yy", "-Y", "-s", "96", "-o"].map(OsString::from));
        words.push(self.file().into());
        words.extend(self.options.iter().cloned());
        words
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("trace")
    }

    /// Every call so far. The trace is complete when the log of the server has ended, because strace shares it.
    pub fn calls(&self) -> Vec<Call> {
        parse(&read(&self.file()))
    }
}

fn read(file: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(file).expect("the trace")).into_owned()
}

fn parse(trace: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut unfinished = std::collections::HashMap::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((thread, rest)) = line.split_once("> ") else { continue };
        let rest = rest.trim_start();
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let Some((_, tail)) = resumed.split_once(" resumed>") else { continue };
            let Some(index) = unfinished.remove(thread) else { continue };
            let call: &mut Call = &mut calls[index];
            let (more, result) = end(tail);
            call.arguments.push_str(more);
            result.clone_into(&mut call.result);
            call.ended = at;
            continue;
        }
        // Signals and ends of threads have no bracket behind a name.
        let Some((name, arguments)) = rest.split_once('(') else { continue };
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let begun = arguments.strip_suffix(" <unfinished ...>");
        let (arguments, result) = begun.map_or_else(|| end(arguments), |arguments| (arguments, ""));
        if begun.is_some() {
            unfinished.insert(thread, calls.len());
        }
        calls.push(Call {
            thread_id: thread.split('<').next().and_then(|id| id.parse().ok()).unwrap_or(0),
            thread: thread.split_once('<').map_or("", |(_, name)| name).to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
            result: result.to_owned(),
            begun: at,
            ended: if begun.is_some() { usize::MAX } else { at },
        });
    }
    calls
}

/// What stands before and behind the last ` = `.
fn end(text: &str) -> (&str, &str) {
    text.rsplit_once(" = ").map_or((text, ""), |(arguments, result)| (arguments.trim_end(), result))
}

#[test]
fn a_call_that_was_interrupted_is_one_call() {
    let calls = parse(
        "10<wharf-writer> fsync(17</d/wharf.db-wal> <unfinished ...>\n\
         11<tokio-rt-worker> write(1<pipe:[1]>, \"a = b\", 5) = 5\n\
         10<wharf-writer> <... fsync resumed>)     = 0\n\
         11<wharf> +++ exited with 0 +++\n",
    );
    let told: Vec<_> =
        calls.iter().map(|c| (c.thread.as_str(), c.name.as_str(), c.result.as_str(), c.begun, c.ended)).collect();
    assert_eq!(told, [("wharf-writer", "fsync", "0", 0, 2), ("tokio-rt-worker", "write", "5", 1, 1)]);
    assert_eq!(calls[0].arguments, "17</d/wharf.db-wal>)");
}
