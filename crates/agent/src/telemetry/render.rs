//! Metrics as the JSON document of `/v1/agent/metrics` and as Prometheus text 0.0.4.

use std::fmt::Write;

use bytes::Bytes;
use serde::Serialize;
use tribune_types::time::Wall;

use super::INTERVAL;
use super::registry::{Kind, Registry, Shown};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    timestamp: String,
    gauges: Vec<GaugeValue<'a>>,
    points: [(); 0],
    counters: Vec<SampledValue<'a>>,
    samples: Vec<SampledValue<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GaugeValue<'a> {
    name: &'a str,
    value: f64,
    labels: Labels<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SampledValue<'a> {
    name: &'a str,
    count: u64,
    rate: f64,
    sum: f64,
    min: f64,
    max: f64,
    mean: f64,
    stddev: f64,
    labels: Labels<'a>,
}

struct Labels<'a>(&'a [(String, String)]);

impl Serialize for Labels<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// The last complete interval; before the first is complete, the current one.
pub(super) fn json(registry: &Registry, now: Wall, pretty: bool) -> Bytes {
    let all = registry.all();
    let (current, start) = match registry.closed() {
        Some(end) => (false, end.0.saturating_sub(INTERVAL.as_nanos() as u64)),
        None => (true, now.0),
    };
    let sampled = |kind: Kind| {
        all.iter()
            .filter(|series| series.kind == kind)
            .filter_map(|series| sampled_value(series, current))
            .collect::<Vec<_>>()
    };
    let document = Document {
        timestamp: timestamp(start),
        gauges: all
            .iter()
            .filter(|series| series.kind == Kind::Gauge)
            .map(|series| GaugeValue {
                name: &series.name,
                value: series.gauge(),
                labels: Labels(&series.labels),
            })
            .collect(),
        points: [],
        counters: sampled(Kind::Counter),
        samples: sampled(Kind::Sample),
    };
    let mut out = Vec::new();
    let written = if pretty {
        let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let written = document.serialize(&mut serde_json::Serializer::with_formatter(
            &mut out, indent,
        ));
        out.push(b'\n');
        written
    } else {
        serde_json::to_writer(&mut out, &document)
    };
    written.map_or_else(|_| Bytes::new(), |()| Bytes::from(out))
}

fn sampled_value(series: &Shown, current: bool) -> Option<SampledValue<'_>> {
    let figures = series.interval(current);
    (figures.count > 0).then(|| SampledValue {
        name: &series.name,
        count: figures.count,
        rate: figures.sum / INTERVAL.as_secs_f64(),
        sum: figures.sum,
        min: figures.min,
        max: figures.max,
        mean: figures.mean(),
        stddev: figures.stddev(),
        labels: Labels(&series.labels),
    })
}

/// `2026-01-01 00:00:10 +0000 UTC`, rounded down to the interval.
fn timestamp(nanos: u64) -> String {
    let secs = nanos / 1_000_000_000 / INTERVAL.as_secs() * INTERVAL.as_secs();
    match jiff::Timestamp::from_second(i64::try_from(secs).unwrap_or(0)) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        Err(_) => String::new(),
    }
}

/// Everything since the start; quantiles of the last interval.
pub(super) fn prometheus(registry: &Registry) -> Bytes {
    let mut out = String::new();
    let mut described = String::new();
    let mut all = registry.all();
    all.sort_by(|a, b| (&a.name, a.kind, &a.labels).cmp(&(&b.name, b.kind, &b.labels)));
    // What code keeps a handle of and never used says nothing.
    let used = |series: &&Shown| series.kind == Kind::Gauge || series.total().count > 0;
    for series in all.iter().filter(used) {
        let name = prometheus_name(&series.name);
        let kind = match series.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Sample => "summary",
        };
        if described != name {
            // Writing to a string cannot fail.
            let _ = write!(out, "# HELP {name} {name}\n# TYPE {name} {kind}\n");
            described.clone_from(&name);
        }
        let total = series.total();
        match series.kind {
            Kind::Gauge => line(&mut out, &name, &series.labels, None, series.gauge()),
            Kind::Counter => line(&mut out, &name, &series.labels, None, total.sum),
            Kind::Sample => {
                let of = [0.5, 0.9, 0.99];
                for (q, value) in of.iter().zip(series.quantiles(&of)) {
                    line(&mut out, &name, &series.labels, Some(*q), value);
                }
                line(
                    &mut out,
                    &format!("{name}_sum"),
                    &series.labels,
                    None,
                    total.sum,
                );
                line(
                    &mut out,
                    &format!("{name}_count"),
                    &series.labels,
                    None,
                    total.count as f64,
                );
            }
        }
    }
    Bytes::from(out)
}

fn line(
    out: &mut String,
    name: &str,
    labels: &[(String, String)],
    quantile: Option<f64>,
    value: f64,
) {
    out.push_str(name);
    let quantile = quantile.map(|q| ("quantile".to_owned(), q.to_string()));
    let mut separator = '{';
    for (key, value) in labels.iter().chain(&quantile) {
        let value = value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        let _ = write!(out, "{separator}{}=\"{value}\"", prometheus_name(key));
        separator = ',';
    }
    if separator == ',' {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

/// Characters outside of the format become underscores.
fn prometheus_name(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '_' | ':') {
                c
            } else {
                '_'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_labels_only_where_there_are_some() {
        let mut out = String::new();
        line(&mut out, "consul_x", &[], None, 2.0);
        line(
            &mut out,
            "consul_x",
            &[("op".to_owned(), "a\"b".to_owned())],
            Some(0.5),
            f64::NAN,
        );
        assert_eq!(
            out,
            "consul_x 2\nconsul_x{op=\"a\\\"b\",quantile=\"0.5\"} NaN\n"
        );
    }

    #[test]
    fn timestamps_are_the_start_of_the_interval() {
        assert_eq!(
            timestamp(1_767_225_617_000_000_000),
            "2026-01-01 00:00:10 +0000 UTC"
        );
    }
}
