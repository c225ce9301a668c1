// The player page. Owns: waiting for the ladder, playing it, choosing a level, and the figures.
// Knows only what lies beside it: master.m3u8, the media playlists, plan.json, report.json.
// Plays through Media Source Extensions where hls.js could be loaded, else through the browser's
// own HLS. `?engine=hls.js` or `?engine=native` insists on one of them. Times are in seconds.

const RELOAD = 1500; // ms between looks at a playlist that still grows; segments last seconds
const RETRY = 700; // ms between looks for a master that is not there yet
const REPORT_LOOKS = 20; // looks at an ended job for the report, its last object
const CELLS = 400; // cells of the segment strip at most; more would be thinner than a pixel

const $ = (id) => document.getElementById(id);
const video = $("video");
const wanted = new URLSearchParams(location.search).get("engine");

const job = {
  phase: "waiting", // waiting, live, finished
  engine: null, // hls.js, native
  levels: [], // {name, uri, width, height, declared}, best first
  level: "auto", // what the viewer asked for
  playing: null, // the name of the level that is shown, where it can be told
  segments: [], // {start, duration} that can be played
  total: null, // segments the plan holds
  plan: null,
  report: null,
  errors: [],
};
const loaded = new Map(); // "level/number" → bit/s of a segment that was fetched
let hls = null;
let redraw = false; // a level was chosen, and its first segment is not there yet
let pictures = null; // {number, mediaTime} of the last picture shown

// ---- fetching and reading ----------------------------------------------------------------------

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function get(path, how) {
  try {
    const answer = await fetch(path, { cache: "no-store" });
    return answer.ok ? await answer[how]() : null;
  } catch {
    return null; // the server is not there at this moment; the caller looks again
  }
}

// An attribute list of RFC 8216 §4.2.
function attributes(line) {
  const found = line.slice(line.indexOf(":") + 1).matchAll(/([A-Z0-9-]+)=("[^"]*"|[^,]*)/g);
  return Object.fromEntries([...found].map(([, key, value]) => [key, value.replace(/^"|"$/g, "")]));
}

function readMaster(text) {
  const lines = text.split(/\r?\n/);
  const levels = [];
  lines.forEach((line, at) => {
    if (!line.startsWith("#EXT-X-STREAM-INF:")) return;
    const uri = lines.slice(at + 1).find((next) => next && !next.startsWith("#"));
    const is = attributes(line);
    const [width, height] = (is.RESOLUTION ?? "0x0").split("x").map(Number);
    levels.push({
      name: is.NAME ?? (uri.includes("/") ? uri.split("/").at(-2) : `${height || "audio"}`),
      uri, width, height,
      codecs: is.CODECS ?? "",
      declared: Number(is["AVERAGE-BANDWIDTH"] ?? is.BANDWIDTH ?? 0),
      peak: Number(is.BANDWIDTH ?? 0),
    });
  });
  return levels.sort((a, b) => b.height - a.height || b.peak - a.peak);
}

function readMedia(text) {
  let start = 0;
  const segments = [...text.matchAll(/^#EXTINF:([0-9.]+)/gm)].map(([, duration]) => {
    const segment = { start, duration: Number(duration) };
    start += segment.duration;
    return segment;
  });
  return { segments, ended: /^#EXT-X-ENDLIST/m.test(text) };
}

// `8M`, `192k` as the plan writes bit rates.
const bits = (text) => parseFloat(text) * (/M$/.test(text) ? 1e6 : /k$/.test(text) ? 1e3 : 1);

// ---- words for figures ---------------------------------------------------------------------------

function rate(bitsPerSecond) {
  if (!bitsPerSecond) return "–";
  return bitsPerSecond >= 1e6 ? `${(bitsPerSecond / 1e6).toFixed(2)} Mbit/s` : `${Math.round(bitsPerSecond / 1e3)} kbit/s`;
}

function bytes(count) {
  if (!count) return "–";
  return count >= 1e9 ? `${(count / 1e9).toFixed(2)} GB` : count >= 1e6 ? `${(count / 1e6).toFixed(1)} MB` : `${Math.round(count / 1e3)} kB`;
}

const put = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };

// ---- the job -------------------------------------------------------------------------------------

async function waitForMaster() {
  for (;;) {
    const text = await get("master.m3u8", "text");
    job.levels = text ? readMaster(text) : [];
    if (job.levels.length) return;
    job.plan ??= await get("plan.json", "json");
    await sleep(RETRY);
  }
}

// Looks at one media playlist until it ends: all rungs share one timeline. The report is a job's last
// object, written after the playlists have ended; a ladder from elsewhere has none.
async function follow() {
  for (let patience = REPORT_LOOKS; patience > 0;) {
    const text = await get(job.levels.at(-1).uri, "text");
    if (text) {
      const { segments, ended } = readMedia(text);
      job.segments = segments;
      job.phase = ended ? "finished" : "live";
    }
    await learn();
    reviveNative();
    if (job.report) return;
    if (job.phase === "finished") patience -= 1;
    await sleep(RELOAD);
  }
}

// What the plan and the report say; the final master has measured bit rates.
async function learn() {
  job.plan ??= await get("plan.json", "json");
  if (job.plan) {
    const { slots, segment_slots: each } = job.plan.timeline;
    job.total = Math.ceil(slots / each);
    job.levels.forEach((level) => {
      if (job.plan.rungs.length === 1) level.name = job.plan.rungs[0].name;
    });
  }
  if (job.phase === "finished") {
    job.total = job.segments.length;
    const [master, report] = await Promise.all([get("master.m3u8", "text"), get("report.json", "json")]);
    for (const fresh of master ? readMaster(master) : []) {
      const level = job.levels.find(({ uri }) => uri === fresh.uri);
      if (level) Object.assign(level, { declared: fresh.declared, peak: fresh.peak, measured: true });
    }
    job.report = report;
  }
  if (!video.poster) {
    const picture = await get("thumbnail.jpg", "blob");
    if (picture) video.poster = "thumbnail.jpg";
  }
  drawLevels();
  drawTable();
  drawStrip();
}

// ---- the two engines ----------------------------------------------------------------------------

function start() {
  const native = video.canPlayType("application/vnd.apple.mpegurl") !== "";
  const script = Boolean(window.Hls?.isSupported());
  job.engine = wanted ?? (script ? "hls.js" : "native");
  if (job.engine === "hls.js" ? !script : !native) {
    trouble(script || native
      ? `this browser cannot play through ${job.engine} here; leave out ?engine=`
      : "this browser neither plays HLS itself nor found hls.min.js beside this page: run scripts/media player, then reload");
    return;
  }
  if (job.engine === "hls.js") startScript(); else startNative("master.m3u8", 0);
}

function startScript() {
  const { Events, ErrorTypes } = window.Hls;
  // From the beginning, also while the playlist grows: this is a film that is being made, not a
  // broadcast. A quarter of an hour back may stay in memory.
  hls = new window.Hls({ startPosition: 0, backBufferLength: 900, enableWorker: true });
  const level = (index) => job.levels.find(({ uri }) => hls.levels[index]?.url?.[0]?.endsWith(`/${uri}`));
  hls.on(Events.MANIFEST_PARSED, () => { if (job.level !== "auto") applyLevel(); });
  hls.on(Events.FRAG_CHANGED, (_, { frag }) => { job.playing = level(frag.level)?.name ?? null; });
  hls.on(Events.FRAG_LOADED, (_, { frag }) => {
    const name = level(frag.level)?.name;
    if (name) loaded.set(`${name}/${frag.sn}`, (frag.stats.loaded * 8) / frag.duration);
  });
  hls.on(Events.ERROR, (_, error) => {
    if (!error.fatal) return;
    trouble(`${error.details}: trying again`);
    if (error.type === ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
    else if (hls.levels.length) setTimeout(() => hls.startLoad(), RELOAD);
    else setTimeout(() => hls.loadSource("master.m3u8"), RELOAD);
  });
  hls.on(Events.FRAG_BUFFERED, (_, { frag }) => {
    trouble(null);
    // A decoder whose pictures were taken away underneath it may show nothing until it is sought.
    const { ended, currentTime: time } = video;
    const here = frag.start <= time && (time < frag.end || ended);
    if (redraw && here && level(frag.level)?.name === job.level) {
      redraw = false;
      video.currentTime = time;
    }
  });
  hls.loadSource("master.m3u8");
  hls.attachMedia(video);
}

// The browser's own HLS chooses among levels by itself; one level is played by its own playlist.
function startNative(uri, time) {
  const paused = video.paused && !video.ended && video.readyState > 0;
  video.addEventListener("loadedmetadata", () => {
    video.currentTime = time;
    if (!paused) video.play().catch(() => {});
  }, { once: true });
  video.src = uri;
}

// Chromium's own HLS takes a playlist that grows for a broadcast: it may end before the film does,
// and does not notice that the film has an end at last. Then it is begun again where it stood.
function reviveNative() {
  const { ended, duration, currentTime: time } = video;
  const end = job.segments.reduce((sum, segment) => sum + segment.duration, 0);
  const blind = job.phase === "finished" && duration === Infinity;
  if (job.engine !== "native" || !(blind || (ended && end > time + 1))) return;
  startNative(job.levels.find(({ name }) => name === job.level)?.uri ?? "master.m3u8", time);
}

// At once, so that the choice is seen; where hls.js has not read the master yet, as soon as it has.
function applyLevel() {
  if (!hls?.levels.length) return;
  const level = job.levels.find(({ name }) => name === job.level);
  const index = level ? hls.levels.findIndex(({ url }) => url[0].endsWith(`/${level.uri}`)) : -1;
  redraw = index >= 0;
  hls.currentLevel = index;
}

function setLevel(name) {
  const level = job.levels.find((one) => one.name === name);
  if (name !== "auto" && !level) return false;
  job.level = name;
  if (job.engine === "native") startNative(level ? level.uri : "master.m3u8", video.currentTime);
  else applyLevel();
  drawLevels();
  return true;
}

function trouble(text) {
  if (text) job.errors.push(text);
  $("trouble").hidden = !text;
  put("trouble", text ?? "");
}

// ---- drawing --------------------------------------------------------------------------------------

function drawLevels() {
  const box = $("levels");
  const names = ["auto", ...job.levels.map(({ name }) => name)];
  if (box.dataset.names !== names.join()) {
    box.dataset.names = names.join();
    box.querySelectorAll("label").forEach((label) => label.remove());
    for (const name of names) {
      const label = document.createElement("label");
      label.innerHTML = '<input type="radio" name="level"><b></b><span></span>';
      const input = label.firstChild;
      input.value = name;
      label.children[1].textContent = name;
      input.addEventListener("change", () => setLevel(name));
      box.append(label);
    }
  }
  for (const label of box.querySelectorAll("label")) {
    const input = label.firstChild;
    const level = job.levels.find(({ name }) => name === input.value);
    input.checked = input.value === job.level;
    label.classList.toggle("shown", Boolean(level) && input.value === job.playing);
    label.lastChild.textContent = level ? rate(level.declared) : (job.level === "auto" && job.playing) || "by bandwidth";
  }
}

function drawTable() {
  const rows = job.levels.map((level) => {
    const planned = job.plan?.rungs.find(({ name }) => name === level.name);
    const made = job.report?.rungs.find(({ rung }) => rung === level.name);
    const asked = [planned?.video?.bitrate, planned?.audio?.bitrate].filter(Boolean);
    const measured = made?.bandwidth ? bits(made.bandwidth.average) : level.measured ? level.declared : 0;
    const size = made?.segments.reduce((sum, segment) => sum + (segment.bytes ?? 0), 0);
    return [
      level.name,
      level.height ? `${level.width} × ${level.height}` : "sound only",
      level.codecs.replace(/avc1\.\w+/, "H.264").replace(/mp4a\.40\.2/, "AAC").replace(",", " + "),
      asked.map((text) => rate(bits(text))).join(" + ") || rate(level.declared),
      rate(measured),
      rate(made?.bandwidth ? bits(made.bandwidth.peak) : level.measured ? level.peak : 0),
      job.total ? `${job.segments.length} of ${job.total}` : `${job.segments.length}`,
      bytes(size),
    ];
  });
  $("table").replaceChildren(...rows.map((cells) => {
    const row = document.createElement("tr");
    row.classList.toggle("shown", cells[0] === job.playing);
    cells.forEach((text, column) => {
      const cell = row.insertCell();
      cell.textContent = text;
      cell.classList.toggle("number", column > 2);
    });
    return row;
  }));
  const left = job.plan?.report.notes.filter(({ reason }) => reason.kind === "above-source") ?? [];
  const why = left.length ? `${left.map(({ rung }) => rung).join(", ")} left out: the source has ${left[0].reason.source} lines. ` : "";
  const cost = job.report?.timings;
  if (!cost) put("cost", why);
  else {
    const seconds = job.segments.reduce((sum, { duration }) => sum + duration, 0);
    put("cost", `${why}Made in ${(cost.total_ms / 1e3).toFixed(1)} s, ${(seconds * 1e3 / cost.total_ms).toFixed(1)} × realtime, ` +
      `${(cost.cpu_ms / 1e3).toFixed(1)} s of CPU; the first segment was stored after ${(cost.first_segment_ms / 1e3).toFixed(1)} s.`);
  }
}

// One cell a segment; its height is the bit rate of the rung that is shown, once that is known.
function drawStrip() {
  const strip = $("strip");
  const total = Math.max(job.total ?? 0, job.segments.length);
  const cells = Math.min(total, CELLS);
  if (strip.children.length !== cells) {
    strip.replaceChildren(...Array.from({ length: cells }, () => document.createElement("i")));
  }
  const name = job.playing ?? job.levels[0]?.name;
  const made = job.report?.rungs.find(({ rung }) => rung === name)?.segments;
  const rates = job.segments.map(({ duration }, at) => made?.[at]?.bytes * 8 / duration || loaded.get(`${name}/${at}`) || 0);
  const most = Math.max(1, ...rates);
  const now = segmentAt(video.currentTime);
  [...strip.children].forEach((cell, at) => {
    const first = Math.floor((at * total) / cells);
    cell.className = first < job.segments.length ? "playable" : "";
    if (now >= first && now < Math.floor(((at + 1) * total) / cells)) cell.className += " now";
    // As wide as it is long: a film's last segment is often short.
    if (cells === total) cell.style.flexGrow = String(job.segments[first]?.duration ?? job.segments[0]?.duration ?? 1);
    cell.style.height = rates[first] ? `${25 + (75 * rates[first]) / most}%` : "";
  });
  strip.ariaValueMax = String(Math.max(0, job.segments.length - 1));
  strip.ariaValueNow = String(now);
  strip.ariaValueText = `segment ${now + 1} of ${total}`;
  put("strip-note", total ? `${job.segments.length} of ${total} segments playable; a bar is a segment, its height its bits` : "");
}

function segmentAt(time) {
  // Half a millisecond: EXTINF is a decimal, the player's clock another.
  const next = job.segments.findIndex(({ start: begin }) => begin > time + 0.0005);
  return next === -1 ? Math.max(0, job.segments.length - 1) : next - 1;
}

function bufferAhead() {
  const { buffered, currentTime } = video;
  for (let at = 0; at < buffered.length; at += 1) {
    if (buffered.start(at) <= currentTime + 0.1 && currentTime < buffered.end(at)) return buffered.end(at) - currentTime;
  }
  return 0;
}

// The level that is shown; the browser's own HLS does not say it, the picture's height does.
function noticeLevel() {
  if (job.engine === "native" && video.videoHeight) {
    job.playing = job.levels.find(({ height }) => height === video.videoHeight)?.name ?? job.playing;
  }
}

function draw() {
  noticeLevel();
  const { totalVideoFrames: frames = 0, droppedVideoFrames: dropped = 0 } = video.getVideoPlaybackQuality?.() ?? {};
  const badge = {
    waiting: "waiting for the first segment",
    live: `live · ${job.segments.length}${job.total ? ` of ${job.total}` : ""} segments playable`,
    finished: `finished · ${job.segments.length} segments`,
  }[job.phase];
  put("badge", badge);
  $("badge").className = `badge ${job.phase}`;
  put("shown", video.videoHeight ? `${video.videoWidth} × ${video.videoHeight}` : "–");
  put("rate", rate(segmentRate()));
  put("buffer", `${bufferAhead().toFixed(1)} s`);
  put("frames", String(frames));
  put("dropped", frames ? `${dropped} (${((100 * dropped) / frames).toFixed(1)} %)` : "0");
  put("engine", job.engine ?? "–");
  drawLevels();
  drawStrip();
}

function segmentRate() {
  const at = segmentAt(video.currentTime);
  const made = job.report?.rungs.find(({ rung }) => rung === job.playing)?.segments[at];
  return made?.bytes ? (made.bytes * 8) / job.segments[at].duration : loaded.get(`${job.playing}/${at}`);
}

// ---- keys ---------------------------------------------------------------------------------------

const frameTime = () => {
  const [num, den = 1] = (job.plan?.timeline.rate ?? "25").split("/").map(Number);
  return den / num;
};
const seek = (time) => { video.currentTime = Math.max(0, Math.min(time, video.duration || 0)); };
const step = (frames) => { video.pause(); seek(video.currentTime + frames * frameTime()); };

function stepLevel(by) {
  const at = job.levels.findIndex(({ name }) => name === (job.level === "auto" ? job.playing : job.level));
  const next = job.levels[Math.max(0, Math.min(job.levels.length - 1, at + by))];
  if (next) setLevel(next.name);
}

const keys = {
  " ": () => (video.paused ? video.play() : video.pause()),
  k: () => (video.paused ? video.play() : video.pause()),
  ArrowLeft: () => seek(video.currentTime - 5),
  ArrowRight: () => seek(video.currentTime + 5),
  ",": () => step(-1),
  ".": () => step(1),
  "[": () => stepLevel(1),
  "]": () => stepLevel(-1),
  a: () => setLevel("auto"),
  m: () => { video.muted = !video.muted; },
  f: () => (document.fullscreenElement ? document.exitFullscreen() : video.requestFullscreen()),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, a, button") && /^( |Arrow.*|Enter)$/.test(event.key)) return;
  const action = keys[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

$("strip").addEventListener("click", ({ target, currentTarget }) => {
  const cells = [...currentTarget.children];
  const total = Math.max(job.total ?? 0, job.segments.length);
  const segment = job.segments[Math.floor((cells.indexOf(target) * total) / cells.length)];
  if (segment) seek(segment.start);
});

// ---- for scripts and tests ----------------------------------------------------------------------

window.transcodePlayer = {
  state: () => ({
    ...job,
    plan: undefined,
    report: undefined,
    reported: Boolean(job.report),
    total: job.total,
    playable: job.segments.length,
    time: video.currentTime,
    duration: Number.isFinite(video.duration) ? video.duration : null,
    paused: video.paused,
    seeking: video.seeking,
    width: video.videoWidth,
    height: video.videoHeight,
    frames: video.getVideoPlaybackQuality?.().totalVideoFrames ?? 0,
    dropped: video.getVideoPlaybackQuality?.().droppedVideoFrames ?? 0,
    bufferAhead: bufferAhead(),
    picture: pictures,
  }),
  setLevel,
  seek,
  video,
};

if (video.requestVideoFrameCallback) {
  const shown = (_, { mediaTime, presentedFrames }) => {
    pictures = { mediaTime, number: presentedFrames };
    video.requestVideoFrameCallback(shown);
  };
  video.requestVideoFrameCallback(shown);
}

setInterval(draw, 250);
draw();
await waitForMaster();
await learn();
put("title", job.plan?.source?.uri.split("/").at(-1) || "Transcode");
if (job.plan) document.title = `${$("title").textContent} · Transcode`;
start();
video.play().catch(() => {}); // muted, so it may begin by itself; where not, the viewer begins it
await follow();
