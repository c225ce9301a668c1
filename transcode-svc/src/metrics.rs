//! What Prometheus is told: how full the queue is, what the workers do, how the API fares.
//!
//! Owns the names, units and labels, and the text that `/metrics` answers (OpenMetrics 1.0, which Prometheus
//! reads). Names follow Prometheus' conventions: base units (seconds, bytes, ratios), `_total` for what
//! only grows. Labels have few values each: no job, no worker, no key. Counts begin at 0 with the process; what the
//! queue holds is asked when somebody scrapes.

use crate::job::Priority;
use crate::ledger::Stage;
use crate::queue::Depth;
use crate::time::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// The `Content-Type` of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of what a stage lasts, in seconds: from a probe's tenth to the four hours of a long match.
const STAGE: [f64; 14] =
    [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0];

/// Bounds of the speed: seconds of media a second.
const SPEED: [f64; 10] = [0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 16.0, 32.0];

/// Bounds of an answer's time, in seconds; the API's own goal is 0.05 for the 99th percentile.
const ANSWER: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];

/// Labels by name; the names are the metric's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Labels<const N: usize>([(&'static str, String); N]);

impl<const N: usize> EncodeLabelSet for Labels<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>().encode(encoder)
    }
}

/// A histogram of those bounds.
#[derive(Debug, Clone, Copy)]
struct Bounds(&'static [f64]);

impl MetricConstructor<Histogram> for Bounds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Gauges<const N: usize> = Family<Labels<N>, Gauge>;
type Histograms<const N: usize> = Family<Labels<N>, Histogram, Bounds>;

/// All metrics of this process. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    depth: Gauges<1>,
    held: Gauge,
    delayed: Gauge,
    dead: Gauge,
    age: Gauge<f64, AtomicU64>,
    took: Counters<1>,
    removed: Counter,
    leases: Gauge,
    granted: Counter,
    missed: Counter,
    ended: Counters<2>,
    segments: Counter,
    bytes: Counter,
    stages: Histograms<1>,
    speed: Histograms<1>,
    platform: Gauges<2>,
    fallbacks: Counters<2>,
    webhooks: Counters<1>,
    uploads: Counters<1>,
    uploaded: Counter,
    answers: Histograms<3>,
    watchers: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// All of them, at 0.
    pub fn new() -> Self {
        let mut inner = Inner {
            registry: Registry::with_prefix("transcode"),
            depth: Family::default(),
            held: Gauge::default(),
            delayed: Gauge::default(),
            dead: Gauge::default(),
            age: Gauge::default(),
            took: Family::default(),
            removed: Counter::default(),
            leases: Gauge::default(),
            granted: Counter::default(),
            missed: Counter::default(),
            ended: Family::default(),
            segments: Counter::default(),
            bytes: Counter::default(),
            stages: Family::new_with_constructor(Bounds(&STAGE)),
            speed: Family::new_with_constructor(Bounds(&SPEED)),
            platform: Family::default(),
            fallbacks: Family::default(),
            webhooks: Family::default(),
            uploads: Family::default(),
            uploaded: Counter::default(),
            answers: Family::new_with_constructor(Bounds(&ANSWER)),
            watchers: Gauge::default(),
        };
        inner.register();
        Self(Arc::new(inner))
    }

    /// A worker of this process has a lease.
    pub fn lease_granted(&self) {
        self.0.granted.inc();
        self.0.leases.inc();
    }

    /// It has it no more, however it ended.
    pub fn lease_ended(&self) {
        self.0.leases.dec();
    }

    /// A lease could not be renewed when it should have been.
    pub fn renewal_missed(&self) {
        self.0.missed.inc();
    }

    /// A job has come to an end here. `reason_kind` is the kind of the failure (`input`, `store`,
    /// `machine`, …), empty where there was none.
    pub fn job_ended(&self, state: &str, reason_kind: &str) {
        let labels = Labels([("state", state.to_owned()), ("reason", reason_kind.to_owned())]);
        self.0.ended.get_or_create(&labels).inc();
    }

    /// A segment of so many bytes is stored.
    pub fn segment_stored(&self, bytes: u64) {
        self.0.segments.inc();
        self.0.bytes.inc_by(bytes);
    }

    /// A stage of a job has lasted so long.
    pub fn stage(&self, stage: Stage, took: Duration) {
        let labels = Labels([("stage", stage.name().to_owned())]);
        self.0.stages.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// A job was encoded on `platform` at so many seconds of media a second.
    pub fn speed(&self, platform: &str, x_realtime: f64) {
        let labels = Labels([("platform", platform.to_owned())]);
        self.0.speed.get_or_create(&labels).observe(x_realtime);
    }

    /// This process encodes on that platform with that encoder.
    pub fn platform(&self, platform: &str, encoder: &str) {
        let labels = Labels([("platform", platform.to_owned()), ("encoder", encoder.to_owned())]);
        self.0.platform.clear();
        self.0.platform.get_or_create(&labels).set(1);
    }

    /// A platform has failed and another has gone on.
    pub fn fallback(&self, from: &str, to: &str) {
        self.0.fallbacks.get_or_create(&Labels([("from", from.to_owned()), ("to", to.to_owned())])).inc();
    }

    /// A message was received from that line.
    pub fn took(&self, line: Priority) {
        self.0.took.get_or_create(&Labels([("line", line.name().to_owned())])).inc();
    }

    /// A message was taken out of the queue for good. Beside what was received: 1 : 1 in a healthy fleet.
    pub fn removed(&self) {
        self.0.removed.inc();
    }

    /// A webhook was sent; `outcome` is `delivered`, `failed` or `given-up`.
    pub fn webhook(&self, outcome: &str) {
        self.0.webhooks.get_or_create(&Labels([("outcome", outcome.to_owned())])).inc();
    }

    /// An upload has ended; `outcome` is `complete`, `broken` or `refused`.
    pub(crate) fn upload(&self, outcome: &str) {
        self.0.uploads.get_or_create(&Labels([("outcome", outcome.to_owned())])).inc();
    }

    /// Bytes of an upload were stored.
    pub(crate) fn uploaded(&self, bytes: u64) {
        self.0.uploaded.inc_by(bytes);
    }

    /// A request was answered. `route` is its pattern, not its path.
    pub(crate) fn answered(&self, route: &str, method: &str, status: u16, took: Duration) {
        let class = format!("{}xx", status / 100);
        let labels = Labels([("route", route.to_owned()), ("method", method.to_owned()), ("status", class)]);
        self.0.answers.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Somebody watches events, or does so no more.
    pub(crate) fn watching(&self, change: i64) {
        self.0.watchers.inc_by(change);
    }

    /// What the queue holds, as asked for a scrape at `now`.
    pub fn depth(&self, depth: &Depth, now: Timestamp) {
        for line in Priority::ALL {
            let waiting = i64::try_from(depth.waiting(line)).unwrap_or(i64::MAX);
            self.0.depth.get_or_create(&Labels([("line", line.name().to_owned())])).set(waiting);
        }
        let set = |gauge: &Gauge, count: u64| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        set(&self.0.held, depth.held);
        set(&self.0.delayed, depth.delayed);
        set(&self.0.dead, depth.dead);
        self.0.age.set(depth.oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64()));
    }

    /// All of them as text, for [`CONTENT_TYPE`].
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string fails only where a metric's own encoding is wrong, which tests would see.
        if encode(&mut text, &self.0.registry).is_err() {
            log::error!("the metrics cannot be written as text");
        }
        text
    }
}

impl Inner {
    fn register(&mut self) {
        let registry = &mut self.registry;
        let queue = "Messages that wait for a worker, by line";
        registry.register("queue_depth", queue, self.depth.clone());
        registry.register("queue_held", "Messages in a worker's hands", self.held.clone());
        registry.register("queue_delayed", "Messages that were given back for later", self.delayed.clone());
        registry.register("queue_dead_letters", "Messages that were laid aside", self.dead.clone());
        let age = "Age of the oldest message that waits; 0 where none waits or the queue does not know";
        registry.register_with_unit("queue_oldest_age", age, Unit::Seconds, self.age.clone());
        registry.register("queue_received", "Messages received from the queue, by line", self.took.clone());
        registry.register("queue_removed", "Messages removed from the queue for good", self.removed.clone());
        registry.register("leases", "Jobs that workers of this process have", self.leases.clone());
        registry.register(
            "leases_granted",
            "Leases granted to workers of this process",
            self.granted.clone(),
        );
        registry.register("lease_renewals_missed", "Renewals that failed or came late", self.missed.clone());
        registry.register("jobs_ended", "Jobs that ended here, by state and reason", self.ended.clone());
        registry.register("segments_stored", "Segments stored", self.segments.clone());
        registry.register_with_unit(
            "segments_stored",
            "Bytes of segments stored",
            Unit::Bytes,
            self.bytes.clone(),
        );
        registry.register_with_unit(
            "stage_duration",
            "How long the stages of jobs lasted",
            Unit::Seconds,
            self.stages.clone(),
        );
        registry.register_with_unit(
            "speed",
            "Seconds of media encoded a second, by platform",
            Unit::Other("ratio".to_owned()),
            self.speed.clone(),
        );
        registry.register(
            "platform_info",
            "The platform and encoder that this process used last",
            self.platform.clone(),
        );
        registry.register("fallbacks", "Platforms that failed, and which went on", self.fallbacks.clone());
        registry.register("webhooks_sent", "Webhooks sent, by outcome", self.webhooks.clone());
        registry.register("uploads", "Uploads that ended, by outcome", self.uploads.clone());
        registry.register_with_unit("uploads", "Bytes uploaded", Unit::Bytes, self.uploaded.clone());
        registry.register_with_unit(
            "http_request_duration",
            "How long requests took until their answer began",
            Unit::Seconds,
            self.answers.clone(),
        );
        registry.register("event_watchers", "Connections that watch events", self.watchers.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_units_and_counters_end_with_total() {
        let metrics = Metrics::new();
        metrics.lease_granted();
        metrics.segment_stored(1_000);
        metrics.stage(Stage::Encode, Duration::from_secs(2));
        metrics.speed("software", 1.5);
        metrics.job_ended("failed", "input");
        metrics.took(Priority::High);
        let depth = Depth { low: 3, oldest: Some(Timestamp::from_millis(1_000)), ..Depth::default() };
        metrics.depth(&depth, Timestamp::from_millis(3_500));
        let text = metrics.text();
        for line in [
            "transcode_leases 1",
            "transcode_leases_granted_total 1",
            "transcode_segments_stored_total 1",
            "transcode_segments_stored_bytes_total 1000",
            "transcode_stage_duration_seconds_bucket{le=\"3.0\",stage=\"encode\"} 1",
            "transcode_speed_ratio_sum{platform=\"software\"} 1.5",
            "transcode_jobs_ended_total{state=\"failed\",reason=\"input\"} 1",
            "transcode_queue_received_total{line=\"high\"} 1",
            "transcode_queue_depth{line=\"low\"} 3",
            "transcode_queue_oldest_age_seconds 2.5",
        ] {
            assert!(text.lines().any(|one| one == line), "no `{line}` in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
