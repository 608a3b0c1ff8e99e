//! Fields of `struct inet_timewait_sock`, whose head is that of a `struct sock`.

use twtrace_wire::ABSENT;

use crate::{
    constants::{config, offset},
    sockets::{read::read, sock::Sock},
};

/// The mini-socket that a timer belongs to, if it is the timer of one.
#[inline(always)]
pub fn mini_of(timer: u64) -> Option<Sock> {
    let of_mini = read::<u64>(timer, offset!(timer_function)) == config!(tw_timer_handler);
    of_mini.then(|| Sock(timer - offset!(tw_timer) as u64))
}

/// Whether nothing holds the mini-socket's namespace any more: it is being purged.
#[inline(always)]
pub fn namespace_goes(mini: Sock) -> bool {
    let at = offset!(net_count);
    at != ABSENT && read::<u32>(mini.net(), at) == 0
}
