//! Plots as inline SVG: shapes only. Words are beside them in HTML, so that they keep their size on a phone.

use std::fmt::Write;

use maud::{Markup, html};

/// Height of a plot in its own units; a unit of width is one interval.
const HEIGHT: f64 = 100.0;
/// Minimum height of a value other than 0, to be visible.
const LEAST: f64 = 3.0;

/// Steps, one per value, scaled to the highest. `alternative` describes in words what they show.
pub fn steps(values: &[u64], alternative: &str) -> Markup {
    let highest = values.iter().copied().max().unwrap_or(0).max(1);
    let mut path = format!("M0 {HEIGHT}");
    let mut x = 0;
    while x < values.len() {
        let value = values[x];
        let equal = values[x..]
            .iter()
            .take_while(|next| **next == value)
            .count();
        x += equal;
        // Writing to a String does not fail.
        let _ = write!(path, "V{:.1}H{x}", HEIGHT - height(value, highest));
    }
    let _ = write!(path, "V{HEIGHT}Z");
    html! {
        svg.steps role="img" aria-label=(alternative) preserveAspectRatio="none"
            viewBox=(format!("0 0 {} {HEIGHT}", values.len().max(1))) {
            title { (alternative) }
            path d=(path) vector-effect="non-scaling-stroke" {}
        }
    }
}

fn height(value: u64, highest: u64) -> f64 {
    match value {
        0 => 0.0,
        value => (HEIGHT * value as f64 / highest as f64).max(LEAST),
    }
}

/// A bar of adjacent parts; each has a class and its share of the whole (0 to 1).
pub fn bar(parts: &[(&str, f64)], alternative: &str) -> Markup {
    let mut left = 0.0;
    html! {
        svg.bar role="img" aria-label=(alternative) preserveAspectRatio="none" viewBox="0 0 1000 10" {
            title { (alternative) }
            rect.whole x="0" y="0" width="1000" height="10" {}
            @for (class, share) in parts {
                @let width = share.clamp(0.0, 1.0 - left);
                rect class=(class) y="0" height="10"
                    x=(format!("{:.1}", left * 1000.0)) width=(format!("{:.1}", width * 1000.0)) {}
                ({ left += width; "" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_reach_from_the_ground_to_the_top() {
        let plot = steps(&[0, 0, 5, 10, 0], "what").into_string();
        assert!(plot.contains("viewBox=\"0 0 5 100\""), "{plot}");
        assert!(
            plot.contains("M0 100V100.0H2V50.0H3V0.0H4V100.0H5V100Z"),
            "{plot}"
        );
        assert!(plot.contains("role=\"img\" aria-label=\"what\""), "{plot}");
        // A small value beside a large one is still visible.
        assert!(steps(&[1, 100_000], "").into_string().contains("V97.0H1"));
        assert!(
            steps(&[], "")
                .into_string()
                .contains("viewBox=\"0 0 1 100\"")
        );
    }

    #[test]
    fn parts_stand_side_by_side_and_stay_inside() {
        let plot = bar(&[("live", 0.25), ("tw", 0.9)], "x").into_string();
        assert!(plot.contains("x=\"0.0\" width=\"250.0\""), "{plot}");
        assert!(plot.contains("x=\"250.0\" width=\"750.0\""), "{plot}");
    }
}
