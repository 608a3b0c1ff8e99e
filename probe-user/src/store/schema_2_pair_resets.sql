-- Version 2: RSTs and aborts by process and destination. Of earlier intervals only RSTs by SO_LINGER 0 are known.
ALTER TABLE dealing_row ADD COLUMN reset_sent_other INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_sent_linger_zero INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_sent_unread_data INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_sent_data_after_close INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_sent_refused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_sent_no_socket INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_sent_time_wait INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_sent_timeout INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_sent_aborted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_sent_peer INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_received_other INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_received_linger_zero INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_received_unread_data INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_received_data_after_close INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_received_refused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_received_no_socket INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_received_time_wait INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_received_timeout INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_received_aborted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN reset_received_peer INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN abort_other INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN abort_timeout INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dealing_row ADD COLUMN abort_destroyed INTEGER NOT NULL DEFAULT 0;
UPDATE dealing_row SET reset_sent_linger_zero = linger_zero WHERE linger_zero > 0;
-- The others have no row: reports then say that figures by process and destination are lower bounds.
UPDATE interval SET dealings_left_out = dealings_left_out + max(0,
    coalesce((SELECT sum(reset_sent_other
        + reset_sent_linger_zero
        + reset_sent_unread_data
        + reset_sent_data_after_close
        + reset_sent_refused
        + reset_sent_no_socket
        + reset_sent_time_wait
        + reset_sent_timeout
        + reset_sent_aborted
        + reset_sent_peer
        + reset_received_other
        + reset_received_linger_zero
        + reset_received_unread_data
        + reset_received_data_after_close
        + reset_received_refused
        + reset_received_no_socket
        + reset_received_time_wait
        + reset_received_timeout
        + reset_received_aborted
        + reset_received_peer
        + abort_other
        + abort_timeout
        + abort_destroyed)
        FROM destination_row WHERE interval_id = interval.id), 0)
    - coalesce((SELECT sum(linger_zero) FROM dealing_row WHERE interval_id = interval.id), 0));
