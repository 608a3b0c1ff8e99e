//! Times and sizes in the short form of tables.

/// Such as `950ns`, `12.3us`, `4.00ms`, `350s` or `1h05m`.
pub fn duration(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    match ns {
        0..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => three_digits(ns as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => three_digits(ns as f64 / 1e6, "ms"),
        _ if seconds < 600 => three_digits(ns as f64 / 1e9, "s"),
        _ if seconds < 3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ if seconds < 86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// With thousands separated: `9,740`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of events per second, in few characters: `0.04`, `6.4`, `1,530`.
pub fn rate(per_s: f64) -> String {
    match per_s {
        0.0 => "0".to_owned(),
        ..0.95 => format!("{per_s:.2}"),
        ..9.95 => format!("{per_s:.1}"),
        _ => count(per_s.round() as u64),
    }
}

/// Such as `612B`, `1.50KiB` or `20.0MiB`: powers of 1,024.
pub fn bytes(count: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    let in_units = |unit: u64, name| three_digits(count as f64 / unit as f64, name);
    match count {
        0..KIB => format!("{count}B"),
        KIB..MIB => in_units(KIB, "KiB"),
        MIB..GIB => in_units(MIB, "MiB"),
        _ => in_units(GIB, "GiB"),
    }
}

fn three_digits(value: f64, unit: &str) -> String {
    if value < 9.995 {
        format!("{value:.2}{unit}")
    } else if value < 99.95 {
        format!("{value:.1}{unit}")
    } else {
        format!("{value:.0}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (ns, text) in [
            (0, "0ns"),
            (999, "999ns"),
            (1_500, "1.50us"),
            (12_345, "12.3us"),
            (4_000_000, "4.00ms"),
            (350_000_000_000, "350s"),
            (660_000_000_000, "11m00s"),
            (3_900_000_000_000, "1h05m"),
            (90_000_000_000_000, "1d01h"),
        ] {
            assert_eq!(duration(ns), text);
        }
    }

    #[test]
    fn counts_and_rates() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (9_740, "9,740"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(count(number), text);
        }
        for (per_s, text) in [
            (0.0, "0"),
            (0.04, "0.04"),
            (0.96, "1.0"),
            (6.42, "6.4"),
            (9.97, "10"),
            (1_530.4, "1,530"),
        ] {
            assert_eq!(rate(per_s), text);
        }
    }

    #[test]
    fn sizes() {
        for (count, text) in [
            (0, "0B"),
            (612, "612B"),
            (1_023, "1023B"),
            (1_536, "1.50KiB"),
            (20 << 20, "20.0MiB"),
            (5 << 40, "5120GiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
