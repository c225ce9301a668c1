//! The command line: options in, one command, an exit code.
//!
//! Owns what a person or a script sees: options, help, progress, summaries, exit codes. Knows the
//! core's façade, the stores and the child process; decides nothing about media. stdout carries
//! results, stderr carries the log and the one line that tells a failure.

mod args;
mod client;
mod config;
mod doctor;
mod exit;
mod output;
mod package;
mod plan;
mod platforms;
mod play;
mod probe;
mod profiles;
mod run;
mod split;
mod worker;

use crate::child::{self, Settings};
use crate::config::Config;
use crate::engine::look::{Looked, look};
use crate::engine::platforms::Candidate;
use crate::machine::{Devices, Keeper};
use crate::store::Stores;
use args::{Args, Command, Document, Input, LogFormat, ServiceCommand};
use clap::{CommandFactory, Parser};
use std::cell::OnceCell;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use transcode_core::{Cancel, Error};

/// Do what this process's command line says.
pub fn main() -> ExitCode {
    let args = Args::parse();
    if matches!(args.command, Command::Child) {
        return ExitCode::from(u8::try_from(child::work()).unwrap_or(1));
    }
    let filter = log_filter(&args);
    start_log(&filter, args.log);
    let (config, quiet, cancel) = (args.config, args.quiet, Cancel::new());
    let context = Context { config, quiet, log: filter, cancel, stores: OnceCell::new() };
    let done = listen_to_signals(&context.cancel).and_then(|()| context.obey(&args.command));
    let Err(error) = done else { return ExitCode::SUCCESS };
    // Whatever broke after somebody asked to stop broke because of that.
    let error = if context.cancel.is_cancelled() { Error::Interrupted } else { error };
    if args.command.is_json() {
        output::failed(&error);
    }
    let goes_on = matches!((&args.command, &error), (Command::Run(_), Error::Interrupted));
    exit::fail(
        &error,
        if goes_on { "; what is stored stays, the same command goes on from there" } else { "" },
    )
}

/// What all commands have in common.
struct Context {
    config: Option<PathBuf>,
    quiet: bool,
    /// As `RUST_LOG` has it, for the child.
    log: String,
    cancel: Cancel,
    stores: OnceCell<Stores>,
}

impl Command {
    /// What is read, where something is.
    fn input(&self) -> Option<&Input> {
        match self {
            Self::Probe(probe) => Some(&probe.input),
            Self::Plan(plan) => Some(&plan.asked.input),
            Self::Run(run) => Some(&run.asked.input),
            Self::Split(split) => Some(&split.asked.input),
            _ => None,
        }
    }

    /// stdout is read by a program.
    fn is_json(&self) -> bool {
        matches!(self, Self::Package(package) if package.json) || self.input().is_some_and(|input| input.json)
    }
}

impl Context {
    fn obey(&self, command: &Command) -> Result<(), Error> {
        match command {
            Command::Probe(probe) => probe::probe(self, probe),
            Command::Plan(plan) => plan::plan(self, plan),
            Command::Run(run) => run::run(self, run),
            Command::Package(package) => package::package(self, package),
            Command::Split(split) => split::split(self, split),
            Command::Profiles(named) => {
                profiles::show(named.name.as_deref()).map(|text| output::to_stdout(&text))
            }
            Command::Platforms(named) => {
                platforms::show(named.name.as_deref()).map(|text| output::to_stdout(&text))
            }
            Command::Doctor(doctor) => doctor::doctor(self, doctor),
            Command::Service(ServiceCommand::Serve(serve)) => worker::serve(self, serve),
            Command::Service(ServiceCommand::Worker(worker)) => worker::worker(self, worker),
            Command::Service(ServiceCommand::Submit(submit)) => client::submit(self, submit),
            Command::Service(ServiceCommand::Jobs(jobs)) => client::jobs(jobs),
            Command::Service(ServiceCommand::Job { id, watch, client }) => {
                client::job(self, client, id, *watch)
            }
            Command::Service(ServiceCommand::Cancel { id, client }) => client::change(client, id, "cancel"),
            Command::Service(ServiceCommand::Retry { id, client }) => client::change(client, id, "retry"),
            Command::Service(ServiceCommand::Queue { client }) => client::queue(client),
            Command::Service(ServiceCommand::Dead { command, client }) => client::dead(client, command),
            Command::Service(ServiceCommand::Config { json }) => config::show(self, *json),
            Command::Play(play) => play::play(play, &self.cancel),
            Command::Schema { document: Document::Job } => {
                output::to_stdout(&format!("{:#}\n", crate::job::job_schema()));
                Ok(())
            }
            Command::Completions { shell } => {
                let mut text = Vec::new();
                clap_complete::generate(*shell, &mut Args::command(), "transcode", &mut text);
                output::to_stdout(&String::from_utf8_lossy(&text));
                Ok(())
            }
            // Taken care of before anything else is started.
            Command::Child => Ok(()),
        }
    }

    /// The stores, as configured; the configuration is read when they are first asked for.
    fn stores(&self) -> Result<&Stores, Error> {
        if let Some(stores) = self.stores.get() {
            return Ok(stores);
        }
        let stores = Stores::new(&Config::load(self.config.as_deref())?)?;
        Ok(self.stores.get_or_init(|| stores))
    }

    /// Open an input and have a child look at it, on one of these platforms.
    fn look(&self, input: &Input, candidates: Vec<Candidate>) -> Result<Looked, Error> {
        look(self.stores()?, &input.input, &self.child(input)?, candidates, &self.cancel)
    }

    /// How the child is started.
    fn child(&self, input: &Input) -> Result<Settings, Error> {
        Ok(Settings { stall: input.stall.to_duration(), ..self.children()? })
    }

    /// How any child is started.
    fn children(&self) -> Result<Settings, Error> {
        let registry = Keeper::here().registry(&Devices::here());
        Ok(Settings { log: self.log.clone(), registry, ..Settings::this_binary()? })
    }
}

/// SIGINT and SIGTERM ask everything to stop; the second time, this process just ends, and the child
/// with it.
fn listen_to_signals(cancel: &Cancel) -> Result<(), Error> {
    use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
    let cannot = |error: std::io::Error| Error::Platform {
        platform: "host".to_owned(),
        reason: format!("signals: {error}"),
    };
    // A file that outgrows its limit is then a failed write, which says so; not this process's death.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map_err(cannot)?;
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).map_err(cannot)?;
    let cancel = cancel.clone();
    let listen = move || {
        for _ in signals.forever() {
            if cancel.is_cancelled() {
                signal_hook::low_level::exit(i32::from(exit::code(transcode_core::ErrorKind::Interrupted)));
            }
            cancel.cancel();
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(listen).map(drop).map_err(cannot)
}

/// What is logged: by default what a person must know, and the command line's own lines.
fn log_filter(args: &Args) -> String {
    if let Ok(filter) = std::env::var("RUST_LOG") {
        return filter;
    }
    let filter = match (args.quiet, args.verbose) {
        (true, _) => "error",
        (false, 0) => {
            "error,transcode=warn,transcode_svc::cli=info,transcode_svc::worker=info,transcode_svc::service=info"
        }
        (false, 1) => "warn,transcode=info",
        (false, 2) => "info,transcode=debug",
        (false, _) => "debug,transcode=trace",
    };
    filter.to_owned()
}

fn start_log(filter: &str, format: LogFormat) {
    let mut logger = env_logger::Builder::new();
    logger.parse_filters(filter).target(env_logger::Target::Pipe(Box::new(output::StderrBesideBars)));
    let detailed = filter.contains("debug") || filter.contains("trace");
    match format {
        LogFormat::Json => logger.format(output::log_as_json),
        LogFormat::Text => logger.format(move |out, record| output::log_as_text(out, record, detailed)),
    };
    if logger.try_init().is_err() {
        log::debug!("there was a logger already");
    }
}
