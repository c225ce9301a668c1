//! Which addresses are not the public Internet, and what each is called.
//!
//! From IANA's registries of special-purpose addresses (RFC 6890 and its updates). Of IPv6 only what is global
//! unicast today (2000::/3) can be public at all. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses, and what it is.
type Range<Address> = (Address, u8, &'static str);

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

const V4: [Range<Ipv4Addr>; 17] = [
    (v4(0, 0, 0, 0), 8, "an unspecified address (RFC 1122)"),
    (v4(10, 0, 0, 0), 8, "a private address (RFC 1918)"),
    (v4(100, 64, 0, 0), 10, "a provider's inner address (RFC 6598)"),
    (v4(127, 0, 0, 0), 8, "a loopback address: this very machine"),
    (v4(168, 63, 129, 16), 32, "Azure's own service for its machines"),
    (v4(169, 254, 0, 0), 16, "a link-local address (RFC 3927), as metadata services have"),
    (v4(172, 16, 0, 0), 12, "a private address (RFC 1918)"),
    (v4(192, 0, 0, 0), 24, "an address of protocols (RFC 6890)"),
    (v4(192, 0, 2, 0), 24, "an address for documentation (RFC 5737)"),
    (v4(192, 88, 99, 0), 24, "a relay between IPv6 and IPv4 (RFC 7526)"),
    (v4(192, 168, 0, 0), 16, "a private address (RFC 1918)"),
    (v4(198, 18, 0, 0), 15, "an address for benchmarks (RFC 2544)"),
    (v4(198, 51, 100, 0), 24, "an address for documentation (RFC 5737)"),
    (v4(203, 0, 113, 0), 24, "an address for documentation (RFC 5737)"),
    (v4(224, 0, 0, 0), 4, "a multicast address (RFC 1112)"),
    (v4(255, 255, 255, 255), 32, "the broadcast address (RFC 919)"),
    (v4(240, 0, 0, 0), 4, "a reserved address (RFC 1112)"),
];

const fn v6(a: u16, b: u16, c: u16, d: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)
}

/// More precise ranges stand before those that they are part of.
const V6: [Range<Ipv6Addr>; 14] = [
    (Ipv6Addr::LOCALHOST, 128, "a loopback address: this very machine"),
    (Ipv6Addr::UNSPECIFIED, 128, "an unspecified address (RFC 4291)"),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, "an IPv4 address written as IPv6 (RFC 4291)"),
    (v6(0, 0, 0, 0), 96, "an IPv4 address written as IPv6 (RFC 4291)"),
    (v6(0x64, 0xff9b, 1, 0), 48, "an address of a local IPv4 gateway (RFC 8215)"),
    (v6(0x2001, 0xdb8, 0, 0), 32, "an address for documentation (RFC 3849)"),
    (v6(0x2001, 0, 0, 0), 32, "an IPv4 address in a tunnel (Teredo, RFC 4380)"),
    (v6(0x2001, 0, 0, 0), 23, "an address of protocols (RFC 2928)"),
    (v6(0x2002, 0, 0, 0), 16, "an IPv4 address in a tunnel (6to4, RFC 7526)"),
    (v6(0x3fff, 0, 0, 0), 20, "an address for documentation (RFC 9637)"),
    (v6(0xfc00, 0, 0, 0), 7, "a private address (unique local, RFC 4193)"),
    (v6(0xfe80, 0, 0, 0), 10, "a link-local address (RFC 4291)"),
    (v6(0xfec0, 0, 0, 0), 10, "a private address (site-local, RFC 3879)"),
    (v6(0xff00, 0, 0, 0), 8, "a multicast address (RFC 4291)"),
];

/// Global unicast: what is given out today.
const GLOBAL: (Ipv6Addr, u8) = (v6(0x2000, 0, 0, 0), 3);

/// The gateways of networks that have no IPv4 of their own (NAT64): there, every IPv4 host has such an address.
const GATEWAY: (Ipv6Addr, u8) = (v6(0x64, 0xff9b, 0, 0), 96);

/// What `address` is, where it is no public one.
pub fn refused_because(address: IpAddr) -> Option<&'static str> {
    let ranges = match address {
        IpAddr::V4(address) => {
            let found = V4.iter().find(|(first, bits, _)| holds((*first).into(), *bits, address.into()));
            return found.map(|(_, _, what)| *what);
        }
        IpAddr::V6(inside) if holds(GATEWAY.0.into(), GATEWAY.1, address) => {
            let [.., a, b, c, d] = inside.octets();
            return refused_because(v4(a, b, c, d).into());
        }
        IpAddr::V6(_) => &V6,
    };
    let found = ranges.iter().find(|(first, bits, _)| holds((*first).into(), *bits, address));
    let global = holds(GLOBAL.0.into(), GLOBAL.1, address);
    found.map(|(_, _, what)| *what).or((!global).then_some("an address that nobody was given (RFC 4291)"))
}

/// Whether `address` begins with the same `bits` bits as `first`; never, where they are of two families.
pub(super) fn holds(first: IpAddr, bits: u8, address: IpAddr) -> bool {
    let (first, address, width) = match (first, address) {
        (IpAddr::V4(first), IpAddr::V4(address)) => (first.to_bits().into(), address.to_bits().into(), 32),
        (IpAddr::V6(first), IpAddr::V6(address)) => (first.to_bits(), address.to_bits(), 128),
        _ => return false,
    };
    let differ: u128 = first ^ address;
    differ.checked_shr(width - u32::from(bits).min(width)).unwrap_or_default() == 0
}
