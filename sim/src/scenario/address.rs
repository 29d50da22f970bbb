//! Internet addresses in a scenario file: where a request comes from, and which networks may call.

use super::decode::{Decode, wrong_kind};
use super::diagnostic::Errors;
use super::document::{Node, Value};
use super::leaf::inline_schema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

/// An address, IPv4 or IPv6: `10.0.0.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address(pub IpAddr);

/// A network: `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    base: IpAddr,
    prefix: u32,
}

/// The bits of an address, first bit at the top, and how many there are.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

impl Network {
    /// Whether `address` is inside. An IPv4 address is in no IPv6 network, nor the other way round.
    pub(super) fn holds(&self, address: IpAddr) -> bool {
        let ((base, width), (asked, other)) = (bits(self.base), bits(address));
        // A shift by all 128 bits is what a prefix of 0 would need.
        width == other && (self.prefix == 0 || (base ^ asked) >> (128 - self.prefix) == 0)
    }
}

impl Decode for Address {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        let Value::Text(text) = &node.value else {
            wrong_kind(node, "an address such as `\"10.0.0.1\"`", errors);
            return None;
        };
        let Ok(address) = text.trim().parse() else {
            let hint = "IPv4 such as `10.0.0.1` or IPv6 such as `fd00::1`";
            errors.refuse_with(&node.place, format!("`{node}` is not an address"), hint);
            return None;
        };
        Some(Address(address))
    }
    fn canonical(&self, out: &mut String) {
        let _ = write!(out, "{}", self.0);
    }
}
inline_schema!(; Address, Address, json_schema!({ "type": "string", "minLength": 2, "maxLength": 45 }));

impl Decode for Network {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        let Value::Text(text) = &node.value else {
            wrong_kind(node, "a network such as `\"10.0.0.0/8\"`", errors);
            return None;
        };
        let (address, prefix) =
            text.trim().split_once('/').map_or((text.trim(), None), |(a, p)| (a, Some(p)));
        let Ok(base) = address.parse::<IpAddr>() else {
            let hint = "an address and the length of its prefix, such as `10.0.0.0/8` or `fd00::/8`";
            errors.refuse_with(&node.place, format!("`{node}` is not a network"), hint);
            return None;
        };
        let (value, width) = bits(base);
        let prefix = match prefix {
            None => width,
            Some(text) => {
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                match text.parse().ok().filter(|&prefix: &u32| digits && prefix <= width) {
                    Some(prefix) => prefix,
                    None => {
                        let message = format!("`{node}` has a prefix that is not in 0..={width}");
                        errors.refuse(&node.place, message);
                        return None;
                    }
                }
            }
        };
        if prefix < 128 && value << prefix != 0 {
            let hint =
                format!("write `{base}/{width}` for this address alone, or clear the bits after /{prefix}");
            errors.refuse_with(&node.place, format!("`{node}` has bits beyond its prefix"), hint);
            return None;
        }
        Some(Network { base, prefix })
    }
    fn canonical(&self, out: &mut String) {
        let _ = write!(out, "{}/{}", self.base, self.prefix);
    }
}
inline_schema!(; Network, Network, json_schema!({ "type": "string", "minLength": 2, "maxLength": 49 }));

#[cfg(test)]
mod tests {
    use super::*;

    fn network(base: &str, prefix: u32) -> Network {
        Network { base: base.parse().unwrap(), prefix }
    }

    #[test]
    fn a_network_holds_the_addresses_that_share_its_prefix() {
        for (base, prefix, address, inside) in [
            ("10.0.0.0", 8, "10.255.0.1", true),
            ("10.0.0.0", 8, "11.0.0.0", false),
            ("0.0.0.0", 0, "203.0.113.9", true),
            ("0.0.0.0", 0, "::1", false),
            ("192.0.2.7", 32, "192.0.2.7", true),
            ("192.0.2.7", 32, "192.0.2.6", false),
            ("fd00::", 8, "fd12::1", true),
            ("::1", 128, "::1", true),
            ("::1", 128, "::2", false),
        ] {
            assert_eq!(
                network(base, prefix).holds(address.parse().unwrap()),
                inside,
                "{base}/{prefix} {address}"
            );
        }
    }
}
