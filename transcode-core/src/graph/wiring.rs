//! What runs on the streaming threads and tells the driver: pads that appear, pictures that go by.

use super::assemble::Assembly;
use super::drive::Signal;
use super::video_gate::Watcher;
use super::viewer::Eyes;
use gstreamer as gst;
use gstreamer::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A callback that sends one signal.
pub(super) fn tell(sender: &Sender<Signal>, signal: fn() -> Signal) -> Box<dyn Fn() + Send + Sync> {
    let sender = Mutex::new(sender.clone());
    Box::new(move || {
        let _driver_is_gone = sender.lock().unwrap_or_else(PoisonError::into_inner).send(signal());
    })
}

/// Looks at every picture behind the gate: for the time of the first, and, where they can be looked
/// at there, for `eyes`.
pub(super) fn watcher(eyes: Option<Arc<Eyes>>, first: Arc<AtomicU64>, begun: Instant) -> Watcher {
    Box::new(move |slot, buffer, caps| {
        if first.load(Ordering::Relaxed) == 0 {
            let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            first.store(millis.max(1), Ordering::Relaxed);
        }
        if let Some(eyes) = &eyes {
            eyes.look(slot, buffer, caps);
        }
    })
}

/// Link the demuxer's pads as they appear, and say when all have.
pub(super) fn connect(assembly: &Assembly, signals: Sender<Signal>) {
    let targets: Vec<(String, gst::glib::WeakRef<gst::Pad>)> =
        assembly.inputs.iter().map(|(name, pad)| (name.clone(), pad.downgrade())).collect();
    let link = move |pad: &gst::Pad| {
        let target =
            targets.iter().find(|(name, _)| *name == pad.name()).and_then(|(_, target)| target.upgrade());
        if let Some(target) = target.filter(|target| !target.is_linked()) {
            if let Err(error) = pad.link(&target) {
                log::error!("pad {} does not link: {error}", pad.name());
            }
        }
    };
    // Elementary streams have their one pad from the beginning.
    let pads = assembly.demuxer.src_pads();
    pads.iter().for_each(&link);
    assembly.demuxer.connect_pad_added(move |_, pad| link(pad));
    for pad in assembly.inputs.values() {
        let begun = tell(&signals, || Signal::Begun);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            begun();
            gst::PadProbeReturn::Remove
        });
    }
    let complete = tell(&signals, || Signal::PadsComplete);
    if pads.is_empty() {
        assembly.demuxer.connect_no_more_pads(move |_| complete());
    } else {
        complete();
    }
}
