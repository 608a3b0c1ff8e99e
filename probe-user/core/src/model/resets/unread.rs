//! Whether data that was not read, or came too late, matters to the peer, by its size.

use twtrace_wire::ResetReason;

use super::ResetPattern;

/// Sizes of a closing alert (close_notify) with its record: of TLS 1.3 (24 bytes), and of TLS 1.2 with AES-GCM and AES-CCM (31),
/// ChaCha20 (23), AES-CBC with SHA-1 (53), SHA-256 (69) and SHA-384 (85), RFC 8446 and RFC 5246.
const CLOSING_ALERTS: [u64; 6] = [23, 24, 31, 53, 69, 85];

impl ResetPattern {
    /// Counts the data of a sent RST, if its size is known.
    pub(super) fn add_unread(&mut self, unread_bytes: Option<u64>) {
        match unread_bytes {
            Some(bytes) if CLOSING_ALERTS.contains(&bytes) => self.of_alert_size += 1,
            Some(_) => self.of_other_size += 1,
            None => {}
        }
    }

    /// Sent RSTs that certainly cost the peer something: its data was no closing alert of TLS, or, where the size of that is not
    /// known, it received the RST before it had closed (data after close) or had sent in time (unread data).
    pub fn certain(&self) -> u64 {
        let unsized_ = self
            .count
            .saturating_sub(self.of_alert_size)
            .saturating_sub(self.of_other_size);
        let met = match self.reason {
            ResetReason::DataAfterClose => self.met_open.min(unsized_),
            _ => unsized_,
        };
        self.of_other_size + met
    }
}
