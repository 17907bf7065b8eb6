//! Ports for servers of the tests: below those that the system gives to connections, and no two alike for a long time, so nobody
//! takes a port between its choice and the start of its server, or while that is down.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
};

/// Above those that servers have by default, below those of outgoing connections.
const PORTS: std::ops::Range<u32> = 12_000..32_000;

/// Free ports of this machine.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    [(); N].map(|()| free_range(1))
}

/// The first of so many free ports in a row.
pub(crate) fn free_range(count: usize) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let places = PORTS.end - PORTS.start;
    // Programs that run at the same time begin somewhere else.
    let own = std::process::id().wrapping_mul(977) % places;
    let step = u32::try_from(count).unwrap_or(1);
    for _ in 0..1000 {
        let at = own.wrapping_add(NEXT.fetch_add(step, Ordering::Relaxed)) % places;
        let first = u16::try_from(PORTS.start + at).unwrap_or_default();
        if (first..).take(count).all(free) {
            return first;
        }
    }
    panic!("no {count} free ports in a row");
}

fn free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
