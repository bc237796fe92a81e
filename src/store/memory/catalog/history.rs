//! The versions of one key.

use crate::id::BlobId;
use crate::store::{Marker, ObjectRow, Which};

/// The versions of one key, the newest first; never none.
pub(super) type History = Vec<Kept>;

#[derive(Debug, Clone)]
pub(super) enum Kept {
    Object(Box<Object>),
    Marker(Marker),
}

/// A row with what is kept beside it.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) row: ObjectRow,
    pub(super) inline: Vec<(BlobId, Vec<u8>)>,
    pub(super) part_attrs: Vec<u8>,
}

impl Kept {
    pub(super) fn which(&self) -> Which {
        match self {
            Self::Object(object) => object.row.which(),
            Self::Marker(marker) => marker.which(),
        }
    }

    pub(super) fn modified_ms(&self) -> u64 {
        match self {
            Self::Object(object) => object.row.modified_ms,
            Self::Marker(marker) => marker.modified_ms,
        }
    }

    pub(super) fn object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            Self::Marker(_) => None,
        }
    }
}

/// Where a version stands.
pub(super) fn place(history: &[Kept], which: Which) -> Option<usize> {
    match which {
        Which::Current => (!history.is_empty()).then_some(0),
        _ => history.iter().position(|kept| kept.which() == which),
    }
}

/// The current version, if it is an object.
pub(super) fn current(history: &[Kept]) -> Option<&Object> {
    history.first().and_then(Kept::object)
}
