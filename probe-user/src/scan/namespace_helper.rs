//! A small process that may still enter network namespaces when this one has dropped the privilege.
//!
//! In the namespace whose file it is sent it opens a socket that lists sockets, or one of a few settings for reading, and
//! passes it back; nothing else. Those sockets can't change anything: destroying a socket takes CAP_NET_ADMIN, which it does
//! not have. It opens no path that it is sent, and is confined to /proc and to the system calls that this takes. It ends with the
//! process that started it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::descriptor;
use super::setting::Setting;
use super::sock_diag::{self, DiagSocket};
use crate::attempts::Attempts;
use crate::confine::{self, Reach};
use crate::place;
use crate::privilege;
use crate::system_calls::{self, Extent, Work};

/// Requests a socket; any smaller value requests a setting.
const DIAG_SOCKET: u8 = u8::MAX;
const OWN_NETNS: &str = "/proc/thread-self/ns/net";

/// The helper process, as its parent sees it.
#[derive(Debug)]
pub struct NamespaceHelper {
    /// `None` only during drop.
    control: Option<OwnedFd>,
    child: libc::pid_t,
}

impl NamespaceHelper {
    /// Starts the process. To be called before privileges are dropped, and while there are no other threads.
    pub fn open() -> io::Result<Self> {
        let (control, childs_end) = descriptor::pair()?;
        // SAFETY: there are no other threads, so every lock is free in the child.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(control);
                let _ = serve(childs_end);
                // SAFETY: ends the child without running what its parent has set up.
                unsafe { libc::_exit(0) }
            }
            child => Ok(Self {
                control: Some(control),
                child,
            }),
        }
    }

    /// Lists the sockets of the namespace with this inode number, through a file that stands for it.
    ///
    /// # Errors
    /// If the file now stands for another namespace (ESTALE) or for none, or it can't be entered.
    pub fn diag_socket(&self, netns: u32, path: &Path) -> io::Result<DiagSocket> {
        DiagSocket::new(self.ask(DIAG_SOCKET, netns, path)?)
    }

    /// A setting of that namespace, open for reading. Later values can be read from it as well.
    ///
    /// # Errors
    /// As above; ENOENT if this kernel does not have it.
    pub fn setting(&self, setting: Setting, netns: u32, path: &Path) -> io::Result<File> {
        self.ask(setting as u8, netns, path).map(File::from)
    }

    fn ask(&self, what: u8, netns: u32, path: &Path) -> io::Result<OwnedFd> {
        // Not the helper, which would open anything: this process may open what leads to namespaces.
        let file = place::open_regular(path)?;
        if file.metadata()?.ino() != u64::from(netns) {
            return Err(io::Error::from_raw_os_error(libc::ESTALE));
        }
        let gone = || io::Error::other("the process that enters namespaces has ended");
        let control = self.control.as_ref().ok_or_else(gone)?;
        descriptor::send(control, &[what], &[file.as_fd()]).map_err(|_| gone())?;
        let mut answer = [0; size_of::<i32>()];
        let (length, mut descriptors) = descriptor::receive(control, &mut answer)?;
        match (length, descriptors.pop()) {
            (0, _) => Err(gone()),
            (_, Some(descriptor)) => Ok(descriptor),
            (_, None) => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(answer))),
        }
    }
}

impl Drop for NamespaceHelper {
    fn drop(&mut self) {
        // The child ends when its control socket is closed.
        self.control = None;
        // SAFETY: a null status is allowed.
        unsafe { libc::waitpid(self.child, std::ptr::null_mut(), 0) };
    }
}

/// The child's main loop.
fn serve(control: OwnedFd) -> io::Result<()> {
    // Ctrl-C is sent to the whole group; the parent decides when to end.
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: SIG_IGN is a valid action for all of them.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // SAFETY: a NUL-terminated name.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"twtrace-netns".as_ptr()) };
    let control = descriptor::close_all_but(control)?;
    let attempts = Attempts::of("helper");
    privilege::keep_to_enter_namespaces()?;
    // Settings are in /proc. A kernel without Landlock or seccomp has the other one; the tracer logs that for itself.
    let _ = confine::confine_to(Reach::Reading(&[Path::new("/proc")]));
    let _ = system_calls::restrict_to(Work::EnterNamespaces, Extent::Process);
    attempts.run();
    let home = File::open(OWN_NETNS)?;
    let mut request = [0];
    loop {
        let (length, mut namespaces) = descriptor::receive(&control, &mut request)?;
        if length == 0 {
            return Ok(());
        }
        match open_in(request[0], namespaces.pop(), &home) {
            Ok(socket) => {
                descriptor::send(&control, &0_i32.to_ne_bytes(), &[socket.as_fd()])?;
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
                descriptor::send(&control, &errno.to_ne_bytes(), &[])?;
            }
        }
    }
}

fn open_in(what: u8, namespace: Option<OwnedFd>, home: &File) -> io::Result<OwnedFd> {
    let file = namespace.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    enter(&file)?;
    let opened = open(what);
    if enter(home).is_err() {
        // A process that stays in a namespace keeps it alive.
        // SAFETY: ends the child, which runs nothing else.
        unsafe { libc::_exit(1) }
    }
    opened
}

/// Opens what is requested, in the namespace of this thread.
fn open(what: u8) -> io::Result<OwnedFd> {
    if what == DIAG_SOCKET {
        return sock_diag::open();
    }
    let setting = Setting::from_code(what);
    let setting = setting.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    // The path shows the namespace of the thread that opens it.
    File::open(setting.path()).map(OwnedFd::from)
}

/// Fails with EINVAL if the file stands for no network namespace.
fn enter(namespace: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: setns() only takes a descriptor, which the caller keeps open.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::netns;
    use crate::scan::sock_diag::Query;

    #[test]
    fn namespaces_are_entered_and_others_not_taken_for_them() {
        // The C library makes fork() safe for what the child does here, whether or not there are other threads.
        let helper = NamespaceHelper::open().unwrap();
        let me = std::process::id();
        let path = format!("/proc/{me}/ns/net");
        let netns = netns::of_process(me).unwrap();
        match helper.diag_socket(netns, Path::new(&path)) {
            Ok(mut socket) => {
                socket.dump(Query::of(&[])).unwrap();
                let setting = helper.setting(Setting::PortRange, netns, Path::new(&path));
                let text = io::read_to_string(setting.unwrap()).unwrap();
                assert_eq!(
                    text,
                    std::fs::read_to_string(Setting::PortRange.path()).unwrap()
                );
                let stale = helper.diag_socket(netns + 1, Path::new(&path)).unwrap_err();
                assert_eq!(stale.raw_os_error(), Some(libc::ESTALE));
            }
            // Only root may.
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
        }
        let missing = helper.diag_socket(netns, Path::new("/nonexistent"));
        assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
        // A file that stands for no namespace.
        let file = tempfile::NamedTempFile::new().unwrap();
        let number = u32::try_from(file.as_file().metadata().unwrap().ino()).unwrap();
        let other = helper.diag_socket(number, file.path()).unwrap_err();
        assert_eq!(other.raw_os_error(), Some(libc::EINVAL));
    }
}
