//! Declares the fields of an event: once, as a struct in [`fields!`]. The code that writes, reads, describes and tests
//! them is generated from it.

use schemars::{Schema, SchemaGenerator};

use super::event_json::JsonLine;
use super::event_table::Flow;
use super::parse::{AnyLine, ParseError, Parser};
use super::rest::Rest;
use super::value::Value;

/// A field of the line, and its JSON Schema.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name. It ends in `_ns` if it is a time in nanoseconds.
    pub name: &'static str,
    /// Its documentation, by line.
    pub about: &'static [&'static str],
    /// Schema of its values.
    pub values: fn(&mut SchemaGenerator) -> Schema,
}

/// A struct whose fields are those of a line. [`fields!`] implements it.
pub trait Fields: Sized {
    /// Its documentation, by line.
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
    /// If a required field is missing, or one violates the contract.
    fn read(line: &AnyLine<'_>, parser: &mut Parser) -> Result<Self, ParseError>;

    /// Usage of the connection, if that is among the fields.
    fn flow(&self) -> Option<&Flow>;
}

/// A member of such a struct: one field of the line, or several that kinds of events share ([`Flow`]).
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

/// Declares a struct whose fields are those of a line, with their order, names and documentation.
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
                // In this order, which is that of the line.
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

            fn flow(&self) -> Option<&$crate::event::event_table::Flow> {
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
    // `,"age_ns":`, with a length known to the compiler: it then copies or compares a few words, without a function
    // call.
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

/// Declares which struct has the fields of which kinds of events, since which format of recordings, and which probe
/// loses such events.
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
            /// The first format of recordings with this kind.
            pub fn since(kind: EventKind) -> u32 {
                match kind {
                    $($(EventKind::$kind)|+ => $since,)+
                }
            }

            /// The probe that loses events of a kind when the ring buffer is full.
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

            /// Documentation of a kind, by line.
            pub fn about(kind: EventKind) -> &'static [&'static str] {
                match kind {
                    $($(EventKind::$kind)|+ => <$facts as Fields>::ABOUT,)+
                }
            }

            /// Usage of the connection, if it is reported.
            pub fn flow(&self) -> Option<&Flow> {
                match self { $(Self::$facts(facts) => Fields::flow(facts),)+ }
            }

            /// The column DETAILS of `trace`.
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

            /// Arbitrary fields of this kind.
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
