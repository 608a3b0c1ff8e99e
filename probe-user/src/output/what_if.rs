//! The answer to `doctor --what-if`, as text.

use std::fmt::Write;

use twtrace_core::doctor::what_if::{PoolForecast, WhatIf, WhatIfPool};
use twtrace_core::event::quantity;
use twtrace_core::event::text::escape;
use twtrace_core::model::budget::row::Outlook;

/// Maximum number of pools that are shown.
const SHOWN: usize = 10;

/// When a pool is no longer full that will have room in the long run.
const UNTIL: &str = "until TIME_WAITs of now have ended";

/// Each pool as it is and as supposed, the fullest first.
pub fn append(text: &mut String, answer: &WhatIf) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "what if {}, and the load lasts:", answer.supposed);
    for pool in answer.pools.iter().take(SHOWN) {
        self::pool(text, pool);
    }
    let further = answer.pools.len().saturating_sub(SHOWN);
    if further > 0 {
        let short = answer.pools[SHOWN..].iter();
        let short = short.filter(|pool| is_short(&pool.then)).count();
        let _ = writeln!(
            text,
            "  {further} more port pools, of which {short} would run out (--json has all)"
        );
    }
    if answer.unknown > 0 {
        let _ = writeln!(
            text,
            "  {} port pools whose load or settings are not known",
            answer.unknown
        );
    }
    if answer.pools.is_empty() && answer.unknown == 0 {
        text.push_str("  no client holds an ephemeral port\n");
    }
}

fn pool(text: &mut String, pool: &WhatIfPool) {
    let _ = writeln!(
        text,
        "  {}, namespace {}:",
        escape(&pool.pool),
        escape(&pool.namespace)
    );
    for (label, state) in [("as it is", &pool.now), ("then", &pool.then)] {
        let _ = writeln!(text, "    {label:<8} {}", in_words(state));
    }
    for note in &pool.notes {
        let _ = writeln!(text, "             {}", escape(note));
    }
}

/// Such as `12/s: 720 of 28,232 ports held (3 %), they do not run out; up to 470/s`.
fn in_words(state: &PoolForecast) -> String {
    let percent = state.held as f64 / state.capacity.max(1) as f64 * 100.0;
    let outlook = match (state.outlook, state.full_in_ns) {
        (Outlook::Full, _) if state.held >= state.capacity => "none is free".to_owned(),
        (Outlook::Full, _) => format!("none is free {UNTIL}"),
        (Outlook::RunsOut, Some(left_ns)) if state.held >= state.capacity => {
            format!("used up in {}", quantity::duration(left_ns))
        }
        (Outlook::RunsOut, Some(left_ns)) => {
            format!("used up from {} on, {UNTIL}", quantity::duration(left_ns))
        }
        (Outlook::RunsOut, None) => "used up".to_owned(),
        (Outlook::Never, _) => "they do not run out".to_owned(),
        (Outlook::Unknown, _) => "the forecast is not known".to_owned(),
    };
    format!(
        "{}/s: {} of {} ports held ({percent:.0} %), {outlook}; up to {}/s",
        quantity::rate(state.connections_per_s),
        quantity::count(state.held),
        quantity::count(state.capacity),
        quantity::rate(state.max_connections_per_s),
    )
}

fn is_short(state: &PoolForecast) -> bool {
    matches!(state.outlook, Outlook::RunsOut) || state.held >= state.capacity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pool_has_both_lines() {
        let now = PoolForecast {
            capacity: 28_232,
            held: 28_232,
            connections_per_s: 620.0,
            max_connections_per_s: 470.0,
            outlook: Outlook::RunsOut,
            full_in_ns: Some(3_200_000_000),
        };
        let then = PoolForecast {
            held: 620,
            max_connections_per_s: 28_232.0,
            outlook: Outlook::Never,
            full_in_ns: None,
            ..now
        };
        let pool = WhatIfPool {
            netns: 1,
            namespace: "we\x1bb".into(),
            pool: "from 10.0.0.1 to 10.0.0.2:80".into(),
            connections_per_s: 620.0,
            now,
            then,
            notes: vec!["if the peer uses TCP timestamps, which reuse needs".into()],
        };
        let mut answer = WhatIf {
            supposed: "tcp_tw_reuse=1".into(),
            pools: vec![pool.clone()],
            unknown: 0,
        };
        let mut text = String::new();
        append(&mut text, &answer);
        assert_eq!(
            text,
            "what if tcp_tw_reuse=1, and the load lasts:
  from 10.0.0.1 to 10.0.0.2:80, namespace we\\x1bb:
    as it is 620/s: 28,232 of 28,232 ports held (100 %), used up in 3.20s; up to 470/s
    then     620/s: 620 of 28,232 ports held (2 %), they do not run out; up to 28,232/s
             if the peer uses TCP timestamps, which reuse needs
"
        );
        answer.pools = vec![pool; SHOWN + 2];
        answer.unknown = 3;
        text.clear();
        append(&mut text, &answer);
        assert!(text.contains("2 more port pools, of which 0 would run out"));
        assert!(text.contains("3 port pools whose load"));
    }
}
