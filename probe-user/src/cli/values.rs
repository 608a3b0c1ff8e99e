//! Values of options that clap does not parse by itself.

use std::time::Duration;

/// `10s`, `1ms`, `1m 30s`; a bare 0 too.
pub fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}: write a number with its unit, such as 10s or 500us"))
}

/// A power of two within bounds.
pub fn power_of_two(
    low: u32,
    high: u32,
) -> impl Fn(&str) -> Result<u32, String> + Clone + Send + Sync + 'static {
    move |text| {
        text.parse()
            .ok()
            .filter(|number: &u32| number.is_power_of_two() && (low..=high).contains(number))
            .ok_or_else(|| format!("not a power of two from {low} to {high}"))
    }
}
