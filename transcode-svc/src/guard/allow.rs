//! What a person has let through: networks, addresses and names. Text in, yes or no out.

use super::range::holds;
use std::fmt;
use std::net::IpAddr;
use url::Host;

/// Networks (`10.0.0.0/8`), addresses (`192.168.1.7`, `fd00::7`) and names (`hooks.club.lan`) that requests
/// from outside may lead to, although they are not public. A name lets through whatever addresses it has. Nothing,
/// by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow {
    networks: Vec<(IpAddr, u8)>,
    hosts: Vec<String>,
}

impl Allow {
    /// Read a list.
    ///
    /// # Errors
    /// The entry, what is wrong with it, and how it is written.
    pub fn new(entries: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, String> {
        let mut allow = Self::default();
        for entry in entries {
            allow.add(entry.as_ref().trim())?;
        }
        Ok(allow)
    }

    fn add(&mut self, entry: &str) -> Result<(), String> {
        let wrong = |reason: &str| {
            format!(
                "`{entry}` {reason}; write a network like 10.0.0.0/8, an address like 192.168.1.7 or a name"
            )
        };
        if let Some((first, bits)) = entry.split_once('/') {
            let first: IpAddr = first.parse().map_err(|_| wrong("is no network"))?;
            let width = if first.is_ipv4() { 32 } else { 128 };
            let bits =
                bits.parse().ok().filter(|bits| *bits <= width).ok_or_else(|| wrong("is no network"))?;
            let lowest = lowest(first, bits);
            if lowest != first {
                return Err(wrong(&format!("is an address in a network, which is {lowest}/{bits}")));
            }
            self.networks.push((first, bits));
            return Ok(());
        }
        let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
        if let Ok(address) = bare.parse::<IpAddr>() {
            self.networks.push((address, if address.is_ipv4() { 32 } else { 128 }));
            return Ok(());
        }
        match Host::parse(entry) {
            Ok(Host::Domain(name)) => self.hosts.push(name.trim_end_matches('.').to_owned()),
            _ => return Err(wrong("is neither a network nor a name")),
        }
        Ok(())
    }

    /// Whether a request to `address` may go, which `host` led to.
    pub(super) fn lets_through(&self, host: Option<&str>, address: IpAddr) -> bool {
        let named = |host: &str| {
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            self.hosts.contains(&host)
        };
        host.is_some_and(named) || self.networks.iter().any(|(first, bits)| holds(*first, *bits, address))
    }
}

impl fmt::Display for Allow {
    /// As it is written in a configuration: `["10.0.0.0/8", "hooks.club.lan"]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks = self.networks.iter().map(|(first, bits)| format!("{first}/{bits}"));
        f.debug_list().entries(networks.chain(self.hosts.iter().cloned())).finish()
    }
}

/// The lowest address of the network of `bits` bits that `address` is in.
fn lowest(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or_default();
            std::net::Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or_default();
            std::net::Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}
