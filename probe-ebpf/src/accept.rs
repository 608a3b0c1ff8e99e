//! Which process accept()ed a server connection.

use twtrace_wire::Side;

use crate::{
    constants::offset,
    kernel::{IPPROTO_MPTCP, IPPROTO_TCP, Sock, read},
    process::actor,
    records::{Actor, NEW},
    story,
};

const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// `inet_csk_accept()` returned `child` in the accepting process. MPTCP listeners pass here too, with
/// the first subflow.
#[inline(always)]
pub fn accepted(child: u64) {
    if child == 0 {
        return;
    }
    let sock = Sock(child);
    match sock.protocol() {
        IPPROTO_TCP => {}
        IPPROTO_MPTCP => return accepted_mptcp(child, actor(sock)),
        _ => return,
    }
    let opener = actor(sock);
    let Some(story) = story::of(sock, &NEW) else {
        return;
    };
    // SAFETY: the entry of a live socket.
    unsafe {
        (*story).side = Side::Server as u8;
        if !(*story).opener.is_process() {
            (*story).opener = opener;
        }
    }
    let mptcp = sock.mptcp_socket();
    if mptcp != 0 {
        accepted_mptcp(mptcp, opener);
    }
}

/// Further subflows are never accept()ed: they take this opener from the MPTCP socket.
#[inline(always)]
fn accepted_mptcp(mptcp: u64, opener: Actor) {
    if let Some(story) = story::mptcp(mptcp) {
        // SAFETY: a copy of integers into an LRU entry; stale at worst.
        unsafe { (*story).opener = opener };
    }
}

/// accept() or accept4() returned a descriptor to the current process.
#[inline(always)]
pub fn returned(descriptor: i64) {
    if descriptor >= 0 {
        accepted(socket_of(descriptor as u64));
    }
}

/// The `struct sock` behind a descriptor of the current process, or 0.
#[inline(always)]
pub fn socket_of(descriptor: u64) -> u64 {
    // SAFETY: no arguments, no effect.
    let task = unsafe { aya_ebpf::helpers::generated::bpf_get_current_task() };
    let files: u64 = read(task, offset!(task_files));
    if files == 0 {
        return 0;
    }
    let table: u64 = read(files, offset!(files_fdt));
    if descriptor >= read::<u32>(table, offset!(fdt_max_fds)) as u64 {
        return 0;
    }
    let array: u64 = read(table, offset!(fdt_fd));
    let file: u64 = read(array + descriptor * 8, 0);
    if file == 0 {
        return 0;
    }
    let inode: u64 = read(file, offset!(file_inode));
    if read::<u16>(inode, offset!(inode_mode)) & S_IFMT != S_IFSOCK {
        return 0;
    }
    let socket: u64 = read(file, offset!(file_private_data));
    if socket == 0 {
        return 0;
    }
    read(socket, offset!(socket_sk))
}
