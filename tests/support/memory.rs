//! A search of a live process's memory for secrets that should be gone.
//!
//! Reads `/proc/PID/mem` over the writable mappings of `/proc/PID/maps`. A [`Needle`] is kept
//! masked and the read buffer is wiped after each piece, so that the search does not find itself.
#![allow(dead_code)]

use std::{
    fs::{self, File},
    hint::black_box,
    io,
    os::unix::fs::FileExt,
};

/// What to look for.
pub(crate) struct Needle {
    masked: Vec<u8>,
}

impl Needle {
    /// Remembers `secret` without keeping a copy of it in clear; at least 8 bytes.
    pub(crate) fn new(secret: &[u8]) -> Self {
        assert!(secret.len() >= 8, "a short needle is found by chance");
        Self {
            masked: secret.iter().map(|byte| byte ^ black_box(MASK)).collect(),
        }
    }

    /// From what [`Needle::masked`] gave in another process, which had the secret in clear.
    pub(crate) fn from_masked(masked: Vec<u8>) -> Self {
        assert!(masked.len() >= 8, "a short needle is found by chance");
        Self { masked }
    }

    /// The secret in its masked form: no search finds it.
    pub(crate) fn masked(&self) -> &[u8] {
        &self.masked
    }

    fn is_at(&self, window: &[u8]) -> bool {
        let mask = black_box(MASK);
        window.iter().zip(&self.masked).all(|(a, b)| a ^ b == mask)
    }
}

/// One occurrence of a needle.
#[derive(Debug)]
pub(crate) struct Hit {
    pub(crate) needle: usize,
    pub(crate) address: u64,
    /// The line of `/proc/PID/maps` it is in.
    pub(crate) mapping: String,
}

/// All occurrences of any needle in this process.
pub(crate) fn search_self(needles: &[Needle]) -> io::Result<Vec<Hit>> {
    search("self", needles)
}

/// All occurrences of any needle in the process `pid`, which must be traceable by this one.
pub(crate) fn search_process(pid: u32, needles: &[Needle]) -> io::Result<Vec<Hit>> {
    search(&pid.to_string(), needles)
}

fn search(pid: &str, needles: &[Needle]) -> io::Result<Vec<Hit>> {
    let longest = needles.iter().map(|n| n.masked.len()).max().unwrap_or(0);
    // Which needles begin with these two (masked) bytes: most places are done with one look-up.
    let mut beginning = vec![Vec::new(); 1 << 16];
    for (i, needle) in needles.iter().enumerate() {
        beginning[pair(&needle.masked)].push(i);
    }
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut buffer = vec![0; PIECE + longest];
    let own = buffer.as_ptr() as u64..buffer.as_ptr() as u64 + buffer.len() as u64;
    let mut hits = Vec::new();
    for line in fs::read_to_string(format!("/proc/{pid}/maps"))?.lines() {
        let Some((start, end)) = writable_range(line) else {
            continue;
        };
        let mut at = start;
        while at < end {
            // Pieces overlap by the longest needle less one byte; a hit is counted where it begins.
            let want = usize::try_from(end - at).map_or(buffer.len(), |n| n.min(buffer.len()));
            let got = read_some(&memory, &mut buffer[..want], at);
            let both = pair(&[black_box(MASK); 2]);
            for offset in 0..got.saturating_sub(1).min(PIECE) {
                let address = at + offset as u64;
                for &i in &beginning[pair(&buffer[offset..]) ^ both] {
                    let window = buffer.get(offset..offset + needles[i].masked.len());
                    if window.is_some_and(|window| needles[i].is_at(window))
                        && !(pid == "self" && own.contains(&address))
                    {
                        hits.push(Hit {
                            needle: i,
                            address,
                            mapping: line.to_owned(),
                        });
                    }
                }
            }
            buffer.fill(0);
            black_box(&mut buffer);
            at += PIECE as u64;
        }
    }
    Ok(hits)
}

/// Bytes read before the end or the first page that cannot be read (such as `[vvar]`).
fn read_some(memory: &File, buffer: &mut [u8], at: u64) -> usize {
    let mut got = 0;
    while got < buffer.len() {
        match memory.read_at(&mut buffer[got..], at + got as u64) {
            Ok(0) | Err(_) => break,
            Ok(n) => got += n,
        }
    }
    got
}

fn pair(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

fn writable_range(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    fields.next()?.starts_with("rw").then_some(())?;
    Some((
        u64::from_str_radix(start, 16).ok()?,
        u64::from_str_radix(end, 16).ok()?,
    ))
}

/// The secret of a masked form: for the process that may have it in clear.
pub(crate) fn unmask(masked: &[u8]) -> Vec<u8> {
    masked.iter().map(|byte| byte ^ MASK).collect()
}

const PIECE: usize = 1 << 20;
const MASK: u8 = 0xA5;
