"""The other end of bench/side.ts: says what it computed, then does as many units as each line asks for, and times them."""

import json
import statistics
import sys
import time


def serve(values, settings, work, peak=None, first=None):
    """
    `values`: lists of numbers by name, compared before anything is timed; `work(count)` does `count` units; `peak`: bytes
    of memory held so far at most; `first`: seconds until the first unit of work was done.
    """
    measured = {"peakBytes": peak, "firstStep": first}
    say({"values": values, "settings": settings} | {name: value for name, value in measured.items() if value is not None})
    for line in sys.stdin:
        start = time.perf_counter()
        work(int(line))
        say({"seconds": time.perf_counter() - start})


def say(message):
    print(json.dumps(message, allow_nan=False), flush=True)


def peak_bytes():
    """The most resident memory that this process has held so far; not ru_maxrss, which starts at the parent's."""
    with open("/proc/self/status") as status:
        (line,) = (line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def fastest(choices, work, repeats=3):
    """The choice under which `work(choice)` takes least time: the median of so many runs of each, after one not counted."""

    def time_of(choice):
        work(choice)
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            work(choice)
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    return min(choices, key=time_of)
