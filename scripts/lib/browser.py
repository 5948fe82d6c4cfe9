"""A browser without a window, driven over a pipe by the DevTools protocol: JSON messages that end with a zero byte."""

import fcntl
import json
import os
import select
import subprocess
import time

from wait import PATIENCE_S, Failed, expect, need, until

# The file descriptors on which Chromium hears and answers.
HEARS, ANSWERS = 3, 4
# Keys by name: code and number.
KEYS = {"ArrowDown": 40, "ArrowUp": 38, "ArrowRight": 39, "End": 35, "Home": 36, "Enter": 13, "Escape": 27, "Tab": 9}


class Browser:
    """Chromium in a namespace, with one page open. What goes wrong in the page is kept in `errors`."""

    def __init__(self, lab, ns):
        need("chromium")
        command = ns.command(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--no-first-run",
             f"--user-data-dir={lab.path('chromium')}", "--remote-debugging-pipe", "about:blank"]
        )  # fmt: skip
        hears, self._to = os.pipe()
        self._from, answers = os.pipe()
        # Out of the way of the numbers that they will have.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (hears, answers)]

        def prepare():
            os.dup2(ends[0], HEARS)
            os.dup2(ends[1], ANSWERS)

        with open(lab.path("chromium.out"), "w") as out:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, close_fds=False,
                env={**os.environ, "HOME": lab.path("chromium")}, preexec_fn=prepare,
            )  # fmt: skip
        for end in (hears, answers, *ends):
            os.close(end)
        self._count, self._unread, self._session, self.errors = 0, b"", None, []
        pages = self.call("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._to)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE_S)
        os.close(self._from)

    def _read(self, end):
        """The next message."""
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._from], [], [], max(0, end - time.monotonic()))
            part = os.read(self._from, 1 << 20) if ready else b""
            expect(part, "the browser does not answer")
            self._unread += part
        message, self._unread = self._unread.split(b"\0", 1)
        message = json.loads(message)
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(message["params"]["exceptionDetails"]))
        if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.errors.append(message["params"]["entry"]["text"])
        return message

    def call(self, method, **params):
        """Has the browser do something; its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + 2 * PATIENCE_S
        while True:
            answer = self._read(end)
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise Failed(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, url):
        """Goes to a page, and waits until it says that it is ready."""
        self.call("Page.navigate", url=url)
        until(lambda: self.evaluate("document.body && document.body.dataset.ready === 'yes'"), f"{url} to be ready")

    def evaluate(self, script):
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise Failed(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def text(self, selector):
        """All text of an element, and nothing of one that is not there."""
        return self.evaluate(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''")

    def key(self, name):
        """Presses a key."""
        code = KEYS.get(name, ord(name[0]))
        key = {"key": name, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="rawKeyDown", **key)
        if len(name) == 1:
            self.call("Input.dispatchKeyEvent", type="char", text=name, **key)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def type(self, text):
        """Writes into what has the focus."""
        self.call("Input.insertText", text=text)

    def click(self, selector):
        """Clicks what a selector finds."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")
