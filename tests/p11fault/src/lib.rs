//! A PKCS#11 module that stands before SoftHSM, counts calls, and fails on demand. For tests only.
//!
//! `p11fault_set("C_UnwrapKey:rv=0x5,every=3;C_Login:delay=900,count=1")` replaces the rules. A rule
//! names a function, or `*` for all, and then
//!
//! - when it applies: `p` (probability), `every` (each n-th call), `after` (not the first n calls),
//!   `count` (so many times only); always, if none is given;
//! - what happens: `empty` (the count it wrote becomes 0), `delay` (milliseconds, before the call), `rv` (this value instead of the call),
//!   `lost` (the call is made and its answer replaced by this value), `flip` (the first byte of what
//!   it wrote is changed), `kill` (its session is closed first), `logout`, `finalize` (the module is
//!   logged out or finalised first).
//!
//! `p11fault_calls("C_Login")` tells how often a function was called, `p11fault_calls("shared")` how
//! often a session was entered while another thread was in it: SoftHSM does not survive that.

#![allow(unsafe_code, non_snake_case, clippy::missing_safety_doc)]

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use cryptoki_sys::*;

static REAL: OnceLock<Real> = OnceLock::new();
static STATE: Mutex<Option<State>> = Mutex::new(None);
/// Held to read by every call, to write by what must not happen under load.
static QUIET: RwLock<()> = RwLock::new(());

const SOFTHSM: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

struct Real {
    list: CK_FUNCTION_LIST,
    ours: CK_FUNCTION_LIST,
    _library: Pkcs11,
}

// SAFETY: function pointers and a library handle, none of which belongs to a thread.
unsafe impl Send for Real {}
// SAFETY: as above; nothing in it changes.
unsafe impl Sync for Real {}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    calls: HashMap<&'static str, u64>,
    busy: HashSet<CK_SESSION_HANDLE>,
    random: u64,
}

#[derive(Clone, Default)]
struct Rule {
    function: String,
    probability: Option<f64>,
    every: Option<u64>,
    after: u64,
    count: Option<u64>,
    seen: u64,
    what: What,
}

#[derive(Clone, Default)]
struct What {
    delay: u64,
    rv: Option<CK_RV>,
    lost: Option<CK_RV>,
    flip: bool,
    empty: bool,
    kill: bool,
    logout: bool,
    finalize: bool,
}

fn state() -> MutexGuard<'static, Option<State>> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Replaces the rules; -1 if they cannot be read. Counts of calls go on.
///
/// # Safety
/// `rules` points to a text that ends in a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn p11fault_set(rules: *const c_char) -> c_int {
    // SAFETY: as the caller promises.
    let Ok(text) = unsafe { CStr::from_ptr(rules) }.to_str() else {
        return -1;
    };
    let parsed: Option<Vec<Rule>> = text
        .split(';')
        .filter(|rule| !rule.is_empty())
        .map(parse)
        .collect();
    let Some(rules) = parsed else { return -1 };
    state().get_or_insert_default().rules = rules;
    0
}

/// How often a function was called.
///
/// # Safety
/// `name` points to a text that ends in a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn p11fault_calls(name: *const c_char) -> u64 {
    // SAFETY: as the caller promises.
    let name = unsafe { CStr::from_ptr(name) }.to_str().unwrap_or_default();
    state()
        .as_ref()
        .and_then(|state| state.calls.get(name).copied())
        .unwrap_or(0)
}

fn parse(text: &str) -> Option<Rule> {
    let (function, fields) = text.split_once(':')?;
    let mut rule = Rule {
        function: function.to_owned(),
        ..Rule::default()
    };
    for field in fields.split(',') {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        let number = || match value.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => value.parse().ok(),
        };
        match name {
            "p" => rule.probability = Some(value.parse().ok()?),
            "every" => rule.every = Some(number()?),
            "after" => rule.after = number()?,
            "count" => rule.count = Some(number()?),
            "delay" => rule.what.delay = number()?,
            "rv" => rule.what.rv = Some(number()?),
            "lost" => rule.what.lost = Some(number()?),
            "flip" => rule.what.flip = true,
            "empty" => rule.what.empty = true,
            "kill" => rule.what.kill = true,
            "logout" => rule.what.logout = true,
            "finalize" => rule.what.finalize = true,
            _ => return None,
        }
    }
    Some(rule)
}

/// Counts a call and tells what shall happen to it: the first rule that applies.
fn next(function: &'static str) -> What {
    let mut state = state();
    let State {
        rules,
        calls,
        random,
        ..
    } = state.get_or_insert_default();
    *calls.entry(function).or_default() += 1;
    for rule in rules {
        if rule.function != "*" && rule.function != function {
            continue;
        }
        rule.seen += 1;
        // xorshift64, from a fixed seed: runs repeat.
        *random = if *random == 0 {
            0x9e37_79b9_7f4a_7c15
        } else {
            *random
        };
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        let dice = f64::from(u32::try_from(*random >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        let applies = rule.seen > rule.after
            && rule
                .every
                .is_none_or(|every| rule.seen.is_multiple_of(every))
            && rule
                .probability
                .is_none_or(|probability| dice < probability)
            && rule.count != Some(0);
        if applies {
            rule.count = rule.count.map(|count| count - 1);
            return rule.what.clone();
        }
    }
    What::default()
}

/// Runs one call as the rules say. `session` is 0 where the function has none, `out` null where it
/// writes nothing that is to be flipped.
fn pass(
    function: &'static str,
    session: CK_SESSION_HANDLE,
    out: *mut CK_BYTE,
    call: impl FnOnce(&CK_FUNCTION_LIST) -> CK_RV,
) -> CK_RV {
    let Some(real) = REAL.get() else {
        return CKR_GENERAL_ERROR;
    };
    let _mark = Mark::set(session);
    let what = next(function);
    std::thread::sleep(Duration::from_millis(what.delay));
    if what.kill || what.logout || what.finalize {
        let _alone = QUIET.write().unwrap_or_else(PoisonError::into_inner);
        if what.kill
            && let Some(close) = real.list.C_CloseSession
        {
            // SAFETY: no other call is inside, and any handle may be given.
            let _ = unsafe { close(session) };
        }
        if what.logout
            && let Some(logout) = real.list.C_Logout
        {
            // SAFETY: as above.
            let _ = unsafe { logout(session) };
        }
        if what.finalize
            && let Some(finalize) = real.list.C_Finalize
        {
            // SAFETY: no other call is inside.
            let _ = unsafe { finalize(ptr::null_mut()) };
        }
    }
    let _inside = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(rv) = what.rv {
        return rv;
    }
    let rv = call(&real.list);
    if rv == CKR_OK && what.flip && !out.is_null() {
        // SAFETY: the call succeeded, so it wrote at least one byte to its caller's buffer.
        unsafe { *out ^= 1 };
    }
    if rv == CKR_OK && what.empty && !out.is_null() {
        // SAFETY: only C_FindObjects is given this; `out` is its count.
        unsafe { *out.cast::<CK_ULONG>() = 0 };
    }
    what.lost.unwrap_or(rv)
}

/// A session while a thread is in it.
struct Mark(CK_SESSION_HANDLE);

impl Mark {
    fn set(session: CK_SESSION_HANDLE) -> Option<Self> {
        if session == 0 {
            return None;
        }
        let mut state = state();
        let state = state.get_or_insert_default();
        if state.busy.insert(session) {
            return Some(Self(session));
        }
        *state.calls.entry("shared").or_default() += 1;
        None
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if let Some(state) = state().as_mut() {
            state.busy.remove(&self.0);
        }
    }
}

macro_rules! functions {
    ($($name:ident ( $($argument:ident : $kind:ty),* ) [$session:expr, $out:expr];)*) => {
        $(
            unsafe extern "C" fn $name($($argument: $kind),*) -> CK_RV {
                pass(stringify!($name), $session, $out, |list| match list.$name {
                    // SAFETY: the caller's own arguments, handed on unchanged.
                    Some(function) => unsafe { function($($argument),*) },
                    None => CKR_FUNCTION_NOT_SUPPORTED,
                })
            }
        )*

        fn ours(mut list: CK_FUNCTION_LIST) -> CK_FUNCTION_LIST {
            list.C_GetFunctionList = Some(C_GetFunctionList);
            $(list.$name = Some($name);)*
            list
        }
    };
}

functions! {
    C_Initialize(arguments: CK_VOID_PTR) [0, ptr::null_mut()];
    C_Finalize(reserved: CK_VOID_PTR) [0, ptr::null_mut()];
    C_GetSlotList(present: CK_BBOOL, slots: *mut CK_SLOT_ID, count: *mut CK_ULONG) [0, ptr::null_mut()];
    C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) [0, ptr::null_mut()];
    C_OpenSession(slot: CK_SLOT_ID, flags: CK_FLAGS, application: CK_VOID_PTR, notify: CK_NOTIFY, session: *mut CK_SESSION_HANDLE) [0, ptr::null_mut()];
    C_CloseSession(session: CK_SESSION_HANDLE) [session, ptr::null_mut()];
    C_GetSessionInfo(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO) [session, ptr::null_mut()];
    C_Login(session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: *mut CK_UTF8CHAR, length: CK_ULONG) [session, ptr::null_mut()];
    C_Logout(session: CK_SESSION_HANDLE) [session, ptr::null_mut()];
    C_FindObjectsInit(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG) [session, ptr::null_mut()];
    C_FindObjects(session: CK_SESSION_HANDLE, objects: *mut CK_OBJECT_HANDLE, room: CK_ULONG, count: *mut CK_ULONG) [session, count.cast()];
    C_GetAttributeValue(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG) [session, first_value(template)];
    C_CreateObject(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG, object: *mut CK_OBJECT_HANDLE) [session, ptr::null_mut()];
    C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) [session, ptr::null_mut()];
    C_WrapKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, with: CK_OBJECT_HANDLE, key: CK_OBJECT_HANDLE, blob: *mut CK_BYTE, length: *mut CK_ULONG) [session, blob];
    C_UnwrapKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, with: CK_OBJECT_HANDLE, blob: *mut CK_BYTE, length: CK_ULONG, template: *mut CK_ATTRIBUTE, count: CK_ULONG, key: *mut CK_OBJECT_HANDLE) [session, ptr::null_mut()];
    C_GenerateRandom(session: CK_SESSION_HANDLE, out: *mut CK_BYTE, length: CK_ULONG) [session, out];
}

fn first_value(template: *mut CK_ATTRIBUTE) -> *mut CK_BYTE {
    // SAFETY: the caller of C_GetAttributeValue points it to at least one attribute, or to null.
    unsafe { template.as_ref() }.map_or(ptr::null_mut(), |attribute| attribute.pValue.cast())
}

/// The entry point of every PKCS#11 module.
///
/// # Safety
/// `out` points to room for one pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(out: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    if REAL.get().is_none() {
        let Some(real) = SOFTHSM.iter().find_map(|path| load(path)) else {
            return CKR_GENERAL_ERROR;
        };
        let _ = REAL.set(real);
    }
    let Some(real) = REAL.get() else {
        return CKR_GENERAL_ERROR;
    };
    // SAFETY: as the caller promises; the list is read by its users and never written.
    unsafe { *out = (&raw const real.ours).cast_mut() };
    CKR_OK
}

fn load(path: &str) -> Option<Real> {
    // SAFETY: SoftHSM has no constructors that need anything.
    let library = unsafe { Pkcs11::new(path) }.ok()?;
    let mut list = ptr::null_mut();
    // SAFETY: the function writes one pointer.
    let rv = unsafe { library.C_GetFunctionList(&raw mut list) };
    if rv != CKR_OK {
        return None;
    }
    // SAFETY: it succeeded, and points to a static list.
    let list = unsafe { *list };
    Some(Real {
        list,
        ours: ours(list),
        _library: library,
    })
}
