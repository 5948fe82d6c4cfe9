#!/usr/bin/python3
"""Migrates a running QEMU guest and moves its network attachment with it, so that no packet is lost.

    qemu_migrate.py VM --from NVE --to NVE --port PORT [--vlan VLAN]
                    --source QMP-SOCKET --target QMP-SOCKET --uri URI [--ilactl PATH]

QEMU runs at both hosts with `-qmp unix:SOCKET,server=on,wait=off`, at the new one also with `-incoming URI`. This program
speaks QMP with both, and tells the authority by `ilactl vm` what happens; where the authority is, `ilactl` takes from its
environment variables (ILACTL_NVA, ILACTL_TLS_CERT, ILACTL_TLS_KEY, ILACTL_TLS_CA). Needs nothing but Python 3.

1. `ilactl vm move`: both hosts prepare. It fails if one of them cannot take the guest, and nothing has happened then.
2. QEMU copies the memory while the guest runs. What is left to copy falls.
3. Shortly before QEMU would pause the guest it is slowed down, and `ilactl vm detached` says that it leaves: from now on
   packets for it are sent on to the new host, which holds them. Then QEMU may pause it and copy the rest.
4. At the new host QEMU resumes it: `ilactl vm arrived`. The new host delivers what it held.

Whatever fails before the guest runs at the new host ends the move (`ilactl vm abort`): the guest goes on where it was.
It is never started there before it is certain that it cannot run at the new host, too; who cannot be asked is left to
the operator, and the last line says so.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time

# What may be left to copy when the guest is told to leave: so many bytes, or what is copied in so many seconds. And how
# fast it is copied until the old host sends on what comes.
REST, REST_S, SLOW = 2 << 20, 0.03, 1 << 20
# Longest pause that QEMU may choose, in milliseconds, before and after the guest was told to leave.
HELD_BACK_MS, FREE_MS = 1, 2000
LOOK_S = 0.002
# No wait is longer. The new host holds what comes for two seconds.
COPY_S, PAUSE_S = 3600, 30
PROTOCOL_S = 10


class Failed(Exception):
    """The migration failed; the text says why."""


class Ended(Failed):
    """QEMU is there no more."""


class Refused(Failed):
    """The authority refuses it."""


class Qmp:
    """The QEMU Machine Protocol on a Unix socket."""

    def __init__(self, path):
        self.path, self.rest, self.events = path, b"", []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PROTOCOL_S)
        try:
            self.socket.connect(path)
        except OSError as why:
            raise Failed(f"QEMU does not listen at {path}: {why}") from None
        self._line()
        self.does("qmp_capabilities")

    def _line(self):
        while b"\n" not in self.rest:
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                raise Failed(f"QEMU at {self.path} does not answer within {PROTOCOL_S} s") from None
            except OSError as why:
                raise Ended(f"QEMU at {self.path} has ended: {why}") from None
            if not data:
                raise Ended(f"QEMU at {self.path} has ended")
            self.rest += data
        line, self.rest = self.rest.split(b"\n", 1)
        try:
            return json.loads(line)
        except ValueError as why:
            raise Failed(f"QEMU at {self.path} says what is no JSON: {why}") from None

    def does(self, command, **arguments):
        """Runs a command; what it returns."""
        request = {"execute": command, "arguments": arguments} if arguments else {"execute": command}
        try:
            self.socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as why:
            raise Ended(f"QEMU at {self.path} has ended: {why}") from None
        while True:
            answer = self._line()
            if "event" in answer:
                self.events.append(answer["event"])
            elif "error" in answer:
                raise Failed(f"QEMU at {self.path} refuses {command}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def happened(self, event):
        """Whether QEMU has told of this event."""
        if event not in self.events:
            # Whatever comes as answer: events come before it.
            self.does("query-status")
        return event in self.events


def is_little(ram):
    """Whether little is left to copy."""
    return bool(ram) and ram["remaining"] <= max(REST, ram["mbps"] * 125_000 * REST_S)


class Move:
    """A guest's migration, and the move of its attachment."""

    def __init__(self, args):
        self.args, self.id = args, None
        self.source, self.target = Qmp(args.source), Qmp(args.target)
        self.told, self.times = False, {}

    def ilactl(self, *words):
        try:
            done = subprocess.run(
                [self.args.ilactl, "--json", "vm", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                check=False, timeout=120,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as why:
            raise Failed(f"`{self.args.ilactl} vm {words[0]}`: {why}") from None
        if done.returncode != 0:
            raise Refused(f"`{self.args.ilactl} vm {' '.join(words)}`: {done.stderr.strip() or done.stdout.strip()}")
        try:
            return json.loads(done.stdout)
        except ValueError as why:
            raise Failed(f"`{self.args.ilactl} vm {words[0]}` says what is no JSON: {why}") from None

    def say(self, word):
        """Tells the authority what has happened to the guest."""
        self.ilactl(word, "--id", str(self.id))
        self.times[word] = time.monotonic()

    def begin(self):
        args = self.args
        vlan = ["--vlan", args.vlan] if args.vlan else []
        words = ["--from", args.old, "--to", args.new, "--port", args.port, *vlan]
        try:
            self.id = self.ilactl("move", args.vm, *words)["id"]
        except Refused:
            raise
        except Failed:
            # It may have begun.
            for vm in self.ilactl("list", "--moves"):
                ours = [move for move in vm["moves"] if move["to"] == args.new and move["state"] in ("preparing", "prepared")]
                if vm["name"] == args.vm and ours:
                    self.ilactl("abort", "--id", str(ours[0]["id"]))
            raise

    def leave(self):
        """Holds the copy back, until the old host sends on what comes for the guest."""
        self.source.does("migrate-set-parameters", **{"max-bandwidth": SLOW})
        self.say("detached")
        self.told = True
        self.source.does("migrate-set-parameters", **{"max-bandwidth": 0, "downtime-limit": FREE_MS})

    def copy(self):
        self.source.does("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        self.source.does("migrate-set-parameters", **{"downtime-limit": HELD_BACK_MS})
        self.source.does("migrate", uri=self.args.uri)
        end = time.monotonic() + COPY_S
        while time.monotonic() < end:
            state = self.source.does("query-migrate")
            if state["status"] in ("failed", "cancelled"):
                raise Failed(f"QEMU: the migration {state['status']}: {state.get('error-desc', 'no reason is told')}")
            if state["status"] == "completed":
                self.times["pause"] = state.get("downtime", 0) / 1000
                return
            if not self.told and (self.source.happened("STOP") or is_little(state.get("ram"))):
                self.leave()
            time.sleep(LOOK_S)
        raise Failed(f"QEMU: the guest's memory was not copied within {COPY_S} s")

    def arrive(self):
        end = time.monotonic() + PAUSE_S
        while not self.target.happened("RESUME"):
            if time.monotonic() > end:
                raise Failed(f"the guest does not run at {self.args.new} within {PAUSE_S} s")
            time.sleep(LOOK_S)
        if not self.told:
            self.say("detached")
        self.say("arrived")

    def runs_there(self):
        """Whether the guest runs at the new host. If not, it never will when this returns."""
        try:
            # Before the copy is complete, this has it wait when it is.
            self.target.does("stop")
        except Ended:
            return False
        if self.target.happened("RESUME"):
            self.target.does("cont")
            return True
        try:
            self.target.does("quit")
        except Ended:
            pass
        return False

    def fail(self):
        """The guest goes on where it was, unless it runs at the new host; whether it does."""
        try:
            self.source.does("migrate_cancel")
        except Failed as why:
            print(f"qemu_migrate: {why}", file=sys.stderr)
        try:
            if self.runs_there():
                self.say("arrived")
                return True
        except Failed as why:
            print(
                f"qemu_migrate: {why}\nqemu_migrate: it is not known whether {self.args.vm} runs at {self.args.new}: end QEMU there, "
                f"`cont` at {self.args.source}, and `ilactl vm abort --id {self.id}`", file=sys.stderr,
            )  # fmt: skip
            return False
        try:
            if self.source.does("query-status")["status"] in ("paused", "postmigrate", "finish-migrate"):
                self.source.does("cont")
        except Failed as why:
            print(f"qemu_migrate: {why}", file=sys.stderr)
        try:
            self.ilactl("abort", "--id", str(self.id))
        except Failed as why:
            print(f"qemu_migrate: {why}", file=sys.stderr)
        return False


def interrupted(number, _frame):
    raise Failed(f"ended by signal {number}")


def main():
    parser = argparse.ArgumentParser(description="Migrates a QEMU guest and moves its network attachment with it.")
    parser.add_argument("vm", help="name of the attachment at the authority")
    parser.add_argument("--from", dest="old", required=True, metavar="NVE", help="NVE where the guest runs")
    parser.add_argument("--to", dest="new", required=True, metavar="NVE", help="NVE where it is to run")
    parser.add_argument("--port", required=True, help="port of the new NVE")
    parser.add_argument("--vlan", help="VLAN there")
    parser.add_argument("--source", required=True, metavar="SOCKET", help="QMP socket of the guest that runs")
    parser.add_argument("--target", required=True, metavar="SOCKET", help="QMP socket of the one that waits for it")
    parser.add_argument("--uri", required=True, help="where that one waits (-incoming)")
    parser.add_argument("--ilactl", default="ilactl", help="the program; default: ilactl")
    args = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, interrupted)
    try:
        move = Move(args)
        move.begin()
    except Failed as why:
        sys.exit(f"qemu_migrate: {why}")
    try:
        move.copy()
        move.arrive()
    except Failed as why:
        # Nothing interrupts what brings the guest back.
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        print(f"qemu_migrate: {why}", file=sys.stderr)
        if move.fail():
            print(f"qemu_migrate: {args.vm} is at {args.new} all the same", file=sys.stderr)
        sys.exit(1)
    away = move.times["arrived"] - move.times["detached"]
    print(f"{args.vm} is at {args.new}: paused for {move.times['pause'] * 1000:.0f} ms, held for {away * 1000:.0f} ms")


if __name__ == "__main__":
    main()
