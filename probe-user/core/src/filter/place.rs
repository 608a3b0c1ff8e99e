//! Filters for where a process runs: container, pod, systemd unit.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::event::place::{Place, containers, pods, units};

/// Fewer digits would match too many.
const MIN_DIGITS: usize = 6;

/// A container by a prefix of its id, or by its name if it has no id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerFilter(String);

/// A pod by its UID, or a prefix of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFilter(String);

/// A systemd unit by its name, which may contain `*`, `?` and `[...]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitFilter(String);

/// A text that is not such a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceFilterError {
    /// It would match too many.
    #[error("too short for the beginning of an id: write {MIN_DIGITS} digits or more")]
    Short,
    /// It is neither an id nor a name.
    #[error("not a container's id: write its first digits, as `docker ps` shows them")]
    Container,
    /// It is not the prefix of a UID.
    #[error("not a pod's UID, such as 3f1b2c4d-0a1b-4c2d-8e3f-001122334455")]
    Pod,
    /// It is empty, or a path.
    #[error("not a unit's name, such as nginx.service")]
    Unit,
}

impl ContainerFilter {
    /// Whether a process in this place is in it, or in a container within it.
    pub fn matches(&self, place: &Place) -> bool {
        let fits = |id: &str| {
            if self.is_id() {
                id.starts_with(&self.0)
            } else {
                id == self.0
            }
        };
        place.container_id.as_deref().is_some_and(fits)
            || containers(&place.path).any(|id| fits(&id))
    }

    fn is_id(&self) -> bool {
        is_hex(&self.0)
    }
}

impl PodFilter {
    /// Whether a process in this place is in it.
    pub fn matches(&self, place: &Place) -> bool {
        let fits = |uid: &str| uid.starts_with(&self.0);
        place.pod_uid.as_deref().is_some_and(fits) || pods(&place.path).any(|uid| fits(&uid))
    }
}

impl UnitFilter {
    /// Whether a process in this place is in it, or in a unit within it.
    pub fn matches(&self, place: &Place) -> bool {
        let fits = |unit: &str| matches_glob(self.0.as_bytes(), unit.as_bytes());
        place.unit.as_deref().is_some_and(fits) || units(&place.path).any(fits)
    }
}

impl FromStr for ContainerFilter {
    type Err = PlaceFilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // As Kubernetes writes ids: `containerd://ID`.
        let text = text.rsplit_once("://").map_or(text, |(_, id)| id);
        let is_of_name =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+');
        if text.is_empty() || !text.bytes().all(is_of_name) {
            return Err(PlaceFilterError::Container);
        }
        if is_hex(text) && text.len() < MIN_DIGITS {
            return Err(PlaceFilterError::Short);
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for PodFilter {
    type Err = PlaceFilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Names of slices contain it with underscores.
        let uid = text.to_ascii_lowercase().replace('_', "-");
        let is_of_uid = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        if uid.is_empty() || uid.len() > 36 || !uid.bytes().all(is_of_uid) {
            return Err(PlaceFilterError::Pod);
        }
        if uid.len() < MIN_DIGITS {
            return Err(PlaceFilterError::Short);
        }
        Ok(Self(uid))
    }
}

impl FromStr for UnitFilter {
    type Err = PlaceFilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.contains('/') {
            return Err(PlaceFilterError::Unit);
        }
        // As systemctl accepts it.
        let is_whole =
            text.contains(['*', '?', '[']) || text.rsplit('.').next().is_some_and(is_kind);
        Ok(Self(if is_whole {
            text.to_owned()
        } else {
            format!("{text}.service")
        }))
    }
}

fn is_kind(suffix: &str) -> bool {
    matches!(
        suffix,
        "service" | "scope" | "socket" | "mount" | "swap" | "slice"
    )
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
}

/// Like fnmatch(3) with FNM_NOESCAPE: a backslash is an ordinary character, as in units' names. The time is at most
/// proportional to the product of both lengths.
fn matches_glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    // Where to continue if what follows the last star does not match: after the star, and one byte further.
    let mut retry = None;
    while from < name.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            retry = Some((at, from));
            continue;
        }
        if let Some(length) = fits_one(&pattern[at..], name[from]) {
            at += length;
            from += 1;
            continue;
        }
        let Some((after_star, start)) = retry else {
            return false;
        };
        at = after_star;
        from = start + 1;
        retry = Some((after_star, from));
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Length of the pattern's prefix that matches one byte, if it matches this one.
fn fits_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern.split_first()? {
        (b'?', _) => Some(1),
        (b'[', rest) => match class(rest) {
            Some((members, length)) => has(members, byte).then_some(1 + length),
            // Without a closing bracket it is an ordinary character.
            None => (byte == b'[').then_some(1),
        },
        (wanted, _) => (*wanted == byte).then_some(1),
    }
}

/// The text between brackets, and its length with the closing one. A closing bracket that comes first is a member.
fn class(rest: &[u8]) -> Option<(&[u8], usize)> {
    let skipped = 1 + usize::from(matches!(rest.first(), Some(b'!' | b'^')));
    let end = skipped + rest.get(skipped..)?.iter().position(|byte| *byte == b']')?;
    Some((&rest[..end], end + 1))
}

fn has(members: &[u8], byte: u8) -> bool {
    let (is_negated, mut members) = match members.split_first() {
        Some((b'!' | b'^', rest)) => (true, rest),
        _ => (false, members),
    };
    let mut is_member = false;
    while let Some(first) = members.first() {
        let (last, length) = match members {
            [_, b'-', last, ..] => (last, 3),
            _ => (first, 1),
        };
        is_member |= (first..=last).contains(&&byte);
        members = &members[length..];
    }
    is_member != is_negated
}

macro_rules! shown_as_given {
    ($($filter:ty),+) => {$(
        impl fmt::Display for $filter {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $filter {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    )+};
}

shown_as_given!(ContainerFilter, PodFilter, UnitFilter);

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
