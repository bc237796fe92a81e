//! The C functions of one PKCS#11 module (Cryptoki 2.40), one safe method each.
//!
//! A method makes one call into a buffer of its caller: no length query before, no copy after. What
//! it returns is the module's word; the layers above judge it. Safe Rust can still confuse a module
//! (two threads in one session, `C_Finalize` under load); `gate` and `worker` rule that out.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cryptoki_sys as ck;

use super::error::{CallError, HsmError};
use super::gate::{Alone, Gate};

/// A loaded module. It stays loaded until the process ends, and there is one per file: a module has
/// one state per process, whoever asks.
pub(super) struct Module {
    path: PathBuf,
    functions: ck::CK_FUNCTION_LIST,
    pub(super) gate: Gate,
    /// How often the module was initialised; no handle outlives its generation.
    generation: AtomicU64,
    /// Whether this process part called `C_Initialize`, and so may call `C_Finalize`.
    ours: AtomicBool,
    users: Mutex<usize>,
    calls: AtomicU64,
    _library: ck::Pkcs11,
}

/// Keeps a module initialised; the last one finalises it.
pub(super) struct ModuleUse(&'static Module);

/// One attribute of a template.
#[derive(Clone, Copy)]
pub(super) enum Attribute<'a> {
    Flag(ck::CK_ATTRIBUTE_TYPE, bool),
    Number(ck::CK_ATTRIBUTE_TYPE, ck::CK_ULONG),
    Bytes(ck::CK_ATTRIBUTE_TYPE, &'a [u8]),
    Numbers(ck::CK_ATTRIBUTE_TYPE, &'a [ck::CK_ULONG]),
}

pub(super) type Session = ck::CK_SESSION_HANDLE;
pub(super) type Object = ck::CK_OBJECT_HANDLE;
type Result<T> = std::result::Result<T, CallError>;

/// Calls one function of the list and turns its return value into a `Result`.
macro_rules! call {
    ($module:expr, $name:ident ( $($argument:expr),* $(,)? )) => {{
        let function = stringify!($name);
        match $module.functions.$name {
            None => Err(CallError { function, code: ck::CKR_FUNCTION_NOT_SUPPORTED }),
            Some(pointer) => {
                $module.calls.fetch_add(1, Ordering::Relaxed);
                // SAFETY: the pointer comes from the module's own function list and the library is
                // never unloaded. Every pointer argument is null where the standard allows it, or
                // made from a reference that lives until the call returns, and every length argument
                // is that of the same buffer. Writable buffers come from exclusive references; those
                // cast from shared ones (templates, mechanisms, PINs, blobs) the standard declares
                // as input only.
                match unsafe { pointer($($argument),*) } {
                    ck::CKR_OK => Ok(()),
                    code => Err(CallError { function, code }),
                }
            }
        }
    }};
}

impl Module {
    /// Loads the module, or finds it loaded, and initialises it if nobody has.
    ///
    /// # Errors
    /// [`HsmError::ModuleMissing`]: no such file, or no PKCS#11 module; the code of `C_Initialize`.
    pub(super) fn acquire(path: &Path) -> std::result::Result<ModuleUse, HsmError> {
        let missing = |reason: String| HsmError::ModuleMissing {
            module: path.to_owned(),
            reason,
        };
        if !path.is_absolute() {
            return Err(missing("the path is not absolute".to_owned()));
        }
        let file = path
            .canonicalize()
            .map_err(|error| missing(error.to_string()))?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = loaded.get_or_insert_default();
        let module = match loaded.get(&file) {
            Some(module) => module,
            None => {
                let module: &'static Self = Box::leak(Box::new(Self::load(path).map_err(missing)?));
                loaded.insert(file, module);
                module
            }
        };
        let mut users = module.users.lock().unwrap_or_else(PoisonError::into_inner);
        if *users == 0 {
            module
                .gate
                .alone(Instant::now() + START_WAIT, START_WAIT)
                .ok_or(CallError {
                    function: "C_Initialize",
                    code: 0,
                })
                .and_then(|alone| module.initialize(&alone))
                .map_err(|error| {
                    missing(format!("{} returned {:#x}", error.function, error.code))
                })?;
        }
        *users += 1;
        Ok(ModuleUse(module))
    }

    fn load(path: &Path) -> std::result::Result<Self, String> {
        // SAFETY: loading a library runs its constructors. The operator names it by absolute path,
        // as with any PKCS#11 application; nothing relative or searched for is loaded.
        let library = unsafe { ck::Pkcs11::new(path) }.map_err(|error| error.to_string())?;
        let get = match &library.C_GetFunctionList {
            Ok(get) => *get,
            Err(_) => {
                return Err("it is no PKCS#11 module: C_GetFunctionList is missing".to_owned());
            }
        };
        let mut list = ptr::null_mut();
        // SAFETY: the function has the standard's signature by its name, and writes one pointer.
        let code = unsafe { get(&raw mut list) };
        if code != ck::CKR_OK || list.is_null() {
            return Err(format!("C_GetFunctionList returned {code:#x}"));
        }
        // SAFETY: not null; the standard has it point to a static list, valid while the library is
        // loaded. A list of a later version begins with the fields of 2.40.
        let functions = unsafe { *list };
        if functions.version.major < 2 {
            return Err(format!(
                "it speaks Cryptoki {}, not 2.40",
                functions.version.major
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            functions,
            gate: Gate::new(),
            generation: AtomicU64::new(0),
            ours: AtomicBool::new(false),
            users: Mutex::new(0),
            calls: AtomicU64::new(0),
            _library: library,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Function calls made so far.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn initialize(&self, _alone: &Alone<'_>) -> Result<()> {
        let mut arguments = ck::CK_C_INITIALIZE_ARGS {
            flags: ck::CKF_OS_LOCKING_OK,
            ..Default::default()
        };
        self.generation.fetch_add(1, Ordering::AcqRel);
        match call!(self, C_Initialize((&raw mut arguments).cast())) {
            Ok(()) => {
                self.ours.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(CallError {
                code: ck::CKR_CRYPTOKI_ALREADY_INITIALIZED,
                ..
            }) => {
                self.ours.store(false, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Begins anew: every session and handle of before is void. A module that somebody else in this
    /// process initialised is not finalised.
    pub(super) fn reinitialize(&self, alone: &Alone<'_>) -> Result<()> {
        if self.ours.load(Ordering::Relaxed) {
            match call!(self, C_Finalize(ptr::null_mut())) {
                Ok(())
                | Err(CallError {
                    code: ck::CKR_CRYPTOKI_NOT_INITIALIZED,
                    ..
                }) => {}
                Err(error) => return Err(error),
            }
        }
        self.initialize(alone)
    }

    /// The slots that hold a token.
    pub(super) fn slots(&self) -> Result<Vec<ck::CK_SLOT_ID>> {
        let mut slots = vec![0; MAX_SLOTS];
        let mut count = slots.len() as ck::CK_ULONG;
        call!(
            self,
            C_GetSlotList(ck::CK_TRUE, slots.as_mut_ptr(), &raw mut count)
        )?;
        slots.truncate(length(count));
        Ok(slots)
    }

    pub(super) fn token_info(&self, slot: ck::CK_SLOT_ID) -> Result<ck::CK_TOKEN_INFO> {
        let mut info = ck::CK_TOKEN_INFO::default();
        call!(self, C_GetTokenInfo(slot, &raw mut info))?;
        Ok(info)
    }

    /// Makes a token in a slot.
    pub(super) fn init_token(
        &self,
        slot: ck::CK_SLOT_ID,
        so_pin: &[u8],
        label: &[u8; 32],
    ) -> Result<()> {
        let (pin, length) = input(so_pin);
        call!(
            self,
            C_InitToken(slot, pin, length, label.as_ptr().cast_mut())
        )
    }

    /// Sets the user PIN in a session of the security officer.
    pub(super) fn init_pin(&self, session: Session, user_pin: &[u8]) -> Result<()> {
        let (pin, length) = input(user_pin);
        call!(self, C_InitPIN(session, pin, length))
    }

    /// Opens a read-write session: some modules have no other kind.
    pub(super) fn open_session(&self, slot: ck::CK_SLOT_ID) -> Result<Session> {
        let mut session = 0;
        let flags = ck::CKF_SERIAL_SESSION | ck::CKF_RW_SESSION;
        call!(
            self,
            C_OpenSession(slot, flags, ptr::null_mut(), None, &raw mut session)
        )?;
        Ok(session)
    }

    pub(super) fn close_session(&self, session: Session) -> Result<()> {
        call!(self, C_CloseSession(session))
    }

    pub(super) fn session_info(&self, session: Session) -> Result<ck::CK_SESSION_INFO> {
        let mut info = ck::CK_SESSION_INFO {
            slotID: 0,
            state: 0,
            flags: 0,
            ulDeviceError: 0,
        };
        call!(self, C_GetSessionInfo(session, &raw mut info))?;
        Ok(info)
    }

    pub(super) fn login(&self, session: Session, user: ck::CK_USER_TYPE, pin: &[u8]) -> Result<()> {
        let (pin, length) = input(pin);
        call!(self, C_Login(session, user, pin, length))
    }

    pub(super) fn logout(&self, session: Session) -> Result<()> {
        call!(self, C_Logout(session))
    }

    /// The objects that match a template, at most 1,024.
    pub(super) fn find(&self, session: Session, template: &[Attribute<'_>]) -> Result<Vec<Object>> {
        let mut raw = raw(template);
        call!(
            self,
            C_FindObjectsInit(session, raw.as_mut_ptr(), raw.len() as ck::CK_ULONG)
        )?;
        let mut objects = vec![0; MAX_FOUND];
        let mut found = 0;
        let result = loop {
            let Some(room) = objects.get_mut(found..).filter(|room| !room.is_empty()) else {
                break Ok(());
            };
            let mut count = 0;
            let called = call!(
                self,
                C_FindObjects(
                    session,
                    room.as_mut_ptr(),
                    room.len() as ck::CK_ULONG,
                    &raw mut count
                )
            );
            match called {
                Ok(()) if count == 0 => break Ok(()),
                Ok(()) => found += length(count).min(room.len()),
                Err(error) => break Err(error),
            }
        };
        let last = call!(self, C_FindObjectsFinal(session));
        result.and(last)?;
        objects.truncate(found);
        Ok(objects)
    }

    /// Reads one attribute into `out` and returns its length.
    pub(super) fn attribute(
        &self,
        session: Session,
        object: Object,
        kind: ck::CK_ATTRIBUTE_TYPE,
        out: &mut [u8],
    ) -> Result<usize> {
        let mut attribute = ck::CK_ATTRIBUTE {
            type_: kind,
            pValue: out.as_mut_ptr().cast(),
            ulValueLen: out.len() as ck::CK_ULONG,
        };
        call!(
            self,
            C_GetAttributeValue(session, object, &raw mut attribute, 1)
        )?;
        match length(attribute.ulValueLen) {
            len if len <= out.len() => Ok(len),
            _ => Err(CallError {
                function: "C_GetAttributeValue",
                code: ck::CKR_BUFFER_TOO_SMALL,
            }),
        }
    }

    pub(super) fn create_object(
        &self,
        session: Session,
        template: &[Attribute<'_>],
    ) -> Result<Object> {
        let mut raw = raw(template);
        let mut object = 0;
        call!(
            self,
            C_CreateObject(
                session,
                raw.as_mut_ptr(),
                raw.len() as ck::CK_ULONG,
                &raw mut object
            )
        )?;
        Ok(object)
    }

    pub(super) fn destroy_object(&self, session: Session, object: Object) -> Result<()> {
        call!(self, C_DestroyObject(session, object))
    }

    pub(super) fn generate_key(
        &self,
        session: Session,
        mechanism: ck::CK_MECHANISM_TYPE,
        template: &[Attribute<'_>],
    ) -> Result<Object> {
        let mut mechanism = plain(mechanism);
        let mut raw = raw(template);
        let mut object = 0;
        call!(
            self,
            C_GenerateKey(
                session,
                &raw mut mechanism,
                raw.as_mut_ptr(),
                raw.len() as ck::CK_ULONG,
                &raw mut object
            )
        )?;
        Ok(object)
    }

    /// Wraps `object` under `with` into `out`; returns the length of the blob.
    pub(super) fn wrap_key(
        &self,
        session: Session,
        mechanism: ck::CK_MECHANISM_TYPE,
        with: Object,
        object: Object,
        out: &mut [u8],
    ) -> Result<usize> {
        let mut mechanism = plain(mechanism);
        let mut count = out.len() as ck::CK_ULONG;
        call!(
            self,
            C_WrapKey(
                session,
                &raw mut mechanism,
                with,
                object,
                out.as_mut_ptr(),
                &raw mut count
            )
        )?;
        Ok(length(count).min(out.len()))
    }

    pub(super) fn unwrap_key(
        &self,
        session: Session,
        mechanism: ck::CK_MECHANISM_TYPE,
        with: Object,
        blob: &[u8],
        template: &[Attribute<'_>],
    ) -> Result<Object> {
        let mut mechanism = plain(mechanism);
        let (blob, blob_length) = input(blob);
        let mut raw = raw(template);
        let mut object = 0;
        call!(
            self,
            C_UnwrapKey(
                session,
                &raw mut mechanism,
                with,
                blob,
                blob_length,
                raw.as_mut_ptr(),
                raw.len() as ck::CK_ULONG,
                &raw mut object
            )
        )?;
        Ok(object)
    }

    pub(super) fn random(&self, session: Session, out: &mut [u8]) -> Result<()> {
        call!(
            self,
            C_GenerateRandom(session, out.as_mut_ptr(), out.len() as ck::CK_ULONG)
        )
    }
}

impl std::ops::Deref for ModuleUse {
    type Target = Module;

    fn deref(&self) -> &Module {
        self.0
    }
}

impl Drop for ModuleUse {
    fn drop(&mut self) {
        let mut users = self.0.users.lock().unwrap_or_else(PoisonError::into_inner);
        *users -= 1;
        if *users > 0 || !self.0.ours.load(Ordering::Relaxed) {
            return;
        }
        // A thread that hangs inside keeps the module initialised: finalising under it crashes.
        if let Some(_alone) = self.0.gate.alone(Instant::now() + START_WAIT, START_WAIT) {
            let _ = call!(self.0, C_Finalize(ptr::null_mut()));
            self.0.ours.store(false, Ordering::Relaxed);
        }
    }
}

/// The template in the module's layout. It points into `template` and is used within its life.
fn raw(template: &[Attribute<'_>]) -> Vec<ck::CK_ATTRIBUTE> {
    fn entry<T>(type_: ck::CK_ATTRIBUTE_TYPE, value: *const T, bytes: usize) -> ck::CK_ATTRIBUTE {
        ck::CK_ATTRIBUTE {
            type_,
            pValue: value.cast_mut().cast(),
            ulValueLen: bytes as ck::CK_ULONG,
        }
    }
    template
        .iter()
        .map(|attribute| match attribute {
            Attribute::Flag(kind, value) => {
                let value: &'static ck::CK_BBOOL =
                    if *value { &ck::CK_TRUE } else { &ck::CK_FALSE };
                entry(*kind, value, size_of::<ck::CK_BBOOL>())
            }
            Attribute::Number(kind, value) => entry(*kind, value, size_of::<ck::CK_ULONG>()),
            Attribute::Bytes(kind, value) => entry(*kind, value.as_ptr(), value.len()),
            Attribute::Numbers(kind, value) => entry(*kind, value.as_ptr(), size_of_val(*value)),
        })
        .collect()
}

fn plain(mechanism: ck::CK_MECHANISM_TYPE) -> ck::CK_MECHANISM {
    ck::CK_MECHANISM {
        mechanism,
        pParameter: ptr::null_mut(),
        ulParameterLen: 0,
    }
}

fn input(bytes: &[u8]) -> (*mut ck::CK_BYTE, ck::CK_ULONG) {
    (bytes.as_ptr().cast_mut(), bytes.len() as ck::CK_ULONG)
}

/// A length the module wrote; one that cannot be becomes one that no buffer has.
fn length(count: ck::CK_ULONG) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

static LOADED: Mutex<Option<HashMap<PathBuf, &'static Module>>> = Mutex::new(None);

const MAX_SLOTS: usize = 1024;
const MAX_FOUND: usize = 1024;
const START_WAIT: Duration = Duration::from_secs(2);
