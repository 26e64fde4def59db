"""The queues between the hub and its readers."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from entasis_engine.market.mailbox import BATCH_BYTES_MAX, Mailbox, NewestOnly

UPDATES = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60)


def _taken(mailbox: Mailbox) -> list[str]:
    """What waits, in words."""
    return asyncio.run(mailbox.take()).decode().split()


def _fill(mailbox: Mailbox, keys: list[str]) -> None:
    for number, key in enumerate(keys):
        mailbox.put(key, b"%s%d " % (key.encode(), number))


@given(UPDATES)
def test_nothing_is_left_out_up_to_the_capacity(keys: list[str]) -> None:
    """As many updates as the mailbox holds are all given, in order, as one batch."""
    mailbox = Mailbox(len(keys))
    _fill(mailbox, keys)
    assert _taken(mailbox) == [f"{key}{number}" for number, key in enumerate(keys)]
    assert mailbox.conflated == 0


@given(UPDATES, st.integers(1, 12))
def test_a_slow_reader_loses_steps_and_never_the_newest(keys: list[str], capacity: int) -> None:
    """Whatever comes, the mailbox holds no more than its capacity, in order, and the newest of every key it has room
    for; it counts what it left out."""
    mailbox = Mailbox(capacity)
    _fill(mailbox, keys)
    given = _taken(mailbox)
    newest = {key: number for number, key in enumerate(keys)}
    numbers = [int(update[1:]) for update in given]
    assert len(given) <= capacity
    assert numbers == sorted(numbers)
    assert numbers[-1] == len(keys) - 1
    if len(newest) <= capacity:
        assert set(newest.values()) <= set(numbers)
    assert mailbox.conflated == len(keys) - len(given)


@given(UPDATES)
def test_newest_only_keeps_one_update_of_each_key(keys: list[str]) -> None:
    """Of every key exactly the newest update is there, however many keys there are."""
    mailbox = NewestOnly()
    _fill(mailbox, keys)
    assert sorted(_taken(mailbox)) == sorted(
        f"{key}{number}" for number, key in enumerate(keys) if key not in keys[number + 1 :]
    )
    assert mailbox.conflated == len(keys) - len(set(keys))


async def test_take_waits_until_there_is_something() -> None:
    """A reader of an empty mailbox waits, and is woken by the first update."""
    mailbox = Mailbox(4)
    reading = asyncio.create_task(mailbox.take())
    await asyncio.sleep(0)
    assert not reading.done()
    mailbox.put("a", b"1")
    assert await reading == b"1"


async def test_an_update_is_given_once() -> None:
    """What was taken is gone, and the next take waits again."""
    mailbox = Mailbox(4)
    mailbox.put("a", b"1")
    await mailbox.take()
    reading = asyncio.create_task(mailbox.take())
    await asyncio.sleep(0)
    assert not reading.done()
    mailbox.put("a", b"2")
    assert await reading == b"2"


async def test_a_cancelled_take_loses_nothing() -> None:
    """A reader that gives up waiting leaves what comes later for the next one."""
    mailbox = Mailbox(4)
    reading = asyncio.create_task(mailbox.take())
    await asyncio.sleep(0)
    reading.cancel()
    mailbox.put("a", b"1")
    assert await mailbox.take() == b"1"


async def test_very_much_is_given_in_parts() -> None:
    """A batch stays well below what a gRPC client takes in one message, and the parts together are everything."""
    mailbox = Mailbox(100)
    update = bytes(BATCH_BYTES_MAX // 4)
    for number in range(10):
        mailbox.put(number, update)
    sizes = [len(await mailbox.take()) for _ in range(3)]
    assert max(sizes) <= BATCH_BYTES_MAX + len(update)
    assert sum(sizes) == 10 * len(update)
