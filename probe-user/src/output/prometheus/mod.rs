//! Metrics for Prometheus.

mod event_counters;
pub mod families;
mod gauges;
#[cfg(test)]
mod grammar;
mod metrics_page;
mod own;

use bytes::Bytes;

use metrics_page::MetricsPage;
pub use own::{Own, ServeState};
use twtrace_core::model::series::Series;

/// Format of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The text format.
    Text,
    /// The OpenMetrics format.
    OpenMetrics,
}

impl Format {
    pub const ALL: [Self; 2] = [Self::Text, Self::OpenMetrics];

    /// Value of the HTTP header.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The page of metrics: the series, and the state of the service.
pub fn render(series: &Series, state: &ServeState, format: Format) -> Bytes {
    let mut page = MetricsPage::new(format);
    own::trust(&mut page, series);
    event_counters::whole(&mut page, series);
    event_counters::processes(&mut page, series);
    event_counters::destinations(&mut page, series);
    event_counters::pairs(&mut page, series);
    gauges::budgets(&mut page, series);
    gauges::namespaces(&mut page, series);
    gauges::close_wait(&mut page, series);
    gauges::memory(&mut page, series);
    gauges::audit(&mut page, series);
    if let Some(findings) = &state.findings {
        own::findings(&mut page, findings);
    }
    own::service(&mut page, state);
    page.finish().into()
}

#[cfg(test)]
mod deployed;
#[cfg(test)]
mod samples;
#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
