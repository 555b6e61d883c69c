//! The rows of a report as a picture: pairs of bars on a logarithmic scale, in SVG.

use std::fmt::Write;

/// A pair of bars.
pub(crate) struct Bars<'a> {
    pub label: String,
    pub unit: &'a str,
    pub ours: f64,
    pub peers: f64,
}

const LEFT: f64 = 300.0;
const WIDTH: f64 = 420.0;
const BAR: f64 = 11.0;
const ROW: f64 = 34.0;
const OURS: &str = "#1f6f8b";
const PEERS: &str = "#c9b79c";

/// Draws the pairs, each in the scale of its own unit.
pub(crate) fn draw(title: &str, bars: &[Bars<'_>]) -> String {
    let height = 60.0 + ROW * bars.len() as f64;
    let total = LEFT + WIDTH + 130.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {total} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{total}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"15\">{}</text>\n",
        escape(title)
    );
    for (at, (name, colour)) in [("precast", OURS), ("wasmtime", PEERS)].into_iter().enumerate() {
        let x = LEFT + 110.0 * at as f64;
        let _ = writeln!(svg, "<rect x=\"{x}\" y=\"33\" width=\"11\" height=\"11\" fill=\"{colour}\"/>");
        let _ = writeln!(svg, "<text x=\"{}\" y=\"43\">{name}</text>", x + 16.0);
    }
    for (at, pair) in bars.iter().enumerate() {
        let y = 56.0 + ROW * at as f64;
        let same = bars.iter().filter(|other| other.unit == pair.unit).flat_map(|other| [other.ours, other.peers]);
        let (least, most) =
            same.fold((f64::MAX, f64::MIN), |(least, most), figure| (least.min(figure), most.max(figure)));
        let least = least / 2.0;
        let length = |figure: f64| WIDTH * (figure / least).ln() / (most / least).ln();
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 15.0,
            escape(&pair.label)
        );
        for (figure, colour, y) in [(pair.ours, OURS, y), (pair.peers, PEERS, y + BAR + 1.0)] {
            let length = length(figure);
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n\
                 <text x=\"{:.1}\" y=\"{}\" font-size=\"10\">{}</text>",
                LEFT + length + 4.0,
                y + 9.0,
                escape(&readable(figure, pair.unit))
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn readable(figure: f64, unit: &str) -> String {
    match unit {
        "ns" if figure >= 1000.0 => format!("{:.1} µs", figure / 1000.0),
        _ if figure >= 100.0 => format!("{figure:.0} {unit}"),
        _ => format!("{figure:.1} {unit}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
