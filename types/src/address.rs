//! Where a validator listens for the others, as operations and tables hold it.

use crate::codec::DecodeError;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of an address: 16 of IPv6 (of IPv4 the mapped one, `::ffff:a.b.c.d`), then the port, little-endian.
pub const ADDRESS_BYTES: usize = 18;

/// The bytes of an address.
pub fn encode_address(address: &SocketAddr) -> [u8; ADDRESS_BYTES] {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut bytes = [0; ADDRESS_BYTES];
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..].copy_from_slice(&address.port().to_le_bytes());
    bytes
}

/// Reads what [`encode_address`] wrote.
///
/// # Errors
/// [`DecodeError`] of other lengths, of port 0, and of what is no one machine's: nowhere, everywhere, a group.
pub fn decode_address(bytes: &[u8]) -> Result<SocketAddr, DecodeError> {
    let refused = |value: u64| DecodeError::Value {
        what: "address of a validator",
        value,
    };
    let bytes: [u8; ADDRESS_BYTES] =
        (bytes.try_into()).map_err(|_| refused(crate::codec::wide(bytes.len())))?;
    let [ip @ .., low, high] = bytes;
    let (ip, port) = (Ipv6Addr::from(ip).to_canonical(), u16::from_le_bytes([low, high]));
    let is_everywhere = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    if port == 0 || ip.is_unspecified() || ip.is_multicast() || is_everywhere {
        return Err(refused(u64::from(port)));
    }
    Ok(SocketAddr::new(ip, port))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_form_and_nowhere_is_none() {
        for text in [
            "127.0.0.1:1",
            "203.0.113.7:7402",
            "[::1]:65535",
            "[2001:db8::5]:7402",
        ] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(decode_address(&encode_address(&address)), Ok(address), "{text}");
        }
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:1".parse().unwrap();
        assert_eq!(
            decode_address(&encode_address(&mapped)),
            Ok("127.0.0.1:1".parse().unwrap())
        );
        for text in [
            "127.0.0.1:0",
            "0.0.0.0:5",
            "[::]:5",
            "224.0.0.1:5",
            "[ff02::1]:5",
            "255.255.255.255:5",
        ] {
            let bytes = encode_address(&text.parse().unwrap());
            assert!(decode_address(&bytes).is_err(), "{text}");
        }
        assert!(decode_address(&[1; 17]).is_err() && decode_address(&[1; 19]).is_err());
    }
}
