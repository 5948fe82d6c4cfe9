"""Debian's Prometheus scrapes a node, and promtool has nothing to object to."""

import json
import os
import re

from lab import Lab
from reference import T1, Network
from wait import expect, need, until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_promtool_has_no_objections():
    need("promtool")
    with Lab("ilai") as lab:
        net = Network(lab)
        net.inet.reaches(T1, 3)
        for node in net.nodes:
            text = node.ns.run("curl -sfg http://127.0.0.1:9464/metrics")
            done = node.ns.lab.host(node.ns.command("promtool check metrics"), check=False, stdin=text)
            expect(done.returncode == 0 and not done.stdout.strip(), f"{node.ns.name}:\n{done.stdout}")
        net.stop()


def test_prometheus_scrapes_and_answers():
    need("prometheus")
    with Lab("ilai") as lab:
        net = Network(lab)
        config = lab.path("prometheus.yml")
        with open(config, "w") as file:
            json.dump(
                {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                 "scrape_configs": [{"job_name": "ilagate", "static_configs": [{"targets": ["127.0.0.1:9464"]}]}]},
                file,
            )  # fmt: skip
        net.gw.ns.spawn(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={lab.path('tsdb')}",
             "--web.listen-address=127.0.0.1:9090", "--log.level=warn"]
        )  # fmt: skip

        def query(expression):
            words = ["curl", "-sg", "--data-urlencode", f"query={expression}", "http://127.0.0.1:9090/api/v1/query"]
            status, text = net.gw.ns.status(words)
            result = json.loads(text)["data"]["result"] if status == 0 and '"success"' in text else []
            # A scrape that came too late leaves a gap.
            return float(result[0]["value"][1]) if result else -1

        def asked(expression, right, what):
            until(lambda: right(query(expression)), what, step=0.5)

        forwarded = 'ilagate_packets_total{port="inet0",fate="forwarded"}'
        asked('up{job="ilagate"}', lambda value: value == 1, "Prometheus to scrape the node")
        before = net.gw.metrics()[f'ilagate_packets_total{{worker="0",port="inet0",fate="forwarded"}}']
        net.inet.reaches(T1, 50, interval=0.01)
        asked(forwarded, lambda value: value >= before + 50, "the pings to arrive in Prometheus")
        asked("sum(ilagate_mappings)", lambda value: value == 2, "the mappings in Prometheus")
        asked("sum(rate(ilagate_sent_packets_total[60s])) > 0", lambda value: value > 0, "a rate of packets")
        net.stop()


def test_the_dashboard_asks_for_what_is_there():
    with Lab("ilai") as lab:
        net = Network(lab)
        known = net.gw.ns.run("curl -sfg http://127.0.0.1:9464/metrics")
        with open(os.path.join(ROOT, "dpdk-config", "grafana-dashboard.json")) as file:
            asked = set(re.findall(r"\bilagate_[a-z_]+", json.dumps(json.load(file))))
        asked = {name for name in asked if not name.endswith("_")}
        missing = sorted(name for name in asked if name not in known)
        expect(asked and not missing, f"the dashboard asks for {missing}")
        net.stop()
