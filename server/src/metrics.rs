//! Metrics, in Prometheus' text format on the admin listener.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// The process's counters. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics {
    handle: PrometheusHandle,
}

/// Why a connection was cut or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Handshake,
    Header,
    Body,
    WriteStall,
    TooMany,
    TooManyOfAddress,
}

impl Metrics {
    /// Installs the recorder of the process.
    pub(crate) fn install() -> Result<Metrics, Box<dyn std::error::Error + Send + Sync>> {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&LATENCY_BUCKETS)?
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder)?;
        describe();
        Ok(Metrics { handle })
    }

    /// The text a Prometheus server scrapes.
    pub(crate) fn render(&self) -> String {
        self.handle.render()
    }

    /// Moves recorded samples into their buckets; to be called every few seconds, or they pile
    /// up when nobody scrapes.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// One finished request.
    pub(crate) fn request(
        &self,
        operation: &str,
        status: u16,
        took: Duration,
        received: u64,
        sent: u64,
    ) {
        let operation = operation.to_owned();
        counter!("strongroom_requests_total", "op" => operation.clone(), "status" => status.to_string()).increment(1);
        histogram!("strongroom_request_seconds", "op" => operation).record(took.as_secs_f64());
        counter!("strongroom_received_bytes_total").increment(received);
        counter!("strongroom_sent_bytes_total").increment(sent);
    }

    /// Time spent sealing, and the plaintext bytes of it.
    pub(crate) fn sealed(&self, took: Duration, bytes: u64) {
        histogram!("strongroom_seal_seconds").record(took.as_secs_f64());
        counter!("strongroom_sealed_bytes_total").increment(bytes);
    }

    /// Time spent opening, and the plaintext bytes of it.
    pub(crate) fn opened(&self, took: Duration, bytes: u64) {
        histogram!("strongroom_open_seconds").record(took.as_secs_f64());
        counter!("strongroom_opened_bytes_total").increment(bytes);
    }

    /// A connection that was cut or not accepted.
    pub(crate) fn cut(&self, why: Cut) {
        let reason = match why {
            Cut::Handshake => "handshake",
            Cut::Header => "header",
            Cut::Body => "body",
            Cut::WriteStall => "write_stall",
            Cut::TooMany => "too_many",
            Cut::TooManyOfAddress => "too_many_of_address",
        };
        counter!("strongroom_connections_cut_total", "reason" => reason).increment(1);
    }

    /// Open connections.
    pub(crate) fn connections(&self, open: usize) {
        gauge!("strongroom_connections").set(open as f64);
    }
}

fn describe() {
    describe_counter!(
        "strongroom_requests_total",
        "S3 requests by operation and status"
    );
    describe_histogram!(
        "strongroom_request_seconds",
        Unit::Seconds,
        "From request header to the last byte of the reply"
    );
    describe_counter!(
        "strongroom_received_bytes_total",
        Unit::Bytes,
        "Bytes of request bodies"
    );
    describe_counter!(
        "strongroom_sent_bytes_total",
        Unit::Bytes,
        "Bytes of reply bodies"
    );
    describe_histogram!(
        "strongroom_seal_seconds",
        Unit::Seconds,
        "Sealing one batch and handing it to the store"
    );
    describe_histogram!(
        "strongroom_open_seconds",
        Unit::Seconds,
        "Reading and opening one batch"
    );
    describe_counter!(
        "strongroom_sealed_bytes_total",
        Unit::Bytes,
        "Plaintext bytes sealed"
    );
    describe_counter!(
        "strongroom_opened_bytes_total",
        Unit::Bytes,
        "Plaintext bytes opened"
    );
    describe_counter!(
        "strongroom_blocking_calls_total",
        "Calls of S3 requests onto threads that may block"
    );
    describe_counter!(
        "strongroom_catalog_reads_total",
        "Read transactions of the catalog"
    );
    describe_counter!(
        "strongroom_hsm_calls_total",
        "Calls to the HSM by function and outcome"
    );
    describe_histogram!(
        "strongroom_hsm_seconds",
        Unit::Seconds,
        "Time of a call to the HSM"
    );
    describe_counter!(
        "strongroom_bucket_key_cache_hits_total",
        "Bucket keys served from memory"
    );
    describe_counter!(
        "strongroom_bucket_key_cache_misses_total",
        "Bucket keys unwrapped by the HSM"
    );
    describe_gauge!(
        "strongroom_bucket_keys_held",
        "Unwrapped bucket keys in memory"
    );
    describe_counter!(
        "strongroom_damaged_total",
        "Reads that found an object damaged"
    );
    describe_counter!(
        "strongroom_state_alarms_total",
        "Bucket keys whose state differs between key store and catalog"
    );
    describe_counter!(
        "strongroom_outcome_unknown_total",
        "Writes of which it is not known whether they took effect"
    );
    describe_counter!(
        "strongroom_leases_lost_total",
        "Leases this daemon lost as a writer"
    );
    describe_counter!(
        "strongroom_maintenance_failed_total",
        "Background passes that did not get through"
    );
    describe_counter!(
        "strongroom_connections_cut_total",
        "Connections cut or refused, by reason"
    );
    describe_gauge!("strongroom_connections", "Open connections");
}

const LATENCY_BUCKETS: [f64; 13] = [
    0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0,
];
