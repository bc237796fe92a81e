//! The sealed attributes of an object's parts: how they are kept together, and how they are opened.
//!
//! In the catalog they are one string of bytes that only who asks for parts reads: for each part, in order,
//! `le32 part || le32 length || sealed attributes`.

use super::find::{Found, Miss};
use super::layout::Verified;
use super::read::{ObjectReader, Opened};
use super::types::{ObjectInfo, OpenRequest};
use super::{Vault, VaultError};
use crate::format::NamedList;
use crate::keys::Mode;

impl Vault {
    /// The attributes of up to `limit` parts with numbers above `after`, opened; none for an object that was not written
    /// in parts.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub fn part_attrs(
        &self,
        request: &OpenRequest<'_>,
        after: u32,
        limit: usize,
    ) -> Result<Vec<(u32, NamedList)>, VaultError> {
        let (_, attrs) = self.head_with_parts(request, |_| Some((after, limit)))?;
        Ok(attrs)
    }

    /// What [`Vault::head`] says of an object, and the attributes of the parts that `wanted` then names: above which
    /// number, and how many. Both are of one version, whatever is written meanwhile.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub fn head_with_parts(
        &self,
        request: &OpenRequest<'_>,
        wanted: impl Fn(&ObjectInfo) -> Option<(u32, usize)>,
    ) -> Result<(ObjectInfo, Vec<(u32, NamedList)>), VaultError> {
        self.find(request, |found| {
            let opened = self.open_found(request, found)?;
            let attrs = match wanted(&opened.info) {
                None => Vec::new(),
                Some((after, limit)) => {
                    self.part_attrs_of(found, &opened, request.principal, after, limit)?
                }
            };
            Ok((opened.info, attrs))
        })
    }

    pub(super) fn part_attrs_of(
        &self,
        found: &Found,
        opened: &Opened,
        principal: &str,
        after: u32,
        limit: usize,
    ) -> Result<Vec<(u32, NamedList)>, Miss> {
        if !opened.verified.is_multipart() {
            return Ok(Vec::new());
        }
        let instance = found.view.row.instance;
        let sealed = self.sealed_part_attrs(found, &opened.verified)?;
        let wanted = sealed
            .into_iter()
            .filter(|(part, _)| *part > after)
            .take(limit);
        let key = match opened.info.mode {
            Mode::Customer => None,
            _ => Some(self.key_to_open(&found.bucket, opened.generation, principal)?),
        };
        wanted
            .map(|(part, sealed)| {
                let unwrapped = match &key {
                    None => opened.data_key.open_attrs(instance, part, &sealed),
                    Some(key) => key.open_attrs(instance, part, &sealed),
                };
                Ok((part, self.open_attrs(found, unwrapped)?))
            })
            .collect()
    }

    /// The sealed attributes of all parts, with their numbers; none for an object that was not written in parts.
    pub(super) fn sealed_part_attrs(
        &self,
        found: &Found,
        verified: &Verified,
    ) -> Result<Vec<(u32, Vec<u8>)>, Miss> {
        if !verified.is_multipart() {
            return Ok(Vec::new());
        }
        let joined = self.stores.catalog.part_attrs(found.view.row.instance)?;
        let joined = joined.ok_or_else(|| Miss::Gone("the attributes of its parts".to_owned()))?;
        let sealed = split(&joined).filter(|sealed| {
            let named = verified.manifest.entries.iter().map(|entry| entry.part);
            named.eq(sealed.iter().map(|(part, _)| *part))
        });
        let sealed = sealed.ok_or_else(|| {
            Miss::Damaged("the attributes of its parts are not those of its parts".to_owned())
        })?;
        let owned = |(part, sealed): (u32, &[u8])| (part, sealed.to_vec());
        Ok(sealed.into_iter().map(owned).collect())
    }
}

impl ObjectReader {
    /// The attributes of up to `limit` parts with numbers above `after`, opened; none for an object that was not written
    /// in parts.
    ///
    /// # Errors
    /// As [`ObjectReader::read_at`]; [`VaultError::Changed`] if the object was replaced since it was opened.
    pub fn part_attrs(
        &self,
        after: u32,
        limit: usize,
    ) -> Result<Vec<(u32, NamedList)>, VaultError> {
        let row = &self.found.view.row;
        let (bucket, instance) = ((&self.found.bucket).into(), row.instance);
        let (key, version) = (&row.key, row.which());
        self.vault
            .part_attrs_of(&self.found, &self.opened, &self.principal, after, limit)
            .map_err(|miss| match miss {
                Miss::Gone(what) => match self.vault.look_up(&bucket, key, version) {
                    Ok(now) if now.view.row.instance == instance => self.damaged(&what),
                    Ok(_) | Err(_) => VaultError::Changed,
                },
                miss => self.error(miss),
            })
    }
}

/// Joins the attributes of parts, given in order.
pub(super) fn join<'a>(
    parts: impl IntoIterator<Item = (u32, &'a [u8])>,
) -> Result<Vec<u8>, VaultError> {
    let mut joined = Vec::new();
    for (part, sealed) in parts {
        let len = u32::try_from(sealed.len())
            .map_err(|_| VaultError::Invalid("attributes of a part are too long".to_owned()))?;
        joined.extend(part.to_le_bytes());
        joined.extend(len.to_le_bytes());
        joined.extend(sealed);
    }
    Ok(joined)
}

/// What [`join`] joined; `None` for anything else.
pub(super) fn split(joined: &[u8]) -> Option<Vec<(u32, &[u8])>> {
    let mut parts = Vec::new();
    let mut rest = joined;
    while !rest.is_empty() {
        let (part, after) = rest.split_first_chunk()?;
        let (len, after) = after.split_first_chunk()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let (sealed, after) = after.split_at_checked(len)?;
        parts.push((u32::from_le_bytes(*part), sealed));
        rest = after;
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_joined_splits_again_and_nothing_else_does() {
        let parts: [(u32, &[u8]); 3] = [(1, b"abc"), (2, b""), (10_000, b"0123456789")];
        let joined = join(parts).unwrap();
        assert_eq!(split(&joined).unwrap(), parts);
        assert_eq!(split(b"").unwrap(), []);
        let whole: Vec<usize> = vec![0, 11, 19];
        for at in (0..joined.len()).filter(|at| !whole.contains(at)) {
            assert!(split(&joined[..at]).is_none(), "cut at {at}");
        }
    }
}
