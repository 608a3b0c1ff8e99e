//! Metrics for Prometheus.

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text.
    Text,
    /// OpenMetrics.
    OpenMetrics,
}

impl Format {
    /// All.
    pub const ALL: [Self; 2] = [Self::Text, Self::OpenMetrics];

    /// For the HTTP header.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}
/// stub
#[derive(Debug, Default)]
pub struct ServeState {
    pub pages: u64,
    pub is_reload_good: bool,
}
/// stub
pub fn render(_: &crate::model::series::Series, _: &ServeState, _: Format) -> bytes::Bytes {
    bytes::Bytes::new()
}
