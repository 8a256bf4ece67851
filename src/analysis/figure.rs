//! The reports as a figure: a panel a tensor, each on a scale of its own, as SVG that follows the reader's light or dark scheme.

use super::{MethodError, Report};
use std::fmt::Write;

/// Sizes in pixels of the user's coordinates.
mod size {
    /// Panels side by side.
    pub const PANELS: usize = 3;
    pub const PANEL: usize = 340;
    pub const GAP: usize = 28;
    pub const MARGIN: usize = 24;
    pub const HEADER: usize = 64;
    /// A line of text with its bar.
    pub const LINE: usize = 18;
    pub const BAR: usize = 10;
    /// Between one part of a panel and the next.
    pub const SPACE: usize = 6;
    /// Where bars start and how long the longest is.
    pub const BARS: usize = 148;
    pub const LONGEST: usize = 130;
    /// Characters of a tensor's name that a panel has room for.
    pub const NAME: usize = 40;
}

/// Plain rules first: what does not know of schemes, or of variables, shows the light one.
const STYLE: &str = "\
svg { font-family: system-ui, sans-serif; font-size: 12px; }
text { fill: #1c2024; }
.title { font-size: 16px; font-weight: 600; }
.name { font-size: 13px; font-weight: 600; }
.quiet { fill: #646c75; }
.label { text-anchor: end; }
.least { font-weight: 700; }
.ground { fill: #ffffff; }
.rail { fill: #eceef1; }
.error { fill: #3566b0; }
.share { fill: #a8551f; }
@media (prefers-color-scheme: dark) {
  text { fill: #e7eaed; }
  .quiet { fill: #9aa3ac; }
  .ground { fill: #15181b; }
  .rail { fill: #272c31; }
  .error { fill: #7ba7ea; }
  .share { fill: #e09a63; }
}
";

/// The figure, a whole SVG file. Bars of errors go up to the tensor's largest, so that methods can be told apart however
/// large another tensor's errors are; bars of shares go to 100 %. Numbers stand beside the bars; the smallest error of a tensor is bold.
pub fn svg(reports: &[Report]) -> String {
    let methods = reports
        .iter()
        .map(|report| report.errors.len())
        .max()
        .unwrap_or(0);
    // Name, shape, a heading and the methods, a heading and the shares, the ranges.
    let lines = methods + 4 + 5;
    let panel = lines * size::LINE + 3 * size::SPACE + size::GAP;
    let (across, down) = (
        reports.len().clamp(1, size::PANELS),
        reports.len().div_ceil(size::PANELS),
    );
    let width = 2 * size::MARGIN + across * size::PANEL + (across - 1) * size::GAP;
    let height = 2 * size::MARGIN + size::HEADER + down * panel;
    let mut text = String::new();
    let _ = write!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\">\n<title>Quantisation of {} tensors</title>\n<style>\n{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n",
        reports.len()
    );
    let (left, top) = (size::MARGIN, size::MARGIN + 16);
    let _ = write!(
        text,
        "<text class=\"title\" x=\"{left}\" y=\"{top}\">What quantising costs</text>\n\
         <text class=\"quiet\" x=\"{left}\" y=\"{}\">Relative error by method, up to the tensor's largest; shares of the \
         energy up to 100 %</text>\n",
        top + 20
    );
    for (number, report) in reports.iter().enumerate() {
        let x = size::MARGIN + number % size::PANELS * (size::PANEL + size::GAP);
        let y = size::MARGIN + size::HEADER + number / size::PANELS * panel;
        let _ = writeln!(text, "<g transform=\"translate({x} {y})\">");
        Panel::new(&mut text).report(report);
        text.push_str("</g>\n");
    }
    text.push_str("</svg>\n");
    text
}

/// A panel, written line by line.
struct Panel<'t> {
    text: &'t mut String,
    /// The base line of the line before.
    y: usize,
}

impl<'t> Panel<'t> {
    fn new(text: &'t mut String) -> Self {
        Self { text, y: 0 }
    }

    fn report(&mut self, report: &Report) {
        let shape: Vec<String> = report.shape.iter().map(usize::to_string).collect();
        self.words("name", &shortened(&report.tensor), Some(&report.tensor));
        let shape = shape.join(" × ");
        self.words(
            "quiet",
            &format!("{shape}, blocks along axis {}", report.axis),
            None,
        );
        self.heading("relative error");
        let found = report
            .errors
            .iter()
            .filter_map(|error| error.relative_error);
        let (least, largest) = found.fold((f64::INFINITY, 0.0_f64), |(least, largest), own| {
            (least.min(own), largest.max(own))
        });
        for error in &report.errors {
            self.error(error, largest, least);
        }
        self.heading("share of the energy");
        let energy = &report.energy;
        for (label, share) in [
            ("mean over rows", energy.mean),
            ("first direction", energy.first),
            ("1.5 % of directions", energy.leading_1_5_percent),
            ("5 % of directions", energy.leading_5_percent),
        ] {
            self.bar("share", label, share, share, "");
        }
        self.y += size::SPACE;
        let range = &report.range;
        let ranges = format!(
            "range {:.1} bits; in a block {:.1}, at most {:.1}; of scales {:.1}",
            range.tensor, range.block_median, range.block_largest, range.scales
        );
        self.words("quiet", &ranges, None);
    }

    fn error(&mut self, error: &MethodError, largest: f64, least: f64) {
        match error.relative_error {
            Some(own) => {
                let weight = if own == least { " class=\"least\"" } else { "" };
                let length = if largest > 0.0 { own / largest } else { 0.0 };
                self.bar("error", &error.method, length, own, weight);
            }
            None => {
                let y = self.next();
                let (label, value) = (size::BARS - 8, size::BARS);
                let method = escaped(&error.method);
                let _ = writeln!(
                    self.text,
                    "<text class=\"label\" x=\"{label}\" y=\"{y}\">{method}</text>\
                     <text class=\"quiet\" x=\"{value}\" y=\"{y}\">kept</text>"
                );
            }
        }
    }

    /// A label, a bar of that length from 0 to 1, and the value it stands for.
    fn bar(&mut self, class: &str, label: &str, length: f64, value: f64, weight: &str) {
        let y = self.next();
        let (end, start) = (size::BARS - 8, size::BARS);
        let (longest, thick) = (size::LONGEST, size::BAR);
        let own = length.clamp(0.0, 1.0) * longest as f64;
        let (top, after) = (y - thick + 1, start + longest + 8);
        let (label, value) = (escaped(label), 100.0 * value);
        let _ = writeln!(
            self.text,
            "<text class=\"label\" x=\"{end}\" y=\"{y}\">{label}</text>\
             <rect class=\"rail\" x=\"{start}\" y=\"{top}\" width=\"{longest}\" height=\"{thick}\" rx=\"2\"/>\
             <rect class=\"{class}\" x=\"{start}\" y=\"{top}\" width=\"{own:.1}\" height=\"{thick}\" rx=\"2\"/>\
             <text{weight} x=\"{after}\" y=\"{y}\">{value:.2} %</text>"
        );
    }

    /// What the next bars are.
    fn heading(&mut self, words: &str) {
        self.y += size::SPACE;
        self.words("quiet", words, None);
    }

    /// A line of text, and in full what it shortens.
    fn words(&mut self, class: &str, words: &str, full: Option<&str>) {
        let y = self.next();
        let full = full.map_or_else(String::new, |full| {
            format!("<title>{}</title>", escaped(full))
        });
        let words = escaped(words);
        let _ = writeln!(
            self.text,
            "<text class=\"{class}\" x=\"0\" y=\"{y}\">{full}{words}</text>"
        );
    }

    /// The base line of the next line.
    fn next(&mut self) -> usize {
        self.y += size::LINE;
        self.y
    }
}

/// The end of a name that is too long: what tells tensors of a model apart.
fn shortened(name: &str) -> String {
    let count = name.chars().count();
    if count <= size::NAME {
        return name.to_owned();
    }
    let end: String = name.chars().skip(count - size::NAME + 1).collect();
    format!("…{end}")
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for own in text.chars() {
        match own {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML has no place for these, not even escaped.
            own if own.is_control() => escaped.push('\u{fffd}'),
            own => escaped.push(own),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Energy, Range};

    fn report(tensor: &str, errors: &[(&str, Option<f64>)]) -> Report {
        Report {
            tensor: tensor.to_owned(),
            shape: vec![64, 32],
            axis: 1,
            energy: Energy {
                mean: 0.5,
                first: 0.6,
                leading_1_5_percent: 0.7,
                leading_5_percent: 0.8,
            },
            range: Range {
                largest: 8.0,
                smallest: 0.5,
                tensor: 4.0,
                block_median: 1.5,
                block_largest: 3.0,
                scales: 2.0,
            },
            errors: errors
                .iter()
                .map(|&(method, relative_error)| MethodError {
                    method: method.to_owned(),
                    relative_error,
                    kept: None,
                })
                .collect(),
        }
    }

    #[test]
    fn bars_go_up_to_the_tensors_largest_and_the_least_error_is_bold() {
        let reports = [
            report("a", &[("te", Some(0.05)), ("mx", Some(0.1))]),
            report("b", &[("te", Some(0.2)), ("mx", None)]),
        ];
        let text = svg(&reports);
        // Of 130 at most: the first tensor's errors are ½ and 1 of its largest, the second's is its largest; a mean's share
        // of 50 % twice is 65, too.
        let widths = [("65.0", 3), ("130.0", 2)];
        for (width, count) in widths {
            let own = format!("width=\"{width}\"");
            assert_eq!(text.matches(&own).count(), count, "{width}: {text}");
        }
        assert!(text.contains("<text class=\"least\" x=\"286\" y=\"78\">5.00 %</text>"));
        assert!(text.contains(">kept</text>"));
    }

    #[test]
    fn names_are_escaped_and_shortened_at_their_start() {
        let name = format!("params['a<b>']{}", "x".repeat(40));
        let text = svg(&[report(&name, &[])]);
        assert!(text.contains("<title>params['a&lt;b&gt;']x"));
        assert!(text.contains(&format!("…{}</text>", "x".repeat(39))));
    }

    #[test]
    fn no_tensor_makes_an_empty_figure() {
        assert!(svg(&[]).ends_with("</svg>\n"));
    }
}
