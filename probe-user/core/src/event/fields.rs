//! How the fields of an event are declared: once, as a struct in [`fields!`]. What writes, reads, describes and tries them is
//! made of that.

use schemars::{Schema, SchemaGenerator};

use super::event_json::JsonLine;
use super::facts::Flow;
use super::parse::{AnyLine, ParseError, Parser};
use super::rest::Rest;
use super::value::Value;

/// A field of the line, and what JSON Schema says of it.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name. It ends in `_ns` where it is a time in nanoseconds.
    pub name: &'static str,
    /// What is documented of it.
    pub about: &'static [&'static str],
    /// Describes its values.
    pub values: fn(&mut SchemaGenerator) -> Schema,
}

/// A struct whose fields are those of a line. [`fields!`] implements it.
pub trait Fields: Sized {
    /// What is documented of it.
    const ABOUT: &'static [&'static str];

    /// Its fields, in the order of the line.
    fn list() -> Vec<Field>;

    /// Appends them.
    fn write(&self, line: &mut JsonLine<'_>);

    /// Reads what [`Self::write`] appends; `None` for any other text.
    fn read_written(rest: &mut Rest<'_>, parser: &mut Parser) -> Option<Self>;

    /// Reads them from any line of the contract.
    ///
    /// # Errors
    /// When one is missing that must be there, or is not of the contract.
    fn read(line: &AnyLine<'_>, parser: &mut Parser) -> Result<Self, ParseError>;

    /// How the connection had been used, where that is among them.
    fn flow(&self) -> Option<&Flow>;
}

/// A field of such a struct: one of the line, or several that kinds of events have in common ([`Flow`]).
pub(super) trait Member: Sized {
    /// Whether it is one field of the line, under its own name.
    const IS_ONE: bool;

    fn list(name: &'static str, about: &'static [&'static str]) -> Vec<Field>;
    fn write(&self, line: &mut JsonLine<'_>);
    fn read_written(rest: &mut Rest<'_>, parser: &mut Parser) -> Option<Self>;
    fn absent() -> Option<Self>;
    fn read(
        name: &'static str,
        line: &AnyLine<'_>,
        parser: &mut Parser,
    ) -> Result<Self, ParseError>;

    fn flow(&self) -> Option<&Flow> {
        None
    }
}

impl<T: Value> Member for T {
    const IS_ONE: bool = true;

    fn list(name: &'static str, about: &'static [&'static str]) -> Vec<Field> {
        vec![Field {
            name,
            about,
            values: SchemaGenerator::subschema_for::<T::Schema>,
        }]
    }

    #[inline]
    fn write(&self, line: &mut JsonLine<'_>) {
        Value::write(self, line);
    }

    #[inline]
    fn read_written(rest: &mut Rest<'_>, parser: &mut Parser) -> Option<Self> {
        <T as Value>::read_written(rest, parser)
    }

    fn absent() -> Option<Self> {
        <T as Value>::absent()
    }

    fn read(
        name: &'static str,
        line: &AnyLine<'_>,
        parser: &mut Parser,
    ) -> Result<Self, ParseError> {
        line.of(name, parser)
    }
}

impl Member for Flow {
    const IS_ONE: bool = false;

    fn list(_: &'static str, _: &'static [&'static str]) -> Vec<Field> {
        <Self as Fields>::list()
    }

    #[inline]
    fn write(&self, line: &mut JsonLine<'_>) {
        Fields::write(self, line);
    }

    #[inline]
    fn read_written(rest: &mut Rest<'_>, parser: &mut Parser) -> Option<Self> {
        <Self as Fields>::read_written(rest, parser)
    }

    fn absent() -> Option<Self> {
        None
    }

    fn read(_: &'static str, line: &AnyLine<'_>, parser: &mut Parser) -> Result<Self, ParseError> {
        <Self as Fields>::read(line, parser)
    }

    fn flow(&self) -> Option<&Flow> {
        Some(self)
    }
}

/// Declares a struct whose fields are those of a line, in their order, under their names and with their documentation.
macro_rules! fields {
    ($(
        $(#[doc = $about:literal])+
        #[derive($($derive:ident),+)]
        pub struct $struct:ident {
            $($(#[doc = $doc:literal])+ pub $field:ident: $type:ty,)+
        }
    )+) => {$(
        $(#[doc = $about])+
        #[derive($($derive),+)]
        pub struct $struct {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl $crate::event::fields::Fields for $struct {
            const ABOUT: &'static [&'static str] = &[$($about),+];

            fn list() -> Vec<$crate::event::fields::Field> {
                let fields = [$(<$type as Member>::list(stringify!($field), &[$($doc),+]),)+];
                fields.concat()
            }

            #[inline]
            fn write(&self, line: &mut $crate::event::event_json::JsonLine<'_>) {
                $(
                    if <$type as Member>::IS_ONE {
                        line.raw(fields!(in_line "," $field));
                    }
                    Member::write(&self.$field, line);
                )+
            }

            #[inline]
            fn read_written(
                rest: &mut $crate::event::rest::Rest<'_>,
                parser: &mut $crate::event::parse::Parser,
            ) -> Option<Self> {
                // In the order in which they stand here, which is that of the line.
                Some(Self {
                    $($field: {
                        if <$type as Member>::IS_ONE && !rest.is_next(fields!(in_line "," $field)) {
                            <$type as Member>::absent()?
                        } else {
                            <$type as Member>::read_written(rest, parser)?
                        }
                    },)+
                })
            }

            fn read(
                line: &$crate::event::parse::AnyLine<'_>,
                parser: &mut $crate::event::parse::Parser,
            ) -> Result<Self, $crate::event::parse::ParseError> {
                Ok(Self {
                    $($field: <$type as Member>::read(stringify!($field), line, parser)?,)+
                })
            }

            fn flow(&self) -> Option<&$crate::event::facts::Flow> {
                None$(.or(Member::flow(&self.$field)))+
            }
        }

        #[cfg(test)]
        impl $crate::event::any::Any for $struct {
            fn any() -> proptest::strategy::BoxedStrategy<Self> {
                use proptest::strategy::Strategy as _;
                ($(<$type as $crate::event::any::Any>::any(),)+)
                    .prop_map(|($($field,)+)| Self { $($field),+ })
                    .boxed()
            }
        }
    )+};
    // `,"age_ns":`, of a length that the compiler knows: a few words are copied or compared then, and no function is called.
    (in_line $before:literal $field:ident) => {
        const {
            const TEXT: &str = concat!($before, "\"", stringify!($field), "\":");
            match TEXT.as_bytes().first_chunk::<{ TEXT.len() }>() {
                Some(text) => text,
                None => panic!(),
            }
        }
    };
}

/// Declares which struct has the fields of which kinds of events, since which format of recordings, and who loses such events.
macro_rules! facts {
    ($(
        $(#[doc = $about:literal])+
        $facts:ident: $($kind:ident)|+, since $since:literal, lost by $probe:ident;
    )+) => {
        /// The fields of one kind of event.
        #[derive(Clone, Debug)]
        pub enum EventFacts {
            $($(#[doc = $about])+ $facts($facts),)+
        }

        impl EventFacts {
            /// The format of recordings that had this kind first.
            pub fn since(kind: EventKind) -> u32 {
                match kind {
                    $($(EventKind::$kind)|+ => $since,)+
                }
            }

            /// Who loses events of a kind: those that find the ring buffer full.
            pub fn lost_by(kind: EventKind) -> Probe {
                match kind {
                    $($(EventKind::$kind)|+ => Probe::$probe,)+
                }
            }

            /// The fields of a kind, in the order of the line.
            pub fn list(kind: EventKind) -> Vec<Field> {
                match kind {
                    $($(EventKind::$kind)|+ => <$facts as Fields>::list(),)+
                }
            }

            /// What is documented of a kind.
            pub fn about(kind: EventKind) -> &'static [&'static str] {
                match kind {
                    $($(EventKind::$kind)|+ => <$facts as Fields>::ABOUT,)+
                }
            }

            /// How the connection had been used, where that is told.
            pub fn flow(&self) -> Option<&Flow> {
                match self { $(Self::$facts(facts) => Fields::flow(facts),)+ }
            }

            /// What the column DETAILS of `trace` says of it.
            pub fn details(&self) -> Details {
                let mut details = Details::default();
                match self { $(Self::$facts(facts) => facts.describe(&mut details),)+ }
                details
            }

            #[inline]
            pub(super) fn write(&self, line: &mut JsonLine<'_>) {
                match self { $(Self::$facts(facts) => Fields::write(facts, line),)+ }
            }

            #[inline]
            pub(super) fn read_written(
                kind: EventKind,
                rest: &mut Rest<'_>,
                parser: &mut Parser,
            ) -> Option<Self> {
                Some(match kind {
                    $($(EventKind::$kind)|+ => {
                        Self::$facts(<$facts as Fields>::read_written(rest, parser)?)
                    })+
                })
            }

            pub(super) fn read(
                kind: EventKind,
                line: &AnyLine<'_>,
                parser: &mut Parser,
            ) -> Result<Self, ParseError> {
                Ok(match kind {
                    $($(EventKind::$kind)|+ => {
                        Self::$facts(<$facts as Fields>::read(line, parser)?)
                    })+
                })
            }

            /// Of this kind, with anything in it.
            #[cfg(test)]
            pub(super) fn any(kind: EventKind) -> proptest::strategy::BoxedStrategy<Self> {
                use proptest::strategy::Strategy as _;
                match kind {
                    $($(EventKind::$kind)|+ => {
                        <$facts as super::any::Any>::any().prop_map(Self::$facts).boxed()
                    })+
                }
            }
        }
    };
}

pub(super) use {facts, fields};
