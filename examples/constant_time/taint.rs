//! Secrets as undefined memory, for memcheck to follow: it reports each branch and each address that depends on them.
//!
//! Decisions there have to be: whether a commitment, a tag or a wrap holds. They are counted.
#![allow(unsafe_code)]

use std::hint::black_box;

use strongroom::{
    cipher::Backend,
    format::{OpenKeys, SEALED_SEGMENT_LEN, SEGMENT_LEN, Salt, SealKeys, Suite},
    id::{BucketId, InstanceId},
    keys::{BucketKey, Context, DataKey, Mode, RecordState, UnwrapRequest, WrapRequest},
    secret::Secret,
};

/// Whether memcheck, under which this must run, sees nothing but the decisions there have to be.
pub(crate) fn run() -> bool {
    if request(RUNNING_ON_VALGRIND, 0, 0) == 0 {
        eprintln!("run this under valgrind");
        return false;
    }
    let mut fine = true;
    let mut check = |what: &str, decisions: std::ops::RangeInclusive<usize>, work: &dyn Fn()| {
        let before = request(COUNT_ERRORS, 0, 0);
        work();
        let seen = request(COUNT_ERRORS, 0, 0) - before;
        let verdict = if decisions.contains(&seen) {
            "as it should"
        } else {
            "WRONG"
        };
        println!("{what:<60} {seen} decisions by secrets: {verdict}");
        fine &= decisions.contains(&seen);
    };
    check("control: branch on a secret", 1..=usize::MAX, &|| {
        let secret = black_box(tainted([1; 32]));
        if secret[3] & 1 == 1 {
            println!("odd");
        }
    });
    check("control: index by a secret", 1..=usize::MAX, &|| {
        let table: [u8; 256] = std::array::from_fn(|i| i.to_le_bytes()[0].reverse_bits());
        let secret = black_box(tainted([1; 32]));
        black_box(black_box(&table)[usize::from(secret[3])]);
    });
    println!("backends here: {:?}", Backend::available());
    for &backend in Backend::available() {
        for suite in [Suite::PlainGmac, Suite::Cbc64Gmac] {
            let name = |what| format!("{} {}: {what}", backend.name(), suite.name());
            check(&name("keys derived, segments sealed"), 0..=0, &|| {
                drop(seal(backend, suite))
            });
            let (header, sealed) = seal(backend, suite);
            check(&name("commitment checked, keys derived"), 1..=1, &|| {
                OpenKeys::open_on(backend, &tainted_key(), &header).unwrap();
            });
            let (keys, _) = OpenKeys::open_on(backend, &tainted_key(), &header).unwrap();
            // Whether the tag holds; the portable path asks before it decrypts, and its caller asks the same answer.
            check(&name("segment verified and opened"), 1..=2, &|| {
                let mut out = vec![0; SEGMENT_LEN];
                keys.open_segment(0, false, &sealed, &mut out).unwrap();
            });
        }
    }
    let record = wrapped(1);
    check("a data key wrapped", 0..=0, &|| drop(wrapped(1)));
    check("its record verified and unwrapped", 2..=2, &|| {
        let key = BucketKey::from_key_file(tainted_key());
        key.unwrap_data_key(&record[0], &CONTEXT, None).unwrap();
    });
    let records = wrapped(TOGETHER);
    check("data keys wrapped side by side", 0..=0, &|| {
        drop(wrapped(TOGETHER));
    });
    check(
        "their records verified and unwrapped",
        2 * TOGETHER..=2 * TOGETHER,
        &|| {
            let key = BucketKey::from_key_file(tainted_key());
            let request = |record| UnwrapRequest {
                record,
                ctx: CONTEXT,
                customer: None,
            };
            let requests: Vec<_> = records.iter().map(|record| request(record)).collect();
            let opened = key.unwrap_data_keys(&requests);
            assert!(opened.iter().all(Result::is_ok));
        },
    );
    fine
}

/// Records of so many data keys, public as records are.
fn wrapped(count: usize) -> Vec<Vec<u8>> {
    let key = BucketKey::from_key_file(tainted_key());
    let keys: Vec<DataKey> = (0..count).map(|_| key.new_data_key().unwrap()).collect();
    let request = |key| WrapRequest {
        key,
        ctx: CONTEXT,
        customer: None,
        state: RecordState::NoManifest,
        manifest_digest: [0; 32],
    };
    let requests: Vec<_> = keys.iter().map(request).collect();
    let records = key.wrap_data_keys(&requests).into_iter();
    let mut records: Vec<_> = records.map(Result::unwrap).collect();
    records.iter_mut().for_each(|record| publish(record));
    records
}

/// A header and a segment; what is public of them is marked so.
fn seal(backend: Backend, suite: Suite) -> ([u8; 80], Vec<u8>) {
    let (keys, mut header) =
        SealKeys::create_on(backend, &tainted_key(), suite, 0, Salt([2; 32])).unwrap();
    let plain = vec![0x5A; SEGMENT_LEN];
    taint(&plain);
    let mut sealed = vec![0; SEALED_SEGMENT_LEN];
    keys.seal_segment(0, false, &plain, &mut sealed).unwrap();
    let mut short = vec![0; 1100];
    keys.seal_segment(1, true, &plain[..1001], &mut short)
        .unwrap();
    publish(&mut header);
    publish(&mut sealed);
    (header, sealed)
}

fn tainted_key() -> Secret<32> {
    let key = Secret::take(&mut [7; 32]).unwrap();
    taint(key.expose());
    key
}

fn tainted(bytes: [u8; 32]) -> [u8; 32] {
    taint(&bytes);
    bytes
}

fn taint(bytes: &[u8]) {
    request(MAKE_MEM_UNDEFINED, bytes.as_ptr().addr(), bytes.len());
}

fn publish(bytes: &mut [u8]) {
    request(MAKE_MEM_DEFINED, bytes.as_ptr().addr(), bytes.len());
}

const CONTEXT: Context<'static> = Context {
    mode: Mode::KeyFile,
    bucket: BucketId([0; 16]),
    instance: InstanceId([9; 16]),
    object_key: &[],
    kms_key_id: &[],
    encryption_context: &[],
};
/// Sixteen go together, then four, then one.
const TOGETHER: usize = 21;

const RUNNING_ON_VALGRIND: usize = 0x1001;
const COUNT_ERRORS: usize = 0x1201;
const MAKE_MEM_UNDEFINED: usize = 0x4D43_0001;
const MAKE_MEM_DEFINED: usize = 0x4D43_0002;

/// A client request: instructions that do nothing on a CPU, and that valgrind knows (`valgrind.h`).
#[cfg(target_arch = "x86_64")]
fn request(code: usize, first: usize, second: usize) -> usize {
    let arguments = [code, first, second, 0, 0, 0];
    let mut answer = 0_usize;
    // SAFETY: four rotations of a register by 128 bits in all and an exchange of a register with
    // itself. Valgrind reads the arguments, which live until then, and writes the answer's register.
    unsafe {
        std::arch::asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") arguments.as_ptr(),
            inout("rdx") answer,
            out("rdi") _,
        );
    }
    answer
}

#[cfg(not(target_arch = "x86_64"))]
fn request(_: usize, _: usize, _: usize) -> usize {
    0
}
