"""What every test and the demo say: this must be so, this must become so, packets were lost on the way."""

import shutil
import time

# How long a test waits for what must come. It is no claim of speed: what never comes fails, what comes late does not.
PATIENCE_S = 30


class Failed(Exception):
    """Something was not as it should be; the text says what."""


class Skipped(Exception):
    """This machine lacks what the test needs; the text says what."""


class Lost(Failed):
    """Packets did not arrive. `books.undisturbed` finds out who lost them."""

    def __init__(self, what, sent, arrived):
        super().__init__(f"{what}: {arrived} of {sent} arrived")
        self.sent, self.missing = sent, sent - arrived


class Disturbed(Failed):
    """What was seen says nothing about the node, and the text says how that is known."""


class Busy(Skipped):
    """This machine disturbed every attempt: nothing can be said of the node."""


def need(program):
    """Skips a test where `program` is not installed."""
    if not shutil.which(program):
        raise Skipped(f"{program} is not installed")


def expect(truth, what):
    """The one assertion of tests and demo."""
    if not truth:
        raise Failed(what)


def comes(true, timeout, step=0.05):
    """Waits until `true()` is, at most `timeout` seconds; its last value."""
    end = time.monotonic() + timeout
    while not (value := true()) and time.monotonic() < end:
        time.sleep(step)
    return value


def until(true, what, timeout=PATIENCE_S, step=0.05):
    """Waits until `true()` is, and fails after `timeout` seconds."""
    value = comes(true, timeout, step)
    expect(value, f"waited {timeout} s in vain for {what}")
    return value
