//! Options that select events.

use clap::Args;
use twtrace_core::filter::{AddressFilter, ContainerFilter, Filter, PodFilter, UnitFilter};
use twtrace_wire::{EventKind, Side};

use super::values::{self, event_kind, words};
use crate::enrich::netns_arg::{NetnsArg, NetnsError};
use crate::enrich::procfs::{self, PidError};

/// Which events. Each option may be repeated: any of its values will do, and all options must hold. Values that can't
/// contain a comma may be separated by commas too.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Show only this process, by its pid.
    ///
    /// The pid in the initial pid namespace, as events show it (repeatable, comma-separated).
    #[arg(long, value_name = "PID", value_delimiter = ',', value_parser = values::pid)]
    pub pid: Vec<u32>,
    /// Show only processes of this name.
    ///
    /// Repeatable: any of the names will do.
    #[arg(long, value_name = "NAME")]
    pub comm: Vec<String>,
    /// Show only this container, by its id or name.
    ///
    /// The id or its first digits (6 or more), or the name in LXC and systemd-nspawn (repeatable).
    #[arg(long, value_name = "ID")]
    pub container: Vec<ContainerFilter>,
    /// Show only this Kubernetes pod, by its UID.
    ///
    /// Repeatable.
    #[arg(long, value_name = "UID")]
    pub pod: Vec<PodFilter>,
    /// Show only this systemd unit or slice, such as nginx.
    ///
    /// Without a suffix it is a service; user@1000.service and 'my*.scope' are others (repeatable).
    #[arg(long, value_name = "UNIT")]
    pub unit: Vec<UnitFilter>,
    /// Show only this local address, such as 10.0.0.1:80.
    ///
    /// Of this host's end: 10.0.0.1, 10.0.0.0/8, 10.0.0.1:80, [::1]:80, :443, localhost (repeatable).
    #[arg(long, value_name = "ADDRESS")]
    pub local: Vec<AddressFilter>,
    /// Show only this remote address, such as :443.
    ///
    /// Of the other end, in the forms of --local (repeatable).
    #[arg(long, value_name = "ADDRESS")]
    pub remote: Vec<AddressFilter>,
    /// Show only this network namespace, by name or number.
    ///
    /// Its name in `ip netns`, its inode number, or a path such as /proc/PID/ns/net (repeatable, comma-separated).
    #[arg(long, value_name = "NETNS", value_delimiter = ',')]
    pub netns: Vec<NetnsArg>,
    /// Show only this side: client, server or unknown.
    ///
    /// Which end this host's socket is: the client connected, the server accepted (repeatable, comma-separated).
    #[arg(long, value_delimiter = ',', hide_possible_values = true, value_parser = words::<Side>())]
    pub side: Vec<Side>,
    /// Show only these events, such as reset,abort.
    ///
    /// Of time_wait, time_wait_overflow, time_wait_end, reset, abort, port_alloc and no_address (repeatable, comma-separated).
    #[arg(long, value_delimiter = ',', hide_possible_values = true, value_parser = event_kind())]
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
    /// `--netns` with a path, for a recording.
    #[error(
        "--netns {0}: a recording has no files of its host: write the namespace's name, or its inode number"
    )]
    NetnsPath(String),
    /// `--netns` with a name, for a history.
    #[error(
        "--netns {0}: in a history, namespaces are identified by inode number: see netns_names of its report --json"
    )]
    NetnsName(String),
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

    /// For a recording, which may be of another host. `named` finds the network namespaces of a name in it.
    ///
    /// # Errors
    /// If it contains a path of this host, or a name that `named` does not find.
    pub fn resolve_for_recording<E: From<FilterError>>(
        &self,
        mut named: impl FnMut(&str) -> Result<Vec<u32>, E>,
    ) -> Result<Filter, E> {
        let mut numbers = Vec::new();
        for netns in &self.netns {
            match netns {
                NetnsArg::Inode(inode) => numbers.push(*inode),
                NetnsArg::Path(path) => {
                    return Err(FilterError::NetnsPath(path.display().to_string()).into());
                }
                NetnsArg::Name(name) => numbers.extend(named(name)?),
            }
        }
        Ok(self.filter(numbers))
    }

    /// For a history, which may be of another host or boot.
    ///
    /// # Errors
    /// If it contains a path or a name of a namespace.
    pub fn resolve_for_history(&self) -> Result<Filter, FilterError> {
        self.resolve_for_recording(|name| Err(FilterError::NetnsName(name.to_owned())))
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
