//! Files and sockets behind the descriptors of the current process.

use aya_ebpf::helpers::generated::bpf_get_current_task;

use crate::{constants::offset, sockets::read::read};

const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// The `struct sock` behind a descriptor of the current process, or 0.
#[inline(always)]
pub fn socket_of(descriptor: u64) -> u64 {
    socket_of_file(file_of(descriptor))
}

/// The `struct sock` of a file, or 0.
#[inline(always)]
pub fn socket_of_file(file: u64) -> u64 {
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

/// Whether calls on a file wait (no O_NONBLOCK).
#[inline(always)]
pub fn waits(file: u64) -> bool {
    const O_NONBLOCK: u32 = 0o4000;
    read::<u32>(file, offset!(file_flags)) & O_NONBLOCK == 0
}

/// The `struct file` behind a descriptor of the current process, or 0.
#[inline(always)]
pub fn file_of(descriptor: u64) -> u64 {
    // SAFETY: the helper takes no arguments and has no side effects.
    let task = unsafe { bpf_get_current_task() };
    let files: u64 = read(task, offset!(task_files));
    if files == 0 {
        return 0;
    }
    let table: u64 = read(files, offset!(files_fdt));
    if descriptor >= read::<u32>(table, offset!(fdt_max_fds)) as u64 {
        return 0;
    }
    let array: u64 = read(table, offset!(fdt_fd));
    read(array + descriptor * 8, 0)
}
