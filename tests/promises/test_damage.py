"""P13: damage is found before anything is sent: 100 of 100 flipped bits in payloads, in rows and in files.

A disk that gives other bytes than it was given is not seen by SQLite; the digest of each payload is the hub's own.
"""

from __future__ import annotations

import os
import random
import sqlite3
import zlib
from pathlib import Path

import pytest

from hub.message import Receipt
from hub.store.payloads import FILE_BYTES_MIN
from tests.proving.record import record
from tests.world import World, antrag

FLIPS = 100
SEED = int(os.environ.get("XOEV_HUB_TEST_SEED") or random.SystemRandom().randrange(1_000_000))
COMMAND = f"XOEV_HUB_TEST_SEED={SEED} make test ARGS=tests/promises/test_damage.py"
SIZES = {"row": 10, "squeezed row": 5_000, "file": FILE_BYTES_MIN + 1}


def document(number: int, kind: str) -> bytes:
    extra = "x" * SIZES[kind] if kind != "file" else "".join(f"{count:x}" for count in range(SIZES[kind] // 4))
    return antrag(name=f"{number}") + f"<!-- {extra} -->".encode()


def flip(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_flipped_bit_is_found_before_anything_is_sent(world: World, tmp_path: Path) -> None:
    print(f"XOEV_HUB_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    kinds = ["row", "squeezed row"] * (FLIPS // 2 - 2) + ["file"] * 4
    damaged = [world.accept(document(number, kind)) for number, kind in enumerate(kinds)]
    whole = [world.accept(document(number, "row")) for number in range(FLIPS, FLIPS + 10)]

    flipped = [_flip_one(tmp_path, receipt, chance) for receipt in damaged]
    while world.deliver_due():
        pass

    assert flipped.count("file") == 4
    assert flipped.count("row") == FLIPS - 4
    sent = {given.message.id for adapter in world.adapters.values() for given in adapter.given}
    found = 0
    for receipt in damaged:
        for destination in ("wolfsburg/antraege", "statistik/las"):
            delivery = world.delivery(receipt, destination)
            assert (delivery.state, delivery.reason, delivery.code) == ("dead", "crashed", "payload-damaged")
        found += receipt.message_id not in sent
    assert found == FLIPS
    assert sent == {receipt.message_id for receipt in whole}
    world.store.close()
    figures = {"flipped bits": FLIPS, "found before sending": found, "in files": 4, "whole ones delivered": len(whole)}
    record("P13", "one bit flipped in each payload, in the database and in files", figures, COMMAND)


def test_bytes_that_are_gone_are_found_as_well(world: World, tmp_path: Path) -> None:
    cut, emptied, removed = (world.accept(document(number, "file")) for number in range(3))
    first, second, third = (_file(tmp_path, receipt) for receipt in (cut, emptied, removed))
    first.write_bytes(first.read_bytes()[:-1])
    second.write_bytes(b"")
    third.unlink()

    world.deliver_due()

    for receipt in (cut, emptied, removed):
        assert world.delivery(receipt).state == "dead"
    assert not any(adapter.given for adapter in world.adapters.values())
    world.store.close()


def _flip_one(folder: Path, receipt: Receipt, chance: random.Random) -> str:
    """Flip one bit of the bytes that a message was handed in with, behind the hub's back."""
    with sqlite3.connect(folder / "var" / "hub.db", isolation_level=None) as database:
        guards = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'payload'")
        for (name,) in guards.fetchall():  # a disk asks no trigger
            database.execute(f'DROP TRIGGER "{name}"')
        asked = "SELECT id, storage, encoding, bytes FROM payload WHERE message_id = ? AND role = 'received'"
        (row,) = database.execute(asked, (receipt.message_id,)).fetchall()
        id_, storage, encoding, body = row
        if storage == "file":
            path = _file(folder, receipt)
            path.write_bytes(flip(path.read_bytes(), chance))
        else:
            damaged = flip(body, chance)
            while encoding == "zlib" and _says_the_same(body, damaged):  # the last bits of a stream mean nothing
                damaged = flip(body, chance)
            database.execute("UPDATE payload SET bytes = ? WHERE id = ?", (damaged, id_))
    database.close()
    return str(storage)


def _says_the_same(squeezed: bytes, damaged: bytes) -> bool:
    try:
        return zlib.decompress(damaged) == zlib.decompress(squeezed)
    except zlib.error:
        return False


def _file(folder: Path, receipt: Receipt) -> Path:
    with sqlite3.connect(folder / "var" / "hub.db") as database:
        asked = "SELECT id FROM payload WHERE message_id = ? AND role = 'received' AND storage = 'file'"
        ((id_,),) = database.execute(asked, (receipt.message_id,)).fetchall()
    database.close()
    (path,) = (folder / "var" / "payloads").rglob(id_)
    return path
