//! Values of options that clap does not parse by itself.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use twtrace_core::event::words::Word;

/// `10s`, `1ms`, `1m 30s`; also a bare 0.
pub fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}: write a number with its unit, such as 10s or 500us"))
}

/// Bytes: `4096`, `500M` (powers of ten), `2GiB`.
pub fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "k" | "K" | "kB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "T" | "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err("write a number of bytes, such as 500M or 2GiB".to_owned()),
    };
    number
        .parse()
        .ok()
        .and_then(|number: u64| number.checked_mul(factor))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "write a number of bytes, such as 500M or 2GiB".to_owned())
}

/// Parses a power of two within bounds.
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

/// Parses one of a set's words.
pub fn words<T: Word + Send + Sync>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::MEMBERS.iter().map(|member| member.word()))
        .try_map(|word| T::from_word(&word).ok_or("not one of the possible values"))
}
