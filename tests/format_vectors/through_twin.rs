//! The toy twin answers the vectors of blobs, data key records and bucket key records.

use crate::{assert_recipe, class, context_of, entry_of, kek_of, roots_of, sealed_of};
use crate::{
    twin::{self, Refusal},
    vectors::Vector,
};

/// Whether the twin knows the kind and the suite at all.
fn covers(v: &Vector) -> bool {
    matches!(v.want("kind"), "blob" | "record" | "bucket-record")
}

fn blob(v: &Vector) -> Result<(), Refusal> {
    if v.text("suite") == Some("2") {
        return Err(Refusal::Unsupported); // its recipe is not the twin's to follow
    }
    let sealed = sealed_of(v, &|dk, suite, part, salt, plain| {
        twin::seal(dk, suite, part, salt, plain)
    });
    assert_recipe(v, &sealed);
    let dk = v.array("data-key");
    let plain = twin::open(&dk, &sealed)?;
    if let Some((part, _, salt, suite)) = entry_of(v) {
        let stated = twin::seal(&dk, suite, part, &salt, &plain);
        let equal = stated[..80] == sealed[..80] && stated.len() == sealed.len();
        let length = entry_of(v).is_some_and(|entry| entry.1 == plain.len() as u64);
        if !(equal && length) {
            return Err(Refusal::Unauthentic);
        }
    }
    if v.want("expect") == "ok" {
        assert!(plain == v.plain(), "{}: another plaintext", v.name);
    }
    Ok(())
}

fn record(v: &Vector) -> Result<(), Refusal> {
    let (bytes, context, kek) = (v.bytes("record"), context_of(v), kek_of(v));
    let customer = v.text("customer-key").map(|_| v.array("customer-key"));
    let dk = twin::open_record(&kek, &bytes, &context, customer.as_ref())?;
    assert_eq!(dk, v.array("data-key"), "{}", v.name);
    let again = twin::record(&kek, &dk, &context, &bytes[..76], customer.as_ref());
    assert_eq!(again, bytes, "{}", v.name);
    assert_eq!(bytes[6], v.number("state"), "{}", v.name);
    assert_eq!(bytes[12..44], v.bytes("salt"), "{}", v.name);
    assert_eq!(bytes[44..76], v.bytes("digest"), "{}", v.name);
    for before in ["from-record", "upload-record"] {
        if v.text(before).is_some() {
            assert_eq!(v.bytes(before)[12..44], bytes[12..44], "the salt stays");
        }
    }
    Ok(())
}

fn bucket_record(v: &Vector) -> Result<(), Refusal> {
    let (bytes, roots) = (v.bytes("record"), roots_of(v));
    for root in &roots {
        let secret = twin::open_bucket_record(&bytes, root)?;
        assert_eq!(secret, v.array("secret"), "{}", v.name);
        assert_eq!(twin::bucket_keys(&secret, &bytes[5..25]).0, v.array("kek"));
        let again = twin::bucket_record(&secret, &bytes[..34], &roots);
        assert_eq!(again, bytes, "{}", v.name);
    }
    let generation = v.number::<u32>("generation").to_le_bytes();
    let rev = v.number::<u64>("rev").to_le_bytes();
    let stated = twin::cat(&[&v.bytes("bucket"), &generation, &rev, &[v.number("state")]]);
    assert_eq!(bytes[5..34], stated, "{}", v.name);
    Ok(())
}

#[test]
fn the_twin_answers_every_vector_of_its_kinds() {
    let mut answered = 0;
    for v in Vector::all().iter().filter(|v| covers(v)) {
        let answer = match v.want("kind") {
            "blob" => blob(v),
            "record" => record(v),
            _ => bucket_record(v),
        };
        let suite_2 = v.text("suite") == Some("2")
            || answer == Err(Refusal::Unsupported) && v.bytes("sealed").get(9) == Some(&2);
        let expect = if suite_2 {
            "unsupported"
        } else {
            v.want("expect")
        };
        assert_eq!(class(answer), expect, "{}: {}", v.name, v.want("about"));
        let named = answer == Err(Refusal::WrongCustomerKey);
        assert_eq!(
            named,
            v.text("error") == Some("wrong-customer-key"),
            "{}",
            v.name
        );
        answered += usize::from(!suite_2);
    }
    assert!(answered > 200, "only {answered}");
}
