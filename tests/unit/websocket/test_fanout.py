"""What is sent to whom, and when: without a socket, and with a clock that the test moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, Protocol

from entasis.portfolio.v1 import portfolio_pb2
from entasis_engine.errors import EntasisError
from entasis_engine.websocket.fanout import Client, Fanout, PositionsTopic, Topic
from entasis_engine.websocket.limits import Limits
from entasis_engine.websocket.protocol import Stream


class Wire:
    """An outlet that keeps what was written, and is full at a size of the test's choice."""

    def __init__(self, full_bytes: int = 1_000_000_000) -> None:
        self.writes: list[bytes] = []
        self.full_bytes = full_bytes
        self.unsent_bytes = 0
        self.expelled = False
        self.client: Client

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self.unsent_bytes += len(data)
        if self.unsent_bytes > self.full_bytes and not self.client.congested:
            self.client.pause()

    def expel(self, reason: str) -> None:
        self.expelled = True

    def drain(self) -> None:
        self.unsent_bytes = 0
        if self.client.congested:
            self.client.resume()

    @property
    def messages(self) -> list[Any]:
        """What the other side reads."""
        reader = Protocol(CLIENT)
        reader.receive_data(b"".join(self.writes))
        frames = reader.events_received()
        assert all(isinstance(frame, Frame) and frame.opcode is Opcode.TEXT for frame in frames)
        return [json.loads(bytes(frame.data)) for frame in frames if isinstance(frame, Frame)]


class Timers:
    """`call_later` by hand."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def __call__(self, delay: float, callback: Callable[[], None], /) -> None:
        self.waiting.append(callback)

    def end_period(self) -> None:
        waiting, self.waiting = self.waiting, []
        for callback in waiting:
            callback()


class Room:
    """A fan-out with topics and clients at hand."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.fanout = Fanout(flush_seconds=0.005, call_later=self.timers, stopwatch=lambda: 0.0)
        self.topics: dict[str, Topic] = {}

    def topic(self, symbol: str = "A-B", ring_frames_max: int = 8) -> Topic:
        if symbol not in self.topics:
            self.topics[symbol] = Topic(Stream("market", symbol), ring_frames_max=ring_frames_max)
        return self.topics[symbol]

    def client(self, *symbols: str, full_bytes: int = 1_000_000_000, language: Any = "en", **limits: Any) -> Wire:
        wire = Wire(full_bytes)
        wire.client = Client(wire, language, limits=Limits(**limits))
        for symbol in symbols:
            self.attach(wire, symbol)
        return wire

    def attach(self, wire: Wire, symbol: str = "A-B", resume_after: int | None = None) -> bool | None:
        resumed, opening = self.fanout.attach(wire.client, self.topic(symbol), resume_after=resume_after)
        if opening:
            wire.client.send([opening])
        return resumed

    def update(self, *numbers: int, symbol: str = "A-B") -> None:
        topic = self.topic(symbol)
        for number in numbers:
            topic.append(number, json.dumps({"symbol": symbol, "seq": number}).encode())
        self.fanout.publish(topic)

    def fail(self, symbol: str = "A-B") -> None:
        topic = self.topic(symbol)
        topic.append_notice(EntasisError("UNAVAILABLE"))
        self.fanout.publish(topic)


@pytest.fixture
def room() -> Room:
    return Room()


def numbers(wire: Wire, symbol: str = "A-B") -> list[int]:
    return [message["seq"] for message in wire.messages if message.get("seq") and message["symbol"] == symbol]


def test_the_first_update_after_quiet_leaves_at_once(room: Room) -> None:
    """A client that has had nothing in this period gets an update without delay."""
    wire = room.client("A-B")
    room.update(1)
    assert numbers(wire) == [1]


def test_what_follows_leaves_in_one_write_when_the_period_ends(room: Room) -> None:
    """Further updates of a period are written together at its end."""
    wire = room.client("A-B")
    room.update(1)
    room.update(2)
    room.update(3, 4)
    assert len(wire.writes) == 1
    room.timers.end_period()
    assert len(wire.writes) == 2
    assert numbers(wire) == [1, 2, 3, 4]


def test_several_streams_of_one_client_leave_in_one_write(room: Room) -> None:
    """At the end of a period a client gets one write, however many of its streams have something."""
    wire = room.client("A-B", "C-D", "E-F")
    for symbol in ("A-B", "C-D", "E-F", "C-D"):
        room.update(1, symbol=symbol)
    room.timers.end_period()
    assert len(wire.writes) == 2
    assert len(wire.messages) == 4


def test_a_rested_client_does_not_wait_for_a_busy_one(room: Room) -> None:
    """While others are in the middle of their period, a client that had nothing yet is served at once."""
    busy, rested = room.client("A-B", "C-D"), room.client("C-D")
    room.update(1)
    room.update(5, symbol="C-D")
    assert numbers(rested, "C-D") == [5]
    assert numbers(busy, "C-D") == []
    room.timers.end_period()
    assert numbers(busy, "C-D") == [5]
    assert numbers(rested, "C-D") == [5]


def test_quiet_stops_the_clock(room: Room) -> None:
    """A period in which nothing gathers is the last; the next update begins a new one at once."""
    wire = room.client("A-B")
    room.update(1)
    room.timers.end_period()
    assert room.timers.waiting == []
    room.update(2)
    assert numbers(wire) == [1, 2]


def test_frames_are_joined_once_for_all(room: Room) -> None:
    """Clients that are due the same get the same bytes object."""
    wires = [room.client("A-B") for _ in range(3)]
    room.update(1)
    room.update(2, 3)
    room.timers.end_period()
    assert len({id(wire.writes[1]) for wire in wires}) == 1


def test_overload_makes_periods_longer() -> None:
    """When a flush takes longer than a period, the next period lasts as long as the flush."""
    now = [0.0]
    delays: list[float] = []
    timers = Timers()

    def call_later(delay: float, callback: Callable[[], None], /) -> None:
        delays.append(delay)
        timers(delay, callback)

    room = Room()
    room.fanout = Fanout(flush_seconds=0.005, call_later=call_later, stopwatch=lambda: now[0])
    wire = room.client("A-B")
    write = wire.write

    def slow_write(data: bytes) -> None:
        now[0] += 0.1
        write(data)

    wire.client.write = slow_write
    room.update(1)
    room.update(2)
    timers.end_period()
    assert delays == pytest.approx([0.005, 0.1])


def test_a_newcomer_gets_the_newest_and_nothing_twice(room: Room) -> None:
    """A snapshot is the newest update; what gathers for others is not repeated to a newcomer."""
    old = room.client("A-B")
    room.update(1)
    room.update(2, 3)
    new = room.client("A-B")
    room.timers.end_period()
    room.update(4)
    room.timers.end_period()
    assert numbers(new) == [3, 4]
    assert numbers(old) == [1, 2, 3, 4]


def test_subscribing_again_loses_nothing(room: Room) -> None:
    """A second subscribe brings forward what was due, which ends with the newest."""
    wire = room.client("A-B")
    room.update(1)
    room.update(2, 3)
    room.attach(wire)
    room.timers.end_period()
    assert numbers(wire) == [1, 2, 3]
    room.attach(wire)
    assert numbers(wire) == [1, 2, 3, 3]


def test_nothing_is_sent_after_detaching(room: Room) -> None:
    """What was due to a client that unsubscribes is not sent any more."""
    wire = room.client("A-B")
    room.update(1)
    room.update(2)
    room.fanout.detach(wire.client, room.topic())
    room.timers.end_period()
    assert numbers(wire) == [1]
    assert room.topic().idle


def test_a_full_socket_gets_nothing_and_then_the_newest(room: Room) -> None:
    """A client whose socket is full is left alone; when it drains it gets the newest of each stream."""
    wire, other = room.client("A-B", "C-D", full_bytes=1), room.client("A-B")
    room.update(1)
    for number in range(2, 30):
        room.update(number)
        room.update(number + 100, symbol="C-D")
        room.timers.end_period()
    assert len(wire.writes) == 1
    wire.full_bytes = 10_000
    wire.drain()
    assert numbers(wire) == [1, 29]
    assert numbers(wire, "C-D") == [129]
    assert numbers(other) == list(range(1, 30))
    room.update(30)
    room.timers.end_period()
    assert numbers(wire)[-1] == 30


def test_a_socket_that_drains_a_little_serves_every_stream_in_turn(room: Room) -> None:
    """Where only one stream fits at a time, the one that has waited longest goes first, so that none starves."""
    symbols = ["A-B", "C-D", "E-F"]
    wire = room.client(*symbols, full_bytes=1)
    for turn in range(1, 7):
        for symbol in symbols:
            room.update(turn, symbol=symbol)
        room.timers.end_period()
        wire.drain()
    assert {len(numbers(wire, symbol)) for symbol in symbols} <= {2, 3}


def test_a_resumed_client_gets_exactly_what_it_missed(room: Room) -> None:
    """Everything after the named number is sent once, without a snapshot."""
    room.update(1, 2, 3, 4)
    wire = room.client()
    assert room.attach(wire, resume_after=2) is True
    room.update(5)
    room.timers.end_period()
    assert numbers(wire) == [3, 4, 5]


def test_resume_with_nothing_missed(room: Room) -> None:
    """A client that has the newest gets nothing until there is more."""
    room.update(1, 2)
    wire = room.client()
    assert room.attach(wire, resume_after=2) is True
    assert wire.writes == []


@pytest.mark.parametrize("resume_after", [0, 1, 99])
def test_resume_from_what_is_not_held(room: Room, resume_after: int) -> None:
    """Too old a number, or one that was never given, yields the newest and `resumed` false."""
    room.topic(ring_frames_max=3)
    room.update(1, 2, 3, 4, 5)
    wire = room.client()
    assert room.attach(wire, resume_after=resume_after) is False
    assert numbers(wire) == [5]


def test_resume_does_not_pass_over_a_gap(room: Room) -> None:
    """Where the stream itself has a gap since then, the client is not told that it missed nothing."""
    room.update(1, 2, 5, 6)
    assert room.attach(room.client(), resume_after=2) is False
    assert room.attach(room.client(), resume_after=5) is True


def test_resume_passes_over_a_repeated_update(room: Room) -> None:
    """The snapshot that repeats an update after the stream was reopened does not count as a gap, nor twice."""
    room.update(1, 2, 3)
    room.fail()
    room.topic().recover()
    room.update(3, 4)
    wire = room.client()
    assert room.attach(wire, resume_after=2) is True
    assert numbers(wire) == [3, 4]


def test_resume_on_an_empty_stream(room: Room) -> None:
    """Where nothing is known yet, nothing is resumed."""
    wire = room.client()
    assert room.attach(wire, resume_after=7) is False
    assert wire.writes == []


def test_a_notice_comes_in_its_place_and_in_the_clients_language(room: Room) -> None:
    """A loss is told after the data before it, in each client's own language."""
    english, korean = room.client("A-B"), room.client("A-B", language="ko")
    room.update(1)
    room.update(2)
    room.fail()
    room.timers.end_period()
    for wire in (english, korean):
        assert [message.get("seq") for message in wire.messages] == [1, 2, None]
    assert english.messages[-1]["message"].startswith("The service")
    assert korean.messages[-1]["message"].startswith("현재 서비스")


def test_after_a_loss_nobody_gets_a_stale_snapshot(room: Room) -> None:
    """A newcomer during a loss gets the notice alone, after it nothing, and then the first update."""
    room.update(1)
    room.fail()
    during = room.client("A-B")
    assert [message["type"] for message in during.messages] == ["error"]
    room.topic().recover()
    after = room.client("A-B")
    assert after.writes == []
    room.update(2)
    assert numbers(after) == numbers(during) == [2]


def test_a_resumed_client_learns_that_the_stream_is_down(room: Room) -> None:
    """Having missed nothing is no reason not to be told that nothing more comes."""
    room.update(1)
    room.fail()
    wire = room.client()
    assert room.attach(wire, resume_after=1) is True
    assert [message["type"] for message in wire.messages] == ["error"]


def test_a_slow_client_learns_of_a_loss(room: Room) -> None:
    """A client that was slow when the stream broke is told when it drains, and gets no stale data."""
    wire = room.client("A-B", full_bytes=1)
    room.update(1)
    room.update(2)
    room.fail()
    room.timers.end_period()
    wire.drain()
    assert [message.get("type") for message in wire.messages] == [None, "error"]


def test_answers_to_a_full_socket_wait_in_order(room: Room) -> None:
    """Answers are kept while the socket is full and go out before the data."""
    wire = room.client("A-B", full_bytes=1)
    room.update(1)
    wire.client.send([b"\x81\x03[1]", b"\x81\x03[2]"])
    wire.client.send([b"\x81\x03[3]"])
    room.update(2)
    room.timers.end_period()
    wire.full_bytes = 10_000
    wire.drain()
    assert wire.messages == [{"symbol": "A-B", "seq": 1}, [1], [2], [3], {"symbol": "A-B", "seq": 2}]


@pytest.mark.parametrize("limits", [{"controls_max": 3}, {"control_bytes_max": 15}])
def test_a_client_that_never_reads_its_answers_is_expelled(room: Room, limits: dict[str, int]) -> None:
    """Answers to a full socket are kept up to a number and a size."""
    wire = room.client("A-B", full_bytes=1, **limits)
    room.update(1)
    for _ in range(3):
        wire.client.send([b"\x81\x03[1]"])
        assert not wire.expelled
    wire.client.send([b"\x81\x03[1]"])
    assert wire.expelled


def test_a_client_that_subscribes_while_full_gets_the_newest_later(room: Room) -> None:
    """A snapshot for a full socket waits until it drains, and nothing counts as resumed meanwhile."""
    wire = room.client("A-B", full_bytes=1)
    room.update(1)
    room.update(7, symbol="C-D")
    assert room.attach(wire, "C-D", resume_after=7) is False
    assert numbers(wire, "C-D") == []
    wire.drain()
    assert numbers(wire, "C-D") == [7]


STEPS = st.lists(st.sampled_from(["update A-B", "update C-D", "end period", "drain", "again"]), max_size=60)


@given(steps=STEPS, full_bytes=st.integers(1, 400), ring_frames_max=st.integers(1, 6))
def test_order_and_last_value_hold_whatever_happens(steps: list[str], full_bytes: int, ring_frames_max: int) -> None:
    """Numbers never go back, and once all has drained every client has the newest of every stream."""
    room = Room()
    for symbol in ("A-B", "C-D"):
        room.topic(symbol, ring_frames_max=ring_frames_max)
    wires = [room.client("A-B", "C-D", full_bytes=full_bytes), room.client("A-B", full_bytes=full_bytes)]
    wires.append(room.client("A-B", "C-D"))
    newest = {"A-B": 0, "C-D": 0}
    for step in steps:
        if step.startswith("update"):
            symbol = step.split()[1]
            newest[symbol] += 1
            room.update(newest[symbol], symbol=symbol)
        elif step == "end period":
            room.timers.end_period()
        elif step == "drain":
            wires[0].drain()
        else:
            room.attach(wires[0])
    for _ in range(3):
        room.timers.end_period()
        for wire in wires:
            wire.drain()
    for wire in wires:
        for stream in wire.client.subscriptions:
            got = numbers(wire, stream.symbol)
            assert got == sorted(got)
            assert got[-1:] == ([newest[stream.symbol]] if newest[stream.symbol] else [])
    if ring_frames_max >= len(steps):
        assert numbers(wires[2]) == list(range(1, newest["A-B"] + 1))


# --- Positions --------------------------------------------------------------------------------------------------------


class Positions:
    """A topic of positions, and one client of it."""

    def __init__(self, *, ended_max: int = 3, ring_frames_max: int = 8) -> None:
        self.room = Room()
        self.topic = PositionsTopic(
            Stream("positions", "", session="acc_1|", address="::1"),
            ring_frames_max=ring_frames_max,
            ended_max=ended_max,
        )
        self.seq = 0

    def begin(self, *open_ids: str) -> None:
        positions = [portfolio_pb2.Position(position_id=one, status="open") for one in open_ids]
        self.topic.begin(portfolio_pb2.PositionUpdate(event="snapshot", seq=self.seq, positions=positions))
        self._publish()

    def tell(self, event: str, position_id: str) -> None:
        self.seq += 1
        status = event if event in {"closed", "liquidated"} else "open"
        position = portfolio_pb2.Position(position_id=position_id, status=status, size=str(self.seq))
        self.topic.change(portfolio_pb2.PositionUpdate(event=event, seq=self.seq, positions=[position]))
        self._publish()

    def _publish(self) -> None:
        self.room.fanout.publish(self.topic)
        self.room.timers.end_period()

    def client(self) -> Wire:
        wire = self.room.client()
        self.attach(wire)
        return wire

    def attach(self, wire: Wire) -> None:
        _, opening = self.room.fanout.attach(wire.client, self.topic)
        if opening:
            wire.client.send([opening])


def picture(wire: Wire) -> tuple[dict[str, str], list[str]]:
    """What a client knows of open positions, by id, and which it saw end."""
    known: dict[str, str] = {}
    ended = []
    for message in wire.messages:
        if message.get("type") == "error":
            continue
        if message["event"] == "snapshot":
            known.clear()
        for one in message["positions"]:
            if one["status"] == "open":
                known[one["position_id"]] = one["size"]
            else:
                known.pop(one["position_id"], None)
                ended.append(one["position_id"])
    return known, ended


def test_a_late_client_begins_with_what_is_open_by_then() -> None:
    """The snapshot of a newcomer has every change so far and its number; what ended before is no news."""
    held = Positions()
    held.begin("a", "b")
    held.tell("closed", "a")
    held.tell("opened", "c")
    wire = held.client()
    (snapshot,) = wire.messages
    assert ([one["position_id"] for one in snapshot["positions"]], snapshot["seq"]) == (["b", "c"], 2)
    assert picture(wire) == ({"b": "", "c": "2"}, [])


def test_a_slow_client_gets_the_newest_of_each_position_in_order() -> None:
    """After a jam each position that changed comes once, as it is now, and one that ended says so."""
    held = Positions()
    held.begin("a", "b", "c")
    wire = held.client()
    wire.client.pause()
    for event, name in (("price", "a"), ("closed", "b"), ("price", "a"), ("opened", "d"), ("price", "a")):
        held.tell(event, name)
    wire.drain()
    wire.client.resume()
    assert [(one["event"], one["positions"][0]["position_id"], one["seq"]) for one in wire.messages[1:]] == [
        ("closed", "b", 2),
        ("opened", "d", 4),
        ("price", "a", 5),
    ]


def test_a_client_that_comes_while_it_is_slow_gets_a_snapshot_alone() -> None:
    """What ended before a client subscribed is not told, though it could not be served at once."""
    held = Positions()
    held.begin("a", "b")
    held.tell("closed", "a")
    wire = held.room.client()
    wire.client.pause()
    held.attach(wire)
    held.tell("closed", "b")
    held.tell("opened", "c")
    wire.client.resume()
    assert picture(wire) == ({"c": "3"}, ["b"])
    held.tell("closed", "c")
    assert picture(wire) == ({}, ["b", "c"])


def test_where_more_ended_than_is_kept_a_slow_client_gets_a_snapshot() -> None:
    """Nothing ends without a word: what is not told by itself is missing from the snapshot."""
    held = Positions(ended_max=2)
    held.begin("a", "b", "c", "d", "e")
    wire = held.client()
    wire.client.pause()
    for name in "abc":
        held.tell("closed", name)
    wire.client.resume()
    assert picture(wire) == ({"d": "", "e": ""}, ["b", "c"])
    assert wire.messages[-1]["event"] == "snapshot"


def test_more_frames_at_once_than_the_ring_holds_lose_no_end() -> None:
    """Even where one period brings more than is held, each position's newest state arrives."""
    held = Positions(ring_frames_max=4)
    held.begin("a", "b")
    wire = held.client()
    held.tell("price", "a")  # now the client has had its write of this period
    for event, name in (("closed", "b"), *(("price", "a") for _ in range(9))):
        held.seq += 1
        status = "closed" if event == "closed" else "open"
        position = portfolio_pb2.Position(position_id=name, status=status, size=str(held.seq))
        held.topic.change(portfolio_pb2.PositionUpdate(event=event, seq=held.seq, positions=[position]))
    held._publish()
    assert picture(wire) == ({"a": str(held.seq)}, ["b"])


def test_a_stale_snapshot_is_not_given() -> None:
    """While the engine is away a newcomer is told so, and nothing else; the next snapshot reaches everybody once."""
    held = Positions()
    held.begin("a")
    early = held.client()
    held.topic.append_notice(EntasisError("UNAVAILABLE"))
    held._publish()
    late = held.client()
    assert [one["type"] for one in late.messages] == ["error"]
    held.topic.recover()
    held.seq += 10
    held.begin("b")
    for wire in (early, late):
        assert picture(wire)[0] == {"b": ""}
    assert len(late.messages) == 2


@given(
    st.lists(
        st.sampled_from(["opened", "price", "closed", "begin", "jam", "drain", "join", "again", "lose"]), max_size=40
    )
)
def test_whoever_reads_knows_what_is_open(steps: list[str]) -> None:
    """Whatever happens, once a client reads again it knows exactly what is open, and saw nothing end twice."""
    held = Positions(ended_max=2, ring_frames_max=3)
    held.begin()
    wires = [held.client()]
    open_now: dict[str, str] = {}
    names = iter(range(1000))
    for step in [*steps, "begin", "opened"]:
        if step == "opened":
            name = str(next(names))
            held.tell("opened", name)
            open_now[name] = str(held.seq)
        elif step in {"price", "closed"} and open_now and held.topic.live:
            name = next(iter(open_now))
            held.tell(step, name)
            del open_now[name]
            if step == "price":
                open_now[name] = str(held.seq)
        elif step == "begin":
            held.topic.recover()
            held.begin(*open_now)
            open_now = dict.fromkeys(open_now, "")
        elif step == "jam" and not wires[0].client.congested:
            wires[0].client.pause()
        elif step == "drain" and wires[0].client.congested:
            wires[0].client.resume()
        elif step == "join":
            wires.append(held.client())
        elif step == "again":
            held.attach(wires[0])
        elif step == "lose":
            held.topic.append_notice(EntasisError("UNAVAILABLE"))
            held._publish()
            held.topic.recover()
            held.begin(*open_now)
            open_now = dict.fromkeys(open_now, "")
    if wires[0].client.congested:
        wires[0].client.resume()
    for wire in wires:
        known, ended = picture(wire)
        assert known == open_now
        assert len(ended) == len(set(ended))
