//! Messages between the tracer and the process that reads symbols. What comes back is untrusted input: that process has
//! read hostile files.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use twtrace_core::model::stacks::FoundBy;
use twtrace_wire::{Site, WINDOW_WORDS};

use super::unwind;

/// Maximum number of files in a request: those of a stack's innermost frames.
pub const MAX_FILES: usize = 16;
/// Maximum length of a request, bytes.
pub const MAX_REQUEST: usize = 64 << 10;
/// Maximum length of an answer, bytes. A socket's buffer has room for it (`net.core.wmem_default`).
pub const MAX_ANSWER: usize = 128 << 10;
/// Maximum number of frames in an answer: inlined functions are frames of their own.
const MAX_FRAMES: usize = 256;
/// Maximum length of a name, characters.
pub const MAX_NAME: usize = 512;

/// A stack to be resolved. Its files follow as descriptors, in the order of `files`, then the perf map.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// The answer has the same.
    pub number: u64,
    ip: u64,
    sp: u64,
    bp: u64,
    returns: u32,
    window: [u64; WINDOW_WORDS],
    /// The stack by frame pointers.
    pub walked: Vec<u64>,
    /// Mappings of all addresses, sorted.
    pub mappings: Vec<RequestMapping>,
    /// Numbers of the files: what has been read of a file once needs no second reading.
    pub files: Vec<u64>,
    /// Number of the file of JIT symbols.
    pub perf_map: Option<u64>,
}

/// An executable mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestMapping {
    pub start: u64,
    pub end: u64,
    /// Offset of its start in the file.
    pub offset: u64,
    /// Number of the file, if there is one.
    pub file: Option<u64>,
}

/// The functions of a stack.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    pub number: u64,
    /// Innermost first; an inlined function comes before the one that contains it.
    pub frames: Vec<NamedFrame>,
    /// The stack is incomplete: its functions have no frames, and no more of it was kept.
    pub is_cut: bool,
}

/// A frame with the name of its function, if it is known.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedFrame {
    pub address: u64,
    pub found_by: FoundBy,
    pub symbol: Option<String>,
    /// From the start of the function; `None` for one that is inlined.
    pub offset: Option<u64>,
    pub file: Option<String>,
    pub line: Option<u32>,
}

/// Why an answer is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It does not have the form of an answer.
    #[error("not an answer")]
    Malformed,
    /// It belongs to another request.
    #[error("the answer to another request")]
    Number,
    /// It has more frames than an answer may have.
    #[error("too many frames")]
    TooLong,
    /// It has an address that the stack does not have.
    #[error("an address that the stack does not have")]
    Address,
}

impl Request {
    pub fn new(number: u64, site: &Site, walked: &[u64]) -> Self {
        Self {
            number,
            ip: site.ip,
            sp: site.sp,
            bp: site.bp,
            returns: site.returns,
            window: site.window,
            walked: walked.to_vec(),
            mappings: Vec::new(),
            files: Vec::new(),
            perf_map: None,
        }
    }

    /// What is needed of the site to unwind its stack.
    pub fn site(&self) -> Site {
        Site {
            ip: self.ip,
            sp: self.sp,
            bp: self.bp,
            returns: self.returns,
            window: self.window,
            ..Site::NONE
        }
    }

    /// The mapping that contains an address.
    pub fn mapping(&self, address: u64) -> Option<&RequestMapping> {
        let after = self
            .mappings
            .partition_point(|mapping| mapping.start <= address);
        let mapping = self.mappings.get(after.checked_sub(1)?)?;
        (address < mapping.end).then_some(mapping)
    }
}

impl Answer {
    /// The message, without what does not fit into it: first source files, then names.
    ///
    /// # Errors
    /// None that is known.
    pub fn message(mut self) -> serde_json::Result<Vec<u8>> {
        self.frames.truncate(MAX_FRAMES);
        let mut message = serde_json::to_vec(&self)?;
        for strip in [NamedFrame::without_file, NamedFrame::without_symbol] {
            if message.len() <= MAX_ANSWER {
                break;
            }
            self.frames.iter_mut().for_each(strip);
            message = serde_json::to_vec(&self)?;
        }
        Ok(message)
    }

    /// Parses the answer to a request about a site. Names are cut.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(
        message: &[u8],
        number: u64,
        site: &Site,
        walked: &[u64],
    ) -> Result<Self, AnswerError> {
        let mut answer: Self =
            serde_json::from_slice(message).map_err(|_| AnswerError::Malformed)?;
        if answer.number != number {
            return Err(AnswerError::Number);
        }
        if answer.frames.len() > MAX_FRAMES {
            return Err(AnswerError::TooLong);
        }
        let (instructions, returns) = unwind::candidates(site, walked);
        let known: HashSet<u64> = instructions.into_iter().chain(returns).collect();
        for frame in &mut answer.frames {
            if !known.contains(&frame.address) {
                return Err(AnswerError::Address);
            }
            for name in [&mut frame.symbol, &mut frame.file].into_iter().flatten() {
                *name = cut(name);
            }
        }
        Ok(answer)
    }
}

impl NamedFrame {
    fn without_file(&mut self) {
        (self.file, self.line) = (None, None);
    }

    fn without_symbol(&mut self) {
        (self.symbol, self.offset) = (None, None);
    }
}

/// A name of the maximum length.
pub fn cut(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(address: u64, symbol: &str) -> NamedFrame {
        NamedFrame {
            address,
            found_by: FoundBy::UnwindTable,
            symbol: Some(symbol.to_owned()),
            offset: Some(1),
            file: Some("f".repeat(MAX_NAME)),
            line: Some(1),
        }
    }

    fn answer(frames: Vec<NamedFrame>) -> Answer {
        Answer {
            number: 7,
            frames,
            is_cut: false,
        }
    }

    fn site() -> Site {
        let mut site = Site {
            ip: 10,
            sp: 0x7000,
            returns: 0b10,
            ..Site::NONE
        };
        (site.window[1], site.window[2]) = (20, 30);
        site
    }

    fn parse(message: &[u8]) -> Result<Answer, AnswerError> {
        Answer::parse(message, 7, &site(), &[10, 40])
    }

    #[test]
    fn names_are_cut_and_addresses_are_those_of_the_stack() {
        let long = "x".repeat(3 * MAX_NAME);
        let message = answer(vec![frame(10, &long), frame(20, "b"), frame(40, "c")]);
        let parsed = parse(&message.message().unwrap()).unwrap();
        assert_eq!(parsed.frames[0].symbol, Some(cut(&long)));
        assert_eq!(parsed.frames.len(), 3);
        // This word was not a return address.
        let other = answer(vec![frame(30, "a")]).message().unwrap();
        assert_eq!(parse(&other).err(), Some(AnswerError::Address));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        assert_eq!(parse(b"{}").err(), Some(AnswerError::Malformed));
        assert_eq!(parse(b"").err(), Some(AnswerError::Malformed));
        let mut late = answer(Vec::new());
        late.number = 6;
        let late = late.message().unwrap();
        assert_eq!(parse(&late).err(), Some(AnswerError::Number));
        let many = (0..=MAX_FRAMES).map(|_| frame(10, "a")).collect();
        let many = serde_json::to_vec(&answer(many)).unwrap();
        assert_eq!(parse(&many).err(), Some(AnswerError::TooLong));
    }

    #[test]
    fn an_answer_fits_into_its_message() {
        let name = "\u{1}".repeat(MAX_NAME);
        let frames = || (0..2 * MAX_FRAMES).map(|_| frame(10, &name)).collect();
        let message = answer(frames()).message().unwrap();
        assert!(message.len() <= MAX_ANSWER);
        assert_eq!(parse(&message).unwrap().frames.len(), MAX_FRAMES);
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(parse(&bytes).is_err());
        }
    }
}
