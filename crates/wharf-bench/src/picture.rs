//! The picture: a block of bars for each work, the longest bar being the fastest.

use std::fmt::Write as _;

use crate::report::{Report, WorkReport};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 150.0;
const BAR_MAX: f64 = 470.0;
const BAR_HEIGHT: f64 = 16.0;
const BAR_STEP: f64 = 21.0;
const TITLE_HEIGHT: f64 = 24.0;
const GAP: f64 = 14.0;

/// Tell targets apart in light and in dark, and for most who see few colours.
const COLOURS: [&str; 8] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999", "#b5a800"];

const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #1b1f24 } \
.title { font-weight: 600 } .spread { stroke: #1b1f24; stroke-width: 1.5; opacity: .55 } .back { fill: #ffffff } \
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .spread { stroke: #e6edf3 } .back { fill: #0d1117 } }";

/// The report as an SVG picture.
pub fn picture(report: &Report) -> String {
    let names = names(report);
    let mut body = String::new();
    let mut y = GAP;
    for work in &report.works {
        y = block(&mut body, work, &names, y) + GAP;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y}\" viewBox=\"0 0 {WIDTH} {y}\" role=\"img\">\n\
         <title>Rates of {}, side by side</title>\n<style>{STYLE}</style>\n\
         <rect class=\"back\" width=\"{WIDTH}\" height=\"{y}\"/>\n{body}</svg>\n",
        escaped(&names.join(", "))
    )
}

/// All targets, in the order of their first appearance; the order of their colours.
fn names(report: &Report) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for outcome in report.works.iter().flat_map(|work| &work.outcomes) {
        if !names.contains(&outcome.target) {
            names.push(outcome.target.clone());
        }
    }
    names
}

/// Draws one work from `top` on; where it ends.
fn block(body: &mut String, work: &WorkReport, names: &[String], top: f64) -> f64 {
    let plural = if work.connections == 1 { "" } else { "s" };
    let title = format!("{}, {} connection{plural}", work.title, work.connections);
    line(body, &format!("<text class=\"title\" x=\"{GAP}\" y=\"{}\">{}</text>", top + 14.0, escaped(&title)));
    let longest = work.outcomes.iter().map(|outcome| outcome.rate.max).fold(f64::MIN_POSITIVE, f64::max);
    let mut y = top + TITLE_HEIGHT;
    for outcome in &work.outcomes {
        let colour = names.iter().position(|name| *name == outcome.target).unwrap_or(0) % COLOURS.len();
        let at = |rate: f64| LEFT + BAR_MAX * rate / longest;
        let (rate, middle) = (outcome.rate, y + BAR_HEIGHT / 2.0);
        let text = y + 13.0;
        line(
            body,
            &format!("<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>", LEFT - 8.0, escaped(&outcome.target)),
        );
        line(
            body,
            &format!(
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR_HEIGHT}\" rx=\"2\" fill=\"{}\"/>",
                (at(rate.median) - LEFT).max(1.0),
                COLOURS[colour]
            ),
        );
        line(body, &format!("<path class=\"spread\" d=\"M{:.1} {middle}H{:.1}\"/>", at(rate.min), at(rate.max)));
        line(body, &format!("<text x=\"{:.1}\" y=\"{text}\">{}</text>", at(rate.max) + 8.0, figures(work, outcome)));
        y += BAR_STEP;
    }
    y
}

fn figures(work: &WorkReport, outcome: &crate::Outcome) -> String {
    let rate = work.rate_text(outcome.rate.median);
    match &outcome.cpu {
        Some(cpu) => escaped(&format!("{rate}, {}", work.cpu_text(cpu.median))),
        None => escaped(&rate),
    }
}

fn line(body: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(body, "{text}");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Machine, Outcome, Quantiles, Spread};

    #[test]
    fn each_target_has_its_bar_and_names_are_escaped() {
        let outcome = |target: &str, median| Outcome {
            target: target.to_owned(),
            rate: Spread { median, min: median / 2.0, max: median * 2.0 },
            cpu: Some(Spread { median: 0.1, min: 0.1, max: 0.1 }),
            latency_ms: Quantiles { p50: 1.0, p95: 1.0, p99: 1.0, p999: 1.0, max: 1.0 },
            operations: 1,
        };
        let work = WorkReport {
            name: "pull-small",
            title: "pull blobs".to_owned(),
            connections: 8,
            unit: "operations",
            outcomes: vec![outcome("a<b", 1_000.0), outcome("c", 2_000.0)],
        };
        let machine =
            Machine { processors: 1, model: String::new(), kernel: String::new(), congestion_control: String::new() };
        let report = Report { machine, rounds: 1, window_seconds: 1.0, works: vec![work], memory: Vec::new() };
        let svg = picture(&report);
        assert_eq!(svg.matches("rx=\"2\"").count(), 2);
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b"));
        assert!(svg.contains("2000/s, 100.0 µs"), "{svg}");
    }
}
