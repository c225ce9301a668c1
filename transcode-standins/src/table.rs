//! The tables: what the elements' properties, caps and ranks are, read from `tables/*.toml`.
//!
//! Owns: reading the tables and making GObject property specs of them. Must not know: what an element does.

use std::sync::OnceLock;

use glib::prelude::*;
use gstreamer as gst;
use serde::Deserialize;

use crate::Error;

/// The vendors' enum types, written from the tables by the build script.
mod enums {
    use glib::prelude::*;

    macro_rules! spec {
        ($name:expr, $default:expr, $flags:expr) => {
            glib::ParamSpecEnum::builder_with_default($name, $default).flags($flags).build()
        };
    }

    include!(concat!(env!("OUT_DIR"), "/enums.rs"));
}

/// What a stand-in does inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Decodes whatever its sink caps allow.
    Decoder,
    /// Moves pictures between system and device memory, nothing else.
    Copy,
    /// Changes the pixel format.
    Convert,
    /// Changes the size.
    Scale,
    /// Changes format and size, and turns pictures where it has a property for that.
    ConvertScale,
    /// Encodes H.264.
    Encoder,
}

/// A row of `elements.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) table: String,
    pub(crate) kind: Kind,
    pub(crate) rank: i32,
    sink: String,
    src: String,
    cite: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entries {
    element: Vec<Entry>,
}

/// A property's row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Property {
    pub(crate) name: String,
    #[serde(rename = "type")]
    kind: PropertyType,
    #[serde(rename = "enum")]
    enum_type: Option<String>,
    min: Option<Number>,
    max: Option<Number>,
    default: Option<Number>,
    /// What a new element has, where the vendor's code differs from the default it declares.
    initial: Option<Number>,
    #[serde(default = "yes")]
    writable: bool,
    /// There only where the device offers it.
    #[serde(default)]
    pub(crate) conditional: bool,
    pub(crate) cite: String,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PropertyType {
    Boolean,
    Int,
    Uint,
    Uint64,
    Float,
    Double,
    String,
    Enum,
    Structure,
}

/// TOML has no unsigned 64-bit numbers: those beyond are written as text.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Number {
    Truth(bool),
    Whole(i64),
    Real(f64),
    Text(String),
}

impl Number {
    fn whole(&self) -> Option<i128> {
        match self {
            Self::Truth(value) => Some(i128::from(*value)),
            Self::Whole(value) => Some(i128::from(*value)),
            Self::Text(text) => text.parse().ok(),
            Self::Real(_) => None,
        }
    }

    fn real(&self) -> Option<f64> {
        match self {
            Self::Real(value) => Some(*value),
            _ => None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    properties: Vec<Property>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// What the rows were read from.
    source: String,
    #[serde(default, rename = "enum")]
    enums: Vec<EnumRow>,
    element: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnumRow {
    name: String,
    cite: String,
    values: Vec<EnumValue>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnumValue {
    value: i32,
    nick: String,
}

const TABLES: [(&str, &str); 7] = [
    ("applemedia-1.22.0", include_str!("../tables/applemedia-1.22.0.toml")),
    ("l4t-r35", include_str!("../tables/l4t-r35.toml")),
    ("l4t-r36", include_str!("../tables/l4t-r36.toml")),
    ("nvcodec-1.22.0", include_str!("../tables/nvcodec-1.22.0.toml")),
    ("nvcodec-1.24", include_str!("../tables/nvcodec-1.24.toml")),
    ("qsv-1.22.0", include_str!("../tables/qsv-1.22.0.toml")),
    ("va-1.22.0", include_str!("../tables/va-1.22.0.toml")),
];

struct All {
    entries: Vec<Entry>,
    tables: Vec<(&'static str, Table)>,
}

fn all() -> Result<&'static All, Error> {
    static ALL: OnceLock<Result<All, Error>> = OnceLock::new();
    ALL.get_or_init(|| {
        let bad = |file: &str, err: toml::de::Error| Error::Table(format!("tables/{file}.toml: {err}"));
        let entries: Entries =
            toml::from_str(include_str!("../tables/elements.toml")).map_err(|err| bad("elements", err))?;
        let tables = TABLES
            .iter()
            .map(|(name, text)| Ok((*name, toml::from_str(text).map_err(|err| bad(name, err))?)))
            .collect::<Result<_, Error>>()?;
        Ok(All { entries: entries.element, tables })
    })
    .as_ref()
    .map_err(Clone::clone)
}

/// A stand-in of the tables: the element's name and the table (the vendor's version) of its properties.
pub(crate) type Key = (&'static str, &'static str);

/// The row of `elements.toml`.
pub(crate) fn entry(key: Key) -> Result<&'static Entry, Error> {
    all()?
        .entries
        .iter()
        .find(|entry| entry.name == key.0 && entry.table == key.1)
        .ok_or_else(|| Error::Table(format!("tables/elements.toml has no {} of {}", key.0, key.1)))
}

/// The rows of the element's properties.
pub(crate) fn properties(key: Key) -> Result<&'static [Property], Error> {
    all()?
        .tables
        .iter()
        .find(|(name, _)| *name == key.1)
        .and_then(|(_, table)| table.element.iter().find(|row| row.name == key.0))
        .map(|row| row.properties.as_slice())
        .ok_or_else(|| Error::Table(format!("tables/{}.toml has no {}", key.1, key.0)))
}

impl Entry {
    /// The caps of the pad `sink` or `src`.
    pub(crate) fn caps(&self, pad: &str) -> Result<gst::Caps, Error> {
        // What the vendors' macros GST_CUDA_FORMATS and GST_CUDA_CONVET_FORMATS say; the second has no packed YUV.
        const FORMATS: &str = "I420, YV12, NV12, NV21, P010_10LE, P016_LE, I420_10LE, Y444, Y444_16LE, BGRA, \
            RGBA, RGBx, BGRx, ARGB, ABGR, RGB, BGR, BGR10A2_LE, RGB10A2_LE, Y42B, I422_10LE, I422_12LE, ";
        let text = if pad == "sink" { &self.sink } else { &self.src };
        let text = text
            .replace("@CUDACONVERT@", &format!("{{ {FORMATS} RGBP, BGRP, GBR, GBRA }}"))
            .replace("@CUDA@", &format!("{{ {FORMATS} YUY2, UYVY, RGBP, BGRP, GBR, GBRA }}"))
            .replace("MAX", &i32::MAX.to_string());
        text.parse()
            .map_err(|_| Error::Table(format!("the {pad} caps of {} do not parse: {text}", self.name)))
    }
}

impl Property {
    /// The property as GObject has it.
    pub(crate) fn spec(&self, table: &str) -> Result<glib::ParamSpec, Error> {
        let name = self.name.as_str();
        let flags = if self.writable { glib::ParamFlags::READWRITE } else { glib::ParamFlags::READABLE };
        let missing = |what: &str| Error::Table(format!("{name} ({}) has no {what}", self.cite));
        let bounds = || -> Result<[i128; 3], Error> {
            let number = |value: &Option<Number>, what| {
                value.as_ref().and_then(Number::whole).ok_or_else(|| missing(what))
            };
            Ok([number(&self.min, "min")?, number(&self.max, "max")?, number(&self.default, "default")?])
        };
        let fits = |_| Error::Table(format!("{name} ({}) has a bound outside its type", self.cite));
        Ok(match self.kind {
            PropertyType::Boolean => {
                let default = matches!(self.default, Some(Number::Truth(true)));
                glib::ParamSpecBoolean::builder(name).default_value(default).flags(flags).build()
            }
            PropertyType::Int => {
                let [min, max, default] = bounds()?;
                glib::ParamSpecInt::builder(name)
                    .minimum(min.try_into().map_err(fits)?)
                    .maximum(max.try_into().map_err(fits)?)
                    .default_value(default.try_into().map_err(fits)?)
                    .flags(flags)
                    .build()
            }
            PropertyType::Uint => {
                let [min, max, default] = bounds()?;
                glib::ParamSpecUInt::builder(name)
                    .minimum(min.try_into().map_err(fits)?)
                    .maximum(max.try_into().map_err(fits)?)
                    .default_value(default.try_into().map_err(fits)?)
                    .flags(flags)
                    .build()
            }
            PropertyType::Uint64 => {
                let [min, max, default] = bounds()?;
                glib::ParamSpecUInt64::builder(name)
                    .minimum(min.try_into().map_err(fits)?)
                    .maximum(max.try_into().map_err(fits)?)
                    .default_value(default.try_into().map_err(fits)?)
                    .flags(flags)
                    .build()
            }
            PropertyType::Float | PropertyType::Double => {
                let real = |value: &Option<Number>, what| {
                    value.as_ref().and_then(Number::real).ok_or_else(|| missing(what))
                };
                glib::ParamSpecDouble::builder(name)
                    .minimum(real(&self.min, "min")?)
                    .maximum(real(&self.max, "max")?)
                    .default_value(real(&self.default, "default")?)
                    .flags(flags)
                    .build()
            }
            PropertyType::String => glib::ParamSpecString::builder(name).flags(flags).build(),
            PropertyType::Structure => {
                glib::ParamSpecBoxed::builder::<gst::Structure>(name).flags(flags).build()
            }
            PropertyType::Enum => {
                let kind = self.enum_type.as_deref().ok_or_else(|| missing("enum"))?;
                let default =
                    self.default.as_ref().and_then(Number::whole).ok_or_else(|| missing("default"))?;
                if kind == "GstVideoOrientationMethod" {
                    glib::ParamSpecEnum::builder_with_default(
                        name,
                        gstreamer_video::VideoOrientationMethod::Identity,
                    )
                    .flags(flags)
                    .build()
                } else {
                    enums::enum_spec(table, kind, name, default.try_into().map_err(fits)?, flags)
                        .ok_or_else(|| missing("enum type of its table"))?
                }
            }
        })
    }

    /// What a new element answers when asked for it.
    pub(crate) fn initial(&self, spec: &glib::ParamSpec) -> glib::Value {
        match self.initial.as_ref().and_then(Number::whole).and_then(|n| u32::try_from(n).ok()) {
            Some(value) if spec.value_type() == u32::static_type() => value.to_value(),
            _ => spec.default_value().clone(),
        }
    }
}

/// One line a property: element, property, where it was read. For tests and the README's promise.
pub(crate) fn citations() -> Result<Vec<String>, Error> {
    let all = all()?;
    let mut lines = Vec::new();
    for entry in &all.entries {
        lines.push(format!("{} {}: {}", entry.table, entry.name, entry.cite));
    }
    for (name, table) in &all.tables {
        for row in &table.element {
            for property in &row.properties {
                let at_times = if property.conditional { ", where the device offers it" } else { "" };
                lines.push(format!(
                    "{name} {}.{} ({}{at_times}): {}",
                    row.name, property.name, table.source, property.cite
                ));
            }
        }
        for row in &table.enums {
            let nicks: Vec<_> = row.values.iter().map(|v| format!("{}={}", v.nick, v.value)).collect();
            lines.push(format!("{name} {} [{}]: {}", row.name, nicks.join(" "), row.cite));
        }
    }
    Ok(lines)
}
