//! Groups of clients: steady callers from many addresses.
//!
//! A group calls at a fixed pace, each time from the next address of its networks, taken in strides so
//! that neighbours in time are not neighbours in the network. No randomness: two runs of a scenario
//! look alike. How many calls may be open at once is bounded, so that a firewall that swallows
//! everything does not make the sandbox eat the machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};

use super::call::Call;
use crate::sandbox::Traffic;
use crate::sandbox::scenario::{Client, ProbeResult};

/// No group has more calls open than this.
const OPEN_AT_MOST: usize = 2_000;
/// Odd, hence it visits every address of a network whose size is a power of two.
const STRIDE: u64 = 0x9E37_79B1;

/// Live counts of one group.
#[derive(Debug, Default)]
pub struct Tally {
    attempts: AtomicU64,
    connected: AtomicU64,
    timed_out: AtomicU64,
    refused: AtomicU64,
    unreachable: AtomicU64,
}

impl Tally {
    fn count(&self, result: ProbeResult) {
        let counter = match result {
            ProbeResult::Connected => &self.connected,
            ProbeResult::TimedOut => &self.timed_out,
            ProbeResult::Refused => &self.refused,
            ProbeResult::Unreachable => &self.unreachable,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// What it says now.
    pub fn read(&self, name: &str) -> Traffic {
        Traffic {
            name: name.to_owned(),
            attempts: self.attempts.load(Relaxed),
            connected: self.connected.load(Relaxed),
            timed_out: self.timed_out.load(Relaxed),
            refused: self.refused.load(Relaxed),
            unreachable: self.unreachable.load(Relaxed),
        }
    }
}

/// Call for ever. Runs as a task of the place's runtime.
pub async fn run(client: Client, tally: Arc<Tally>) {
    let pace = Duration::from_secs_f64(1.0 / client.rate);
    let open = Arc::new(Semaphore::new(OPEN_AT_MOST));
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for turn in 0.. {
        ticks.tick().await;
        let Some(call) = nth_call(&client, turn) else {
            return;
        };
        let Ok(permit) = Arc::clone(&open).try_acquire_owned() else {
            continue;
        };
        tally.attempts.fetch_add(1, Relaxed);
        let tally = Arc::clone(&tally);
        tokio::spawn(async move {
            let result = call.make(|| tally.count(ProbeResult::Connected)).await;
            if result != ProbeResult::Connected {
                tally.count(result);
            }
            drop(permit);
        });
    }
}

/// The turn's destination, round robin, and its source.
fn nth_call(client: &Client, turn: u64) -> Option<Call> {
    let ways = u64::try_from(client.to.len())
        .ok()
        .filter(|ways| *ways > 0)?;
    let to = *client.to.get(usize::try_from(turn % ways).ok()?)?;
    let round = turn / ways;
    let from: Vec<&IpNet> = client
        .from
        .iter()
        .filter(|net| net.addr().is_ipv4() == to.is_ipv4())
        .collect();
    let from = match u64::try_from(from.len()).ok()? {
        0 => None,
        nets => from
            .get(usize::try_from(round % nets).ok()?)
            .map(|net| nth_address(net, (round / nets).wrapping_mul(STRIDE))),
    };
    Some(Call {
        proto: client.proto,
        from,
        to: SocketAddr::new(to, client.port),
        patience: Duration::from_secs_f64(client.timeout),
        hold: Duration::from_secs_f64(client.hold),
    })
}

/// An address of a network, by number, wrapping round; network and broadcast address of IPv4 are left out.
pub fn nth_address(net: &IpNet, number: u64) -> IpAddr {
    match net {
        IpNet::V4(net) => {
            let bits = 32 - u32::from(net.prefix_len());
            let base = u32::from(net.network());
            if bits == 0 {
                return IpAddr::V4(net.addr());
            }
            let size = (1_u64 << bits).saturating_sub(2).max(1);
            let offset = u32::try_from(1 + number % size).unwrap_or(1);
            IpAddr::V4(Ipv4Addr::from(base | (offset & !u32::from(net.netmask()))))
        }
        IpNet::V6(net) => {
            // A few hundred neighbours are many clients enough, and readable.
            let bits = (128 - u32::from(net.prefix_len())).min(9);
            let base = u128::from(net.network());
            if bits == 0 {
                return IpAddr::V6(net.addr());
            }
            let size = (1_u64 << bits) - 1;
            IpAddr::V6(Ipv6Addr::from(base | u128::from(1 + number % size)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn addresses_stay_in_their_network_and_are_many() {
        for (net, expected) in [
            ("203.0.113.0/24", 254),
            ("203.0.113.9/32", 1),
            ("203.0.113.8/31", 1),
            ("10.0.0.0/8", 1000),
            ("0.0.0.0/0", 1000),
            ("2001:db8::/64", 511),
            ("2001:db8::7/128", 1),
            ("2001:db8::/127", 1),
            ("::/0", 511),
        ] {
            let net: IpNet = net.parse().unwrap();
            let seen: HashSet<IpAddr> = (0..1000_u64)
                .map(|turn| nth_address(&net, turn.wrapping_mul(STRIDE)))
                .collect();
            assert!(seen.iter().all(|address| net.contains(address)), "{net}");
            assert_eq!(seen.len(), expected, "{net}");
        }
    }
}
