//! The words of the JSON contract for the small closed sets of the wire format.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};
use twtrace_wire::{
    AbortReason, EndCause, EventKind, PortOp, Probe, ResetDirection, ResetReason, ReuseRefusal,
    Side, StackWhat, TcpState, Unattributed,
};

/// A set whose members each have one word in JSON, on the command line and in tables.
pub trait Word: Copy + 'static {
    /// Every member.
    const MEMBERS: &'static [Self];
    /// The member that stands for words of a later version, if the set has one.
    const UNKNOWN: Option<Self> = None;

    /// Its word: lower case, with underscores.
    fn word(self) -> &'static str;

    /// The member with this word.
    fn from_word(word: &str) -> Option<Self> {
        Self::MEMBERS
            .iter()
            .copied()
            .find(|member| member.word() == word)
    }
}

/// For `serde(serialize_with)`.
pub fn serialize<T: Word, S: Serializer>(member: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(member.word())
}

/// For `serde(serialize_with)`: `null` for `None`.
pub fn serialize_option<T: Word, S: Serializer>(
    member: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match member {
        Some(member) => serializer.serialize_str(member.word()),
        None => serializer.serialize_none(),
    }
}

/// For `serde(with)`: the inverse. An unknown word is an error.
///
/// # Errors
/// If it is not a word of the set.
pub fn deserialize<'de, T: Word, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let word = std::borrow::Cow::<str>::deserialize(deserializer)?;
    T::from_word(&word).ok_or_else(|| D::Error::custom(format_args!("{word:?} is no known word")))
}

/// The same for optional values, for `serde(with)`.
pub mod optional {
    pub use super::serialize_option as serialize;
    use super::{Deserialize, Deserializer, Error, Word};

    /// The inverse: `None` for `null`.
    ///
    /// # Errors
    /// If it is not a word of the set.
    pub fn deserialize<'de, T: Word, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let Some(word) = Option::<std::borrow::Cow<str>>::deserialize(deserializer)? else {
            return Ok(None);
        };
        let known = T::from_word(&word);
        known
            .map(Some)
            .ok_or_else(|| D::Error::custom(format_args!("{word:?} is no known word")))
    }
}

/// Declares the words of sets of the wire format; `or` names the member that stands for words of later versions.
macro_rules! words {
    ($($set:ident $(or $unknown:ident)?,)+) => {$(
        impl Word for $set {
            const MEMBERS: &'static [Self] = Self::ALL;
            $(const UNKNOWN: Option<Self> = Some(Self::$unknown);)?

            fn word(self) -> &'static str {
                self.as_str()
            }
        }
    )+};
}

words! {
    EventKind,
    EndCause,
    Side or Unknown,
    TcpState or Unknown,
    ResetDirection,
    ResetReason or Other,
    AbortReason or Other,
    ReuseRefusal,
    Unattributed or Unknown,
    PortOp,
    Probe,
    StackWhat,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go_there_and_back<T: Word + PartialEq + std::fmt::Debug>() {
        for member in T::MEMBERS {
            assert_eq!(T::from_word(member.word()), Some(*member));
        }
        assert_eq!(T::from_word("no such word"), None);
    }

    #[test]
    fn words_are_unique_within_their_set() {
        go_there_and_back::<EventKind>();
        go_there_and_back::<EndCause>();
        go_there_and_back::<Side>();
        go_there_and_back::<TcpState>();
        go_there_and_back::<ResetDirection>();
        go_there_and_back::<ResetReason>();
        go_there_and_back::<AbortReason>();
        go_there_and_back::<ReuseRefusal>();
        go_there_and_back::<Unattributed>();
        go_there_and_back::<PortOp>();
        go_there_and_back::<Probe>();
        go_there_and_back::<StackWhat>();
    }
}
