"""The demo of virtual networks: two hosts, two networks with the same IPv4 addresses. See scripts/demo."""

import sys

import packets
from demo import right, run, show, step
from tenants import GATEWAY4, INET, SERVICE, TenantNetwork, datagram, ipv4, ipv6, transfer
from wait import expect


def on_the_wire(net, sender, title, to):
    """Pings once; shows the packets to a locator that the fabric carried."""
    wire = net.fab.capture("nve1", "ip6 and dst net fd00:1::/32")
    sender.reaches(to, 1)
    seen = packets.ipv6(wire.frames(at_least=2))
    expect(all(packet.checksum_is_right() for packet in seen), f"{title}: a wrong checksum on the wire")
    print(f"\n   {title}")
    for packet in seen[-2:]:
        print(f"     fabric    {packet.source} > {packet.destination}")
    right("answered; every checksum on the wire is right")


def demonstrate(lab):
    print(
        """
ilagate: tenants of virtual networks. vm1 and vm2 are in network red (VNID 100), vm3 and vm4 in blue (VNID 200), each
pair on two hosts; both networks use 10.0.0.1 and 10.0.0.2. Each tenant is an ordinary dual-stack Linux. Nothing is
encapsulated: IPv6 travels as type 3, IPv4 as type 2 identifiers under the locator of the host where the peer is."""
    )
    net = TenantNetwork(lab).start()
    vm1, vm3 = net.vms["vm1"], net.vms["vm3"]
    step("One network, two hosts", "Scenario 9 of the ILA draft by IPv6, scenario 10 by IPv4.")
    on_the_wire(net, vm1, f"vm1 pings vm2: {ipv6('vm1')} > {ipv6('vm2')}", ipv6("vm2"))
    on_the_wire(net, vm1, f"vm1 pings vm2: {ipv4('vm1')} > {ipv4('vm2')}", ipv4("vm2"))
    on_the_wire(net, vm3, "vm3 pings vm4 by the same IPv4 addresses, in the other network", ipv4("vm4"))
    step("TCP, and UDP in fragments")
    for family, address in (("AF_INET", ipv4("vm2")), ("AF_INET6", ipv6("vm2"))):
        transfer(vm1, net.vms["vm2"], address, family)
        right(f"300000 bytes by TCP from vm1 to {address}, and their checksum is right")
    datagram(vm1, net.vms["vm2"], ipv6("vm2"))
    right(f"5000 bytes in one datagram from vm1 to {ipv6('vm2')}")
    step("Neighbours", "ARP and ND are answered by the node with the gateway's MAC address; nothing is flooded.")
    show(vm1.run("ip neigh show dev eth0"))
    step(
        "A service task, and the Internet",
        "Scenarios 4 to 7. Red has policies for both, in both directions; blue has none.",
    )
    show(net.nve1.ctl("policy", "list"))
    vm1.reaches(SERVICE)
    net.service.reaches(ipv6("vm1"))
    right("vm1 and the service reach each other")
    net.vms["vm2"].reaches(INET)
    net.fab.reaches(ipv6("vm2"), extra=("-I", INET))
    right("vm2 and the Internet host reach each other")
    between(net)
    step("Traceroute by IPv4", f"What hosts and routers of the fabric have to say is said by the gateway, {GATEWAY4}.")
    show(vm1.traces(ipv4("vm2"), [GATEWAY4, GATEWAY4, GATEWAY4, ipv4("vm2")]))
    step("What is refused")
    for ns, to, what in (
        (vm1, ipv6("vm4"), "vm1 to vm4, in another network, when the policy is gone"),
        (vm3, SERVICE, "vm3, in blue, to the service"),
        (net.fab, ipv6("vm4"), "the Internet host to vm4, in blue"),
    ):
        refused(ns, to, what)
    vm3.run("ip addr add 10.0.0.66/24 dev eth0")
    vm3.silent(ipv4("vm4"), extra=("-I", "10.0.0.66"))
    net.nve1.counts("spoofed_source")
    right("vm3 with an address that is not its own")
    show(net.nve1.ctl("drops"))
    show(net.nve1.ctl("vn", "list"))
    net.stop()


def refused(ns, to, what):
    ns.refused(to, "prohibited")
    right(f"{what}: administratively prohibited")


def on_both(net, *words):
    for node in net.nodes:
        text = node.ctl(*words)
    print(f"   ilactl {' '.join(words)}")
    show(text)


def between(net):
    vm1, vm4 = net.vms["vm1"], net.vms["vm4"]
    step("Two networks", "Scenarios 11 and 12: nothing passes until an operator says so, each direction for itself.")
    refused(vm1, ipv6("vm4"), "vm1 in red to vm4 in blue")
    on_both(net, "policy", "add", "red", "blue")
    on_both(net, "policy", "add", "blue", "red")
    vm1.reaches(ipv6("vm4"))
    transfer(vm1, vm4, ipv6("vm4"), "AF_INET6")
    right("vm1 and vm4 reach each other by IPv6, ping and TCP")
    on_both(net, "peer", "add", "red", "10.0.0.204", "--to", ipv4("vm4"), "--of", "blue")
    on_both(net, "peer", "add", "blue", "10.0.0.201", "--to", ipv4("vm1"), "--of", "red")
    vm1.reaches("10.0.0.204")
    transfer(vm1, vm4, "10.0.0.204", "AF_INET", listen_at=(ipv4("vm4"), "AF_INET"))
    right(f"and by IPv4: vm4, {ipv4('vm4')} in blue, is 10.0.0.204 to vm1")
    on_both(net, "policy", "del", "red", "blue")


if __name__ == "__main__":
    sys.exit(run(demonstrate))
