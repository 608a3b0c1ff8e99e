-- Version 1 of the history. Integers and text, so that `sqlite3` answers questions; JSON where only twtrace reads it.
-- Times are nanoseconds since 1970 (`_unix_ns`) or of CLOCK_MONOTONIC (`_mono_ns`); the views have them as text, UTC.

-- One for each time that tracing began.
CREATE TABLE run(
    id INTEGER PRIMARY KEY,
    began_unix_ns INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    host TEXT NOT NULL,
    kernel TEXT NOT NULL,
    twtrace TEXT NOT NULL,
    tiers TEXT NOT NULL -- JSON, as in `report --json`
);

-- What was counted over one interval, in sum. Ids grow with time, whatever the clock does.
CREATE TABLE interval(
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL,
    start_unix_ns INTEGER NOT NULL,
    end_unix_ns INTEGER NOT NULL,
    start_mono_ns INTEGER NOT NULL,
    end_mono_ns INTEGER NOT NULL,
    kept_unix_ns INTEGER NOT NULL, -- what its age is judged by: never goes back, and does not leap
    time_wait_client INTEGER NOT NULL, time_wait_server INTEGER NOT NULL, time_wait_unknown INTEGER NOT NULL,
    overflow INTEGER NOT NULL,
    reset_sent INTEGER NOT NULL, reset_received INTEGER NOT NULL,
    port_failures INTEGER NOT NULL,
    lost INTEGER NOT NULL, -- events
    exact_processes INTEGER NOT NULL, exact_destinations INTEGER NOT NULL,
    exact_refused_reuse INTEGER NOT NULL, exact_ends INTEGER NOT NULL,
    processes_folded INTEGER NOT NULL, -- processes that had no row of their own
    dealings_left_out INTEGER NOT NULL,
    events_left_out INTEGER NOT NULL, -- notable events that are not in `event_row`
    rest TEXT NOT NULL, -- JSON
    looks_before BLOB, -- JSON, compressed: settings of namespaces, where they are not those after the interval before
    looks_after BLOB
);
CREATE INDEX interval_end ON interval(end_unix_ns);

-- Processes.
CREATE TABLE who(
    id INTEGER PRIMARY KEY,
    pid INTEGER NOT NULL,
    start_boot_ns INTEGER NOT NULL, -- with `pid` its identity, while the host is up
    comm TEXT NOT NULL,
    uid INTEGER,
    exe TEXT,
    cgroup TEXT,
    container TEXT,
    pod TEXT,
    unit TEXT,
    json TEXT NOT NULL, -- as `process` in `trace --json`
    last_interval_id INTEGER NOT NULL
);
CREATE INDEX who_key ON who(pid, start_boot_ns);
CREATE INDEX who_last ON who(last_interval_id);

-- By process. Where `who_id` is null, `unattributed` says why.
CREATE TABLE process_row(
    interval_id INTEGER NOT NULL, n INTEGER NOT NULL,
    who_id INTEGER, unattributed TEXT,
    time_wait_unknown INTEGER NOT NULL, time_wait_client INTEGER NOT NULL, time_wait_server INTEGER NOT NULL,
    fin_wait2_unknown INTEGER NOT NULL, fin_wait2_client INTEGER NOT NULL, fin_wait2_server INTEGER NOT NULL,
    overflow_unknown INTEGER NOT NULL, overflow_client INTEGER NOT NULL, overflow_server INTEGER NOT NULL,
    reset_sent_other INTEGER NOT NULL, reset_sent_linger_zero INTEGER NOT NULL, reset_sent_unread_data INTEGER NOT NULL,
    reset_sent_data_after_close INTEGER NOT NULL, reset_sent_refused INTEGER NOT NULL, reset_sent_no_socket INTEGER NOT NULL,
    reset_sent_time_wait INTEGER NOT NULL, reset_sent_timeout INTEGER NOT NULL, reset_sent_aborted INTEGER NOT NULL,
    reset_sent_peer INTEGER NOT NULL, reset_received_other INTEGER NOT NULL, reset_received_linger_zero INTEGER NOT NULL,
    reset_received_unread_data INTEGER NOT NULL, reset_received_data_after_close INTEGER NOT NULL, reset_received_refused INTEGER NOT NULL,
    reset_received_no_socket INTEGER NOT NULL, reset_received_time_wait INTEGER NOT NULL, reset_received_timeout INTEGER NOT NULL,
    reset_received_aborted INTEGER NOT NULL, reset_received_peer INTEGER NOT NULL, abort_other INTEGER NOT NULL,
    abort_timeout INTEGER NOT NULL, abort_destroyed INTEGER NOT NULL,
    ended_expired INTEGER NOT NULL, ended_reused_by_connect INTEGER NOT NULL, ended_reopened_by_syn INTEGER NOT NULL,
    ended_killed INTEGER NOT NULL, ended_purged INTEGER NOT NULL,
    reused INTEGER NOT NULL, hindered INTEGER NOT NULL, refused_bound_port INTEGER NOT NULL,
    refused_disabled INTEGER NOT NULL, refused_not_loopback INTEGER NOT NULL, refused_timestamps_off INTEGER NOT NULL,
    refused_peer_without_timestamps INTEGER NOT NULL, refused_fin_wait2 INTEGER NOT NULL, refused_too_young INTEGER NOT NULL,
    age_count INTEGER NOT NULL, age_p50_ns INTEGER, age_p99_ns INTEGER, age_max_ns INTEGER,
    ages TEXT, -- JSON: how many by the smallest age of their bucket
    PRIMARY KEY(interval_id, n)
) WITHOUT ROWID;

-- Searches for a local port, by process and operation.
CREATE TABLE port_row(
    interval_id INTEGER NOT NULL, n INTEGER NOT NULL, -- of `process_row`
    op TEXT NOT NULL, exact INTEGER NOT NULL,
    searches INTEGER NOT NULL, failures INTEGER NOT NULL, untimed INTEGER NOT NULL,
    p50_ns INTEGER, p99_ns INTEGER, max_ns INTEGER NOT NULL,
    latencies TEXT NOT NULL, -- JSON: how many by the smallest latency of their bucket
    PRIMARY KEY(interval_id, n, op, exact)
) WITHOUT ROWID;

-- By destination: `address:port` of clients, `:port` of servers. Here, in `dealing_row` and in `audit_row`, 2^32 is added to
-- `netns` for each namespace that had this number before it, since twtrace was started.
CREATE TABLE destination_row(
    interval_id INTEGER NOT NULL, n INTEGER NOT NULL,
    netns INTEGER, side TEXT NOT NULL, destination TEXT NOT NULL,
    time_wait INTEGER NOT NULL, fin_wait2 INTEGER NOT NULL, overflow INTEGER NOT NULL,
    reset_sent_other INTEGER NOT NULL, reset_sent_linger_zero INTEGER NOT NULL, reset_sent_unread_data INTEGER NOT NULL,
    reset_sent_data_after_close INTEGER NOT NULL, reset_sent_refused INTEGER NOT NULL, reset_sent_no_socket INTEGER NOT NULL,
    reset_sent_time_wait INTEGER NOT NULL, reset_sent_timeout INTEGER NOT NULL, reset_sent_aborted INTEGER NOT NULL,
    reset_sent_peer INTEGER NOT NULL, reset_received_other INTEGER NOT NULL, reset_received_linger_zero INTEGER NOT NULL,
    reset_received_unread_data INTEGER NOT NULL, reset_received_data_after_close INTEGER NOT NULL, reset_received_refused INTEGER NOT NULL,
    reset_received_no_socket INTEGER NOT NULL, reset_received_time_wait INTEGER NOT NULL, reset_received_timeout INTEGER NOT NULL,
    reset_received_aborted INTEGER NOT NULL, reset_received_peer INTEGER NOT NULL, abort_other INTEGER NOT NULL,
    abort_timeout INTEGER NOT NULL, abort_destroyed INTEGER NOT NULL,
    port_failures INTEGER NOT NULL,
    reused INTEGER NOT NULL, hindered INTEGER NOT NULL, refused_bound_port INTEGER NOT NULL,
    refused_disabled INTEGER NOT NULL, refused_not_loopback INTEGER NOT NULL, refused_timestamps_off INTEGER NOT NULL,
    refused_peer_without_timestamps INTEGER NOT NULL, refused_fin_wait2 INTEGER NOT NULL, refused_too_young INTEGER NOT NULL,
    PRIMARY KEY(interval_id, n)
) WITHOUT ROWID;

-- By process and destination: who did what towards whom.
CREATE TABLE dealing_row(
    interval_id INTEGER NOT NULL, n INTEGER NOT NULL,
    who_id INTEGER, unattributed TEXT,
    netns INTEGER NOT NULL, side TEXT NOT NULL, destination TEXT NOT NULL,
    time_wait INTEGER NOT NULL, linger_zero INTEGER NOT NULL,
    connect_failures INTEGER NOT NULL, bind_failures INTEGER NOT NULL,
    reused INTEGER NOT NULL, hindered INTEGER NOT NULL, refused_bound_port INTEGER NOT NULL,
    refused_disabled INTEGER NOT NULL, refused_not_loopback INTEGER NOT NULL, refused_timestamps_off INTEGER NOT NULL,
    refused_peer_without_timestamps INTEGER NOT NULL, refused_fin_wait2 INTEGER NOT NULL, refused_too_young INTEGER NOT NULL,
    PRIMARY KEY(interval_id, n)
) WITHOUT ROWID;

-- Budgets of local ports when the interval ended, the fullest first.
CREATE TABLE budget_row(
    interval_id INTEGER NOT NULL, n INTEGER NOT NULL,
    netns INTEGER NOT NULL, pool TEXT NOT NULL, source TEXT, destination TEXT,
    capacity INTEGER, free INTEGER, live INTEGER, time_wait INTEGER, failures INTEGER NOT NULL,
    outlook TEXT NOT NULL, full_in_ns INTEGER,
    json TEXT NOT NULL, -- as in `report --json`
    PRIMARY KEY(interval_id, n)
) WITHOUT ROWID;

-- Connections in CLOSE_WAIT when the interval ended.
CREATE TABLE close_wait_row(
    interval_id INTEGER NOT NULL, n INTEGER NOT NULL,
    who_id INTEGER, unattributed TEXT,
    netns INTEGER NOT NULL, side TEXT NOT NULL, destination TEXT NOT NULL,
    connections INTEGER NOT NULL, shared INTEGER NOT NULL,
    oldest_ns INTEGER, oldest_at_most_ns INTEGER,
    PRIMARY KEY(interval_id, n)
) WITHOUT ROWID;

-- Births of TIME_WAIT that were seen within the interval, against those that the kernel counted.
CREATE TABLE audit_row(
    interval_id INTEGER NOT NULL, netns INTEGER NOT NULL,
    births_seen INTEGER NOT NULL, births_kernel INTEGER, difference INTEGER, uncertainty INTEGER NOT NULL,
    audited INTEGER NOT NULL,
    json TEXT NOT NULL, -- as in `report --json`
    PRIMARY KEY(interval_id, netns)
) WITHOUT ROWID;

-- Names of the network namespaces that occur in the interval.
CREATE TABLE netns_row(
    interval_id INTEGER NOT NULL, netns INTEGER NOT NULL,
    name TEXT NOT NULL, named_after TEXT NOT NULL,
    json TEXT NOT NULL, -- as in `report --json`
    PRIMARY KEY(interval_id, netns)
) WITHOUT ROWID;

-- What was lost, by probe.
CREATE TABLE lost_row(
    interval_id INTEGER NOT NULL, probe TEXT NOT NULL, lost INTEGER NOT NULL,
    PRIMARY KEY(interval_id, probe)
) WITHOUT ROWID;

-- What `doctor` found in the interval.
CREATE TABLE finding_row(
    interval_id INTEGER NOT NULL, n INTEGER NOT NULL,
    severity TEXT NOT NULL, finding TEXT NOT NULL, title TEXT NOT NULL, evidence TEXT NOT NULL,
    json TEXT NOT NULL, -- as in `doctor --json`
    PRIMARY KEY(interval_id, n)
) WITHOUT ROWID;

-- Events that failed, were slow, or were resets: a bounded number of each kind.
CREATE TABLE event_row(
    interval_id INTEGER NOT NULL, n INTEGER NOT NULL,
    unix_ns INTEGER NOT NULL, mono_ns INTEGER NOT NULL,
    event TEXT NOT NULL,
    netns INTEGER, side TEXT NOT NULL, local TEXT, remote TEXT,
    who_id INTEGER, unattributed TEXT,
    direction TEXT, reason TEXT, kernel_reason TEXT, -- of resets and aborts
    op TEXT, requested INTEGER, result TEXT, latency_ns INTEGER, -- of searches for a port
    state TEXT, connection_ns INTEGER, idle_ns INTEGER, peer_silent_ns INTEGER, send_idle_ns INTEGER,
    bytes_sent INTEGER, bytes_received INTEGER, after_close_ns INTEGER,
    PRIMARY KEY(interval_id, n)
) WITHOUT ROWID;

-- The same for people.
CREATE VIEW intervals AS
    SELECT strftime('%Y-%m-%d %H:%M:%S', start_unix_ns / 1000000000, 'unixepoch') AS at,
        strftime('%Y-%m-%d %H:%M:%S', end_unix_ns / 1000000000, 'unixepoch') AS until,
        (end_mono_ns - start_mono_ns) / 1e9 AS seconds, interval.*
    FROM interval;
CREATE VIEW process AS
    SELECT at, coalesce(comm, '(' || unattributed || ')') AS comm, pid, uid, exe, cgroup, container, pod, unit,
        time_wait_unknown + time_wait_client + time_wait_server AS time_wait,
        reset_sent_other + reset_sent_linger_zero + reset_sent_unread_data + reset_sent_data_after_close + reset_sent_refused
            + reset_sent_no_socket + reset_sent_time_wait + reset_sent_timeout + reset_sent_aborted + reset_sent_peer AS reset_sent,
        reset_received_other + reset_received_linger_zero + reset_received_unread_data + reset_received_data_after_close + reset_received_refused
            + reset_received_no_socket + reset_received_time_wait + reset_received_timeout + reset_received_aborted + reset_received_peer AS reset_received,
        process_row.*
    FROM process_row JOIN (SELECT at, id FROM intervals) AS i ON i.id = interval_id LEFT JOIN who ON who.id = who_id;
CREATE VIEW port_search AS
    SELECT at, coalesce(comm, '(' || unattributed || ')') AS comm, pid, uid, exe, cgroup, container, pod, unit,
        port_row.*
    FROM port_row JOIN (SELECT at, id FROM intervals) AS i ON i.id = interval_id
        JOIN process_row USING (interval_id, n) LEFT JOIN who ON who.id = who_id;
CREATE VIEW destination AS
    SELECT at,
        (SELECT name FROM netns_row WHERE netns_row.interval_id = destination_row.interval_id
            AND netns_row.netns = destination_row.netns) AS netns_name,
        destination_row.*
    FROM destination_row JOIN (SELECT at, id FROM intervals) AS i ON i.id = interval_id;
CREATE VIEW dealing AS
    SELECT at, coalesce(comm, '(' || unattributed || ')') AS comm, pid, uid, exe, cgroup, container, pod, unit,
        (SELECT name FROM netns_row WHERE netns_row.interval_id = dealing_row.interval_id
            AND netns_row.netns = dealing_row.netns) AS netns_name,
        dealing_row.*
    FROM dealing_row JOIN (SELECT at, id FROM intervals) AS i ON i.id = interval_id LEFT JOIN who ON who.id = who_id;
CREATE VIEW budget AS
    SELECT at,
        (SELECT name FROM netns_row WHERE netns_row.interval_id = budget_row.interval_id
            AND netns_row.netns = budget_row.netns) AS netns_name,
        budget_row.*
    FROM budget_row JOIN (SELECT at, id FROM intervals) AS i ON i.id = interval_id;
CREATE VIEW close_wait AS
    SELECT at, coalesce(comm, '(' || unattributed || ')') AS comm, pid, uid, exe, cgroup, container, pod, unit,
        (SELECT name FROM netns_row WHERE netns_row.interval_id = close_wait_row.interval_id
            AND netns_row.netns = close_wait_row.netns) AS netns_name,
        close_wait_row.*
    FROM close_wait_row JOIN (SELECT at, id FROM intervals) AS i ON i.id = interval_id
        LEFT JOIN who ON who.id = who_id;
CREATE VIEW audit AS
    SELECT at,
        (SELECT name FROM netns_row WHERE netns_row.interval_id = audit_row.interval_id
            AND netns_row.netns = audit_row.netns) AS netns_name,
        audit_row.*
    FROM audit_row JOIN (SELECT at, id FROM intervals) AS i ON i.id = interval_id;
CREATE VIEW lost AS
    SELECT at, lost_row.*
    FROM lost_row JOIN (SELECT at, id FROM intervals) AS i ON i.id = interval_id;
CREATE VIEW finding AS
    SELECT at, finding_row.*
    FROM finding_row JOIN (SELECT at, id FROM intervals) AS i ON i.id = interval_id;
CREATE VIEW event AS
    SELECT strftime('%Y-%m-%d %H:%M:%f', unix_ns / 1e9, 'unixepoch') AS at,
        coalesce(comm, '(' || unattributed || ')') AS comm, pid, uid, exe, cgroup, container, pod, unit,
        (SELECT name FROM netns_row WHERE netns_row.interval_id = event_row.interval_id
            AND netns_row.netns = event_row.netns) AS netns_name,
        event_row.*
    FROM event_row LEFT JOIN who ON who.id = who_id;
