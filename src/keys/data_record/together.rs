//! Several records at once. Each is a chain of hashes and of AES that waits for itself; side by side they fill the CPU.
//!
//! Only records without a customer key go together. Whatever is unusual, or wrong, goes by itself the way of one record,
//! which says what it is.

use subtle::ConstantTimeEq;

use super::{
    Context, DATA_KEY, DataKeyInfo, DataKeyRecord, KeyError, Mode, Order, Prf, Secret, WRAP_LABEL,
    begin, unwrap, wrap,
};
use crate::cipher::Backend;
use crate::cipher::key_wrap::{self, KeyWrap};

/// [`wrap`] for each order that there is, in order.
pub(in crate::keys) fn wrap_each(
    kek: &Prf,
    orders: &[Result<Order<'_>, KeyError>],
) -> Vec<Result<Vec<u8>, KeyError>> {
    each(
        orders,
        |order| order.goes_together(),
        |order| wrap(kek, order),
        |orders| wrap_together(kek, orders),
        |orders| wrap_together(kek, orders),
    )
}

/// What is to be opened: a record, its context, and in mode 2 the customer key.
pub(in crate::keys) struct Sealed<'a> {
    pub(in crate::keys) record: DataKeyRecord<'a>,
    pub(in crate::keys) ctx: &'a Context<'a>,
    pub(in crate::keys) customer: Option<&'a Secret<32>>,
}

type Opened = (Secret<32>, DataKeyInfo);

/// [`unwrap`] for each record that there is, in order.
pub(in crate::keys) fn unwrap_each(
    kek: &Prf,
    records: &[Result<Sealed<'_>, KeyError>],
) -> Vec<Result<Opened, KeyError>> {
    each(
        records,
        Sealed::goes_together,
        |sealed| sealed.unwrap(kek),
        |sealed| unwrap_together(kek, sealed),
        |sealed| unwrap_together(kek, sealed),
    )
}

/// Does as many at once as there are vectors for, the others one by one.
fn each<T, R>(
    all: &[Result<T, KeyError>],
    goes_together: impl Fn(&T) -> bool,
    one: impl Fn(&T) -> Result<R, KeyError>,
    four: impl Fn(&[&T; 4]) -> [Result<R, KeyError>; 4],
    sixteen: impl Fn(&[&T; 16]) -> [Result<R, KeyError>; 16],
) -> Vec<Result<R, KeyError>> {
    let together: Vec<&T> = all.iter().flatten().filter(|x| goes_together(x)).collect();
    let (sixteens, rest) = together.as_chunks::<16>();
    let (fours, ones) = rest.as_chunks::<4>();
    let mut done = Vec::with_capacity(together.len());
    done.extend(sixteens.iter().flat_map(sixteen));
    done.extend(fours.iter().flat_map(four));
    done.extend(ones.iter().map(|x| one(x)));
    let mut done = done.into_iter();
    let result = |x: &Result<T, KeyError>| match x {
        Ok(x) if goes_together(x) => done.next().expect("one for each that goes together"),
        Ok(x) => one(x),
        Err(error) => Err(error.clone()),
    };
    all.iter().map(result).collect()
}

fn wrap_together<const N: usize>(
    kek: &Prf,
    orders: &[&Order<'_>; N],
) -> [Result<Vec<u8>, KeyError>; N] {
    let Ok(keys) = derive(kek, orders.map(|order| (order.ctx, &order.salt))) else {
        return orders.map(|order| wrap(kek, order));
    };
    let mut wraps: [KeyWrap<DATA_KEY>; N] = std::array::from_fn(|i| {
        let [wk, _] = &keys[i];
        KeyWrap::of_payload(wk, orders[i].dk.expose())
    });
    key_wrap::wrap(Backend::detect(), &mut wraps);
    let mut records: [_; N] = std::array::from_fn(|i| {
        let Order {
            ctx, info, salt, ..
        } = orders[i];
        begin(ctx.mode, info, salt, |out| wraps[i].wrapped(out))
    });
    let commits = commitments(
        &keys,
        records.each_ref().map(|record| match record {
            Ok(record) => &record[..],
            Err(_) => &[],
        }),
    );
    for (record, commit) in records.iter_mut().zip(commits) {
        if let Ok(record) = record {
            record.extend_from_slice(&commit);
        }
    }
    records
}

fn unwrap_together<const N: usize>(
    kek: &Prf,
    sealed: &[&Sealed<'_>; N],
) -> [Result<Opened, KeyError>; N] {
    let one_by_one = || sealed.map(|sealed| sealed.unwrap(kek));
    let Ok(keys) = derive(kek, sealed.map(|sealed| (sealed.ctx, sealed.record.salt))) else {
        return one_by_one();
    };
    let commits = commitments(&keys, sealed.map(|sealed| sealed.record.committed));
    let mut all = sealed.iter().zip(commits);
    // No wrap is opened before its record is known to be authentic.
    if !all.all(|(sealed, commit)| commit.ct_eq(sealed.record.commit).into()) {
        return one_by_one();
    }
    let mut wraps: [KeyWrap<DATA_KEY>; N] = std::array::from_fn(|i| {
        let [wk, _] = &keys[i];
        KeyWrap::of_wrapped(wk, sealed[i].record.wrapped())
    });
    key_wrap::unwrap(Backend::detect(), &mut wraps);
    std::array::from_fn(|i| {
        let mut dk = Secret::zeroed()?;
        let is_good = wraps[i].payload(dk.expose_mut());
        is_good.ok_or(KeyError::Unauthentic)?;
        Ok((dk, sealed[i].record.info))
    })
}

/// wk and ck of each (F-48).
fn derive<const N: usize>(
    kek: &Prf,
    contexts: [(&Context<'_>, &[u8; 32]); N],
) -> Result<[[[u8; 32]; 2]; N], KeyError> {
    let digests = Context::digest_each(contexts)?;
    Ok(kek.kdf_each(WRAP_LABEL, digests.each_ref().map(|h| &h[..])))
}

/// Commitments over prefix and wrap (F-50).
fn commitments<const N: usize>(keys: &[[[u8; 32]; 2]; N], committed: [&[u8]; N]) -> [[u8; 32]; N] {
    let prfs = Prf::of_each(keys.each_ref().map(|[_, ck]| ck));
    let messages = committed.map(|bytes| [bytes]);
    Prf::mac_each(
        prfs.each_ref(),
        messages.each_ref().map(|message| &message[..]),
    )
}

impl Order<'_> {
    fn goes_together(&self) -> bool {
        goes_together(self.ctx, self.customer)
    }
}

impl Sealed<'_> {
    fn goes_together(&self) -> bool {
        self.record.mode == self.ctx.mode && goes_together(self.ctx, self.customer)
    }

    fn unwrap(&self, kek: &Prf) -> Result<Opened, KeyError> {
        let dk = unwrap(kek, &self.record, self.ctx, self.customer)?;
        Ok((dk, self.record.info))
    }
}

fn goes_together(ctx: &Context<'_>, customer: Option<&Secret<32>>) -> bool {
    ctx.mode != Mode::Customer && customer.is_none()
}
