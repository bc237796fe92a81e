//! Salts that stay fresh when the random source repeats (F-07).

use std::{
    slice,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use super::FormatError;
use crate::cipher::{
    Backend,
    sha256::{self, BLOCK_LEN, LANES, compress_each, only_block},
};

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
        let mut salt = Self([0; 32]);
        Self::draw(part, &mut [[0; 24]], slice::from_mut(&mut salt))?;
        Ok(salt)
    }

    /// `count` of them, each as [`Salt::fresh`]: the kernel and the clock are asked once for all.
    pub(crate) fn fresh_each(part: u32, count: usize) -> Result<Vec<Self>, FormatError> {
        let mut salts: Vec<_> = (0..count).map(|_| Self([0; 32])).collect();
        Self::draw(part, &mut vec![[0; 24]; count], &mut salts)?;
        Ok(salts)
    }

    fn draw(part: u32, random: &mut [[u8; 24]], salts: &mut [Self]) -> Result<(), FormatError> {
        getrandom::fill(random.as_flattened_mut()).map_err(FormatError::Random)?;
        let (nonce, number) = (process_nonce()?, reserve(random.len()));
        Self::mix(random, nonce, number, clock_ns(), part, salts);
        Ok(())
    }

    /// The `part` of the salt of a data key record.
    pub const RECORD: u32 = u32::MAX;

    /// Each a digest of its random bytes, the nonce, its number counted from `number` on, the clock and the part.
    fn mix(
        random: &[[u8; 24]],
        nonce: u64,
        mut number: u64,
        clock_ns: u64,
        part: u32,
        salts: &mut [Self],
    ) {
        let groups = random.chunks(LANES).zip(salts.chunks_mut(LANES));
        for (random, salts) in groups {
            let (mut states, mut blocks) = ([sha256::START; LANES], [[0; BLOCK_LEN]; LANES]);
            for (block, random) in blocks.iter_mut().zip(random) {
                let mut input = [0; 52];
                input[..24].copy_from_slice(random);
                input[24..32].copy_from_slice(&nonce.to_le_bytes());
                input[32..40].copy_from_slice(&number.to_le_bytes());
                input[40..48].copy_from_slice(&clock_ns.to_le_bytes());
                input[48..].copy_from_slice(&part.to_le_bytes());
                number = number.wrapping_add(1);
                *block = only_block(&input, 0);
            }
            let count = random.len();
            compress_each(Backend::detect(), &mut states[..count], &blocks[..count]);
            for (salt, state) in salts.iter_mut().zip(&states) {
                salt.0 = sha256::digest(state);
            }
        }
    }
}

/// The first of so many numbers that nobody else in this process has.
fn reserve(count: usize) -> u64 {
    COUNTER.fetch_add(count as u64, Ordering::Relaxed)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, unsafe_code)]

    use std::{
        collections::HashSet,
        io::{Read, Write},
    };

    use sha2::{Digest, Sha256};

    use super::*;

    /// F-07, against an independent joining of the same 52 bytes.
    #[test]
    fn a_salt_is_the_digest_of_its_five_inputs() {
        let (nonce, clock) = (0x0102_0304_0506_0708_u64, 1_700_000_000_000_000_000);
        let salts: [Salt; 17] = mixed([[0xAB; 24]; 17], nonce, 3, clock, Salt::RECORD);
        for (count, salt) in (3..).zip(salts) {
            let mut input = vec![0xAB; 24];
            for number in [nonce, count, clock] {
                input.extend((0..8).map(|i| u8::try_from(number >> (8 * i) & 0xFF).unwrap()));
            }
            input.extend([0xFF; 4]);
            assert_eq!(input.len(), 52);
            assert_eq!(salt.0[..], Sha256::digest(input)[..]);
        }
    }

    /// F-07, F-32: a random source that says the same every time, and a clock that stands still.
    #[test]
    fn a_repeating_random_source_does_not_repeat_a_salt() {
        let salts: HashSet<[u8; 32]> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let some = |_| mixed([[7; 24]; 5], 1, reserve(5), 0, 0).map(|salt| salt.0);
                        (0..1000).flat_map(some).collect::<Vec<_>>()
                    })
                })
                .collect();
            let all = threads.into_iter().flat_map(|t| t.join().unwrap());
            all.collect()
        });
        assert_eq!(salts.len(), 20_000);
    }

    #[test]
    fn parts_and_processes_have_salts_of_their_own() {
        let salt = |nonce, part| mixed([[0; 24]], nonce, 0, 0, part);
        assert_eq!(salt(1, 0), salt(1, 0));
        assert_ne!(salt(1, 0), salt(1, 1));
        assert_ne!(salt(1, 0), salt(2, 0));
        assert_ne!(Salt::fresh(0).unwrap(), Salt::fresh(0).unwrap());
    }

    /// As many as are asked for, and none twice.
    #[test]
    fn several_salts_are_each_drawn() {
        for count in [0, 1, 16, 17, 40] {
            let salts = Salt::fresh_each(Salt::RECORD, count).unwrap();
            let all: HashSet<[u8; 32]> = salts.into_iter().map(|salt| salt.0).collect();
            assert_eq!(all.len(), count);
        }
    }

    fn mixed<const N: usize>(
        random: [[u8; 24]; N],
        nonce: u64,
        number: u64,
        clock_ns: u64,
        part: u32,
    ) -> [Salt; N] {
        let mut salts = [const { Salt([0; 32]) }; N];
        Salt::mix(&random, nonce, number, clock_ns, part, &mut salts);
        salts
    }

    /// F-07: parent and child go on from the same counter, so only the nonce tells them apart when
    /// the random source repeats.
    #[test]
    fn a_forked_child_draws_a_nonce_of_its_own() {
        let before = process_nonce().unwrap();
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        // SAFETY: the child makes system calls and touches atomics only, then leaves by `_exit`:
        // nothing that another thread of the parent may have held a lock on.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork");
        if child == 0 {
            let sent = process_nonce().is_ok_and(|nonce| {
                let again = process_nonce().is_ok_and(|again| again == nonce);
                again && writer.write_all(&nonce.to_le_bytes()).is_ok()
            });
            // SAFETY: ends this process, without running anything of the test harness.
            unsafe { libc::_exit(i32::from(!sent)) };
        }
        drop(writer);
        let mut nonce = [0; 8];
        reader.read_exact(&mut nonce).unwrap();
        // SAFETY: waits for a child of ours; a null status is allowed.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        assert_ne!(u64::from_le_bytes(nonce), before);
        assert_eq!(process_nonce().unwrap(), before, "the parent keeps its own");
    }
}
