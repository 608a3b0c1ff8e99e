//! Cgroups that a scenario creates, and that are removed after it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{Skip, Stage};
use crate::{
    actor::Actor,
    sys::{
        cgroup::{self, Version},
        process,
    },
};

/// How long a killed actor may take to exit.
const DEATH_LIMIT: Duration = Duration::from_secs(5);

impl Stage {
    /// Moves an actor into a cgroup, which is created if needed. Returns its path in a hierarchy: all of a stage's
    /// cgroups are below one of its own.
    ///
    /// # Errors
    /// If it can't be created or entered; a [`Skip`] if the hierarchy is not mounted.
    pub fn into_cgroup(&self, actor: &Actor, version: Version, path: &str) -> Result<String> {
        let Some(mount) = cgroup::mounted(version)? else {
            bail!(Skip(format!("the hierarchy of {version:?} is not mounted")));
        };
        let own = format!("twtrace-{}", std::process::id());
        let top = mount.join(&own);
        let directory = top.join(path);
        match fs::create_dir(&top) {
            Ok(()) => self.cgroups.borrow_mut().push(top),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {
                bail!(Skip(format!("{}: {error}", top.display())))
            }
            Err(error) => return Err(error).with_context(|| format!("make {}", top.display())),
        }
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        cgroup::enter(&directory, actor.pid)
            .with_context(|| format!("enter {}", directory.display()))?;
        Ok(format!("/{own}/{path}"))
    }

    /// Removes the created cgroups, which must no longer contain processes.
    ///
    /// # Errors
    /// If they still do after a while.
    pub fn remove_cgroups(&self) -> Result<()> {
        let cgroups: Vec<PathBuf> = self.cgroups.take();
        cgroups.iter().try_for_each(|top| remove(top))
    }

    /// Ends the actors and removes the cgroups, if there are any.
    pub(super) fn clean_cgroups(&self) -> Result<()> {
        if self.cgroups.borrow().is_empty() {
            return Ok(());
        }
        for actor in self.actors.take() {
            // Some have exited already.
            let _ = process::signal(actor.pid, libc::SIGKILL);
            process::reap(actor.pid, DEATH_LIMIT);
        }
        self.remove_cgroups()
    }
}

fn remove(top: &Path) -> Result<()> {
    cgroup::remove(top).with_context(|| format!("remove {}", top.display()))
}
