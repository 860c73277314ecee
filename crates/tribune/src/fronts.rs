//! The fronts of an agent: built from its settings, told of reloads, stopped before it.

use std::net::ToSocketAddrs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tracing::{error, warn};
use tribune_agent::Handle;
use tribune_config::config::{Reloadable, TlsFiles, TlsVersion, UnixSocketConfig};
use tribune_config::{Config, ListenAddr};
use tribune_dns::{DnsOptions, DnsServer, SoaOptions, recursor_addr};
use tribune_http::{
    HttpOptions, HttpReload, HttpServer, Limits, Listener, Place, TlsOptions, UnixPermissions,
};
use tribune_rt::Env;
use tribune_types::text::text;

/// How long open requests may take to end at shutdown.
const DRAIN: Duration = Duration::from_millis(500);

/// The running fronts.
pub(crate) struct Fronts {
    http: HttpServer,
    dns: std::sync::Mutex<Option<DnsServer>>,
}

impl Fronts {
    /// Binds and serves everything that is configured.
    pub(crate) async fn start(env: &Env, handle: &Handle, config: &Config) -> Result<Fronts> {
        let http = tribune_http::serve(env, handle.clone(), http_options(config)?)
            .await
            .context("Failed to start the HTTP server")?;
        let dns = tribune_dns::serve(env, handle.clone(), dns_options(config))
            .await
            .context("Failed to start the DNS server")?;
        Ok(Fronts {
            http,
            dns: std::sync::Mutex::new(Some(dns)),
        })
    }

    /// Applies what may change at run time. What cannot be applied is logged and stays as it was.
    pub(crate) fn reload(&self, config: &Config) {
        let tls = match tls_options(config) {
            Ok(tls) => tls,
            Err(err) => {
                error!(err = %format!("{err:#}"), "TLS files cannot be used, keeping the old ones");
                None
            }
        };
        let reload = HttpReload {
            tls,
            max_conns_per_client: config.reloadable.http_max_conns_per_client as usize,
            discovery_max_stale: config.http.discovery_max_stale,
        };
        if let Err(err) = self.http.reload(&reload) {
            error!(%err, "TLS files cannot be used, keeping the old ones");
        }
        let dns = self
            .dns
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(dns) = dns.as_ref()
            && let Err(err) = dns.reload(dns_options(config))
        {
            error!(%err, "DNS settings cannot be used, keeping the old ones");
        }
    }

    /// Stops taking requests and waits briefly for those under way.
    pub(crate) async fn shutdown(&self) {
        let dns = self
            .dns
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if let Some(dns) = dns {
            dns.shutdown().await;
        }
        // Blocking queries are cut off; that is no fault.
        let _ = self.http.shutdown(DRAIN).await;
    }
}

fn http_options(config: &Config) -> Result<HttpOptions> {
    let places = |addrs: &[ListenAddr], tls: bool| {
        addrs
            .iter()
            .map(|addr| match addr {
                ListenAddr::Tcp(addr) => Listener {
                    place: Place::Tcp(*addr),
                    tls,
                },
                ListenAddr::Unix(path) => Listener {
                    place: Place::Unix(path.clone()),
                    tls,
                },
            })
            .collect::<Vec<_>>()
    };
    let mut listeners = places(&config.listeners.http, false);
    listeners.extend(places(&config.listeners.https, true));
    Ok(HttpOptions {
        listeners,
        unix: unix_permissions(&config.listeners.unix_sockets)?,
        tls: tls_options(config)?,
        limits: Limits {
            max_conns_per_client: config.reloadable.http_max_conns_per_client as usize,
            https_handshake_timeout: config.limits.https_handshake_timeout,
            kv_value_size_max: config.limits.kv_value_size_max,
            txn_size_max: config.limits.txn_size_max,
            ..Limits::default()
        },
        block_endpoints: config.http.block_endpoints.clone(),
        allow_write_from: config.http.allow_write_from.clone(),
        response_headers: config.http.response_headers.clone(),
        allow_unprintable: config.http.allow_unprintable,
        pretty_default: config.dev_mode,
        translate_wan_addrs: config.http.translate_wan_addrs,
        discovery_max_stale: config.http.discovery_max_stale,
        use_cache: config.http.use_cache,
        default_query_time: config.http.default_query_time,
        max_query_time: config.http.max_query_time,
        acl_enabled: config.acl.enabled,
    })
}

/// The certificates of TLS listeners; `None` if there are none, which only a configured listener makes matter.
fn tls_options(config: &Config) -> Result<Option<TlsOptions>> {
    let Reloadable { tls, .. } = &config.reloadable;
    let (Some(cert), Some(key)) = (&tls.cert_file, &tls.key_file) else {
        return Ok(None);
    };
    if config.listeners.https.is_empty() {
        return Ok(None);
    }
    Ok(Some(TlsOptions {
        cert_pem: read(cert)?,
        key_pem: read(key)?,
        ca_pem: ca_pem(tls)?,
        verify_incoming: tls.https_client_auth(),
        only_tls13: config.tls.min_version == TlsVersion::Tls13,
    }))
}

fn ca_pem(tls: &TlsFiles) -> Result<Vec<u8>> {
    let mut pem = Vec::new();
    if let Some(file) = &tls.ca_file {
        pem.extend(read(file)?);
    }
    if let Some(dir) = &tls.ca_path {
        let mut files: Vec<_> = std::fs::read_dir(dir)
            .with_context(|| format!("failed to read {}", dir.display()))?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        for file in files {
            pem.push(b'\n');
            pem.extend(read(&file)?);
        }
    }
    Ok(pem)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("failed to read {}", path.display()))
}

fn unix_permissions(config: &UnixSocketConfig) -> Result<UnixPermissions> {
    let number = |what: &str, text: &str, radix: u32| -> Result<Option<u32>> {
        if text.is_empty() {
            return Ok(None);
        }
        u32::from_str_radix(text, radix)
            .map(Some)
            .with_context(|| format!("unix_sockets.{what}: invalid value {text:?}"))
    };
    let uid = match config.user.parse::<u32>() {
        Ok(uid) => Some(uid),
        Err(_) if config.user.is_empty() => None,
        Err(_) => Some(user_id(&config.user)?),
    };
    Ok(UnixPermissions {
        mode: number("mode", &config.mode, 8)?,
        uid,
        gid: number("group", &config.group, 10)?,
    })
}

/// Number of a user by name, from the system's user list.
fn user_id(name: &str) -> Result<u32> {
    let users =
        std::fs::read_to_string("/etc/passwd").context("failed to read the list of users")?;
    let found = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name))
            .then(|| fields.nth(1).and_then(|uid| uid.parse().ok()))
            .flatten()
    });
    match found {
        Some(uid) => Ok(uid),
        None => bail!("unix_sockets.user: unknown user {name:?}"),
    }
}

fn dns_options(config: &Config) -> DnsOptions {
    let dns = &config.reloadable.dns;
    DnsOptions {
        listen: config.listeners.dns.clone(),
        domain: config.dns.domain.clone(),
        alt_domain: config.dns.alt_domain.clone(),
        datacenter: text(&config.datacenter),
        node: text(&config.node.name),
        translate_wan_addrs: config.http.translate_wan_addrs,
        recursors: dns
            .recursors
            .iter()
            .filter_map(|recursor| resolve(recursor))
            .collect(),
        recursor_timeout: dns.recursor_timeout,
        allow_stale: dns.allow_stale,
        use_cache: dns.use_cache,
        cache_max_age: dns.cache_max_age,
        max_stale: dns.max_stale,
        node_ttl: dns.node_ttl,
        service_ttl: dns
            .service_ttl
            .iter()
            .map(|(name, ttl)| (name.clone(), *ttl))
            .collect(),
        enable_truncate: dns.enable_truncate,
        only_passing: dns.only_passing,
        disable_compression: dns.disable_compression,
        udp_answer_limit: dns.udp_answer_limit,
        a_record_limit: dns.a_record_limit,
        node_meta_txt: dns.node_meta_txt,
        soa: SoaOptions {
            refresh: dns.soa.refresh,
            retry: dns.soa.retry,
            expire: dns.soa.expire,
            min_ttl: dns.soa.min_ttl,
        },
    }
}

/// The address of a recursor; names are looked up once. One that cannot be had is left out with a warning.
fn resolve(recursor: &str) -> Option<std::net::SocketAddr> {
    if let Ok(addr) = recursor_addr(recursor) {
        return Some(addr);
    }
    let with_port = if recursor.contains(':') {
        recursor.to_owned()
    } else {
        format!("{recursor}:53")
    };
    match with_port.to_socket_addrs().map(|mut addrs| addrs.next()) {
        Ok(Some(addr)) => Some(addr),
        _ => {
            warn!(recursor, "recursor has no address and is not used");
            None
        }
    }
}
