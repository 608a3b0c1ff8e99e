-- Version 3: connections that their process gave up connecting. Values are written in the order of the columns, so these tables are
-- made anew. Views that users have added refer to them by name, and must not be rewritten meanwhile.
PRAGMA legacy_alter_table = ON;
CREATE TABLE process_row_3(
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
    abort_timeout INTEGER NOT NULL, abort_destroyed INTEGER NOT NULL, abort_unanswered INTEGER NOT NULL,
    ended_expired INTEGER NOT NULL, ended_reused_by_connect INTEGER NOT NULL, ended_reopened_by_syn INTEGER NOT NULL,
    ended_killed INTEGER NOT NULL, ended_purged INTEGER NOT NULL,
    reused INTEGER NOT NULL, hindered INTEGER NOT NULL, refused_bound_port INTEGER NOT NULL,
    refused_disabled INTEGER NOT NULL, refused_not_loopback INTEGER NOT NULL, refused_timestamps_off INTEGER NOT NULL,
    refused_peer_without_timestamps INTEGER NOT NULL, refused_fin_wait2 INTEGER NOT NULL, refused_too_young INTEGER NOT NULL,
    age_count INTEGER NOT NULL, age_p50_ns INTEGER, age_p99_ns INTEGER, age_max_ns INTEGER,
    ages TEXT, -- JSON: how many by the smallest age of their bucket
    PRIMARY KEY(interval_id, n)
) WITHOUT ROWID;
INSERT INTO process_row_3 SELECT
    interval_id, n, who_id, unattributed, time_wait_unknown, time_wait_client, time_wait_server, fin_wait2_unknown,
    fin_wait2_client, fin_wait2_server, overflow_unknown, overflow_client, overflow_server, reset_sent_other,
    reset_sent_linger_zero, reset_sent_unread_data, reset_sent_data_after_close, reset_sent_refused,
    reset_sent_no_socket, reset_sent_time_wait, reset_sent_timeout, reset_sent_aborted, reset_sent_peer,
    reset_received_other, reset_received_linger_zero, reset_received_unread_data, reset_received_data_after_close,
    reset_received_refused, reset_received_no_socket, reset_received_time_wait, reset_received_timeout,
    reset_received_aborted, reset_received_peer, abort_other, abort_timeout, abort_destroyed, 0, ended_expired,
    ended_reused_by_connect, ended_reopened_by_syn, ended_killed, ended_purged, reused, hindered, refused_bound_port,
    refused_disabled, refused_not_loopback, refused_timestamps_off, refused_peer_without_timestamps,
    refused_fin_wait2, refused_too_young, age_count, age_p50_ns, age_p99_ns, age_max_ns, ages
    FROM process_row;
DROP TABLE process_row;
ALTER TABLE process_row_3 RENAME TO process_row;
CREATE TABLE destination_row_3(
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
    abort_timeout INTEGER NOT NULL, abort_destroyed INTEGER NOT NULL, abort_unanswered INTEGER NOT NULL,
    port_failures INTEGER NOT NULL,
    reused INTEGER NOT NULL, hindered INTEGER NOT NULL, refused_bound_port INTEGER NOT NULL,
    refused_disabled INTEGER NOT NULL, refused_not_loopback INTEGER NOT NULL, refused_timestamps_off INTEGER NOT NULL,
    refused_peer_without_timestamps INTEGER NOT NULL, refused_fin_wait2 INTEGER NOT NULL, refused_too_young INTEGER NOT NULL,
    PRIMARY KEY(interval_id, n)
) WITHOUT ROWID;
INSERT INTO destination_row_3 SELECT
    interval_id, n, netns, side, destination, time_wait, fin_wait2, overflow, reset_sent_other,
    reset_sent_linger_zero, reset_sent_unread_data, reset_sent_data_after_close, reset_sent_refused,
    reset_sent_no_socket, reset_sent_time_wait, reset_sent_timeout, reset_sent_aborted, reset_sent_peer,
    reset_received_other, reset_received_linger_zero, reset_received_unread_data, reset_received_data_after_close,
    reset_received_refused, reset_received_no_socket, reset_received_time_wait, reset_received_timeout,
    reset_received_aborted, reset_received_peer, abort_other, abort_timeout, abort_destroyed, 0, port_failures,
    reused, hindered, refused_bound_port, refused_disabled, refused_not_loopback, refused_timestamps_off,
    refused_peer_without_timestamps, refused_fin_wait2, refused_too_young
    FROM destination_row;
DROP TABLE destination_row;
ALTER TABLE destination_row_3 RENAME TO destination_row;
PRAGMA legacy_alter_table = OFF;
ALTER TABLE dealing_row ADD COLUMN abort_unanswered INTEGER NOT NULL DEFAULT 0;
