//! Arbitrary values of fields, for tests.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use twtrace_wire::ProcessKey;

use super::comm::Comm;
use super::counts_by::CountsBy;
use super::errno::Errno;
use super::kernel_reason::KernelReason;
use super::place::Place;
use super::process::ProcessDetails;
use super::words::Word;
use super::{PortResult, Process, SocketRange, Timestamp};

/// A type with a strategy.
pub(super) trait Any: Sized + std::fmt::Debug {
    fn any() -> BoxedStrategy<Self>;
}

prop_compose! {
    fn place()(
        path in "\\PC*",
        container_id in option::of(any::<String>()),
        pod_uid in option::of(any::<String>()),
        unit in option::of(any::<String>()),
    ) -> Place {
        Place { path, container_id, pod_uid, unit }
    }
}

prop_compose! {
    fn details()(
        start_time in option::of(any::<u64>().prop_map(Timestamp)),
        exe in option::of(any::<String>()),
        cgroup in option::of(place().boxed()),
    ) -> ProcessDetails {
        ProcessDetails { comm: Comm::default(), start_time, exe, cgroup }
    }
}

prop_compose! {
    fn process()(
        tgid in 1..=u32::MAX,
        uid: Option<u32>,
        comm: [u8; 15],
        thread_comm in option::of(any::<[u8; 15]>()),
        details in option::of(details().boxed()),
    ) -> Process {
        Process {
            key: ProcessKey { tgid, unattributed: 0, start_boot_ns: 5 },
            uid,
            cgroup_id: 0,
            execs: 0,
            comm: Comm::from_bytes(&comm),
            thread_comm: Comm::from_bytes(&thread_comm.unwrap_or_default()),
            details: details.map(Arc::new),
        }
    }
}

impl<T: Any + 'static> Any for Option<T> {
    fn any() -> BoxedStrategy<Self> {
        option::of(T::any()).boxed()
    }
}

impl<T: Word + std::fmt::Debug> Any for T {
    fn any() -> BoxedStrategy<Self> {
        select(T::MEMBERS).boxed()
    }
}

impl<T: Word + std::fmt::Debug, const N: usize> Any for CountsBy<T, N> {
    fn any() -> BoxedStrategy<Self> {
        any::<[u64; N]>().prop_map(Self::new).boxed()
    }
}

/// The other types, each with a strategy.
macro_rules! any {
    ($($type:ty = $strategy:expr;)+) => {$(
        impl Any for $type {
            fn any() -> BoxedStrategy<Self> {
                $strategy.boxed()
            }
        }
    )+};
}

any! {
    bool = any::<Self>();
    u16 = any::<Self>();
    u32 = any::<Self>();
    u64 = any::<Self>();
    SocketAddr = (any::<IpAddr>(), any::<u16>()).prop_map(Self::from);
    Timestamp = any::<u64>().prop_map(Self);
    Process = process();
    KernelReason = "\\PC*".prop_map(|word| Self::new(&word));
    PortResult = any::<Option<u16>>()
        .prop_map(|errno| errno.map_or(Self::Ok, |errno| Self::Failed(Errno(errno))));
    SocketRange = any::<(u16, u16)>().prop_map(|(low, high)| Self { low, high });
}
