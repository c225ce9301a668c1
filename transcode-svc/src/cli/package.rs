//! `transcode package`: MP4 files out of a finished job's segments.
//!
//! Owns which files are made and where they go. Everything of media is the core's. It runs in this
//! process: nothing is decoded, so nothing can crash on an input.

use super::Context;
use super::args::Package;
use super::output::Packaging;
use crate::store::location;
use transcode_core::Error;
use transcode_core::package::{FinishedJob, Format, Request};

/// Make the files.
pub(super) fn package(context: &Context, package: &Package) -> Result<(), Error> {
    let output = Packaging::new(package.json, context.quiet);
    let cancel = &context.cancel;
    let stores = context.stores()?;
    let from = stores.open_job(&package.dest, cancel)?;
    let job = FinishedJob::open(from.clone(), cancel)?;
    let rungs: Vec<String> = if package.all {
        job.rungs().into_iter().map(ToOwned::to_owned).collect()
    } else {
        distinct(&package.rung)
    };
    // Before anything is made: a name that is wrong is told at once.
    if let Some(unknown) = rungs.iter().find(|name| job.plan().rung(name).is_none()) {
        return Err(Error::Config {
            what: format!("--rung {unknown}"),
            reason: format!(
                "the job at {} has no such rung; it has {}",
                from.location(),
                job.rungs().join(", ")
            ),
        });
    }
    let mut formats = Vec::new();
    if package.mp4 || !package.fmp4 {
        formats.push(Format::Progressive);
    }
    if package.fmp4 {
        formats.push(Format::Fragmented);
    }
    let mut requests: Vec<Request> = rungs
        .iter()
        .flat_map(|rung| formats.iter().map(|format| Request::new(rung, *format)))
        .map(|request| Request { overwrite: package.overwrite, ..request })
        .collect();
    let to = match place(package.output.as_deref(), requests.len())? {
        Place::Beside(None) => from.clone(),
        Place::Beside(Some(name)) => {
            requests.iter_mut().for_each(|request| request.key.clone_from(&name));
            from.clone()
        }
        Place::In(directory, name) => {
            if let Some(name) = name {
                requests.iter_mut().for_each(|request| request.key.clone_from(&name));
            }
            stores.open_stream_sink(&directory, cancel)?
        }
    };
    protect(&job, &requests)?;
    let files: Vec<_> = requests
        .iter()
        .map(|request| (request.rung.clone(), request.format, location(&*to, &request.key)))
        .collect();
    output.planned(&from.location(), &files);
    for (request, (_, _, location)) in requests.iter().zip(&files) {
        let progress = |progress| output.progress(location, progress);
        let file = transcode_core::package::package(&job, request, &*to, &progress, cancel)?;
        output.packaged(&file);
    }
    output.done();
    Ok(())
}

/// Each once, in their order.
fn distinct(names: &[String]) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for name in names {
        if !seen.contains(name) {
            seen.push(name.clone());
        }
    }
    seen
}

/// Where files go.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// To the job's destination, under the usual names or this one.
    Beside(Option<String>),
    /// To this directory or prefix, under the usual names or this one.
    In(String, Option<String>),
}

/// Understand `--output` for so many files.
fn place(output: Option<&str>, files: usize) -> Result<Place, Error> {
    let Some(output) = output else { return Ok(Place::Beside(None)) };
    let wrong =
        |reason: &str| Err(Error::Config { what: format!("--output {output}"), reason: reason.to_owned() });
    if output.ends_with('/') {
        return Ok(Place::In(output.to_owned(), None));
    }
    if files != 1 {
        return wrong(&format!(
            "this is one name for {files} files; end it with a slash for a directory or prefix, or make one file \
             at a time"
        ));
    }
    match output.rsplit_once('/') {
        _ if output.is_empty() || matches!(output, "." | "..") => wrong("this names no file"),
        None => Ok(Place::Beside(Some(output.to_owned()))),
        Some((_, "." | "..")) => wrong("this names no file; end it with a slash for a directory"),
        // `s3://bucket` and `file://x`.
        Some((parent, _)) if parent.ends_with(":/") => {
            wrong("this names no file; write s3://bucket/key, or a slash at the end")
        }
        Some((parent, name)) => {
            let parent = if parent.is_empty() { "/" } else { parent };
            Ok(Place::In(parent.to_owned(), Some(name.to_owned())))
        }
    }
}

/// An MP4 must not take the name of something that the job has.
fn protect(job: &FinishedJob, requests: &[Request]) -> Result<(), Error> {
    use transcode_core::plan::keys;
    let own = |key: &str| {
        [keys::MASTER, keys::PLAN, keys::REPORT, keys::THUMBNAIL].contains(&key)
            || key.ends_with(".ts")
            || job.rungs().iter().any(|rung| job.plan().playlist_key(rung) == key)
    };
    match requests.iter().find(|request| own(&request.key)) {
        Some(request) => Err(Error::Config {
            what: format!("--output {}", request.key),
            reason: "this is a name of the job's own files; choose one that ends with .mp4".to_owned(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_a_name_a_path_or_an_address() {
        let beside = |name: &str| Place::Beside(Some(name.to_owned()));
        let within = |dir: &str, name: Option<&str>| Place::In(dir.to_owned(), name.map(ToOwned::to_owned));
        for (output, files, expected) in [
            ("film.mp4", 1, beside("film.mp4")),
            ("./film.mp4", 1, within(".", Some("film.mp4"))),
            ("/film.mp4", 1, within("/", Some("film.mp4"))),
            ("a/b/film.mp4", 1, within("a/b", Some("film.mp4"))),
            ("a/b/", 3, within("a/b/", None)),
            ("s3://bucket/film.mp4", 1, within("s3://bucket", Some("film.mp4"))),
            ("s3://bucket/a/", 2, within("s3://bucket/a/", None)),
        ] {
            assert_eq!(place(Some(output), files).expect(output), expected, "{output}");
        }
        assert_eq!(place(None, 7).expect("none"), Place::Beside(None));
        for (output, files) in
            [("", 1), ("film.mp4", 2), ("a/..", 1), ("..", 1), ("s3://bucket", 1), ("s3://b/x.mp4", 2)]
        {
            assert!(place(Some(output), files).is_err(), "{output} for {files}");
        }
    }
}
