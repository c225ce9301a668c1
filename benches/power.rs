//! What the machine says it draws: a Jetson's rails, Intel's and AMD's energy counters, NVIDIA's NVML.
//!
//! Reads files of `/sys` and, where NVIDIA's driver is installed, its library, opened when the program
//! runs. Watts and joules. A machine that does not tell is no failure: there is just no figure.

use nvml_wrapper::Nvml;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two readings.
const EVERY: Duration = Duration::from_millis(100);

/// The rail of a Jetson's whole module (Orin Nano, Orin NX): the others are parts of it.
const WHOLE: &str = "VDD_IN";

/// Everything of this machine that tells its power.
pub(crate) struct Meter {
    sources: Vec<Source>,
    nvml: Option<Nvml>,
}

/// One thing that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// A monitor's channel: millivolts and milliamperes (Linux, Documentation/hwmon/ina3221.rst).
    Rail { name: String, millivolts: PathBuf, milliamperes: PathBuf },
    /// Microjoules that are counted up and begin again behind `range` (Documentation/power/powercap).
    Counter { name: String, microjoules: PathBuf, range: u64 },
    /// A card, by its number.
    Card { name: String, index: u32 },
}

impl Meter {
    /// This machine's.
    pub(crate) fn here() -> Self {
        let nvml = Nvml::init().ok();
        let mut meter = Self { nvml, ..Self::below(Path::new("/sys")) };
        let cards = meter.nvml.as_ref().and_then(|nvml| nvml.device_count().ok()).unwrap_or(0);
        for index in 0..cards {
            let device = meter.nvml.as_ref().and_then(|nvml| nvml.device_by_index(index).ok());
            let name =
                device.filter(|device| device.power_usage().is_ok()).and_then(|device| device.name().ok());
            meter.sources.extend(name.map(|name| Source::Card { name, index }));
        }
        meter
    }

    /// What the files below a `/sys` tell.
    pub(crate) fn below(sys: &Path) -> Self {
        let mut sources = rails(&sys.join("class/hwmon"));
        sources.extend(counters(&sys.join("class/powercap")));
        Self { sources, nvml: None }
    }

    /// What is measured, for the heading of a table; empty where the machine does not tell.
    pub(crate) fn what(&self) -> String {
        let names = self.sources.iter().map(|source| match source {
            Source::Rail { name, .. } => format!("rail {name}"),
            Source::Counter { name, .. } => format!("counter {name}"),
            Source::Card { name, .. } => name.clone(),
        });
        names.collect::<Vec<_>>().join(" + ")
    }

    /// Begins to add up.
    pub(crate) fn start(self: &Arc<Self>) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let (meter, until) = (self.clone(), stop.clone());
        Running { stop, thread: std::thread::spawn(move || meter.add_up(&until)) }
    }

    /// Joules until `stop`; absent where nothing can be read.
    fn add_up(&self, stop: &AtomicBool) -> Option<f64> {
        let begin: Vec<_> = self.sources.iter().map(|source| self.read(source)).collect();
        let mut before = begin;
        let mut then = Instant::now();
        let mut sum = None;
        loop {
            let last = stop.load(Ordering::Acquire);
            let seconds = then.elapsed().as_secs_f64();
            then = Instant::now();
            for (source, before) in self.sources.iter().zip(&mut before) {
                let now = self.read(source);
                if let (Some(now), Some(before)) = (now, *before) {
                    *sum.get_or_insert(0.0) += source.joules(before, now, seconds);
                }
                *before = now;
            }
            if last {
                return sum;
            }
            std::thread::sleep(EVERY);
        }
    }

    /// Watts of a rail or a card, joules of a counter.
    fn read(&self, source: &Source) -> Option<f64> {
        match source {
            Source::Rail { millivolts, milliamperes, .. } => {
                Some(number(millivolts)? * number(milliamperes)? / 1e6)
            }
            Source::Counter { microjoules, .. } => Some(number(microjoules)? / 1e6),
            Source::Card { index, .. } => {
                let device = self.nvml.as_ref()?.device_by_index(*index).ok()?;
                Some(f64::from(device.power_usage().ok()?) / 1e3)
            }
        }
    }
}

impl Source {
    /// Between two readings that are `seconds` apart.
    fn joules(&self, before: f64, now: f64, seconds: f64) -> f64 {
        match self {
            Self::Counter { range, .. } if now < before => now + *range as f64 / 1e6 - before,
            Self::Counter { .. } => now - before,
            Self::Rail { .. } | Self::Card { .. } => f64::midpoint(before, now) * seconds,
        }
    }
}

/// A meter that adds up.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Option<f64>>,
}

impl Running {
    /// Joules since its start; absent where the machine does not tell.
    pub(crate) fn stop(self) -> Option<f64> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().ok().flatten()
    }
}

fn number(path: &Path) -> Option<f64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// The labelled channels of the INA3221 monitors that Jetson modules have: the one of the whole module,
/// or, where none is (AGX Orin, Xavier), all of them.
fn rails(hwmon: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    for monitor in entries(hwmon) {
        if text(&monitor.join("name")).is_none_or(|name| !name.starts_with("ina3221")) {
            continue;
        }
        for channel in 1..=3 {
            let (millivolts, milliamperes) =
                (monitor.join(format!("in{channel}_input")), monitor.join(format!("curr{channel}_input")));
            let name = text(&monitor.join(format!("in{channel}_label")));
            let readable = number(&millivolts).is_some() && number(&milliamperes).is_some();
            let name = name.filter(|name| readable && !name.is_empty() && name != "NC");
            found.extend(name.map(|name| Source::Rail { name, millivolts, milliamperes }));
        }
    }
    let whole = found.iter().find(|rail| matches!(rail, Source::Rail { name, .. } if name == WHOLE));
    whole.cloned().map_or(found, |whole| vec![whole])
}

/// The packages (`intel-rapl:0`, not their parts `intel-rapl:0:0`); most systems show them to root alone.
fn counters(powercap: &Path) -> Vec<Source> {
    let package = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix("intel-rapl:").is_some_and(|number| !number.contains(':'))
    };
    let source = |path: PathBuf| {
        let microjoules = path.join("energy_uj");
        number(&microjoules)?;
        let range = text(&path.join("max_energy_range_uj"))?.parse().ok()?;
        Some(Source::Counter { name: text(&path.join("name"))?, microjoules, range })
    };
    entries(powercap).into_iter().filter(package).filter_map(source).collect()
}
