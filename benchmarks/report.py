"""
Tables in Markdown from the figures of all rounds: one for each scenario, at the end one of what other ways
cost beside the plain one, and one of targets.

The first broker is the one that the others are compared to.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from benchmarks.scenarios import CPU_PER_MESSAGE, FAULTS, SCENARIOS, Figures, Scenario, Target

Rounds: TypeAlias = "Mapping[str, Sequence[Figures]]"  # by broker, in the order they were given

# Figures whose ratio between brokers means nothing.
_WITHOUT_RATIO = frozenset({"busy %", "load µs/message", *FAULTS})


def number(value: float) -> str:
    """Three digits that count, and no decimals of what is large: 0.0523, 6.2, 17, 164223."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    """The median and, of several, the least and the most: ``6.2 (6.1-6.9)``."""
    middle = number(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))}-{number(max(values))})"


def median_of(runs: Sequence[Figures], figure: str) -> float | None:
    """The median over rounds; ``None`` if no round had this figure."""
    values = [run[figure] for run in runs if figure in run]
    return statistics.median(values) if values else None


def ratio_to(reference: float | None, value: float | None) -> str:
    """``x0.24``, or nothing where there is nothing to compare."""
    if not reference or value is None:
        return ""
    return f"x{value / reference:.2f}"


def verdict(target: Target, value: float | None, reference: float | None) -> str:
    """
    Whether a figure reaches its target.

    A slower machine misses an absolute limit for no fault of the broker's: where the figure beside the
    reference's is as good as was asked for, the verdict says so.

    :param reference: the same figure of the broker that is compared to, if it was measured.
    """
    if value is None:
        return "not measured"
    by_ratio = None
    if reference and target.ratio is not None:
        by_ratio = target.allows(value, target.ratio * reference)
    if target.limit is None:
        return {None: "no reference", True: "ok", False: "missed"}[by_ratio]
    if target.allows(value, target.limit):
        return "ok"
    return "missed (ok beside the reference)" if by_ratio else "missed"


def asked_for(target: Target) -> str:
    """A target in words: ``≤ 1.5, ≤ x0.24``, or ``≥ x1.00``."""
    sign = "≥" if target.least else "≤"
    parts = []
    if target.limit is not None:
        parts.append(f"{sign} {number(target.limit)}")
    if target.ratio is not None:
        parts.append(f"{sign} x{target.ratio:.2f}")
    return ", ".join(parts)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table; the first row is its head."""
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def scenario_table(name: str, scenario: Scenario, rounds: Rounds) -> str:
    """Every figure of one scenario: brokers below each other, as median (least-most) xratio."""
    columns = _columns(run for runs in rounds.values() for run in runs)
    reference = next(iter(rounds.values()), [])
    rows = [["broker", *columns]]
    for broker, runs in rounds.items():
        compared = None if runs is reference else reference
        rows.append([broker, *(_cell(runs, compared, figure) for figure in columns)])
    return f"**{name}**: {scenario.title}\n\n{markdown(rows)}\n"


def target_table(results: Mapping[str, Rounds]) -> str:
    """
    Every figure that has a target, with a verdict for each broker but the reference (or for the only one).

    :param results: by scenario.
    """
    brokers = list(dict.fromkeys(broker for rounds in results.values() for broker in rounds))
    judged = brokers[1:] or brokers
    reference = brokers[0] if len(brokers) > 1 else None
    head = ["scenario", "figure", *([reference] if reference else [])]
    for broker in judged:
        head += [broker, "ratio"] if reference else [broker]
    rows = [[*head, "target", *_verdict_titles(judged)]]
    for name, rounds in results.items():
        for figure, target in SCENARIOS[name].targets.items():
            rows.append(_target_row(name, figure, target, rounds, reference, judged))
    return markdown(rows) + "\n"


def _target_row(
    name: str, figure: str, target: Target, rounds: Rounds, reference: str | None, judged: Sequence[str]
) -> list[str]:
    medians = {broker: median_of(runs, figure) for broker, runs in rounds.items()}
    beside = medians.get(reference) if reference else None
    row = [name, figure, *([_or_dash(beside)] if reference else [])]
    for broker in judged:
        value = medians.get(broker)
        row += [_or_dash(value), ratio_to(beside, value)] if reference else [_or_dash(value)]
    return [*row, asked_for(target), *(verdict(target, medians.get(broker), beside) for broker in judged)]


def way_table(results: Mapping[str, Rounds]) -> str:
    """
    What MQTT 5 and WebSocket cost beside MQTT 3.1.1 over TCP, for every broker, with a verdict for each but
    the reference (or for the only one).

    :param results: by scenario.
    """
    brokers = list(dict.fromkeys(broker for rounds in results.values() for broker in rounds))
    judged = brokers[1:] or brokers
    columns = [title for broker in brokers for title in (f"{broker} plain", broker, "ratio")]
    rows = [["scenario", "plain", *columns, "target", *_verdict_titles(judged)]]
    for name, rounds in results.items():
        plain = SCENARIOS[name].beside
        if plain is not None:
            rows.append(_way_row(name, plain, rounds, results.get(plain, {}), judged))
    return f"**Other ways**: {CPU_PER_MESSAGE}, beside the same in MQTT 3.1.1 over TCP\n\n{markdown(rows)}\n"


def _way_row(name: str, plain: str, rounds: Rounds, plain_rounds: Rounds, judged: Sequence[str]) -> list[str]:
    row, verdicts = [name, plain], []
    target = Target(None, SCENARIOS[name].most)
    for broker, runs in rounds.items():
        beside = median_of(plain_rounds.get(broker, ()), CPU_PER_MESSAGE)
        value = median_of(runs, CPU_PER_MESSAGE)
        row += [_or_dash(beside), _or_dash(value), ratio_to(beside, value)]
        if broker in judged:
            verdicts.append(verdict(target, value, beside) if target.ratio else "")
    return [*row, asked_for(target), *verdicts]


def _verdict_titles(judged: Sequence[str]) -> list[str]:
    return ["verdict"] if len(judged) == 1 else [f"verdict {broker}" for broker in judged]


def _or_dash(value: float | None) -> str:
    return "-" if value is None else number(value)


def _columns(runs: Iterable[Figures]) -> list[str]:
    """All figures that a run had, in order; of the faults only those that happened."""
    seen: dict[str, float] = {}
    for run in runs:
        for figure, value in run.items():
            seen[figure] = max(value, seen.get(figure, 0))
    return [figure for figure, most in seen.items() if figure not in FAULTS or most > 0]


def _cell(runs: Sequence[Figures], reference: Sequence[Figures] | None, figure: str) -> str:
    values = [run[figure] for run in runs if figure in run]
    if not values:
        return "-"
    cell = spread(values)
    if reference is not None and figure not in _WITHOUT_RATIO:
        cell += " " + ratio_to(median_of(reference, figure), statistics.median(values))
    return cell.rstrip()
