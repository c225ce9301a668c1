//! The element types: one GObject type a row of `elements.toml`, all of one body.
//!
//! Owns: properties, pads, state changes and messages, as an element shows them. Must not know: what is inside
//! (`decoder`, `convert` and `encoder` build that).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use gst::prelude::*;
use gstreamer as gst;

use crate::fault::{self, Fault};
use crate::gate::Gate;
use crate::table::{self, Entry, Key, Kind};
use crate::{Error, convert, decoder, encoder};

/// A value that threads may share, of the types that the tables have.
#[derive(Debug, Clone)]
enum Held {
    Truth(bool),
    Int(i32),
    Uint(u32),
    Uint64(u64),
    Real(f64),
    Text(Option<String>),
    /// The number of an enum's value.
    Choice(i32),
    Structure(Option<gst::Structure>),
}

impl Held {
    fn of(value: &glib::Value) -> Option<Self> {
        if let Some((_, choice)) = glib::EnumValue::from_value(value) {
            return Some(Self::Choice(choice.value()));
        }
        let held = value.get().map(Self::Truth).or_else(|_| value.get().map(Self::Int));
        let held = held.or_else(|_| value.get().map(Self::Uint)).or_else(|_| value.get().map(Self::Uint64));
        let held = held.or_else(|_| value.get().map(Self::Real)).or_else(|_| value.get().map(Self::Text));
        held.or_else(|_| value.get().map(Self::Structure)).ok()
    }

    /// As a property of this spec has it.
    fn value(&self, spec: &glib::ParamSpec) -> glib::Value {
        match self {
            Self::Truth(held) => held.to_value(),
            Self::Int(held) => held.to_value(),
            Self::Uint(held) => held.to_value(),
            Self::Uint64(held) => held.to_value(),
            Self::Real(held) => held.to_value(),
            Self::Text(held) => held.to_value(),
            Self::Choice(held) => glib::EnumClass::with_type(spec.value_type())
                .and_then(|class| class.to_value(*held))
                .unwrap_or_else(|| spec.default_value().clone()),
            Self::Structure(held) => held.to_value(),
        }
    }
}

/// What every stand-in has.
#[derive(Default)]
pub(crate) struct Body {
    /// Properties that were set.
    values: Mutex<HashMap<String, Held>>,
    pub(crate) gate: Arc<Gate>,
    inside: Mutex<Option<Inside>>,
}

/// What was built inside, and how it takes its settings.
pub(crate) struct Inside {
    /// Called from NULL to READY, when all properties are set.
    pub(crate) configure: Box<dyn Fn(&Settings) + Send>,
    /// An encoder holds a session from READY to NULL.
    pub(crate) session: bool,
}

/// The values of the properties at the moment the element opens.
pub(crate) struct Settings {
    values: HashMap<String, glib::Value>,
    pub(crate) faults: Vec<Fault>,
}

impl Settings {
    /// A number, whatever its type; none where the element has no such property.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        let value = self.values.get(name)?;
        value
            .get::<u32>()
            .map(i64::from)
            .or_else(|_| value.get::<i32>().map(i64::from))
            .ok()
            .or_else(|| glib::EnumValue::from_value(value).map(|(_, v)| i64::from(v.value())))
    }

    pub(crate) fn real(&self, name: &str) -> Option<f64> {
        self.values.get(name)?.get().ok()
    }

    pub(crate) fn truth(&self, name: &str) -> Option<bool> {
        self.values.get(name)?.get().ok()
    }

    /// The nick of an enum.
    pub(crate) fn nick(&self, name: &str) -> Option<String> {
        glib::EnumValue::from_value(self.values.get(name)?).map(|(_, value)| value.nick().to_owned())
    }
}

impl Body {
    /// Builds pads and inside.
    pub(crate) fn construct(&self, bin: &gst::Bin, key: Key) -> Result<(), Error> {
        let entry = table::entry(key)?;
        let built = match entry.kind {
            Kind::Decoder => decoder::build(bin, entry, &self.gate),
            Kind::Copy | Kind::Convert | Kind::Scale | Kind::ConvertScale => convert::build(bin, entry),
            Kind::Encoder => encoder::build(bin, entry, &self.gate),
        }?;
        *self.inside.lock().unwrap_or_else(PoisonError::into_inner) = Some(built);
        Ok(())
    }

    pub(crate) fn set(&self, name: &str, value: &glib::Value) {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = Held::of(value) {
            values.insert(name.to_owned(), held);
        }
    }

    pub(crate) fn get(&self, key: Key, spec: &glib::ParamSpec) -> glib::Value {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = values.get(spec.name()) {
            return held.value(spec);
        }
        let row =
            table::properties(key).ok().and_then(|rows| rows.iter().find(|row| row.name == spec.name()));
        row.map_or_else(|| spec.default_value().clone(), |row| row.initial(spec))
    }

    fn settings(&self, bin: &gst::Bin, key: Key) -> Settings {
        let mut values = HashMap::new();
        for row in table::properties(key).unwrap_or_default() {
            if let Some(spec) = bin.find_property(&row.name) {
                values.insert(row.name.clone(), self.get(key, &spec));
            }
        }
        Settings { values, faults: fault::of(key.0) }
    }

    /// NULL to READY: the device opens, or not.
    pub(crate) fn open(&self, bin: &gst::Bin, key: Key) -> Result<(), gst::StateChangeError> {
        let settings = self.settings(bin, key);
        if settings.faults.contains(&Fault::DieAtReady) {
            gst::element_error!(bin, gst::ResourceError::OpenRead, ["{}: the device does not open", key.0]);
            return Err(gst::StateChangeError);
        }
        self.gate.set_stopping(false);
        let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(inside) = inside.as_ref() else { return Err(gst::StateChangeError) };
        if inside.session {
            let at_most = settings.faults.iter().find_map(|fault| match fault {
                Fault::Sessions { at_most } => Some(*at_most),
                _ => None,
            });
            if let Err(open) = fault::open_session(key.0, at_most) {
                gst::element_error!(
                    bin,
                    gst::LibraryError::Init,
                    ["{}: cannot open an encode session: {open} are open, out of sessions", key.0]
                );
                return Err(gst::StateChangeError);
            }
        }
        (inside.configure)(&settings);
        Ok(())
    }

    /// READY to NULL.
    pub(crate) fn close(&self, key: Key) {
        let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.as_ref().is_some_and(|inside| inside.session) {
            fault::close_session(key.0);
        }
    }
}

/// The specs of an element's properties.
pub(crate) fn specs(key: Key) -> Vec<glib::ParamSpec> {
    let rows = table::properties(key).unwrap_or_else(|err| panic!("{err}"));
    rows.iter().map(|row| row.spec(key.1).unwrap_or_else(|err| panic!("{err}"))).collect()
}

/// The pad templates of an element.
pub(crate) fn templates(key: Key) -> Vec<gst::PadTemplate> {
    let entry = table::entry(key).unwrap_or_else(|err| panic!("{err}"));
    [("sink", gst::PadDirection::Sink), ("src", gst::PadDirection::Src)]
        .into_iter()
        .map(|(name, direction)| {
            let caps = entry.caps(name).unwrap_or_else(|err| panic!("{err}"));
            gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps)
                .unwrap_or_else(|err| panic!("{}: {err}", entry.name))
        })
        .collect()
}

/// Makes an inner element of GStreamer's own.
pub(crate) fn make(factory: &str, name: &str) -> Result<gst::Element, Error> {
    gst::ElementFactory::make(factory).name(name).build().map_err(|_| {
        Error::Gst(format!(
            "element {factory} is missing: the stand-ins need GStreamer's good, bad, ugly and libav plugins"
        ))
    })
}

/// A pad of the bin for a pad inside, of the template of the same name.
pub(crate) fn show(bin: &gst::Bin, name: &str, target: &gst::Pad) -> Result<gst::GhostPad, Error> {
    let template = bin.pad_template(name).ok_or_else(|| Error::Gst(format!("no pad template {name}")))?;
    let pad = gst::GhostPad::builder_from_template_with_target(&template, target)
        .map_err(|err| Error::Gst(err.to_string()))?
        .name(name)
        .build();
    bin.add_pad(&pad).map_err(|err| Error::Gst(err.to_string()))?;
    Ok(pad)
}

/// The pad of an inner element.
pub(crate) fn pad(element: &gst::Element, name: &str) -> Result<gst::Pad, Error> {
    element.static_pad(name).ok_or_else(|| Error::Gst(format!("{} has no pad {name}", element.name())))
}

/// Adds to the bin and links in this order.
pub(crate) fn chain(bin: &gst::Bin, elements: &[gst::Element]) -> Result<(), Error> {
    let failed = |err: glib::BoolError| Error::Gst(err.to_string());
    bin.add_many(elements).map_err(failed)?;
    gst::Element::link_many(elements).map_err(failed)
}

/// An element that was given no name is called after its type; the vendor's types are called after the element.
fn give_name(element: &gst::Element, key: Key) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    if element.name().to_lowercase().starts_with(&element.type_().name().to_lowercase()) {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        element.set_property("name", format!("{}{number}", key.0));
    }
}

/// Registers the row's type under its name.
pub(crate) fn register(entry: &'static Entry, plugin: Option<&gst::Plugin>) -> Result<(), Error> {
    let key: Key = (&entry.name, &entry.table);
    let kind = types::of(key).ok_or_else(|| Error::Table(format!("{} of {} has no type", key.0, key.1)))?;
    gst::Element::register(plugin, key.0, gst::Rank::from(entry.rank), kind)
        .map_err(|err| Error::Gst(err.to_string()))
}

/// Makes a GObject type for each row.
macro_rules! types {
    ($($module:ident $type_name:literal ($element:literal, $table:literal);)*) => {
        mod types {
            use super::*;

            $(mod $module {
                use super::*;
                use gst::subclass::prelude::*;

                const KEY: Key = ($element, $table);

                glib::wrapper! {
                    pub(crate) struct Element(ObjectSubclass<Imp>)
                        @extends gst::Bin, gst::Element, gst::Object,
                        @implements gst::ChildProxy;
                }

                #[derive(Default)]
                pub(crate) struct Imp {
                    body: Body,
                }

                #[glib::object_subclass]
                impl ObjectSubclass for Imp {
                    const NAME: &'static str = $type_name;
                    type Type = Element;
                    type ParentType = gst::Bin;
                }

                impl ObjectImpl for Imp {
                    fn properties() -> &'static [glib::ParamSpec] {
                        static SPECS: OnceLock<Vec<glib::ParamSpec>> = OnceLock::new();
                        SPECS.get_or_init(|| specs(KEY))
                    }

                    fn set_property(&self, _id: usize, value: &glib::Value, spec: &glib::ParamSpec) {
                        self.body.set(spec.name(), value);
                    }

                    fn property(&self, _id: usize, spec: &glib::ParamSpec) -> glib::Value {
                        self.body.get(KEY, spec)
                    }

                    fn constructed(&self) {
                        self.parent_constructed();
                        give_name(self.obj().upcast_ref(), KEY);
                        if let Err(err) = self.body.construct(self.obj().upcast_ref(), KEY) {
                            panic!("stand-in {}: {err}", KEY.0);
                        }
                    }
                }

                impl GstObjectImpl for Imp {}

                impl ElementImpl for Imp {
                    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
                        static METADATA: OnceLock<gst::subclass::ElementMetadata> = OnceLock::new();
                        Some(METADATA.get_or_init(|| metadata(KEY)))
                    }

                    fn pad_templates() -> &'static [gst::PadTemplate] {
                        static TEMPLATES: OnceLock<Vec<gst::PadTemplate>> = OnceLock::new();
                        TEMPLATES.get_or_init(|| templates(KEY))
                    }

                    fn change_state(
                        &self,
                        change: gst::StateChange,
                    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
                        let obj = self.obj();
                        match change {
                            gst::StateChange::NullToReady => self.body.open(obj.upcast_ref(), KEY)?,
                            gst::StateChange::PausedToReady => self.body.gate.set_stopping(true),
                            gst::StateChange::ReadyToPaused => self.body.gate.set_stopping(false),
                            _ => {}
                        }
                        let done = self.parent_change_state(change);
                        if change == gst::StateChange::ReadyToNull
                            || (change == gst::StateChange::NullToReady && done.is_err())
                        {
                            self.body.close(KEY);
                        }
                        done
                    }
                }

                impl BinImpl for Imp {
                    /// An error inside is the element's own, as of a real element, which has no inside.
                    fn handle_message(&self, message: gst::Message) {
                        let message = match message.view() {
                            gst::MessageView::Error(error) => {
                                gst::message::Error::builder_from_error(error.error())
                                    .src(&*self.obj())
                                    .debug_if_some(error.debug().as_ref().map(|debug| debug.as_str()))
                                    .build()
                            }
                            _ => message,
                        };
                        self.parent_handle_message(message);
                    }
                }
            })*

            /// The type of a row.
            pub(super) fn of(key: Key) -> Option<glib::Type> {
                match key {
                    $(($element, $table) => Some($module::Element::static_type()),)*
                    _ => None,
                }
            }
        }
    };
}

fn metadata(key: Key) -> gst::subclass::ElementMetadata {
    let class = match table::entry(key).map(|entry| entry.kind) {
        Ok(Kind::Decoder) => "Codec/Decoder/Video/Hardware",
        Ok(Kind::Encoder) => "Codec/Encoder/Video/Hardware",
        _ => "Filter/Converter/Video/Scaler/Hardware",
    };
    gst::subclass::ElementMetadata::new(
        &format!("Stand-in for {} ({})", key.0, key.1),
        class,
        "The vendor's name, caps and properties, software inside: for tests",
        "Transcode",
    )
}

types! {
    nvv4l2decoder_r35 "TranscodeStandinNvV4l2DecoderR35" ("nvv4l2decoder", "l4t-r35");
    nvv4l2decoder_r36 "TranscodeStandinNvV4l2DecoderR36" ("nvv4l2decoder", "l4t-r36");
    nvvidconv_r35 "TranscodeStandinNvVidConvR35" ("nvvidconv", "l4t-r35");
    nvvidconv_r36 "TranscodeStandinNvVidConvR36" ("nvvidconv", "l4t-r36");
    nvv4l2h264enc_r35 "TranscodeStandinNvV4l2H264EncR35" ("nvv4l2h264enc", "l4t-r35");
    nvv4l2h264enc_r36 "TranscodeStandinNvV4l2H264EncR36" ("nvv4l2h264enc", "l4t-r36");
    nvh264dec "TranscodeStandinNvH264Dec" ("nvh264dec", "nvcodec-1.22.0");
    nvh265dec "TranscodeStandinNvH265Dec" ("nvh265dec", "nvcodec-1.22.0");
    nvvp9dec "TranscodeStandinNvVp9Dec" ("nvvp9dec", "nvcodec-1.22.0");
    nvmpeg2videodec "TranscodeStandinNvMpeg2VideoDec" ("nvmpeg2videodec", "nvcodec-1.22.0");
    nvav1dec "TranscodeStandinNvAv1Dec" ("nvav1dec", "nvcodec-1.22.0");
    cudaupload "TranscodeStandinCudaUpload" ("cudaupload", "nvcodec-1.22.0");
    cudadownload "TranscodeStandinCudaDownload" ("cudadownload", "nvcodec-1.22.0");
    cudaconvert "TranscodeStandinCudaConvert" ("cudaconvert", "nvcodec-1.22.0");
    cudascale "TranscodeStandinCudaScale" ("cudascale", "nvcodec-1.22.0");
    cudaconvertscale "TranscodeStandinCudaConvertScale" ("cudaconvertscale", "nvcodec-1.22.0");
    nvh264enc "TranscodeStandinNvH264Enc" ("nvh264enc", "nvcodec-1.22.0");
    nvcudah264enc "TranscodeStandinNvCudaH264Enc" ("nvcudah264enc", "nvcodec-1.22.0");
    nvcudah264enc_1_24 "TranscodeStandinNvCudaH264Enc124" ("nvcudah264enc", "nvcodec-1.24");
    vah264dec "TranscodeStandinVaH264Dec" ("vah264dec", "va-1.22.0");
    vah265dec "TranscodeStandinVaH265Dec" ("vah265dec", "va-1.22.0");
    vavp9dec "TranscodeStandinVaVp9Dec" ("vavp9dec", "va-1.22.0");
    vaav1dec "TranscodeStandinVaAv1Dec" ("vaav1dec", "va-1.22.0");
    vampeg2dec "TranscodeStandinVaMpeg2Dec" ("vampeg2dec", "va-1.22.0");
    vapostproc "TranscodeStandinVaPostProc" ("vapostproc", "va-1.22.0");
    vah264enc "TranscodeStandinVaH264Enc" ("vah264enc", "va-1.22.0");
    qsvh264enc "TranscodeStandinQsvH264Enc" ("qsvh264enc", "qsv-1.22.0");
    vtdec_hw "TranscodeStandinVtDecHw" ("vtdec_hw", "applemedia-1.22.0");
    vtenc_h264_hw "TranscodeStandinVtEncH264Hw" ("vtenc_h264_hw", "applemedia-1.22.0");
}
