//! Runs a `twtrace doctor` around one scenario.

use std::{
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{
    Context, Options, keep,
    replay::{PlayOutcome, until_judged},
    report::RunningReport,
    selection::ScenarioRun,
    stage_process::StageProcess,
    verdicts::Verdict,
};
use crate::{
    expect::environment::{Facts, Question, Tier, tiers_of},
    scenarios::{DoctorRun, ExpectedFinding, Needs},
    stage::finding::{PlayResult, Played},
    sys::hidden_births::Recording,
};

/// A signal ends it.
const FOR_LONG: &str = "1h";

/// Plays, and compares.
pub fn play(
    context: &Context,
    options: &Options,
    run: &ScenarioRun,
    wanted: DoctorRun,
) -> Result<Verdict> {
    let hidden = Recording::begin();
    until_judged(&run.name, hidden.as_ref(), &context.verdicts, || {
        play_once(context, options, run, wanted)
    })
}

fn play_once(
    context: &Context,
    options: &Options,
    run: &ScenarioRun,
    wanted: DoctorRun,
) -> Result<PlayOutcome> {
    let mut keeper = Vec::new();
    let mut stage = StageProcess::start(run.scenario.name, run.ip, &mut keeper)?;
    let mut arguments = context.tier.options();
    arguments.extend(["--duration".to_owned(), FOR_LONG.to_owned()]);
    arguments.extend(wanted_of(stage.namespace.netns, wanted));
    let doctor = RunningReport::start_verb(&context.twtrace, verb(wanted), &arguments)?;
    let played = match stage.play()? {
        PlayResult::Played(played) => played,
        PlayResult::Skip { reason } => return Ok(PlayOutcome::Judged(Verdict::Skipped { reason })),
        PlayResult::Again { reason } => return Ok(PlayOutcome::Unlucky(reason)),
        PlayResult::Broken { error } => bail!("{error}"),
    };
    let said = doctor.end_with(&[0, 3])?;
    judged(context, options, run, wanted, &played, said).map(PlayOutcome::Judged)
}

/// The verb, as text or as JSON.
pub fn verb(wanted: DoctorRun) -> &'static [&'static str] {
    match wanted.prints {
        Some(_) => &["doctor"],
        None => &["doctor", "--json"],
    }
}

/// Its options that depend on what is wanted.
pub fn wanted_of(netns: u64, wanted: DoctorRun) -> [String; 4] {
    let netns = netns.to_string();
    ["--netns", &netns, "--fail-on", wanted.fail_on].map(str::to_owned)
}

/// Compares its exit code and its output with what is expected.
pub fn judged(
    context: &Context,
    options: &Options,
    run: &ScenarioRun,
    wanted: DoctorRun,
    played: &Played,
    (code, output): (i32, String),
) -> Result<Verdict> {
    let mut wrong = Vec::new();
    let hooks = hooks(context, &wanted)?;
    let is_due = |found: &ExpectedFinding| is_due(found, &hooks);
    let wanted_code = match wanted.finds {
        [] => wanted.code,
        finds if finds.iter().any(is_due) => wanted.code,
        _ => 0,
    };
    if code != wanted_code {
        wrong.push(format!("ended with code {code}, not {wanted_code}"));
    }
    match wanted.prints {
        Some(text) if output.contains(text) => {}
        Some(text) => wrong.push(format!("does not say \"{text}\"")),
        None => {
            let diagnosis: Value = serde_json::from_str(&output)
                .with_context(|| format!("not a JSON document: {output:.300}"))?;
            keep(options, &run.name, std::slice::from_ref(&diagnosis))?;
            wrong.extend(judge(&wanted, &comms(played), &hooks, &diagnosis));
        }
    }
    if wrong.is_empty() {
        return Ok(Verdict::Passed);
    }
    let reported = output.lines().map(str::to_owned).collect();
    Ok(Verdict::Failed { wrong, reported })
}

/// Names of the actors that the scenario reported on.
fn comms(played: &Played) -> Vec<String> {
    let close_wait = played.close_wait.iter().filter_map(|row| row.comm.clone());
    let crowd = played.crowd.iter().map(|row| row.comm.clone());
    crowd.chain(close_wait).collect()
}

static HOOKS: Mutex<Option<Facts>> = Mutex::new(None);

/// The hooks of a trace with the same options, to avoid another query.
pub fn hooks_are(facts: &Facts) {
    let mut known = HOOKS.lock().unwrap_or_else(PoisonError::into_inner);
    *known = Some(Facts {
        tiers: facts.tiers.clone(),
        ..Facts::default()
    });
}

/// The hooks that twtrace would use; queried once, and only if a finding depends on them.
fn hooks(context: &Context, wanted: &DoctorRun) -> Result<Facts> {
    if wanted
        .finds
        .iter()
        .all(|found| found.needs == Needs::Nothing)
    {
        return Ok(Facts::default());
    }
    let mut known = HOOKS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(hooks) = &*known {
        return Ok(hooks.clone());
    }
    let output = Command::new(&context.twtrace)
        .args(["probes", "--json"])
        .args(context.tier.options())
        .output()
        .context("run twtrace probes")?;
    let document: Value = serde_json::from_slice(&output.stdout).context("read its probes")?;
    let hooks = Facts {
        tiers: tiers_of(&document)?,
        ..Facts::default()
    };
    Ok(known.insert(hooks).clone())
}

/// Whether these hooks can find it.
fn is_due(found: &ExpectedFinding, hooks: &Facts) -> bool {
    let by_hook = |question| matches!(hooks.tier(question), Tier::Fentry | Tier::Kprobe);
    match found.needs {
        Needs::Nothing => true,
        Needs::Searches => by_hook(Question::Port),
        Needs::NoAddress => hooks.tier(Question::NoAddress) != Tier::None,
        Needs::RefusedReuse => by_hook(Question::Port) && by_hook(Question::TimeWaitEnd),
    }
}

fn judge(wanted: &DoctorRun, comms: &[String], hooks: &Facts, diagnosis: &Value) -> Vec<String> {
    let Some(findings) = diagnosis["findings"].as_array() else {
        return vec!["there is no list \"findings\"".to_owned()];
    };
    let mut wrong = Vec::new();
    let is_any_due = wanted.finds.iter().any(|found| is_due(found, hooks));
    if !is_any_due && !findings.is_empty() {
        wrong.push(format!(
            "{} findings where nothing is wrong",
            findings.len()
        ));
    }
    for found in wanted.finds {
        let is_there = findings.iter().any(|finding| is(finding, found, comms));
        match (is_due(found, hooks), is_there) {
            (true, false) => wrong.push(format!("no such finding: {found:?}")),
            (false, true) => wrong.push(format!("found without the hooks for it: {found:?}")),
            _ => {}
        }
    }
    let ids: Vec<&str> = findings
        .iter()
        .filter_map(|finding| finding["id"].as_str())
        .collect();
    if !wanted.ids.is_empty() && ids != wanted.ids {
        wrong.push(format!("found {ids:?}, not {:?}", wanted.ids));
    }
    for id in wanted.spares {
        if findings.iter().any(|finding| finding["id"] == *id) {
            wrong.push(format!("{id} was found"));
        }
    }
    wrong
}

/// Whether it is the expected finding, and names the process and the remedy.
fn is(finding: &Value, found: &ExpectedFinding, comms: &[String]) -> bool {
    let said = format!(
        "{} {} {}",
        finding["title"], finding["evidence"], finding["figures"]
    );
    let is_named = |role: &str| {
        let prefix = format!("{role}-");
        let mut comms = comms.iter();
        comms.any(|comm| comm.starts_with(&prefix) && said.contains(comm.as_str()))
    };
    let has = |field: &str| {
        finding[field]
            .as_array()
            .is_some_and(|list| !list.is_empty())
    };
    finding["id"] == found.id
        && finding["severity"] == found.severity
        && finding["figures"].is_object()
        && (found.names.is_empty() || is_named(found.names))
        && (found.spares.is_empty() || !is_named(found.spares))
        && said.contains(found.says)
        && has("evidence")
        && has("do")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FOUND: ExpectedFinding = ExpectedFinding {
        id: "some",
        severity: "warning",
        names: "cl",
        spares: "sv",
        says: "was so",
        needs: Needs::Nothing,
    };

    const HOOKED: ExpectedFinding = ExpectedFinding {
        needs: Needs::Searches,
        ..FOUND
    };

    fn wrong(findings: Value, finds: &'static [ExpectedFinding]) -> usize {
        let run = DoctorRun {
            fail_on: "critical",
            code: 0,
            finds,
            spares: &["other"],
            ids: &[],
            is_from_the_middle: false,
            prints: None,
        };
        let hooks = Facts::default();
        judge(
            &run,
            &["cl-9".to_owned(), "sv-8".to_owned()],
            &hooks,
            &json!({ "findings": findings }),
        )
        .len()
    }

    #[test]
    fn findings_are_compared() {
        let finding = |id: &str, name: &str| {
            json!({"id": id, "severity": "warning", "title": name, "evidence": ["it was so"],
                   "figures": {}, "do": ["that"], "do_not": []})
        };
        assert_eq!(wrong(json!([finding("some", "cl-9(7)")]), &[FOUND]), 0);
        assert_eq!(wrong(json!([finding("some", "sv-9(7)")]), &[FOUND]), 1);
        assert_eq!(wrong(json!([finding("other", "")]), &[FOUND]), 2);
        assert_eq!(
            wrong(json!([finding("some", "cl-9(7), sv-8(6)")]), &[FOUND]),
            1
        );
        assert_eq!(wrong(json!([finding("some", "")]), &[]), 1);
        assert_eq!(wrong(json!([]), &[]), 0);
        // Found without the hooks, although nothing may be found without them.
        assert_eq!(wrong(json!([finding("some", "cl-9(7)")]), &[HOOKED]), 2);
        assert_eq!(wrong(json!([]), &[HOOKED]), 0);
        assert_eq!(wrong(Value::Null, &[]), 1);
        let ordered = DoctorRun {
            ids: &["b", "a"],
            fail_on: "notice",
            code: 0,
            finds: &[],
            spares: &[],
            is_from_the_middle: false,
            prints: None,
        };
        for (ids, expected) in [(["b", "a"], 0), (["a", "b"], 1)] {
            let found = ids.map(|id| finding(id, ""));
            let found = json!({ "findings": found });
            // No finding is expected, but these are: two where nothing is wrong.
            let wrong = judge(&ordered, &[], &Facts::default(), &found);
            assert_eq!(wrong.len(), 1 + expected, "{wrong:?}");
        }
    }
}
