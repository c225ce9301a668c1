"""The longer runs: memory against the input's length, the first segment from S3, the CPU floor."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from . import commands
from .measure import measure
from .s3 import KEY, REGION, SECRET, Minio


def memory_long(options, tools):
    """Our peak memory for inputs of 1 and of 20 minutes, made by looping the clip by stream copy."""
    profiles = options.profile or ["match"]
    lines = ["| peak memory | 1 min of input | 20 min | ratio |", "|---|---|---|---|"]
    for profile in profiles:
        for tool in (tool for tool in tools if tool.ours):
            peaks = []
            for minutes in (1, 20):
                clip = commands.stretch(options, options.clip, 60 * minutes)
                folder = Path(options.work) / f"long-{profile}-{tool.key}-{minutes}"
                folder.mkdir(parents=True, exist_ok=True)
                run = measure(tool.command(profile, clip, folder), folder)
                peaks.append(run.memory)
                print(f"{profile} {tool.name}: {minutes} min of input, wall {run.wall:.0f} s, "
                      f"{run.memory / 1e6:.0f} MB", file=sys.stderr, flush=True)  # fmt: skip
                remove(folder)
            lines.append(f"| `{profile}`, {tool.name} | {peaks[0] / 1e6:.0f} MB | {peaks[1] / 1e6:.0f} MB | {peaks[1] / peaks[0]:.2f} |")
    return "\n".join(lines)


def remove(folder):
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    folder.rmdir()


def first_segment_s3(options, tools, root):
    """A two-hour file with its tables at the end, read from and written to a MinIO."""
    minio = root / ".cache/bin/minio"
    if not minio.exists():
        sys.exit(f"{minio} is not there: run scripts/test, which builds it")
    clip = commands.stretch(options, options.clip, 7200)
    size = clip.stat().st_size
    if tables_first(clip):
        sys.exit(f"{clip} has its tables at the start")
    server = Minio(minio, Path(options.work) / "minio")
    try:
        server.must("PUT", "/bench")
        server.upload("/bench/in/long.mp4", clip)
        env = dict(os.environ) | {
            "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
        }  # fmt: skip
        times = []
        for turn in range(max(options.repeat, 3)):
            place = f"out{turn}"
            command = [tools[0].path, "run", "s3://bench/in/long.mp4", "--output", f"s3://bench/{place}",
                       "--profile", "match", "--quiet"]  # fmt: skip
            run = measure(command, seen=lambda: playable(server, place), env=env, stop_at_first=True)
            times.append(run.first)
            print(f"first segment from S3: {run.first:.2f} s", file=sys.stderr, flush=True)
    finally:
        server.stop()
    return (
        f"| first segment playable | median | least |\n|---|---|---|\n"
        f"| `match`, a {size / 1e9:.1f} GB file of 2 h, tables at its end, from MinIO to MinIO | "
        f"{statistics.median(times):.2f} s | {min(times):.2f} s |"
    )


def playable(server, place):
    status, _, master = server.request("GET", f"/bench/{place}/master.m3u8")
    if status != 200:
        return False
    for variant in lines_of(master):
        status, _, playlist = server.request("GET", f"/bench/{place}/{variant}")
        for segment in lines_of(playlist) if status == 200 else []:
            return server.request("HEAD", f"/bench/{place}/{segment}")[0] == 200
    return False


def lines_of(text):
    return [line for line in text.decode().splitlines() if line and not line.startswith("#")]


def tables_first(clip):
    """Whether an MP4's moov stands before its mdat."""
    with clip.open("rb") as file:
        while head := file.read(8):
            size, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind in (b"moov", b"mdat"):
                return kind == b"moov"
            if size == 1:
                size = int.from_bytes(file.read(8), "big") - 8
            file.seek(size - 8, 1)
    return False


def cpu_floor(options, tools, root):
    """What the ladder costs above its parts, each measured alone in a process of its own."""
    bench = build(root)
    folder = Path(options.work) / "floor"
    rows = []
    for _ in range(options.repeat):
        whole = folder / "out"
        folder.mkdir(parents=True, exist_ok=True)
        run = measure(tools[0].command("abr", options.clip, whole) + ["--overwrite"], whole, memory=False)
        env = dict(os.environ) | {"FLOOR_CLIP": str(options.clip.resolve()), "FLOOR_WORK": str(folder.resolve())}
        text = subprocess.run([bench, "--floor"], check=True, capture_output=True, text=True, env=env).stdout
        parts = json.loads(text)
        rows.append({"whole": run.cpu} | parts)
    middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    whole = middle.pop("whole")
    floor = sum(value for key, value in middle.items() if key != "audio")
    lines = ["| CPU, user + system | s |", "|---|---|"]
    lines += [f"| {key}, alone | {value:.2f} |" for key, value in middle.items()]
    lines.append(f"| decode + scaling + the four encodes | {floor:.2f} |")
    lines.append(f"| the same, with sound | {floor + middle.get('audio', 0):.2f} |")
    lines.append(f"| `abr`, whole | {whole:.2f} |")
    lines.append(f"| above decode + scaling + encodes | **{100 * (whole / floor - 1):+.1f} %** |")
    if "audio" in middle:
        lines.append(f"| above these and sound | **{100 * (whole / (floor + middle['audio']) - 1):+.1f} %** |")
    return "\n".join(lines)


def build(root):
    """The `media` bench, which measures the parts when asked `--floor`."""
    command = ["cargo", "bench", "-p", "transcode-core", "--bench", "media", "--no-run", "--message-format=json"]
    text = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in text.splitlines():
        found = json.loads(line)
        if found.get("reason") == "compiler-artifact" and found.get("executable") and found["target"]["name"] == "media":
            return found["executable"]
    sys.exit("cargo built no bench `media`")
