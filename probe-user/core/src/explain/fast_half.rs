//! The finding about the half of the ports that connect() tries first.

use super::text::Text;

/// The id, and its explanation.
pub const FINDING: (&str, Text) = (
    "fast_half_full",
    Text::new(
        "connect() searches half of the ports in vain",
        "connect() tries the ports of one parity first (even or odd, as the first port of the range). All of these are \
         used towards one destination, so each connect() searches half of the range before it tries the others. That \
         takes up to a millisecond of CPU or more each time.",
    )
    .why(
        "More than half of the range is used towards this destination: by open connections, or by TIME_WAITs that may \
         not be reused.",
    )
    .to_do(
        "Keep connections alive, or bound their number. Widen net.ipv4.ip_local_port_range, or add destination or \
         source addresses. From Linux 6.12 on, sockets with IP_LOCAL_PORT_RANGE search their whole range at once.",
    )
    .do_not("lower tcp_fin_timeout: it does not shorten TIME_WAIT."),
);
