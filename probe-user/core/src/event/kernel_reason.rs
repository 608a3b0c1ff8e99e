//! The running kernel's own terms for the reason of a sent RST.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use twtrace_wire::NO_KERNEL_REASON;

/// A member of `enum sk_rst_reason`, such as `TCP_STATE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelReason(Arc<str>);

impl KernelReason {
    /// From the kernel's term.
    pub fn new(word: &str) -> Self {
        Self(word.into())
    }
}

impl fmt::Display for KernelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for KernelReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The terms by their codes, looked up once.
#[derive(Clone, Debug, Default)]
pub struct KernelReasons(Vec<KernelReason>);

impl KernelReasons {
    /// Calls `name` for the term of each code; a code without one keeps its number.
    pub fn new<'a>(name: impl Fn(u8) -> Option<&'a str>) -> Self {
        Self(
            (0..NO_KERNEL_REASON)
                .map(|code| match name(code) {
                    Some(word) => KernelReason(word.into()),
                    None => KernelReason(code.to_string().into()),
                })
                .collect(),
        )
    }

    /// The term for a code of a record; `None` if the kernel gave no reason.
    pub fn get(&self, code: u8) -> Option<KernelReason> {
        self.0.get(usize::from(code)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_numbers_and_none() {
        let reasons = KernelReasons::new(|code| (code == 14).then_some("TCP_STATE"));
        assert_eq!(reasons.get(14).unwrap().to_string(), "TCP_STATE");
        assert_eq!(reasons.get(15).unwrap().to_string(), "15");
        assert_eq!(reasons.get(NO_KERNEL_REASON), None);
    }
}
