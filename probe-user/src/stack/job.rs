//! One stack to be resolved, with all that is needed when its process no longer exists.

use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use twtrace_core::model::stacks::{Frame, Missing};
use twtrace_wire::{ProcessKey, STACK_LOST, Site};

use super::mapping::{self, MemoryMapping};
use super::open::{OpenFile, OpenFiles};
use super::process::Image;
use super::protocol::{Answer, MAX_FILES, Request, RequestMapping};
use super::unwind::{self, FoundFrame};
use crate::probe::FoundSite;

/// Maximum length of a module's name, characters.
const MAX_MODULE: usize = 1_024;

/// A stack, the mappings of its addresses, and their files.
#[derive(Debug)]
pub struct Job {
    pub id: u64,
    pub process: ProcessKey,
    /// The user who started the process.
    pub user: u32,
    site: Site,
    walked: Vec<u64>,
    /// Sorted by address.
    mappings: Vec<MemoryMapping>,
    /// File of each mapping.
    files: Vec<Option<Rc<OpenFile>>>,
    perf_map: Option<Rc<OpenFile>>,
}

/// A stack with names as far as they are known.
#[derive(Debug)]
pub struct Resolved {
    pub process: ProcessKey,
    /// `None` if it is not known.
    pub user: Option<u32>,
    pub frames: Vec<Frame>,
    pub why: Option<Missing>,
}

impl Job {
    /// Opens the files that the stack of a site can be in.
    pub fn new(found: FoundSite, image: &mut Image, files: &mut OpenFiles) -> Self {
        let FoundSite {
            id,
            site,
            frames: walked,
        } = found;
        let (instructions, returns) = unwind::candidates(&site, &walked);
        let returns = returns.into_iter().map(|address| address.wrapping_sub(1));
        let mut mappings: Vec<MemoryMapping> = Vec::new();
        let mut opened: Vec<(u64, Option<Rc<OpenFile>>)> = Vec::new();
        let mut distinct: Vec<u64> = Vec::new();
        let mut has_no_file = false;
        for address in instructions.into_iter().chain(returns) {
            let Some(mapping) = image.mapping(address).cloned() else {
                continue;
            };
            if opened.iter().any(|(start, _)| *start == mapping.start) {
                continue;
            }
            let file = image.file(&mapping, files).filter(|file| {
                let is_new = !distinct.contains(&file.number);
                let has_room = !is_new || distinct.len() < MAX_FILES;
                if is_new && has_room {
                    distinct.push(file.number);
                }
                has_room
            });
            has_no_file |= file.is_none();
            opened.push((mapping.start, file));
            mappings.push(mapping);
        }
        mappings.sort_by_key(|mapping| mapping.start);
        opened.sort_by_key(|(start, _)| *start);
        Self {
            id,
            process: site.process,
            user: image.user(),
            site,
            walked,
            mappings,
            files: opened.into_iter().map(|(_, file)| file).collect(),
            perf_map: has_no_file.then(|| image.perf_map(files)).flatten(),
        }
    }

    /// About the memory that it takes, without its files.
    pub fn bytes(&self) -> usize {
        let names = self.mappings.iter().flat_map(|mapping| &mapping.name);
        size_of::<Self>()
            + self.walked.len() * size_of::<u64>()
            + self.mappings.len() * (size_of::<MemoryMapping>() + size_of::<usize>())
            + names.map(|name| name.len()).sum::<usize>()
    }

    /// Its files, each once.
    pub fn files(&self) -> Vec<&Rc<OpenFile>> {
        let mut distinct: Vec<&Rc<OpenFile>> = Vec::new();
        for file in self.files.iter().flatten().chain(&self.perf_map) {
            if distinct.iter().all(|other| other.number != file.number) {
                distinct.push(file);
            }
        }
        distinct
    }

    /// Does without some of the files.
    pub fn leave_out(&mut self, is_left_out: impl Fn(&OpenFile) -> bool) {
        for file in self.files.iter_mut().chain([&mut self.perf_map]) {
            file.take_if(|file| is_left_out(file));
        }
    }

    /// The request and its descriptors.
    pub fn request(&self, number: u64) -> (Request, Vec<BorrowedFd<'_>>) {
        let mut request = Request::new(number, &self.site, &self.walked);
        let mut descriptors = Vec::new();
        for (mapping, file) in self.mappings.iter().zip(&self.files) {
            request.mappings.push(RequestMapping {
                start: mapping.start,
                end: mapping.end,
                offset: mapping.offset,
                file: file.as_ref().map(|file| file.number),
            });
            if let Some(file) = file
                && !request.files.contains(&file.number)
            {
                request.files.push(file.number);
                descriptors.push(file.as_fd());
            }
        }
        if let Some(map) = &self.perf_map {
            request.perf_map = Some(map.number);
            descriptors.push(map.as_fd());
        }
        (request, descriptors)
    }

    /// The stack as an answer has it.
    pub fn named(self, message: &[u8], number: u64) -> Result<Resolved, Box<Self>> {
        let answer = match Answer::parse(message, number, &self.site, &self.walked) {
            Ok(answer) => answer,
            Err(error) => {
                log::debug!("symbols: {error}");
                return Err(Box::new(self));
            }
        };
        let first = answer.frames.first().map(|frame| frame.address);
        let mut is_return = false;
        let mut frames = Vec::with_capacity(answer.frames.len());
        for named in answer.frames {
            is_return |= Some(named.address) != first;
            let unnamed = self.unnamed((named.address, named.found_by), is_return);
            frames.push(Frame {
                offset: match named.symbol {
                    Some(_) => named.offset,
                    None => unnamed.offset,
                },
                symbol: named.symbol,
                file: named.file,
                line: named.line,
                ..unnamed
            });
        }
        let why = match self.site.stack {
            STACK_LOST => Some(Missing::OuterFrames),
            _ if answer.is_cut => Some(Missing::NoFramePointers),
            _ => None,
        };
        Ok(self.resolved(frames, why))
    }

    /// The stack as far as the kernel's walk has it, without names.
    pub fn without_names(self, why: Missing) -> Resolved {
        let module_of = |address| Some(mapping::containing(&self.mappings, address)?.start);
        let stack = unwind::unwind(&self.site, &self.walked, module_of, || None);
        let found = stack.frames.into_iter().enumerate();
        let frames = found.map(|(index, found)| self.unnamed(found, index > 0));
        let frames = frames.collect();
        self.resolved(frames, Some(why))
    }

    fn resolved(self, frames: Vec<Frame>, why: Option<Missing>) -> Resolved {
        Resolved {
            process: self.process,
            user: Some(self.user),
            frames,
            why,
        }
    }

    fn unnamed(&self, found: FoundFrame, is_return: bool) -> Frame {
        let mut frame = unnamed(found);
        // A call may be the last instruction of a mapping: the call is before the return address.
        let back = u64::from(is_return);
        let at = found.0.wrapping_sub(back);
        if let Some(mapping) = mapping::containing(&self.mappings, at)
            && let Some(name) = &mapping.name
        {
            let name = String::from_utf8_lossy(name);
            frame.module = Some(name.chars().take(MAX_MODULE).collect());
            frame.offset = Some(mapping.file_offset(at).wrapping_add(back));
        }
        frame
    }
}

/// A frame with its address only.
pub fn unnamed((address, found_by): FoundFrame) -> Frame {
    Frame {
        symbol: None,
        module: None,
        offset: None,
        file: None,
        line: None,
        address,
        found_by,
    }
}
