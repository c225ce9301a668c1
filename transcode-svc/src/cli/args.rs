//! The command line as data. Owns every option's name, check and help; does nothing.

use super::exit::exit_codes;
use clap::{ArgAction, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use transcode_core::spec::{Preset, Rendition, Tune};
use transcode_core::units::MediaTime;

/// Point it at a video, and seconds later a ladder is playable from your object store.
#[derive(Debug, Parser)]
#[command(
    name = "transcode",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    long_about = "Point it at a video, and seconds later a ladder is playable from your object store. Kill it at any \
                  time: the same command goes on where it stopped.",
    after_help = "Try: transcode run video.mp4 --output out && transcode play out",
    after_long_help = concat!(
        "Examples:
  transcode probe video.mp4                  what the video is
  transcode plan  video.mp4                  what would be made of it, and why
  transcode run   video.mp4 --output out     make it
  transcode play  out                        watch it in a browser, also while it is being made
  transcode package out --all                MP4 files of it
  transcode doctor                           what this machine is good for

",
        exit_codes!()
    )
)]
pub(super) struct Args {
    /// Settings of stores [default: $TRANSCODE_CONFIG, or transcode.toml in this directory, where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Log more on stderr (-vv: debugging, -vvv: everything); RUST_LOG says it in detail
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,

    /// Log only errors, and show no progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,

    /// How the log is written: for people, or an object a line for collectors
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        env = "TRANSCODE_LOG",
        hide_env = true
    )]
    pub(super) log: LogFormat,

    #[command(subcommand)]
    pub(super) command: Command,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say what a video is: container, tracks, times, colour
    #[command(after_long_help = concat!(
        "Examples:
  transcode probe video.mp4
  transcode probe --json s3://bucket/video.mov

",
        exit_codes!()
    ))]
    Probe(Probe),

    /// Say what would be made of a video, and why; makes nothing
    #[command(after_long_help = concat!(
        "Examples:
  transcode plan video.mp4
  transcode plan video.mp4 --profile match --json > plan.json
  transcode plan video.mp4 --rung 720p:720:3M:128k --rung 360p:360:700k:64k

",
        exit_codes!()
    ))]
    Plan(Plan),

    /// Make the ladder: segments, playlists, a preview picture
    #[command(
        long_about = "Make the ladder: segments, playlists, a preview picture.

The playlists can be played as soon as the first segments are there, and grow until the end. Where the destination \
            holds a part of this very job, only what is missing is made; where it holds all of it, nothing is. Where \
            it holds another job's output, nothing is touched without --overwrite.",
        after_long_help = concat!(
            "Examples:
  transcode run video.mp4 --output out
  transcode run https://example.org/video.mp4 --output s3://bucket/films/7 --profile abr
  transcode run video.mp4 --output out --rung hd:720:3M:128k --rung sd:360:700k:64k --segment 4s
  transcode run video.mp4 --output out --start 1:30 --duration 20 --crf 22
  transcode run video.mp4 --output out --json | jq .event

--json writes one object a line: planned, progress, segment, warning, fallback, done, failed. Logs stay on stderr.

",
            exit_codes!()
        )
    )]
    Run(Run),

    /// Make MP4 files of a finished job's segments; decodes and encodes nothing
    #[command(
        long_about = "Make MP4 files of a finished job's segments; decodes and encodes nothing.

Each file holds the pictures and the sound of one rung. A progressive one (--mp4) has its whole header in front, for \
            downloads; a fragmented one (--fmp4) a fragment for each segment. Files are stored beside the playlists, or \
            where --output says. One that is there already is held against the segments and left alone; where it is \
            something else, nothing is touched without --overwrite.",
        after_long_help = concat!(
            "Examples:
  transcode package out --rung 720p --mp4
  transcode package s3://bucket/films/7 --all --mp4 --fmp4
  transcode package out --rung 720p --output ./film.mp4
  transcode package out --rung 720p,360p --output s3://bucket/downloads/
  transcode package out --all --json | jq .event

--json writes one object a line: planned, progress, packaged, done, failed. Logs stay on stderr.

",
            exit_codes!()
        )
    )]
    Package(Package),

    /// Copy the source in pieces, one for each chunk of the plan; decodes and encodes nothing
    #[command(
        long_about = "Copy the source in pieces, one for each chunk of the plan; decodes and encodes nothing.

Nothing here needs them: chunks read ranges of the one source. They are for those who want it read once, and its parts \
            sent to where they are worked on. A piece is a Matroska file that begins with the first key frame of its \
            chunk and ends where the next one begins: each can be played or transcoded alone, and together they have \
            every packet of the picture and the sound once. chunks/source.json lists them once all are there.",
        after_long_help = concat!(
            "Examples:
  transcode split video.mp4 --output pieces
  transcode split s3://bucket/video.mov --output s3://bucket/films/7 --chunk 1m
  transcode split video.mp4 --output pieces --json | jq .key

",
            exit_codes!()
        )
    )]
    Split(Split),

    /// Run the service: API, queue and worker in one process
    #[command(
        long_about = "Run the service: API, queue and worker in one process, with nothing else to install.

Jobs and their states are kept in a SQLite file under --data, videos in --store. Killed at any moment, it goes on where it \
            was. A queue and a store of your own are taken from the configuration (see `transcode config`). It listens \
            on this machine alone until a token is configured, or auth = \"none\" is written down.",
        after_long_help = concat!(
            "Examples:
  transcode serve
  transcode serve --store s3://videos --listen 127.0.0.1:9000
  transcode submit in/game.mp4 --output out/game --watch
  curl -d '{\"inputKey\":\"in/game.mp4\",\"profile\":\"roku-hls\",\"outputPrefix\":\"out/game\"}' \\
       -H 'content-type: application/json' http://127.0.0.1:8000/api/transcode/submit

",
            exit_codes!()
        )
    )]
    Serve(Serve),

    /// Work on the jobs of a queue
    #[command(
        long_about = "Work on the jobs of a queue, one at a time, until it is told to stop.

Without other configuration the queue is the one in SQS_TRANSCODE_QUEUE_URL, REDIS_URL or UPSTASH_REDIS_URL (with \
            QUEUE_NAME), and the store the one of LYVE_* or the AWS variables: the environment of the systems before \
            starts this one. A job is kept by a lease that is renewed while it is made; a worker that dies loses the \
            segments in flight and nothing else. SIGTERM: take no more, and be done or hand over within 25 s; what is \
            stored stays, and the next worker goes on from there.",
        after_long_help = concat!(
            "Examples:
  REDIS_URL=redis://queue:6379 transcode worker
  SQS_TRANSCODE_QUEUE_URL=https://sqs.eu-west-1.amazonaws.com/1/jobs transcode worker --store s3://videos
  transcode worker --platform jetson,software --log json
  transcode config                           what is in force, and from where

",
            exit_codes!()
        )
    )]
    Worker(Worker),

    /// Ask a service for a job
    #[command(after_long_help = concat!(
        "Examples:
  transcode submit in/game.mp4 --output out/game              keys of the service's store
  transcode submit ./game.mp4 --upload --output out/game --watch
  transcode submit s3://in/a.mov --output s3://out/a --mp4 --priority high --webhook https://example.org/done
  transcode submit --job job.json                              as `transcode schema job` describes it

",
        exit_codes!()
    ))]
    Submit(Submit),

    /// List a service's jobs, the newest first
    Jobs(Jobs),

    /// Show a job of a service
    Job {
        /// Its name
        id: String,

        /// Until it is over
        #[arg(long)]
        watch: bool,

        #[command(flatten)]
        client: Client,
    },

    /// Stop a job of a service; what is stored of it stays
    Cancel {
        /// Its name
        id: String,

        #[command(flatten)]
        client: Client,
    },

    /// Have a job tried again that failed, is dead or was cancelled; it goes on from what is stored
    Retry {
        /// Its name
        id: String,

        #[command(flatten)]
        client: Client,
    },

    /// Show what waits in a service's queue, and who works
    Queue {
        #[command(flatten)]
        client: Client,
    },

    /// Look at a service's dead letters, or have one tried again
    Dead {
        #[command(subcommand)]
        command: DeadCommand,

        #[command(flatten)]
        client: Client,
    },

    /// Print the configuration in force, and where each value comes from
    #[command(after_long_help = concat!(
        "Secrets are masked. A key `worker.lease` stands as `lease` under [worker] in transcode.toml, or in the variable
TRANSCODE_WORKER_LEASE.

Examples:
  transcode config
  TRANSCODE_LEASE=30s transcode config --json | jq '.[\"worker.lease\"]'

",
        exit_codes!()
    ))]
    Config {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },

    /// List the profiles that are built in, or print one as a file to start from
    #[command(after_long_help = concat!(
        "Examples:
  transcode profiles
  transcode profiles abr > mine.toml
  transcode run video.mp4 --output out --profile ./mine.toml

",
        exit_codes!()
    ))]
    Profiles(Named),

    /// List the platforms that are built in, or print one as a file to start from
    #[command(after_long_help = concat!(
        "Examples:
  transcode platforms
  transcode platforms software > mine.toml

",
        exit_codes!()
    ))]
    Platforms(Named),

    /// Say what this machine is good for: platforms, by trying them, and what stands in the way
    #[command(
        long_about = "Say what this machine is good for: platforms, by trying them, and what stands in the way.

Every platform whose elements are installed decodes and encodes small clips that come with the program, in a process \
            of its own; what comes out is checked picture by picture. What was found out is kept until a driver, \
            GStreamer, a device or this program changes: `--platform auto` goes by it, and plans take from it what \
            starting a chunk costs here.",
        after_long_help = concat!(
            "Examples:
  transcode doctor
  transcode doctor --retry                   try everything again
  transcode doctor --platform nvidia         say what is missing of one
  transcode doctor --store s3://bucket       and compare the clocks
  transcode doctor --json | jq .summary

A platform that is not here is no failure, unless it is asked for by name (exit code 5).

",
            exit_codes!()
        )
    )]
    Doctor(Doctor),

    /// Serve a directory with a player page, on this machine only unless told otherwise
    #[command(after_long_help = concat!(
        "Examples:
  transcode play out
  transcode play out --listen 127.0.0.1:8080 --hls-js hls.min.js

Ctrl-C ends it, with exit code 0. Without hls.js the browser's own HLS is used: Safari, and Chromium from 142 on.

",
        exit_codes!()
    ))]
    Play(Play),

    /// Print the JSON Schema of a document that programs write
    #[command(after_long_help = concat!(
        "Examples:
  transcode schema job > job.schema.json

",
        exit_codes!()
    ))]
    Schema {
        /// Which document
        document: Document,
    },

    /// Print completions for a shell
    #[command(after_long_help = concat!(
        "Examples:
  transcode completions bash > ~/.local/share/bash-completion/completions/transcode

",
        exit_codes!()
    ))]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },

    /// The graph's own process; started by the others
    #[command(hide = true)]
    Child,
}

/// A document whose schema is published.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum Document {
    /// A job, as queues and the HTTP API take it
    Job,
}

/// Which video, and how it is read.
#[derive(Debug, clap::Args)]
pub(super) struct Input {
    /// A path, https://…, http://… or s3://bucket/key
    #[arg(value_name = "INPUT")]
    pub(super) input: String,

    /// Platforms to try in this order: auto, names from `transcode platforms`, or .toml files
    #[arg(long, value_name = "NAME[,NAME…]", value_delimiter = ',', default_value = "auto")]
    pub(super) platform: Vec<String>,

    /// One JSON object a line on stdout; logs stay on stderr
    #[arg(long)]
    pub(super) json: bool,

    /// How long the graph's process may be silent before it is killed
    #[arg(long, value_name = "TIME", default_value = "30s", hide = true, value_parser = positive)]
    pub(super) stall: MediaTime,
}

#[derive(Debug, clap::Args)]
pub(super) struct Probe {
    #[command(flatten)]
    pub(super) input: Input,
}

#[derive(Debug, clap::Args)]
pub(super) struct Plan {
    #[command(flatten)]
    pub(super) asked: Asked,
}

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) asked: Asked,

    /// A directory, or s3://bucket/prefix
    #[arg(short, long, value_name = "DEST")]
    pub(super) output: String,

    /// Replace what the destination holds
    #[arg(long)]
    pub(super) overwrite: bool,

    /// Package these rungs as MP4 files beside the ladder, once it is finished; `all` means each
    #[arg(long, value_name = "RUNG[,RUNG…]", value_delimiter = ',')]
    pub(super) mp4: Vec<String>,

    /// Chunks made side by side, each by a process of its own, as far as memory allows
    /// [default: as many as this machine's cores are worth]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(super) jobs: Option<u32>,
}

/// Which service is asked, and how the answer is written.
#[derive(Debug, clap::Args)]
pub(super) struct Client {
    /// The service's API
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "TRANSCODE_API",
        default_value = "http://127.0.0.1:8000"
    )]
    pub(super) api: String,

    /// A token of it, where it wants one
    #[arg(long, global = true, value_name = "TOKEN", env = "TRANSCODE_TOKEN", hide_env_values = true)]
    pub(super) token: Option<String>,

    /// The API's own JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum DeadCommand {
    /// List them, the oldest first
    List,
    /// Show one, with what was in it
    Show {
        /// Names it
        number: u64,
    },
    /// Put one into its line again
    Requeue {
        /// Names it
        number: u64,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Jobs {
    /// Only those in this state: queued, processing, committing, complete, failed, dead, cancelled
    #[arg(long, value_name = "STATE")]
    pub(super) state: Option<String>,

    /// How many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(super) limit: u32,

    #[command(flatten)]
    pub(super) client: Client,
}

#[derive(Debug, clap::Args)]
pub(super) struct Submit {
    /// A key of the service's store, s3://bucket/key or https://…; with --upload a file of this machine
    #[arg(value_name = "INPUT", required_unless_present = "job")]
    pub(super) input: Option<String>,

    /// A prefix of the service's store, or s3://bucket/prefix
    #[arg(short, long, value_name = "DEST", required_unless_present = "job")]
    pub(super) output: Option<String>,

    /// Send the file to the service's store first
    #[arg(long)]
    pub(super) upload: bool,

    /// The whole job as a JSON file, in the place of the options
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "output", "upload"])]
    pub(super) job: Option<PathBuf>,

    /// What is asked for: a name from `transcode profiles`, or roku-hls
    #[arg(long, value_name = "NAME", default_value = "abr")]
    pub(super) profile: String,

    /// A rung in place of the profile's, best first, as NAME:HEIGHT:VIDEO:AUDIO; may be repeated
    #[arg(long, value_name = "RUNG")]
    pub(super) rung: Vec<Rendition>,

    /// An MP4 file of each rung as well
    #[arg(long)]
    pub(super) mp4: bool,

    /// The line it waits in: high, normal, low
    #[arg(long, value_name = "LINE", default_value = "normal")]
    pub(super) priority: String,

    /// Who is told of its end
    #[arg(long, value_name = "URL")]
    pub(super) webhook: Option<String>,

    /// The job's name; one is made where none is given
    #[arg(long, value_name = "NAME")]
    pub(super) id: Option<String>,

    /// A second submission with the same key is the first one again
    #[arg(long, value_name = "KEY")]
    pub(super) idempotency_key: Option<String>,

    /// Show how it gets on until it is over
    #[arg(short, long)]
    pub(super) watch: bool,

    #[command(flatten)]
    pub(super) client: Client,
}

#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// Address and port; port 0 takes a free one [default: api.listen, 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Option<SocketAddr>,

    /// The database's directory, made where it is missing [default: service.data, transcode-data]
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,

    /// Videos: a directory or s3://bucket [default: service.store, `store` below --data]
    #[arg(long, value_name = "STORE")]
    pub(super) store: Option<String>,

    /// Jobs worked on at the same time; 0: the API alone [default: service.workers, 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=64))]
    pub(super) workers: Option<u32>,

    /// Platforms to try in this order: auto, names from `transcode platforms`, or .toml files
    /// [default: worker.platform, auto]
    #[arg(long, value_name = "NAME[,NAME…]")]
    pub(super) platform: Option<String>,

    /// hls.js for browsers that play no HLS by themselves [default: .cache/player/hls.min.js, where there is one]
    #[arg(long, value_name = "FILE")]
    pub(super) hls_js: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Worker {
    /// Where keys without an address are: a directory or s3://bucket [default: service.store]
    #[arg(long, value_name = "STORE")]
    pub(super) store: Option<String>,

    /// Jobs worked on at the same time [default: service.workers, 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) workers: Option<u32>,

    /// Platforms to try in this order: auto, names from `transcode platforms`, or .toml files
    /// [default: worker.platform, auto]
    #[arg(long, value_name = "NAME[,NAME…]")]
    pub(super) platform: Option<String>,

    /// The worker's name, another for each that shares a queue [default: worker.name, host and process]
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Split {
    #[command(flatten)]
    pub(super) asked: Asked,

    /// A directory, or s3://bucket/prefix
    #[arg(short, long, value_name = "DEST")]
    pub(super) output: String,

    /// Replace pieces of another source or plan
    #[arg(long)]
    pub(super) overwrite: bool,
}

/// What is wanted of which video.
#[derive(Debug, clap::Args)]
pub(super) struct Asked {
    #[command(flatten)]
    pub(super) input: Input,

    #[command(flatten)]
    pub(super) choice: Choice,

    /// Publish what is there of a video that ends early, instead of failing
    #[arg(long)]
    pub(super) allow_truncated: bool,
}

/// A profile, and what is changed of it.
#[derive(Debug, clap::Args)]
pub(super) struct Choice {
    /// A name from `transcode profiles`, or a .toml file
    #[arg(short, long, value_name = "NAME|FILE", default_value = "abr")]
    pub(super) profile: String,

    /// A rung in place of the profile's ladder, best first; may be repeated. HEIGHT may be `source`
    #[arg(long, value_name = "NAME:HEIGHT:VIDEO:AUDIO")]
    pub(super) rung: Vec<Rendition>,

    /// Length of a segment, 1s to 60s, rounded up to whole pictures; shorter than the profile's key interval, it
    /// shortens that too
    #[arg(long, value_name = "TIME", value_parser = positive)]
    pub(super) segment: Option<MediaTime>,

    /// Where the clip begins: 90, 90s, 1:30, 00:01:30.5
    #[arg(long, value_name = "TIME", value_parser = not_negative)]
    pub(super) start: Option<MediaTime>,

    /// Where the clip ends
    #[arg(long, value_name = "TIME", value_parser = positive, conflicts_with = "duration")]
    pub(super) end: Option<MediaTime>,

    /// How long the clip is
    #[arg(long, value_name = "TIME", value_parser = positive)]
    pub(super) duration: Option<MediaTime>,

    /// Speed against compression: ultrafast … veryslow
    #[arg(long, value_name = "PRESET", value_parser = word::<Preset>)]
    pub(super) preset: Option<Preset>,

    /// What to tune for: none, zerolatency, film, animation, grain, fastdecode, stillimage
    #[arg(long, value_name = "TUNE", value_parser = word::<Tune>)]
    pub(super) tune: Option<Tune>,

    /// Constant quality from 0 (best) to 51, with each rung's bit rate as the ceiling
    #[arg(long, value_name = "CRF", value_parser = clap::value_parser!(u8).range(0..=51))]
    pub(super) crf: Option<u8>,

    /// Longest time from key frame to key frame; segments are whole numbers of it
    #[arg(long, value_name = "TIME", value_parser = positive)]
    pub(super) key_interval: Option<MediaTime>,

    /// Length of a chunk, rounded up to whole segments: the unit of work that is divided among processes
    /// [default: what starting one is worth on this platform]
    #[arg(long, value_name = "TIME", value_parser = positive)]
    pub(super) chunk: Option<MediaTime>,

    /// No sound, even where the source has it
    #[arg(long)]
    pub(super) no_audio: bool,
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["rung", "all"])))]
pub(super) struct Package {
    /// The destination of a finished job: a directory, or s3://bucket/prefix
    #[arg(value_name = "DEST")]
    pub(super) dest: String,

    /// Which rungs; may be repeated
    #[arg(long, value_name = "NAME[,NAME…]", value_delimiter = ',')]
    pub(super) rung: Vec<String>,

    /// Every rung
    #[arg(long)]
    pub(super) all: bool,

    /// A progressive MP4, RUNG.mp4; also what is made where neither is asked for
    #[arg(long)]
    pub(super) mp4: bool,

    /// A fragmented MP4, RUNG.fragmented.mp4
    #[arg(long)]
    pub(super) fmp4: bool,

    /// Where to: a name in DEST, a path with a slash in it, or s3://bucket/key; one that ends with a slash is a
    /// directory or prefix, for any number of files [default: DEST]
    #[arg(short, long, value_name = "NAME|PATH|s3://…")]
    pub(super) output: Option<String>,

    /// Replace what is there under the file's name
    #[arg(long)]
    pub(super) overwrite: bool,

    /// One JSON object a line on stdout; logs stay on stderr
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// Print this one as a file; a name or a .toml file
    #[arg(value_name = "NAME")]
    pub(super) name: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    /// Platforms to look at: auto, names from `transcode platforms`, or .toml files [default: all that are built in]
    #[arg(long, value_name = "NAME[,NAME…]", value_delimiter = ',')]
    pub(super) platform: Vec<String>,

    /// A store to compare the clock with: s3://bucket, or an https:// address
    #[arg(long, value_name = "URL")]
    pub(super) store: Option<String>,

    /// Try again what was found out before, and use again what was set aside
    #[arg(long)]
    pub(super) retry: bool,

    /// One JSON document on stdout; logs stay on stderr
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Play {
    /// The directory that a run wrote, or is writing
    #[arg(value_name = "DIR")]
    pub(super) dir: PathBuf,

    /// Address and port; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(super) listen: SocketAddr,

    /// hls.js for browsers that play no HLS by themselves [default: .cache/player/hls.min.js, where there is one]
    #[arg(long, value_name = "FILE")]
    pub(super) hls_js: Option<PathBuf>,
}

/// A word that the core's data knows; its own error lists those that are allowed.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.to_lowercase())).map_err(|error| error.to_string())
}

fn positive(text: &str) -> Result<MediaTime, String> {
    let time: MediaTime =
        text.parse().map_err(|error: transcode_core::units::UnitError| error.to_string())?;
    if time <= MediaTime::ZERO { Err(format!("{time} is not above zero")) } else { Ok(time) }
}

fn not_negative(text: &str) -> Result<MediaTime, String> {
    let time: MediaTime =
        text.parse().map_err(|error: transcode_core::units::UnitError| error.to_string())?;
    if time.is_negative() { Err(format!("{time} is below zero")) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_commands_long_help_has_an_example_and_the_exit_codes() {
        let mut command = Args::command();
        command.build();
        for sub in command.get_subcommands_mut().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
        {
            let help = sub.render_long_help().to_string();
            assert!(help.contains("130  interrupted"), "{}", sub.get_name());
            assert!(help.contains(&format!("transcode {}", sub.get_name())), "{}", sub.get_name());
        }
    }

    #[test]
    fn wrong_values_are_refused_with_what_is_allowed() {
        for (options, expected) in [
            (vec!["--crf", "52"], "51"),
            (vec!["--preset", "quick"], "veryfast"),
            (vec!["--start", "-3"], "below zero"),
            (vec!["--segment", "0"], "above zero"),
            (vec!["--segment", "long"], "250ms"),
            (vec!["--rung", "720p:720:4M"], "NAME:HEIGHT:VIDEO:AUDIO"),
            (vec!["--end", "3", "--duration", "3"], "cannot be used with"),
        ] {
            let line: Vec<String> = ["transcode", "run", "in.mp4", "--output", "out"]
                .iter()
                .map(|&word| word.to_owned())
                .chain(options.chunks(2).map(|option| option.join("=")))
                .collect();
            let error = Args::try_parse_from(line).expect_err("refused").to_string();
            assert!(error.contains(expected), "{options:?}: {error}");
        }
    }
}
