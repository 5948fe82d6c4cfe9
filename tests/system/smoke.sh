#!/bin/bash
# System smoke test: two nodes, two hosts and a Linux task host in network namespaces, all links are veth pairs.
#
#   h1 --ext-- [node n1: ILA router] --fabric-- [node n2: NVE] --access-- t1 (a task)
#   h1 talks to n1's own address, through n1 by plain routing, and to the task's SIR address.
#
# Needs root. Ends only what it started; leaves nothing behind.  Usage: tests/system/smoke.sh [path of ilagate]
# With QUEUES=2, node n1 has two workers and every port of it two queues.
set -euo pipefail
cd "$(dirname "$0")/../.."
BIN=${1:-target/debug/ilagate}
TAG=ilas$$
WORK=$(mktemp -d)
PIDS=()
FAILED=0

cleanup() {
    local status=$?
    for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${PIDS[@]}"; do
        for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -9 "$pid" 2>/dev/null || true
    done
    for ns in h1 t1 n1 n2; do ip netns del "$TAG$ns" 2>/dev/null || true; done
    if [ $status -ne 0 ] || [ "$FAILED" -ne 0 ]; then
        for log in "$WORK"/*.log; do echo "--- $log"; tail -n 60 "$log"; done
    fi
    rm -rf "$WORK"
}
trap cleanup EXIT

in_ns() { local ns=$1; shift; ip netns exec "$TAG$ns" "$@"; }

ok() { echo "ok    $1"; }
fail() { echo "FAIL  $1"; FAILED=1; }
check() { local what=$1; shift; if "$@" >"$WORK/check.log" 2>&1; then ok "$what"; else fail "$what"; cat "$WORK/check.log"; fi; }

# What the kernel leaves to a device, nobody does on a veth: checksums and segments must be in the packet.
plain() { in_ns "$1" ethtool -K "$2" tx off rx off gso off tso off gro off >/dev/null 2>&1 || true; }

wire() { # namespace interface namespace interface
    ip link add "$2" netns "$TAG$1" type veth peer name "$4" netns "$TAG$3"
    for end in "$1 $2" "$3 $4"; do
        set -- $end
        in_ns "$1" sysctl -qw "net.ipv6.conf.$2.accept_dad=0" || true
        plain "$1" "$2"
        in_ns "$1" ip link set "$2" up
    done
}

for ns in h1 t1 n1 n2; do
    ip netns add "$TAG$ns"
    in_ns "$ns" ip link set lo up
done
wire h1 eth0 n1 ext
wire n1 fab n2 fab
wire n2 acc t1 eth0
# The node's side of a link belongs to the node: the kernel there must say nothing.
for end in "n1 ext" "n1 fab" "n2 fab" "n2 acc"; do
    set -- $end
    in_ns "$1" sysctl -qw "net.ipv6.conf.$2.disable_ipv6=1"
done
in_ns h1 ip -6 addr add 2001:db8:1::2/64 dev eth0 nodad
in_ns h1 ip -6 route add default via 2001:db8:1::1
in_ns t1 ip link set eth0 address 02:00:00:00:00:0a
in_ns t1 ip -6 addr add 2001:db8:dddd:0:2000::1/128 dev eth0 nodad
in_ns t1 ip -6 addr add 2001:db8:2::2/64 dev eth0 nodad
# The task learns its way out from the node's Router Advertisements, and nothing else.
in_ns t1 sysctl -qw net.ipv6.conf.eth0.accept_ra=2 net.ipv6.conf.eth0.autoconf=0

if [ "${QUEUES:-1}" = 2 ]; then WORKERS="0, 1" PAIRS=",qpairs=2"; else WORKERS=0 PAIRS=""; fi
config() { # name cores
    cat <<EOF
node: {name: $TAG$1}
dpdk: {workers: [$2], idle: backoff, huge: false, memory_mib: 64}
mbufs: {count: 4096, cache: 128}
admin: {socket: $WORK/$1.sock}
log: {level: debug}
metrics: {listen: "127.0.0.1:9464"}
sir_domains:
  - {name: tasks, prefix: "2001:db8:dddd::/64", expected_mappings: 1000}
EOF
}

{
    config n1 "$WORKERS"
    cat <<EOF
locators:
  - {prefix: "fd00:1:0:1::/64", domain: tasks}
ports:
  - {name: ext0, device: "net_af_packet0,iface=ext$PAIRS", queues: ${QUEUES:-1}, role: external, mac: "02:00:00:00:01:01", addresses: ["2001:db8:1::1/64"]}
  - {name: fab0, device: "net_af_packet1,iface=fab$PAIRS", queues: ${QUEUES:-1}, role: fabric, addresses: ["fd00:f::1/64"]}
routes:
  - {prefix: "fd00:1:0:2::/64", via: "fd00:f::2", port: fab0}
  - {prefix: "2001:db8:2::/64", via: "fd00:f::2", port: fab0}
mappings: {file: $WORK/mappings.yaml}
EOF
} >"$WORK/n1.yaml"
{
    config n2 1
    cat <<EOF
locators:
  - {prefix: "fd00:1:0:2::/64", domain: tasks}
ports:
  - {name: fab0, device: "net_af_packet0,iface=fab", role: fabric, addresses: ["fd00:f::2/64"]}
  - {name: acc0, device: "net_af_packet1,iface=acc", role: access, addresses: ["2001:db8:2::1/64"],
     router_advertisement: {lifetime_s: 1800, prefix: "2001:db8:dddd::/64", interval_s: 10}}
attachments:
  - {port: acc0, mac: "02:00:00:00:00:0a", identifiers: ["2001:db8:dddd:0:2000::1"]}
routes:
  - {prefix: "::/0", via: "fd00:f::1", port: fab0}
EOF
} >"$WORK/n2.yaml"
cat >"$WORK/mappings.yaml" <<EOF
mappings:
  - {sir: "2001:db8:dddd:0:2000::1", locators: ["fd00:1:0:2::/64"]}
EOF

NODE_PID=
start() { # namespace
    NO_COLOR=1 RUNTIME_DIRECTORY="$WORK" ip netns exec "$TAG$1" "$BIN" run --config "$WORK/$1.yaml" >"$WORK/$1.log" 2>&1 &
    NODE_PID=$!
    PIDS+=("$NODE_PID")
    for _ in $(seq 100); do
        grep -q forwarding "$WORK/$1.log" && return 0
        kill -0 "$NODE_PID" 2>/dev/null || break
        sleep 0.1
    done
    fail "node $1 starts"
    exit 1
}

wait_for() { # seconds command...
    local tries=$(($1 * 5)); shift
    for _ in $(seq "$tries"); do "$@" >/dev/null 2>&1 && return 0; sleep 0.2; done
    return 1
}

start n1; N1=$NODE_PID
start n2; N2=$NODE_PID
ok "two nodes start"

ping6() { in_ns "$1" ping -6 -c "$3" -i 0.2 -W 2 "$2"; }
no_loss() { ping6 "$@" | tee "$WORK/ping.out" && grep -q " 0% packet loss" "$WORK/ping.out"; }

check "the node's own address answers" no_loss h1 2001:db8:1::1 5
link_local() { # namespace interface: by its MAC address
    local m
    IFS=: read -r -a m <"$WORK/mac"
    printf 'fe80::%02x%s:%sff:fe%s:%s%s' $((0x${m[0]} ^ 2)) "${m[1]}" "${m[2]}" "${m[3]}" "${m[4]}" "${m[5]}"
}
in_ns n1 cat /sys/class/net/ext/address >"$WORK/mac"
check "a port takes the MAC address that is configured" grep -q 02:00:00:00:01:01 "$WORK/mac"
check "its link-local address answers" no_loss h1 "$(link_local)%eth0" 3
check "the task learns its default route" wait_for 12 eval 'in_ns t1 ip -6 route show default | grep -q "proto ra"'
check "plain routing through both nodes" no_loss h1 2001:db8:2::2 5
check "SIR to ILA to SIR" no_loss h1 2001:db8:dddd:0:2000::1 5
check "the task reaches the Internet side" in_ns t1 ping -6 -c 3 -i 0.2 -W 2 -I 2001:db8:dddd:0:2000::1 2001:db8:1::2
check "a ping of 1400 bytes" in_ns h1 ping -6 -c 3 -i 0.2 -W 2 -s 1352 2001:db8:dddd:0:2000::1

# What no identifier is mapped to: the router says so.
unreachable() { ! in_ns h1 ping -6 -c 1 -W 2 2001:db8:dddd:0:2000::77 >"$WORK/un.out" 2>&1; grep -qi unreachable "$WORK/un.out"; }
check "an identifier without a mapping is unreachable" unreachable
silent() { ! in_ns h1 ping -6 -c 3 -i 1 -W 2 2001:db8:2::99 >"$WORK/un.out" 2>&1; grep -qi unreachable "$WORK/un.out"; }
check "a silent neighbour is unreachable" silent

transfer() {
    in_ns t1 iperf3 -6 -s -1 -B 2001:db8:dddd:0:2000::1 >"$WORK/iperf-server.log" 2>&1 &
    local server=$!; PIDS+=("$server")
    sleep 0.5
    timeout 20 ip netns exec "${TAG}h1" iperf3 -6 -c 2001:db8:dddd:0:2000::1 -t 3 "$@" 2>&1 | tee "$WORK/iperf.log"
    grep -q receiver "$WORK/iperf.log"
}
if command -v iperf3 >/dev/null; then
    check "a TCP transfer to the task" transfer
    grep receiver "$WORK/iperf.log" || true
    check "a TCP transfer from the task" transfer -R
    grep receiver "$WORK/iperf.log" || true
fi

# A changed mapping file takes effect by itself, a broken one changes nothing.
cat >"$WORK/new.yaml" <<EOF
mappings:
  - {sir: "2001:db8:dddd:0:2000::1", blackhole: true}
EOF
cp "$WORK/mappings.yaml" "$WORK/old.yaml"
mv "$WORK/new.yaml" "$WORK/mappings.yaml"
gone() { ! in_ns h1 ping -6 -c 1 -W 1 2001:db8:dddd:0:2000::1; }
check "a changed mapping file is applied" wait_for 5 gone
mv "$WORK/old.yaml" "$WORK/mappings.yaml"
back() { in_ns h1 ping -6 -c 1 -W 1 2001:db8:dddd:0:2000::1; }
check "and changed back" wait_for 5 back
echo "mappings: [{sir: nonsense}]" >"$WORK/mappings.yaml"
check "a broken mapping file is refused" wait_for 5 grep -q "mapping file is refused" "$WORK/n1.log"
check "and the mappings before it stay" back
cat >"$WORK/mappings.yaml" <<EOF
mappings:
  - {sir: "2001:db8:dddd:0:2000::1", locators: ["fd00:1:0:2::/64"]}
EOF

# Reload without a lost packet.
reloaded() {
    in_ns h1 ping -6 -c 40 -i 0.05 -W 2 2001:db8:dddd:0:2000::1 >"$WORK/ping.out" 2>&1 &
    local ping=$!; PIDS+=("$ping")
    sleep 0.5
    sed -i 's|^routes:|routes:\n  - {prefix: "2001:db8:3::/64", via: "fd00:f::2", port: fab0}|' "$WORK/n1.yaml"
    kill -HUP "$N1_NODE"
    wait_for 5 grep -q "configuration reloaded" "$WORK/n1.log" || return 1
    wait "$ping"
    cat "$WORK/ping.out"
    grep -q " 0% packet loss" "$WORK/ping.out"
}
N1_NODE=$N1
check "a reload loses nothing" reloaded
sed -i 's|, mtu: 1400||; s|role: external,|role: external, mtu: 1400,|' "$WORK/n1.yaml"
kill -HUP "$N1_NODE"
check "a reload that needs a restart is refused" wait_for 5 grep -q "reload refused.*ports\[0\].mtu" "$WORK/n1.log"
sed -i 's|, mtu: 1400||' "$WORK/n1.yaml"

# A link that goes down and comes back.
in_ns h1 ip link set eth0 down
sleep 1
check "a link that goes down is seen" wait_for 3 grep -q "link changed.*false" "$WORK/n1.log"
in_ns h1 ip link set eth0 up
in_ns h1 ip -6 addr add 2001:db8:1::2/64 dev eth0 nodad 2>/dev/null || true
in_ns h1 ip -6 route replace default via 2001:db8:1::1
check "traffic after the link was down" wait_for 10 back

if command -v curl >/dev/null; then
    check "metrics are served" eval 'in_ns n1 curl -sf http://127.0.0.1:9464/metrics | grep -q ilagate_received_packets_total'
fi
if [ -x target/debug/ilactl ]; then
    target/debug/ilactl --socket "$WORK/n1.sock" node show || true
fi

ended() { # pid
    kill -TERM "$1"
    for _ in $(seq 100); do kill -0 "$1" 2>/dev/null || break; sleep 0.1; done
    wait "$1"
}
check "node n1 stops with exit code 0" ended "$N1"
check "node n2 stops with exit code 0" ended "$N2"
check "every mbuf came back" grep -q "every mbuf is back" "$WORK/n1.log" "$WORK/n2.log"
check "the admin sockets are gone" test ! -e "$WORK/n1.sock" -a ! -e "$WORK/n2.sock"
[ "$FAILED" -eq 0 ] && echo "smoke test passed"
exit "$FAILED"
