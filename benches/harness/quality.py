"""VMAF, XPSNR and SSIM of every rung of a finished output, at the bits it really spent."""

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

from . import commands
from .measure import measure, names

TAGS = "colorspace=bt709:color_primaries=bt709:color_trc=bt709"


def joined(playlist):
    """All segments of a playlist as one file: MPEG-TS can be concatenated."""
    whole = playlist.with_suffix(".joined.ts")
    with whole.open("wb") as out:
        for segment in names(playlist):
            with (playlist.parent / segment).open("rb") as part:
                shutil.copyfileobj(part, out)
    return whole


def facts(path):
    """Pictures, bits of video, rows and colour range of a file."""
    text = commands.output(["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries",
                            "packet=size:stream=width,height,color_range", "-of", "json", path])  # fmt: skip
    found = json.loads(text)
    stream = found["streams"][0]
    sizes = [int(packet["size"]) for packet in found["packets"]]
    return len(sizes), 8 * sum(sizes), stream["height"], stream.get("color_range", "unknown")


def metrics(options, encoded, clip):
    width, height, (top, bottom), _ = commands.probe(clip)
    log = Path(options.work) / "vmaf.json"
    # Picture n of one against picture n of the other, at the source's size, with the same tags.
    same = f"settb=AVTB,setpts=N*{bottom}/{top}/TB,setparams={TAGS}"
    outs = 3 if options.full else 2
    pads = lambda name: "".join(f"[{name}{at}]" for at in range(outs))  # noqa: E731
    graph = (
        f"[0:v]{same},scale={width}:{height}:flags=bicubic,format=yuv420p,setparams={TAGS}:range=tv,split={outs}{pads('d')};"
        f"[1:v]{same},format=yuv420p,setparams={TAGS}:range=tv,split={outs}{pads('r')};"
        f"[d0][r0]libvmaf=log_fmt=json:log_path={log}:n_threads=2:n_subsample={1 if options.full else 5}[o0];"
        f"[d1][r1]ssim[o1]" + (";[d2][r2]xpsnr[o2]" if options.full else "")
    )
    maps = [part for at in range(outs) for part in ("-map", f"[o{at}]")]
    command = [options.reference, "-hide_banner", "-nostats", "-i", encoded, "-i", clip, "-lavfi", graph, *maps, "-f", "null", "-"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"measuring {encoded} failed:\n{done.stderr[-2000:]}")
    found = {
        "VMAF": json.loads(log.read_text())["pooled_metrics"]["vmaf"]["mean"],
        "SSIM": -10 * math.log10(1 - float(re.search(r"SSIM.* Y:([0-9.]+)", done.stderr)[1])),
    }
    if options.full:
        found["XPSNR"] = float(re.search(r"XPSNR.*?y: *([0-9.]+)", done.stderr)[1])
    return found


def rungs(folder):
    """Media playlists that the master names, the largest picture first."""
    listed = [folder / variant for variant in names(folder / "master.m3u8")]
    files = [joined(playlist) for playlist in listed]
    return sorted(files, key=lambda path: -facts(path)[2])


def table(options, tools, folders, clip, profile):
    """One line a rung and tool; ours with the difference to the newest ffmpeg."""
    pictures, _, _, colours = facts(clip)
    _, _, (top, bottom), _ = commands.probe(clip)
    seconds = pictures * bottom / top
    found = {tool.name: [] for tool in tools}
    for tool in tools:
        for path in rungs(folders[tool.name]):
            count, bits, height, shades = facts(path)
            if count != pictures:
                sys.exit(f"{path} holds {count} pictures, the source {pictures}: they cannot be compared one by one")
            if (shades == "pc") != (colours == "pc"):
                sys.exit(f"{path} has colour range {shades}, the source {colours}: they cannot be compared")
            row = {"rows": height, "rate": bits / seconds} | metrics(options, path, clip)
            found[tool.name].append(row)
            path.unlink()
    keys = [key for key in ("VMAF", "XPSNR", "SSIM") if key in found[tools[0].name][0]]
    units = {"VMAF": "VMAF", "XPSNR": "XPSNR, dB", "SSIM": "SSIM, dB"}
    lines = [f"| `{profile}` | rung | video bits | " + " | ".join(units[key] for key in keys) + " |"]
    lines.append("|---|---|---|" + "---|" * len(keys))
    best = found[tools[-1].name]
    for at, base in enumerate(best):
        for tool in tools:
            row = found[tool.name][at]
            rate = f"{row['rate'] / 1e6:.2f} Mbit/s"
            cells = [f"{row[key]:.2f}" for key in keys]
            if tool.ours:
                rate += f" ({100 * (row['rate'] / base['rate'] - 1):+.1f} %)"
                cells = [f"{row[key]:.2f} (**{row[key] - base[key]:+.2f}**)" for key in keys]
            lines.append(f"| {tool.name} | {base['rows']}p | {rate} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def film(options, tools, clip):
    """The quality of abr on filmed motion: one run of each, no timing."""
    if options.full is False:
        clip = commands.stretch(options, clip, 6)
    folders = {}
    for tool in tools:
        folder = folders[tool.name] = Path(options.work) / f"film-{tool.key}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        measure(tool.command("abr", clip, folder), folder, memory=False)
    return table(options, tools, folders, clip, f"abr` on `{clip.stem}")
