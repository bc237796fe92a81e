//! Connection caps: in all, and by client address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts open connections and says when there are too many.
#[derive(Clone)]
pub(super) struct Slots {
    shared: Arc<Shared>,
}

struct Shared {
    total: usize,
    per_address: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One counted connection; dropping it makes room.
pub(super) struct Slot {
    shared: Arc<Shared>,
    address: IpAddr,
}

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    AddressFull,
}

impl Slots {
    /// Zero means no cap.
    pub(super) fn new(total: usize, per_address: usize) -> Slots {
        let cap = |limit| if limit == 0 { usize::MAX } else { limit };
        Slots {
            shared: Arc::new(Shared {
                total: cap(total),
                per_address: cap(per_address),
                open: Mutex::default(),
            }),
        }
    }

    /// Counts one connection of `address`.
    pub(super) fn take(&self, address: IpAddr) -> Result<Slot, Refused> {
        let address = counted_as(address);
        let mut open = self.shared.open();
        if open.total >= self.shared.total {
            return Err(Refused::Full);
        }
        let count = open.by_address.entry(address).or_default();
        if *count >= self.shared.per_address {
            return Err(Refused::AddressFull);
        }
        *count += 1;
        open.total += 1;
        Ok(Slot {
            shared: Arc::clone(&self.shared),
            address,
        })
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.shared.open();
        open.total -= 1;
        if let Some(count) = open.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

/// One IPv6 client usually owns a whole /64.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn both_caps_hold_and_a_dropped_slot_makes_room() {
        let slots = Slots::new(3, 2);
        let first = slots.take(ip("10.0.0.1")).ok().unwrap();
        let _second = slots.take(ip("10.0.0.1")).ok().unwrap();
        assert_eq!(slots.take(ip("10.0.0.1")).err(), Some(Refused::AddressFull));
        let _other = slots.take(ip("10.0.0.2")).ok().unwrap();
        assert_eq!(slots.take(ip("10.0.0.3")).err(), Some(Refused::Full));
        drop(first);
        assert!(slots.take(ip("10.0.0.1")).is_ok());
    }

    #[test]
    fn an_ipv6_network_counts_as_one_client_and_a_mapped_address_as_ipv4() {
        let slots = Slots::new(0, 1);
        let _one = slots.take(ip("2001:db8::1")).ok().unwrap();
        assert!(slots.take(ip("2001:db8::2")).is_err());
        assert!(slots.take(ip("2001:db8:0:1::1")).is_ok());
        let _mapped = slots.take(ip("::ffff:10.0.0.1")).ok().unwrap();
        assert!(slots.take(ip("10.0.0.1")).is_err());
    }
}
