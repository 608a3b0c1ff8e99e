//! A line of /proc/slabinfo.

use std::{fs, io};

/// One of the kernel's caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlabCache {
    /// `<active_objs>`
    pub active_objects: u64,
    /// `<num_objs>`
    pub objects: u64,
    /// `<objsize>`
    pub object_bytes: u64,
}

/// A cache's line; `None` if there is none with this name.
///
/// # Errors
/// If the file can't be read or has another form.
pub fn read(name: &str) -> io::Result<Option<SlabCache>> {
    find(&fs::read_to_string("/proc/slabinfo")?, name)
}

fn find(text: &str, name: &str) -> io::Result<Option<SlabCache>> {
    let fields = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name));
    let Some(fields) = fields else {
        return Ok(None);
    };
    let number = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse().ok())
            .ok_or_else(|| io::Error::other(format!("field {index} of {name} is no number")))
    };
    Ok(Some(SlabCache {
        active_objects: number(1)?,
        objects: number(2)?,
        object_bytes: number(3)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_whole_name() {
        let text = "slabinfo - version: 2.1\n# name <active_objs>\n\
                    tw_sock_TCPv6 176 180 256 16 1 : tunables 0 0 0\n\
                    tw_sock_TCP 159 160 248 16 1 : tunables 0 0 0\n";
        let slab = find(text, "tw_sock_TCP").unwrap().unwrap();
        assert_eq!(
            (slab.active_objects, slab.objects, slab.object_bytes),
            (159, 160, 248)
        );
        assert_eq!(find(text, "tw_sock").unwrap(), None);
        assert!(find("tw_sock_TCP x", "tw_sock_TCP").is_err());
    }
}
