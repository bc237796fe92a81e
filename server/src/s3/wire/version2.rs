//! Signature Version 2 as clients of Ceph's gateway sign: they sign the address of a bucket with a
//! slash at its end, and send it without.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::uri::PathAndQuery;
use http::{Request, Uri};
use s3s::auth::S3Auth;
use s3s_sigv2::{AuthorizationV2, Mode, calculate_signature, create_string_to_sign};
use subtle::ConstantTimeEq;

use super::query::pairs;
use crate::s3::encryption::sse::header;
use crate::users::{Auth, UserFile};

/// Puts the slash at the end of a bucket's address where that is what was signed. The protocol
/// crate, which checks the signature, takes the address as it stands.
pub(in crate::s3) async fn address_as_signed<B>(users: &Arc<UserFile>, request: &mut Request<B>) {
    let path = request.uri().path();
    if path.len() < 2 || path[1..].contains('/') {
        return;
    }
    let with_slash = format!("{path}/");
    let Some((access_key, signature, signed)) = signed(request, &with_slash) else {
        return;
    };
    let Ok(secret) = Auth(Arc::clone(users)).get_secret_key(&access_key).await else {
        return;
    };
    let computed = calculate_signature(secret.expose(), &signed);
    if bool::from(computed.as_bytes().ct_eq(signature.as_bytes()))
        && let Some(uri) = at(request.uri(), with_slash)
    {
        *request.uri_mut() = uri;
    }
}

/// Access key, signature, and what it is of if the address is `path`; `None` for a request that is
/// not signed so.
fn signed<B>(request: &Request<B>, path: &str) -> Option<(String, String, String)> {
    let mut query = pairs(request.uri().query().unwrap_or_default());
    query.sort_by(|one, other| one.0.cmp(&other.0));
    let parameter = |wanted: &str| {
        let found = query.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.clone())
    };
    let (mode, access_key, signature) = match parameter("Signature") {
        Some(signature) => (Mode::PresignedUrl, parameter("AWSAccessKeyId")?, signature),
        None => {
            let authorization = header(request.headers(), AUTHORIZATION.as_str())?;
            let parsed = AuthorizationV2::parse(authorization).ok()?;
            let (access_key, signature) = (parsed.access_key, parsed.signature);
            (
                Mode::HeaderAuth,
                access_key.to_owned(),
                signature.to_owned(),
            )
        }
    };
    let headers: Vec<(&str, &str)> = request
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect();
    let method = request.method().as_str();
    let signed = create_string_to_sign(mode, method, path, Some(&query), &headers, None);
    Some((access_key, signature, signed))
}

fn at(uri: &Uri, path: String) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    let address = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    parts.path_and_query = Some(PathAndQuery::from_maybe_shared(address).ok()?);
    Uri::from_parts(parts).ok()
}
