"""The page of the authority in a browser, what it keeps from whom, and `ilactl nva watch`."""

import ipaddress
import json
import os
import signal
import struct

from browser import Browser
from lab import Lab, binary
from nva import Authority, Pki
from wait import Failed, expect, need, until

DOMAINS = [{"name": "tasks", "prefix": "2001:db8:dddd::/64"}, {"name": "tenants", "prefix": "2001:db8:eeee::/64"}]
PAGE = "http://127.0.0.1:9466"
# As long as the name of an NVE may be, and longer than that of a network.
HOSTILE = "<img src=x onerror=hacked=1>\u202eevil\u2028"
LONG = f"<script>hacked=1</script>{HOSTILE}" + "x" * 3000
TENANT, TASK = "2001:db8:eeee:0:4000:64:a64:5", "2001:db8:dddd:0:2000::1"


def word(number, value):
    """A field of a message: text, bytes or a number."""
    if isinstance(value, int):
        return bytes([number << 3]) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return bytes([number << 3 | 2]) + varint(len(value)) + value


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def fixed(number, value):
    return bytes([number << 3 | 1]) + struct.pack("<Q", value)


def says(lab, nva, *messages):
    """An NVE that says this in a session, and ends it. What it says is wrong or right."""
    need("curl")
    file = lab.path(f"said-{lab.number()}")
    with open(file, "wb") as out:
        out.write(b"".join(b"\0" + struct.pack(">I", len(message)) + message for message in messages))
    lab.host(
        ["curl", "-sS", "--max-time", "10", "--http2-prior-knowledge", "--unix-socket", nva.socket, "-o", "/dev/null",
         "-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", f"@{file}",
         "http://nva/ilagate.nva.v1.Nva/Session"]
    )  # fmt: skip


def hello(name):
    return word(1, word(1, b"\1") + word(2, name))


def register(sir, locator):
    prefix, identifier = struct.unpack(">QQ", ipaddress.IPv6Address(sir).packed)
    at = struct.unpack(">Q", ipaddress.IPv6Address(locator).packed[:8])[0]
    key = fixed(1, prefix) + fixed(2, identifier)
    return word(2, word(1, 1) + word(2, key) + word(3, fixed(1, at) + word(3, 1)))


def network(name, vnid):
    ipv4 = [{"prefix": f"10.{vnid}.0.0/24", "gateway": f"10.{vnid}.0.1"}]
    return {"name": name, "vnid": vnid, "domain": "tenants", "ipv4": ipv4}


class Watched:
    """An authority with a page, and what operators and NVEs do there."""

    def __init__(self, lab, nves, page=PAGE, **config):
        self.lab, self.ns = lab, lab.ns("nva")
        self.nva = Authority(lab, self.ns, DOMAINS, nves)
        self.nva.config["page"] = {"listen": page}
        self.nva.config.update(config)
        self.nva.start()

    def operates(self, *words, entry=None, check=True):
        words = [binary("ilactl"), "nva", "--nva", self.nva.endpoint, *words]
        return self.lab.host(words, check, stdin=entry and json.dumps(entry)).stdout

    def registers(self, nve, sir, locator):
        """An NVE comes, registers and goes, perhaps before it is heard: then again."""

        def is_there():
            says(self.lab, self.nva, hello(nve), register(sir, locator))
            return any(record["sir"] == sir and record["locators"] for record in self.nva.ctl("records"))

        until(is_there, f"{sir} to be registered")

    def curl(self, path, *words, check=True):
        done = self.lab.host(self.ns.command(["curl", "-sS", "--max-time", "10", *words, path]), check)
        return done.stdout


def hostile(lab):
    """An authority with red, which has a tenant, and with what strangers said."""
    watched = Watched(lab, {"nve1": ["fd00:1::/64"], "nve2": ["fd00:2::/64"]})
    for locators in watched.nva.config["nves"]:
        locators["locators"].append({"prefix": locators["locators"][0]["prefix"].replace("::", ":0:9::"), "domain": "tenants"})
    watched.nva.reload()
    watched.operates("network", "add", "--file", "-", entry=network("red", 100))
    vm = {"name": "vm5", "port": "a", "mac": "02:00:00:00:00:05", "network": "red", "addresses": ["10.100.0.5"]}
    watched.operates("attachment", "add", "nve1", "--file", "-", entry=vm)
    watched.registers("nve1", TASK, "fd00:1::")
    watched.registers("nve1", TENANT, "fd00:1:0:9::")
    says(lab, watched.nva, hello("nve2"), register(TASK, "fd00:2::"))
    says(lab, watched.nva, hello(HOSTILE))
    attachment = {"name": "vm", "port": "a", "mac": "02:00:00:00:00:0a", "network": LONG, "addresses": ["10.0.0.9"]}
    watched.operates("attachment", "add", "nve1", "--file", "-", entry=attachment, check=False)
    return watched


def search(browser, text):
    """Writes into the search what is to be found, and nothing else."""
    browser.evaluate("document.querySelector('#grid').focus()")
    browser.key("/")
    browser.type(text)


def test_a_browser_shows_what_there_is_and_names_are_text():
    with Lab("ilaw") as lab:
        watched = hostile(lab)
        with Browser(lab, watched.ns) as browser:
            browser.open(PAGE)
            rows = lambda: browser.evaluate("[...document.querySelectorAll('.body .row')].map(row => row.textContent)")  # noqa: E731
            until(lambda: len(rows()) == 2, "the NVEs")
            expect(rows()[0].startswith("nve1away") and "fd00:1::/64" in rows()[0], rows())
            expect("nva1" in browser.text("#name") and "2" in browser.text("#facts"), browser.text("#facts"))
            # The keyboard: to the search and back, down the list, through the views.
            browser.key("/")
            expect(browser.evaluate("document.activeElement.id") == "search", "/ does not search")
            browser.type("nve2")
            until(lambda: len(rows()) == 1 and rows()[0].startswith("nve2"), "the one that is searched for")
            browser.key("Enter")
            expect(browser.evaluate("document.activeElement.id") == "grid" and "fd00:2::/64" in browser.text("#detail"), "no detail")
            ring = "document.activeElement.matches(':focus-visible')"
            expect(browser.evaluate(ring), "one does not see where the focus is")
            browser.key("/")
            browser.key("Escape")
            until(lambda: len(rows()) == 2, "all NVEs again")
            browser.evaluate("document.querySelector('[role=tab]').focus()")
            browser.key("ArrowRight")
            until(lambda: any(row.startswith("red100tenants") for row in rows()), "the network")
            browser.key("ArrowRight")
            view = lambda: browser.evaluate("document.querySelector('[role=tab][aria-selected=true]').textContent")  # noqa: E731
            until(lambda: view().startswith("Moves") and not rows(), "the moves, of which there is none")
            browser.key("ArrowRight")
            until(lambda: len(rows()) == 2, "the mappings")
            for text, found in (("nve1", 2), ("10.100.0.5", 1), ("red", 1), (TASK, 1), ("fd00:2::/64", 0), (HOSTILE, 0)):
                search(browser, text)
                note = "nothing is called so" if text == HOSTILE else ""
                done = lambda found=found, note=note: len(rows()) == found and browser.text("#note").startswith(note)  # noqa: E731
                until(lambda done=done: done() and browser.text("#note") != "", f"{found} mappings of {text}")
            # What happens is shown as it happens.
            browser.key("Escape")
            browser.evaluate("document.querySelectorAll('[role=tab]')[4].click()")
            until(lambda: any("session refused" in row for row in rows()), "what happened before")
            watched.operates("network", "add", "--file", "-", entry=network("blue", 101))
            until(lambda: "network blue" in rows()[0] and "the Unix socket" in rows()[0], "what happens now")
            # What a stranger said is text, and nothing of it runs.
            browser.key("/")
            for text, hostile_text in (("is no nve of this", HOSTILE), ("attachments[vm].network", LONG[:60])):
                search(browser, text)
                until(lambda: len(rows()) == 1, "what the stranger said")
                browser.key("Enter")
                said = browser.text("#detail")
                expect(hostile_text in said and len(said) < 2000, said)
            seen = "document.querySelectorAll('main script, main img, iframe').length + Number('hacked' in window)"
            expect(browser.evaluate(seen) == 0, "what a stranger said is more than text")
            # Light and dark: as the system says, or as one wants it.
            back = lambda: browser.evaluate("getComputedStyle(document.body).backgroundColor")  # noqa: E731
            shown = []
            for system in ("light", "dark"):
                browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": system}])
                shown.append(back())
            browser.click("#theme")
            shown.append(back())
            expect(shown[0] == shown[2] != shown[1], f"the page is {shown}")
            expect(browser.errors == [], f"the page fails: {browser.errors}")
        watched.nva.stop()


def test_a_thousand_nves_are_listed_without_delay():
    with Lab("ilaw") as lab:
        watched = Watched(lab, {f"nve{n}": [f"fd00:{n:x}::/64"] for n in range(1, 1001)})
        with Browser(lab, watched.ns) as browser:
            browser.open(PAGE)
            until(lambda: browser.evaluate("document.querySelector('#grid').getAttribute('aria-rowcount')") == "1001", "all NVEs")
            expect(browser.evaluate("document.querySelectorAll('.row').length") < 200, "rows that nobody sees are there")
            browser.evaluate("document.querySelector('#grid').focus()")
            browser.key("End")
            until(lambda: "nve999" in browser.text("#detail"), "the last one")
            # A walk through half of them: each step draws. Generous, for a machine that does other things.
            took_ms = browser.evaluate("""(() => {
                const grid = document.querySelector('#grid'), from = performance.now();
                for (let n = 0; n < 500; n++) {
                    grid.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowUp'}));
                    grid.getBoundingClientRect();
                }
                return performance.now() - from;
            })()""")
            expect("nve548" in browser.text("#detail") and took_ms < 20_000, f"{took_ms} ms for 500 steps")
            print(f"    {took_ms / 500:.1f} ms a step", flush=True)
            browser.key("/")
            browser.type("nve77")
            until(lambda: browser.text("#note") == "11 of 1,000", "those that hold it")
            expect(browser.errors == [], f"the page fails: {browser.errors}")
        watched.nva.stop()


def test_who_is_no_viewer_sees_nothing_and_a_viewer_of_one_network_sees_that_one():
    with Lab("ilaw") as lab:
        pki = Pki(lab)
        tls, _ = pki.issue("nva", "nva1")
        operators = [{"name": "alice"}, {"name": "rita", "networks": ["red"]}]
        nves = {"nve1": ["fd00:1::/64"], "nve2": ["fd00:2::/64"]}
        address = "https://127.0.0.1:9467"
        watched = Watched(lab, nves, address, tls=tls, operators=operators)
        for name, vnid in (("red", 100), ("blue", 101)):
            watched.operates("network", "add", "--file", "-", entry=network(name, vnid))
        watched.registers("nve1", TASK, "fd00:1::")

        who = (("nve", "nve1"), ("operator", "oscar"), ("operator", "alice"), ("operator", "rita"))
        files = {name: pki.issue(role, name)[0] for role, name in who}
        shows = lambda name: ["--cert", files[name]["certificate"], "--key", files[name]["key"], "-k"]  # noqa: E731

        def asks(path, name, *words):
            body, code = watched.curl(address + path, *shows(name), "-w", "\n%{http_code}", *words).rsplit("\n", 1)
            return int(code), body

        for name, why in (("nve1", "is no operator"), ("oscar", "is not among the operators")):
            code, body = asks("/status", name)
            expect(code == 403 and why in body, f"{name}: {code} {body}")
        try:
            watched.curl(address + "/status", "-k")
            raise AssertionError("somebody without a certificate is let in")
        except Failed as why:
            expect("alert" in str(why) or "reset" in str(why).lower() or "closed" in str(why).lower(), str(why))
        see = lambda path, name: json.loads(asks(path, name)[1])  # noqa: E731
        names = lambda list: [one["name"] for one in list]  # noqa: E731
        expect(names(see("/nves", "alice")["nves"]) == ["nve1", "nve2"], "a viewer does not see the NVEs")
        expect(names(see("/networks", "alice")["networks"]) == ["blue", "red"], "nor the networks")
        expect(len(see("/mappings?q=", "alice")["records"]) == 1, "nor the mappings")
        expect(see("/nves", "rita")["nves"] == [], "who sees red sees NVEs that have nothing of it")
        expect(names(see("/networks", "rita")["networks"]) == ["red"], "who sees red sees other networks")
        expect(see("/mappings?q=", "rita")["records"] == [], "who sees red sees mappings of tasks")
        # Not even whether something of that name is there.
        for hidden in ("blue", "nve1", "nve2"):
            what = {name: see(f"/mappings?q={hidden}", name)["what"] for name in ("alice", "rita")}
            expect(hidden in what["alice"] and what["rita"].startswith("nothing is called so"), str(what))
        expect("network red" in see("/mappings?q=red", "rita")["what"], "who sees red does not find red")
        expect(see("/status", "rita")["networks"] == ["red"], "rita is not told what she sees")
        reader = watched.ns.spawn(["curl", "-sS", "-N", "--max-time", "60", *shows("rita"), address + "/events"])
        reader.wait_for("network red")
        watched.operates("network", "del", "blue")
        watched.operates("network", "del", "red")
        reader.wait_for('"deleted"')
        told = [json.loads(line[6:]) for line in reader.output().splitlines() if line.startswith("data: ")]
        seen = {(event["kind"], event["object"]) for page in told for event in page["events"]}
        expect(seen == {("added", "network red"), ("deleted", "network red")}, f"who sees red hears of {seen}")
        # Who is no operator any more watches no longer.
        watched.nva.config["operators"] = operators[:1]
        watched.nva.reload()
        expect(reader.wait() == 0, reader.output())
        # By another name than its own, and by scripts of other sites.
        for words, why in ((["-H", "host: evil.example"], "is no name of this page"), (["-H", "sec-fetch-site: cross-site"], "another site")):
            code, body = asks("/nves", "alice", *words)
            expect(code == 403 and why in body, f"{words}: {code} {body}")
        expect(asks("/nves", "alice", "-X", "POST")[0] == 405, "it takes a POST")
        watched.nva.stop()


def test_an_operator_watches_what_happens_as_it_happens():
    with Lab("ilaw") as lab:
        watched = hostile(lab)
        words = [binary("ilactl"), "--json", "nva", "--nva", watched.nva.endpoint, "watch"]
        every = watched.ns.spawn([*words, "--since", "0"], dict(os.environ))
        red = watched.ns.spawn([*words, "--vn", "red"], dict(os.environ))
        every.wait_for("session_refused")
        # What is whole: the last line may be on its way.
        events = lambda process: [json.loads(line) for line in process.output().split("\n")[:-1]]  # noqa: E731
        until(lambda: watched.nva.log().count("network red") == 1 and len(events(every)) >= 14, "what happened before")
        kinds = [event["kind"] for event in events(every)]
        expect(kinds[0] == "started", kinds)
        for kind, times in (("added", 2), ("session_opened", 3), ("registered", 2), ("session_closed", 3), ("refused", 1),
                            ("session_refused", 1), ("change_refused", 1), ("reloaded", 1)):  # fmt: skip
            # An NVE may have come more than once.
            expect(kinds.count(kind) == times or kind.startswith("session_") and kinds.count(kind) > times, f"{kind}: {kinds}")
        refused = next(event for event in events(every) if event["kind"] == "refused")
        expect(refused["nve"] == "nve2" and refused["sir"] == TASK and "nve1" in refused["why"], refused)
        tenant = next(event for event in events(every) if event["networks"] == ["red"] and event["kind"] == "registered")
        expect(tenant["vnid"] == 100 and tenant["locators"][0]["locator"] == "fd00:1:0:9::/64", tenant)
        numbers = [event["number"] for event in events(every)]
        expect(numbers == sorted(numbers) and len(set(numbers)) == len(numbers), numbers)
        # Who watches red hears of red. It may not be there yet when the first one comes.
        def comes():
            watched.operates("release", TENANT, check=False)
            says(lab, watched.nva, hello("nve1"), register(TENANT, "fd00:1:0:9::"))
            return "registered" in red.output()

        until(comes, "who watches red to hear of its tenant")
        until(lambda: "released" in red.output(), "who watches red to hear of a release")
        heard = events(red)
        expect(all(event["networks"] == ["red"] for event in heard), heard)
        expect(any(event["kind"] == "released" and event["who"] == "the Unix socket" for event in heard), heard)
        expect(red.stop(signal.SIGINT) in (0, 130, -signal.SIGINT), red.output())
        # A new process of the authority goes on with higher numbers, and who watched sees that it went.
        watched.nva.stop()
        expect(every.wait() == 1, every.output())
        watched.nva.start()
        again = watched.ns.spawn([*words, "--since", str(max(numbers))], dict(os.environ))
        again.wait_for("started")
        expect(events(again)[0]["number"] > max(numbers), events(again))
        again.stop(signal.SIGINT)
        watched.nva.stop()
