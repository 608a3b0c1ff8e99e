//! The user who called sudo.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;

use super::LaunchError;

/// Ancestors that are checked: processes between twtrace and the shell that called sudo.
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
    /// The user who called sudo, by the variables that sudo sets. `None` if nobody or root did, or if this process
    /// may not change its user anyway.
    ///
    /// # Errors
    /// If the variables are not numbers.
    pub fn of_sudo() -> Result<Option<Self>, LaunchError> {
        // SAFETY: geteuid() can't fail.
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
        // The groups of the caller's shell are better than those of a new login, and need no name service.
        let groups = groups_of_caller(uid).unwrap_or_else(|| {
            let table = fs::read("/etc/group").unwrap_or_default();
            groups_in_table(&table, user.as_deref(), gid)
        });
        Ok(Some(Self { uid, gid, groups }))
    }

    /// Switches the calling process to this user, permanently. Makes system calls only.
    ///
    /// # Errors
    /// errno of the call that was refused.
    pub fn become_user(&self) -> io::Result<()> {
        let done = |result: libc::c_int| match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        };
        let (uid, gid) = (self.uid, self.gid);
        // SAFETY: the pointer and length describe one list; the other calls take plain numbers. Groups are set first,
        // because the user may not set them.
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
        // setresuid() takes -1 as "unchanged".
        number
            .filter(|id| *id != u32::MAX)
            .ok_or_else(|| LaunchError::Sudo {
                variable,
                value: OsString::from(value),
            })
    };
    Ok((id("SUDO_UID", uid)?, id("SUDO_GID", gid)?))
}

/// Groups of the nearest ancestor that runs as this user.
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

/// The numbers on one line of /proc/PID/status.
fn numbers<'a>(status: &'a str, name: &str) -> impl Iterator<Item = u32> + use<'a> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let words = line.unwrap_or_default().split_ascii_whitespace();
    words.map_while(|word| word.parse().ok())
}

/// The user's own group, and those that /etc/group lists the user in: `name:password:gid:user,user`.
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
        // SAFETY: getuid() can't fail.
        let uid = unsafe { libc::getuid() };
        assert!(groups_of_caller(uid).is_some());
    }
}
