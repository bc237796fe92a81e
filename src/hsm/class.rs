//! What a return value asks for.

use cryptoki_sys as ck;

/// What to do about a return value. The codes tokens really give differ from the standard's; what
/// is not listed is [`Class::Vague`], and there only a known answer tells more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// This session is gone or confused: open another.
    Session,
    /// Logged out elsewhere, or handles of an earlier login: log in, find the keys again.
    Login,
    /// The module was finalised elsewhere or the token went away: begin anew.
    Module,
    /// Nothing is wrong, there is only too much: wait a little.
    Busy,
    /// The PIN is not accepted: stop.
    Pin,
    /// The call can never succeed: the mechanism or a template does not suit this token.
    Never,
    /// May mean anything, a damaged blob included.
    Vague,
}

pub(super) const fn class(code: ck::CK_RV) -> Class {
    match code {
        ck::CKR_SESSION_HANDLE_INVALID
        | ck::CKR_SESSION_CLOSED
        | ck::CKR_SESSION_READ_ONLY
        | ck::CKR_OPERATION_ACTIVE
        | ck::CKR_OPERATION_NOT_INITIALIZED => Class::Session,
        ck::CKR_USER_NOT_LOGGED_IN
        | ck::CKR_OBJECT_HANDLE_INVALID
        | ck::CKR_KEY_HANDLE_INVALID
        | ck::CKR_WRAPPING_KEY_HANDLE_INVALID
        | ck::CKR_UNWRAPPING_KEY_HANDLE_INVALID => Class::Login,
        ck::CKR_CRYPTOKI_NOT_INITIALIZED
        | ck::CKR_SLOT_ID_INVALID
        | ck::CKR_TOKEN_NOT_PRESENT
        | ck::CKR_TOKEN_NOT_RECOGNIZED
        | ck::CKR_DEVICE_REMOVED => Class::Module,
        ck::CKR_SESSION_COUNT
        | ck::CKR_HOST_MEMORY
        | ck::CKR_DEVICE_MEMORY
        | ck::CKR_TOKEN_RESOURCE_EXCEEDED
        | ck::CKR_CANT_LOCK => Class::Busy,
        ck::CKR_PIN_INCORRECT
        | ck::CKR_PIN_INVALID
        | ck::CKR_PIN_LEN_RANGE
        | ck::CKR_PIN_EXPIRED
        | ck::CKR_PIN_LOCKED => Class::Pin,
        ck::CKR_ARGUMENTS_BAD
        | ck::CKR_ATTRIBUTE_READ_ONLY
        | ck::CKR_ATTRIBUTE_SENSITIVE
        | ck::CKR_ATTRIBUTE_TYPE_INVALID
        | ck::CKR_ATTRIBUTE_VALUE_INVALID
        | ck::CKR_FUNCTION_NOT_SUPPORTED
        | ck::CKR_KEY_FUNCTION_NOT_PERMITTED
        | ck::CKR_KEY_NOT_WRAPPABLE
        | ck::CKR_KEY_UNEXTRACTABLE
        | ck::CKR_MECHANISM_INVALID
        | ck::CKR_MECHANISM_PARAM_INVALID
        | ck::CKR_TEMPLATE_INCOMPLETE
        | ck::CKR_TEMPLATE_INCONSISTENT
        | ck::CKR_USER_PIN_NOT_INITIALIZED
        | ck::CKR_USER_ANOTHER_ALREADY_LOGGED_IN => Class::Never,
        _ => Class::Vague,
    }
}
