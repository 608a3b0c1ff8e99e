//! Two functions that close in different ways, in known numbers. Arguments: port of a listener of the caller, number of
//! connections closed normally, number of connections reset.

use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::io::{self, Read};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

#[repr(C)]
struct Linger {
    on: c_int,
    seconds: c_int,
}

unsafe extern "C" {
    fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, size: u32) -> c_int;
}

const SOL_SOCKET: c_int = 1;
const SO_LINGER: c_int = 13;

#[inline(never)]
fn closes_plainly(stream: TcpStream) {
    drop(stream);
    black_box(());
}

#[inline(never)]
fn closes_with_reset(stream: TcpStream) {
    let at_once = Linger { on: 1, seconds: 0 };
    let value = (&raw const at_once).cast();
    // SAFETY: a struct of the given size.
    let result = unsafe { setsockopt(stream.as_raw_fd(), SOL_SOCKET, SO_LINGER, value, 8) };
    assert_eq!(result, 0);
    drop(stream);
    black_box(());
}

/// Calls both functions from one place: only their own frames distinguish them.
#[inline(never)]
fn deeper(depth: u32, function: fn(TcpStream), stream: TcpStream) {
    match depth {
        0 => function(stream),
        _ => deeper(depth - 1, function, stream),
    }
    black_box(depth);
}

fn main() {
    let numbers: Vec<u16> = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let functions = [closes_plainly as fn(TcpStream), closes_with_reset];
    for (count, function) in numbers[1..].iter().zip(functions) {
        for _ in 0..*count {
            let stream = TcpStream::connect(("127.0.0.1", numbers[0])).expect("connect");
            deeper(20, black_box(function), stream);
        }
    }
    println!("done");
    // Waits until the caller has read this process's stacks.
    let _ = io::stdin().read(&mut [0]);
}
