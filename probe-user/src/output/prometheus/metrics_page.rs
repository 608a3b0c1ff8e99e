//! Builds a page of metrics.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use twtrace_core::model::series::histogram::Histogram;

use super::Format;
use super::families::{MetricFamily, MetricKind};

/// Labels of a sample, as written between the braces.
#[derive(Clone, Debug, Default)]
pub struct Labels(String);

impl Labels {
    /// Adds a label.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(name);
        self.0.push_str("=\"");
        for char in value.chars() {
            match char {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                // Text never contains it; a reader in C would end there.
                '\0' => self.0.push(char::REPLACEMENT_CHARACTER),
                char => self.0.push(char),
            }
        }
        self.0.push('"');
        self
    }

    /// Adds a label, if it has a value.
    pub fn with_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

/// A page.
#[derive(Debug)]
pub struct MetricsPage {
    text: String,
    format: Format,
}

/// Adds the samples of one family, all together: the formats do not allow to separate them.
#[derive(Debug)]
pub struct Samples<'a> {
    page: &'a mut MetricsPage,
    family: &'static MetricFamily,
    has_head: bool,
}

impl MetricsPage {
    pub fn new(format: Format) -> Self {
        Self {
            text: String::new(),
            format,
        }
    }

    /// Begins a family. A family without samples is not printed.
    pub fn family(&mut self, family: &'static MetricFamily) -> Samples<'_> {
        Samples {
            page: self,
            family,
            has_head: false,
        }
    }

    /// The whole page.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl Samples<'_> {
    /// Adds a number.
    pub fn add(&mut self, labels: &Labels, value: impl Display) {
        self.line(self.family.kind.suffix(), labels, value);
    }

    /// Adds a number without labels.
    pub fn only(&mut self, value: impl Display) {
        self.add(&Labels::default(), value);
    }

    /// Adds a time.
    pub fn add_ns(&mut self, labels: &Labels, ns: u64) {
        self.add(labels, seconds(ns));
    }

    /// Adds a histogram of durations, with one bound of `every`.
    pub fn histogram(&mut self, labels: &Labels, histogram: &Histogram, every: usize) {
        let bounds = histogram.cumulative().skip(every - 1).step_by(every);
        for (bound_ns, count) in bounds {
            let bound = Float(seconds(bound_ns)).to_string();
            self.line("_bucket", &labels.clone().with("le", &bound), count);
        }
        let count = histogram.count();
        self.line("_bucket", &labels.clone().with("le", "+Inf"), count);
        self.line("_sum", labels, seconds(histogram.sum_ns()));
        self.line("_count", labels, count);
    }

    fn line(&mut self, suffix: &str, labels: &Labels, value: impl Display) {
        if !self.has_head {
            self.has_head = true;
            self.head();
        }
        let text = &mut self.page.text;
        let name = self.family.name;
        // Writing to a String does not fail.
        let _ = match labels.0.as_str() {
            "" => writeln!(text, "{name}{suffix} {value}"),
            labels => writeln!(text, "{name}{suffix}{{{labels}}} {value}"),
        };
    }

    fn head(&mut self) {
        let MetricFamily {
            name,
            kind,
            unit,
            help,
            ..
        } = *self.family;
        let is_open = self.page.format == Format::OpenMetrics;
        // The text format does not add suffixes by itself.
        let suffix = if is_open { "" } else { kind.suffix() };
        let word = kind.word(is_open);
        let text = &mut self.page.text;
        // As above.
        let _ = writeln!(text, "# HELP {name}{suffix} {help}");
        let _ = writeln!(text, "# TYPE {name}{suffix} {word}");
        if let Some(unit) = unit.filter(|_| is_open && kind != MetricKind::Info) {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
    }
}

/// A number that is printed as a fraction, so that bounds are the same in both formats.
struct Float(f64);

impl Display for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.fract() == 0.0 {
            write!(f, "{:.1}", self.0)
        } else {
            write!(f, "{}", self.0)
        }
    }
}

/// Nanoseconds as seconds.
pub fn seconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::prometheus::families;

    #[test]
    fn values_of_labels_are_escaped() {
        let labels = Labels::default()
            .with("a", "x\"},y{z=\"\\\n1\0")
            .with_some("b", None)
            .with("c", "");
        assert_eq!(labels.0, "a=\"x\\\"},y{z=\\\"\\\\\\n1\u{fffd}\",c=\"\"");
    }

    #[test]
    fn each_format_has_its_head() {
        let page = |format| {
            let mut page = MetricsPage::new(format);
            page.family(&families::OWN_CPU).only(1.5);
            page.family(&families::HISTORY_WRITES);
            page.family(&families::HOST)
                .add(&Labels::default().with("host", "h"), 1);
            page.finish()
        };
        assert_eq!(
            page(Format::Text),
            "# HELP process_cpu_seconds_total CPU time of twtrace, including the kernel's part.\n\
             # TYPE process_cpu_seconds_total counter\n\
             process_cpu_seconds_total 1.5\n\
             # HELP twtrace_host_info The host that is traced.\n\
             # TYPE twtrace_host_info gauge\n\
             twtrace_host_info{host=\"h\"} 1\n"
        );
        assert_eq!(
            page(Format::OpenMetrics),
            "# HELP process_cpu_seconds CPU time of twtrace, including the kernel's part.\n\
             # TYPE process_cpu_seconds counter\n\
             # UNIT process_cpu_seconds seconds\n\
             process_cpu_seconds_total 1.5\n\
             # HELP twtrace_host The host that is traced.\n\
             # TYPE twtrace_host info\n\
             twtrace_host_info{host=\"h\"} 1\n\
             # EOF\n"
        );
    }
}
