//! Response and slowdown by percentile, as a picture (SVG).
//!
//! Both axes are logarithmic: upwards the value, to the right the share of tasks that are worse, so that
//! each step to the right (90 %, 99 %, 99.9 %) is as wide as the last.

use std::fmt::Write as _;

use crate::compare::Run;
use crate::figures::Percentile;

const WIDTH: f64 = 1_110.0;
const PANEL_WIDTH: f64 = 420.0;
const PANEL_HEIGHT: f64 = 340.0;
const TOP: f64 = 60.0;
const LEFT: f64 = 80.0;
const PANEL_STEP: f64 = 550.0;
const LEGEND_TOP: f64 = TOP + PANEL_HEIGHT + 84.0;
const LEGEND_LINE: f64 = 22.0;
/// Told apart by most eyes; then again with another dash.
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000",
];
const DASHES: [&str; 3] = ["", "8 4", "2 3"];

/// What stands above and beside the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// What was run.
    pub title: String,
    /// What times are in: `mean service times`, `seconds`.
    pub unit: &'static str,
}

/// One of the two pictures.
struct Panel {
    title: &'static str,
    upwards: String,
    left: f64,
    value: fn(&Percentile) -> f64,
}

/// Where values stand: the powers of ten at both ends of each axis.
struct Scale {
    left: f64,
    low: f64,
    high: f64,
    /// Decades to the right.
    decades: f64,
}

/// Draws several runs on the same arrivals.
#[must_use]
pub fn plot(heading: &Heading, runs: &[Run]) -> String {
    let height = LEGEND_TOP + LEGEND_LINE * runs.len() as f64 + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    text(
        &mut svg,
        WIDTH / 2.0,
        24.0,
        "middle",
        &escape(&heading.title),
    );
    let panels = [
        Panel {
            title: "Response",
            upwards: format!("response, in {}", heading.unit),
            left: LEFT,
            value: |p| p.response,
        },
        Panel {
            title: "Slowdown",
            upwards: "slowdown: response / duration".to_owned(),
            left: LEFT + PANEL_STEP,
            value: |p| p.slowdown,
        },
    ];
    for panel in &panels {
        panel.draw(&mut svg, runs);
    }
    legend(&mut svg, runs);
    svg.push_str("</svg>\n");
    svg
}

impl Panel {
    fn draw(&self, svg: &mut String, runs: &[Run]) {
        let scale = self.scale(runs);
        let middle = self.left + PANEL_WIDTH / 2.0;
        text(svg, middle, TOP - 10.0, "middle", self.title);
        text(
            svg,
            middle,
            TOP + PANEL_HEIGHT + 44.0,
            "middle",
            "percentile of tasks",
        );
        let (x, y) = (self.left - 66.0, TOP + PANEL_HEIGHT / 2.0);
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" \
             transform=\"rotate(-90 {x:.1} {y:.1})\">{}</text>",
            self.upwards
        );
        scale.draw(svg);
        for (index, run) in runs.iter().enumerate() {
            let points = run.figures.percentiles.iter().map(|p| {
                let (x, y) = (scale.x(1.0 - p.share), scale.y((self.value)(p)));
                format!("{x:.1},{y:.1}")
            });
            let points: Vec<String> = points.collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke-width=\"2\" {}/>",
                points.join(" "),
                stroke(index)
            );
        }
    }

    fn scale(&self, runs: &[Run]) -> Scale {
        let points = || runs.iter().flat_map(|run| &run.figures.percentiles);
        let values = || points().map(self.value).filter(|value| *value > 0.0);
        let low = values()
            .fold(f64::INFINITY, f64::min)
            .clamp(1e-3, 1e9)
            .log10()
            .floor();
        let high = values().fold(0.0, f64::max).max(1e-3).log10().ceil();
        let decades = points()
            .map(|p| -(1.0 - p.share).log10())
            .fold(1.0, f64::max);
        Scale {
            left: self.left,
            low,
            high: high.max(low + 1.0),
            decades,
        }
    }
}

impl Scale {
    fn x(&self, worse: f64) -> f64 {
        self.left + PANEL_WIDTH * -worse.log10() / self.decades
    }

    fn y(&self, value: f64) -> f64 {
        let value = value.max(1e-9).log10().clamp(self.low, self.high);
        TOP + PANEL_HEIGHT * (self.high - value) / (self.high - self.low)
    }

    fn draw(&self, svg: &mut String) {
        let (left, right, bottom) = (self.left, self.left + PANEL_WIDTH, TOP + PANEL_HEIGHT);
        for power in (self.low as i32)..=(self.high as i32) {
            let value = 10_f64.powi(power);
            line(
                svg,
                (left, self.y(value)),
                (right, self.y(value)),
                "#cccccc",
            );
            text(
                svg,
                left - 8.0,
                self.y(value) + 4.0,
                "end",
                &value.to_string(),
            );
            for part in (2..10)
                .map(f64::from)
                .filter(|_| f64::from(power) < self.high)
            {
                line(
                    svg,
                    (left, self.y(value * part)),
                    (right, self.y(value * part)),
                    "#eeeeee",
                );
            }
        }
        for (worse, label) in [
            (1.0, "0"),
            (0.5, "50"),
            (0.1, "90"),
            (0.01, "99"),
            (1e-3, "99.9"),
            (1e-4, "99.99"),
            (1e-5, "99.999"),
        ] {
            if -f64::log10(worse) <= self.decades + 1e-9 {
                line(
                    svg,
                    (self.x(worse), TOP),
                    (self.x(worse), bottom),
                    "#cccccc",
                );
                text(svg, self.x(worse), bottom + 20.0, "middle", label);
            }
        }
        line(svg, (left, TOP), (left, bottom), "black");
        line(svg, (left, bottom), (right, bottom), "black");
    }
}

fn legend(svg: &mut String, runs: &[Run]) {
    for (index, run) in runs.iter().enumerate() {
        let y = LEGEND_TOP + LEGEND_LINE * index as f64;
        let (from, to) = (LEFT, LEFT + 40.0);
        let _ = writeln!(
            svg,
            "<line x1=\"{from}\" y1=\"{y}\" x2=\"{to}\" y2=\"{y}\" stroke-width=\"2\" {}/>",
            stroke(index)
        );
        let figures = &run.figures;
        let label = format!(
            "{}: mean response {:.3}, mean slowdown {:.3}",
            run.strategy, figures.mean_response, figures.mean_slowdown
        );
        text(svg, to + 10.0, y + 4.0, "start", &escape(&label));
    }
}

fn stroke(index: usize) -> String {
    let colour = COLOURS[index % COLOURS.len()];
    let dash = DASHES[index / COLOURS.len() % DASHES.len()];
    format!("stroke=\"{colour}\" stroke-dasharray=\"{dash}\"")
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
