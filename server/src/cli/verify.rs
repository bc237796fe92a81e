//! `strongroom verify`: reads everything back and authenticates it.

use std::io::{self, Write};

use clap::Args;
use serde_json::json;
use strongroom::vault::{Finding, VerifyReport};

use super::{Failure, Kind, Place};
use crate::engine;

/// Read back and authenticate every object and every part of an upload, or those of one bucket
///
/// Works while the daemon serves and while it does not: it only reads. Objects that are replaced
/// or deleted meanwhile are no findings. Of an object stored with a customer key everything but
/// its data is verified: only that key opens the data.
///
/// Findings go to standard output, one a line; exit code 4 if there are any.
#[derive(Args)]
pub(super) struct Verify {
    /// Only this bucket
    #[arg(value_name = "BUCKET")]
    bucket: Option<String>,
    /// Print JSON: one object a line, the last one the report
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let config = place.settings()?;
        let vault = engine::open_to_read(&config)?;
        // The account must not be cut short by a reader that went away: what counts is the end.
        let mut told: io::Result<()> = Ok(());
        let report = vault.verify(self.bucket.as_deref(), &mut |finding| {
            if told.is_ok() {
                told = self.tell(&self.finding(finding));
            }
        })?;
        told.and_then(|()| self.tell(&self.report(&report)))
            .map_err(|error| Failure::other(format!("writing: {error}")))?;
        match report.findings {
            0 => Ok(()),
            _ => Err(Failure::new(Kind::Findings, "")),
        }
    }

    fn tell(&self, line: &str) -> io::Result<()> {
        writeln!(io::stdout(), "{line}")
    }

    fn finding(&self, finding: &Finding) -> String {
        let (bucket, key, instance, what) = match finding {
            Finding::Object {
                bucket,
                key,
                instance,
                what,
            } => (bucket, String::from_utf8_lossy(key), instance, what),
            Finding::Catalog { what } if self.json => {
                return json!({"finding": {"catalog": what}}).to_string();
            }
            Finding::Catalog { what } => return format!("FINDING  the catalog: {what}"),
        };
        if self.json {
            let instance = instance.to_string();
            json!({"finding": {"bucket": bucket, "key": key, "instance": instance, "what": what}})
                .to_string()
        } else {
            format!(
                "FINDING  {bucket}/{} (instance {instance}): {what}",
                key.escape_debug()
            )
        }
    }

    fn report(&self, report: &VerifyReport) -> String {
        if self.json {
            return json!({"report": {
                "objects": report.objects,
                "bytes": report.bytes,
                "parts": report.parts,
                "customer_objects": report.customer_objects,
                "unopened": report.unopened,
                "changed": report.changed,
                "findings": report.findings,
            }})
            .to_string();
        }
        let mut text = format!("{} objects", report.objects);
        if report.parts > 0 {
            text.push_str(&format!(" and {} parts of uploads under way", report.parts));
        }
        text.push_str(&format!(" authenticated ({} bytes)", report.bytes));
        if report.customer_objects > 0 {
            text.push_str(&format!(
                ", {} under customer keys verified without their data",
                report.customer_objects
            ));
        }
        if report.unopened > 0 {
            text.push_str(&format!(
                ", {} not verified because their key is disabled or shredded, or their suite not built in",
                report.unopened
            ));
        }
        if report.changed > 0 {
            text.push_str(&format!(
                ", {} replaced or deleted meanwhile",
                report.changed
            ));
        }
        text.push_str(&format!(", {} findings", report.findings));
        text
    }
}
