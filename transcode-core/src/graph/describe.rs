//! A graph as text: the elements that a plan becomes on a platform, their properties and links.
//!
//! For people to review, and for tests to compare. Names are the graph's own, nothing of a run is in it,
//! so the same plan on the same platform and version of GStreamer gives the same text.

use super::assemble::{Assembly, Parts, assemble};
use super::fragments::RungOutput;
use super::source_element::{Watched, source_element};
use super::upload::Uploader;
use super::viewer::Eyes;
use super::witness::Witness;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::media::SourceIdentity;
use crate::plan::Plan;
use crate::platform::Platform;
use crate::sink::MemorySink;
use crate::source::{Source, SourceError};
use gstreamer as gst;
use gstreamer::prelude::*;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

/// A source that is never read.
struct Nothing(SourceIdentity);

impl Source for Nothing {
    fn identity(&self) -> SourceIdentity {
        self.0.clone()
    }

    fn size(&self) -> u64 {
        self.0.size
    }

    fn read_at(&self, _: u64, _: &mut [u8], _: &Cancel) -> Result<usize, SourceError> {
        Ok(0)
    }
}

/// The graph of the plan's first chunk on a platform, in DOT (Graphviz). Nothing is run, but its
/// elements must be installed.
///
/// # Errors
/// [`Error::Platform`] with the element that is missing, or the property that it does not take.
pub fn describe(plan: &Plan, platform: &Platform) -> Result<String, Error> {
    super::init()?;
    let plan = Arc::new(plan.clone());
    let chunk = plan.chunks.first().cloned().unwrap_or_else(|| plan.whole());
    let cancel = Cancel::new();
    let (events, _nobody) = mpsc::channel();
    let uploader = Uploader::start(plan.clone(), Arc::new(MemorySink::new()), cancel.clone(), events);
    let witness = Witness::wanted(platform, &plan, &chunk);
    let (aborting, error) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(None)));
    let outputs = RungOutput::all(&plan, &chunk, &uploader, witness.as_ref(), &aborting, &error);
    let eyes = Arc::new(Eyes { chooser: None, witness });
    let source = source_element(Watched::new(Arc::new(Nothing(plan.source.clone()))), cancel)?;
    source.set_property("name", "source");
    let assembly = assemble(Parts {
        plan: &plan,
        chunk: &chunk,
        platform,
        source,
        outputs: &outputs,
        first_picture: Arc::new(AtomicU64::new(0)),
        begun: Instant::now(),
        eyes,
        need_earlier: Box::new(|| {}),
        wait_for_seek: false,
    })?;
    Ok(dot(&assembly, &platform.name))
}

fn dot(assembly: &Assembly, name: &str) -> String {
    let mut nodes = BTreeSet::new();
    let mut links = BTreeSet::new();
    for element in assembly.pipeline.children() {
        nodes.insert(format!("  \"{}\" [label=\"{}\"]", element.name(), label(&element)));
        for pad in element.src_pads() {
            if let Some(next) = pad.peer().and_then(|peer| peer.parent_element()) {
                links.insert(format!("  \"{}\" -> \"{}\"", element.name(), next.name()));
            }
        }
    }
    for (pad, target) in &assembly.inputs {
        if let Some(next) = target.parent_element() {
            let (from, to) = (assembly.demuxer.name(), next.name());
            links.insert(format!("  \"{from}\" -> \"{to}\" [label=\"{pad}\"]"));
        }
    }
    let mut text = format!("digraph \"{name}\" {{\n  rankdir=LR\n  node [shape=box]\n");
    for line in nodes.iter().chain(&links) {
        let _infallible = writeln!(text, "{line}");
    }
    text.push_str("}\n");
    text
}

/// The factory, and every property that is not at its default.
fn label(element: &gst::Element) -> String {
    let factory = element.factory().map(|factory| factory.name().to_string());
    let mut lines = vec![factory.unwrap_or_else(|| element.type_().name().to_owned())];
    let mut properties: Vec<String> = element
        .list_properties()
        .iter()
        .filter(|spec| spec.flags().contains(gst::glib::ParamFlags::READWRITE))
        .filter(|spec| !matches!(spec.name(), "name" | "parent"))
        .filter_map(|spec| {
            let value = element.property_value(spec.name()).serialize().ok()?;
            let default = spec.default_value().serialize().ok();
            (Some(&value) != default.as_ref()).then(|| format!("{}={value}", spec.name()))
        })
        .collect();
    properties.sort();
    lines.extend(properties);
    lines.join("\\n").replace('"', "'")
}
