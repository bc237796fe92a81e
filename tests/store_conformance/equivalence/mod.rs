//! Random histories: SQLite and the model give the same answers, also across closing and opening.

mod catalog;
mod keys;

use std::fmt::Debug;

use strongroom::id::{BucketId, InstanceId};

/// An answer; of an error only its kind.
fn answer<T: Debug, E: Debug>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => {
            let error = format!("{error:?}");
            error.split('"').next().unwrap_or_default().to_owned()
        }
    }
}

fn bytes(number: u8) -> Vec<u8> {
    vec![number; 20 + usize::from(number)]
}

fn instance(number: u8) -> InstanceId {
    InstanceId([number.reverse_bits(); 16])
}

fn bucket(number: u8) -> BucketId {
    BucketId([0xb0 + number; 16])
}
