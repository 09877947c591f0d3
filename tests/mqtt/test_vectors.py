"""
Walk the tables of byte vectors in ``tests/vectors/packets_*.json``.

A row has `why` it is there, the `tag` of the rule it checks, the `versions` it is true in, the bytes in `hex`
(spaces stand between fields), and either a `packet` or an `error` with its reason code. In a packet, binary
fields are hex, reason codes and properties go by their names, and fields at their defaults are left out.
``"canonical": false`` marks bytes that we read but would write shorter, or in another order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pushd.mqtt import errors, packets
from pushd.mqtt.codes import PropertyId, QoS, ReasonCode, RetainHandling, Version
from pushd.mqtt.errors import MQTTError
from pushd.mqtt.packets import Packet, SubscriptionRequest, Will
from pushd.mqtt.reader import PacketReader, read_packet
from pushd.mqtt.writer import encode

VECTORS = Path(__file__).parent.parent / "vectors"
VERSIONS = {"3.1": Version.V3_1, "3.1.1": Version.V3_1_1, "5": Version.V5}
BINARY = (PropertyId.CORRELATION_DATA, PropertyId.AUTHENTICATION_DATA)


@dataclass
class Row:
    """One vector in one version: `packet` or `error` is set."""

    why: str
    version: Version
    data: bytes
    packet: Packet | None
    error: str | None
    canonical: bool

    def __str__(self) -> str:
        return f"{self.version.name}: {self.why}"


def read_rows() -> Iterator[Row]:
    """All rows of all tables."""
    for path in sorted(VECTORS.glob("packets_*.json")):
        for row in json.loads(path.read_text(encoding="utf-8")):
            for version in row["versions"].split():
                yield Row(
                    f"{path.stem}: {row['why']} ({row['tag']})",
                    VERSIONS[version],
                    bytes.fromhex(row["hex"]),
                    make_packet(row["packet"]) if "packet" in row else None,
                    row.get("error"),
                    row.get("canonical", True),
                )


def make_packet(described: dict[str, dict[str, Any]]) -> Packet:
    """``{"Publish": {"topic": "a", "qos": 1, …}}`` as a packet."""
    ((name, fields),) = described.items()
    packet: Packet = getattr(packets, name)(**{key: FIELDS.get(key, keep)(fields[key]) for key in fields})
    return packet


def keep(value: Any) -> Any:
    return value


def make_properties(described: dict[str, Any]) -> dict[PropertyId, Any]:
    return {PropertyId[name]: make_property(PropertyId[name], value) for name, value in described.items()}


def make_property(name: PropertyId, value: Any) -> Any:
    if name in BINARY:
        return bytes.fromhex(value)
    return [tuple(pair) for pair in value] if name is PropertyId.USER_PROPERTY else value


def make_will(described: dict[str, Any]) -> Will:
    return Will(**{key: FIELDS.get(key, keep)(described[key]) for key in described})


def make_requests(described: list[dict[str, Any]]) -> list[SubscriptionRequest]:
    return [SubscriptionRequest(**{key: FIELDS.get(key, keep)(row[key]) for key in row}) for row in described]


FIELDS: dict[str, Callable[[Any], Any]] = {
    "version": Version,
    "qos": QoS,
    "retain_handling": RetainHandling,
    "code": ReasonCode.__getitem__,
    "codes": lambda names: [ReasonCode[name] for name in names],
    "payload": bytes.fromhex,
    "password": bytes.fromhex,
    "properties": make_properties,
    "will": make_will,
    "requests": make_requests,
}

ROWS = list(read_rows())
GOOD = [row for row in ROWS if row.packet is not None]
BAD = [row for row in ROWS if row.packet is None]


def outcome(read: Callable[..., Any], *arguments: Any) -> Any:
    """What `read` returns, or ``"MalformedPacket 0x81"`` for what it raises."""
    try:
        return read(*arguments)
    except MQTTError as error:
        return f"{type(error).__name__} 0x{error.code:02X}"


def read_row(row: Row, data: bytes, at: int = 0) -> Any:
    return outcome(read_packet, data, at, row.version, 0)


class VectorTableTests(SynchronousTestCase):
    """The tables themselves."""

    def test_tables_are_large_and_whole(self) -> None:
        """There are hundreds of malformed rows, and each names an error that exists."""
        self.assertGreater(len(BAD), 500)
        self.assertGreater(len(GOOD), 300)
        names = {str(row.error).split()[0] for row in BAD}
        self.assertEqual(set(), {name for name in names if not hasattr(errors, name)})

    def test_every_packet_is_there_in_every_version_that_has_it(self) -> None:
        """No kind of packet was forgotten: sixteen less AUTH before version 5."""
        seen = {(row.version, type(row.packet)) for row in GOOD}
        self.assertEqual([14, 14, 15], [sum(v is version for v, _ in seen) for version in Version])


class MalformedVectorTests(SynchronousTestCase):
    """What must end a connection."""

    def test_malformed_bytes_are_refused(self) -> None:
        """Each malformed row raises the error, with the reason code, that its row names."""
        wrong = [f"{row}: {got}" for row in BAD if (got := read_row(row, row.data)) != row.error]
        self.assertEqual([], wrong)

    def test_what_follows_does_not_mend_a_malformed_packet(self) -> None:
        """Lengths never reach into the next packet: more bytes behind a malformed one change nothing."""
        wrong = [
            f"{row}: {got}"
            for row in BAD
            if (got := read_row(row, b"\xc0\0" + row.data + b"\x01\x02" * 60, 2)) != row.error
        ]
        self.assertEqual([], wrong)

    def test_malformed_bytes_arriving_one_by_one_are_refused(self) -> None:
        """However the bytes arrive, the same error comes, at the last of them at the latest."""
        wrong = [f"{row}: {got}" for row in BAD if (got := outcome(fed_in_bits, row)) != row.error]
        self.assertEqual([], wrong)


class GoodVectorTests(SynchronousTestCase):
    """What must be understood."""

    def test_bytes_become_the_packet(self) -> None:
        """Each well-formed row is read as the packet it describes, to its last byte."""
        wrong = [
            f"{row}: {got}" for row in GOOD if (got := read_row(row, row.data)) != (row.packet, len(row.data))
        ]
        self.assertEqual([], wrong)

    def test_the_packet_becomes_the_bytes(self) -> None:
        """Each packet is written as its row says, byte for byte."""
        wrong = [
            f"{row}: {got.hex(' ')}"
            for row in GOOD
            if row.packet and row.canonical and (got := encode(row.packet, row.version)) != row.data
        ]
        self.assertEqual([], wrong)

    def test_other_forms_keep_their_meaning(self) -> None:
        """A packet that came in an unusual form is written in the usual one, and means the same."""
        wrong = []
        for row in GOOD:
            if row.packet and not row.canonical:
                data = encode(row.packet, row.version)
                if read_row(row, data) != (row.packet, len(data)):
                    wrong.append(str(row))
        self.assertEqual([], wrong)

    def test_a_packet_among_others_is_cut_out(self) -> None:
        """A packet is read from the middle of a buffer, and what surrounds it is left alone."""
        wrong = [
            str(row)
            for row in GOOD
            if read_row(row, b"\xc0\0" + row.data + b"\xff\xff", 2) != (row.packet, len(row.data) + 2)
        ]
        self.assertEqual([], wrong)

    def test_no_beginning_of_a_packet_is_a_packet(self) -> None:
        """Cut at any byte, a packet is not there yet: no error, no guess."""
        wrong = [
            f"{row}, cut at {size}"
            for row in GOOD
            for size in cuts(row.data)
            if read_row(row, row.data[:size]) is not None
        ]
        self.assertEqual([], wrong)

    def test_a_packet_arriving_byte_by_byte_is_the_same(self) -> None:
        """A stream that trickles in gives the same packets."""
        wrong = [f"{row}: {got}" for row in GOOD if (got := outcome(fed_in_bits, row)) != row.packet]
        self.assertEqual([], wrong)

    def test_the_limit_counts_the_whole_packet(self) -> None:
        """A limit of exactly the packet's size lets it through; one byte less refuses it."""
        wrong = [
            str(row)
            for row in GOOD
            if read_packet(row.data, 0, row.version, len(row.data)) is None
            or outcome(read_packet, row.data, 0, row.version, len(row.data) - 1) != "PacketTooLarge 0x95"
        ]
        self.assertEqual([], wrong)


def cuts(data: bytes) -> list[int]:
    """Every offset for short packets; the first and the last ones for long packets."""
    return [size for size in range(len(data)) if size < 64 or size > len(data) - 8]


def fed_in_bits(row: Row) -> Packet | None:
    """Feed the bytes of `row` one at a time and return the first packet."""
    reader = PacketReader(version=row.version)
    for index in range(len(row.data)):
        reader.feed(row.data[index : index + 1])
        packet = reader.next_packet()
        if packet is not None:
            return packet
    return None
