"""Tenants of virtual networks: ordinary Linux stacks, dual stack, on two hosts."""

import packets
from lab import Lab
from tenants import ANYCAST, GATEWAY4, INET, L1, L2, LG, SERVICE, TenantNetwork, datagram, gateway6, ipv4, ipv6, transfer
from wait import expect, need, until


def test_tenants_of_one_network_reach_each_other_by_ipv6_and_ipv4():
    with Lab("ilat") as lab:
        net = TenantNetwork(lab).start()
        vm1, vm2 = net.vms["vm1"], net.vms["vm2"]
        vm1.reaches(ipv6("vm2"))
        wire = net.fab.capture("nve1", "ip6 and dst net fd00:1::/32")
        vm1.reaches(ipv4("vm2"))
        seen = packets.ipv6(wire.frames(at_least=2))
        # Scenario 10: SIR:(VNI1:VA1), L2:(VNI1:VA2), and the checksum is right on the wire.
        expect(any(p.source == "2001:db8:dddd:0:4000:64:a00:1" and p.destination.startswith("fd00:1:0:2:5000:64:a00:")
                   for p in seen), [p.addresses() for p in seen])  # fmt: skip
        expect(all(p.checksum_is_right() for p in seen), "a wrong checksum on the wire")
        for family, address in (("AF_INET", ipv4("vm2")), ("AF_INET6", ipv6("vm2"))):
            transfer(vm1, vm2, address, family)
        # The neighbour caches know the gateway's MAC address and no other.
        neighbours = vm1.run("ip neigh show dev eth0 nud reachable nud stale nud delay nud probe")
        expect("02:00:5e:00:00:01" in neighbours and "02:00:00:00:02:02" not in neighbours, neighbours)
        net.stop()


def test_a_tenant_learns_its_router_and_hears_of_its_end():
    need("rdisc6")
    with Lab("ilat") as lab:
        net = TenantNetwork(lab).start()
        said = {}
        for vm in ("vm1", "vm2"):
            status, said[vm] = net.vms[vm].status("rdisc6 -1 -w 10000 eth0")
            expect(status == 0 and ANYCAST.upper() in said[vm].upper(), f"{vm}:\n{said[vm]}")
        # The one is on another host than the other.
        expect(said["vm1"] == said["vm2"], f"{said['vm1']}\n{said['vm2']}")
        made = net.vms["vm1"].run("ip -6 addr show dev eth0 dynamic").strip()
        expect(made == "", f"an address was made from the advertisement: {made}")
        net.stop()
        for vm in ("vm1", "vm2"):
            until(lambda: net.vms[vm].run("ip -6 route show default").strip() == "", "the router to be forgotten")


def test_fragments():
    """By IPv6 only: net_af_packet lets the kernel put IPv4 fragments together (PACKET_FANOUT_FLAG_DEFRAG) and hands
    over what no frame holds, and ICMP in IPv4 fragments is translated by nobody (RFC 7915 1.2). See tests/tenants.rs.
    """
    with Lab("ilat") as lab:
        net = TenantNetwork(lab).start()
        net.vms["vm1"].reaches(ipv6("vm2"), extra=("-s", 2800))
        net.stop()


def test_networks_with_the_same_addresses_never_meet():
    with Lab("ilat") as lab:
        net = TenantNetwork(lab).start()
        red, blue = net.vms["vm2"], net.vms["vm4"]
        wires = {ns.name: ns.capture("eth0", "icmp or (icmp6 and ip6[40] == 128)") for ns in (red, blue)}
        net.vms["vm1"].reaches("10.0.0.2")
        got = {red.name: len(wires[red.name].frames(at_least=6)), blue.name: len(wires[blue.name].frames())}
        expect(got[blue.name] == 0, got)
        # By IPv6 the other network is known by address, and refused with administratively prohibited.
        for vm, other in (("vm1", "vm4"), ("vm3", "vm2")):
            net.vms[vm].refused(ipv6(other), "prohibited")
        expect(net.nve1.counts("no_policy", 2) == 2, net.nve1.drops())
        net.stop()


def test_tenants_services_and_the_internet():
    with Lab("ilat") as lab:
        net = TenantNetwork(lab).start()
        net.vms["vm1"].reaches(SERVICE)
        net.service.reaches(ipv6("vm1"))
        net.vms["vm2"].reaches(INET)
        net.fab.reaches(ipv6("vm2"), extra=("-I", INET))
        net.stop()


def test_what_no_policy_names_is_refused_and_what_an_operator_adds_passes():
    with Lab("ilat") as lab:
        net = TenantNetwork(lab).start()
        vm3, service = net.vms["vm3"], net.service
        for ns, to in ((vm3, SERVICE), (vm3, INET), (service, ipv6("vm3"))):
            ns.refused(to, "prohibited")
        # One direction lets the question through, and no answer.
        for node in net.nodes:
            node.ctl("policy", "add", "blue", SERVICE)
        wire = service.capture("eth0", "icmp6 and ip6[40] == 128")
        vm3.silent(SERVICE)
        expect(len(wire.frames(at_least=1)) == 1, "the question did not reach the service once")
        for node in net.nodes:
            node.ctl("policy", "add", SERVICE, "blue")
        vm3.reaches(SERVICE)
        # By IPv4 the service needs an address in the network.
        # An address that nobody has.
        vm3.silent("10.0.0.200")
        for node in net.nodes:
            node.ctl("peer", "add", "blue", "10.0.0.200", "--to", SERVICE)
        transfer(vm3, service, "10.0.0.200", "AF_INET", listen_at=(SERVICE, "AF_INET6"))
        for node in net.nodes:
            node.ctl("node", "reload")
            node.ctl("policy", "del", "blue", SERVICE)
        vm3.refused(SERVICE, "prohibited")
        counters = lambda: net.nve1.show("vn", "get", "blue")["counters"]  # noqa: E731
        least = {"from_tenants": 6, "to_tenants": 6, "dropped": 3}
        until(lambda: all(counters()[name] >= count for name, count in least.items()), f"counters of blue: {least}")
        net.stop()


def test_tenants_of_two_networks_meet_by_policy():
    """Scenarios 11 and 12, with TCP in both families."""
    both = [{"from": "red", "to": "blue"}, {"from": "blue", "to": "red"}]
    with Lab("ilat") as lab:
        net = TenantNetwork(lab, policies=both).start()
        vm1, vm4 = net.vms["vm1"], net.vms["vm4"]
        vm1.reaches(ipv6("vm4"))
        transfer(vm1, vm4, ipv6("vm4"), "AF_INET6")
        for node in net.nodes:
            node.ctl("peer", "add", "red", "10.0.0.204", "--to", ipv4("vm4"), "--of", "blue")
            node.ctl("peer", "add", "blue", "10.0.0.201", "--to", ipv4("vm1"), "--of", "red")
        # vm4 by its mapped address.
        vm1.reaches("10.0.0.204")
        transfer(vm1, vm4, "10.0.0.204", "AF_INET", listen_at=(ipv4("vm4"), "AF_INET"))
        # Tasks and the Internet have no policy here.
        vm1.refused(SERVICE, "prohibited")
        net.stop()


def test_what_a_policy_sends_through_a_gateway_passes_there_and_nowhere_else():
    """A node without tenants turns packets round in its one port, within TCP of both families."""
    through = [{"from": "red", "to": "blue", "via": LG}, {"from": "blue", "to": "red", "via": LG}]

    def tell(node, policies):
        node.config["policies"] = policies
        node.reload()

    with Lab("ilat") as lab:
        net = TenantNetwork(lab, policies=[], gateway=True).start()
        vm1, vm3, vm4 = net.vms["vm1"], net.vms["vm3"], net.vms["vm4"]
        vm1.refused(ipv6("vm4"), "prohibited")
        for node in net.nodes:
            tell(node, through)
        for node in net.nodes:
            node.ctl("peer", "add", "red", "10.0.0.204", "--to", ipv4("vm4"), "--of", "blue")
            node.ctl("peer", "add", "blue", "10.0.0.201", "--to", ipv4("vm1"), "--of", "red")
        # Neighbours are known before anything is counted.
        vm1.reaches(ipv6("vm4"))
        turned = net.fab.capture("gw", "ip6 and dst net fd00:1::/32")
        straight = [net.fab.capture("nve1", f"ip6 and dst net {L2}"), net.fab.capture("nve2", f"ip6 and dst net {L1}")]
        vm1.reaches(ipv6("vm4"))
        # vm4 by its mapped address.
        vm1.reaches("10.0.0.204")
        # Even between tenants of one host.
        vm1.reaches(ipv6("vm3"))
        seen = packets.ipv6(turned.frames(at_least=36))
        expect(all(p.checksum_is_right() for p in seen), "a wrong checksum on the wire")
        came = [p for p in seen if p.destination.startswith("fd00:1:0:8:")]
        left = [p for p in seen if not p.destination.startswith("fd00:1:0:8:")]
        expect(len(left) >= 18, (len(came), len(left)))
        # Types 3 and 2 with the receiver's VNID. Each comes out as it came in, one hop on,
        # under the receiver's locator.
        for start in ("fd00:1:0:8:7000:c8:", "fd00:1:0:8:5000:c8:", "fd00:1:0:8:7000:64:", "fd00:1:0:8:5000:64:"):
            expect(any(p.destination.startswith(start) for p in came), (start, [p.addresses() for p in came]))
        arrived = {(p.source, p.payload, p.hop_limit - 1) for p in came}
        expect(all((p.source, p.payload, p.hop_limit) in arrived for p in left), [p.addresses() for p in seen])
        ours, theirs = net.gw.ns.mac("fab"), net.fab.mac("gw")
        expect(all(p.to_mac() == ours for p in came) and all(p.to_mac() == theirs for p in left), "another port")
        transfer(vm1, vm4, ipv6("vm4"), "AF_INET6")
        transfer(vm1, vm4, "10.0.0.204", "AF_INET", listen_at=(ipv4("vm4"), "AF_INET"))
        transfer(vm4, vm1, ipv6("vm1"), "AF_INET6")
        transfer(vm1, vm3, ipv6("vm3"), "AF_INET6")
        expect([len(wire.frames()) for wire in straight] == [0, 0], "packets beside the gateway")
        # What Linux stacks say to everybody on a link is nobody's loss.
        expect(net.gw.drops().keys() <= {"multicast", "nd_not_for_us"}, net.gw.drops())

        # The gateway that is told nothing sends nothing on, whatever the hosts send it.
        tell(net.gw, through[1:])
        vm1.refused(ipv6("vm4"), "ddress unreachable")
        expect(net.gw.counts("not_local") == 1, net.gw.drops())
        # Nor by IPv4.
        vm1.silent("10.0.0.204")
        net.gw.ctl("policy", "add", "red", "blue", "--via", LG)
        vm1.reaches(ipv6("vm4"))
        # Nor does a host that is told nothing send anything to it.
        at_gateway = net.fab.capture("gw", "ip6 and dst net fd00:1::/32")
        tell(net.nve1, through[1:])
        vm1.refused(ipv6("vm4"), "prohibited")
        expect(net.nve1.counts("no_policy", 2) == 2, net.nve1.drops())
        vm1.silent("10.0.0.204")
        expect(not at_gateway.frames(), "a packet without a policy came to the gateway")
        net.stop()


def test_datagrams_in_fragments():
    with Lab("ilat") as lab:
        net = TenantNetwork(lab).start()
        datagram(net.vms["vm1"], net.vms["vm2"], ipv6("vm2"))
        net.stop()


def test_the_gateway_and_traceroute_in_both_families():
    need("traceroute")
    with Lab("ilat") as lab:
        net = TenantNetwork(lab).start()
        vm1 = net.vms["vm1"]
        vm1.reaches(GATEWAY4)
        vm1.reaches(gateway6("red"))
        # Two hosts and a router, then vm2. The first one speaks as the gateway of the network.
        vm1.traces(ipv4("vm2"), [GATEWAY4, GATEWAY4, GATEWAY4, ipv4("vm2")])
        vm1.traces(ipv6("vm2"), [gateway6("red"), None, None, ipv6("vm2")])
        net.stop()


def test_path_mtu_by_ipv4():
    """The fabric carries 1500 bytes, so a tenant's packets may have 1480: TCP must find out."""
    with Lab("ilat") as lab:
        net = TenantNetwork(lab, fabric_mtu=1500).start()
        vm1, vm2 = net.vms["vm1"], net.vms["vm2"]
        text = vm1.refused(ipv4("vm2"), "mtu", extra=("-s", 1472, "-M", "do"))
        expect("mtu = 1480" in text or "mtu=1480" in text, text)
        transfer(vm1, vm2, ipv4("vm2"), "AF_INET")
        net.stop()


def test_duplicate_addresses_and_arping():
    need("arping")
    with Lab("ilat") as lab:
        net = TenantNetwork(lab).start()
        vm1 = net.vms["vm1"]
        status, text = vm1.status(["arping", "-c", 1, "-w", 10, "-I", "eth0", ipv4("vm2")])
        expect(status == 0 and "02:00:5e:00:00:01" in text.lower(), f"arping a peer:\n{text}")
        status, text = vm1.status(["arping", "-c", 1, "-w", 1, "-I", "eth0", "10.0.0.77"])
        expect(status != 0, f"an answer for nobody:\n{text}")
        vm1.run(f"ip -6 addr add {ipv6('vm2')}/96 dev eth0")
        until(lambda: "dadfailed" in vm1.run("ip -6 addr show dev eth0"), "the duplicate to be noticed")
        net.stop()


def test_a_tenant_cannot_speak_for_another():
    with Lab("ilat") as lab:
        net = TenantNetwork(lab).start()
        vm3 = net.vms["vm3"]
        vm3.run("ip addr add 10.0.0.66/24 dev eth0")
        vm3.silent("10.0.0.2", extra=("-I", "10.0.0.66"))
        net.nve1.counts("spoofed_source")
        before = net.nve1.drops()["spoofed_source"]
        vm3.run("ip -6 addr add 2001:db8:b::66/96 dev eth0 nodad")
        vm3.silent(ipv6("vm4"), extra=("-I", "2001:db8:b::66"))
        net.nve1.counts("spoofed_source", 1, before)
        vm3.run("ip link set eth0 address 02:00:00:00:02:01")
        vm3.silent("10.0.0.2")
        net.nve1.counts("unknown_tenant")
        net.stop()


# What a listener does: joins, and tells of one datagram from whom it came.
LISTEN = """
import socket, struct, sys
group, port = sys.argv[1], int(sys.argv[2])
if ":" in group:
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(("::", port))
    index = socket.if_nametoindex("eth0")
    request = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
else:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", port))
    if group.startswith("239"):
        request = socket.inet_aton(group) + socket.inet_aton(sys.argv[3])
        s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
print("listening", flush=True)
data, whom = s.recvfrom(100)
print("got", data.decode(), whom[0], flush=True)
s.recvfrom(100)
"""
SEND = """
import socket, sys
group, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET6 if ":" in group else socket.AF_INET, socket.SOCK_DGRAM)
if ":" in group:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 8)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("eth0"))
else:
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 8)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[3]))
s.sendto(b"hello", (group, port))
"""


def test_multicast_and_broadcast_reach_the_network_and_no_other():
    with Lab("ilat") as lab:
        net = TenantNetwork(lab).start()
        vm1 = net.vms["vm1"]
        vm1.reaches(ipv6("vm2"))
        wire = net.fab.capture("nve1", "ip6 dst net fd00:1::/32")
        for n, group in enumerate(("239.1.2.3", "ff05::1234", "10.0.0.255", "255.255.255.255")):
            port = 7100 + n
            red, blue = (
                net.vms[vm].spawn(["/usr/bin/python3", "-c", LISTEN, group, port, ipv4(vm)]) for vm in ("vm2", "vm4")
            )
            red.wait_for("listening")
            blue.wait_for("listening")
            sender = ipv6("vm1") if ":" in group else ipv4("vm1")

            def heard():
                vm1.run(["/usr/bin/python3", "-c", SEND, group, port, ipv4("vm1")])  # noqa: B023
                return f"got hello {sender}" in red.output()  # noqa: B023

            until(heard, f"vm2 to hear {group}", step=0.3)
            expect("got" not in blue.output(), f"{group} came to another network: {blue.output()}")
            red.stop()
            blue.stop()
        seen = packets.ipv6(wire.frames(at_least=4))
        # Type 4 with the VNID, and type 2 with the group's address: the C-bit is set, and the low word keeps the sum.
        for start in ("fd00:1:0:2:9000:64:5000:", "fd00:1:0:2:5000:64:ef01:"):
            copies = [p for p in seen if p.destination.startswith(start)]
            expect(copies and all(p.checksum_is_right() for p in copies), (start, [p.addresses() for p in seen]))
        # The books hold with the copies, once they are at rest.
        def books():
            samples = net.nve1.metrics()
            total = lambda start: sum(v for k, v in samples.items() if k.startswith(f"ilagate_{start}"))  # noqa: E731
            fates = {k: v for k, v in samples.items() if k.startswith("ilagate_packets_total{")}
            made = sum(v for k, v in fates.items() if 'fate="forwarded"' in k or 'fate="replied"' in k)
            copies = total("copied_packets_total")
            sent = total("sent_packets_total") + total("unsent_packets_total")
            return copies >= 4 and made + copies + total("originated_packets_total") == sent

        until(books, "forwarded + replied + copied + originated = sent + unsent")
        net.stop()


def test_checksums_that_a_kernel_left_to_its_device_are_counted_and_told_of():
    """Pings pass, because the kernel finishes them itself; TCP and UDP do not, and the node says why."""
    with Lab("ilat") as lab:
        net = TenantNetwork(lab).start()
        counted, vm1 = 'ilagate_unfinished_checksums_total{port="access0"}', net.vms["vm1"]

        def send():
            for family, address in (("AF_INET", ipv4("vm2")), ("AF_INET6", ipv6("vm2"))):
                sends = f"socket.socket(socket.{family}, socket.SOCK_DGRAM).sendto(b'data', ('{address}', 9))"
                vm1.run(["/usr/bin/python3", "-c", f"import socket; {sends}"])

        for _ in range(5):
            send()
        expect(net.nve1.metrics()[counted] == 0, "right ones are counted")
        vm1.run("ethtool -K eth0 tx on")

        def is_told():
            send()
            return net.nve1.metrics()[counted] > 0 and "ethtool -K DEV tx off" in net.nve1.log()

        until(is_told, "the node to count and tell of it")
        net.stop()
