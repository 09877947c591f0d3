"""
What is watched: every figure of the status and its history, by name.

A figure that is null is not known: the system does not tell it, nothing has been committed, or there was no
time yet that a rate could be over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

# A sample is taken so often, in seconds, at wall-clock multiples of it.
SAMPLE_S = 10


class Figure(NamedTuple):
    """
    One row of `FIGURES`.

    :ivar lowest: the history keeps the lowest of each span of time too, as ``NAME_min``; its average is
        ``NAME``.
    :ivar highest: the same for ``NAME_max``.
    """

    name: str
    lowest: bool = False
    highest: bool = False


LOW_AND_HIGH = (True, True)
HIGH = (False, True)
LOW = (True, False)

# The columns of `schema/*.sql`: a new one here is a new version there.
FIGURES = (
    Figure("uptime_s", *LOW),
    Figure("cpu_percent", *HIGH),  # of one core, by this process
    Figure("memory_bytes", *HIGH),  # resident
    Figure("open_files", *HIGH),
    Figure("machine_cpu_percent", *HIGH),  # of all cores, by everybody
    Figure("machine_memory_bytes", *HIGH),  # in use, and not to be had without swapping
    Figure("machine_network_received_bytes_per_s", *HIGH),  # loopback aside, as for the next
    Figure("machine_network_sent_bytes_per_s", *HIGH),
    Figure("event_loop_late_ms", *HIGH),  # the latest that it was between two samples
    Figure("connections", *HIGH),  # whether or not a CONNECT came
    Figure("clients_connected", *LOW_AND_HIGH),
    Figure("clients_total", *HIGH),  # online, and offline with a session kept
    Figure("subscriptions", *LOW_AND_HIGH),  # shared ones too
    Figure("retained_messages"),
    Figure("waiting_messages", *HIGH),  # queued or in flight, counted for each session that waits
    Figure("scheduled_messages"),
    Figure("stored_bytes", *HIGH),  # payloads of what is retained, queued or in flight
    Figure("unsent_bytes", *HIGH),  # written, and not taken by peers yet
    Figure("connects_per_s", *HIGH),  # those that were accepted
    Figure("messages_received_per_s", *HIGH),  # PUBLISH packets, as for the next
    Figure("messages_sent_per_s", *HIGH),
    Figure("bytes_received_per_s", *HIGH),  # of MQTT, as for the next
    Figure("bytes_sent_per_s", *HIGH),
    Figure("dropped_per_s", *HIGH),  # messages that a subscriber did not get, whatever the reason
    Figure("store_commits_per_s"),
    Figure("store_commit_ms"),  # on average
    Figure("store_longest_commit_ms", *HIGH),
)

NAMES = tuple(figure.name for figure in FIGURES)


class Sample(NamedTuple):
    """
    What the figures were in one span of `SAMPLE_S`.

    :ivar at: its begin in Unix seconds, a multiple of `SAMPLE_S`.
    :ivar figures: in the order of `FIGURES`.
    :ivar dropped: how many messages were, by reason. Reasons are words of ours.
    """

    at: int
    figures: tuple[float | None, ...]
    dropped: Mapping[str, int]

    def named(self) -> dict[str, float | None]:
        """The figures by name."""
        return dict(zip(NAMES, self.figures, strict=True))
