#!/usr/bin/python3
"""A hook of libvirt: who migrates a guest by `virsh migrate --live` moves its network attachments with it.

Install it as /etc/libvirt/hooks/qemu at every host, and write there, as /etc/ilagate/libvirt.json:

    {"nve": "nve2", "port": "access0", "ilactl": "/usr/bin/ilactl"}

the name of this host's NVE at the authority, the port of it to which guests are bridged, and the program. Where the
authority is, `ilactl` takes from its environment variables: "environment": {"ILACTL_NVA": "https://nva1:7700", …}.

An interface of a guest is an attachment of the authority if its alias says so:

    <interface type='bridge'> <vlan><tag id='22'/></vlan> <alias name='ua-ila-vm1'/> </interface>       attachment vm1

What happens (https://libvirt.org/hooks.html):

    at the new host    `migrate begin`         begins a hot move of each; if one cannot move, the guest does not either
                       `stopped end failed`    ends them: the guest goes on where it was
    at the old host    `stopped end migrated`  says that it has left

libvirt tells nobody before it pauses a guest. So what comes during the pause goes to the old host, and is lost, until QEMU
announces the guest at the new one, which ends the move. Who needs none lost drives QEMU as qemu_migrate.py does.
"""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as xml

CONFIG = os.environ.get("ILAGATE_LIBVIRT", "/etc/ilagate/libvirt.json")
ALIAS = "ua-ila-"


class Refused(Exception):
    """The text says what cannot be done."""


def config():
    try:
        with open(CONFIG) as file:
            read = json.load(file)
        return {"nve": read["nve"], "port": read["port"], "ilactl": read.get("ilactl", "ilactl"),
                "environment": read.get("environment", {})}  # fmt: skip
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as why:
        raise Refused(f"{CONFIG}: {type(why).__name__}: {why}; it has nve, port, and if need be ilactl, environment") from None


def ilactl(this, *words):
    """Runs `ilactl vm`; what it returns."""
    command = [this["ilactl"], "--json", "vm", *words]
    environment = dict(os.environ, **this["environment"])
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    except (OSError, subprocess.TimeoutExpired) as why:
        raise Refused(f"`{' '.join(command)}`: {why}") from None
    if done.returncode != 0:
        raise Refused(f"`{' '.join(command)}`: {(done.stderr or done.stdout).strip()}")
    return json.loads(done.stdout)


def attachments(domain):
    """Name and VLAN of each interface that is an attachment of the authority."""
    for interface in xml.fromstring(domain).iterfind("./devices/interface"):
        alias, tag = interface.find("alias"), interface.find("vlan/tag")
        name = alias.get("name", "") if alias is not None else ""
        if name.startswith(ALIAS):
            yield name.removeprefix(ALIAS), tag.get("id") if tag is not None else None


def moving(this, name):
    """The move of an attachment to this host, before it is over."""
    for vm in ilactl(this, "list", "--moves"):
        for move in vm["moves"]:
            if vm["name"] == name and move["to"] == this["nve"] and move["state"] in ("preparing", "prepared", "detached"):
                return move
    return None


def end(this, name):
    """The attachment stays where it was."""
    try:
        if move := moving(this, name):
            ilactl(this, "abort", "--id", str(move["id"]))
    except Refused as why:
        print(f"ilagate: {why}", file=sys.stderr)


def begin(this, names):
    begun = []
    try:
        for name, vlan in names:
            old = [vm["nve"] for vm in ilactl(this, "list") if vm["name"] == name and vm["nve"] != this["nve"]]
            if len(old) != 1:
                raise Refused(f"attachment {name} is at {', '.join(old) or 'no other NVE'}; it can come from one only")
            if not moving(this, name):
                begun.append(name)
            words = ["--vlan", vlan] if vlan else []
            ilactl(this, "move", name, "--from", old[0], "--to", this["nve"], "--port", this["port"], *words)
    except Refused:
        for name in begun:
            end(this, name)
        raise


def hook(operation, reason, domain):
    if operation not in ("migrate", "stopped"):
        return
    names = list(attachments(domain))
    if not names:
        return
    this = config()
    if operation == "migrate":
        begin(this, names)
        return
    for name, _ in names:
        if reason == "failed":
            end(this, name)
        if reason == "migrated":
            for vm in ilactl(this, "list", "--moves"):
                ours = [move for move in vm["moves"] if move["from"] == this["nve"] and move["state"] == "prepared"]
                if vm["name"] == name and ours:
                    ilactl(this, "detached", "--id", str(ours[0]["id"]))


def main():
    if len(sys.argv) < 4:
        sys.exit("usage: qemu GUEST OPERATION SUB-OPERATION [REASON] < its definition")
    _, _, operation, _, *reason = sys.argv
    domain = sys.stdin.read()
    try:
        hook(operation, reason[0] if reason else "-", domain)
    except (Refused, xml.ParseError) as why:
        sys.exit(f"ilagate: {why}")


if __name__ == "__main__":
    main()
