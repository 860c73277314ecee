//! IP addresses as gossip writes them: 4 bytes, or 16 for IPv6 (gossip.md section 2).

use std::net::IpAddr;

use crate::msgpack::encode::put_raw;

/// Appends an address; an IPv4 address never takes its long form.
pub(crate) fn put(out: &mut Vec<u8>, ip: IpAddr) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => put_raw(out, &ip.octets()),
        IpAddr::V6(ip) => put_raw(out, &ip.octets()),
    }
}

/// An address of 4 or 16 bytes; the long form of an IPv4 address is that address.
pub(crate) fn from_bytes(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(octets));
    }
    let octets = <[u8; 16]>::try_from(bytes).ok()?;
    Some(IpAddr::from(octets).to_canonical())
}
