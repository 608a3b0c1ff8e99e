//! Findings of `doctor` about RSTs.

use super::text::Text;

/// Each id with its explanation, in the order of docs/doctor.md.
pub const FINDINGS: &[(&str, Text)] = &[
    (
        "request_not_read",
        Text::new(
            "A server closes over an unread request",
            "A server closed while data of its client was unread, or still on its way. The kernel then sends a RST, \
             which removes the answer that the client has not read yet.",
        )
        .why(
            "The server answers early, such as 413 to an upload, 401 or 503, and closes; or it does not read a body \
             that it does not need.",
        )
        .to_do(
            "Read the request to its end, or close lingering: shutdown() for writing, then read until the client \
             closes. nginx: lingering_close, lingering_timeout. node: request.resume().",
        )
        .do_not("enlarge socket buffers: the RST is sent because data is unread, however much room there is."),
    ),
    (
        "keepalive_race",
        Text::new(
            "A server closes as its client sends again",
            "A client's next request on a kept-alive connection arrived just after the server had closed it. The \
             kernel answers with a RST, and the request is lost.",
        )
        .why(
            "The server's keep-alive timeout is shorter than the time for which clients keep idle connections. Limits \
             of requests per connection and reloads have the same effect.",
        )
        .to_do(
            "Let the client's idle timeout be shorter than the server's keep-alive timeout, by a second or more; or \
             raise the server's. Let clients try again where a request may be repeated.",
        )
        .do_not("use TCP keepalive against it: probes are no requests."),
    ),
    (
        "client_gives_up",
        Text::new(
            "A client closes before the answer",
            "A client closed its connection, and data of the server came later, which the kernel answers with a RST; or it closed before \
             the answer, by FIN or by RST (SO_LINGER 0), after the same time again and again.",
        )
        .why("A timeout of the client is shorter than the server's time to answer; or the client reads no answer at all.")
        .to_do("Find out why the server is slow, or raise the client's timeout. nginx: proxy_read_timeout.")
        .do_not("search in settings of TCP: the client's program closed the connection."),
    ),
    (
        "request_not_answered",
        Text::new(
            "A server closes without an answer",
            "A server read what its client had sent, and closed the connection in order, without an answer to it. The client sees its \
             end: \"empty reply from server\", \"socket hang up\", \"upstream prematurely closed connection\".",
        )
        .why(
            "Its process was killed or crashed while it worked (gunicorn: WORKER TIMEOUT), a timeout of the server was shorter than \
             the work (Go: WriteTimeout), or it rejects the request (nginx: return 444).",
        )
        .to_do("Read its log at these times, and dmesg. Find out what the request waits for, or raise the timeout.")
        .do_not("change keep-alive timeouts: these connections were not idle."),
    ),
    (
        "stale_connection",
        Text::new(
            "A client sends on a connection that had ended",
            "A server sent something last, such as the reason, and closed. The client sent a request a quarter of a second later, or \
             more, and received a RST.",
        )
        .why(
            "A timeout of the server (PostgreSQL: idle_session_timeout, idle_in_transaction_session_timeout; HTTP: 408), or an \
             administrator, ended the session; the client's pool does not test connections.",
        )
        .to_do("Have the pool test a connection before it is used, and keep it for less time than the server does.")
        .do_not("have the server read on: the request came after the end."),
    ),
    (
        "answer_not_read",
        Text::new(
            "A client closes with data unread",
            "Data of the server had arrived that the client did not read before it closed. The kernel then sends a RST, which \
             the server logs as \"connection reset by peer\".",
        )
        .why(
            "The client needs only a part of the answer, cancels a request, or leaves, as browsers do; or the data is no answer, such \
             as a closing alert of TLS.",
        )
        .to_do("Read the answer to its end before closing. Nothing, if it leaves on purpose.")
        .do_not("change the server: its answer arrived."),
    ),
    (
        "process_ended",
        Text::new(
            "A server ended with connections open",
            "A process closed all its connections within a moment and exited. Clients that had sent a request, or sent the next \
             one, received a RST.",
        )
        .why("It was stopped, restarted or killed (SIGKILL, the OOM killer), or it crashed.")
        .to_do(
            "Read its log, journalctl and dmesg. For planned restarts, take it out of the load balancer first and let it finish \
             its requests.",
        )
        .do_not("change keep-alive timeouts or lingering close: no timeout and no unread body is the cause."),
    ),
    (
        "closed_at_once",
        Text::new(
            "A server closed many connections at one moment",
            "A process closed connections at one moment that had been without data for very different times. No timeout does \
             that.",
        )
        .why(
            "A reload or a stop of the service, a command that closes connections, or one error that all clients got. Requests that \
             met the close are lost.",
        )
        .to_do(
            "Let the server finish the requests that arrive while it reloads, and let clients try again where a request may be \
             repeated.",
        )
        .do_not("change keep-alive timeouts: none has ended."),
    ),
    (
        "connection_limit",
        Text::new(
            "A server closes right after accept()",
            "Connections were closed within 0.1 s without an answer to what the client had sent: with nothing sent, or a line before \
             anything had come. The kernel then sends a RST, which may remove that line too.",
        )
        .why(
            "The server has reached a limit of connections (sshd's MaxStartups, redis' maxclients, max_connections and others), or \
             rejects these clients by a rule.",
        )
        .to_do(
            "Compare the limit with the number of open connections, and read the server's log. Raise the limit, or let clients \
             keep and share connections.",
        )
        .do_not("raise net.core.somaxconn or the backlog: these connections were accepted."),
    ),
    (
        "listener_closed",
        Text::new(
            "A listener closed over waiting connections",
            "Connections that a listener had not accepted were reset when it closed. Their clients had sent requests \
             already, or were about to.",
        )
        .why("The service stopped or restarted under load, or it accepts too slowly, so that many were waiting.")
        .to_do(
            "Accept what is in the queue before the listener is closed, or hand the listener over to the next process \
             (systemd socket units, reloads of nginx and haproxy). Stop sending traffic first.",
        )
        .do_not("raise the backlog for it: more connections would wait, and be reset."),
    ),
    (
        "connection_refused",
        Text::new(
            "Nobody listens where clients connect to",
            "connect() was answered by a RST (ECONNREFUSED): no socket listens on that address and port, or a firewall \
             answers so.",
        )
        .why("The service is down or restarting, listens on another address (127.0.0.1, IPv6), or has moved.")
        .to_do("Check with `ss -ltnp` on the host of that address. Start the service or change the clients' configuration.")
        .do_not("change settings of local ports or TIME_WAIT: the connects got a port, and were answered."),
    ),
    (
        "reset_by_timeout",
        Text::new(
            "RSTs after the same time, again and again",
            "Connections were reset when they had been idle, or open, for the same time. That is a timeout.",
        )
        .why(
            "The peer's program, or a firewall, NAT or load balancer between, ends connections after that time. Some \
             send the RST only when the next data comes.",
        )
        .to_do(
            "Look for that length in the settings of the peer and of what is between. Let the idle timeout here be \
             shorter, or send TCP keepalives more often.",
        )
        .do_not("drop the RSTs: the connection has ended at the other end."),
    ),
    (
        "reset_in_between",
        Text::new(
            "Something in between resets connections",
            "RSTs arrived on connections within this host, and no socket of this host sent them.",
        )
        .why("A firewall rule (REJECT with tcp-reset), or a program that writes packets, such as an intrusion detection.")
        .to_do("Look through `nft list ruleset` or `iptables -S` for rules that reject."),
    ),
    (
        "reset_by_peer",
        Text::new(
            "The peer resets connections",
            "A share of the connections to one destination ended by a RST that this host received, without a pattern \
             in time.",
        )
        .why("The peer's program aborts, exits with connections open, closes with data unread, or sets SO_LINGER to 0 s.")
        .to_do("Read the log of the peer's program. See ages and bytes: `twtrace trace --event reset`.")
        .do_not("drop RSTs in a firewall: the cause stays, and connections hang until they time out."),
    ),
    (
        "reset_storm",
        Text::new(
            "Many RSTs for one reason",
            "100 RSTs or more, at 10/s or more, that no other finding explains were sent or received for one reason. Each one ended a connection, \
             or answered a segment that belongs to none.",
        )
        .why("That depends on the reason: see `twtrace explain` with it, such as `twtrace explain unread_data`.")
        .to_do("See them one by one, with ages and bytes: `twtrace trace --event reset`.")
        .do_not("drop RSTs in a firewall: the cause stays, and connections hang until they time out."),
    ),
];
