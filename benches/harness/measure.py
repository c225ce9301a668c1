"""Runs one command and finds its wall time, CPU, memory, and when a first segment could be played."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 3600.0  # seconds until a run counts as hung


@dataclass
class Run:
    wall: float  # s
    cpu: float  # s, user + system
    memory: float  # bytes, peak of the tree's Pss
    first: float  # s until a first segment can be played; NaN where nobody looked


def tree(pid):
    """The process and all below it."""
    found, todo = [], [pid]
    while todo:
        at = todo.pop()
        found.append(at)
        try:
            for task in os.listdir(f"/proc/{at}/task"):
                todo += map(int, Path(f"/proc/{at}/task/{task}/children").read_text().split())
        except OSError:
            pass
    return found


def pss(pid):
    """Bytes; zero for one that has ended."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def names(playlist):
    """The URIs of a playlist; nothing where it is not there."""
    try:
        text = playlist.read_text()
    except OSError:
        return []
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def playable(folder):
    """Master, media playlist and segment are there, each named by the one before."""
    for variant in names(folder / "master.m3u8"):
        playlist = folder / variant
        if any((playlist.parent / segment).exists() for segment in names(playlist)):
            return True
    return False


def running(pid):
    """Whether a child still runs; leaves its figures to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def measure(command, folder=None, seen=None, env=None, stop_at_first=False, memory=True):
    """Runs the command to its end. `seen` tells whether a first segment can be played; by default
    the folder is looked at."""
    seen = seen or (lambda: playable(folder))
    peak, first = [0], [float("nan")]
    over = threading.Event()
    log = open("/dev/null", "w") if folder is None else open(f"{folder}.log", "w")
    with log:
        begin = time.monotonic()
        process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)

        def watch():
            while not over.wait(0.01):
                if seen():
                    first[0] = time.monotonic() - begin
                    return

        def weigh():
            while not over.wait(0.1):
                peak[0] = max(peak[0], sum(map(pss, tree(process.pid))))

        threads = [threading.Thread(target=weigh, daemon=True)] if memory else []
        if folder is not None or stop_at_first:
            threads.append(threading.Thread(target=watch, daemon=True))
        for thread in threads:
            thread.start()
        alarm = threading.Timer(PATIENCE, os.kill, (process.pid, signal.SIGKILL))
        alarm.start()
        if stop_at_first:
            while threads[-1].is_alive() and running(process.pid):
                threads[-1].join(0.2)
            os.kill(process.pid, signal.SIGTERM)  # Popen's own would take the figures
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - begin
        alarm.cancel()
        over.set()
        for thread in threads:
            thread.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    stopped = stop_at_first and first[0] == first[0]  # NaN where it ended before
    if process.returncode != 0 and not stopped:
        text = "" if folder is None else Path(f"{folder}.log").read_text()[-2000:]
        sys.exit(f"ended with {process.returncode}: {' '.join(map(str, command))}\n{text}")
    return Run(wall, usage.ru_utime + usage.ru_stime, peak[0], first[0])
