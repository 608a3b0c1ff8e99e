//! All metrics.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only increases.
    Counter,
    /// It increases and decreases.
    Gauge,
    /// Counts by size.
    Histogram,
    /// Always 1: its labels are the information.
    Info,
}

impl MetricKind {
    /// Name of the type in each format: the text format has no info.
    pub const fn word(self, has_info: bool) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Histogram => "histogram",
            Self::Info if has_info => "info",
            Self::Gauge | Self::Info => "gauge",
        }
    }

    /// Suffix of sample names.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            Self::Gauge | Self::Histogram => "",
        }
    }
}

/// A metric family.
#[derive(Debug, PartialEq, Eq)]
pub struct MetricFamily {
    /// Without the suffix of its kind.
    pub name: &'static str,
    pub kind: MetricKind,
    /// The base unit at the end of the name, if any.
    pub unit: Option<&'static str>,
    pub labels: &'static [&'static str],
    /// Description.
    pub help: &'static str,
}

/// Labels that identify a process.
pub const PROCESS: [&str; 5] = ["process", "container_id", "pod_uid", "unit", "unattributed"];

macro_rules! families {
    ($($id:ident: $kind:ident $name:literal $([$unit:literal])? {$($label:tt),*} $help:literal;)+) => {
        $(
            #[doc = $help]
            pub static $id: MetricFamily = MetricFamily {
                name: $name,
                kind: MetricKind::$kind,
                unit: families!(@unit $($unit)?),
                labels: families!(@labels $($label),*),
                help: $help,
            };
        )+

        /// All of them.
        #[cfg(test)]
        pub static ALL: &[&MetricFamily] = &[$(&$id,)+];
    };
    (@unit) => { None };
    (@unit $unit:literal) => { Some($unit) };
    (@labels) => { &[] };
    (@labels P $(, $label:literal)*) => {
        &[PROCESS[0], PROCESS[1], PROCESS[2], PROCESS[3], PROCESS[4] $(, $label)*]
    };
    (@labels $($label:literal),+) => { &[$($label),+] };
}

families! {
    BUILD: Info "twtrace_build" {"version"} "Version of twtrace.";
    HOST: Info "twtrace_host" {"host", "kernel"} "The host that is traced.";
    TIER: Info "twtrace_tier" {"question", "tier"} "Kind of hook that each capability uses.";
    EXACT: Gauge "twtrace_exact" {"figures"}
        "1 where figures are complete, 0 where they are lower bounds or presumed.";
    START: Gauge "twtrace_start_time_seconds" ["seconds"] {} "When tracing began, Unix time.";
    LOST: Counter "twtrace_lost" {"probe"} "Events and details that were lost, by probe.";
    RECURSION_MISSES: Counter "twtrace_recursion_misses" {"program"}
        "Runs of a program that the kernel skipped because another one was running on that CPU.";
    SERIES: Gauge "twtrace_series" {"of"} "Processes, destinations and pairs that have series of their own.";
    SERIES_LIMIT: Gauge "twtrace_series_limit" {"of"}
        "Maximum number with series of their own; the rest is counted as other.";

    TIME_WAITS: Counter "twtrace_time_waits" {"side"} "TIME_WAIT sockets created, those in FIN_WAIT2 included.";
    FIN_WAIT2: Counter "twtrace_time_waits_in_fin_wait2" {"side"} "TIME_WAIT sockets that began in FIN_WAIT2, before the peer's FIN.";
    OVERFLOWS: Counter "twtrace_time_wait_overflows" {"side"} "TIME_WAIT sockets that the kernel refused to create.";
    ENDED: Counter "twtrace_time_waits_ended" {"cause"} "TIME_WAIT sockets that ended.";
    REUSED: Counter "twtrace_time_waits_reused" {} "TIME_WAIT sockets whose ports connect() reused.";
    HINDERED: Counter "twtrace_connects_hindered" {}
        "connect() calls that found a TIME_WAIT socket whose port they could not reuse.";
    REFUSED: Counter "twtrace_time_waits_refused" {"reason"}
        "TIME_WAIT sockets whose ports connect() could not reuse, by reason.";
    RESIDENCE: Histogram "twtrace_time_wait_residence_seconds" ["seconds"] {"cause"}
        "Age of TIME_WAIT sockets when they ended.";
    RESETS: Counter "twtrace_resets" {"direction", "reason"} "RSTs sent and received.";
    ABORTS: Counter "twtrace_aborts" {"reason"} "Connections that ended without FIN and without RST.";
    SEARCHES: Counter "twtrace_port_searches" {"op"} "Ephemeral port allocations.";
    FAILURES: Counter "twtrace_port_failures" {"op"} "Ephemeral port allocations that failed.";
    PORT_ERRORS: Counter "twtrace_port_errors" {"op", "errno"} "Ephemeral port allocations that failed, by error.";
    FIXED_PORT_ERRORS: Counter "twtrace_fixed_port_errors" {"op", "errno"}
        "Calls for one fixed port that failed, by error: bind() and listen(), or connect() of a bound socket.";
    SEARCH_DURATION: Histogram "twtrace_port_search_duration_seconds" ["seconds"] {"op", "exact"}
        "Duration of ephemeral port allocations; an upper bound if not exact.";

    P_TIME_WAITS: Counter "twtrace_process_time_waits" {P, "side"} "TIME_WAIT sockets created, by the process that closed first.";
    P_FIN_WAIT2: Counter "twtrace_process_time_waits_in_fin_wait2" {P, "side"} "TIME_WAIT sockets that began in FIN_WAIT2, before the peer's FIN.";
    P_OVERFLOWS: Counter "twtrace_process_time_wait_overflows" {P, "side"}
        "TIME_WAIT sockets that the kernel refused to create.";
    P_ENDED: Counter "twtrace_process_time_waits_ended" {P, "cause"}
        "TIME_WAIT sockets that ended, by the process that created them.";
    P_REUSED: Counter "twtrace_process_time_waits_reused" {P}
        "TIME_WAIT sockets of any process whose ports its connect() calls reused.";
    P_HINDERED: Counter "twtrace_process_connects_hindered" {P}
        "connect() calls that found a TIME_WAIT socket whose port they could not reuse.";
    P_REFUSED: Counter "twtrace_process_time_waits_refused" {P, "reason"}
        "TIME_WAIT sockets whose ports its connect() calls could not reuse, by reason.";
    P_RESETS: Counter "twtrace_process_resets" {P, "direction", "reason"} "RSTs sent and received.";
    P_ABORTS: Counter "twtrace_process_aborts" {P, "reason"} "Connections that ended without FIN and without RST.";
    P_SEARCHES: Counter "twtrace_process_port_searches" {P, "op"} "Ephemeral port allocations.";
    P_FAILURES: Counter "twtrace_process_port_failures" {P, "op"} "Ephemeral port allocations that failed.";
    P_SEARCH_DURATION: Histogram "twtrace_process_port_search_duration_seconds" ["seconds"] {P, "op"}
        "Duration of ephemeral port allocations.";

    D_TIME_WAITS: Counter "twtrace_destination_time_waits" {"side", "remote", "local"} "TIME_WAIT sockets created.";
    D_OVERFLOWS: Counter "twtrace_destination_time_wait_overflows" {"side", "remote", "local"}
        "TIME_WAIT sockets that the kernel refused to create.";
    D_REUSED: Counter "twtrace_destination_time_waits_reused" {"side", "remote", "local"}
        "TIME_WAIT sockets whose ports connect() reused.";
    D_HINDERED: Counter "twtrace_destination_connects_hindered" {"side", "remote", "local"}
        "connect() calls that found a TIME_WAIT socket whose port they could not reuse.";
    D_RESETS: Counter "twtrace_destination_resets" {"side", "remote", "local", "direction", "reason"}
        "RSTs sent and received.";
    D_ABORTS: Counter "twtrace_destination_aborts" {"side", "remote", "local", "reason"}
        "Connections that ended without FIN and without RST.";
    D_FAILURES: Counter "twtrace_destination_port_failures" {"side", "remote", "local"}
        "Ephemeral port allocations that failed.";

    PAIR_TIME_WAITS: Counter "twtrace_pair_time_waits" {P, "side", "remote", "local"}
        "TIME_WAIT sockets created, by process and destination.";
    PAIR_RESETS: Counter "twtrace_pair_resets" {P, "side", "remote", "local", "direction", "reason"}
        "RSTs sent and received, by process and destination.";
    PAIR_ABORTS: Counter "twtrace_pair_aborts" {P, "side", "remote", "local", "reason"}
        "Connections that ended without FIN and without RST, by process and destination.";
    PAIR_FAILURES: Counter "twtrace_pair_port_failures" {P, "side", "remote", "local"}
        "Ephemeral port allocations that failed, by process and destination.";

    BUDGET_CAPACITY: Gauge "twtrace_budget_capacity_ports" ["ports"] {"netns", "pool", "source", "destination", "range"}
        "Local ports available to connections from this source to this destination.";
    BUDGET_FREE: Gauge "twtrace_budget_free_ports" ["ports"] {"netns", "pool", "source", "destination", "range"}
        "Free local ports of a port pool.";
    BUDGET_TIME_WAIT: Gauge "twtrace_budget_time_wait_ports" ["ports"] {"netns", "pool", "source", "destination", "range"}
        "Local ports of a port pool that TIME_WAIT sockets hold.";
    BUDGET_USED: Gauge "twtrace_budget_used_ratio" ["ratio"] {"netns", "pool", "source", "destination", "range"}
        "Fraction of the local ports of a port pool that is not free, 0 to 1.";
    BUDGET_EXHAUSTION: Gauge "twtrace_budget_exhaustion_seconds" ["seconds"] {"netns", "pool", "source", "destination", "range"}
        "Time until no local port of a port pool is free at the current rate: 0 if none is, +Inf for never.";
    BUDGET_UNKNOWN: Gauge "twtrace_budget_unknown_namespaces" ["namespaces"] {}
        "Network namespaces whose port pools are not known.";
    NETNS: Info "twtrace_netns" {"netns", "name", "named_after"}
        "Name of a network namespace that other metrics show by number.";
    SOCKETS: Gauge "twtrace_time_wait_sockets" ["sockets"] {} "TIME_WAIT sockets that exist, by the kernel's count.";
    NETNS_SOCKETS: Gauge "twtrace_netns_time_wait_sockets" ["sockets"] {"netns"} "TIME_WAIT sockets of a network namespace, by the kernel's count.";
    NETNS_LIMIT: Gauge "twtrace_netns_time_wait_limit_sockets" ["sockets"] {"netns"}
        "TIME_WAIT sockets that a network namespace may have: tcp_max_tw_buckets.";
    NETNS_UNSEEN: Gauge "twtrace_unseen_namespaces" ["namespaces"] {} "Network namespaces that could not be read.";
    CONNTRACK: Gauge "twtrace_netns_conntrack_entries" ["entries"] {"netns"} "Connections that a network namespace tracks.";
    CONNTRACK_LIMIT: Gauge "twtrace_netns_conntrack_limit_entries" ["entries"] {"netns"}
        "Connections that a network namespace has room to track.";
    CLOSE_WAIT: Gauge "twtrace_close_wait_sockets" ["sockets"] {P}
        "Connections that the peer has closed and the process has not.";
    CLOSE_WAIT_OLDEST: Gauge "twtrace_close_wait_oldest_seconds" ["seconds"] {P}
        "How long the oldest connection that the peer has closed has been so, at least.";
    TIME_WAIT_MEMORY: Gauge "twtrace_time_wait_memory_bytes" ["bytes"] {} "Memory that TIME_WAIT sockets take.";
    SLAB_OBJECTS: Gauge "twtrace_slab_active_objects" ["objects"] {"cache"} "Objects in use of a cache of the kernel.";
    SLAB_ACTIVE: Gauge "twtrace_slab_active_bytes" ["bytes"] {"cache"} "Memory that objects in use of a cache of the kernel take.";
    SLAB_HELD: Gauge "twtrace_slab_held_bytes" ["bytes"] {"cache"} "Memory that a cache of the kernel holds, for unused objects too.";
    AUDITED: Gauge "twtrace_audit_namespaces" ["namespaces"] {"audited"}
        "Network namespaces whose TIME_WAIT sockets were compared with the kernel's own count, or could not be.";
    AUDIT_BIRTHS: Gauge "twtrace_audit_time_waits" {"netns", "counted_by"}
        "TIME_WAIT sockets created since tracing began, as twtrace and the kernel counted them.";
    AUDIT_DIFFERENCE: Gauge "twtrace_audit_difference_sockets" ["sockets"] {"netns"}
        "TIME_WAIT sockets that were traced minus those that the kernel counted: negative if some were missed.";
    AUDIT_UNCERTAINTY: Gauge "twtrace_audit_uncertainty_sockets" ["sockets"] {"netns"}
        "TIME_WAIT sockets that were created while both counts were read: the uncertainty of their difference.";
    AUDIT_REFUSED: Gauge "twtrace_audit_refused_time_waits" {"netns", "counted_by"}
        "TIME_WAIT sockets refused since tracing began, as twtrace and the kernel counted them.";
    AUDIT_RESETS: Gauge "twtrace_audit_resets_sent" {"netns", "counted_by"}
        "RSTs sent since tracing began, as twtrace and the kernel counted them.";
    AUDIT_CONNECTIONS: Gauge "twtrace_audit_connections_reset" {"netns", "counted_by"}
        "Connections that a RST, an abort or a timeout ended since tracing began, as twtrace and the kernel counted them.";
    AUDIT_ENDED: Gauge "twtrace_audit_ended_time_waits" {"netns", "counted_by"}
        "TIME_WAIT sockets that ended since tracing began, as twtrace and the kernel counted them.";
    AUDIT_REUSED: Gauge "twtrace_audit_reused_time_waits" {"netns", "counted_by"}
        "TIME_WAIT sockets whose port a connect() took since tracing began, as twtrace and the kernel counted them.";
    AUDIT_OFF: Gauge "twtrace_audit_off_namespaces" ["namespaces"] {}
        "Network namespaces where a figure differs from the kernel's by more than the uncertainty of reading.";
    AUDIT_ALL: Gauge "twtrace_audit_absolute_difference_sockets" ["sockets"] {}
        "Sum of the differences of all network namespaces, without their signs.";

    FINDINGS: Gauge "twtrace_findings" {"id", "severity"}
        "Findings of doctor about the last interval, by id and severity. See `twtrace explain ID`.";
    FINDINGS_AT: Gauge "twtrace_findings_timestamp_seconds" ["seconds"] {}
        "End of the last interval that was checked for findings, Unix time.";

    HISTORY_WRITES: Counter "twtrace_history_writes" {} "Intervals written to the history.";
    HISTORY_FAILURES: Counter "twtrace_history_failures" {} "Writes to the history that failed.";
    HISTORY_DROPPED: Counter "twtrace_history_dropped" {} "Intervals missing from the history because they could not be written.";
    HISTORY_FAILING: Gauge "twtrace_history_failing" {} "1 while the history can't be written.";
    HISTORY_SIZE: Gauge "twtrace_history_size_bytes" ["bytes"] {} "What the history takes.";
    HISTORY_OLDEST: Gauge "twtrace_history_oldest_timestamp_seconds" ["seconds"] {}
        "Beginning of the oldest interval in the history, Unix time.";
    RELOAD_OK: Gauge "twtrace_config_last_reload_successful" {} "1 if the last reload of the configuration succeeded.";
    RELOAD_AT: Gauge "twtrace_config_last_reload_timestamp_seconds" ["seconds"] {} "Time of the last reload of the configuration, successful or not, Unix time.";
    SCRAPES: Counter "twtrace_collections" {} "Scrapes that were answered.";
    OWN_RESIDENT: Gauge "process_resident_memory_bytes" ["bytes"] {} "Memory that twtrace has in RAM.";
    OWN_CPU: Counter "process_cpu_seconds" ["seconds"] {} "CPU time of twtrace, including the kernel's part.";
    OWN_START: Gauge "process_start_time_seconds" ["seconds"] {} "When twtrace was started, Unix time.";
    OWN_FDS: Gauge "process_open_fds" {} "Descriptors that twtrace has open.";
}

#[cfg(test)]
impl MetricFamily {
    /// Name of its samples, except for a histogram's.
    pub fn sample_name(&self) -> String {
        format!("{}{}", self.name, self.kind.suffix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for family in ALL {
            let name = family.name;
            let is_word =
                |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_';
            assert!(name.chars().all(is_word), "{name}");
            assert!(
                name.starts_with("twtrace_") || name.starts_with("process_"),
                "{name}"
            );
            for suffix in ["_total", "_info", "_bucket", "_count", "_sum", "_created"] {
                assert!(!name.ends_with(suffix), "{name}");
            }
            if let Some(unit) = family.unit {
                assert!(name.ends_with(&format!("_{unit}")), "{name}");
            }
            assert!(
                family.help.ends_with('.') && !family.help.contains(['\n', '\\', '"']),
                "{name}"
            );
            let same = ALL.iter().filter(|other| other.name == name);
            assert_eq!(same.count(), 1, "{name}");
        }
    }
}
