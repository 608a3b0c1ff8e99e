//! Which process accept()ed a server connection.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use twtrace_wire::Side;

use crate::{
    maps::{ACCEPTING, atomic::in_this_order},
    processes::{process::actor, stack},
    records::{Accepting, Actor, Conn},
    resets::unaccepted,
    slots::{conn, listener, subflow},
    sockets::{
        descriptor::{file_of, socket_of, socket_of_file},
        sock::{IPPROTO_MPTCP, IPPROTO_TCP, Sock},
        state,
    },
};

/// `inet_csk_accept()` returned `child` in the accepting process. MPTCP listeners also pass here, with the first
/// subflow. `listener` is 0 if the hook does not provide it; it is looked up then.
#[inline(always)]
pub fn accepted(listener: u64, child: u64) {
    if child == 0 {
        return;
    }
    let sock = Sock(child);
    match sock.protocol() {
        IPPROTO_TCP => {}
        IPPROTO_MPTCP => return subflow::whole_accepted(child, actor(sock)),
        _ => return,
    }
    let opener = actor(sock);
    let Some(conn) = conn::accepted(sock) else {
        return;
    };
    // SAFETY: the entry of a live socket.
    unsafe {
        (*conn).side = Side::Server as u8;
        if !(*conn).opener.is_process() {
            write_opener(conn, &opener);
        }
    }
    unaccepted::accepted(sock, conn);
    if listener != 0 {
        listener::accepted(Sock(listener), &opener);
    } else {
        note_listener_of_call(sock, &opener);
    }
    let mptcp = sock.mptcp_socket();
    if mptcp != 0 {
        subflow::whole_accepted(mptcp, opener);
    }
}

/// Writes the opener, with the thread-group id last: softirq on another CPU may be checking whether there is an opener.
///
/// # Safety
/// `conn` is the entry of a live socket.
#[inline(always)]
unsafe fn write_opener(conn: *mut Conn, opener: &Actor) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        (*conn).opener.key.start_boot_ns = opener.key.start_boot_ns;
        (*conn).opener.tid = opener.tid;
        (*conn).opener.generation = opener.generation;
        (*conn).opener.thread_comm = opener.thread_comm;
        in_this_order();
        (*conn).opener.key.unattributed = opener.key.unattributed;
        (*conn).opener.key.tgid = opener.key.tgid;
    }
}

/// accept() or accept4() returned a descriptor to the current process.
#[inline(always)]
pub fn returned(descriptor: i64) {
    if descriptor >= 0 {
        accepted(0, socket_of(descriptor as u64));
    }
}

/// After this many repetitions the listener is looked up again, so that the LRU map keeps its entry.
const REPEATED_TIMES: u64 = 64;

/// Records that the opener accepts from the listener of the current system call. Most calls repeat the one before: the
/// same thread accepts from the same file, and no listener has come or gone. Then this process is recorded already.
#[inline(always)]
fn note_listener_of_call(child: Sock, opener: &Actor) {
    let changes = listener::changes();
    let file = file_of(stack::first_argument() as u32 as u64);
    let thread = bpf_get_current_pid_tgid();
    let Some(before) = ACCEPTING.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: a per-CPU slot. The programs that come here run with preemption off.
    unsafe {
        let is_repeated = (*before).thread == thread
            && (*before).start_boot_ns == opener.key.start_boot_ns
            && (*before).file == file
            && (*before).changes == changes
            && (*before).times < REPEATED_TIMES;
        if is_repeated {
            (*before).times += 1;
            return;
        }
    }
    let listener = socket_of_file(file);
    if !is_listener_of(listener, child) || !listener::accepted(Sock(listener), opener) {
        return;
    }
    // SAFETY: as above.
    unsafe {
        *before = Accepting {
            thread,
            start_boot_ns: opener.key.start_boot_ns,
            file,
            changes,
            times: 0,
        };
    }
}

/// Whether the socket that the system call names listens on the child's address. Otherwise the call is not accept(), as
/// with io_uring, or the descriptor now stands for something else.
#[inline(always)]
fn is_listener_of(listener: u64, child: Sock) -> bool {
    if listener == 0 {
        return false;
    }
    let found = Sock(listener);
    found.state() == state::LISTEN
        && found.net() == child.net()
        && found.local_port() == child.local_port()
        && found.takes_address_of(child)
}
