//! Named lists: the object head and the attributes (F-86, F-87).

use super::FormatError;

/// Names and values, in ascending order of the names.
///
/// Names are ASCII without upper-case letters, each at most once; names and values have at most
/// 65,535 bytes, and there are at most 65,535 of them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct NamedList(pub Vec<(String, Vec<u8>)>);

impl NamedList {
    /// The bytes of an object head. Entries in any order: the encoding has them sorted.
    ///
    /// # Errors
    /// [`FormatError::Malformed`]: a name twice, a name that is not allowed, or too long.
    pub fn encode_head(&self) -> Result<Vec<u8>, FormatError> {
        self.encode(HEAD)
    }

    /// The bytes of a list of attributes, as [`NamedList::encode_head`].
    ///
    /// # Errors
    /// As [`NamedList::encode_head`].
    pub fn encode_attrs(&self) -> Result<Vec<u8>, FormatError> {
        self.encode(ATTRS)
    }

    /// Reads an object head. Its digest is checked first, by [`Manifest::open_head`].
    ///
    /// [`Manifest::open_head`]: super::Manifest::open_head
    ///
    /// # Errors
    /// [`FormatError::Malformed`] or [`FormatError::Unsupported`].
    pub fn decode_head(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::decode(HEAD, bytes)
    }

    /// Reads a list of attributes.
    ///
    /// # Errors
    /// As [`NamedList::decode_head`].
    pub fn decode_attrs(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::decode(ATTRS, bytes)
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let (_, value) = self.0.iter().find(|(n, _)| n == name)?;
        Some(value)
    }

    fn encode(&self, magic: &[u8; 4]) -> Result<Vec<u8>, FormatError> {
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort_by_key(|(name, _)| name.as_bytes());
        let count = u16::try_from(entries.len())
            .map_err(|_| FormatError::Malformed("more than 65,535 names"))?;
        let mut out = Vec::from(magic);
        out.push(VERSION);
        out.extend(count.to_le_bytes());
        let mut previous = None;
        for (name, value) in entries {
            check_name(previous, name.as_bytes())?;
            previous = Some(name.as_bytes());
            put_prefixed(&mut out, name.as_bytes())?;
            put_prefixed(&mut out, value)?;
        }
        Ok(out)
    }

    fn decode(magic: &[u8; 4], bytes: &[u8]) -> Result<Self, FormatError> {
        let rest = bytes
            .strip_prefix(magic)
            .ok_or(FormatError::Malformed("magic of a list"))?;
        let (&version, rest) = rest
            .split_first()
            .ok_or(FormatError::Malformed("list ends early"))?;
        if version != VERSION {
            return Err(FormatError::Unsupported("version of a list"));
        }
        let (count, mut rest) = take_u16(rest)?;
        let mut entries = Vec::new();
        let mut previous = None;
        for _ in 0..count {
            let name = take_prefixed(&mut rest)?;
            let value = take_prefixed(&mut rest)?;
            check_name(previous, name)?;
            previous = Some(name);
            let name = str::from_utf8(name).map_err(|_| NOT_A_NAME)?;
            entries.push((name.to_owned(), value.to_vec()));
        }
        if rest.is_empty() {
            Ok(Self(entries))
        } else {
            Err(FormatError::Malformed("bytes behind a list"))
        }
    }
}

fn check_name(previous: Option<&[u8]>, name: &[u8]) -> Result<(), FormatError> {
    if name.iter().any(|b| !b.is_ascii() || b.is_ascii_uppercase()) {
        return Err(NOT_A_NAME);
    }
    if previous.is_some_and(|previous| previous >= name) {
        return Err(FormatError::Malformed("names twice or out of order"));
    }
    Ok(())
}

/// `lp(x)` of F-02.
fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), FormatError> {
    let len = u16::try_from(bytes.len())
        .map_err(|_| FormatError::Malformed("more than 65,535 bytes in a list"))?;
    out.extend(len.to_le_bytes());
    out.extend(bytes);
    Ok(())
}

fn take_prefixed<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], FormatError> {
    let (len, after) = take_u16(rest)?;
    let (bytes, after) = after
        .split_at_checked(len.into())
        .ok_or(FormatError::Malformed("list ends early"))?;
    *rest = after;
    Ok(bytes)
}

fn take_u16(bytes: &[u8]) -> Result<(u16, &[u8]), FormatError> {
    let (value, rest) = bytes
        .split_first_chunk()
        .ok_or(FormatError::Malformed("list ends early"))?;
    Ok((u16::from_le_bytes(*value), rest))
}

const HEAD: &[u8; 4] = b"SROH";
const ATTRS: &[u8; 4] = b"SRAT";
const VERSION: u8 = 1;
const NOT_A_NAME: FormatError = FormatError::Malformed("name that is not lower-case ASCII");
