//! `GET /metrics`: the crates' own counters, rendered as Prometheus text at each request.
//!
//! The library crates keep their counters as values; nothing here counts anything itself.

mod channel;
mod mesh;
mod metric;
mod presence;
mod pubsub;
mod tracker;
mod transport;

use std::fmt;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use matryoshka_presence::channel::HandlerTime;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::answer::{Refusal, with_type};
use crate::metrics::metric::{Kind, Metric, gauge};
use crate::readiness::Phase;
use crate::server::Server;

/// One name before all of them.
const PREFIX: &str = "matryoshka";

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The older format; what is written here is valid in both.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of this node, now.
pub(crate) async fn show(State(server): State<Server>, headers: HeaderMap) -> Response {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Node(server)));
    let mut page = String::new();
    match text::encode(&mut page, &registry) {
        Ok(()) => with_type(StatusCode::OK, format_for(&headers), page),
        Err(_) => Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the metrics could not be written",
        )
        .into_response(),
    }
}

fn format_for(headers: &HeaderMap) -> &'static str {
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or_default();
    if accepts.contains("application/openmetrics-text") {
        OPEN_METRICS
    } else {
        PROMETHEUS
    }
}

/// Reads every part's snapshot when asked for.
struct Node(Server);

impl Collector for Node {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let server = &self.0;
        let connections = server.sockets.connections();
        let channels = server.sockets.stats();
        let mut page = Page(encoder);
        page.rows(READINESS, server)?;
        page.rows(transport::SOCKETS, &connections.stats())?;
        page.rows(transport::OUTBOXES, &connections.waiting())?;
        page.rows(channel::CHANNELS, &channels)?;
        page.write(
            "channel_handler_seconds",
            "How long callbacks of channels took",
            &Seconds(&channels.handler_time),
        )?;
        page.rows(transport::LONG_POLLING, &server.long_polling.stats())?;
        page.rows(pubsub::TOPICS, &server.pubsub.stats())?;
        page.rows(presence::LISTS, &server.presence.stats())?;
        page.rows(tracker::ENTRIES, &server.presence.tracker().stats())?;
        match &server.mesh {
            Some(adapter) => mesh::write(&mut page, adapter),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Node")
    }
}

const READINESS: &[Metric<Server>] = &[gauge("ready", "1 while clients are welcome", |server| {
    u64::from(server.readiness.phase() == Phase::Ready)
})];

/// The text being written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn rows<T>(&mut self, rows: &[Metric<T>], of: &T) -> fmt::Result {
        for row in rows {
            let value = (row.value)(of);
            match row.kind {
                Kind::Counter => self.write(row.name, row.help, &ConstCounter::new(value))?,
                Kind::Gauge => {
                    let value = value.try_into().unwrap_or(i64::MAX);
                    self.write(row.name, row.help, &ConstGauge::new(value))?;
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        let encoder = self
            .0
            .encode_descriptor(name, help, None, metric.metric_type())?;
        metric.encode(encoder)
    }
}

/// Durations, as a histogram in seconds.
struct Seconds<'a>(&'a HandlerTime);

impl EncodeMetric for Seconds<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = HandlerTime::BOUNDS.iter().map(Duration::as_secs_f64);
        let bounds = bounds.chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.0.counts).collect();
        let count = self.0.counts.iter().sum();
        let sum = self.0.total.as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
