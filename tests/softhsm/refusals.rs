//! What cannot be used is refused at the start, with an error that says what to do.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use strongroom::hsm::{HsmConfig, HsmError, HsmMasterKey, PinSource, key_id};

use crate::kit::{PIN, ROOT, Site, TOKEN, fault, painted, recovery_time, softhsm, token_test};

const LABEL: &str = "strongroom-5a5a5a5a-v1";

/// Makes a key with another PKCS#11 library and whatever attributes are given.
fn make_key(id: &[u8], label: &str, changes: &[Attribute]) {
    let pkcs11 = Pkcs11::new(softhsm()).unwrap();
    pkcs11
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .unwrap();
    let slot = pkcs11
        .get_slots_with_token()
        .unwrap()
        .into_iter()
        .find(|slot| pkcs11.get_token_info(*slot).unwrap().label() == TOKEN)
        .unwrap();
    let session = pkcs11.open_rw_session(slot).unwrap();
    session
        .login(UserType::User, Some(&AuthPin::new(PIN.into())))
        .unwrap();
    let mut template = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::ValueLen(32.into()),
        Attribute::Id(id.to_vec()),
        Attribute::Label(label.into()),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Wrap(true),
        Attribute::Unwrap(true),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Derive(false),
    ];
    for change in changes {
        template.retain(|attribute| attribute.attribute_type() != change.attribute_type());
        template.push(change.clone());
    }
    session
        .generate_key(&Mechanism::AesKeyGen, &template)
        .unwrap();
    session.close().unwrap();
    pkcs11.finalize().unwrap();
}

fn refusal(config: HsmConfig) -> HsmError {
    HsmMasterKey::open(config).err().expect("it must not open")
}

/// Every message names the module, the token and what else is given.
fn assert_names(error: &HsmError, words: &[&str]) {
    let text = error.to_string();
    eprintln!("{text}");
    for word in words {
        assert!(text.contains(word), "\"{word}\" is not in: {text}");
    }
}

token_test! {
    fn a_missing_module_is_named(site: &Site) {
        let open = |module: &str| refusal(HsmConfig { module: module.into(), ..site.config() });
        let gone = open("/nowhere/libhsm.so");
        assert!(matches!(gone, HsmError::ModuleMissing { .. }));
        assert_names(&gone, &["/nowhere/libhsm.so", "install it", "absolute path"]);
        assert_names(&open("libsofthsm2.so"), &["not absolute"]);
        // A file that is no library, and a library that is no module.
        let text = site.dir.join("text.so");
        std::fs::write(&text, "no library").unwrap();
        assert_names(&open(text.to_str().unwrap()), &["text.so"]);
        let libc = std::fs::read_to_string("/proc/self/maps")
            .unwrap()
            .lines()
            .find_map(|line| line.split_whitespace().last().filter(|path| path.contains("libc.so")).map(str::to_owned))
            .unwrap();
        assert_names(&open(&libc), &["C_GetFunctionList"]);
    }
}

token_test! {
    fn a_missing_token_is_named_beside_those_that_are_there(site: &Site) {
        site.provision(1);
        let error = refusal(HsmConfig { token: "elsewhere".to_owned(), ..site.config() });
        assert!(matches!(error, HsmError::TokenMissing { .. }));
        assert_names(&error, &["elsewhere", TOKEN, "libsofthsm2.so"]);
    }
}

token_test! {
    fn a_missing_key_is_named(site: &Site) {
        site.make_token();
        let error = refusal(site.config());
        assert!(matches!(error, HsmError::KeyMissing { version: 1, .. }));
        let id: String = key_id(ROOT, 1).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_names(&error, &[LABEL, &id, TOKEN, "libsofthsm2.so", "generate it"]);
        // A key of another root does not count.
        make_key(&key_id(strongroom::id::RootId([1; 16]), 1), "theirs", &[]);
        assert!(matches!(refusal(site.config()), HsmError::KeyMissing { .. }));
    }
}

token_test! {
    fn two_keys_of_one_id_are_refused(site: &Site) {
        site.provision(1);
        make_key(&key_id(ROOT, 1), "another label", &[]);
        let error = refusal(site.config());
        assert!(matches!(error, HsmError::KeyDuplicate { count: 2, .. }));
        assert_names(&error, &["CKA_ID", TOKEN, "libsofthsm2.so", "remove"]);
    }
}

token_test! {
    fn two_keys_of_one_label_are_refused(site: &Site) {
        site.provision(1);
        make_key(b"another id", LABEL, &[]);
        let error = refusal(site.config());
        assert!(matches!(error, HsmError::KeyDuplicate { count: 2, .. }));
        assert_names(&error, &["label", LABEL, TOKEN, "libsofthsm2.so", "remove"]);
    }
}

token_test! {
    fn a_key_of_another_tool_serves_if_its_attributes_are_right(site: &Site) {
        site.make_token();
        make_key(&key_id(ROOT, 1), "any label", &[]);
        HsmMasterKey::open(site.config()).unwrap();
    }
}

fn refused_for(site: &Site, changes: &[Attribute], words: &[&str]) {
    site.make_token();
    make_key(&key_id(ROOT, 1), LABEL, changes);
    let error = refusal(site.config());
    assert!(matches!(error, HsmError::KeyPosture { .. }), "{error}");
    assert_names(&error, words);
    assert_names(&error, &[LABEL, TOKEN, "libsofthsm2.so", "attributes"]);
    let sound = strongroom::hsm::HsmAdmin::open(softhsm())
        .unwrap()
        .status(&site.config())
        .unwrap();
    assert!(!sound.versions[0].is_sound());
}

macro_rules! refused_attributes {
    ($($name:ident: $changes:expr => $words:expr;)*) => {
        $(token_test! {
            fn $name(site: &Site) {
                refused_for(site, &$changes, &$words);
            }
        })*
    };
}

refused_attributes! {
    an_extractable_key_is_refused: [Attribute::Extractable(true)] => ["CKA_EXTRACTABLE is true"];
    a_readable_key_is_refused: [Attribute::Sensitive(false), Attribute::Extractable(true)] => ["CKA_SENSITIVE is false", "CKA_EXTRACTABLE is true"];
    a_key_for_everybody_is_refused: [Attribute::Private(false)] => ["CKA_PRIVATE is false"];
    a_key_that_decrypts_is_refused: [Attribute::Decrypt(true)] => ["CKA_DECRYPT is true"];
    a_key_that_encrypts_is_refused: [Attribute::Encrypt(true)] => ["CKA_ENCRYPT is true"];
    a_key_that_signs_is_refused: [Attribute::Sign(true)] => ["CKA_SIGN is true"];
    a_key_that_derives_is_refused: [Attribute::Derive(true)] => ["CKA_DERIVE is true"];
    a_key_that_does_not_wrap_is_refused: [Attribute::Wrap(false)] => ["CKA_WRAP is false"];
    a_key_that_does_not_unwrap_is_refused: [Attribute::Unwrap(false)] => ["CKA_UNWRAP is false"];
    a_short_key_is_refused: [Attribute::ValueLen(16.into())] => ["CKA_VALUE_LEN"];
}

token_test! {
    fn a_key_wrapped_with_trusted_keys_only_may_be_extractable(site: &Site) {
        site.make_token();
        let changes = [Attribute::Extractable(true), Attribute::WrapWithTrusted(true)];
        make_key(&key_id(ROOT, 1), LABEL, &changes);
        HsmMasterKey::open(site.config()).unwrap();
    }
}

token_test! {
    fn a_wrong_pin_is_sent_once(site: &Site) {
        site.provision(1);
        let fault = fault();
        let pin = site.pin_file("wrong", "not the pin");
        let error = refusal(HsmConfig { pin, ..site.faulty_config() });
        assert!(matches!(error, HsmError::PinWrong { .. }));
        assert_names(&error, &["wrong", TOKEN, "libp11fault.so", "tried once"]);
        assert_eq!(fault.calls("C_Login"), 1);
    }
}

token_test! {
    fn a_pin_that_became_wrong_is_sent_once_and_a_corrected_one_serves_again(site: &Site) {
        use strongroom::keys::{MasterKey, MasterKeyError};
        site.provision(1);
        let fault = fault();
        let master = HsmMasterKey::open(site.faulty_config()).unwrap();
        site.pin_file("pin", "changed meanwhile");
        let before = fault.calls("C_Login");
        let blob = master.wrap(1, &painted(1)).unwrap();
        fault.set("C_UnwrapKey:logout,count=1");
        let begun = std::time::Instant::now();
        while begun.elapsed() < std::time::Duration::from_secs(4) {
            assert!(matches!(master.unwrap(1, &blob), Err(MasterKeyError::PinRefused)));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(fault.calls("C_Login"), before + 1);
        site.pin_file("pin", PIN);
        assert!(recovery_time(|| master.unwrap(1, &blob)) < std::time::Duration::from_secs(5));
        assert_eq!(fault.calls("C_Login"), before + 2);
    }
}

token_test! {
    fn a_locked_pin_is_told_apart_from_a_wrong_one(site: &Site) {
        site.provision(1);
        let fault = fault();
        fault.set("C_Login:rv=0xa4");
        let error = refusal(site.faulty_config());
        assert!(matches!(error, HsmError::PinLocked { .. }));
        assert_names(&error, &["locked", "security officer", TOKEN, "libp11fault.so"]);
        assert_eq!(fault.calls("C_Login"), 1);
    }
}

token_test! {
    fn a_pin_that_cannot_be_read_is_named(site: &Site) {
        site.provision(1);
        let error = refusal(HsmConfig { pin: PinSource::File("/nowhere/pin".into()), ..site.config() });
        assert!(matches!(error, HsmError::PinUnreadable { .. }));
        assert_names(&error, &["/nowhere/pin"]);
    }
}

token_test! {
    fn a_module_that_wraps_wrongly_is_refused(site: &Site) {
        site.provision(1);
        fault().set("C_WrapKey:flip");
        let error = refusal(site.faulty_config());
        assert!(matches!(error, HsmError::WrongAnswer { .. }), "{error}");
        assert_names(&error, &["RFC 3394", TOKEN, "libp11fault.so"]);
    }
}

token_test! {
    fn a_module_that_hangs_at_the_start_is_not_waited_for(site: &Site) {
        site.provision(1);
        fault().set("C_Login:delay=8000");
        let begun = std::time::Instant::now();
        let deadline = std::time::Duration::from_millis(400);
        let error = refusal(HsmConfig { deadline, ..site.faulty_config() });
        assert!(matches!(error, HsmError::TimedOut { .. }), "{error}");
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
