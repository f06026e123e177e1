//! Plots of a model in one SVG: ROC, precision and recall, calibration, and where the scores lie.

use super::metrics::{Ranking, calibration_error, share};

/// Four panels of a model's ranking, as the text of an SVG file: the same for the same ranking and title.
pub fn plots(title: &str, ranking: &Ranking) -> String {
    let mut svg = Svg::new(title);
    roc(&mut svg.panel(0, 0), ranking);
    precision_recall(&mut svg.panel(1, 0), ranking);
    calibration(&mut svg.panel(0, 1), ranking);
    histogram(&mut svg.panel(1, 1), ranking);
    svg.finish()
}

fn roc(panel: &mut Panel<'_>, ranking: &Ranking) {
    let heading = format!("ROC: area {:.4}", ranking.roc_auc());
    panel.frame(
        &heading,
        ["false positive rate", "recall"],
        [&QUARTERS, &QUARTERS],
    );
    panel.line("chance", [(0.0, 0.0), (1.0, 1.0)]);
    panel.line("roc fraud", ranking.roc());
}

fn precision_recall(panel: &mut Panel<'_>, ranking: &Ranking) {
    let heading = format!("Precision and recall: average {:.4}", ranking.average_precision());
    panel.frame(&heading, ["recall", "precision"], [&QUARTERS, &QUARTERS]);
    let base_rate = share(ranking.positives(), ranking.rows());
    panel.line("chance", [(0.0, base_rate), (1.0, base_rate)]);
    // In steps, so that the area below the line is the figure in the heading.
    let mut before = 0.0;
    let steps = ranking.precision_recall().flat_map(|(recall, precision)| {
        let left = std::mem::replace(&mut before, recall);
        [(left, precision), (recall, precision)]
    });
    panel.line("precision fraud", steps);
}

fn calibration(panel: &mut Panel<'_>, ranking: &Ranking) {
    let bins = ranking.calibration();
    let heading = format!("Calibration: error {:.4}", calibration_error(&bins));
    panel.frame(
        &heading,
        ["probability as the model says", "share that is fraud"],
        [&QUARTERS, &QUARTERS],
    );
    panel.line("chance", [(0.0, 0.0), (1.0, 1.0)]);
    let points = bins.iter().map(|bin| (bin.probability, bin.observed));
    panel.line("calibration fraud", points.clone());
    points.for_each(|point| panel.dot(point));
}

fn histogram(panel: &mut Panel<'_>, ranking: &Ranking) {
    let (fraud, others) = shares_by_score(ranking);
    let highest = fraud.iter().chain(&others).copied().fold(0.0, f64::max);
    let scores = [0.0, 64.0, 128.0, 192.0].map(|score| Tick {
        at: score / SCORES,
        label: format!("{score:.0}"),
    });
    let shares = [0.0, 0.25, 0.5, 0.75, 1.0].map(|at| Tick {
        at,
        label: format!("{:.3}", at * highest),
    });
    let heading = format!(
        "Scores of {} fraud, {} others",
        ranking.positives(),
        ranking.rows() - ranking.positives()
    );
    panel.frame_with(&heading, ["score", "share of its kind"], [&scores, &shares]);
    panel.line("scores others", stairs(&others, highest));
    panel.line("scores fraud", stairs(&fraud, highest));
    panel.legend(["fraud", "others"]);
}

/// The values of a byte, all of which a histogram has room for.
const SCORES: f64 = 256.0;
/// Bars of the histogram, of eight scores each.
const BARS: usize = 32;

/// The share of fraud in each bar, and that of the rest.
fn shares_by_score(ranking: &Ranking) -> ([f64; BARS], [f64; BARS]) {
    let (mut fraud, mut others) = ([0; BARS], [0; BARS]);
    let (mut positives, mut negatives) = (0, 0);
    for step in ranking.steps() {
        let bar = usize::from(step.log_odds.score()) * BARS / 256;
        fraud[bar] += step.positives - positives;
        others[bar] += step.negatives - negatives;
        (positives, negatives) = (step.positives, step.negatives);
    }
    (
        fraud.map(|count| share(count, positives)),
        others.map(|count| share(count, negatives)),
    )
}

/// The outline of bars, of which the highest reaches the top.
fn stairs(shares: &[f64; BARS], highest: f64) -> impl Iterator<Item = (f64, f64)> {
    shares.iter().enumerate().flat_map(move |(bar, value)| {
        let height = value / highest;
        [(share(bar, BARS), height), (share(bar + 1, BARS), height)]
    })
}

/// A mark on an axis, from 0 at its start to 1 at its end.
struct Tick {
    at: f64,
    label: String,
}

const QUARTERS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
/// What a panel takes, and where its square of data lies, in pixels.
const PANEL_WIDTH: f64 = 440.0;
const PANEL_HEIGHT: f64 = 340.0;
const DATA_LEFT: f64 = 70.0;
const DATA_TOP: f64 = 40.0;
const DATA_WIDTH: f64 = 340.0;
const DATA_HEIGHT: f64 = 240.0;
const TITLE_HEIGHT: f64 = 40.0;
/// A curve's points that lie nearer to the one before are left out.
const APART_MIN: f64 = 0.5;

const STYLE: &str = "text{font:12px sans-serif;fill:#333}.title{font-size:18px}.heading{font-size:14px}\
    .axis{stroke:#333;fill:none}.grid{stroke:#ddd}polyline{fill:none;stroke-width:2}\
    .fraud{stroke:#c0392b}.others{stroke:#2c6fbb}.chance{stroke:#999;stroke-dasharray:4 4;stroke-width:1}\
    circle,text.fraud{fill:#c0392b}text.others{fill:#2c6fbb}text.fraud,text.others{stroke:none}";

struct Svg {
    text: String,
}

impl Svg {
    fn new(title: &str) -> Self {
        let (width, height) = (2.0 * PANEL_WIDTH, 2.0 * PANEL_HEIGHT + TITLE_HEIGHT);
        let mut svg = Self { text: String::new() };
        svg.push(&format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\">"
        ));
        svg.push(&format!("<style>{STYLE}</style>"));
        svg.push("<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>");
        svg.words("title", (width / 2.0, 28.0), "middle", title);
        svg
    }

    fn panel(&mut self, column: u8, row: u8) -> Panel<'_> {
        Panel {
            left: f64::from(column) * PANEL_WIDTH + DATA_LEFT,
            top: f64::from(row) * PANEL_HEIGHT + TITLE_HEIGHT + DATA_TOP,
            svg: self,
        }
    }

    fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn words(&mut self, class: &str, (x, y): (f64, f64), anchor: &str, words: &str) {
        let words = escaped(words);
        self.push(&format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
        ));
    }

    fn finish(mut self) -> String {
        self.push("</svg>");
        self.text
    }
}

/// Text as XML takes it; characters that XML has no place for become spaces.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push(' '),
            other if other.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

/// One plot; its data run from (0, 0) at the lower left to (1, 1) at the upper right.
struct Panel<'a> {
    left: f64,
    top: f64,
    svg: &'a mut Svg,
}

impl Panel<'_> {
    fn frame(&mut self, heading: &str, axes: [&str; 2], ticks: [&[f64]; 2]) {
        let [across, up] = ticks.map(|ticks| {
            let tick = |at: &f64| Tick {
                at: *at,
                label: format!("{at:.2}"),
            };
            ticks.iter().map(tick).collect::<Vec<_>>()
        });
        self.frame_with(heading, axes, [&across, &up]);
    }

    /// Heading, axes with their names, and a line of the grid with a label at every tick.
    fn frame_with(&mut self, heading: &str, axes: [&str; 2], ticks: [&[Tick]; 2]) {
        let (middle, bottom) = (self.left + DATA_WIDTH / 2.0, self.top + DATA_HEIGHT);
        self.svg
            .words("heading", (middle, self.top - 12.0), "middle", heading);
        for tick in ticks[0] {
            self.grid((tick.at, 0.0), (tick.at, 1.0));
            let (x, _) = self.place((tick.at, 0.0));
            self.svg.words("tick", (x, bottom + 16.0), "middle", &tick.label);
        }
        for tick in ticks[1] {
            self.grid((0.0, tick.at), (1.0, tick.at));
            let (_, y) = self.place((0.0, tick.at));
            self.svg
                .words("tick", (self.left - 6.0, y + 4.0), "end", &tick.label);
        }
        self.svg
            .words("label", (middle, bottom + 36.0), "middle", axes[0]);
        self.upright(axes[1]);
        self.svg.push(&format!(
            "<rect class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" width=\"{DATA_WIDTH:.1}\" height=\"{DATA_HEIGHT:.1}\"/>",
            self.left, self.top
        ));
    }

    fn grid(&mut self, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (self.place(from), self.place(to));
        self.svg.push(&format!(
            "<line class=\"grid\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    /// The name of the vertical axis.
    fn upright(&mut self, words: &str) {
        let (x, y) = (self.left - 48.0, self.top + DATA_HEIGHT / 2.0);
        self.svg.push(&format!(
            "<text class=\"label\" text-anchor=\"middle\" transform=\"translate({x:.1} {y:.1}) rotate(-90)\">\
             {}</text>",
            escaped(words)
        ));
    }

    /// A curve; its first and last points are always drawn.
    fn line(&mut self, class: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        let places = points.into_iter().map(|point| self.place(point));
        let places: Vec<String> = thinned(places)
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        self.svg.push(&format!(
            "<polyline class=\"{class}\" points=\"{}\"/>",
            places.join(" ")
        ));
    }

    /// What the colours of the curves stand for, at the upper right.
    fn legend(&mut self, names: [&str; 2]) {
        let right = self.left + DATA_WIDTH - 8.0;
        for (name, down) in names.into_iter().zip([18.0, 34.0]) {
            self.svg.words(name, (right, self.top + down), "end", name);
        }
    }

    fn dot(&mut self, point: (f64, f64)) {
        let (x, y) = self.place(point);
        self.svg
            .push(&format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"));
    }

    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (self.left + x * DATA_WIDTH, self.top + (1.0 - y) * DATA_HEIGHT)
    }
}

/// Points without those that the eye cannot tell from the one before: a curve of a million rows takes no more
/// than one of a thousand.
fn thinned(places: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    let mut skipped = None;
    for place in places {
        let is_far = kept
            .last()
            .is_none_or(|last| (last.0 - place.0).abs().max((last.1 - place.1).abs()) >= APART_MIN);
        if is_far {
            kept.push(place);
        }
        skipped = (!is_far).then_some(place);
    }
    kept.extend(skipped);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::BINS;
    use crate::score::LogOdds;

    fn svg(title: &str) -> String {
        let log_odds: Vec<LogOdds> = (0..4_000).map(|at| LogOdds(at * 37 % 4_001 * 100)).collect();
        let labels: Vec<bool> = log_odds.iter().map(|odds| odds.0 % 7_000 > 5_000).collect();
        plots(title, &Ranking::new(&log_odds, &labels).expect("both kinds"))
    }

    /// The points of the curve of this class.
    fn points(svg: &str, class: &str) -> Vec<(f64, f64)> {
        let start = format!("<polyline class=\"{class}\" points=\"");
        let (_, rest) = svg.split_once(&start).expect("the curve is there");
        let (points, _) = rest.split_once('"').expect("a closed attribute");
        let number = |text: &str| text.parse::<f64>().expect("a number");
        let point = |text: &str| {
            let (x, y) = text.split_once(',').expect("two coordinates");
            (number(x), number(y))
        };
        points.split(' ').map(point).collect()
    }

    #[test]
    fn tags_are_balanced_and_text_is_escaped() {
        let svg = svg("<a & \"b\">\u{0}");
        let mut open = Vec::new();
        for piece in svg.split('<').skip(1) {
            let (tag, text) = piece.split_once('>').expect("a tag ends");
            assert!(!text.contains(['"', '\u{0}']), "{text}");
            let name = tag.split(' ').next().expect("a name");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if tag.ends_with('/') => (),
                None => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
        assert!(svg.contains("&lt;a &amp; &quot;b&quot;&gt; "));
    }

    #[test]
    fn curves_begin_and_end_where_they_belong() {
        let svg = svg("it");
        // The corners of the panel at the upper left.
        let (left, right) = (DATA_LEFT, DATA_LEFT + DATA_WIDTH);
        let (top, bottom) = (TITLE_HEIGHT + DATA_TOP, TITLE_HEIGHT + DATA_TOP + DATA_HEIGHT);
        let roc = points(&svg, "roc fraud");
        assert_eq!(roc.first(), Some(&(left, bottom)));
        assert_eq!(roc.last(), Some(&(right, top)));
        let precision = points(&svg, "precision fraud");
        assert_eq!(precision.first().map(|point| point.0), Some(PANEL_WIDTH + left));
        let end = precision.last().expect("points");
        assert!((end.0 - (PANEL_WIDTH + right)).abs() < 0.1, "{end:?}");
        // The last precision is the base rate, where the line of chance lies.
        assert_eq!(points_of_chance(&svg, 1)[1].1, end.1);
        for class in ["scores fraud", "scores others"] {
            let bars = points(&svg, class);
            assert_eq!(bars.first().map(|point| point.0), Some(PANEL_WIDTH + left));
            assert_eq!(bars.last().map(|point| point.0), Some(PANEL_WIDTH + right));
        }
        assert_eq!(svg.matches("<circle").count(), BINS);
    }

    fn points_of_chance(svg: &str, at: usize) -> Vec<(f64, f64)> {
        let from = svg
            .match_indices("<polyline class=\"chance\"")
            .nth(at)
            .expect("a line a panel")
            .0;
        points(&svg[from..], "chance")
    }

    #[test]
    fn a_long_curve_is_thinned_and_keeps_its_ends() {
        let long = (0..1_000_000).map(|at| (f64::from(at) / 10_000.0, 0.0));
        let short = thinned(long.clone());
        assert!(short.len() < 250, "{}", short.len());
        assert_eq!(
            [short.first(), short.last()],
            [Some(&(0.0, 0.0)), long.clone().next_back().as_ref()]
        );
        assert!(svg("it").len() < 60_000);
    }

    #[test]
    fn the_same_ranking_gives_the_same_text() {
        assert_eq!(svg("it"), svg("it"));
        let four = [3, 2, 1, 0].map(LogOdds);
        let ranking = Ranking::new(&four, &[true, false, true, false]).expect("both kinds");
        let svg = plots("it", &ranking);
        assert!(svg.contains("ROC: area 0.7500"));
        assert!(svg.contains("average 0.8333"));
        assert!(svg.contains("Scores of 2 fraud, 2 others"));
    }
}
