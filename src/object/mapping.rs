//! Reading a file through a mapping. The only unsafe code of `object`.

use std::fs::File;
use std::io;

use memmap2::{Advice, MmapOptions, MmapRaw};

/// A regular file, mapped for reading.
///
/// Another process may write to the file meanwhile, so no reference to the mapped bytes is ever made: they are copied out
/// through a raw pointer, once, and only the copy is sealed or verified. If another process *shortens* the file, the
/// system ends this process (SIGBUS): for files that are trusted not to shrink.
pub(super) struct Mapping(MmapRaw);

impl Mapping {
    pub(super) fn new(file: &File, len: u64) -> io::Result<Self> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let map = MmapOptions::new().len(len).map_raw_read_only(file)?;
        map.advise(Advice::Sequential)?;
        Ok(Self(map))
    }

    /// Copies the bytes at `offset` into `buf`.
    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let inside = offset
            .checked_add(buf.len())
            .is_some_and(|end| end <= self.0.len());
        if !inside {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // SAFETY: `offset` lies inside the mapping or at its end (checked above), which is one allocation.
        let from = unsafe { self.0.as_ptr().add(offset) };
        // SAFETY: `buf.len()` bytes from `from` on lie inside the mapping (checked above), which is readable for as long
        // as `self` lives. `buf` is borrowed mutably, so it is writable and does not overlap the mapping, which nobody
        // else has a pointer to. Both are bytes, of any value and alignment. That another process may change the source
        // meanwhile changes which bytes are copied, nothing else: no Rust reference to them exists.
        unsafe { from.copy_to_nonoverlapping(buf.as_mut_ptr(), buf.len()) };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::io::Write;

    #[test]
    fn only_what_lies_in_the_mapping_is_read() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let map = Mapping::new(&file, 10).unwrap();
        let mut buf = [0; 4];
        map.read_at(&mut buf, 6).unwrap();
        assert_eq!(&buf, b"6789");
        map.read_at(&mut [], 10).unwrap();
        for offset in [7, 10, 11, u64::MAX - 3, u64::MAX] {
            assert!(map.read_at(&mut buf, offset).is_err(), "{offset}");
        }
    }
}
