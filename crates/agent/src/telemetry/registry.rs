//! The series of this process: current interval, last complete interval, totals since the start.
//!
//! A series lives as long as the process, whatever the filters say, because code keeps handles to it: a reload only changes
//! whether and how it is shown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata,
    SharedString, Unit,
};
use parking_lot::{Mutex, RwLock};
use tribune_types::time::Wall;

/// Series kept; further ones are dropped, so that label values that clients choose cannot fill the memory.
pub(super) const SERIES_MAX: usize = 20_000;
/// Bytes of a name with its labels; what is longer is dropped, for the same reason.
const KEY_SIZE_MAX: usize = 512;

/// How names are shown, and which are.
#[derive(Debug, Clone, Default)]
pub(super) struct Naming {
    pub(super) prefix: String,
    /// Put after the prefix of gauges.
    pub(super) host: Option<String>,
    pub(super) allowed: Vec<String>,
    pub(super) blocked: Vec<String>,
    pub(super) pass_by_default: bool,
}

impl Naming {
    /// The shown name, or `None` if the filter drops it. The longest matching prefix decides.
    pub(super) fn shown(&self, name: &str, kind: Kind) -> Option<String> {
        let plain = if self.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.prefix)
        };
        let longest = |list: &[String]| {
            list.iter()
                .filter(|prefix| plain.starts_with(prefix.as_str()))
                .map(String::len)
                .max()
        };
        let passes = match (longest(&self.allowed), longest(&self.blocked)) {
            (None, None) => self.pass_by_default,
            (allowed, blocked) => allowed > blocked,
        };
        if !passes {
            return None;
        }
        match (&self.host, kind) {
            (Some(host), Kind::Gauge) => Some(format!("{}.{host}.{name}", self.prefix)),
            _ => Some(plain),
        }
    }
}

/// What a series measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Gauge,
    Counter,
    Sample,
}

/// Figures of one interval.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Aggregate {
    pub(super) count: u64,
    pub(super) sum: f64,
    pub(super) sum_of_squares: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Aggregate {
    fn add(&mut self, value: f64) {
        if self.count == 0 || value < self.min {
            self.min = value;
        }
        if self.count == 0 || value > self.max {
            self.max = value;
        }
        self.count += 1;
        self.sum += value;
        self.sum_of_squares += value * value;
    }

    pub(super) fn mean(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.sum / self.count as f64
        }
    }

    /// Sample standard deviation.
    pub(super) fn stddev(&self) -> f64 {
        let n = self.count as f64;
        let spread = n * self.sum_of_squares - self.sum * self.sum;
        let divisor = n * (n - 1.0);
        if divisor <= 0.0 || spread <= 0.0 {
            0.0
        } else {
            (spread / divisor).sqrt()
        }
    }
}

/// One series.
#[derive(Debug)]
pub(super) struct Series {
    /// The name it is shown under; `None` while the filter drops it.
    shown: RwLock<Option<Arc<str>>>,
    pub(super) labels: Vec<(String, String)>,
    pub(super) kind: Kind,
    /// Bits of a gauge's value.
    gauge: AtomicU64,
    figures: Mutex<Figures>,
}

#[derive(Debug, Default, Clone)]
struct Figures {
    current: Aggregate,
    last: Aggregate,
    total: Aggregate,
    /// Values of the last interval for quantiles, at most [`QUANTILE_SAMPLES`].
    values: Vec<f32>,
    last_values: Vec<f32>,
}

/// Values kept per interval for the quantiles of the Prometheus form; later ones replace earlier ones in turn.
const QUANTILE_SAMPLES: usize = 256;

impl Series {
    fn record(&self, value: f64) {
        let mut figures = self.figures.lock();
        figures.current.add(value);
        figures.total.add(value);
        if self.kind == Kind::Sample {
            let at = figures.total.count as usize % QUANTILE_SAMPLES;
            if figures.values.len() < QUANTILE_SAMPLES {
                figures.values.push(value as f32);
            } else {
                figures.values[at] = value as f32;
            }
        }
    }

    pub(super) fn gauge(&self) -> f64 {
        f64::from_bits(self.gauge.load(Ordering::Relaxed))
    }

    /// Figures of the last complete interval, or of the current one if `current`.
    pub(super) fn interval(&self, current: bool) -> Aggregate {
        let figures = self.figures.lock();
        if current {
            figures.current
        } else {
            figures.last
        }
    }

    /// Figures since the start.
    pub(super) fn total(&self) -> Aggregate {
        self.figures.lock().total
    }

    /// The given quantiles (0 to 1) of the last interval; NaN without values.
    pub(super) fn quantiles(&self, of: &[f64]) -> Vec<f64> {
        let mut values = {
            let figures = self.figures.lock();
            if figures.values.is_empty() {
                figures.last_values.clone()
            } else {
                figures.values.clone()
            }
        };
        values.sort_by(f32::total_cmp);
        of.iter()
            .map(|q| match values.len() {
                0 => f64::NAN,
                len => f64::from(values[((len as f64 * q) as usize).min(len - 1)]),
            })
            .collect()
    }
}

impl CounterFn for Series {
    fn increment(&self, value: u64) {
        self.record(value as f64);
    }

    fn absolute(&self, value: u64) {
        self.record(value as f64);
    }
}

impl GaugeFn for Series {
    fn increment(&self, value: f64) {
        // The closure always says yes, so this cannot fail.
        let _ = self
            .gauge
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
                Some((f64::from_bits(bits) + value).to_bits())
            });
    }

    fn decrement(&self, value: f64) {
        GaugeFn::increment(self, -value);
    }

    fn set(&self, value: f64) {
        self.gauge.store(value.to_bits(), Ordering::Relaxed);
    }
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        Series::record(self, value);
    }
}

type SeriesMap = BTreeMap<(Kind, Key), Arc<Series>>;

/// A series with the name it is shown under.
pub(super) struct Shown {
    pub(super) name: Arc<str>,
    series: Arc<Series>,
}

impl std::ops::Deref for Shown {
    type Target = Series;

    fn deref(&self) -> &Series {
        &self.series
    }
}

/// All series.
pub(super) struct Registry {
    /// Taken after `series` where both are.
    naming: RwLock<Naming>,
    series: RwLock<SeriesMap>,
    /// End of the last complete interval.
    closed: Mutex<Option<Wall>>,
}

impl Registry {
    pub(super) fn new(naming: Naming) -> Registry {
        Registry {
            naming: RwLock::new(naming),
            series: RwLock::default(),
            closed: Mutex::new(None),
        }
    }

    /// Applies new filters, to the series there are as well.
    pub(super) fn rename(&self, naming: Naming) {
        let all = self.series.write();
        for ((kind, key), series) in all.iter() {
            *series.shown.write() = naming.shown(key.name(), *kind).map(Arc::from);
        }
        *self.naming.write() = naming;
    }

    /// The series of a key; `None` if there are too many, or its name is too long.
    fn series(&self, kind: Kind, key: &Key) -> Option<Arc<Series>> {
        let wanted = (kind, key.clone());
        if let Some(found) = self.series.read().get(&wanted) {
            return Some(Arc::clone(found));
        }
        let labels: Vec<(String, String)> = key
            .labels()
            .map(|l| (l.key().to_owned(), l.value().to_owned()))
            .collect();
        let label_size = labels.iter().map(|(key, value)| key.len() + value.len());
        if key.name().len() + label_size.sum::<usize>() > KEY_SIZE_MAX {
            return None;
        }
        let mut all = self.series.write();
        if all.len() >= SERIES_MAX && !all.contains_key(&wanted) {
            return None;
        }
        let shown = self.naming.read().shown(key.name(), kind);
        let made = || {
            Arc::new(Series {
                shown: RwLock::new(shown.map(Arc::from)),
                labels,
                kind,
                gauge: AtomicU64::new(0),
                figures: Mutex::default(),
            })
        };
        Some(Arc::clone(all.entry(wanted).or_insert_with(made)))
    }

    /// Ends an interval.
    pub(super) fn close_interval(&self, now: Wall) {
        for series in self.series.read().values() {
            let mut figures = series.figures.lock();
            figures.last = std::mem::take(&mut figures.current);
            figures.last_values = std::mem::take(&mut figures.values);
        }
        *self.closed.lock() = Some(now);
    }

    /// When the last complete interval ended; `None` before the first did.
    pub(super) fn closed(&self) -> Option<Wall> {
        *self.closed.lock()
    }

    /// All series that are shown, sorted by kind and name.
    pub(super) fn all(&self) -> Vec<Shown> {
        let shown = |series: &Arc<Series>| {
            let name = series.shown.read().clone()?;
            let series = Arc::clone(series);
            Some(Shown { name, series })
        };
        let mut all: Vec<Shown> = self.series.read().values().filter_map(shown).collect();
        all.sort_by(|a, b| (a.kind, &a.name, &a.labels).cmp(&(b.kind, &b.name, &b.labels)));
        all
    }
}

/// The facade's way into a registry.
pub(super) struct Recorder(pub(super) Arc<Registry>);

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.0
            .series(Kind::Counter, key)
            .map_or_else(Counter::noop, Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.0
            .series(Kind::Gauge, key)
            .map_or_else(Gauge::noop, Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.0
            .series(Kind::Sample, key)
            .map_or_else(Histogram::noop, Histogram::from_arc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(host: Option<&str>, allowed: &[&str], blocked: &[&str], default: bool) -> Naming {
        let list = |of: &[&str]| of.iter().map(|s| (*s).to_owned()).collect();
        Naming {
            prefix: "consul".to_owned(),
            host: host.map(str::to_owned),
            allowed: list(allowed),
            blocked: list(blocked),
            pass_by_default: default,
        }
    }

    #[test]
    fn only_gauges_carry_the_host() {
        let naming = naming(Some("vm"), &[], &[], true);
        assert_eq!(
            naming.shown("runtime.alloc_bytes", Kind::Gauge).as_deref(),
            Some("consul.vm.runtime.alloc_bytes")
        );
        assert_eq!(
            naming.shown("rpc.query", Kind::Counter).as_deref(),
            Some("consul.rpc.query")
        );
    }

    #[test]
    fn the_longest_matching_filter_decides() {
        let naming = naming(None, &["consul.rpc.query"], &["consul.rpc"], true);
        assert!(naming.shown("rpc.query", Kind::Counter).is_some());
        assert!(naming.shown("rpc.request", Kind::Counter).is_none());
        assert!(naming.shown("kvs.apply", Kind::Sample).is_some());
    }

    #[test]
    fn an_interval_shows_what_was_recorded_in_it() {
        let registry = Registry::new(naming(None, &[], &[], true));
        let series = registry
            .series(Kind::Sample, &Key::from_name("kvs.apply"))
            .expect("passes");
        for value in [1.0, 2.0, 3.0] {
            Series::record(&series, value);
        }
        registry.close_interval(Wall(1));
        let last = series.interval(false);
        assert_eq!(
            (last.count, last.sum, last.min, last.max),
            (3, 6.0, 1.0, 3.0)
        );
        assert_eq!((last.mean(), last.stddev()), (2.0, 1.0));
        registry.close_interval(Wall(2));
        assert_eq!(series.interval(false).count, 0);
        assert_eq!(series.total().count, 3);
    }

    #[test]
    fn a_reload_shows_and_hides_series_that_code_holds_handles_to() {
        let registry = Registry::new(naming(None, &[], &[], true));
        let held = registry
            .series(Kind::Counter, &Key::from_name("rpc.query"))
            .expect("fits");
        let shown = || -> Vec<(Arc<str>, f64)> {
            let all = registry.all().into_iter();
            all.map(|shown| (Arc::clone(&shown.name), shown.total().sum))
                .collect()
        };
        CounterFn::increment(&*held, 1);
        registry.rename(naming(None, &[], &["consul.rpc"], true));
        CounterFn::increment(&*held, 1);
        assert_eq!(shown(), []);
        registry.rename(naming(None, &[], &[], true));
        CounterFn::increment(&*held, 1);
        assert_eq!(shown(), [(Arc::from("consul.rpc.query"), 3.0)]);
    }

    #[test]
    fn names_that_clients_choose_take_bounded_memory() {
        let registry = Registry::new(naming(None, &[], &[], true));
        let of = |service: String| {
            let labels = vec![metrics::Label::new("service", service)];
            registry.series(
                Kind::Counter,
                &Key::from_parts("health.service.query", labels),
            )
        };
        assert!(of("s".repeat(KEY_SIZE_MAX)).is_none());
        for n in 0..SERIES_MAX {
            assert!(of(n.to_string()).is_some());
        }
        assert!(of("one more".to_owned()).is_none());
        assert!(of("7".to_owned()).is_some(), "those that are there stay");
        assert_eq!(registry.all().len(), SERIES_MAX);
    }

    #[test]
    fn a_gauge_that_many_threads_move_ends_where_it_should() {
        let registry = Registry::new(naming(None, &[], &[], true));
        let gauge = registry
            .series(Kind::Gauge, &Key::from_name("rpc.queries_blocking"))
            .expect("fits");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        GaugeFn::increment(&*gauge, 2.0);
                        GaugeFn::decrement(&*gauge, 1.0);
                    }
                });
            }
        });
        assert_eq!(gauge.gauge(), 4000.0);
    }
}
