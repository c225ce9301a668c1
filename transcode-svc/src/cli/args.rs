//! The command line as data. Owns every option's name, check and help; does nothing.

mod service;

pub(super) use service::{Client, DeadCommand, Jobs, Serve, ServiceCommand, Submit, Worker};

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
  transcode serve                            an API, a queue and a worker; `transcode submit` speaks to it

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

    #[command(flatten)]
    Service(ServiceCommand),

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
