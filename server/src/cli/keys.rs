//! `strongroom keys`: what the token holds.

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::json;
use strongroom::hsm::{HsmAdmin, TokenStatus};
use strongroom::keys::Strategy;

use super::{Failure, Place};
use crate::engine;

/// Look at master keys
#[derive(Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Subcommand)]
enum KeysCommand {
    Status(Status),
}

/// Show the token, the versions of the master key in it, and whether a daemon would start on them
///
/// Every version is tried: it must wrap, unwrap, and refuse a damaged wrap; and its attributes
/// must be those of a master key (never extractable, wraps and unwraps, nothing else). Ends with
/// exit code 1 if the active version would not do.
#[derive(Args)]
struct Status {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Keys {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        match self.command {
            KeysCommand::Status(status) => status.run(place),
        }
    }
}

impl Status {
    fn run(self, place: &Place) -> Result<(), Failure> {
        let config = place.settings()?;
        let hsm = engine::hsm_config(&config)?;
        let token = HsmAdmin::open(&hsm.module)?.status(&hsm)?;
        let active = hsm
            .active_version
            .or(token.versions.last().map(|last| last.version));
        let strategy = match hsm.strategy {
            Strategy::Kwp => "AES Key Wrap with Padding (RFC 5649)",
            _ => "AES Key Wrap (RFC 3394)",
        };
        let text = if self.json {
            as_json(
                &token,
                &hsm.root.to_string(),
                &hsm.module.display().to_string(),
                strategy,
                active,
            )
        } else {
            as_text(
                &token,
                &hsm.root.to_string(),
                &hsm.module.display().to_string(),
                strategy,
                active,
            )
        };
        std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(|error| Failure::other(format!("writing: {error}")))?;
        let sound = token
            .versions
            .iter()
            .find(|version| Some(version.version) == active);
        match sound {
            Some(version) if version.is_sound() => Ok(()),
            Some(version) => Err(Failure::other(format!(
                "version {} of the master key is not fit to serve",
                version.version
            ))),
            None => Err(Failure::other(
                "there is no master key of this root in the token",
            )),
        }
    }
}

fn as_json(
    token: &TokenStatus,
    root: &str,
    module: &str,
    strategy: &str,
    active: Option<u32>,
) -> String {
    let versions: Vec<_> = token
        .versions
        .iter()
        .map(|version| {
            let checks: Vec<_> = version
                .checks
                .iter()
                .map(|check| json!({"attribute": check.attribute, "value": check.value, "wanted": check.wanted, "holds": check.holds()}))
                .collect();
            json!({
                "version": version.version,
                "label": version.label,
                "id": hex(&version.id),
                "active": Some(version.version) == active,
                "works": version.works,
                "sound": version.is_sound(),
                "attributes": checks,
            })
        })
        .collect();
    let status = json!({
        "root": root,
        "module": module,
        "strategy": strategy,
        "token": {
            "label": token.token,
            "manufacturer": token.manufacturer,
            "model": token.model,
            "serial": token.serial,
            "software": is_software(token),
            "pin_failed": token.pin_failed,
            "pin_final_try": token.pin_final_try,
        },
        "versions": versions,
    });
    format!("{status:#}\n")
}

fn as_text(
    token: &TokenStatus,
    root: &str,
    module: &str,
    strategy: &str,
    active: Option<u32>,
) -> String {
    let mut text = format!(
        "token     {} ({} {}, serial {})\nmodule    {module}\nroot      {root}\nstrategy  {strategy}\n",
        token.token, token.manufacturer, token.model, token.serial
    );
    if is_software(token) {
        text.push_str("note      a software token: a file, not an HSM\n");
    }
    if token.pin_final_try {
        text.push_str("WARNING   the next wrong PIN locks the token\n");
    } else if token.pin_failed {
        text.push_str("WARNING   a wrong PIN was entered since the last right one\n");
    }
    for version in &token.versions {
        let active = if Some(version.version) == active {
            ", active"
        } else {
            ""
        };
        let state = if version.is_sound() {
            "sound"
        } else {
            "NOT FIT TO SERVE"
        };
        text.push_str(&format!(
            "version {}  {state}{active}  label {}  id {}\n",
            version.version,
            version.label,
            hex(&version.id)
        ));
        if !version.works {
            text.push_str("  it does not open what it wraps, or opens what it should refuse\n");
        }
        for check in version.checks.iter().filter(|check| !check.holds()) {
            text.push_str(&format!(
                "  {} is {:?} and must be {:?}\n",
                check.attribute, check.value, check.wanted
            ));
        }
    }
    if token.versions.is_empty() {
        text.push_str("no version of the master key is in the token\n");
    }
    text
}

fn is_software(token: &TokenStatus) -> bool {
    [&token.manufacturer, &token.model]
        .iter()
        .any(|text| text.to_ascii_lowercase().contains("softhsm"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
