#![allow(clippy::unwrap_used)]

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use tracing::{debug, info, info_span, warn};
use tracing_subscriber::layer::{Layer, SubscriberExt};

use super::fields::VALUE_MAX_BYTES;
use super::layer::Lines;
use super::line::{self, Style};
use super::queue::{QUEUE_MAX_BYTES, Queue, Urgency};
use super::{Config, Filter};

const HUMAN: Style = Style::Human { has_colour: false };

/// Something written to that a test can look at.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written while `logging` runs.
fn written(style: Style, level: &str, logging: impl FnOnce()) -> String {
    let page = Page::default();
    let (queue, guard) = Queue::start(page.clone(), move |lost_lines| line::lost(style, lost_lines));
    let filter: Filter = level.parse().unwrap();
    let lines = Lines::new(style, queue).with_filter(filter.targets());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), logging);
    drop(guard);
    page.text()
}

/// The same without the time, which comes first.
fn human(logging: impl FnOnce()) -> String {
    let text = written(HUMAN, "info", logging);
    text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned() + "\n").collect()
}

fn json(logging: impl FnOnce()) -> serde_json::Value {
    let text = written(Style::Json, "info", logging);
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_line_for_people_is_a_sentence_and_its_fields() {
    assert_eq!(
        human(|| info!(repository.name = "team/app", size_bytes = 7, note = "two words", "pushed {}", "team/app:1")),
        " INFO pushed team/app:1 repository.name=team/app size_bytes=7 note=\"two words\"\n"
    );
    let coloured = written(Style::Human { has_colour: true }, "info", || warn!(a = 1, "x"));
    assert!(coloured.ends_with("Z\u{1b}[0m \u{1b}[33m WARN\u{1b}[0m x \u{1b}[2ma=\u{1b}[0m1\n"), "{coloured:?}");
}

#[test]
fn a_line_for_programs_is_one_object() {
    let (address, odd) = (std::net::SocketAddr::from(([127, 0, 0, 1], 1)), f64::NAN);
    let mut event = json(|| info!(target: "wharf::x", ok = true, server.address = %address, n = 1.5, odd, "on"));
    let time = event["timestamp"].take();
    assert!(time.as_str().unwrap().ends_with('Z'));
    assert_eq!(
        event,
        serde_json::json!({
            "timestamp": null, "level": "INFO", "target": "wharf::x", "message": "on",
            "server.address": "127.0.0.1:1", "ok": true, "n": 1.5, "odd": "NaN"
        })
    );
}

#[test]
fn fields_of_spans_are_on_every_line_within_and_the_events_own_win() {
    let event = json(|| {
        let outer = info_span!("request", request.id = "r1", who = "outer", late = tracing::field::Empty);
        outer.record("late", 3);
        let _outer = outer.enter();
        info_span!("inner", who = "inner").in_scope(|| info!(extra = 1, "within"));
    });
    assert_eq!((&event["request.id"], &event["who"], &event["late"]), (&"r1".into(), &"inner".into(), &3.into()));
}

#[derive(Debug, thiserror::Error)]
#[error("reading a row")]
struct Failed(#[source] io::Error);

#[test]
fn an_error_is_logged_with_its_causes() {
    let error = Failed(io::Error::other("the disk is gone"));
    let text = human(|| tracing::error!(error = &error as &dyn std::error::Error, "failed"));
    assert_eq!(text, "ERROR failed error=\"reading a row: the disk is gone\"\n");
}

#[test]
fn b119_values_and_messages_start_no_line_and_command_no_terminal() {
    let bad = "x\n2026-01-01T00:00:00Z  INFO admin login ok\r\u{1b}[2J\u{9b}1m\u{7f}\0\u{2028}\u{202e}\t\"\\";
    let log = || info!(agent = bad, debugged = ?bad, "hello {bad}");
    for style in [HUMAN, Style::Json] {
        let text = written(style, "info", log);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains(crate::text::is_obeyed), "{line:?}");
    }
    assert!(human(|| info!(agent = "a\n\u{1b}b", "x")).contains(r#"agent="a\n\u{1b}b""#));
    assert_eq!(json(log)["agent"], bad);
}

#[test]
fn a_value_is_cut_at_4_kib() {
    let long = "ä".repeat(VALUE_MAX_BYTES);
    let event = json(|| info!(long, debugged = ?vec![0_u8; 1 << 20], "{long}"));
    for name in ["long", "message", "debugged"] {
        let value = event[name].as_str().unwrap();
        assert!(value.ends_with('…'));
        assert!(value.len() <= VALUE_MAX_BYTES + '…'.len_utf8() && value.len() > VALUE_MAX_BYTES - 8, "{name}");
    }
}

#[test]
fn the_filter_decides_by_level_and_by_part() {
    let log = || {
        debug!(target: "wharf_http::listen", "http");
        debug!(target: "wharf_meta", "meta");
        info!(target: "wharf_meta", "info");
    };
    let messages = |level| {
        let text = written(HUMAN, level, log);
        text.lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(messages("info"), "info");
    assert_eq!(messages("INFO, wharf_http=debug"), "http info");
    assert_eq!(messages("debug,wharf_meta=off"), "http");
    assert_eq!(messages("wharf_http=trace"), "http");
    assert_eq!(messages("off"), "");
}

#[test]
fn a_filter_that_would_silence_by_mistake_is_refused() {
    for bad in ["", "inof", "info,", "wharf_http", "wharf_http=", "info,wharf_http=inof", "3"] {
        assert!(bad.parse::<Filter>().is_err(), "{bad:?}");
    }
    assert_eq!(Config::default().level, "info".parse().unwrap());
}

/// Says when it is written to, and waits to be let go on.
struct Stuck {
    entered: Sender<()>,
    go_on: Receiver<()>,
    page: Page,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.entered.send(());
        // Let go for good when the other end is dropped.
        let _ = self.go_on.recv();
        self.page.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn r087_a_stuck_terminal_costs_lines_which_are_counted_and_never_blocks() {
    let (page, (entered, is_entered), (let_go, go_on)) = (Page::default(), channel(), channel());
    let out = Stuck { entered, go_on, page: page.clone() };
    let (queue, guard) = Queue::start(out, |lost_lines| format!("{lost_lines} lost\n"));
    let line = format!("{}\n", "x".repeat(1023));
    let fitting = QUEUE_MAX_BYTES / line.len();

    queue.push("first\n", Urgency::CanWait);
    is_entered.recv().unwrap();
    for _ in 0..fitting + 5 {
        queue.push(&line, Urgency::CanWait);
    }
    queue.push("short, but after the others\n", Urgency::CanWait);
    drop(let_go);
    drop(guard);

    assert_eq!(page.text(), format!("first\n{}6 lost\n", line.repeat(fitting)));
}

#[test]
fn a_stuck_terminal_does_not_keep_the_process_from_ending() {
    let ((entered, is_entered), (let_go, go_on)) = (channel(), channel());
    let (queue, guard) = Queue::start(Stuck { entered, go_on, page: Page::default() }, |_| String::new());
    queue.push("first\n", Urgency::CanWait);
    is_entered.recv().unwrap();
    drop(guard);
    drop(let_go);
}

#[test]
fn the_line_in_place_of_lost_ones_is_a_line_like_others() {
    let event: serde_json::Value = serde_json::from_str(&line::lost(Style::Json, 12)).unwrap();
    assert_eq!((&event["level"], &event["log.lost_lines"]), (&"WARN".into(), &12.into()));
    assert!(line::lost(HUMAN, 12).ends_with("too slow log.lost_lines=12\n"));
}
