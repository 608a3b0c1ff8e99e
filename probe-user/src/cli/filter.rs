//! Options that select events.

use clap::Args;
use twtrace_core::filter::{AddressFilter, ContainerFilter, Filter, PodFilter, UnitFilter};
use twtrace_wire::{EventKind, Side};

use super::values::{self, words};
use crate::enrich::netns_arg::{NetnsArg, NetnsError};
use crate::enrich::procfs::{self, PidError};

/// Which events. Each option may be repeated: any of its values will do, and all options must hold. Values that can't
/// contain a comma may be separated by commas too.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Process that caused the event, by its pid in the initial pid namespace.
    #[arg(long, value_name = "PID", value_delimiter = ',', value_parser = values::pid)]
    pub pid: Vec<u32>,
    /// Process that caused the event, by its name.
    #[arg(long, value_name = "NAME")]
    pub comm: Vec<String>,
    /// Container that the process runs in: its id or the first digits of it, or its name in LXC and systemd-nspawn.
    #[arg(long, value_name = "ID")]
    pub container: Vec<ContainerFilter>,
    /// Kubernetes pod that it runs in, by its UID.
    #[arg(long, value_name = "UID")]
    pub pod: Vec<PodFilter>,
    /// systemd unit or slice that it runs in, such as nginx, user@1000.service or 'my*.scope'.
    #[arg(long, value_name = "UNIT")]
    pub unit: Vec<UnitFilter>,
    /// This host's end: 10.0.0.1, 10.0.0.0/8, 10.0.0.1:80, [::1]:80, :443, localhost.
    #[arg(long, value_name = "ADDRESS")]
    pub local: Vec<AddressFilter>,
    /// The other end, in the same forms.
    #[arg(long, value_name = "ADDRESS")]
    pub remote: Vec<AddressFilter>,
    /// Network namespace: its inode number, its name in `ip netns`, or a path such as /proc/PID/ns/net.
    #[arg(long, value_name = "NETNS", value_delimiter = ',')]
    pub netns: Vec<NetnsArg>,
    /// Which end this host's socket is.
    #[arg(long, value_delimiter = ',', value_parser = words::<Side>())]
    pub side: Vec<Side>,
    /// Kind of event (repeatable, or comma-separated).
    #[arg(long, value_delimiter = ',', value_parser = words::<EventKind>())]
    pub event: Vec<EventKind>,
}

/// A filter for something that does not exist.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// `--pid`
    #[error("--pid")]
    Pid(#[from] PidError),
    /// `--netns`
    #[error("--netns")]
    Netns(#[from] NetnsError),
    /// `--netns` with a name or path, for a recording.
    #[error(
        "--netns {0}: in a recording, namespaces are identified by inode number; its report lists the names"
    )]
    NetnsPath(String),
}

impl FilterArgs {
    /// Checks on this host that the processes and namespaces exist.
    ///
    /// # Errors
    /// If one does not.
    pub fn resolve(&self) -> Result<Filter, FilterError> {
        self.pid
            .iter()
            .try_for_each(|pid| procfs::check_pid(*pid))?;
        let netns = self.netns.iter().map(NetnsArg::existing);
        Ok(self.filter(netns.collect::<Result<_, _>>()?))
    }

    /// The same for past data: its processes may have exited.
    ///
    /// # Errors
    /// If a path does not refer to a namespace.
    pub fn unchecked(&self) -> Result<Filter, FilterError> {
        let netns = self.netns.iter().map(NetnsArg::inode);
        Ok(self.filter(netns.collect::<Result<_, _>>()?))
    }

    /// For a recording, which may be of another host.
    ///
    /// # Errors
    /// If it contains a path of this host.
    pub fn resolve_for_recording(&self) -> Result<Filter, FilterError> {
        let netns = self.netns.iter().map(|netns| match netns {
            NetnsArg::Inode(inode) => Ok(*inode),
            NetnsArg::Path(path) => Err(FilterError::NetnsPath(path.display().to_string())),
            NetnsArg::Name(name) => Err(FilterError::NetnsPath(name.clone())),
        });
        Ok(self.filter(netns.collect::<Result<_, _>>()?))
    }

    fn filter(&self, netns: Vec<u32>) -> Filter {
        Filter {
            pids: self.pid.clone(),
            comms: self.comm.clone(),
            containers: self.container.clone(),
            pods: self.pod.clone(),
            units: self.unit.clone(),
            local: self.local.clone(),
            remote: self.remote.clone(),
            netns,
            sides: self.side.clone(),
            kinds: self.event.clone(),
            family: None,
            recorded: None,
        }
    }
}
