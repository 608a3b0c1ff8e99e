//! Parses a page of metrics.

use anyhow::{Context as _, Result};

/// Sum of the samples of one name that have all these labels.
///
/// # Errors
/// If a value is not a number.
pub fn sum(page: &str, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
    let wanted: Vec<String> = labels
        .iter()
        .map(|(label, value)| format!("{label}=\"{value}\""))
        .collect();
    let mut sum = 0.0;
    for line in page.lines() {
        let Some((sample, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let (of, labels) = sample.split_once('{').unwrap_or((sample, ""));
        if of == name && wanted.iter().all(|wanted| labels.contains(wanted)) {
            let value: f64 = value.parse().with_context(|| line.to_owned())?;
            sum += value;
        }
    }
    Ok(sum)
}
