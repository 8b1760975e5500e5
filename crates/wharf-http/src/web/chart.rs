//! Lines over time, drawn by the server. What a chart shows stands in a table beside it, and its description says the same in a
//! sentence; so nobody needs to see it.

use std::fmt::Write as _;

/// The size of the drawing, in its own units: it is stretched to whatever room there is.
const WIDTH: u64 = 1_000;
const HEIGHT: u64 = 200;

/// A chart.
pub(super) struct Chart {
    /// Different for each on a page.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What it shows, in a sentence.
    pub(super) description: String,
    /// What the highest line of the drawing stands for.
    pub(super) top: String,
    /// What its left and right ends stand for.
    pub(super) from: String,
    pub(super) to: String,
    pub(super) lines: Vec<Line>,
}

/// One line of it.
pub(super) struct Line {
    /// How the style sheet knows it: `own`, `shared` or `bad`.
    pub(super) class: &'static str,
    pub(super) label: &'static str,
    points: Vec<(u64, u64)>,
    highest: u64,
}

impl Line {
    /// Through these points, from left to right: where in the whole width, and how high.
    pub(super) fn new(class: &'static str, label: &'static str, points: Vec<(u64, u64)>) -> Self {
        let highest = points.iter().map(|(_, value)| *value).max().unwrap_or(0);
        Self { class, label, points, highest }
    }

    pub(super) fn highest(&self) -> u64 {
        self.highest
    }
}

impl Chart {
    /// The points of a line, as SVG writes them.
    pub(super) fn points(&self, line: &Line) -> String {
        let highest = self.lines.iter().map(Line::highest).max().unwrap_or(0).max(1);
        let (first, last) = self.width();
        let mut text = String::new();
        for (at, value) in &line.points {
            let x = scaled(at.saturating_sub(first), last.saturating_sub(first).max(1), WIDTH);
            let y = HEIGHT - scaled(*value, highest, HEIGHT);
            let gap = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{gap}{x},{y}");
        }
        text
    }

    fn width(&self) -> (u64, u64) {
        let places = || self.lines.iter().flat_map(|line| line.points.iter().map(|(at, _)| *at));
        (places().min().unwrap_or(0), places().max().unwrap_or(0))
    }
}

fn scaled(part: u64, whole: u64, length: u64) -> u64 {
    u64::try_from(u128::from(part) * u128::from(length) / u128::from(whole.max(1))).unwrap_or(length)
}

#[cfg(test)]
mod tests {
    use super::{Chart, Line};

    fn chart(lines: Vec<Line>) -> Chart {
        let text = String::new;
        Chart { id: "x", title: "x", description: text(), top: text(), from: text(), to: text(), lines }
    }

    #[test]
    fn lines_share_one_scale_and_stay_within_the_drawing() {
        let low = Line::new("own", "low", vec![(10, 0), (15, 50), (20, 100)]);
        let high = Line::new("shared", "high", vec![(10, 200), (20, u64::MAX)]);
        let chart = chart(vec![low, high]);
        assert_eq!(chart.points(&chart.lines[0]), "0,200 500,200 1000,200");
        assert_eq!(chart.points(&chart.lines[1]), "0,200 1000,0");
    }

    #[test]
    fn nothing_at_all_is_a_line_at_the_bottom() {
        let one = chart(vec![Line::new("own", "one", vec![(0, 0), (1, 0)])]);
        assert_eq!(one.points(&one.lines[0]), "0,200 1000,200");
        let none = chart(vec![Line::new("own", "none", Vec::new())]);
        assert_eq!(none.points(&none.lines[0]), "");
    }
}
