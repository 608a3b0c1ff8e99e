use super::*;
use crate::event::EventFacts;
use crate::event::samples;

fn reset(change: impl FnOnce(&mut Reset)) -> Event {
    let mut event = samples::reset();
    if let EventFacts::Reset(facts) = &mut event.facts {
        change(facts);
    }
    event
}

#[test]
fn quiet_ends_with_the_close_where_data_came_too_late() {
    let mut patterns = ResetPatterns::default();
    let event = reset(|facts| {
        facts.reason = ResetReason::DataAfterClose;
        facts.flow.send_idle_ns = Some(1_004_000_000);
        facts.after_close_ns = Some(4_000_000);
    });
    let EventFacts::Reset(facts) = &event.facts else {
        panic!("a RST");
    };
    patterns.add(&event, facts);
    patterns.add(&event, facts);
    let pattern = patterns
        .of(ResetDirection::Sent, ResetReason::DataAfterClose)
        .unwrap();
    assert_eq!(pattern.quiet.most().unwrap().max_ns, 1_000_000_000);
    assert_eq!((pattern.count, pattern.after_close.count()), (2, 2));
    let mut sum = ResetPatterns::default();
    sum.add_all(&patterns);
    sum.add_all(&patterns);
    assert_eq!(
        sum.of(ResetDirection::Sent, ResetReason::DataAfterClose)
            .unwrap()
            .quiet
            .most()
            .unwrap()
            .count,
        4
    );
}
