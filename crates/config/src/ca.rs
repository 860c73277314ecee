//! Rules for the settings of a certificate authority provider (connect.md section 2.2).
//!
//! The settings are free-form, in the CamelCase of the API; what a provider does not know is kept.

use std::time::Duration;

use tribune_types::duration::{format_go, parse_go_signed};
use tribune_types::value::{Value, ValueMap};

use crate::addresses::rule;
use crate::config::ConnectConfig;
use crate::definition::any_text;
use crate::rules::Checked;

/// Checks the provider and its settings.
pub(crate) fn ca_provider(connect: &ConnectConfig) -> Checked<()> {
    let need = |keys: &[&str], text: &str| match any_text(&connect.ca_config, keys) {
        Some(value) if !value.is_empty() => Ok(()),
        _ => rule(text),
    };
    match connect.ca_provider.as_str() {
        "" | "aws-pca" => Ok(()),
        "consul" => ca_key(&connect.ca_config).and_then(|()| ca_lifetimes(&connect.ca_config)),
        "vault" => {
            need(&["Token"], "must provide a Vault token")?;
            need(
                &["RootPKIPath"],
                "must provide a valid path to a root PKI backend",
            )?;
            need(
                &["IntermediatePKIPath"],
                "must provide a valid path for the intermediate PKI backend",
            )
        }
        other => rule(format!("{other} is not a valid CA provider")),
    }
}

fn ca_key(config: &ValueMap) -> Checked<()> {
    let bits = match config.get("PrivateKeyBits") {
        Some(Value::Int(bits)) => *bits,
        Some(Value::Float(bits)) => *bits as i64,
        _ => 0,
    };
    let kind = any_text(config, &["PrivateKeyType"]).unwrap_or("");
    match (kind, bits) {
        ("" | "ec", 0 | 224 | 256 | 384 | 521) | ("rsa", 0 | 2048 | 4096) => Ok(()),
        ("" | "ec", _) => rule("EC key length must be one of (224, 256, 384, 521) bits"),
        ("rsa", _) => rule("RSA key length must be 2048 or 4096 bits"),
        _ => rule("private key type must be either 'ec' or 'rsa'"),
    }
}

/// Limits of connect.md section 2.2. A number counts nanoseconds.
fn ca_lifetimes(config: &ValueMap) -> Checked<()> {
    let hours = |n: u64| Duration::from_secs(n * 3600);
    let mut problems = Vec::new();
    let mut lifetime = |key: &str, default: Duration| match config.get(key) {
        Some(Value::Int(nanos)) => Duration::from_nanos(u64::try_from(*nanos).unwrap_or(0)),
        Some(Value::Float(nanos)) => Duration::from_nanos(*nanos as u64),
        Some(Value::String(text)) => match parse_go_signed(text) {
            Ok(nanos) => Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)),
            Err(e) => {
                problems.push(format!("* error decoding '{key}': {e}"));
                default
            }
        },
        _ => default,
    };
    let intermediate = lifetime("IntermediateCertTTL", hours(8760));
    let leaf = lifetime("LeafCertTTL", hours(72));
    lifetime("RotationPeriod", hours(2160));
    if !problems.is_empty() {
        return rule(format!(
            "error decoding config: {} error(s) decoding:\n\n{}",
            problems.len(),
            problems.join("\n")
        ));
    }
    if leaf < hours(1) {
        return rule("leaf cert TTL must be greater or equal than 1h0m0s");
    }
    if leaf > hours(8760) {
        return rule("leaf cert TTL must be less than 8760h0m0s");
    }
    if intermediate < hours(3) {
        return rule("Intermediate Cert TTL must be greater or equal than 3h");
    }
    if intermediate < leaf * 3 {
        let least = format_go(leaf * 3);
        return rule(format!(
            "Intermediate Cert TTL must be greater or equal than 3 * LeafCertTTL (>={least})."
        ));
    }
    Ok(())
}
