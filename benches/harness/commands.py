"""What is run: our command and ffmpeg's, for the same profile, input and output folder."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# PyPI's imageio-ffmpeg 0.8.1 carries ffmpeg 9.0.2 with libvmaf.
IMAGEIO = "imageio-ffmpeg==0.8.1"

# As pipelines/profiles/abr.toml has them.
LADDER = [(1080, "8M", "192k"), (720, "4M", "128k"), (480, "2M", "96k"), (360, "800k", "64k")]
SEGMENT = 6


def output(command):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


def probe(clip):
    """Width, height and frame rate (a fraction) of a file's picture; whether it has sound."""
    text = output(["ffprobe", "-v", "error", "-show_entries", "stream=codec_type,width,height,r_frame_rate",
                   "-of", "csv=p=0", clip])  # fmt: skip
    sound = "audio" in text
    line = next(line for line in text.splitlines() if line.startswith("video"))
    _, width, height, rate = line.split(",")[:4]
    top, bottom = map(int, rate.split("/"))
    return int(width), int(height), (top, bottom), sound


@dataclass
class Tool:
    name: str
    key: str
    path: Path
    version: str
    ours: bool = False
    platform: str = "auto"

    def command(self, profile, clip, folder):
        if self.ours:
            return [self.path, "run", clip, "--output", folder, "--profile", profile, "--platform", self.platform,
                    "--quiet"]  # fmt: skip
        return ffmpeg(self.path, profile, clip, folder)


def ladder(clip):
    """The rungs that our plan keeps for this clip: never larger than the source."""
    _, height, _, _ = probe(clip)
    return [rung for rung in LADDER if rung[0] <= height]


def ffmpeg(path, profile, clip, folder):
    """One command, one decode; every option that has a counterpart in the profile says the same."""
    _, _, (top, bottom), sound = probe(clip)
    gop = -(-SEGMENT * top // bottom)
    keys = ["-g", gop, "-keyint_min", gop, "-sc_threshold", 0]
    hls = ["-f", "hls", "-hls_time", SEGMENT, "-hls_playlist_type", "event", "-master_pl_name", "master.m3u8"]
    start = [path, "-hide_banner", "-nostdin", "-v", "error", "-y", "-i", clip]
    if profile == "match":
        audio = ["-c:a", "aac", "-b:a", "128k", "-ac", 2] if sound else []
        return [*start, "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-b:v", "2M", *keys, *audio,
                *hls, "-hls_segment_filename", f"{folder}/output_%05d.ts", f"{folder}/output.m3u8"]  # fmt: skip
    rungs = ladder(clip)
    _, source, _, _ = probe(clip)
    graph = f"[0:v]split={len(rungs)}" + "".join(f"[s{at}]" for at in range(len(rungs)))
    maps, rates, streams = [], [], []
    for at, (height, video, audio) in enumerate(rungs):
        graph += f";[s{at}]" + ("null" if height == source else f"scale=-2:{height}") + f"[v{at}]"
        maps += ["-map", f"[v{at}]"]
        rates += [f"-b:v:{at}", video]
        streams.append(f"v:{at},a:{at}" if sound else f"v:{at}")
    if sound:
        for at, (_, _, audio) in enumerate(rungs):
            maps += ["-map", "0:a:0"]
            rates += [f"-b:a:{at}", audio]
        rates += ["-c:a", "aac", "-ac", 2]
    return [*start, "-filter_complex", graph, *maps, "-c:v", "libx264", "-preset", "veryfast", *keys, *rates, *hls,
            "-var_stream_map", " ".join(streams), "-hls_segment_filename", f"{folder}/%v/%05d.ts",
            f"{folder}/%v/playlist.m3u8"]  # fmt: skip


def newer_ffmpeg(root):
    """The ffmpeg of PyPI's imageio-ffmpeg, fetched once."""
    place = root / ".cache/py"
    found = sorted(place.glob("imageio_ffmpeg/binaries/ffmpeg-linux*"))
    if not found:
        print(f"fetching {IMAGEIO} into {place}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", place, IMAGEIO], check=True)
        found = sorted(place.glob("imageio_ffmpeg/binaries/ffmpeg-linux*"))
    if not found:
        sys.exit(f"{IMAGEIO} holds no ffmpeg for this machine")
    found[0].chmod(0o755)
    return found[0]


def tools(options, root):
    """Ours first, the newest ffmpeg last."""
    found = []
    for at, platform in enumerate(options.platform or ["auto"]):
        name, key = ("transcode", "transcode") if platform == "auto" else (f"transcode, {platform}", f"transcode-{at}")
        found.append(Tool(name, key, options.binary.resolve(), "", ours=True, platform=platform))
    for key, path in (("ffmpeg-debian", "ffmpeg"), ("ffmpeg-new", newer_ffmpeg(root))):
        version = re.search(r"ffmpeg version n?([\d.]+)", output([path, "-version"]))[1]
        found.append(Tool(f"ffmpeg {version}", key, path, "Debian" if path == "ffmpeg" else "PyPI imageio-ffmpeg 0.8.1"))
    return found


def stretch(options, clip, seconds):
    """The clip cut or looped to about that length by stream copy, made once; tables at the end."""
    made = Path(options.work) / f"{clip.stem}-{seconds}s.mp4"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        part = made.with_suffix(".part")
        output(["ffmpeg", "-v", "error", "-y", "-stream_loop", "-1", "-i", clip, "-t", seconds, "-map", "0:v:0",
                "-map", "0:a:0?", "-c", "copy", "-f", "mp4", part])  # fmt: skip
        part.rename(made)
    return made
