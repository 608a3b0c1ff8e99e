//! Sinks, which take what tracing finds, and how to combine them.

use std::borrow::Cow;

use anyhow::Result;
use twtrace_core::event::{Event, Lost};
use twtrace_core::model::observation::Observation;
use twtrace_core::model::tally::Tally;

/// Takes what tracing finds. No method has a default: a sink that ignores something has to implement that.
pub trait Sink {
    /// An event, before the filter.
    fn any_event(&mut self, event: &Event);

    /// An event that passes the filter.
    ///
    /// # Errors
    /// If it can't be taken; tracing then ends.
    fn event(&mut self, event: &Event) -> Result<()>;

    /// Something was lost since the last time.
    fn lost(&mut self, lost: &Lost) -> Result<()>;

    /// Data read from the kernel beside its events. Borrowed if another sink needs it too: a sink that keeps it makes
    /// its own copy only then.
    fn observed(&mut self, observation: Cow<'_, Observation>) -> Result<()>;
}

/// Passes everything to two sinks. Observations are lent to the first, and given to the second.
#[derive(Debug)]
pub struct Tee<A, B>(pub A, pub B);

impl<A: Sink, B: Sink> Sink for Tee<A, B> {
    fn any_event(&mut self, event: &Event) {
        self.0.any_event(event);
        self.1.any_event(event);
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        self.0.event(event)?;
        self.1.event(event)
    }

    fn lost(&mut self, lost: &Lost) -> Result<()> {
        self.0.lost(lost)?;
        self.1.lost(lost)
    }

    fn observed(&mut self, observation: Cow<'_, Observation>) -> Result<()> {
        self.0.observed(Cow::Borrowed(&observation))?;
        self.1.observed(observation)
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn any_event(&mut self, event: &Event) {
        (**self).any_event(event);
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        (**self).event(event)
    }

    fn lost(&mut self, lost: &Lost) -> Result<()> {
        (**self).lost(lost)
    }

    fn observed(&mut self, observation: Cow<'_, Observation>) -> Result<()> {
        (**self).observed(observation)
    }
}

/// A sink that may be absent.
impl<S: Sink> Sink for Option<S> {
    fn any_event(&mut self, event: &Event) {
        if let Some(sink) = self {
            sink.any_event(event);
        }
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        self.as_mut().map_or(Ok(()), |sink| sink.event(event))
    }

    fn lost(&mut self, lost: &Lost) -> Result<()> {
        self.as_mut().map_or(Ok(()), |sink| sink.lost(lost))
    }

    fn observed(&mut self, observation: Cow<'_, Observation>) -> Result<()> {
        self.as_mut()
            .map_or(Ok(()), |sink| sink.observed(observation))
    }
}

impl Sink for Tally {
    fn any_event(&mut self, event: &Event) {
        Self::any_event(self, event);
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        Self::event(self, event);
        Ok(())
    }

    fn lost(&mut self, lost: &Lost) -> Result<()> {
        Self::lost(self, lost);
        Ok(())
    }

    fn observed(&mut self, observation: Cow<'_, Observation>) -> Result<()> {
        self.observe(observation.into_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;
    use twtrace_core::event::lost::LostWord;
    use twtrace_core::event::{LostBy, Moment, samples};
    use twtrace_core::model::observation::ObservationData;

    use super::*;

    /// Notes what it receives, and whether it owns it. Refuses events if configured to.
    #[derive(Default)]
    struct Noting {
        calls: Vec<&'static str>,
        refuses: bool,
    }

    impl Sink for Noting {
        fn any_event(&mut self, _: &Event) {
            self.calls.push("any_event");
        }

        fn event(&mut self, _: &Event) -> Result<()> {
            if self.refuses {
                bail!("full");
            }
            self.calls.push("event");
            Ok(())
        }

        fn lost(&mut self, _: &Lost) -> Result<()> {
            self.calls.push("lost");
            Ok(())
        }

        fn observed(&mut self, observation: Cow<'_, Observation>) -> Result<()> {
            self.calls.push(match observation {
                Cow::Borrowed(_) => "lent",
                Cow::Owned(_) => "given",
            });
            Ok(())
        }
    }

    fn send_all(sink: &mut dyn Sink) -> Result<()> {
        let event = samples::abort();
        sink.any_event(&event);
        sink.lost(&Lost {
            ts: event.ts,
            mono_ns: event.mono_ns,
            event: LostWord::Lost,
            probe: LostBy::Decode,
            count: 1,
        })?;
        sink.observed(Cow::Owned(Observation {
            at: Moment::default(),
            data: ObservationData::End,
        }))?;
        sink.event(&event)
    }

    #[test]
    fn both_are_given_everything_and_nothing_is_copied() {
        let (mut first, mut second) = (Noting::default(), Noting::default());
        let mut none: Option<Noting> = None;
        send_all(&mut Tee(&mut first, Tee(&mut none, Some(&mut second)))).unwrap();
        assert_eq!(first.calls, ["any_event", "lost", "lent", "event"]);
        assert_eq!(second.calls, ["any_event", "lost", "given", "event"]);
    }

    #[test]
    fn what_one_refuses_is_an_error_of_both() {
        let mut full = Noting {
            refuses: true,
            ..Noting::default()
        };
        let mut other = Noting::default();
        assert!(send_all(&mut Tee(&mut full, &mut other)).is_err());
        assert!(send_all(&mut Tee(&mut other, &mut full)).is_err());
    }
}
