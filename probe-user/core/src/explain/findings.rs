//! Findings of `doctor`.

use super::text::Text;

/// Each id with its explanation, in the order of docs/doctor.md: those before the ones about RSTs.
pub const FINDINGS: &[(&str, Text)] = &[
    (
        "port_taken",
        Text::new(
            "A program can't have the port it wants",
            "bind() or listen() of one certain port failed with EADDRINUSE, or connect() from one with EADDRNOTAVAIL. Another \
             socket has that port; no pool of ports is full.",
        )
        .why(
            "Another server listens on it, or an older instance still runs. Or connect() of another program chose it: it is \
             in ip_local_port_range. Or TIME_WAITs have it and one of both sockets lacks SO_REUSEADDR; sockets of clients \
             mostly lack it. A client can even connect to itself, if it asks for a port of that range without a \
             listener. A connect() from a fixed port meets the TIME_WAIT of its last connection.",
        )
        .to_do(
            "Who had it decides. Server: stop it, or use another port. Client: put the port into \
             net.ipv4.ip_local_reserved_ports. TIME_WAITs of a server: set SO_REUSEADDR before bind(), in every \
             release. connect() from a fixed port: leave the port to connect(), or switch TCP timestamps on at both ends.",
        )
        .do_not(
            "set tcp_tw_reuse or widen ip_local_port_range for it: both are about ports that connect() chooses.",
        ),
    ),
    (
        "no_address",
        Text::new(
            "A call failed since this host lacks an address",
            "bind() of an address that no interface of the network namespace has, or connect() by IPv6 without an address \
             to connect from: both fail with EADDRNOTAVAIL before the kernel looks for a port. No pool of ports is full.",
        )
        .why(
            "A wrong address in a configuration, or one that is now on another host (a virtual IP) or in another \
             network namespace. Or IPv6 is switched off, and the program tries ::1 or localhost. Many programs go on with \
             127.0.0.1 then, and some runtimes only test the host: this is a notice.",
        )
        .to_do(
            "`ip -brief address` in that namespace shows what it has. Correct the address, or add it. For virtual IPs set \
             net.ipv4.ip_nonlocal_bind=1. For ::1 use 127.0.0.1, or switch IPv6 on.",
        )
        .do_not(
            "widen ip_local_port_range or set tcp_tw_reuse for it: connect() has the same error if no port is left, and \
             these are for that.",
        ),
    ),
    (
        "connect_unanswered",
        Text::new(
            "connect() is not answered",
            "Neither SYN-ACK nor RST came for a SYN, which the kernel sends again after 1 s and more; or an ICMP message said that the \
             destination can't be reached. The program gets ETIMEDOUT, EHOSTUNREACH, or gives up by its own timeout.",
        )
        .why(
            "The host is down, a firewall or security group drops or rejects the packets, a route is missing, or the accept queue of \
             the service is full.",
        )
        .to_do("See whether the host and the service run. Look for rules that drop, here, on the way and there.")
        .do_not("change local ports or TIME_WAIT: these connects got a port."),
    ),
    (
        "peer_silent",
        Text::new(
            "A peer no longer acknowledges",
            "Established connections send the same data again and again, and nothing comes back: no RST either. After 15 minutes \
             (net.ipv4.tcp_retries2) the program gets ETIMEDOUT, if it has not given up before.",
        )
        .why(
            "A firewall, NAT or load balancer on the way forgot an idle connection and drops what comes, a host is down, or a \
             route has changed.",
        )
        .to_do("Use keepalives more often than the device forgets; TCP_USER_TIMEOUT to notice sooner. `ss -tnoi` shows them.")
        .do_not("change TIME_WAIT or local ports: the connections are open."),
    ),
    (
        "budget_full",
        Text::new(
            "No local port of a pool is free",
            "Each connection from one source address to one destination needs a local port of its own, and all ports \
             of the range are taken. connect() fails with EADDRNOTAVAIL, bind() to port 0 with EADDRINUSE.",
        )
        .why(
            "Mostly a new connection for each request: if this host closes first, each TIME_WAIT holds its port for \
             60 s. Other reasons are many open connections, a narrow ip_local_port_range, and bind() before connect().",
        )
        .to_do(
            "Keep connections alive and reuse them. Set net.ipv4.tcp_tw_reuse=1 with TCP timestamps on; it is safe \
             for outbound connections. Widen net.ipv4.ip_local_port_range. Add destination or source addresses: each \
             pair of them has the whole range. If open connections hold the ports, limit their number instead.",
        )
        .do_not(
            "lower tcp_fin_timeout: it does not shorten TIME_WAIT. Do not lower tcp_max_tw_buckets or set \
             SO_LINGER to 0 s: data may be lost. tcp_tw_recycle was removed in Linux 4.12.",
        ),
    ),
    (
        "budget_nearly_full",
        Text::new(
            "A pool of local ports will soon be full",
            "More than 80 % of the local ports from one source to one destination are used, or at the current rate \
             none is left within 10 minutes. When none is left, connects fail with EADDRNOTAVAIL.",
        )
        .why("The causes are those of budget_full: short connections that this host closes first, or many open ones.")
        .to_do(
            "Act before it is full, as for budget_full: keep connections alive, set net.ipv4.tcp_tw_reuse=1, widen \
             net.ipv4.ip_local_port_range, add addresses. `twtrace report --by budget` shows every pool.",
        )
        .do_not("judge by the total number of TIME_WAITs: only the fullest pool matters."),
    ),
    (
        "bind_before_connect",
        Text::new(
            "One pool of ports for all destinations",
            "A program calls bind() without a port before connect(). bind() does not know the destination, so all \
             destinations of one source address share one pool of ports, and a TIME_WAIT to any of them holds a port.",
        )
        .why("The program binds to choose its source address, and leaves the port to the kernel.")
        .to_do(
            "Set IP_BIND_ADDRESS_NO_PORT on the socket before bind(): connect() then chooses the port, and each \
             destination has the whole range. nginx does so for proxy_bind. With haproxy leave the port out of \
             `source`, or give a range.",
        )
        .do_not("expect net.ipv4.tcp_tw_reuse to help: bind() to port 0 does not take ports in TIME_WAIT."),
    ),
    super::fast_half::FINDING,
    (
        "nat_ports_exhausted",
        Text::new(
            "SNAT finds no free port of its own",
            "conntrack could not insert new connections (insert_failed grew), so their packets were dropped. \
             connect() times out; it does not fail with EADDRNOTAVAIL.",
        )
        .why(
            "Many connections share one SNAT address and one destination, and conntrack keeps its own TIME_WAITs. A \
             few clashes are also normal: two DNS requests sent at once from one socket.",
        )
        .to_do(
            "Check `conntrack -S` and the protocol. Give SNAT more addresses or ports, use --random-fully with \
             MASQUERADE, or lower net.netfilter.nf_conntrack_tcp_timeout_time_wait.",
        )
        .do_not("change ip_local_port_range or tcp_tw_reuse: they are about sockets, not about NAT."),
    ),
    (
        "conntrack_table_full",
        Text::new(
            "The conntrack table is full, or nearly",
            "conntrack dropped packets for lack of room, evicted entries early, or is 90 % full. Packets of new \
             connections are lost, whatever their sockets do.",
        )
        .why("More connections are tracked than net.netfilter.nf_conntrack_max allows. Short connections stay for minutes.")
        .to_do(
            "Raise net.netfilter.nf_conntrack_max (in the initial namespace), or exempt traffic that needs no \
             tracking (raw table: NOTRACK).",
        )
        .do_not("search for the cause in local ports or TIME_WAITs: these packets are dropped before that."),
    ),
    (
        "tw_buckets_overflow",
        Text::new(
            "The kernel refuses TIME_WAITs",
            "There are as many TIME_WAITs as net.ipv4.tcp_max_tw_buckets allows, or 90 % of that. Beyond it the kernel \
             closes without a TIME_WAIT. A late segment may then reach the next connection of the same ports.",
        )
        .why("More connections are closed here first, within 60 s, than the limit allows. Often someone has lowered it.")
        .to_do("Raise net.ipv4.tcp_max_tw_buckets: a TIME_WAIT takes some 300 bytes. Or keep connections alive.")
        .do_not("lower the limit to have fewer TIME_WAITs: they protect later connections."),
    ),
    (
        "listen_queue_overflow",
        Text::new(
            "A listener does not accept fast enough",
            "Connections found the accept queue of a listener full (TcpExt ListenOverflows). The kernel drops them; \
             clients try again after a second or more, or time out. With net.ipv4.tcp_abort_on_overflow=1 they get a \
             RST instead.",
        )
        .why("The process calls accept() too rarely, is blocked, or its backlog is too small for bursts.")
        .to_do(
            "Find the listener whose Recv-Q reaches its Send-Q: `ss -ltnp`. Let it accept faster (more workers, no \
             blocking work in its loop), then raise its backlog, which net.core.somaxconn limits.",
        )
        .do_not("set net.ipv4.tcp_abort_on_overflow: clients then get a RST instead of a second chance."),
    ),
    (
        "close_wait_leak",
        Text::new(
            "Closed by the peer, but not by the process",
            "A process holds 20 or more connections in CLOSE_WAIT for 5 s or longer, or one for 60 s. They keep descriptors \
             and memory. CLOSE_WAIT has no time limit: only the process can end it.",
        )
        .why(
            "The program does not close a socket after read() returned 0, often on an error path. If the connections \
             are in a listener's queue, no process calls accept().",
        )
        .to_do(
            "List them: `ss -tnp state close-wait`. Let the program close on every path. Until then a restart \
             releases the descriptors.",
        )
        .do_not("change settings of TIME_WAIT, tcp_fin_timeout or keepalive: none of them ends a CLOSE_WAIT."),
    ),
    (
        "client_closes_first",
        Text::new(
            "A client keeps opening new connections",
            "One process created many TIME_WAITs towards one destination. The end that closes first has the \
             TIME_WAIT, and for a client each one holds a local port for 60 s.",
        )
        .why("The client does not keep connections alive, or its pool is too small or closes them early.")
        .to_do(
            "Use a connection pool or HTTP keep-alive. nginx: `keepalive` in upstream, proxy_http_version 1.1 and an \
             empty Connection header.",
        )
        .do_not("set SO_LINGER to 0 s to avoid TIME_WAITs: data on its way to the peer is lost."),
    ),
    (
        "server_closes_first",
        Text::new(
            "A server closes before its clients do",
            "A server created many TIME_WAITs on one port. They cost memory only: they hold no local port, and a \
             client that returns from the same port may reopen one.",
        )
        .why("The server ends keep-alive connections first, by a timeout or a request limit, or closes after each answer.")
        .to_do(
            "Nothing, as long as memory and net.ipv4.tcp_max_tw_buckets suffice. For fewer TIME_WAITs keep connections \
             alive for longer (nginx: keepalive_timeout, keepalive_requests), or let clients close first.",
        )
        .do_not("set net.ipv4.tcp_tw_reuse for this: it is for connect(). Do not set SO_LINGER to 0 s."),
    ),
    (
        "linger_on_server",
        Text::new(
            "A server closes by RST (SO_LINGER 0)",
            "The server set SO_LINGER to 0 s, so close() sends a RST instead of a FIN. Clients report \"connection \
             reset by peer\" and lose the end of an answer that they have not read yet.",
        )
        .why("Mostly an attempt to avoid TIME_WAITs, or a timeout that resets (nginx: reset_timedout_connection).")
        .to_do("Close without SO_LINGER. A server's TIME_WAITs cost memory only.")
        .do_not("use SO_LINGER with 0 s where data was sent."),
    ),
    (
        "linger_on_client",
        Text::new(
            "A client closes by RST (SO_LINGER 0)",
            "The client set SO_LINGER to 0 s, so close() sends a RST and leaves no TIME_WAIT. The server counts a \
             reset.",
        )
        .why("Health checkers and probers do so on purpose.")
        .to_do("Nothing, if it sends no data that matters. Else close without SO_LINGER and keep connections alive.")
        .do_not("use SO_LINGER with 0 s where data was sent: what is not acknowledged is lost."),
    ),
];

/// The rest: about settings.
pub const OF_SETTINGS: &[(&str, Text)] = &[
    (
        "reuse_without_timestamps",
        Text::new(
            "tcp_tw_reuse is on without effect",
            "net.ipv4.tcp_tw_reuse is 1 and net.ipv4.tcp_timestamps is 0. A TIME_WAIT is reused only if its \
             connection had TCP timestamps, so none is.",
        )
        .why("Someone switched timestamps off, for speed or for old advice on security.")
        .to_do("Switch them on, the default: `sysctl -w net.ipv4.tcp_timestamps=1`.")
        .do_not("leave them off for speed: they cost 12 bytes a segment, and round trips are measured worse."),
    ),
    (
        "reuse_peer_without_timestamps",
        Text::new(
            "A peer without TCP timestamps hinders reuse",
            "connect() met TIME_WAITs that it could not reuse, as the peer did not agree to TCP timestamps. The \
             settings of this host are right.",
        )
        .why("The peer has timestamps off, or a load balancer, firewall or proxy removes the option from the SYN.")
        .to_do("Switch timestamps on at the peer, or let what is in between keep the option. Else keep connections alive.")
        .do_not("change sysctls of this host for it."),
    ),
    (
        "reuse_for_inbound",
        Text::new(
            "tcp_tw_reuse does nothing for servers",
            "net.ipv4.tcp_tw_reuse is 1, and at least 90 % of the TIME_WAITs are those of servers. The setting lets \
             connect() take a TIME_WAIT; a server does not connect.",
        )
        .why("It was set in the hope of fewer TIME_WAITs.")
        .to_do("Nothing: it does no harm. If no client runs here, set it back to 2, the default."),
    ),
    (
        "port_range_narrow",
        Text::new(
            "Few local ports for connect()",
            "net.ipv4.ip_local_port_range has fewer than 16,384 ports (the default has 28,232). That is the number of \
             connections from one source address to one destination.",
        )
        .why("The range was changed, or an image or a container runtime set it.")
        .to_do(
            "Widen it: `sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"`. First put ports that servers listen on \
             into net.ipv4.ip_local_reserved_ports.",
        )
        .do_not("begin the range below 1024, and do not leave out the reserved ports."),
    ),
    (
        "port_range_reserved",
        Text::new(
            "Many local ports are reserved",
            "More than a tenth of net.ipv4.ip_local_port_range is in net.ipv4.ip_local_reserved_ports. connect() \
             and bind() to port 0 do not choose these ports.",
        )
        .why("A whole block was reserved for servers that use few of its ports.")
        .to_do("Reserve only the ports that servers listen on, or move the range away from them."),
    ),
    (
        "fin_timeout_lowered",
        Text::new(
            "tcp_fin_timeout does not shorten TIME_WAIT",
            "net.ipv4.tcp_fin_timeout is below 60. It limits how long a closed connection waits for the peer's FIN \
             (FIN_WAIT2). A TIME_WAIT lasts 60 s, which no setting of most kernels changes.",
        )
        .why("Old pages recommend it against TIME_WAITs.")
        .to_do(
            "Leave it if peers that never close are the reason for it. Else set it back: \
             `sysctl -w net.ipv4.tcp_fin_timeout=60`.",
        )
        .do_not("lower it further: a peer that closes later than that gets a RST."),
    ),
];
