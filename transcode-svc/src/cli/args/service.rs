//! Options of the commands around a service: running one, and asking one.

use crate::cli::exit::exit_codes;
use clap::Subcommand;
use std::net::SocketAddr;
use std::path::PathBuf;
use transcode_core::spec::Rendition;

/// The commands around a service.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ServiceCommand {
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
    #[command(after_long_help = concat!(
        "Examples:
  transcode jobs
  transcode jobs --state failed --limit 100
  transcode jobs --json | jq -r '.jobs[].id'

",
        exit_codes!()
    ))]
    Jobs(Jobs),

    /// Show a job of a service
    #[command(after_long_help = concat!(
        "Examples:
  transcode job job_1791036309_k3v9x1m4q7z0
  transcode job job_1791036309_k3v9x1m4q7z0 --watch

",
        exit_codes!()
    ))]
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
    #[command(after_long_help = concat!(
        "Examples:
  transcode cancel job_1791036309_k3v9x1m4q7z0

",
        exit_codes!()
    ))]
    Cancel {
        /// Its name
        id: String,

        #[command(flatten)]
        client: Client,
    },

    /// Have a job tried again that failed, is dead or was cancelled; it goes on from what is stored
    #[command(after_long_help = concat!(
        "Examples:
  transcode retry job_1791036309_k3v9x1m4q7z0

",
        exit_codes!()
    ))]
    Retry {
        /// Its name
        id: String,

        #[command(flatten)]
        client: Client,
    },

    /// Show what waits in a service's queue, and who works
    #[command(after_long_help = concat!(
        "Examples:
  transcode queue
  transcode queue --api https://transcode.example.org --json | jq .queue.waiting.total

",
        exit_codes!()
    ))]
    Queue {
        #[command(flatten)]
        client: Client,
    },

    /// Look at a service's dead letters, or have one tried again
    #[command(after_long_help = concat!(
        "Examples:
  transcode dead list
  transcode dead show 3
  transcode dead requeue 3

",
        exit_codes!()
    ))]
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
}

/// Which service is asked, and how the answer is written.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Client {
    /// The service's API
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "TRANSCODE_API",
        default_value = "http://127.0.0.1:8000"
    )]
    pub(in crate::cli) api: String,

    /// A token of it, where it wants one
    #[arg(long, global = true, value_name = "TOKEN", env = "TRANSCODE_TOKEN", hide_env_values = true)]
    pub(in crate::cli) token: Option<String>,

    /// The API's own JSON
    #[arg(long, global = true)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum DeadCommand {
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
pub(in crate::cli) struct Jobs {
    /// Only those in this state: queued, processing, committing, complete, failed, dead, cancelled
    #[arg(long, value_name = "STATE")]
    pub(in crate::cli) state: Option<String>,

    /// How many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(in crate::cli) limit: u32,

    #[command(flatten)]
    pub(in crate::cli) client: Client,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Submit {
    /// A key of the service's store, s3://bucket/key or https://…; with --upload a file of this machine
    #[arg(value_name = "INPUT", required_unless_present = "job")]
    pub(in crate::cli) input: Option<String>,

    /// A prefix of the service's store, or s3://bucket/prefix
    #[arg(short, long, value_name = "DEST", required_unless_present = "job")]
    pub(in crate::cli) output: Option<String>,

    /// Send the file to the service's store first
    #[arg(long)]
    pub(in crate::cli) upload: bool,

    /// The whole job as a JSON file, in the place of the options
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "output", "upload"])]
    pub(in crate::cli) job: Option<PathBuf>,

    /// What is asked for: a name from `transcode profiles`, or roku-hls
    #[arg(long, value_name = "NAME", default_value = "abr")]
    pub(in crate::cli) profile: String,

    /// A rung in place of the profile's, best first, as NAME:HEIGHT:VIDEO:AUDIO; may be repeated
    #[arg(long, value_name = "RUNG")]
    pub(in crate::cli) rung: Vec<Rendition>,

    /// An MP4 file of each rung as well
    #[arg(long)]
    pub(in crate::cli) mp4: bool,

    /// The line it waits in: high, normal, low
    #[arg(long, value_name = "LINE", default_value = "normal")]
    pub(in crate::cli) priority: String,

    /// Who is told of its end
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) webhook: Option<String>,

    /// The job's name; one is made where none is given
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) id: Option<String>,

    /// A second submission with the same key is the first one again
    #[arg(long, value_name = "KEY")]
    pub(in crate::cli) idempotency_key: Option<String>,

    /// Show how it gets on until it is over
    #[arg(short, long)]
    pub(in crate::cli) watch: bool,

    #[command(flatten)]
    pub(in crate::cli) client: Client,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Serve {
    /// Address and port; port 0 takes a free one [default: api.listen, 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS")]
    pub(in crate::cli) listen: Option<SocketAddr>,

    /// The database's directory, made where it is missing [default: service.data, transcode-data]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) data: Option<PathBuf>,

    /// Videos: a directory or s3://bucket [default: service.store, `store` below --data]
    #[arg(long, value_name = "STORE")]
    pub(in crate::cli) store: Option<String>,

    /// Jobs worked on at the same time; 0: the API alone [default: service.workers, 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=64))]
    pub(in crate::cli) workers: Option<u32>,

    /// Platforms to try in this order: auto, names from `transcode platforms`, or .toml files
    /// [default: worker.platform, auto]
    #[arg(long, value_name = "NAME[,NAME…]")]
    pub(in crate::cli) platform: Option<String>,

    /// hls.js for browsers that play no HLS by themselves [default: .cache/player/hls.min.js, where there is one]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) hls_js: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Worker {
    /// Where keys without an address are: a directory or s3://bucket [default: service.store]
    #[arg(long, value_name = "STORE")]
    pub(in crate::cli) store: Option<String>,

    /// Jobs worked on at the same time [default: service.workers, 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(in crate::cli) workers: Option<u32>,

    /// Platforms to try in this order: auto, names from `transcode platforms`, or .toml files
    /// [default: worker.platform, auto]
    #[arg(long, value_name = "NAME[,NAME…]")]
    pub(in crate::cli) platform: Option<String>,

    /// The worker's name, another for each that shares a queue [default: worker.name, host and process]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) name: Option<String>,
}
