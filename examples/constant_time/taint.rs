//! Secrets as undefined memory, for memcheck to follow.
#![allow(unsafe_code)]

use std::hint::black_box;

use strongroom::{
    cipher::Backend,
    format::{OpenKeys, SEALED_SEGMENT_LEN, SEGMENT_LEN, Salt, SealKeys, Suite},
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
            check(&name("segment verified and opened"), 1..=1, &|| {
                let mut out = vec![0; SEGMENT_LEN];
                keys.open_segment(0, false, &sealed, &mut out).unwrap();
            });
        }
    }
    fine
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
