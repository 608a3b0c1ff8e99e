//! Unwind tables of a file.

use std::ops::Range;
use std::rc::Rc;

use framehop::ExplicitModuleSectionInfo;

use super::bytes::Bytes;
use super::elf::{Elf, Segment};

/// Larger tables are not read, bytes.
const MAX_TABLE: usize = 32 << 20;
/// Tables without an index are searched for each stack, and are not read if they are larger.
const MAX_SEARCHED: usize = 4 << 20;

/// Sections of a file, and its segments.
#[derive(Debug)]
pub struct Tables {
    text: Option<Range<u64>>,
    got: Option<Range<u64>>,
    eh_frame: Option<(Range<u64>, Rc<[u8]>)>,
    eh_frame_hdr: Option<(Range<u64>, Rc<[u8]>)>,
    debug_frame: Option<Rc<[u8]>>,
    segments: Vec<Segment>,
}

impl Tables {
    /// Reads the tables; `None` if there are none.
    pub fn read(file: &Bytes, elf: &Elf) -> Option<Self> {
        let range = |name: &str| {
            let section = elf.sections.iter().find(|it| it.name == name.as_bytes())?;
            let end = section.address.checked_add(section.bytes)?;
            Some(section.address..end)
        };
        let data = |name: &str, limit| -> Option<Rc<[u8]>> {
            let data = elf.data(file, elf.section(name)?, limit);
            data.inspect_err(|error| log::debug!("{name}: {error}"))
                .ok()
                .map(Rc::from)
        };
        let both = |name: &str, limit| Some((range(name)?, data(name, limit)?));
        let eh_frame_hdr = both(".eh_frame_hdr", MAX_TABLE);
        let limit = match eh_frame_hdr {
            Some(_) => MAX_TABLE,
            None => MAX_SEARCHED,
        };
        let eh_frame = both(".eh_frame", limit);
        let debug_frame = match eh_frame {
            Some(_) => None,
            None => data(".debug_frame", MAX_SEARCHED),
        };
        (eh_frame.is_some() || debug_frame.is_some()).then(|| Self {
            text: range(".text"),
            got: range(".got"),
            eh_frame,
            eh_frame_hdr,
            debug_frame,
            segments: elf.segments.clone(),
        })
    }

    /// What is added to the file's addresses in a process that has mapped a part of it.
    pub fn bias(&self, start: u64, offset: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            // Mappings begin at a page.
            let first = segment.offset & !0xfff;
            let inside = (first..segment.offset.checked_add(segment.file_bytes)?).contains(&offset);
            let address = segment
                .address
                .wrapping_sub(segment.offset)
                .wrapping_add(offset);
            (segment.is_executable && inside).then(|| start.wrapping_sub(address))
        })
    }

    /// The same as framehop takes them.
    pub fn sections(&self) -> ExplicitModuleSectionInfo<Rc<[u8]>> {
        let both = |section: &Option<(Range<u64>, Rc<[u8]>)>| section.clone().unzip();
        let (eh_frame_svma, eh_frame) = both(&self.eh_frame);
        let (eh_frame_hdr_svma, eh_frame_hdr) = both(&self.eh_frame_hdr);
        ExplicitModuleSectionInfo {
            base_svma: 0,
            text_svma: self.text.clone(),
            got_svma: self.got.clone(),
            eh_frame_svma,
            eh_frame,
            eh_frame_hdr_svma,
            eh_frame_hdr,
            debug_frame: self.debug_frame.clone(),
            ..Default::default()
        }
    }
}
