"""The courier: from the outbox to the sink, whatever the sink, the database and processes do."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imbox_plugin.events import LEASE, Courier
from imbox_plugin.model import Event
from imbox_plugin.outbox import Counts, Outbox, OutboxError
from imbox_plugin.seals import Seal
from imbox_plugin.sinks import SinkContext, SinkError
from imbox_plugin.sinks.http_post import HttpSink
from imbox_plugin.sinks.log import LogSink
from tests.databases import DATABASES, own_database
from tests.demo import ROOT
from tests.loopback import answering, serving
from tests.mailbox import HANGS, Mailbox
from tests.servers import until
from tests.test_outbox import SECRET, Clock, event


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def outbox(tmp_path, clock):
    outbox = Outbox(tmp_path / "events.db", tmp_path, Seal([SECRET], "events"), clock=clock)
    yield outbox
    outbox.close()


@pytest.fixture
def courier(outbox):
    """A courier of the outbox; its thread, if it was started, ends with the test."""
    couriers = []

    def courier(sink, attempts=16, **options):
        couriers.append(Courier(outbox, sink, attempts, **options))
        return couriers[-1]

    yield courier
    for one in couriers:
        one.stop()


def rows(outbox):
    with outbox._connection() as db:  # noqa: SLF001
        return db.exec_driver_sql("SELECT * FROM imbox_events").all()


# --- one attempt after the other ------------------------------------------------------------------


def test_an_event_is_delivered_and_forgotten(outbox, courier):
    mailbox = Mailbox()
    outbox.accept(event())

    assert [courier(mailbox).deliver_next() for _ in "ab"] == [True, False]
    assert mailbox.events == [event()]
    assert outbox.counts() == Counts(settled=1)


def test_a_sink_that_is_down_for_a_while_gets_the_event_later(outbox, courier, clock):
    mailbox = Mailbox(SinkError("down"), SinkError("still down"))
    one = courier(mailbox)
    outbox.accept(event())
    while outbox.counts().waiting:
        one.deliver_next()
        clock.now += 60

    assert (mailbox.tried, mailbox.events) == (3, [event()])


@pytest.mark.parametrize("dice", [0.0, 1.0])
def test_the_waits_between_attempts_grow_up_to_six_hours(outbox, courier, clock, dice):
    one = courier(Mailbox(*[SinkError("down")] * 11), dice=lambda: dice)
    outbox.accept(event())
    waits = []
    for _ in range(11):
        one.deliver_next()
        since = clock.now
        (due,) = [row.due for row in rows(outbox)]
        clock.now = due
        waits.append(clock.now - since)

    longest = [5, 15, 45, 135, 405, 1215, 3645, 10935, 21600, 21600, 21600]
    assert waits == pytest.approx([wait * (1 + dice) / 2 for wait in longest], abs=0.5)


def test_a_receiver_that_asks_for_time_gets_it(outbox, courier, clock):
    mailbox = Mailbox(SinkError("busy", wait=1000))
    one = courier(mailbox)
    outbox.accept(event())
    one.deliver_next()
    clock.now += 999
    early = one.deliver_next()
    clock.now += 2

    assert (early, one.deliver_next()) == (False, True)


def test_a_receiver_that_asks_for_a_year_gets_six_hours(outbox, courier, clock):
    one = courier(Mailbox(SinkError("busy", wait=365 * 86_400)))
    outbox.accept(event())
    one.deliver_next()
    clock.now += 6 * 3600

    assert one.deliver_next()


def test_after_the_last_attempt_it_is_a_dead_letter(outbox, courier, clock, caplog):
    one = courier(Mailbox(*[SinkError("down")] * 9), attempts=3)
    outbox.accept(event())
    for _ in range(5):
        one.deliver_next()
        clock.now += 86_400
    (letter,) = outbox.dead()

    assert (letter.attempts, letter.failure) == (3, "down")
    assert "an event is a dead letter after 3 attempts: down" in caplog.text


def test_what_is_refused_for_good_is_a_dead_letter_at_once(outbox, courier):
    outbox.accept(event())
    courier(Mailbox(SinkError("gone", permanent=True))).deliver_next()

    assert [letter.attempts for letter in outbox.dead()] == [1]


def test_what_its_processes_do_not_survive_is_a_dead_letter_after_the_last_attempt(
    outbox, courier, clock
):
    mailbox = Mailbox()
    outbox.accept(event())
    for _ in range(3):
        outbox.claim(LEASE)
        clock.now += LEASE + 1
    courier(mailbox, attempts=3).deliver_next()
    (letter,) = outbox.dead()

    assert mailbox.tried == 0
    assert letter.failure == "the last attempt ended with its process; see the sink's code"


def test_a_sink_that_breaks_is_a_failure_whose_words_are_not_repeated(outbox, courier, caplog):
    outbox.accept(event())
    courier(Mailbox(ValueError("canary4711")), attempts=1).deliver_next()
    (letter,) = outbox.dead()

    assert letter.failure == "ValueError in the sink; see its code"
    assert "canary4711" not in caplog.text


def test_what_is_delivered_while_the_database_is_gone_is_delivered_again(outbox, courier, clock):
    mailbox = Mailbox()
    one = courier(mailbox)
    outbox.accept(event())
    settle, outbox.settle = outbox.settle, lambda _: (_ for _ in ()).throw(OutboxError("gone"))
    with pytest.raises(OutboxError):
        one.deliver_next()
    outbox.settle = settle
    clock.now += LEASE + 1
    one.deliver_next()

    assert mailbox.keys == ["m-1", "m-1"]


# --- the thread -----------------------------------------------------------------------------------


def test_an_accepted_event_is_delivered_without_waiting_for_the_next_look(courier):
    mailbox = Mailbox()
    one = courier(mailbox, idle=3600)
    told = [one.accept(event()), one.accept(event())]
    mailbox.wait(lambda box: box.events)

    assert told == [True, False]
    assert mailbox.keys == ["m-1"]


def test_what_an_earlier_process_left_is_delivered_at_the_start(outbox, courier):
    outbox.accept(event())
    mailbox = Mailbox()
    courier(mailbox).start()
    mailbox.wait(lambda box: box.events)

    assert mailbox.events == [event()]


def test_accepting_does_not_wait_for_a_sink_that_is_slow(courier):
    mailbox = Mailbox()
    mailbox.is_shut = True
    one = courier(mailbox)
    for number in range(20):
        one.accept(event(f"m-{number}"))
    mailbox.wait(lambda box: box.tried)
    delivered = len(mailbox.events)
    mailbox.open()
    mailbox.wait(lambda box: len(box.events) == 20)

    assert delivered == 0


def test_a_stop_waits_for_the_delivery_under_way_and_begins_no_other(outbox, courier):
    mailbox = Mailbox()
    mailbox.is_shut = True
    one = courier(mailbox)
    one.accept(event("first"))
    mailbox.wait(lambda box: box.tried)
    one.accept(event("second"))
    one._stopping.set()  # noqa: SLF001
    mailbox.open()
    one.stop()

    assert mailbox.keys == ["first"]
    assert outbox.counts() == Counts(waiting=1, settled=1)


def test_after_a_stop_events_are_still_kept(outbox, courier):
    mailbox = Mailbox()
    one = courier(mailbox)
    one.stop()
    one.accept(event())

    assert outbox.counts().waiting == 1
    assert mailbox.tried == 0


def test_a_database_that_is_gone_for_a_while_stops_no_courier(outbox, courier, caplog):
    claim, mailbox = outbox.claim, Mailbox()
    outbox.claim = lambda _: (_ for _ in ()).throw(OutboxError("gone"))
    one = courier(mailbox, idle=0.01)
    outbox.accept(event())
    one.start()
    until(lambda: caplog.text.count("not delivered now (OutboxError)") > 1)
    outbox.claim = claim
    mailbox.wait(lambda box: box.events)

    assert mailbox.events == [event()]


def test_what_was_kept_for_long_enough_is_forgotten_while_the_server_runs(
    outbox, courier, clock, caplog
):
    outbox.accept(event())
    outbox.fail(outbox.claim(LEASE), "no", None)
    clock.now += 31 * 86_400
    courier(Mailbox()).start()
    until(lambda: outbox.counts().dead == 0)
    until(lambda: "1 dead letters were kept for long enough" in caplog.text)


def test_a_courier_that_was_built_before_a_fork_delivers_after_it(tmp_path):
    script = FORKED.format(secret=SECRET, folder=str(tmp_path))
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=ROOT,
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout) == (0, "delivered by the child\n")


#: a courier that was built before the fork, as by gunicorn --preload
FORKED = """
import os, sys, time
from pathlib import Path
from imbox_plugin.events import Courier
from imbox_plugin.model import Event
from imbox_plugin.outbox import Outbox
from imbox_plugin.seals import Seal
from imbox_plugin.sinks import EventSink, SinkContext

parent = os.getpid()
delivered = []

class Telling(EventSink):
    def deliver(self, event):
        delivered.append("parent" if os.getpid() == parent else "child")

outbox = Outbox(Path({folder!r}) / "events.db", Path(), Seal([{secret!r}], "events"))
courier = Courier(outbox, Telling({{}}, SinkContext()), idle=3600)
if os.fork() == 0:
    courier.accept(Event("p", "l", "t", {{}}, "k"))
    end = time.monotonic() + 20
    while not delivered and time.monotonic() < end:
        time.sleep(0.01)
    print(f"delivered by the {{delivered[0]}}", flush=True)
    os._exit(0)
_, status = os.wait()
sys.exit(os.waitstatus_to_exitcode(status))
"""


# --- several processes ----------------------------------------------------------------------------

#: a process of the server: its courier writes to a file, once the file `open` is there
PROCESS = """
import os, sys, time
from pathlib import Path
from imbox_plugin import events
from imbox_plugin.events import Courier
from imbox_plugin.model import Event
from imbox_plugin.outbox import Outbox
from imbox_plugin.seals import Seal
from imbox_plugin.sinks import EventSink, SinkContext

events.LEASE = 1.0
name, url, secret = sys.argv[1:4]
folder = Path(sys.argv[4])

class File(EventSink):
    def deliver(self, event):
        (folder / f"{name}-has-one").touch()
        while not (folder / "open").exists():
            time.sleep(0.01)
        with (folder / "delivered").open("a") as file:
            file.write(f"{name} {event.key}\\n")

outbox = Outbox(url, folder, Seal([secret], "events"))
courier = Courier(outbox, File({}, SinkContext()), idle=0.1)
for line in sys.stdin:
    if line.strip() == "start":
        courier.start()
    else:
        courier.accept(Event("default", "Chat", "T", {}, line.strip()))
        print("accepted", flush=True)
"""


class Process:
    def __init__(self, name, url, folder):
        self.name, self.folder = name, folder
        self.process = subprocess.Popen(  # noqa: S603 - our own
            [sys.executable, "-c", PROCESS, name, url, SECRET, str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def accept(self, key):
        self.tell(key)
        assert self.process.stdout.readline() == "accepted\n"

    @property
    def has_one(self):
        return (self.folder / f"{self.name}-has-one").exists()

    def end(self):
        """Stop as a server does: its input ends, so its program does."""
        self.process.communicate(timeout=HANGS)
        return self.process.returncode


@pytest.fixture(params=DATABASES)
def process(request, tmp_path):
    """Start a process of a server whose outbox is shared."""
    (tmp_path / "delivered").touch()
    started = []
    with own_database(request.param, tmp_path) as url:

        def process(name):
            started.append(Process(name, url, tmp_path))
            return started[-1]

        process.url = url
        yield process
        for one in started:
            one.process.kill()
            one.process.communicate()


def delivered(folder):
    return [line.split() for line in (folder / "delivered").read_text().splitlines()]


def test_what_a_killed_process_had_accepted_is_delivered_by_another(process, tmp_path):
    first = process("first")
    keys = [f"m-{number}" for number in range(10)]
    for key in keys:
        first.accept(key)
    until(lambda: first.has_one)
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    (tmp_path / "open").touch()
    second = process("second")
    second.tell("start")
    until(lambda: len(delivered(tmp_path)) >= 10)

    assert Counter(key for _, key in delivered(tmp_path)) == Counter(keys)
    assert {name for name, _ in delivered(tmp_path)} == {"second"}


def test_several_processes_share_the_work_and_deliver_each_event_once(process, tmp_path):
    processes = [process(name) for name in ("first", "second", "third")]
    keys = [f"m-{number}" for number in range(60)]
    (tmp_path / "open").touch()
    for at, key in enumerate(keys):
        processes[at % 3].accept(key)
    until(lambda: len(delivered(tmp_path)) >= 60)
    codes = [one.end() for one in processes]

    assert Counter(key for _, key in delivered(tmp_path)) == Counter(keys)
    assert codes == [0, 0, 0]


def test_a_process_that_ends_lets_its_delivery_come_to_its_end(process, tmp_path):
    one = process("first")
    one.accept("m-1")
    until(lambda: one.has_one)
    one.process.stdin.close()
    one.process.stdin = None
    (tmp_path / "open").touch()

    assert one.end() == 0
    assert delivered(tmp_path) == [["first", "m-1"]]
    outbox = Outbox(process.url, tmp_path, Seal([SECRET], "events"))
    assert outbox.counts() == Counts(settled=1)
    outbox.close()


# --- logs -----------------------------------------------------------------------------------------

CANARIES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Zs", "Cc"]), min_size=8)
FATES = st.sampled_from(["taken", "refused", "broken", "log", "http", "gone"])


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(canary=CANARIES, fate=FATES)
def test_no_log_tells_anything_of_what_is_in_an_event(outbox, caplog, canary, fate):
    caplog.clear()
    key = f"m-{len(rows(outbox))}"
    canary = f"canary{canary}"
    data = {canary: canary, "deep": [{"name": canary}]}
    sinks = {
        "taken": Mailbox,
        "refused": lambda: Mailbox(SinkError("not now")),
        "broken": lambda: Mailbox(ValueError(canary)),
        "log": lambda: LogSink({}, SinkContext()),
        "http": lambda: http_sink("http://127.0.0.1:9"),
        "gone": lambda: Mailbox(SinkError("gone", permanent=True)),
    }
    sink = sinks[fate]()
    with caplog.at_level(logging.DEBUG):
        outbox.accept(Event("default", "Chat", "T", data, key))
        Courier(outbox, sink).deliver_next()
    sink.close()

    assert "canary" not in caplog.text
    assert (fate == "taken") == (not caplog.records)


# --- the whole way --------------------------------------------------------------------------------


def http_sink(url):
    options = {"url": url, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    return HttpSink(HttpSink.Options().load(options), SinkContext())


def test_an_endpoint_that_is_down_then_up_gets_the_event(outbox, courier, clock):
    with serving(answering(status="503 Service Unavailable")) as server:
        sink = http_sink(server.url)
        one = courier(sink)
        outbox.accept(event())
        one.deliver_next()
        sink.close()
    waiting = outbox.counts().waiting
    heard = []

    def play(wire):
        while (request := wire.request()) is not None:
            heard.append(json.loads(request.partition(b"\r\n\r\n")[2]))
            wire.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    clock.now += 3600
    with serving(play) as server:
        sink = http_sink(server.url)
        courier(sink).deliver_next()
        sink.close()

    assert waiting == 1
    assert [one["key"] for one in heard] == ["m-1"]
    assert outbox.counts() == Counts(settled=1)
