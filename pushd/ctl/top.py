"""
``pushctl top``: the hottest topics of a running server, like `top` shows processes.

    $ pushctl top -u me --by bytes
    Password of me: ...
    by bytes, 1m
       MESSAGES         BYTES  DELIVERIES    DROPS    ERROR  TOPIC
             60       614,400         120        0        0  cameras/door

It asks the gateway (``GET /v1/topics/hot``) as a user whom ``admin_user`` names. Topic names are what
strangers have made up: nothing in them reaches the terminal but characters that can be printed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from pushd.ctl.gateway import Gateway, NoAnswer, add_arguments, gateway_of
from pushd.ctl.terminal import printable

BY = ("messages", "bytes", "deliveries", "drops", "subscribers")
WINDOWS = ("1m", "1h", "start")

OWN_SCREEN, OLD_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # with the cursor hidden, and shown
TOP_LEFT, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"

# What stands in a column, and how wide that is.
COLUMNS = {"messages": 11, "bytes": 14, "deliveries": 12, "drops": 9, "error": 9}
COLUMNS_OF_FILTERS = {"subscribers": 12}


def hottest(gateway: Gateway, query: str) -> dict[str, Any]:
    """
    What the gateway tells of hot topics.

    :raises NoAnswer: it does not.
    """
    report = gateway.ask("GET", f"/v1/topics/hot?{query}")
    if "topics" not in report:
        raise NoAnswer("it answers, but not about topics")
    return report


def clipped(text: str, width: int) -> str:
    """The text, or as much of it as is not wider than this many cells of a terminal."""
    cells = 0
    for at, letter in enumerate(text):
        cells += 0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        if cells > width:
            return text[:at]
    return text


def lines(report: dict[str, Any], width: int) -> Iterator[str]:
    """An answer of the gateway as lines that are at most so wide."""
    filters = report["by"] == "subscribers"
    columns = COLUMNS_OF_FILTERS if filters else COLUMNS
    name = "filter" if filters else "topic"
    yield clipped(printable(f"by {report['by']}, {report['window']}"), width)
    titles = "".join(f"{column.upper():>{wide}}" for column, wide in columns.items())
    yield clipped(f"{titles}  {name.upper()}", width)
    for topic in report["topics"]:
        figures = "".join(f"{topic[column]:>{wide},}" for column, wide in columns.items())
        yield clipped(f"{figures}  {printable(topic[name])}", width)


class Screen:
    """
    A terminal that is drawn on again and again.

    :param size: columns and lines, asked each time: windows are made larger and smaller.
    """

    def __init__(
        self, write: Callable[[str], object], size: Callable[[], tuple[int, int]] = shutil.get_terminal_size
    ) -> None:
        self._write = write
        self._size = size

    def __enter__(self) -> Screen:
        self._write(OWN_SCREEN)
        return self

    def __exit__(self, *_: object) -> None:
        self._write(OLD_SCREEN)

    def draw(self, report: dict[str, Any], complaint: str = "") -> None:
        """Show this in place of what is there; a complaint stands below it."""
        width, height = self._size()
        rows = list(lines(report, width))[: height - 1 - bool(complaint)]
        rows += [clipped(printable(complaint), width)] if complaint else []
        self._write(TOP_LEFT + "".join(f"{REST_OF_LINE}{row}\n" for row in rows) + REST_OF_SCREEN)


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1000:
        raise ValueError(text)
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.5 <= seconds <= 3600:
        raise ValueError(text)
    return seconds


_positive.__name__, _seconds.__name__ = "count of 1 to 1000", "number of seconds"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pushctl top", description="Show the hottest topics, live.")
    add_arguments(parser)
    parser.add_argument("--by", choices=BY, default=BY[0])
    parser.add_argument("--window", choices=WINDOWS, default=WINDOWS[0], help="since when")
    parser.add_argument("-n", type=_positive, default=20, metavar="COUNT", help="how many (default: 20)")
    parser.add_argument("--interval", type=_seconds, default=2.0, metavar="SECONDS", help="default: 2")
    parser.add_argument("--once", action="store_true", help="print one list, as it does where no terminal is")
    return parser


def _write(text: str) -> None:
    """A terminal that does not know a character shows a question mark."""
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def watch(
    ask: Callable[[], dict[str, Any]], screen: Screen, interval_s: float, sleep: Callable[[float], None]
) -> None:
    """
    Draw until somebody presses Ctrl-C. A server that is away for a while is no reason to leave.

    :raises NoAnswer: there was none to the first question.
    """
    report = ask()
    with screen:
        complaint = ""
        while True:
            screen.draw(report, complaint)
            sleep(interval_s)
            try:
                report, complaint = ask(), ""
            except NoAnswer as problem:
                complaint = str(problem)


def main(argv: Sequence[str] | None = None) -> int:
    """
    :return: 0 for an answer, 1 for none.
    """
    arguments = _parser().parse_args(argv)
    try:
        gateway = gateway_of(arguments)
        query = urlencode({"by": arguments.by, "window": arguments.window, "n": arguments.n})
        ask = partial(hottest, gateway, query)
        if not arguments.once and sys.stdout.isatty():
            watch(ask, Screen(_write), arguments.interval, time.sleep)
        else:
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
            _write("".join(f"{line}\n" for line in lines(ask(), width)))
    except NoAnswer as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0
