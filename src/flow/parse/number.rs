//! Numbers and addresses as the kernel prints them, read from bytes.
//!
//! The standard library parses `str` only and takes about as long for one address as the rest of the
//! line takes; these read the fixed forms of lib/vsprintf.c (`%pI4`, `%pI6`, `%u`, `0x%x`) in one pass
//! and leave every other form to the standard library.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A decimal number that fits 32 bits: digits only, no sign, not empty.
pub(crate) fn decimal(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 10 {
        return None;
    }
    let mut value = 0u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    u32::try_from(value).ok()
}

/// A decimal number that fits the wanted width.
pub(crate) fn narrow<T: TryFrom<u32>>(text: &[u8]) -> Option<T> {
    T::try_from(decimal(text)?).ok()
}

/// A hexadecimal number that fits 32 bits, with or without `0x`.
pub(crate) fn hexadecimal(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"0x").unwrap_or(text);
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let mut value = 0u32;
    for byte in digits {
        value = value << 4 | u32::from(hex_digit(*byte)?);
    }
    Some(value)
}

/// The value of one hexadecimal digit.
pub(crate) fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Two hexadecimal digits.
pub(crate) fn hex_byte(text: &[u8]) -> Option<u8> {
    match text {
        [high, low] => Some(hex_digit(*high)? << 4 | hex_digit(*low)?),
        _ => None,
    }
}

/// An IPv4 or IPv6 address.
pub(crate) fn address(text: &[u8]) -> Option<IpAddr> {
    match text.len() {
        7..=15 if !text.contains(&b':') => ipv4(text).map(IpAddr::V4),
        39 => ipv6_in_full(text)
            .or_else(|| standard_ipv6(text))
            .map(IpAddr::V6),
        2..=45 => standard_ipv6(text).map(IpAddr::V6),
        _ => None,
    }
}

fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut parts = text.split(|b| *b == b'.');
    for octet in &mut octets {
        let part = parts.next().filter(|part| part.len() <= 3)?;
        *octet = narrow(part)?;
    }
    parts.next().is_none().then(|| octets.into())
}

/// The kernel's `%pI6`: eight groups of four digits.
fn ipv6_in_full(text: &[u8]) -> Option<Ipv6Addr> {
    let mut octets = [0u8; 16];
    for (i, pair) in octets.chunks_exact_mut(2).enumerate() {
        let at = i * 5;
        if i > 0 && text.get(at - 1) != Some(&b':') {
            return None;
        }
        let [high, low] = pair else { return None };
        *high = hex_byte(text.get(at..at + 2)?)?;
        *low = hex_byte(text.get(at + 2..at + 4)?)?;
    }
    Some(octets.into())
}

fn standard_ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_do_not_fit_are_no_numbers() {
        assert_eq!(decimal(b"4294967295"), Some(u32::MAX));
        assert_eq!(decimal(b"4294967296"), None);
        assert_eq!(decimal(b"+1"), None);
        assert_eq!(decimal(b""), None);
        assert_eq!(narrow::<u16>(b"65536"), None);
        assert_eq!(hexadecimal(b"0xcb886522"), Some(0xcb88_6522));
        assert_eq!(hexadecimal(b"0x"), None);
        assert_eq!(hexadecimal(b"0x123456789"), None);
        assert_eq!(hex_byte(b"xF"), None);
    }

    #[test]
    fn addresses_agree_with_the_standard_library() {
        let cases: [&[u8]; 12] = [
            b"0.0.0.0",
            b"255.255.255.255",
            b"444.333.222.111",
            b"1.2.3",
            b"1.2.3.4.5",
            b"1.2.3.",
            b"2001:0db8:0000:0000:0000:0000:0000:0080",
            b"2a02:cf40:add:4002:91f2:a9b2:e09a:6fc6",
            b"::",
            b"fe80::1",
            b"2001:0db8:0000:0000:0000:0000:0000-0080",
            b"",
        ];
        for text in cases {
            let standard = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
            assert_eq!(address(text), standard, "{}", String::from_utf8_lossy(text));
        }
    }
}
