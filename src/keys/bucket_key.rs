//! The bucket key: wraps and unwraps the data keys of one bucket and generation, in software.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::clock::BootClock;
use super::context::{Context, Mode};
use super::data_key::{self, DataKey};
use super::data_record::{self, DataKeyInfo, DataKeyRecord, Order, RecordState, Sealed};
use super::error::KeyError;
use super::held::{Held, Keys};
use crate::format::Salt;
use crate::id::{BucketId, InstanceId};
use crate::secret::Secret;

/// What a bucket key is asked for; decides which states allow it and what the key then does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Open sealed attributes.
    Attributes,
    /// And unwrap data keys, complete uploads, move records to another generation.
    Unwrap,
    /// And wrap data keys and seal attributes.
    Wrap,
}

/// One data key to wrap; the arguments of [`BucketKey::wrap_data_key`].
#[derive(Clone, Copy, Debug)]
pub struct WrapRequest<'a> {
    /// The data key.
    pub key: &'a DataKey,
    /// What it is bound to.
    pub ctx: Context<'a>,
    /// Given in [`Mode::Customer`] and in no other.
    pub customer: Option<&'a Secret<32>>,
    /// How far the object is.
    pub state: RecordState,
    /// 32 zero bytes except in [`RecordState::Complete`].
    pub manifest_digest: [u8; 32],
}

/// One record to unwrap; the arguments of [`BucketKey::unwrap_data_key`].
#[derive(Clone, Copy, Debug)]
pub struct UnwrapRequest<'a> {
    /// The record.
    pub record: &'a [u8],
    /// What it must be bound to.
    pub ctx: Context<'a>,
    /// Given in [`Mode::Customer`] and in no other.
    pub customer: Option<&'a Secret<32>>,
}

/// Which records a bucket key serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    /// Those of one bucket.
    Bucket,
    /// That of one object instance (F-69).
    Direct,
    /// Those of sealed files under a key file (F-97).
    KeyFile,
}

/// A bucket key for one purpose, good until its time to live ends. Get one for each request; the
/// keyring has the bytes, this has the right to use them.
pub struct BucketKey {
    held: Arc<Held>,
    tier: Tier,
    purpose: Purpose,
}

impl BucketKey {
    pub(super) const fn new(held: Arc<Held>, tier: Tier, purpose: Purpose) -> Self {
        Self {
            held,
            tier,
            purpose,
        }
    }

    /// The key of a key file as the KEK of sealed files in [`Mode::KeyFile`] (F-97): no HSM takes
    /// part, and it is held until dropped.
    #[must_use]
    pub fn from_key_file(key: Secret<32>) -> Self {
        let keys = Keys::of_key_file(key);
        let held = Held::new(
            BucketId([0; 16]),
            0,
            keys,
            Duration::MAX,
            Arc::new(BootClock),
            Arc::new(AtomicU64::new(0)),
            MAX_WRAPS,
        );
        Self::new(Arc::new(held), Tier::KeyFile, Purpose::Wrap)
    }

    /// The bucket whose key it is; in the direct tier the object instance.
    #[must_use]
    pub fn bucket(&self) -> BucketId {
        self.held.bucket
    }

    /// Its generation; 0 in the direct tier and for key files.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.held.generation
    }

    /// How many data keys this process has wrapped under this generation. A fraction of the limit
    /// is the time to make a new one.
    #[must_use]
    pub fn wraps(&self) -> u64 {
        self.held.wraps.load(Ordering::Relaxed)
    }

    /// A fresh data key.
    ///
    /// # Errors
    /// Locked memory or the kernel's random source is not to be had.
    pub fn new_data_key(&self) -> Result<DataKey, KeyError> {
        DataKey::random()
    }

    /// Wraps `dk` into a complete record under a fresh salt (F-40): 148 bytes, in
    /// [`Mode::Customer`] 188. `customer` is given in that mode and in no other;
    /// `manifest_digest` is 32 zero bytes except in [`RecordState::Complete`].
    ///
    /// # Errors
    /// [`KeyError::Malformed`] if the arguments do not fit each other,
    /// [`KeyError::UnwrapOnly`], [`KeyError::Exhausted`], [`KeyError::Expired`].
    pub fn wrap_data_key(
        &self,
        dk: &DataKey,
        ctx: &Context<'_>,
        customer: Option<&Secret<32>>,
        state: RecordState,
        manifest_digest: [u8; 32],
    ) -> Result<Vec<u8>, KeyError> {
        let salt = Salt::fresh(Salt::RECORD).map_err(|_| KeyError::Random)?.0;
        self.wrap_with_salt(dk, ctx, customer, state, manifest_digest, &salt)
    }

    /// As [`BucketKey::wrap_data_key`] under a salt that the caller answers for.
    pub(super) fn wrap_with_salt(
        &self,
        dk: &DataKey,
        ctx: &Context<'_>,
        customer: Option<&Secret<32>>,
        state: RecordState,
        manifest_digest: [u8; 32],
        salt: &[u8; 32],
    ) -> Result<Vec<u8>, KeyError> {
        self.admit_wrap(ctx)?;
        let info = DataKeyInfo {
            state,
            generation: self.generation(),
            manifest_digest,
        };
        let order = Order {
            dk: dk.secret(),
            ctx,
            customer,
            salt: *salt,
            info,
        };
        self.held
            .with(|keys| data_record::wrap(&keys.kek.prf(), &order))
    }

    /// [`BucketKey::wrap_data_key`] for each request, in order; one that fails stops no other. For whoever has several
    /// at hand: they go side by side, which takes 0.45 of the time to wrap and 0.6 to unwrap. A request of its own has one, so the vault
    /// does not; a daemon that takes objects in batches does.
    pub fn wrap_data_keys(&self, requests: &[WrapRequest<'_>]) -> Vec<Result<Vec<u8>, KeyError>> {
        let wrap = |requests: &[WrapRequest<'_>]| {
            let Ok(salts) = Salt::fresh_each(Salt::RECORD, requests.len()) else {
                return vec![Err(KeyError::Random); requests.len()];
            };
            let orders: Vec<_> = requests
                .iter()
                .zip(salts)
                .map(|(request, salt)| {
                    self.admit_wrap(&request.ctx)?;
                    Ok(Order {
                        dk: request.key.secret(),
                        ctx: &request.ctx,
                        customer: request.customer,
                        salt: salt.0,
                        info: DataKeyInfo {
                            state: request.state,
                            generation: self.generation(),
                            manifest_digest: request.manifest_digest,
                        },
                    })
                })
                .collect();
            self.held
                .with_for_several(|keys| Ok(data_record::wrap_each(&keys.kek.prf(), &orders)))
                .unwrap_or_else(|error| vec![Err(error); requests.len()])
        };
        requests.chunks(TOGETHER).flat_map(wrap).collect()
    }

    /// Verifies a record and unwraps its data key (F-51). What the record says besides is authentic
    /// when this returns.
    ///
    /// # Errors
    /// [`KeyError::WrongCustomerKey`] if the record is whole and only the customer's key is wrong;
    /// every other failure past the structure is [`KeyError::Unauthentic`].
    pub fn unwrap_data_key(
        &self,
        record: &[u8],
        ctx: &Context<'_>,
        customer: Option<&Secret<32>>,
    ) -> Result<(DataKey, DataKeyInfo), KeyError> {
        let record = self.record(record, ctx)?;
        let dk = self
            .held
            .with(|keys| data_record::unwrap(&keys.kek.prf(), &record, ctx, customer))?;
        Ok((DataKey::new(dk), record.info))
    }

    /// [`BucketKey::unwrap_data_key`] for each request, in order; one that fails stops no other. Side by side as in
    /// [`BucketKey::wrap_data_keys`].
    pub fn unwrap_data_keys(
        &self,
        requests: &[UnwrapRequest<'_>],
    ) -> Vec<Result<(DataKey, DataKeyInfo), KeyError>> {
        let unwrap = |requests: &[UnwrapRequest<'_>]| {
            let records: Vec<_> = requests
                .iter()
                .map(|request| {
                    Ok(Sealed {
                        record: self.record(request.record, &request.ctx)?,
                        ctx: &request.ctx,
                        customer: request.customer,
                    })
                })
                .collect();
            let opened = self
                .held
                .with_for_several(|keys| Ok(data_record::unwrap_each(&keys.kek.prf(), &records)));
            opened.unwrap_or_else(|error| {
                let all = requests.iter();
                all.map(|_| Err(error.clone())).collect()
            })
        };
        let opened = requests.chunks(TOGETHER).flat_map(unwrap);
        opened
            .map(|opened| opened.map(|(dk, info)| (DataKey::new(dk), info)))
            .collect()
    }

    /// Verifies a record without opening it: no customer key is needed, no data key appears.
    ///
    /// # Errors
    /// [`KeyError::Unauthentic`], or [`KeyError::Malformed`] and [`KeyError::Unsupported`] by its
    /// structure.
    pub fn verify_record(&self, record: &[u8], ctx: &Context<'_>) -> Result<DataKeyInfo, KeyError> {
        let record = self.record(record, ctx)?;
        self.held
            .with(|keys| data_record::verify(&keys.kek.prf(), &record, ctx))?;
        Ok(record.info)
    }

    /// Completes an upload's record with the digest of its manifest (F-88). Needs no customer key
    /// and wraps nothing anew, so a key that only opens will do. A record that names a manifest
    /// already gets this one in its place: that is for an upload whose completion came to nothing,
    /// and for the caller to know.
    ///
    /// # Errors
    /// As [`BucketKey::verify_record`]; [`KeyError::Malformed`] if the record is not of an upload.
    pub fn complete(
        &self,
        record: &[u8],
        ctx: &Context<'_>,
        manifest_digest: [u8; 32],
    ) -> Result<Vec<u8>, KeyError> {
        let record = self.record(record, ctx)?;
        self.held
            .with(|keys| data_record::complete(&keys.kek.prf(), &record, ctx, manifest_digest))
    }

    /// The same data key under another generation of the bucket's key (F-53), or, from or to the
    /// direct tier, under another key of the same object. The salt stays; no customer key is needed.
    /// An object that moves to a new generation takes its sealed attributes along (F-72).
    ///
    /// # Errors
    /// As [`BucketKey::verify_record`], and as [`BucketKey::wrap_data_key`] for `to`.
    pub fn rewrap_data_key(
        &self,
        record: &[u8],
        ctx: &Context<'_>,
        to: &Self,
    ) -> Result<Vec<u8>, KeyError> {
        let record = self.record(record, ctx)?;
        to.admit_wrap(ctx)?;
        // One after the other: holding both could wait for each other's wipe for ever.
        let payload = self
            .held
            .with(|keys| data_record::payload(&keys.kek.prf(), &record, ctx))?;
        to.held.with(|keys| {
            data_record::rewrap(&keys.kek.prf(), &record, ctx, &payload, to.generation())
        })
    }

    /// Seals the attributes of an object of this bucket, or of one of its parts; part 0 is the
    /// object (F-91).
    ///
    /// # Errors
    /// [`KeyError::Malformed`]: `list` is empty. [`KeyError::NotPermitted`]: this key has none of
    /// its own (direct tier, key file). [`KeyError::UnwrapOnly`], [`KeyError::Expired`].
    pub fn seal_attrs(
        &self,
        instance: InstanceId,
        part: u32,
        list: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        self.permit_attributes(Purpose::Wrap)?;
        self.held
            .with(|keys| data_key::seal_attrs(keys.meta()?, ATTRIBUTES, instance, part, list))
    }

    /// Opens what [`BucketKey::seal_attrs`] sealed for the same instance and part.
    ///
    /// # Errors
    /// [`KeyError::Unauthentic`], [`KeyError::Malformed`], [`KeyError::NotPermitted`],
    /// [`KeyError::Expired`].
    pub fn open_attrs(
        &self,
        instance: InstanceId,
        part: u32,
        sealed: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        self.permit_attributes(Purpose::Attributes)?;
        self.held
            .with(|keys| data_key::open_attrs(keys.meta()?, ATTRIBUTES, instance, part, sealed))
    }

    fn permit(&self, purpose: Purpose) -> Result<(), KeyError> {
        if purpose <= self.purpose {
            Ok(())
        } else {
            Err(KeyError::NotPermitted)
        }
    }

    /// Only a bucket's own key has attributes: F-69, F-97.
    fn permit_attributes(&self, purpose: Purpose) -> Result<(), KeyError> {
        if self.tier == Tier::Bucket {
            self.permit(purpose)
        } else {
            Err(KeyError::NotPermitted)
        }
    }

    /// Whether this key may wrap for `ctx`; counts the wrap.
    fn admit_wrap(&self, ctx: &Context<'_>) -> Result<(), KeyError> {
        self.permit(Purpose::Wrap)?;
        if !self.serves(ctx) {
            return Err(KeyError::Malformed(
                "the context is not one this bucket key serves",
            ));
        }
        self.held.count_wrap()
    }

    /// Parses a record that is to be opened with this key.
    fn record<'r>(
        &self,
        record: &'r [u8],
        ctx: &Context<'_>,
    ) -> Result<DataKeyRecord<'r>, KeyError> {
        self.permit(Purpose::Unwrap)?;
        let record = DataKeyRecord::parse(record)?;
        if self.serves(ctx) && record.info.generation == self.generation() {
            Ok(record)
        } else {
            Err(KeyError::Unauthentic)
        }
    }

    /// Whether objects of this context are under this key at all.
    fn serves(&self, ctx: &Context<'_>) -> bool {
        match self.tier {
            Tier::Bucket => ctx.mode != Mode::KeyFile && ctx.bucket == self.held.bucket,
            Tier::Direct => ctx.mode != Mode::KeyFile && ctx.instance.0 == self.held.bucket.0,
            Tier::KeyFile => ctx.mode == Mode::KeyFile && ctx.bucket == self.held.bucket,
        }
    }
}

impl std::fmt::Debug for BucketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BucketKey")
            .field("bucket", &self.held.bucket)
            .field("generation", &self.held.generation)
            .field("purpose", &self.purpose)
            .finish_non_exhaustive()
    }
}

/// F-71, which one keyring never gets near: see [`super::KeyringConfig::wrap_limit`].
const MAX_WRAPS: u64 = 1 << 32;
const ATTRIBUTES: &[u8] = b"sr-attr-1";
/// Records wrapped or opened in one use of the key: its time to live is checked before each such run.
const TOGETHER: usize = 32;
