//! Curves over steps, or over another quantity, as SVG.

use std::fmt::Write;

use minijinja::HtmlEscape;

/// A curve: its name, its colour and its points.
pub type Curve<'a> = (&'a str, &'a str, Vec<(f64, f64)>);

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 28.0;

/// One plot as an HTML figure with an SVG that scales with the page. The text is empty if no point is finite. `over` names the
/// quantity of the horizontal axis; without it the axis has steps, which are integers.
pub(crate) fn plot(title: &str, over: Option<&str>, curves: &[Curve]) -> String {
    let points = || curves.iter().flat_map(|curve| &curve.2).filter(|point| point.1.is_finite());
    if points().next().is_none() {
        return String::new();
    }
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if high > low { (low, high) } else { (low - 0.5 * low.abs().max(1e-9), high + 0.5 * high.abs().max(1e-9)) }
    };
    let (x0, x1) = range(&mut points().map(|point| point.0));
    let (y0, y1) = range(&mut points().map(|point| point.1));
    let x = |value: f64| LEFT + (value - x0) / (x1 - x0) * (WIDTH - LEFT - 8.0);
    let y = |value: f64| 8.0 + (y1 - value) / (y1 - y0) * (HEIGHT - BOTTOM - 8.0);
    let mut svg = String::new();
    for tick in 0..=4 {
        let value = y0 + f64::from(tick) / 4.0 * (y1 - y0);
        let (at, label) = (y(value), number(value));
        write!(
            svg,
            "<line x1='{LEFT}' x2='{WIDTH}' y1='{at:.1}' y2='{at:.1}' stroke='#ddd'/><text x='{:.1}' y='{:.1}' \
             text-anchor='end'>{label}</text>",
            LEFT - 6.0,
            at + 4.0
        )
        .ok();
    }
    // The last label ends at the right edge of the plot.
    let whole = |value: f64| if over.is_none() { value.round() } else { value };
    let mut places: Vec<f64> = (0..=4).map(|tick| whole(x0 + f64::from(tick) / 4.0 * (x1 - x0))).collect();
    places.dedup();
    places.retain(|place| (x0..=x1).contains(place));
    for place in places {
        let anchor = if place == x1 { "end" } else { "middle" };
        let label = if over.is_none() { place.to_string() } else { number(place) };
        write!(svg, "<text x='{:.1}' y='{:.1}' text-anchor='{anchor}'>{label}</text>", x(place), HEIGHT - 8.0).ok();
    }
    for (name, colour, points) in curves.iter().filter(|curve| !curve.2.is_empty()) {
        let line: Vec<String> = points
            .iter()
            .filter(|point| point.1.is_finite())
            .map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)))
            .collect();
        let (first, line) = (line.first().cloned().unwrap_or_default(), line.join(" "));
        let (cx, cy) = first.split_once(',').unwrap_or(("0", "0"));
        write!(
            svg,
            "<polyline points='{line}' fill='none' stroke='{colour}' stroke-width='1.5'><title>{}</title></polyline>\
             <circle cx='{cx}' cy='{cy}' r='2' fill='{colour}'/>",
            HtmlEscape(name)
        )
        .ok();
    }
    let names: Vec<String> = curves
        .iter()
        .filter(|curve| !curve.2.is_empty())
        .map(|(name, colour, _)| format!("<span style='color:{colour}'>{}</span>", HtmlEscape(name)))
        .collect();
    format!(
        "<figure><figcaption><b>{}</b> over {}: {}</figcaption><svg viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' style='max-width:100%'>{svg}</svg></figure>\n",
        HtmlEscape(title),
        HtmlEscape(over.unwrap_or("steps")),
        names.join(", ")
    )
}

fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_every_curve_that_has_points() {
        let points = vec![(1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0)];
        let svg = plot("Loss", None, &[("training", "red", points), ("held out", "blue", Vec::new())]);
        assert!(svg.contains("points='64.0,8.0 632.0,212.0'"), "{svg}");
        assert!(svg.contains("training") && !svg.contains("held out"));
        // Three steps, three labels.
        assert_eq!(svg.matches("y='232.0'").count(), 3, "{svg}");
        assert!(svg.contains("text-anchor='end'>3</text>") && svg.contains("text-anchor='middle'>2</text>"));
        assert_eq!(plot("Loss", None, &[("training", "red", Vec::new())]), "");
        assert!(!plot("Flat", None, &[("a", "red", vec![(1.0, 0.0)])]).contains("NaN"));
    }

    #[test]
    fn another_axis_has_fractions_and_a_name() {
        let svg = plot("Loss", Some("log10 <FLOP>"), &[("a", "red", vec![(18.0, 2.0), (19.0, 1.0)])]);
        assert!(svg.contains(">18.250</text>") && svg.contains("</b> over log10 &lt;FLOP&gt;: "), "{svg}");
    }

    #[test]
    fn names_are_escaped() {
        let svg = plot("<b>", None, &[("a&b", "red", vec![(1.0, 0.0)])]);
        assert!(svg.contains("&lt;b&gt;") && svg.contains("a&amp;b") && !svg.contains("<b><b>"), "{svg}");
    }
}
