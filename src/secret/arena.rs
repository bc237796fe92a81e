//! Locked pages cut into slots, with a free list for each slot size.
//!
//! Slots have the sizes 32, 64, ... 4,096 bytes. A size that has no free slot takes a new arena of
//! four pages; arenas stay for the life of the process, so the peak number of secrets decides how
//! much memory is locked. A free slot is always all zero.
#![allow(unsafe_code)]

use std::{
    ptr::{self, NonNull},
    slice,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    mm::{Advice, MapFlags, ProtFlags},
    process::Resource,
};
use zeroize::Zeroize;

use super::{MAX_LEN, SecretError};

/// Exclusive use of a slot's first `len` bytes; wiped and given back on drop.
pub(super) struct Slot {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a slot is the only handle to its bytes and they belong to no thread: it may move to
// another one like a `Box<[u8]>`.
unsafe impl Send for Slot {}

// SAFETY: through `&Slot` the bytes can only be read.
unsafe impl Sync for Slot {}

impl Slot {
    /// A slot of `len` zero bytes; `len` is at most [`MAX_LEN`].
    pub(super) fn zeroed(len: usize) -> Result<Self, SecretError> {
        let class = class_of(len);
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if free.0[class].is_empty() {
            free.add_arena(class)?;
        }
        let start = free.0[class].pop().expect("an arena has slots");
        Ok(Self { start, len })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: `start` points to a slot of at least `len` initialised bytes in a mapping that is
        // never unmapped; only this handle refers to it, and it is borrowed for the result's life.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and the handle is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        free.0[class_of(self.len)].push(self.start);
    }
}

/// Whether secrets may live in pages that could not be locked. Off unless switched on, and then for
/// the whole process: without it a limit that is too small is an error, never a silent fallback.
pub fn allow_unlocked(allow: bool) {
    ALLOW_UNLOCKED.store(allow, Ordering::Relaxed);
}

/// Whether `bytes` more can be locked now, found out by doing it once. For a program to refuse to
/// start under a limit that is too small, instead of failing on its thousandth request.
///
/// # Errors
/// [`SecretError::Locked`] with the limit in force, or [`SecretError::Map`].
pub fn lock_limit_check(bytes: usize) -> Result<(), SecretError> {
    let len = bytes.next_multiple_of(rustix::param::page_size()).max(1);
    let start = map(len)?;
    let locked = lock(start, len);
    // SAFETY: the mapping was made above and nothing refers to it.
    unsafe { rustix::mm::munmap(start.as_ptr().cast(), len) }
        .map_err(|errno| SecretError::Map(errno.into()))?;
    locked
}

/// Free slots by class; class `c` has slots of `32 << c` bytes.
struct FreeLists([Vec<NonNull<u8>>; CLASSES]);

// SAFETY: the pointers stand for unused memory that belongs to no thread.
unsafe impl Send for FreeLists {}

impl FreeLists {
    fn add_arena(&mut self, class: usize) -> Result<(), SecretError> {
        let len = ARENA_PAGES * rustix::param::page_size();
        let start = map(len)?;
        if let Err(error) = lock(start, len)
            && !ALLOW_UNLOCKED.load(Ordering::Relaxed)
        {
            // SAFETY: the mapping was made above and nothing refers to it.
            unsafe { rustix::mm::munmap(start.as_ptr().cast(), len) }
                .map_err(|errno| SecretError::Map(errno.into()))?;
            return Err(error);
        }
        let size = SMALLEST << class;
        self.0[class].extend((0..len / size).map(|i| {
            // SAFETY: i * size < len, so the result is inside the mapping of `len` bytes.
            unsafe { start.add(i * size) }
        }));
        Ok(())
    }
}

/// Private anonymous pages, zero, not in core dumps.
fn map(len: usize) -> Result<NonNull<u8>, SecretError> {
    let refused = |errno: rustix::io::Errno| SecretError::Map(errno.into());
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no memory in use.
    let start = unsafe {
        rustix::mm::mmap_anonymous(
            ptr::null_mut(),
            len,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )
    }
    .map_err(refused)?;
    // SAFETY: the range is the mapping just made; this advice changes no contents.
    unsafe { rustix::mm::madvise(start, len, Advice::LinuxDontDump) }.map_err(refused)?;
    NonNull::new(start.cast()).ok_or_else(|| refused(rustix::io::Errno::NOMEM))
}

fn lock(start: NonNull<u8>, len: usize) -> Result<(), SecretError> {
    // SAFETY: the range is a mapping of ours; locking changes no contents.
    unsafe { rustix::mm::mlock(start.as_ptr().cast(), len) }.map_err(|_| SecretError::Locked {
        wanted: len,
        limit: rustix::process::getrlimit(Resource::Memlock).current,
    })
}

fn class_of(len: usize) -> usize {
    let slot = len.max(SMALLEST).next_power_of_two();
    (slot / SMALLEST).trailing_zeros() as usize
}

static FREE: Mutex<FreeLists> = Mutex::new(FreeLists([const { Vec::new() }; CLASSES]));
static ALLOW_UNLOCKED: AtomicBool = AtomicBool::new(false);

const SMALLEST: usize = 32;
const CLASSES: usize = (MAX_LEN / SMALLEST).trailing_zeros() as usize + 1;
const ARENA_PAGES: usize = 4;
