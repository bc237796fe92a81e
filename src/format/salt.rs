//! Salts that stay fresh when the random source repeats (F-07).

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use sha2::{Digest, Sha256};

use super::FormatError;

/// 32 bytes that make the keys of a blob or record its own. Public; used once.
#[derive(PartialEq, Eq, Debug)]
pub struct Salt(pub [u8; 32]);

impl Salt {
    /// A salt for the blob of `part` (0: not multipart), or [`Salt::RECORD`] for a record.
    ///
    /// 24 bytes of the kernel's random source, and then what never comes again even if that source
    /// does: a counter, the clock, and a nonce of this process that is drawn anew after a fork.
    ///
    /// # Errors
    /// [`FormatError::Random`].
    pub fn fresh(part: u32) -> Result<Self, FormatError> {
        let mut random = [0; 24];
        getrandom::fill(&mut random).map_err(FormatError::Random)?;
        Ok(Self::mix(
            random,
            process_nonce()?,
            next(),
            clock_ns(),
            part,
        ))
    }

    /// The `part` of the salt of a data key record.
    pub const RECORD: u32 = u32::MAX;

    fn mix(random: [u8; 24], nonce: u64, counter: u64, clock_ns: u64, part: u32) -> Self {
        let salt = Sha256::new()
            .chain_update(random)
            .chain_update(nonce.to_le_bytes())
            .chain_update(counter.to_le_bytes())
            .chain_update(clock_ns.to_le_bytes())
            .chain_update(part.to_le_bytes())
            .finalize();
        Self(salt.into())
    }
}

fn next() -> u64 {
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

/// Random bytes that belong to this process: a child notices by its process id that the ones it
/// inherited are its parent's. Threads that race to draw may for once use different nonces; the
/// counter tells their salts apart.
fn process_nonce() -> Result<u64, FormatError> {
    let pid = std::process::id();
    if OWNER.load(Ordering::Acquire) != pid {
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(FormatError::Random)?;
        NONCE.store(u64::from_le_bytes(nonce), Ordering::Relaxed);
        OWNER.store(pid, Ordering::Release);
    }
    Ok(NONCE.load(Ordering::Relaxed))
}

/// Nanoseconds since 1970; 64 bits of them last until 2554.
fn clock_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}

static COUNTER: AtomicU64 = AtomicU64::new(0);
static NONCE: AtomicU64 = AtomicU64::new(0);
/// Process id that [`NONCE`] was drawn for; no process has the id 0.
static OWNER: AtomicU32 = AtomicU32::new(0);
