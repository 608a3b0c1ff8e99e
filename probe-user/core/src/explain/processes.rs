//! Why no process is known.

use twtrace_wire::Unattributed;

use super::text::Text;
use crate::model::close_wait::NoHolder;

/// For an event.
pub const fn of_event(reason: Unattributed) -> Text {
    match reason {
        Unattributed::Unknown => Text::new(
            "No process acted, and the opener is not known",
            "A timer, an interrupt or a kernel thread ended the connection, and no hook saw who opened it.",
        )
        .why(
            "The connection was reset before accept(), or a kernel thread closed a descriptor that was still in flight \
             or in an io_uring. For the latter, `opener` says who opened it.",
        )
        .to_do("`twtrace probes` shows if the hook for accept() is missing."),
        Unattributed::ClosedBeforeTracing => Text::new(
            "Closed before twtrace started",
            "The connection had begun to close before all probes were attached. The kernel does not record who closed it.",
        )
        .to_do("Trace for longer, or run `twtrace serve`: after a minute or two such connections have ended."),
        Unattributed::KernelSocket => Text::new(
            "A socket of the kernel itself",
            "The socket belongs to the kernel, such as one of NFS or nvme-tcp. No process opened it.",
        ),
        Unattributed::NoSocket => Text::new(
            "There was no socket for the segment",
            "A RST answered a segment for which there is no socket, so there is no process either.",
        )
        .to_do("See `twtrace explain no_socket` for the reason of the RST, and check the local port."),
        Unattributed::Lost => Text::new(
            "What was known was lost: a map was full",
            "twtrace had no room to keep the process of this connection.",
        )
        .why("More connections are open than --max-sockets allows.")
        .to_do("Raise --max-sockets. `twtrace report --details` lists the losses."),
    }
}

/// For a connection in CLOSE_WAIT.
pub const fn of_close_wait(reason: NoHolder) -> Text {
    match reason {
        NoHolder::NotAccepted => Text::new(
            "It waits in the queue of its listener",
            "The peer connected and closed before a process called accept(), so no process has the connection yet.",
        )
        .why("The process that listens is stuck, or too slow.")
        .to_do("Find out why it does not call accept(): `ss -ltnp` shows the queue as Recv-Q."),
        NoHolder::Unknown => Text::new(
            "No descriptor in /proc refers to it",
            "It is being passed between processes, or the process that holds it may not be inspected.",
        )
        .to_do("Run twtrace as root, in the initial pid namespace."),
    }
}
