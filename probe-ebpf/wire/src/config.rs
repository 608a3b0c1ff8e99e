//! Properties of the running kernel that userspace passes to the programs before they are loaded.

/// An offset that this kernel's BTF does not contain.
pub const ABSENT: u32 = u32::MAX;

/// Declares the offsets once: the struct, and for userspace the list of where to look up each.
macro_rules! offsets {
    ($($field:ident = $strct:literal . $path:literal $(or $strct2:literal . $path2:literal)*;)+) => {
        /// Byte offsets of the kernel's struct members, by BTF, or [`ABSENT`].
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Offsets {
            $(
                #[doc = concat!("`", $strct, "`.`", $path, "`")]
                pub $field: u32,
            )+
        }

        impl Offsets {
            /// Where to look up each field: its name here, then (struct, dotted member path) in order of preference.
            pub const SOURCES: &'static [(&'static str, &'static [(&'static str, &'static str)])] = &[
                $((stringify!($field), &[($strct, $path) $(, ($strct2, $path2))*]),)+
            ];

            /// All fields, from values in the order of [`Self::SOURCES`].
            pub const fn from_values(values: &[u32; Self::SOURCES.len()]) -> Self {
                let mut index = 0;
                $(
                    let $field = values[index];
                    index += 1;
                )+
                let _ = index;
                Self { $($field,)+ }
            }
        }
    };
}

offsets! {
    skc_daddr = "sock_common"."skc_daddr";
    skc_rcv_saddr = "sock_common"."skc_rcv_saddr";
    skc_hash = "sock_common"."skc_hash";
    skc_dport = "sock_common"."skc_dport";
    skc_num = "sock_common"."skc_num";
    skc_family = "sock_common"."skc_family";
    skc_state = "sock_common"."skc_state";
    skc_net = "sock_common"."skc_net.net";
    skc_v6_daddr = "sock_common"."skc_v6_daddr";
    skc_v6_rcv_saddr = "sock_common"."skc_v6_rcv_saddr";
    skc_flags = "sock_common"."skc_flags";
    skc_next = "sock_common"."skc_nulls_node.next";
    skc_unhashed = "sock_common"."skc_nulls_node.pprev";
    skc_cookie = "sock_common"."skc_cookie.counter";
    skc_refcnt = "sock_common"."skc_refcnt.refs.counter";
    sk_lock_owned = "sock"."sk_lock.owned";
    sk_socket = "sock"."sk_socket";
    sk_lingertime = "sock"."sk_lingertime";
    sk_err = "sock"."sk_err";
    sk_protocol = "sock"."sk_protocol";
    inet_saddr = "inet_sock"."inet_saddr";
    inet_local_port_range = "inet_sock"."local_port_range";
    inet_sport = "inet_sock"."inet_sport";
    icsk_ulp_ops = "inet_connection_sock"."icsk_ulp_ops";
    icsk_ulp_data = "inet_connection_sock"."icsk_ulp_data";
    icsk_retransmits = "inet_connection_sock"."icsk_retransmits";
    icsk_lrcvtime = "inet_connection_sock"."icsk_ack.lrcvtime";
    tcp_rcv_tstamp = "tcp_sock"."rcv_tstamp";
    tcp_last_oow_ack_time = "tcp_sock"."last_oow_ack_time";
    tcp_rack_mstamp = "tcp_sock"."rack.mstamp";
    tcp_snd_una = "tcp_sock"."snd_una";
    tcp_snd_nxt = "tcp_sock"."snd_nxt";
    tcp_rcv_nxt = "tcp_sock"."rcv_nxt";
    tcp_copied_seq = "tcp_sock"."copied_seq";
    tcp_bytes_sent = "tcp_sock"."bytes_sent";
    tcp_bytes_retrans = "tcp_sock"."bytes_retrans";
    tcp_bytes_received = "tcp_sock"."bytes_received";
    tcp_lsndtime = "tcp_sock"."lsndtime";
    tcp_linger2 = "tcp_sock"."linger2";
    tcp_mss_clamp = "tcp_sock"."rx_opt.mss_clamp";
    tw_timer = "inet_timewait_sock"."tw_timer";
    tw_substate = "inet_timewait_sock"."tw_substate";
    tw_ts_recent_stamp = "tcp_timewait_sock"."tw_ts_recent_stamp";
    timer_expires = "timer_list"."expires";
    timer_function = "timer_list"."function";
    skc_bound_dev_if = "sock_common"."skc_bound_dev_if";
    net_tcp_tw_reuse = "net"."ipv4.sysctl_tcp_tw_reuse";
    net_tcp_timestamps = "net"."ipv4.sysctl_tcp_timestamps";
    net_inum = "net"."ns.inum";
    net_count = "net"."ns.__ns_ref" or "net"."ns.count" or "net"."count";
    task_group_leader = "task_struct"."group_leader";
    task_start_boottime = "task_struct"."start_boottime" or "task_struct"."real_start_time";
    task_comm = "task_struct"."comm";
    task_flags = "task_struct"."flags";
    task_pid = "task_struct"."pid";
    task_tgid = "task_struct"."tgid";
    task_real_parent = "task_struct"."real_parent";
    task_children = "task_struct"."children";
    task_sibling = "task_struct"."sibling";
    task_pid_links = "task_struct"."pid_links";
    pid_tasks = "pid"."tasks";
    proc_inode_pid = "proc_inode"."pid";
    proc_inode_vfs_inode = "proc_inode"."vfs_inode";
    task_stack = "task_struct"."stack";
    task_files = "task_struct"."files";
    files_fdt = "files_struct"."fdt";
    fdt_max_fds = "fdtable"."max_fds";
    fdt_fd = "fdtable"."fd";
    file_inode = "file"."f_inode";
    file_private_data = "file"."private_data";
    file_flags = "file"."f_flags";
    inode_mode = "inode"."i_mode";
    socket_sk = "socket"."sk";
    socket_file = "socket"."file";
    file_count = "file"."f_count.counter";
    file_ref = "file"."f_ref.refcnt.counter";
    skb_head = "sk_buff"."head";
    skb_data = "sk_buff"."data";
    skb_len = "sk_buff"."len";
    skb_network_header = "sk_buff"."network_header";
    skb_transport_header = "sk_buff"."transport_header";
    skb_dev = "sk_buff"."dev";
    dev_net = "net_device"."nd_net.net";
    subflow_conn = "mptcp_subflow_context"."conn";
    ulp_name = "tcp_ulp_ops"."name";
    task_cred = "task_struct"."cred";
    task_cgroups = "task_struct"."cgroups";
    css_cgroup = "cgroup_subsys_state"."cgroup";
    cgroup_kn = "cgroup"."kn";
    kernfs_id = "kernfs_node"."id";
    net_hash_mix = "net"."hash_mix";
    net_ns = "net"."ns";
    net_tcp_hashinfo = "net"."ipv4.tcp_death_row.hashinfo";
    hashinfo_ehash = "inet_hashinfo"."ehash";
    hashinfo_ehash_mask = "inet_hashinfo"."ehash_mask";
    inode_private = "inode"."i_private";
    task_self_exec_id = "task_struct"."self_exec_id";
    css_set_dfl_cgrp = "css_set"."dfl_cgrp";
    hashinfo_bhash = "inet_hashinfo"."bhash";
    hashinfo_bhash_size = "inet_hashinfo"."bhash_size";
    bhash_chain = "inet_bind_hashbucket"."chain";
    bind_bucket_net = "inet_bind_bucket"."ib_net.net";
    bind_bucket_port = "inet_bind_bucket"."port";
    bind_bucket_fastreuse = "inet_bind_bucket"."fastreuse";
    bind_bucket_fastreuseport = "inet_bind_bucket"."fastreuseport";
    bind_bucket_node = "inet_bind_bucket"."node";
}

const _: () = assert!(size_of::<Offsets>() == 4 * Offsets::SOURCES.len());

/// Properties and options that are constant for one run.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Kernel address of `tw_timer_handler` (kallsyms), or 0.
    pub tw_timer_handler: u64,
    /// Length of the kernel's tick, nanoseconds (1 / CONFIG_HZ).
    pub tick_ns: u64,
    /// Port allocations that take at least this long get an event of their own, nanoseconds.
    pub slow_port_ns: u64,
    /// Wake userspace when the ring buffer holds this many bytes.
    pub wake_bytes: u64,
    /// Port allocations that take at least this long have their user stack counted, nanoseconds.
    pub stack_slow_port_ns: u64,
    /// Bit offset of `sock.sk_kern_sock`, or [`ABSENT`].
    pub sk_kern_sock_bit: u32,
    /// Bit offset of `sock.sk_shutdown`, or [`ABSENT`] (a bit field in some kernels).
    pub sk_shutdown_bit: u32,
    /// How births are seen: one of the constants `BIRTHS_…`.
    pub births: u32,
    /// 1 if ends are seen through the mini-socket's timer.
    pub ends_by_timer: u32,
    /// 1 if port allocations are seen through their system calls.
    pub ports_by_syscall: u32,
    /// 1 if each connect() that found a TIME_WAIT it could not reuse, or that searched a port range of its socket's
    /// own, gets an event of its own.
    pub tell_special: u32,
    /// 1 if user stacks are kept and counted.
    pub stacks: u32,
    /// How to find the user's registers: one of the constants `REGISTERS_…`.
    pub user_registers: u32,
    /// With `REGISTERS_BY_STACK`: their offset from the task's kernel stack, bytes.
    pub registers_offset: u32,
    /// Offset in a `css_set` of the v1 controller whose hierarchy gives the cgroups of processes, bytes; or [`ABSENT`].
    pub cgroup_controller: u32,
    /// 1 if the kernel's memory can be read without a helper: [`CAST_MARK`] has been replaced.
    pub direct_reads: u32,
    /// Number of slots of closing sockets, a power of two, less one.
    pub closing_mask: u32,
    /// Binary logarithm of the number of slots of connection states, of which there are twice as many as of slots of
    /// mini-sockets; 0: there are no slots.
    pub conn_slot_bits: u32,
    /// Bit offset of `task_struct.in_execve`, or [`ABSENT`].
    pub in_execve_bit: u32,
}

/// Also not the number of a helper. The programs call it where they need `lock *(u64 *)(r1 + 0) = cmpxchg(r0, r3)`,
/// which the instruction set has from 5.12 on. Userspace replaces it by that instruction if there are slots for
/// connection states.
pub const CLAIM_MARK: u32 = 0x7277_636c;

/// Not the number of a helper. The programs call it instead of the kernel function `bpf_rdonly_cast`, whose number
/// differs between kernels: userspace replaces it by that number, if the kernel has the function. Otherwise the
/// verifier never reaches the call.
pub const CAST_MARK: u32 = 0x7277_6361;

/// In the map `STARTED`: programs are being attached, and none keeps anything. A value greater than [`FOLLOWING`] is
/// the time at which counting began, nanoseconds of CLOCK_MONOTONIC.
pub const ATTACHING: u64 = 0;
/// In the map `STARTED`: all programs are attached and keep connection states, but none counts or reports.
pub const FOLLOWING: u64 = 1;

/// [`Config::births`]: through a hook on inet_twsk_alloc().
pub const BIRTHS_HOOKED: u32 = 0;
/// [`Config::births`]: through the timer of the mini-socket. The full socket is then found by its tuple, and a close
/// that should have created a mini-socket and did not was refused one.
pub const BIRTHS_BY_TIMER: u32 = 1;
/// [`Config::births`]: not seen, but inferred. No mini-socket is known by its address.
pub const BIRTHS_INFERRED: u32 = 2;

const _: () = assert!(size_of::<Config>() == 5 * 8 + 14 * 4);
