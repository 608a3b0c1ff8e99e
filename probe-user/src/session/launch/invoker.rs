//! The user who called sudo.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;

use super::LaunchError;

/// Processes between twtrace and the shell that sudo was called from.
const MAX_ANCESTORS: usize = 32;

/// A user's ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoker {
    uid: libc::uid_t,
    gid: libc::gid_t,
    /// Supplementary groups.
    groups: Vec<libc::gid_t>,
}

impl Invoker {
    /// Who called sudo, by the variables that it sets; `None` where nobody did, or root, or where this process may
    /// not change its user anyway.
    ///
    /// # Errors
    /// When the variables are not numbers.
    pub fn of_sudo() -> Result<Option<Self>, LaunchError> {
        // SAFETY: it can't fail.
        if unsafe { libc::geteuid() } != 0 {
            return Ok(None);
        }
        let (Some(uid), user) = (env::var_os("SUDO_UID"), env::var_os("SUDO_USER")) else {
            return Ok(None);
        };
        let (uid, gid) = ids(&uid, &env::var_os("SUDO_GID").unwrap_or_default())?;
        if uid == 0 {
            return Ok(None);
        }
        // What the caller's shell has is better than what a new login would get, and takes no name service.
        let groups = groups_of_caller(uid).unwrap_or_else(|| {
            let table = fs::read("/etc/group").unwrap_or_default();
            groups_in_table(&table, user.as_deref(), gid)
        });
        Ok(Some(Self { uid, gid, groups }))
    }

    /// Makes the calling process this user's, for good. Makes system calls only.
    ///
    /// # Errors
    /// errno of what was refused.
    pub fn become_user(&self) -> io::Result<()> {
        let done = |result: libc::c_int| match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        };
        let (uid, gid) = (self.uid, self.gid);
        // SAFETY: the pointer and length are of one list; the others take plain numbers. Groups go first: the user
        // may not set them.
        unsafe {
            done(libc::setgroups(self.groups.len(), self.groups.as_ptr()))?;
            done(libc::setresgid(gid, gid, gid))?;
            done(libc::setresuid(uid, uid, uid))
        }
    }
}

fn ids(uid: &OsStr, gid: &OsStr) -> Result<(u32, u32), LaunchError> {
    let id = |variable, value: &OsStr| {
        let number = value.to_str().and_then(|text| text.parse().ok());
        // To setresuid() -1 means: as it is.
        number
            .filter(|id| *id != u32::MAX)
            .ok_or_else(|| LaunchError::Sudo {
                variable,
                value: OsString::from(value),
            })
    };
    Ok((id("SUDO_UID", uid)?, id("SUDO_GID", gid)?))
}

/// Groups of the nearest ancestor of this user.
fn groups_of_caller(uid: libc::uid_t) -> Option<Vec<libc::gid_t>> {
    let mut pid = std::os::unix::process::parent_id();
    for _ in 0..MAX_ANCESTORS {
        let status = fs::read(format!("/proc/{pid}/status")).ok()?;
        let status = String::from_utf8_lossy(&status);
        if numbers(&status, "Uid:").next() == Some(uid) {
            return Some(numbers(&status, "Groups:").collect());
        }
        pid = numbers(&status, "PPid:").next().filter(|pid| *pid != 0)?;
    }
    None
}

/// The numbers of one line of /proc/PID/status.
fn numbers<'a>(status: &'a str, name: &str) -> impl Iterator<Item = u32> + use<'a> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let words = line.unwrap_or_default().split_ascii_whitespace();
    words.map_while(|word| word.parse().ok())
}

/// Groups that /etc/group names the user in, and the own one: `name:password:gid:user,user`.
fn groups_in_table(table: &[u8], user: Option<&OsStr>, gid: libc::gid_t) -> Vec<libc::gid_t> {
    let mut groups = vec![gid];
    let Some(user) = user.and_then(OsStr::to_str) else {
        return groups;
    };
    for line in String::from_utf8_lossy(table).lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if let [_, _, group, members] = fields[..]
            && members.split(',').any(|member| member == user)
            && let Ok(group) = group.parse()
            && !groups.contains(&group)
        {
            groups.push(group);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudos_variables_are_numbers_or_refused() {
        let ids = |uid: &str, gid: &str| ids(OsStr::new(uid), OsStr::new(gid));
        assert_eq!(ids("1000", "100").unwrap(), (1000, 100));
        for (uid, gid) in [
            ("", "100"),
            ("1000", ""),
            ("-1", "100"),
            ("1000", "4294967295"),
            ("root", "0"),
        ] {
            let error = ids(uid, gid).unwrap_err();
            assert!(error.to_string().contains("SUDO_"), "{error}");
            assert_eq!(error.exit_code(), 125);
        }
    }

    #[test]
    fn groups_come_from_the_table_where_no_shell_has_them() {
        let table = b"root:x:0:\nadm:x:4:syslog,ann\nann:x:1000:\nbad:x:y:ann\nwheel:x:10:anna,ann\nshort:x:7\n\xff:x:11:ann\n";
        let groups = |user: &str| groups_in_table(table, Some(OsStr::new(user)), 1000);
        assert_eq!(groups("ann"), [1000, 4, 10, 11]);
        assert_eq!(groups("ben"), [1000]);
        assert_eq!(groups_in_table(table, None, 5), [5]);
    }

    #[test]
    fn a_status_is_read_by_line() {
        let status = "Name:\tGroups: 9\nPPid:\t7\nUid:\t1000\t0\t0\t0\nGroups:\t4 24 27 \n";
        assert_eq!(numbers(status, "Uid:").next(), Some(1000));
        assert_eq!(numbers(status, "PPid:").collect::<Vec<_>>(), [7]);
        assert_eq!(numbers(status, "Groups:").collect::<Vec<_>>(), [4, 24, 27]);
        assert_eq!(numbers("", "Uid:").next(), None);
    }

    #[test]
    fn this_process_has_an_ancestor_of_its_user() {
        // SAFETY: it can't fail.
        let uid = unsafe { libc::getuid() };
        assert!(groups_of_caller(uid).is_some());
    }
}
