//! What precedes the blob in a sealed file (F-95): its keys, wrapped.

use super::{FileError, Input};
use crate::format::FormatError;
use crate::id::InstanceId;
use crate::keys::{BucketKeyRecord, DataKeyRecord, Mode, RecordState};

/// Everything before the blob.
pub(super) struct Prologue {
    /// Empty in a file under a key file.
    pub(super) bucket_record: Vec<u8>,
    pub(super) instance: InstanceId,
    pub(super) record: Vec<u8>,
}

impl Prologue {
    pub(super) fn len(&self) -> u64 {
        (MAGIC.len() + 4 + self.bucket_record.len() + 16 + 4 + self.record.len()) as u64
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let len = |bytes: &[u8]| {
            u32::try_from(bytes.len())
                .expect("records are below 600 bytes")
                .to_le_bytes()
        };
        [
            &MAGIC[..],
            &len(&self.bucket_record),
            &self.bucket_record,
            &self.instance.0,
            &len(&self.record),
            &self.record,
        ]
        .concat()
    }

    /// Reads and checks the structure (F-99), before any key is asked for.
    pub(super) fn read(input: &mut Input<'_>) -> Result<Self, FileError> {
        let magic: [u8; 8] = take(input)?;
        if magic != *MAGIC {
            let of_another_version =
                magic[..6] == MAGIC[..6] && magic[6..].iter().all(u8::is_ascii_digit);
            return Err(if of_another_version {
                FormatError::Unsupported("a sealed file of a later version: use a newer strongroom")
            } else {
                FormatError::Malformed("this is not a sealed file")
            }
            .into());
        }
        let bucket_record = match u32::from_le_bytes(take(input)?) {
            0 => Vec::new(),
            len if (MIN_BUCKET_RECORD..=MAX_BUCKET_RECORD).contains(&len)
                && (len - MIN_BUCKET_RECORD).is_multiple_of(BUCKET_WRAP) =>
            {
                take_vec(input, len as usize)?
            }
            _ => return Err(FormatError::Malformed("length of the bucket key record").into()),
        };
        let instance = InstanceId(take(input)?);
        if u32::from_le_bytes(take(input)?) as usize != RECORD_LEN {
            return Err(FormatError::Malformed("length of the data key record").into());
        }
        let prologue = Self {
            bucket_record,
            instance,
            record: take_vec(input, RECORD_LEN)?,
        };
        prologue.check()?;
        Ok(prologue)
    }

    /// Mode, state and generation belong together.
    fn check(&self) -> Result<(), FileError> {
        let (mode, generation) = if self.bucket_record.is_empty() {
            (Mode::KeyFile, 0)
        } else {
            let record = BucketKeyRecord::parse(&self.bucket_record)?;
            (Mode::Managed, record.generation)
        };
        let record = DataKeyRecord::parse(&self.record)?;
        let fits = record.mode == mode
            && record.info.state == RecordState::NoManifest
            && record.info.generation == generation;
        if !fits {
            return Err(
                FormatError::Malformed("the data key record is not of a sealed file").into(),
            );
        }
        Ok(())
    }
}

fn take<const N: usize>(input: &mut Input<'_>) -> Result<[u8; N], FileError> {
    let mut bytes = [0; N];
    fill(input, &mut bytes)?;
    Ok(bytes)
}

fn take_vec(input: &mut Input<'_>, len: usize) -> Result<Vec<u8>, FileError> {
    let mut bytes = vec![0; len];
    fill(input, &mut bytes)?;
    Ok(bytes)
}

fn fill(input: &mut Input<'_>, bytes: &mut [u8]) -> Result<(), FileError> {
    if input.fill(bytes)? < bytes.len() {
        return Err(FormatError::Malformed("the file ends before its blob").into());
    }
    Ok(())
}

const MAGIC: &[u8; 8] = b"SRFILE01";
const RECORD_LEN: usize = 148;
/// A bucket key record of one wrap, what each further wrap adds, and one of eight wraps.
const MIN_BUCKET_RECORD: u32 = 160;
const BUCKET_WRAP: u32 = 61;
const MAX_BUCKET_RECORD: u32 = MIN_BUCKET_RECORD + 7 * BUCKET_WRAP;
