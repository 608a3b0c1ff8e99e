//! Lost events and data.

use serde::{Serialize, Serializer};
use twtrace_wire::{EventKind, Probe};

use super::event_table::EventFacts;
use super::timestamp::Timestamp;
use super::words::Word;

/// What lost something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LostBy {
    /// The kernel side.
    Probe(Probe),
    /// Userspace: a record that it could not decode.
    Decode,
}

impl LostBy {
    /// The word in JSON and tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Probe(probe) => probe.word(),
            Self::Decode => "decode",
        }
    }

    /// The one with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "decode" => Some(Self::Decode),
            // The word in the first recordings.
            "story_map" => Some(Self::Probe(Probe::SocketMap)),
            word => Probe::from_word(word).map(Self::Probe),
        }
    }

    /// Whether it lost events; otherwise it lost knowledge about them.
    pub fn is_event(self) -> bool {
        match self {
            Self::Decode | Self::Probe(Probe::DescendantMap) => true,
            Self::Probe(probe) => loses_events_of_the_ring(probe),
        }
    }

    /// What is missing from the output because of it.
    pub fn consequence(self) -> &'static str {
        match self {
            Self::Probe(Probe::SocketMap) => {
                "sockets beyond --max-sockets: their closer and opener are not known"
            }
            Self::Probe(Probe::ProcessMap) => {
                "events of processes beyond --max-processes: in no total by process"
            }
            Self::Probe(Probe::PortMap) => {
                "port allocations that found their map full: in no total"
            }
            Self::Probe(Probe::NetnsMap) => {
                "events of network namespaces beyond the map's size: not compared with the kernel's counters"
            }
            Self::Probe(Probe::DescendantMap) => {
                "processes of the command beyond eight times --max-processes: they and what they start are left out"
            }
            Self::Probe(Probe::StackMap) => {
                "what followed from places in the code beyond --max-stacks: counted without its stack"
            }
            Self::Probe(Probe::StackSlot) => {
                "stacks whose slot was taken (--max-stacks): only their innermost frames are known"
            }
            Self::Probe(Probe::PortAlloc) => {
                "events that found the ring buffer full (--ring-mb), or whose descriptor was replaced during connect(); \
                 totals by process count them"
            }
            // All others lose events: a test ensures it.
            Self::Probe(_) => {
                "events that found the ring buffer full (--ring-mb); totals by process count them"
            }
            Self::Decode => "records that could not be read",
        }
    }
}

fn loses_events_of_the_ring(probe: Probe) -> bool {
    EventKind::MEMBERS
        .iter()
        .any(|kind| EventFacts::lost_by(*kind) == probe)
}

impl Serialize for LostBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// The `lost` event: how much was lost since the last one of the same probe.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Wall-clock time.
    pub ts: Timestamp,
    /// CLOCK_MONOTONIC, nanoseconds.
    pub mono_ns: u64,
    /// Always `lost`.
    pub event: LostWord,
    /// What lost it.
    pub probe: LostBy,
    /// How many.
    pub count: u64,
}

/// The word `lost`.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LostWord {
    /// The only value.
    #[default]
    Lost,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_events_are_lost_by_a_full_ring_buffer() {
        for probe in Probe::MEMBERS {
            let says_so = LostBy::Probe(*probe).consequence().contains("--ring-mb");
            assert_eq!(says_so, loses_events_of_the_ring(*probe), "{probe:?}");
        }
    }

    #[test]
    fn reads_as_the_contract_says() {
        let lost = Lost {
            ts: Timestamp(0),
            mono_ns: 5,
            event: LostWord::Lost,
            probe: LostBy::Probe(Probe::TimeWait),
            count: 3,
        };
        assert_eq!(
            serde_json::to_string(&lost).unwrap(),
            r#"{"ts":"1970-01-01T00:00:00.000000000Z","mono_ns":5,"event":"lost","probe":"time_wait","count":3}"#
        );
    }
}
