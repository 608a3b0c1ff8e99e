//! The output of `doctor --fix-script`: a shell script for the settings that findings recommend.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use twtrace_core::doctor::diagnosis::Diagnosis;
use twtrace_core::doctor::finding::Finding;
use twtrace_core::doctor::setting::{SettingChange, SettingName};
use twtrace_core::event::quantity;
use twtrace_core::event::text::{escape, shell_quoted};
use twtrace_core::model::budget::ports::PortSet;

use super::wrap;

/// Width of comments.
const WIDTH: usize = 100;

/// What each script begins with, behind its heading.
const USAGE: &str = "\
# twtrace has changed nothing. Read this, then run it as root:
#
#   sh FILE            sets what is not set yet, until the next boot
#   sh FILE persist    also writes them to files /etc/sysctl.d/90-twtrace-NAME.conf, if all could be set: those of
#                      the network namespace that it runs in
#   sh FILE undo       sets the former values again, and removes these files
#
# Settings of another network namespace last as long as it does: give them to what creates it, too, such as
# `podman run --sysctl` or securityContext.sysctls of a pod.
";

/// What changes a setting, if it is not as wanted yet.
const FUNCTIONS: &str = r#"
set -eu
action=${1:-set}
case $action in set | persist | undo) ;; *) echo "usage: sh $0 [set|persist|undo]" >&2; exit 2 ;; esac
failed=0

# change NAMESPACE INODE NAME VALUE FORMER: an empty namespace is the one that this runs in.
change() {
    namespace=$1 inode=$2 name=$3 value=$4
    if [ "$action" = undo ]; then
        if [ "$5" = '?' ]; then
            echo "$name: the former value is not known" >&2
            failed=1
            return
        fi
        value=$5
    fi
    if [ "$(stat -Lc %i "${namespace:-/proc/self/ns/net}" 2>/dev/null)" != "$inode" ]; then
        echo "$name: ${namespace:-this} is not the network namespace $inode: left out" >&2
        failed=1
        return
    fi
    path=/proc/sys/$(echo "$name" | tr . /)
    now=$(run cat "$path") || { failed=1; return; }
    # Several values are separated by tabs.
    # shellcheck disable=SC2086
    now=$(echo $now)
    where=${namespace:+ in $namespace}
    if [ "$now" = "$value" ]; then
        echo "$name$where is $value"
    elif [ "$now" != "$4" ] && [ "$now" != "$5" ] && [ "$5" != '?' ]; then
        echo "$name$where is $now, neither $4 nor $5: somebody has changed it, left as it is" >&2
        failed=1
    elif run sh -c 'printf "%s\n" "$2" > "$1"' sh "$path" "$value"; then
        echo "$name$where: $now -> $value"
    else
        failed=1
    fi
}

run() {
    if [ -z "$namespace" ]; then "$@"; else nsenter --net="$namespace" "$@"; fi
}

# keep NAME VALUE: also after a boot.
keep() {
    file=/etc/sysctl.d/90-twtrace-$1.conf
    case $action in
    undo) rm -f "$file" ;;
    persist)
        if [ "$failed" = 0 ]; then
            printf '# Written by the script of twtrace doctor --fix-script.\n%s = %s\n' "$1" "$2" > "$file"
            echo "wrote $file"
        else
            echo "$file: not written, since not all could be set" >&2
        fi
        ;;
    esac
}
"#;

/// The script.
pub fn render(diagnosis: &Diagnosis) -> String {
    let mut text = String::from("#!/bin/sh\n");
    comment(
        &mut text,
        "",
        &format!(
            "Settings that twtrace doctor recommends for {}, from {} and the {} before.",
            escape(&diagnosis.host),
            diagnosis.end,
            quantity::duration(diagnosis.duration_ns)
        ),
    );
    text.push_str("#\n");
    text.push_str(USAGE);
    let with_settings: Vec<&Finding> = diagnosis
        .findings
        .iter()
        .filter(|finding| !finding.settings.is_empty())
        .collect();
    if with_settings.is_empty() {
        let none = match diagnosis.findings.len() {
            0 => "There are no findings: nothing is to be set.",
            _ => "No finding is mended by a setting alone: see twtrace doctor.",
        };
        text.push('\n');
        comment(&mut text, "", none);
        text.push_str("exit 0\n");
        return text;
    }
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "{FUNCTIONS}\nif [ \"$(uname -n)\" != {} ]; then\n    echo 'this is for another host' >&2\n    exit 1\nfi\n",
        shell_quoted(&diagnosis.host)
    );
    for finding in &with_settings {
        text.push('\n');
        let severity = finding.severity.word().to_uppercase();
        let title = format!("{severity}: {} [{}]", escape(&finding.title), finding.id);
        comment(&mut text, "", &title);
        for change in &finding.settings {
            comment(
                &mut text,
                "  ",
                &format!("{}: {}.", change.name.sysctl(), change.name.effect()),
            );
        }
        for remedy in &finding.to_do {
            comment(&mut text, "  or: ", &escape(remedy));
        }
    }
    text.push('\n');
    let changes = merged(&with_settings);
    for change in &changes {
        let _ = writeln!(
            text,
            "change {} {} {} {} {}",
            quoted_path(change.path.as_deref()),
            change.netns,
            change.name.sysctl(),
            shell_quoted(&change.value),
            shell_quoted(change.now.as_deref().unwrap_or("?"))
        );
    }
    text.push_str(&persist(&changes));
    text.push_str("\nexit $failed\n");
    text
}

/// One change for each setting of a namespace. Ports to reserve are put together.
fn merged(findings: &[&Finding]) -> Vec<SettingChange> {
    let mut merged: BTreeMap<(u32, SettingName), SettingChange> = BTreeMap::new();
    for change in findings.iter().flat_map(|finding| &finding.settings) {
        let key = (change.netns, change.name);
        let Some(known) = merged.get_mut(&key) else {
            merged.insert(key, change.clone());
            continue;
        };
        if change.name == SettingName::ReservedPorts
            && let (Ok(mut all), Ok(more)) = (
                known.value.parse::<PortSet>(),
                change.value.parse::<PortSet>(),
            )
        {
            more.iter().for_each(|port| all.insert(port));
            known.value = all.to_string();
        }
    }
    merged.into_values().collect()
}

/// What keeps the changes of the namespace that the script runs in over a boot: a file for each setting.
fn persist(changes: &[SettingChange]) -> String {
    let own: Vec<&SettingChange> = changes.iter().filter(|it| it.path.is_none()).collect();
    if own.is_empty() {
        return String::from(
            "\n[ \"$action\" != persist ] || echo 'no setting is of this network namespace: nothing is written' >&2\n",
        );
    }
    let mut text = String::from("\n");
    for change in own {
        let _ = writeln!(
            text,
            "keep {} {}",
            change.name.sysctl(),
            shell_quoted(&change.value)
        );
    }
    text
}

fn comment(text: &mut String, first: &str, words: &str) {
    let mut lines = String::new();
    wrap::append(&mut lines, first, words, WIDTH);
    for line in lines.lines() {
        text.push_str("# ");
        text.push_str(line);
        text.push('\n');
    }
}

fn quoted_path(path: Option<&Path>) -> String {
    shell_quoted(&path.map_or_else(String::new, |path| path.to_string_lossy().into_owned()))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use twtrace_core::doctor::samples as facts;
    use twtrace_core::filter::Filter;
    use twtrace_core::model::budget::sysctls::TwReuse;

    use super::*;

    fn diagnosis() -> Diagnosis {
        let mut facts = facts::healthy();
        facts.state_mut().ports.tw_reuse = TwReuse::Never;
        facts.state_mut().ports.timestamps = false;
        facts.report.host = "it's\nhost".to_owned();
        facts.report.budgets = vec![facts::budget(0, 3)];
        facts.namespaces.values_mut().next().unwrap().path = Some("/run/netns/a'b; $(id)".into());
        Diagnosis::new(&facts, &Filter::default())
    }

    /// Each line of a hostile name stays a comment or a quoted word.
    #[test]
    fn settings_are_changed_by_lines_that_a_shell_reads() {
        let text = render(&diagnosis());
        for line in [
            "change '/run/netns/a'\\''b; $(id)' 42 net.ipv4.tcp_tw_reuse '1' '0'",
            "change '/run/netns/a'\\''b; $(id)' 42 net.ipv4.tcp_timestamps '1' '0'",
            "# CRITICAL: local ports from 10.0.0.1 to 10.0.0.2:80 ran out [budget_full]",
            "if [ \"$(uname -n)\" != 'it'\\''s",
        ] {
            assert!(text.contains(line), "{line}\nis not in\n{text}");
        }
        let mut shell = Command::new("sh")
            .args(["-n"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(shell.stdin.as_mut().unwrap(), text.as_bytes()).unwrap();
        assert!(shell.wait().unwrap().success(), "{text}");
    }

    #[test]
    fn nothing_to_set_is_said() {
        let healthy = Diagnosis::new(&facts::healthy(), &Filter::default());
        let text = render(&healthy);
        assert!(
            text.ends_with("# There are no findings: nothing is to be set.\nexit 0\n"),
            "{text}"
        );
    }

    #[test]
    fn ports_to_reserve_are_put_together() {
        let facts = facts::healthy();
        let mut finding = diagnosis().findings.swap_remove(0);
        finding.settings = ["22,8080", "22,8079", "22,8080"]
            .map(|value| facts.setting(facts::NETNS, SettingName::ReservedPorts, value))
            .to_vec();
        let merged = merged(&[&finding]);
        assert_eq!(merged.len(), 1);
        assert_eq!(merged[0].value, "22,8079-8080");
    }
}
