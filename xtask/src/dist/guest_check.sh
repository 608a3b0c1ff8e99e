#!/bin/sh
# Runs as root in a guest that systemd has booted: the package installed, used as a service, removed. Each line on
# standard output that begins with `ok` or `not ok` is a verdict, others are for the reader.
set -u
export LC_ALL=C DEBIAN_FRONTEND=noninteractive SYSTEMD_PAGER=cat SYSTEMD_COLORS=0
address=http://127.0.0.1:10660
package=/mnt/twtrace.deb

# Says whether a command succeeds, and shows what it printed if not.
check() {
    name=$1
    shift
    if printed=$("$@" 2>&1); then
        echo "ok $name"
    else
        echo "not ok $name"
        echo "$printed" | tail -n 20 | sed 's/^/    /'
    fi
}

# Tries a command every half second, for so many seconds.
within() {
    left=$(($1 * 2))
    shift
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || { "$@"; return; }
        sleep 0.5
    done
}

not() { ! "$@"; }
answers() { curl --fail --silent --show-error --max-time 10 "$address$1"; }
is_active() { systemctl is-active twtrace.service; }
main_pid() { systemctl show --property MainPID --value twtrace.service; }
is_another_than() { [ "$(main_pid)" != "$1" ] && [ "$(main_pid)" != 0 ] && is_active && answers /readyz; }
said() { journalctl --unit twtrace.service --no-pager | grep -F "$1"; }
files() {
    find / -xdev \( -path /var/lib/dpkg -o -path /var/log -o -path /var/backups -o -path /tmp -o -path /var/tmp \) -prune -o -print | sort
}
left_behind() { files | diff /run/files-before - | grep '^[<>]'; }
serves_what_curl_did() {
    count=$(answers /metrics | awk '/^twtrace_process_time_waits_total\{.*process="curl"/ { sum += $NF } END { print sum + 0 }')
    echo "TIME_WAITs of curl: $count"
    [ "$count" -ge "$1" ]
}
# Another namespace, which is there for as long as a file says so: entered by its mount, or by a process in it.
makes_time_waits_in_blue() {
    ip netns add blue && ip -n blue link set lo up || return
    ip netns exec blue busybox httpd -f -p 127.0.0.1:80 -h /mnt &
    blue_server=$!
    within 5 ip netns exec blue curl --silent --output /dev/null http://127.0.0.1/check.sh
    for _ in 1 2 3 4; do ip netns exec blue curl --silent --output /dev/null http://127.0.0.1/check.sh; done
    kill "$blue_server"
}
looks_into() { answers /metrics | grep "^twtrace_netns_time_wait_sockets{netns=\"$1\"} [1-9]"; }

# What a pod has of it: the binary alone, a network of its own, and the capabilities of the DaemonSet.
starts_in_a_pod() {
    mkdir -p /var/pod && cp /usr/bin/twtrace /var/pod/ || return
    systemd-run --quiet --unit pod --property RootDirectory=/var/pod --property MountAPIVFS=yes \
        --property PrivateNetwork=yes --property ProtectSystem=strict --property MemoryMax=1G \
        --property "CapabilityBoundingSet=$(sed -n 's/^CapabilityBoundingSet=//p' /usr/lib/systemd/system/twtrace.service)" \
        --property "BindReadOnlyPaths=/sys/fs/cgroup /sys/kernel/tracing /run/netns" \
        /twtrace serve --listen 0.0.0.0:10661
}
in_pod() {
    nsenter --net="/proc/$(systemctl show --property MainPID --value pod.service)/ns/net" \
        curl --fail --silent --show-error --max-time 10 "http://127.0.0.1:10661$1"
}
pod_sees_the_node() {
    in_pod /metrics >/run/pod-metrics || return
    grep '^twtrace_process_time_waits_total{.*process="curl".*} [1-9]' /run/pod-metrics &&
        grep "^twtrace_netns_time_wait_sockets{netns=\"$(stat -Lc %i /proc/1/ns/net)\"} [1-9]" /run/pod-metrics &&
        return
    grep -E '^twtrace_(process_time_waits_total|netns_time_wait|unseen)' /run/pod-metrics
    return 1
}

# The same unit, but for what it runs; also without the hooks that make do without /proc/kallsyms.
probes_in_sandbox() {
    sed -e 's/^ExecStart=.*/ExecStart=\/usr\/bin\/twtrace probes\nExecStart=\/usr\/bin\/twtrace probes --without fentry,kprobe/' -e 's/^Type=.*/Type=oneshot/' \
        -e '/^\(Restart\|RestartSec\|RestartPreventExitStatus\|WatchdogSec\|ExecReload\|StateDirectory.*\)=/d' \
        /usr/lib/systemd/system/twtrace.service >/run/systemd/system/probes.service
    systemctl daemon-reload
    systemctl start probes.service || return
    journalctl --unit probes.service --output cat --no-pager --identifier twtrace >/run/probes-inside
    rm /run/systemd/system/probes.service
    { twtrace probes && twtrace probes --without fentry,kprobe; } >/run/probes-outside
    diff /run/probes-outside /run/probes-inside && grep -q '^time_wait ' /run/probes-inside
}
intervals() { twtrace report --store /var/lib/twtrace | sed -n 's/^history: \([0-9]*\) interval.*/\1/p'; }
has_more_than() {
    there=$(intervals)
    echo "intervals: $there"
    [ "${there:-0}" -gt "$1" ]
}
tells_of_curl() { twtrace report --store /var/lib/twtrace --by process | grep '^curl('; }
has_history() { find /var/lib/twtrace -type f -size +0 | grep .; }

echo "Linux $(uname -r), systemd $(systemctl --version | head -n 1 | cut -d ' ' -f 2)"
systemctl is-system-running --wait >/dev/null
files >/run/files-before

check "the package is installed" dpkg --install "$package"
check "it is active at once" is_active
check "it is enabled" systemctl is-enabled twtrace.service
check "/healthz answers" answers /healthz
check "/readyz answers" answers /readyz
check "/metrics answers" answers /metrics
grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' "/proc/$(main_pid)/status"
systemctl show --property MemoryCurrent,TasksCurrent twtrace.service

for _ in $(seq 20); do answers /healthz >/dev/null; done
check "TIME_WAITs of curl are counted" within 10 serves_what_curl_did 20

check "TIME_WAITs are made in another namespace" makes_time_waits_in_blue
check "it looks into that namespace" within 30 looks_into "$(stat -Lc %i /run/netns/blue)"
check "its sandbox hides no hook" probes_in_sandbox
head -n 8 /run/probes-inside

pid=$(main_pid)
check "it is restarted" systemctl restart twtrace.service
check "it answers after the restart" is_another_than "$pid"

pid=$(main_pid)
kill -KILL "$pid"
check "it comes back after kill -9" within 30 is_another_than "$pid"

echo 'comm = ["curl"]' >>/etc/twtrace/twtrace.toml
pid=$(main_pid)
check "it is reloaded" systemctl reload twtrace.service
check "it says so" within 10 said "the configuration was read again"
check "it is the same process" [ "$(main_pid)" = "$pid" ]
echo 'comm = 1.5' >>/etc/twtrace/twtrace.toml
check "a reload with a wrong file fails" not systemctl reload twtrace.service
check "it goes on" answers /readyz
sed -i '/^comm/d' /etc/twtrace/twtrace.toml

echo 'history = "/var/lib/twtrace"' >>/etc/twtrace/twtrace.toml
echo 'history-interval = "1s"' >>/etc/twtrace/twtrace.toml
mkdir -p /run/systemd/system/twtrace.service.d
printf '[Service]\nWatchdogSec=10\n' >/run/systemd/system/twtrace.service.d/soon.conf
systemctl daemon-reload
check "it is restarted with a history" systemctl restart twtrace.service
for _ in 1 2 3 4 5; do answers /healthz >/dev/null; done
check "the history is kept in /var/lib/twtrace" within 10 has_history
check "the history can be read" within 20 tells_of_curl
# Else days that go by would bring what the system does by itself once a day.
systemctl stop '*.timer'
kept=$(intervals)
date --set "+60 days" >/dev/null
check "intervals follow a clock that leapt ahead" within 30 has_more_than $((kept + 3))
date --set "-61 days" >/dev/null
check "and one that was set back" within 30 has_more_than $((kept + 6))
date --set "+1 day" >/dev/null
check "and one that was put right" within 30 has_more_than $((kept + 9))
check "what was before the leap is not forgotten" tells_of_curl
twtrace report --store /var/lib/twtrace | grep '^history'
pid=$(main_pid)
kill -STOP "$pid"
check "the watchdog replaces one that is stuck" within 60 is_another_than "$pid"
rm -r /run/systemd/system/twtrace.service.d
systemctl daemon-reload

echo 'listen = 5' >>/etc/twtrace/twtrace.toml
check "it does not start with a wrong file" not systemctl restart twtrace.service
sleep 7
check "and is not tried again and again" systemctl is-failed twtrace.service
sed -i '/^listen = 5/d' /etc/twtrace/twtrace.toml
check "it starts with a good one" systemctl start twtrace.service

check "a pod is started" starts_in_a_pod
check "it answers in its own network" within 60 in_pod /readyz
for _ in 1 2 3 4 5; do answers /healthz >/dev/null; done
check "it sees what the node does" within 30 pod_sees_the_node
systemctl stop pod.service
ip netns delete blue
rm -r /var/pod

check "systemd warns of nothing in the unit" not said "Unknown key"
systemd-analyze security --no-pager twtrace.service | tail -n 1

check "it is installed over itself" dpkg --install "$package"
check "it is active after that" within 10 is_active
check "the changed configuration stays" grep -q '^history' /etc/twtrace/twtrace.toml
systemctl disable --now twtrace.service
check "it is installed over itself once more" dpkg --install "$package"
check "what was disabled stays so" not systemctl is-enabled --quiet twtrace.service
check "and is not started" not is_active
systemctl enable --now twtrace.service

check "it is removed" dpkg --remove twtrace
check "it is not active any more" not is_active
check "nothing listens" not answers /healthz
check "no process is left" not pgrep -x twtrace
check "the configuration is kept" grep -q '^history' /etc/twtrace/twtrace.toml
check "the history is kept" has_history
check "it is installed again" dpkg --install "$package"
check "it is active again" is_active

check "it is purged" dpkg --purge twtrace
check "no process is left after that" not pgrep -x twtrace
check "no file is left" not left_behind
journalctl --no-pager --unit twtrace.service | tail -n 60 | sed 's/^/journal: /'
echo end
