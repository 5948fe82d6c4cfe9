"""Operators at work: reload, mapping files, ilactl, signals, restarts, all with traffic running."""

import itertools
import json
import os
import signal

from books import ATTEMPTS, undisturbed
from lab import Lab, binary
from reference import INET, L1, L2, T1, T1_MAC, T2, Network
from traffic import Pings
from wait import Lost, comes, expect, until

def lossless(net, change, to=T1):
    """500 pings a second while `change(n)` is made, at the n-th attempt: every one must be answered."""
    made = itertools.count(1)
    net.inet.reaches(to, 3)

    def attempt(slower):
        pings = Pings(net.inet, to, 0.002 * slower)
        comes(lambda: pings.counted()[1] >= 250, 5)
        change(next(made))
        enough = pings.counted()[0] + 750
        # A busy machine sends fewer.
        comes(lambda: pings.counted()[0] >= enough, 10)
        asked, answered = pings.end()
        if answered < asked:
            raise Lost("pings", asked, answered)

    undisturbed(net.lab, attempt, "pings during a change")


def test_reload_loses_nothing():
    """Routes, attachments, domains, limits: by SIGHUP and by ilactl."""
    with Lab("ilao") as lab:
        net = Network(lab)

        def change(n):
            route = {"prefix": f"2001:db8:5{n}::/48", "via": "fd00:f:0::ff", "port": "fabric0"}
            net.gw.config["routes"].append(route)
            net.gw.config["sir_domains"] = [
                *net.gw.config["sir_domains"], {"name": f"more{n}", "prefix": f"2001:db8:eee{n}::/64"},
            ]  # fmt: skip
            net.gw.write().process.send(signal.SIGHUP)
            net.nve1.config["attachments"].append(
                net.attachment(f"task3{n}", f"2001:db8:dddd:0:2000::3{n}", f"02:00:00:00:03:0{n}")
            )
            net.nve1.reload()
            net.gw.process.wait_for("configuration reloaded", n)

        lossless(net, change)
        expect("2001:db8:51::/48" in net.gw.ctl("route", "list"), "the new route is not there")
        expect("2001:db8:eee1::/64" in net.gw.ctl("node", "show"), "the new domain is not there")
        mapping = net.nve1.show("mapping", "get", "2001:db8:dddd:0:2000::31")
        expect(mapping["attachment"] == "task31", f"the new attachment is not there: {mapping}")
        net.stop()


def test_a_reload_that_needs_a_restart_is_refused_as_a_whole():
    with Lab("ilao") as lab:
        net = Network(lab)
        net.gw.config["ports"][0]["mtu"] = 1400
        net.gw.config["routes"].append({"prefix": "2001:db8:5::/48", "via": "fd00:f:0::ff", "port": "fabric0"})
        done = lab.host([binary("ilactl"), "--socket", net.gw.write().socket, "node", "reload"], check=False)
        expect(done.returncode != 0 and "ports[0].mtu" in done.stdout, f"{done.returncode}: {done.stdout}")
        expect("2001:db8:5::/48" not in net.gw.ctl("route", "list"), "half of the file was applied")
        with open(net.gw.file, "w") as file:
            file.write("nonsense: true\n")
        net.gw.process.send(signal.SIGHUP)
        net.gw.process.wait_for("reload refused")
        net.inet.reaches(T1, 3)
        net.stop()


def test_a_hundred_thousand_mappings_arrive_under_traffic():
    with Lab("ilao") as lab:
        net = Network(lab)
        loaded = 0

        def load(attempt):
            nonlocal loaded
            loaded += 100_000
            net.gw.ctl("mapping", "load", files[attempt - 1])

        files = [lab.path(f"many{attempt}.yaml") for attempt in range(1, len(ATTEMPTS) + 1)]
        for attempt, file in enumerate(files, 1):
            with open(file, "w") as out:
                out.write("mappings:\n")
                # No two differ by 0000 and ffff at the end, which neutral mapping cannot tell apart.
                for n in range(100_000):
                    identifier = f"2000:{attempt}:{n // 50_000:x}:{n % 50_000:x}"
                    out.write(f'  - {{sir: "2001:db8:dddd:0:{identifier}", locators: ["{L2}"]}}\n')
        lossless(net, load)
        mappings = net.gw.show("node", "show")["tables"][0]["mappings"]
        expect(mappings == loaded + 2, f"{mappings} mappings")
        net.stop()


def test_the_mapping_file_is_watched():
    with Lab("ilao") as lab:
        net = Network(lab)
        net.inet.reaches(T1, 2)
        old = open(net.mapping_file).read()
        # Written in place, and replaced by another file.
        with open(net.mapping_file, "w") as file:
            file.write(f'mappings:\n  - {{sir: "{T1}", blackhole: true}}\n')
        blackhole = lambda: net.gw.drops().get("blackhole", 0)  # noqa: E731
        until(lambda: not net.inet.answered(T1) and blackhole(), "the blackhole")
        with open(lab.path("new"), "w") as file:
            file.write(old)
        os.replace(lab.path("new"), net.mapping_file)
        until(lambda: net.inet.answered(T1), "the mapping to come back")

        # A broken one is refused, named, and changes nothing.
        def breaking(n):
            with open(net.mapping_file, "w") as file:
                file.write(f'mappings:\n  - {{sir: "{T1}", locators: ["2001:db8:{n}::/48"]}}\n')
            net.gw.process.wait_for("mapping file is refused", n)

        lossless(net, breaking)
        expect("locators[0]" in net.gw.log(), "the message does not say where")
        net.stop()


def test_half_a_mapping_file_is_not_applied():
    """Neither while it is being written, nor when its writer died, until an operator says so."""
    with Lab("ilao") as lab:
        net = Network(lab)
        entry = lambda n: f'  - {{sir: "2001:db8:dddd:0:2000:9::{n:x}", locators: ["{L2}"]}}\n'  # noqa: E731
        text = open(net.mapping_file).read() + "".join(entry(n) for n in range(1, 101))
        held = lambda: net.gw.show("node", "show")["tables"][0]["mappings"]  # noqa: E731
        with open(lab.path("new"), "w") as file:
            file.write(text)
        os.replace(lab.path("new"), net.mapping_file)
        until(lambda: held() == 102, "the long file")
        half = text[: text.index(entry(30))]
        with open(net.mapping_file, "w") as file:
            file.write(half)
            file.flush()
            expect(not comes(lambda: net.gw.show("node", "show")["warnings"], 3), "half a file was read")
            # The writer dies here.
        until(lambda: net.gw.show("node", "show")["warnings"], "a warning")
        warning = net.gw.show("node", "show")["warnings"][0]
        expect("mapping confirm 71" in warning and held() == 102, f"{warning}: {held()} mappings")
        until(lambda: net.gw.metrics()["ilagate_mapping_deletions_withheld"] == 71, "the metric")
        net.gw.ctl("mapping", "confirm", "71")
        expect(held() == 31, f"{held()} mappings after the confirmation")
        net.inet.reaches(T1, 3)
        net.stop()


def test_ilactl_changes_mappings():
    with Lab("ilao") as lab:
        net = Network(lab)
        gw = net.gw
        gw.ctl("mapping", "add", T1, "--blackhole")
        net.inet.silent(T1, 2)
        gw.counts("blackhole", 2)
        gw.ctl("mapping", "add", T1, "--locator", f"{L1},weight=2", "--locator", f"{L2},priority=1")
        net.inet.reaches(T1, 3)
        view = gw.show("mapping", "get", T1)
        expect(view["origin"] == "admin" and len(view["locators"]) == 2, f"{view}")
        gw.ctl("mapping", "add", T1, "--blackhole")
        gw.ctl("mapping", "del", T1)
        net.inet.reaches(T1, 3)
        view = gw.show("mapping", "get", T1)
        expect(view["origin"] == "file" and len(view["locators"]) == 1, f"the file's is not in force again: {view}")
        command = [binary("ilactl"), "--socket", gw.socket, "mapping", "del", T1]
        done = lab.host(command, check=False)
        expect(done.returncode != 0 and "mapping file" in done.stdout, f"{done.returncode}: {done.stdout}")
        net.stop()


def test_a_move_is_followed():
    """T1 moves to NVE2 while it is pinged; its address, its stack and its connections stay."""
    with Lab("ilao") as lab:
        net = Network(lab)
        net.t1.spawn(["/usr/bin/python3", "-c", ECHO, T1])
        until(lambda: ":7777" in net.t1.run("ss -Hltn"), "the echo server")
        talk = net.inet.spawn(["/usr/bin/python3", "-c", TALK, T1])
        talk.wait_for("connected")
        net.nve2.config["attachments"].append(net.attachment("task1", T1, T1_MAC))
        net.nve2.reload()
        net.move(net.t1, net.nve1, net.nve2)
        net.nve1.config["attachments"] = []
        net.nve1.reload()
        for node in (net.gw, net.nve1):
            node.ctl("mapping", "add", T1, "--locator", L2)
        expect(talk.wait(120) == 0, f"the connection did not survive:\n{talk.output()}")
        net.inet.reaches(T1, 5)
        net.t2.reaches(T1, 5)
        net.t1.reaches(T2, 5)
        net.stop()


ECHO = """
import socket, sys
server = socket.socket(socket.AF_INET6); server.bind((sys.argv[1], 7777)); server.listen()
peer, _ = server.accept()
while data := peer.recv(4096): peer.sendall(data)
"""
TALK = """
import socket, sys, time
peer = socket.create_connection((sys.argv[1], 7777), 30); peer.settimeout(60); print("connected", flush=True)
for n in range(200):
    line = b"line %3d" % n; peer.sendall(line); got = b""
    while len(got) < len(line): got += peer.recv(64)
    assert got == line; time.sleep(0.02)
"""


def test_a_restarted_node_goes_on():
    with Lab("ilao") as lab:
        net = Network(lab)
        net.inet.reaches(T1, 2)
        net.gw.stop()
        net.inet.silent(T1)
        net.gw.start()
        until(lambda: net.inet.answered(T1), "traffic after a restart")
        # And after a crash: what the dead process left behind is in nobody's way.
        net.gw.process.stop(signal.SIGKILL)
        net.gw.start()
        until(lambda: net.inet.answered(T1), "traffic after a crash")
        net.inet.reaches(T1, 5)
        net.stop()


def test_sigterm_under_traffic_gives_every_mbuf_back():
    with Lab("ilao") as lab:
        net = Network(lab)
        server = net.t1.spawn(["iperf3", "-6", "-s", "-B", T1])
        until(lambda: ":5201" in net.t1.run("ss -Hltn"), "iperf3")
        client = net.inet.spawn(["iperf3", "-6", "-u", "-c", T1, "-b", "50M", "-l", "1200", "-t", "60"])
        forwarded = lambda: net.gw.show("port", "list")[0]["counters"]["forwarded"]  # noqa: E731
        until(lambda: forwarded() > 5000, "traffic")
        expect(client.alive(), client.output())
        net.stop()
        for node in net.nodes:
            expect(not os.path.exists(node.socket), f"{node.ns.name} left its socket")
        client.stop(signal.SIGKILL)
        server.stop(signal.SIGKILL)


def test_a_log_that_nobody_reads_holds_nobody_up():
    """Standard error is a pipe that is full: the node starts, answers, refuses, and ends."""
    with Lab("ilao") as lab:
        net = Network(lab, start=False)
        gw = net.gw.write()
        pipe = lab.path("log")
        os.mkfifo(pipe)
        # We are a reader that never reads.
        reader = os.open(pipe, os.O_RDWR)
        env = dict(os.environ, RUNTIME_DIRECTORY=lab.directory)
        process = gw.ns.spawn(["sh", "-c", f"exec {binary('ilagate')} run --config {gw.file} 2>{pipe}"], env)
        until(lambda: os.path.exists(gw.socket), "the admin socket")
        # Far more than the pipe and the queue hold: each of these files is 1000 lines of the log.
        wrong = "".join(f'  - {{sir: "{"x" * 400}{n}", blackhole: true}}\n' for n in range(1000))
        lost = lambda: gw.metrics()["ilagate_log_lines_lost_total"]  # noqa: E731
        refused = lambda: gw.metrics()['ilagate_updates_total{result="refused"}']  # noqa: E731
        for n in itertools.count():
            with open(lab.path("new"), "w") as file:
                file.write(f"# {n}\nmappings:\n{wrong}")
            os.replace(lab.path("new"), net.mapping_file)
            comes(lambda: lost() > 0 or refused() > n, 2)
            if lost() > 0:
                break
            expect(n < 100, "no line of the log was lost")
        expect(gw.show("node", "show")["workers"], "ilactl has no answer")
        expect(gw.probe("healthz")[0] == 200 and gw.probe("readyz")[0] == 200, "the node is not well")
        expect(process.stop(signal.SIGTERM) == 0, "the node did not end well")
        os.close(reader)


def test_a_named_pipe_for_a_mapping_file_is_refused():
    with Lab("ilao") as lab:
        net = Network(lab)
        os.rename(net.mapping_file, lab.path("aside"))
        os.mkfifo(net.mapping_file)
        net.gw.process.wait_for("is a named pipe")
        command = [binary("ilactl"), "--socket", net.gw.socket, "node", "reload"]
        done = lab.host(command, check=False)
        expect(done.returncode != 0 and "named pipe" in done.stdout, f"{done.returncode}: {done.stdout}")
        os.rename(lab.path("aside"), net.mapping_file)
        net.gw.ctl("node", "reload")
        net.inet.reaches(T1, 3)
        net.stop()


def test_a_node_that_cannot_start_says_why():
    with Lab("ilao") as lab:
        net = Network(lab, start=False)
        cases = [
            (lambda c: c["ports"][0].update(device="net_af_packet0,iface=nosuch"), "nosuch"),
            (lambda c: c["ports"][0].update(mtu=9000), "mtu"),
            (lambda c: c["dpdk"].update(workers=[999]), "999"),
            (lambda c: c["mappings"].update(file=lab.path("nosuch.yaml")), "nosuch.yaml"),
        ]
        for change, word in cases:
            node = lab.node(net.gw.ns, "gw", 0, **json.loads(json.dumps(net.gw.config)))
            change(node.config)
            node.write()
            env = dict(os.environ, RUNTIME_DIRECTORY=lab.directory)
            process = net.gw.ns.spawn([binary("ilagate"), "run", "--config", node.file], env)
            status = process.wait()
            expect(status not in (0, None) and status > 0, f"exit status {status} with {word}:\n{process.output()}")
            expect(word in process.output(), f"`{word}` is not named:\n{process.output()}")
            expect("panicked" not in process.output(), process.output())


def agree(node):
    """Whether ilactl, metrics and the rule that every packet has one fate agree."""
    samples = node.metrics()
    for port in node.show("port", "list"):
        fates = port["counters"]
        total = fates["forwarded"] + fates["replied"] + fates["punted"] + fates["dropped"] + fates["waiting"]
        known = samples[f'ilagate_received_packets_total{{worker="0",port="{port["name"]}"}}']
        if not fates["received"] == total == known or samples[f'ilagate_port_up{{port="{port["name"]}"}}'] != 1:
            return False
    return True


def test_numbers_agree_in_ilactl_and_metrics():
    with Lab("ilao") as lab:
        net = Network(lab)
        net.inet.reaches(T1, 20, interval=0.02)
        for node in net.nodes:
            # A look may fall into the middle of a burst: not every one needs to agree, but one soon must.
            until(lambda: agree(node), f"the numbers of {node.ns.name} to agree", step=0.2)
        net.inet.reaches(INET, 1)
        net.stop()
