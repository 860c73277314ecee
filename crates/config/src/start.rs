//! What `validate` lets pass but the start of an agent refuses (config.md section 1, last paragraph).
//!
//! `build` hands in values as it reads them; the earliest problem, in the order an agent would meet it, is kept.

use tribune_types::id::Uuid;

use crate::config::{Config, LogLevel, TlsVersion};
use crate::error::ConfigError;
use crate::get::View;
use crate::rules;

/// What an agent refuses at start, in the order it would meet it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StartStep {
    Log,
    Tls,
    NodeId,
    Server,
    Gossip,
    Watch,
}

#[derive(Default)]
pub(crate) struct StartErrors {
    step: Option<StartStep>,
    pub(crate) first: Option<ConfigError>,
}

impl StartErrors {
    pub(crate) fn add(&mut self, step: StartStep, text: String) {
        if self.step.is_none_or(|have| step < have) {
            self.step = Some(step);
            self.first = Some(ConfigError::Rule(text));
        }
    }

    pub(crate) fn log_level(&mut self, name: &str) -> LogLevel {
        LogLevel::parse(name).unwrap_or_else(|| {
            let text = format!(
                "Invalid log level: {name}. Valid log levels are: [TRACE DEBUG INFO WARN ERR ERROR]"
            );
            self.add(StartStep::Log, text);
            LogLevel::Info
        })
    }

    pub(crate) fn tls_version(&mut self, name: &str) -> TlsVersion {
        match name {
            "" | "tls12" => TlsVersion::Tls12,
            "tls10" => TlsVersion::Tls10,
            "tls11" => TlsVersion::Tls11,
            "tls13" => TlsVersion::Tls13,
            _ => {
                let text = format!(
                    "TLSMinVersion: value {name} not supported, please specify one of [tls10, tls11, tls12, tls13]"
                );
                self.add(StartStep::Tls, text);
                TlsVersion::Tls12
            }
        }
    }

    pub(crate) fn node_id(&mut self, id: &str) -> Option<Uuid> {
        if id.is_empty() {
            return None;
        }
        match Uuid::parse(&id.to_lowercase()) {
            Ok(id) => Some(id),
            Err(e) => {
                self.add(
                    StartStep::NodeId,
                    format!("specified NodeID is invalid: {e}"),
                );
                None
            }
        }
    }

    pub(crate) fn version(
        &mut self,
        value: i64,
        min: u8,
        max: u8,
        text: impl Fn(i64) -> String,
    ) -> u8 {
        match u8::try_from(value) {
            Ok(version) if (min..=max).contains(&version) => version,
            _ => {
                self.add(StartStep::Server, text(value));
                max
            }
        }
    }

    /// The checks that need the whole.
    pub(crate) fn finish(&mut self, mut config: Config, view: View<'_>) -> Config {
        let tls = &config.reloadable.tls;
        let has_ca = tls.ca_file.is_some() || tls.ca_path.is_some();
        if (tls.verify_incoming || tls.verify_incoming_rpc || tls.verify_incoming_https) && !has_ca
        {
            self.add(
                StartStep::Tls,
                "VerifyIncoming set but no CA certificates were provided".to_owned(),
            );
        }
        if tls.verify_outgoing && !has_ca {
            self.add(
                StartStep::Tls,
                "VerifyOutgoing set but no CA certificates were provided".to_owned(),
            );
        }
        // An empty key is no key; one that is not base64 was refused before.
        let key_size = rules::base64_len(config.encrypt.key.reveal()).unwrap_or(0);
        if !matches!(key_size, 0 | 16 | 24 | 32) {
            let text =
                "Failed to configure keyring: Invalid key: key size must be 16, 24 or 32 bytes";
            self.add(StartStep::Gossip, text.to_owned());
        }
        for object in view.objects("watches") {
            match crate::watch::watch(object.0) {
                Ok(watch) => config.reloadable.watches.push(watch),
                Err(e) => self.add(StartStep::Watch, format!("Failed to parse watch: {e}")),
            }
        }
        if !config.reloadable.watches.is_empty()
            && config.listeners.http.is_empty()
            && config.listeners.https.is_empty()
        {
            self.add(
                StartStep::Watch,
                "watch plans require an HTTP or HTTPS endpoint".to_owned(),
            );
        }
        config
    }
}
