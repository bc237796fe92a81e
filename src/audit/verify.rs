//! Reading a trail back: the chain, and nothing else.

use std::io::{self, BufRead, Read};

use sha2::{Digest, Sha256};

use super::AuditError;
use super::file::Head;
use super::json::hex;

/// What a trail that verified holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// How many events.
    pub events: u64,
    /// The end of the chain; compare it with one kept elsewhere, for a trail cut short is a
    /// shorter trail that verifies.
    pub head: Head,
}

/// Verifies a whole trail from its first event.
///
/// # Errors
/// [`AuditError::Broken`] names the first line that does not follow from the one before it;
/// [`AuditError::Io`] if `trail` cannot be read.
pub fn verify(mut trail: impl BufRead) -> Result<Summary, AuditError> {
    let mut head = Head::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(MAX_LINE).expect("a line's limit fits 64 bits");
        let read = trail
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut line)
            .map_err(|error| AuditError::Io {
                path: "(reader)".into(),
                reason: error.to_string(),
            })?;
        if read == 0 {
            return Ok(Summary {
                events: head.seq,
                head,
            });
        }
        let broken = |reason| AuditError::Broken {
            line: head.seq + 1,
            reason,
        };
        if line.pop() != Some(b'\n') {
            return Err(broken("the line does not end"));
        }
        let (seq, prev) = parse(&line).ok_or_else(|| broken("not a line of a trail"))?;
        if seq != head.seq + 1 {
            return Err(broken("its number does not follow"));
        }
        if prev != hex(&head.hash) {
            return Err(broken("it does not name the line before it"));
        }
        head = Head {
            seq,
            hash: Sha256::digest(&line).into(),
        };
    }
}

/// The end of a trail, and how many bytes of an unfinished line follow it.
pub(super) struct Tail {
    pub(super) head: Head,
    pub(super) torn: u64,
}

/// Finds the last complete line of `trail`, which is `len` bytes long.
pub(super) fn tail(
    trail: &mut (impl Read + io::Seek),
    len: u64,
) -> io::Result<Result<Tail, AuditError>> {
    let window = len.min(2 * u64::try_from(MAX_LINE).expect("a line's limit fits 64 bits"));
    trail.seek(io::SeekFrom::Start(len - window))?;
    let mut bytes = Vec::new();
    trail.take(window).read_to_end(&mut bytes)?;
    let Some(end) = bytes.iter().rposition(|&byte| byte == b'\n') else {
        return Ok(if window == len {
            Ok(Tail {
                head: Head::default(),
                torn: len,
            })
        } else {
            Err(BAD_TAIL)
        });
    };
    let start = bytes[..end]
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |newline| newline + 1);
    let line = &bytes[start..end];
    let torn = u64::try_from(bytes.len() - end - 1).expect("a buffer's length fits 64 bits");
    Ok(parse(line).ok_or(BAD_TAIL).map(|(seq, _)| Tail {
        head: Head {
            seq,
            hash: Sha256::digest(line).into(),
        },
        torn,
    }))
}

/// The number and the predecessor of a line, which come first and in this spelling only.
fn parse(line: &[u8]) -> Option<(u64, &str)> {
    let text = str::from_utf8(line).ok()?;
    let (seq, rest) = text.strip_prefix("{\"seq\":")?.split_once(',')?;
    let (prev, rest) = rest.strip_prefix("\"prev\":\"")?.split_once('"')?;
    let canonical = seq.bytes().all(|c| c.is_ascii_digit()) && !seq.starts_with('0');
    (canonical && prev.len() == 64 && rest.starts_with(',') && rest.ends_with('}'))
        .then(|| Some((seq.parse().ok()?, prev)))?
}

pub(super) const MAX_LINE: usize = 1 << 20;
const BAD_TAIL: AuditError = AuditError::Broken {
    line: 0,
    reason: "the file does not end in a line of a trail",
};
