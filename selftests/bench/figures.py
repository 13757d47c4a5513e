# SPDX-License-Identifier: GPL-2.0-only
"""The figures that layout mode is to reach, and what they are in a set of results."""
from collections import namedtuple

Cell = namedtuple("Cell", "text goal value")

READS = ("r4k-1", "r4k-32", "r4k-32b")
RAM = ("brd", "null")


class Ratio:
    """one target's cost to another's, for each work and backing"""

    def __init__(self, target, to, works, goals, field="us"):
        self.target, self.to, self.works, self.field = target, to, works, field
        self.goals = goals

    def cells(self, machines):
        for work in self.works:
            for backing, goal in self.goals.items():
                machine = machines.get(("icount", backing), {})
                one = machine.get((self.target, work))
                other = machine.get((self.to, work))
                if one and other:
                    text = f"{self.target} / {self.to}, {work}, {backing}"
                    if self.field == "cpu":
                        text += ", CPU"
                    yield Cell(text, goal, getattr(one, self.field) /
                               getattr(other, self.field))


class Counter:
    """the most that any layout-mode target counted for an I/O once it was warm"""

    def __init__(self, text, value):
        self.text, self.value = text, value

    def cells(self, machines):
        for backing in RAM:
            machine = machines.get(("icount", backing), {})
            values = [self.value(machine, target, work, result)
                      for (target, work), result in machine.items()
                      if layout_hit(target)]
            if values:
                yield Cell(f"{self.text}, {backing}", 0, max(values))


def layout_hit(target):
    return target in ("raw", "fixed", "dynamic", "block-raw") or target.startswith("chain")


def added_switches(machine, target, work, result):
    """beyond those of the file; with few I/Os the start of fio would count for more"""
    file = machine.get(("block" if target == "block-raw" else "file", work))
    return round(result.switches - file.switches, 2) if file and "4k" in work else 0


FIGURES = (
    Ratio("dynamic", "file", READS, {"brd": 1.40, "null": 1.30}),
    Ratio("dynamic", "loop", READS, {"brd": 0.70, "null": 0.85}),
    Ratio("dynamic", "ring-vhd", READS, dict.fromkeys(RAM, 0.60)),
    Ratio("dynamic", "nbd-vhd", READS, dict.fromkeys(RAM, 0.25)),
    Ratio("dynamic", "file", ("w4k-32",), dict.fromkeys(RAM, 1.40)),
    Ratio("dynamic", "file", ("64k-read", "64k-write"), dict.fromkeys(RAM, 1.20)),
    Ratio("dynamic", "file", ("1m-read", "1m-write"), dict.fromkeys(RAM, 1.03)),
    Ratio("dynamic", "loop", ("r4k-1",), {"latency": 0.97}),
    Ratio("dynamic", "loop", ("r4k-1",), {"latency": 0.75}, "cpu"),
    Ratio("chain30", "dynamic", ("r4k-1", "r4k-32", "1m-read"), dict.fromkeys(RAM, 1.02)),
    Ratio("block-raw", "linear", ("r4k-1", "r4k-32", "w4k-32"), dict.fromkeys(RAM, 1.30)),
    Ratio("fresh-dynamic", "fresh-file", ("fresh-write",), dict.fromkeys(RAM, 1.30)),
    Ratio("ring-vhd", "loop", ("r4k-32",), dict.fromkeys(RAM, 1.30)),
    Ratio("ring-vhd", "loop", ("1m-read",), dict.fromkeys(RAM, 2.20)),
    Counter("bytes copied, warm", lambda *args: args[-1].counters.get("copied", 0)),
    Counter("upcalls, warm", lambda *args: args[-1].counters.get("upcalls", 0)),
    Counter("context switches added to an I/O", added_switches),
)
