//! Which process accept()ed a server connection.

use twtrace_wire::Side;

use crate::{
    maps::atomic::in_this_order,
    processes::{process::actor, stack},
    records::{Actor, Conn},
    resets::unaccepted,
    slots::{conn, listener, subflow},
    sockets::{
        descriptor::socket_of,
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
    let listener = match listener {
        0 => listener_of_call(sock),
        known => known,
    };
    if listener != 0 {
        listener::accepted(Sock(listener), &opener);
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

/// The listener that the current system call names by a descriptor, if it listens on the child's port. Otherwise 0: the
/// call is not accept(), as with io_uring, or the descriptor now stands for something else.
#[inline(always)]
fn listener_of_call(child: Sock) -> u64 {
    let descriptor = stack::first_argument();
    let listener = socket_of(descriptor as u32 as u64);
    if listener == 0 {
        return 0;
    }
    let found = Sock(listener);
    let is_it = found.state() == state::LISTEN
        && found.net() == child.net()
        && found.local_port() == child.local_port();
    if is_it { listener } else { 0 }
}
