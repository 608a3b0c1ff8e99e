//! Names of functions.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::rc::Rc;

use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{CodeInfo, Input, Symbolized, Symbolizer};
use twtrace_core::model::stacks::Frame;

use super::process::{Image, shown};
use super::unwind::FoundFrame;

/// Names are untrusted input of any length.
const MAX_NAME: usize = 1024;

/// Resolves names, for the processes of one round; caches what it has read from files.
pub struct Symbols {
    symbolizer: Symbolizer,
    /// Kept open: blazesym identifies files by their descriptor numbers.
    files: Vec<Rc<File>>,
}

impl Symbols {
    pub fn new() -> Self {
        Self {
            symbolizer: Symbolizer::builder().enable_auto_reload(false).build(),
            files: Vec::new(),
        }
    }

    /// The frames of a stack; inlined functions are frames of their own.
    pub fn name(&mut self, addresses: &[FoundFrame], image: &mut Image) -> Vec<Frame> {
        let mut frames = Vec::new();
        for (index, found) in addresses.iter().enumerate() {
            self.name_one(*found, index > 0, image, &mut frames);
        }
        frames
    }

    fn name_one(
        &mut self,
        found: FoundFrame,
        is_return: bool,
        image: &mut Image,
        frames: &mut Vec<Frame>,
    ) {
        let mut frame = unnamed_one(found);
        // A call may be the last instruction of a function: the call is before the return address.
        let back = u64::from(is_return);
        let at = found.0.wrapping_sub(back);
        let Some(mapping) = image.mapping(at).cloned() else {
            frames.push(frame);
            return;
        };
        let offset = mapping.file_offset(at);
        frame.module = mapping.name.as_deref().map(shown);
        frame.offset = frame.module.is_some().then_some(offset + back);
        let Some(file) = image.file(&mapping) else {
            if let Some((name, offset)) = image.perf_map().find(at) {
                frame.symbol = Some(short(name));
                frame.offset = Some(offset + back);
            }
            frames.push(frame);
            return;
        };
        let source = Source::Elf(Elf::new(format!("/proc/self/fd/{}", file.as_raw_fd())));
        self.files.push(file);
        match self
            .symbolizer
            .symbolize_single(&source, Input::FileOffset(offset))
        {
            Ok(Symbolized::Sym(symbol)) => {
                for inlined in symbol.inlined.iter().rev() {
                    let mut inner = frame.clone();
                    inner.symbol = Some(short(&inlined.name));
                    inner.offset = None;
                    locate(&mut inner, inlined.code_info.as_ref());
                    frames.push(inner);
                }
                frame.symbol = Some(short(&symbol.name));
                frame.offset = Some(symbol.offset as u64 + back);
                locate(&mut frame, symbol.code_info.as_deref());
            }
            Ok(Symbolized::Unknown(_)) => {}
            Err(error) => log::debug!("symbols of {:?}: {error}", frame.module),
        }
        frames.push(frame);
    }
}

/// Frames with addresses only.
pub fn unnamed(addresses: &[FoundFrame]) -> Vec<Frame> {
    addresses.iter().copied().map(unnamed_one).collect()
}

fn unnamed_one((address, found_by): FoundFrame) -> Frame {
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

fn locate(frame: &mut Frame, code: Option<&CodeInfo<'_>>) {
    if let Some(code) = code {
        let file: Cow<'_, OsStr> = match &code.dir {
            Some(directory) => Cow::Owned(directory.join(Path::new(&code.file)).into_os_string()),
            None => Cow::Borrowed(&code.file),
        };
        frame.file = Some(short(&file.to_string_lossy()));
        frame.line = code.line;
    }
}

fn short(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}
