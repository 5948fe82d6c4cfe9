"""Random moves of one machine under load: every datagram arrives once, and nothing is left behind."""

import os
import random
import time

from lab import Lab
from moves import MoveNetwork
from test_moves import Sending, arrives, at_rest, leaves
from wait import expect, until

# It loads the machine for as long as it is told.
ALONE = True
SECONDS = float(os.environ.get("ILAGATE_SOAK_S", "15"))
SEED = int(os.environ.get("ILAGATE_SEED", "1"))
PAUSES_S = (0, 0.02, 0.1, 0.3)
KINDS = ("moves", "moves", "moves", "stays", "comes back", "authority dies")


def one(net, chance, here):
    """One random move of the machine that is at a host; where it is then."""
    there = "nve2" if here == "nve1" else "nve1"
    kind, pause_s = chance.choice(KINDS), chance.choice(PAUSES_S)
    until(lambda: "prepar" not in net.vm("list", "--moves"), "the move before to be over")
    net.move("vm", here, there)
    if kind == "stays":
        net.vm("abort", "vm", "--nve", net.names[here])
    elif kind == "comes back":
        leaves(net, "vm", here, pause_s)
        net.machines["vm"].plug(here)
        net.vm("abort", "vm", "--nve", net.names[here])
    else:
        leaves(net, "vm", here, pause_s)
        if kind == "authority dies":
            net.nva.kill()
        arrives(net, "vm", there, *chance.choice((("arp",), ("na",), ("rarp",), ("arp", "arp", "na"))))
        if kind == "authority dies":
            time.sleep(chance.choice((0, 1)))
            net.nva.start()
            # A move is refused while one of its nodes is not back.
            until(lambda: all(nve["session"] for nve in net.nva.ctl("nves")), "the nodes to be back")
        here = there
    told = lambda: net.vm("list", "--moves")  # noqa: E731
    until(lambda: not any(state in told() for state in ("detached", "spreading", "aborting", "prepar")), f"the end: {kind}")
    return here, kind


def test_random_moves_lose_nothing_and_leave_nothing_behind():
    chance = random.Random(SEED)
    with Lab("ilas") as lab:
        net = MoveNetwork(lab).start()
        sending = Sending(net, 200)
        here, done, end = "nve1", [], time.monotonic() + SECONDS
        while time.monotonic() < end:
            here, kind = one(net, chance, here)
            done.append(kind)
        expect(len(done) > 2, f"only {done}")
        at = {"nve1": ["task"], "nve2": ["local"]}
        at[here].append("vm")
        at_rest(net, at["nve1"], at["nve2"], ["peer", "blue"])
        try:
            sending.end()
        except Exception as why:
            raise type(why)(f"seed {SEED}: {done}\n{why}") from why
        net.stop()
