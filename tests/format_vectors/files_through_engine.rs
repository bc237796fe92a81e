//! The engine's file API and its envelope door answer the vectors of sealed files and wrapped keys.

use std::fs;
use std::sync::Arc;

use strongroom::envelope::{Envelope, EnvelopeError, WrappedKey};
use strongroom::keys::Keyring;
use strongroom::object::{
    FileError, FileKeys, FileOptions, ObjectError, Source, Target, open_file,
};

use crate::keys_through_engine::{self, keyring, record_of, test_root};
use crate::through_engine::{self, Answer, secret};
use crate::vectors::Vector;
use crate::{roots_of, twin};

fn class_of_object(error: ObjectError) -> &'static str {
    match error {
        ObjectError::Format(error) => through_engine::class_of(error),
        other => panic!("not an answer to bytes: {other}"),
    }
}

fn class_of_file(error: FileError) -> &'static str {
    match error {
        // A state without a valid tag counts as disabled (F-63); the vector's word is its class.
        FileError::Key(strongroom::keys::KeyError::Disabled) => "unauthentic",
        FileError::Key(error) => keys_through_engine::class_of(error),
        FileError::Object(error) => class_of_object(error),
        other => panic!("not an answer to bytes: {other}"),
    }
}

/// Both ways of opening, from file to file and from stream to stream, say the same.
pub(crate) fn file(v: &Vector) -> Answer {
    let ring: Keyring;
    let keys = match v.text("key-file") {
        Some(_) => FileKeys::key_file(secret(v.array("key-file"))),
        None => {
            ring = keyring(roots_of(v));
            FileKeys::master(&ring, "test")
        }
    };
    let sealed = v.bytes("file");
    let options = FileOptions {
        sync: false,
        ..FileOptions::default()
    };

    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("sealed"), dir.path().join("plain"));
    fs::write(&from, &sealed).unwrap();
    let by_path = open_file(&keys, Source::Path(&from), Target::Path(&to), &options);
    let by_path = by_path.map(drop).map_err(class_of_file);

    let (mut input, mut output) = (&sealed[..], Vec::new());
    let (from, into) = (Source::Stream(&mut input), Target::Stream(&mut output));
    let by_stream = open_file(&keys, from, into, &options);
    let by_stream = by_stream.map(drop).map_err(class_of_file);

    assert_eq!(by_path, by_stream, "{}", v.name);
    if by_path.is_ok() {
        assert_eq!(fs::read(&to).unwrap(), v.plain(), "{}", v.name);
        assert_eq!(output, v.plain(), "{}", v.name);
    } else {
        assert!(!to.exists(), "{}: an output was left", v.name);
        assert!(output.is_empty(), "{}: bytes were released", v.name);
    }
    by_path
}

/// The wrapped key opens a blob that the twin sealed under the data key it holds.
pub(crate) fn wrapped_key(v: &Vector) -> Answer {
    let class_of = |error| match error {
        EnvelopeError::Key(error) => keys_through_engine::class_of(error),
        EnvelopeError::Object(error) => class_of_object(error),
        // Another ring is not asked for its key at all.
        EnvelopeError::OtherRing { .. } => "unauthentic",
        other => panic!("not an answer to bytes: {other}"),
    };
    let bytes = v.bytes("wrapped");
    let key = WrappedKey::from_bytes(&bytes).map_err(class_of)?;
    let generation = v.number("kek-generation");
    let record = record_of(&v.array("secret"), v.array("kek-id"), generation);
    let ring = Arc::new(keyring(vec![test_root()]));
    let door = Envelope::import(ring, "test", [record]).unwrap();
    let dk = v.text("data-key").map_or([0; 32], |_| v.array("data-key"));
    let blob = twin::seal(&dk, 1, 0, &[5; 32], b"hello");
    let plain = door
        .open(&v.bytes("context"), &key, &blob)
        .map_err(class_of)?;
    assert_eq!(plain, b"hello", "{}", v.name);
    assert_eq!(key.bucket().0, v.array("bucket"), "{}", v.name);
    assert_eq!(key.instance().0, v.array("instance"), "{}", v.name);
    Ok(())
}
