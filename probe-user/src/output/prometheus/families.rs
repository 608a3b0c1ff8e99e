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
    (@labels P) => { &PROCESS };
    (@labels P, $a:literal) => {
        &[PROCESS[0], PROCESS[1], PROCESS[2], PROCESS[3], PROCESS[4], $a]
    };
    (@labels P, $a:literal, $b:literal) => {
        &[PROCESS[0], PROCESS[1], PROCESS[2], PROCESS[3], PROCESS[4], $a, $b]
    };
    (@labels $($label:literal),+) => { &[$($label),+] };
}

families! {
    BUILD: Info "twtrace_build" {"version"} "Version of twtrace.";
    HOST: Info "twtrace_host" {"host", "kernel"} "The host that is traced.";
    TIER: Info "twtrace_tier" {"question", "tier"} "By what kind of hook each question is answered.";
    EXACT: Gauge "twtrace_exact" {"figures"}
        "1 where figures are complete, 0 where they are lower bounds or presumed.";
    START: Gauge "twtrace_start_time_seconds" ["seconds"] {} "When tracing began, Unix time.";
    LOST: Counter "twtrace_lost" {"probe"} "Facts that were lost, by who lost them.";
    RECURSION_MISSES: Counter "twtrace_recursion_misses" {"program"}
        "Runs of a program that the kernel skipped, as one was running on that CPU.";
    SERIES: Gauge "twtrace_series" {"of"} "Processes and destinations that have series of their own.";
    SERIES_LIMIT: Gauge "twtrace_series_limit" {"of"}
        "How many may have series of their own; the rest is other.";

    TIME_WAITS: Counter "twtrace_time_waits" {"side"} "TIME_WAIT sockets made, those in FIN_WAIT2 included.";
    FIN_WAIT2: Counter "twtrace_time_waits_in_fin_wait2" {"side"} "TIME_WAIT sockets that began in FIN_WAIT2, before the peer's FIN.";
    OVERFLOWS: Counter "twtrace_time_wait_overflows" {"side"} "TIME_WAIT sockets that the kernel refused to make.";
    ENDED: Counter "twtrace_time_waits_ended" {"cause"} "TIME_WAIT sockets that went.";
    REUSED: Counter "twtrace_time_waits_reused" {} "TIME_WAIT sockets whose ports connects took.";
    HINDERED: Counter "twtrace_connects_hindered" {}
        "Connects that met a TIME_WAIT socket whose port they could not take.";
    REFUSED: Counter "twtrace_time_waits_refused" {"reason"}
        "TIME_WAIT sockets that connects met and whose ports they could not take, by what stood in the way.";
    RESIDENCE: Histogram "twtrace_time_wait_residence_seconds" ["seconds"] {"cause"}
        "How long TIME_WAIT sockets stayed.";
    RESETS: Counter "twtrace_resets" {"direction", "reason"} "RSTs sent and received.";
    ABORTS: Counter "twtrace_aborts" {"reason"} "Connections that died without a RST.";
    SEARCHES: Counter "twtrace_port_searches" {"op"} "Searches for a local port.";
    FAILURES: Counter "twtrace_port_failures" {"op"} "Searches for a local port that failed.";
    PORT_ERRORS: Counter "twtrace_port_errors" {"op", "errno"} "Searches for a local port that failed, by error.";
    SEARCH_DURATION: Histogram "twtrace_port_search_duration_seconds" ["seconds"] {"op", "exact"}
        "How long searches for a local port took; where not exact, at most.";

    P_TIME_WAITS: Counter "twtrace_process_time_waits" {P, "side"} "TIME_WAIT sockets made, by who closed first.";
    P_FIN_WAIT2: Counter "twtrace_process_time_waits_in_fin_wait2" {P, "side"} "TIME_WAIT sockets that began in FIN_WAIT2, before the peer's FIN.";
    P_OVERFLOWS: Counter "twtrace_process_time_wait_overflows" {P, "side"}
        "TIME_WAIT sockets that the kernel refused to make.";
    P_ENDED: Counter "twtrace_process_time_waits_ended" {P, "cause"}
        "TIME_WAIT sockets that went, by who had made them.";
    P_REUSED: Counter "twtrace_process_time_waits_reused" {P}
        "TIME_WAIT sockets, whoever had made them, whose ports its connects took.";
    P_HINDERED: Counter "twtrace_process_connects_hindered" {P}
        "Connects that met a TIME_WAIT socket whose port they could not take.";
    P_REFUSED: Counter "twtrace_process_time_waits_refused" {P, "reason"}
        "TIME_WAIT sockets that its connects met and whose ports they could not take, by what stood in the way.";
    P_RESETS: Counter "twtrace_process_resets" {P, "direction", "reason"} "RSTs sent and received.";
    P_ABORTS: Counter "twtrace_process_aborts" {P, "reason"} "Connections that died without a RST.";
    P_SEARCHES: Counter "twtrace_process_port_searches" {P, "op"} "Searches for a local port.";
    P_FAILURES: Counter "twtrace_process_port_failures" {P, "op"} "Searches for a local port that failed.";
    P_SEARCH_DURATION: Histogram "twtrace_process_port_search_duration_seconds" ["seconds"] {P, "op"}
        "How long searches for a local port took.";

    D_TIME_WAITS: Counter "twtrace_destination_time_waits" {"side", "remote", "local"} "TIME_WAIT sockets made.";
    D_OVERFLOWS: Counter "twtrace_destination_time_wait_overflows" {"side", "remote", "local"}
        "TIME_WAIT sockets that the kernel refused to make.";
    D_REUSED: Counter "twtrace_destination_time_waits_reused" {"side", "remote", "local"}
        "TIME_WAIT sockets whose ports connects took.";
    D_HINDERED: Counter "twtrace_destination_connects_hindered" {"side", "remote", "local"}
        "Connects that met a TIME_WAIT socket whose port they could not take.";
    D_RESETS: Counter "twtrace_destination_resets" {"side", "remote", "local", "direction", "reason"}
        "RSTs sent and received.";
    D_ABORTS: Counter "twtrace_destination_aborts" {"side", "remote", "local", "reason"}
        "Connections that died without a RST.";
    D_FAILURES: Counter "twtrace_destination_port_failures" {"side", "remote", "local"}
        "Searches for a local port that failed.";

    BUDGET_CAPACITY: Gauge "twtrace_budget_capacity_ports" ["ports"] {"netns", "pool", "source", "destination", "range"}
        "Local ports that there are for connections from this source to this destination.";
    BUDGET_FREE: Gauge "twtrace_budget_free_ports" ["ports"] {"netns", "pool", "source", "destination", "range"}
        "Local ports of a budget that a search would find.";
    BUDGET_TIME_WAIT: Gauge "twtrace_budget_time_wait_ports" ["ports"] {"netns", "pool", "source", "destination", "range"}
        "Local ports of a budget that TIME_WAIT sockets hold.";
    BUDGET_USED: Gauge "twtrace_budget_used_ratio" ["ratio"] {"netns", "pool", "source", "destination", "range"}
        "Part of the local ports of a budget that is not free, 0 to 1.";
    BUDGET_EXHAUSTION: Gauge "twtrace_budget_exhaustion_seconds" ["seconds"] {"netns", "pool", "source", "destination", "range"}
        "Time until no local port of a budget is free at the rate of late: 0 where none is, +Inf for never.";
    BUDGET_UNKNOWN: Gauge "twtrace_budget_unknown_namespaces" ["namespaces"] {}
        "Network namespaces whose budgets are not known.";
    NETNS: Info "twtrace_netns" {"netns", "name", "named_after"}
        "What a network namespace that other metrics tell of is called.";
    SOCKETS: Gauge "twtrace_time_wait_sockets" ["sockets"] {} "TIME_WAIT sockets that there are, by the kernel's count.";
    NETNS_SOCKETS: Gauge "twtrace_netns_time_wait_sockets" ["sockets"] {"netns"} "TIME_WAIT sockets of a network namespace, by the kernel's count.";
    NETNS_LIMIT: Gauge "twtrace_netns_time_wait_limit_sockets" ["sockets"] {"netns"}
        "TIME_WAIT sockets that a network namespace may have: tcp_max_tw_buckets.";
    NETNS_UNSEEN: Gauge "twtrace_unseen_namespaces" ["namespaces"] {} "Network namespaces that could not be looked into.";
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
        "TIME_WAIT sockets made since tracing began, as twtrace and the kernel counted them.";
    AUDIT_DIFFERENCE: Gauge "twtrace_audit_difference_sockets" ["sockets"] {"netns"}
        "TIME_WAIT sockets that were traced less those that the kernel counted: negative where some were missed.";
    AUDIT_UNCERTAINTY: Gauge "twtrace_audit_uncertainty_sockets" ["sockets"] {"netns"}
        "TIME_WAIT sockets that were made while both counts were read, by which their difference may be off.";
    AUDIT_REFUSED: Gauge "twtrace_audit_refused_time_waits" {"netns", "counted_by"}
        "TIME_WAIT sockets refused since tracing began, as twtrace and the kernel counted them.";
    AUDIT_RESETS: Gauge "twtrace_audit_resets_sent" {"netns", "counted_by"}
        "RSTs sent since tracing began, as twtrace and the kernel counted them.";
    AUDIT_CONNECTIONS: Gauge "twtrace_audit_connections_reset" {"netns", "counted_by"}
        "Connections that a RST, an abort or a timeout ended since tracing began, as twtrace and the kernel counted them.";
    AUDIT_ENDED: Gauge "twtrace_audit_ended_time_waits" {"netns", "counted_by"}
        "TIME_WAIT sockets that went since tracing began, as twtrace and the kernel counted them.";
    AUDIT_REUSED: Gauge "twtrace_audit_reused_time_waits" {"netns", "counted_by"}
        "TIME_WAIT sockets whose port a connect() took since tracing began, as twtrace and the kernel counted them.";
    AUDIT_OFF: Gauge "twtrace_audit_off_namespaces" ["namespaces"] {}
        "Network namespaces where a figure differs from the kernel's by more than went on while both were read.";
    AUDIT_ALL: Gauge "twtrace_audit_absolute_difference_sockets" ["sockets"] {}
        "Sum of the differences of all network namespaces, without their signs.";

    HISTORY_WRITES: Counter "twtrace_history_writes" {} "Intervals written to the history.";
    HISTORY_FAILURES: Counter "twtrace_history_failures" {} "Writes to the history that failed.";
    HISTORY_DROPPED: Counter "twtrace_history_dropped" {} "Intervals that the history does not have, as they could not be written.";
    HISTORY_FAILING: Gauge "twtrace_history_failing" {} "1 while the history can't be written.";
    HISTORY_SIZE: Gauge "twtrace_history_size_bytes" ["bytes"] {} "What the history takes.";
    HISTORY_OLDEST: Gauge "twtrace_history_oldest_timestamp_seconds" ["seconds"] {}
        "Beginning of the oldest interval that it remembers, Unix time.";
    RELOAD_OK: Gauge "twtrace_config_last_reload_successful" {} "1 where the configuration was last reloaded with success.";
    RELOAD_AT: Gauge "twtrace_config_last_reload_timestamp_seconds" ["seconds"] {} "When the configuration was last reloaded, with success or not, Unix time.";
    SCRAPES: Counter "twtrace_collections" {} "Pages of metrics that were made.";
    OWN_RESIDENT: Gauge "process_resident_memory_bytes" ["bytes"] {} "Memory that twtrace has in RAM.";
    OWN_CPU: Counter "process_cpu_seconds" ["seconds"] {} "CPU time that twtrace took, in the kernel too.";
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
