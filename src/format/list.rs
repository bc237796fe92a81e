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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn list(entries: &[(&str, &[u8])]) -> NamedList {
        let own = |(name, value): &(&str, &[u8])| ((*name).to_owned(), value.to_vec());
        NamedList(entries.iter().map(own).collect())
    }

    /// F-02, F-86: written out by hand.
    #[test]
    fn the_encoding_is_the_one_of_the_format() {
        let bytes = list(&[("b", b""), (":created", b"xyz")])
            .encode_head()
            .unwrap();
        assert_eq!(
            bytes,
            b"SROH\x01\x02\x00\x08\x00:created\x03\x00xyz\x01\x00b\x00\x00"
        );
        assert_eq!(list(&[]).encode_attrs().unwrap(), b"SRAT\x01\x00\x00");
    }

    #[test]
    fn a_list_comes_back_sorted() {
        let bytes = list(&[("x-amz-meta-b", b"2"), ("x-amz-meta-a", b"1"), ("", b"0")])
            .encode_head()
            .unwrap();
        let read = NamedList::decode_head(&bytes).unwrap();
        assert_eq!(
            read,
            list(&[("", b"0"), ("x-amz-meta-a", b"1"), ("x-amz-meta-b", b"2")])
        );
        assert_eq!(read.get("x-amz-meta-b"), Some(&b"2"[..]));
        assert_eq!(read.get("x-amz-meta-c"), None);
    }

    #[test]
    fn what_cannot_be_encoded_is_refused() {
        for entries in [
            &[("a", &b"1"[..]), ("a", b"2")][..],
            &[("A", b"")],
            &[("caf\u{e9}", b"")],
        ] {
            let error = list(entries).encode_head().unwrap_err();
            assert!(matches!(error, FormatError::Malformed(_)), "{entries:?}");
        }
        let long = |name: usize, value| NamedList(vec![("n".repeat(name), vec![0; value])]);
        assert!(long(65_535, 65_535).encode_head().is_ok());
        assert!(long(65_536, 0).encode_head().is_err());
        assert!(long(1, 65_536).encode_head().is_err());
        let many = |n| NamedList((0..n).map(|i| (format!("{i}"), vec![])).collect());
        assert!(many(65_535).encode_head().is_ok());
        assert!(many(65_536).encode_head().is_err());
    }

    /// F-05, F-86.
    #[test]
    fn a_second_spelling_is_malformed() {
        for bytes in [
            &b"SRAT\x01\x00\x00"[..],             // the other kind of list
            b"SROH\x01\x00\x00\x00",              // bytes behind it
            b"SROH\x01\x01\x00\x01\x00A\x00\x00", // upper case
            b"SROH\x01\x01\x00\x01\x00\xFF\x00\x00",
            b"SROH\x01\x02\x00\x01\x00b\x00\x00\x01\x00a\x00\x00", // out of order
            b"SROH\x01\x02\x00\x01\x00a\x00\x00\x01\x00a\x00\x00", // twice
            b"SROH\x01\xFF\xFF",                                   // fewer than it says
        ] {
            let read = NamedList::decode_head(bytes);
            assert!(matches!(read, Err(FormatError::Malformed(_))), "{bytes:?}");
        }
        let read = NamedList::decode_head(b"SROH\x02\x00\x00");
        assert!(matches!(read, Err(FormatError::Unsupported(_))));
    }

    #[test]
    fn a_list_cut_anywhere_is_malformed() {
        let bytes = list(&[("a", b"1"), ("bc", b"23")]).encode_attrs().unwrap();
        for len in 0..bytes.len() {
            let read = NamedList::decode_attrs(&bytes[..len]);
            assert!(matches!(read, Err(FormatError::Malformed(_))), "{len}");
        }
    }

    proptest! {
        /// F-05: what can be read is written the same way again.
        #[test]
        fn every_list_has_one_encoding(
            mut bytes in proptest::collection::vec(0..4_u8, 0..60), likely: bool,
        ) {
            if likely && bytes.len() >= 5 {
                bytes[..5].copy_from_slice(b"SROH\x01");
            }
            if let Ok(read) = NamedList::decode_head(&bytes) {
                prop_assert_eq!(read.encode_head().unwrap(), bytes);
            }
        }

        #[test]
        fn any_list_comes_back(
            entries in proptest::collection::btree_map(
                "[a-z0-9:-]{0,20}", proptest::collection::vec(any::<u8>(), 0..50), 0..20,
            ),
        ) {
            let list = NamedList(entries.into_iter().collect());
            let bytes = list.encode_attrs().unwrap();
            prop_assert_eq!(NamedList::decode_attrs(&bytes).unwrap(), list);
        }
    }
}
