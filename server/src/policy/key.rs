//! Condition keys: the facts of a request that policies may ask about.

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// A condition key. Names are compared without regard to case.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) enum Key {
            $($(#[$doc])* $name,)*
            /// `s3:ExistingObjectTag/NAME`: a tag of the object that is there.
            ExistingObjectTag(String),
            /// `s3:RequestObjectTag/NAME`: a tag that the request would give an object.
            RequestObjectTag(String),
            /// A key of services that are not here. It never has a value, as in a request to S3
            /// itself that did not come by such a way.
            Elsewhere,
        }

        const NAMES: &[(&str, Key)] = &[$(($text, Key::$name),)*];
    };
}

keys! {
    /// When the request came, ISO 8601.
    CurrentTime = "aws:currenttime";
    /// The same in seconds since 1970.
    EpochTime = "aws:epochtime";
    /// The client's address.
    SourceIp = "aws:sourceip";
    /// `true` over TLS.
    SecureTransport = "aws:securetransport";
    /// The `Referer` header.
    Referer = "aws:referer";
    /// The `User-Agent` header.
    UserAgent = "aws:useragent";
    /// Name of the user.
    Username = "aws:username";
    /// Twelve digits of the account for its root, the name of any other user.
    Userid = "aws:userid";
    /// ARN of the user, or of the account for its root.
    PrincipalArn = "aws:principalarn";
    /// Twelve digits of the caller's account.
    PrincipalAccount = "aws:principalaccount";
    /// `Account`, `User` or `Anonymous`.
    PrincipalType = "aws:principaltype";
    /// Always `false`.
    PrincipalIsService = "aws:principalisawsservice";
    /// Always `false`.
    ViaService = "aws:viaawsservice";
    /// Region of this server.
    RequestedRegion = "aws:requestedregion";
    /// Twelve digits of the account that owns the bucket.
    ResourceAccount = "aws:resourceaccount";
    /// The same by its older name.
    S3ResourceAccount = "s3:resourceaccount";
    /// Query parameter `prefix`.
    Prefix = "s3:prefix";
    /// Query parameter `delimiter`.
    Delimiter = "s3:delimiter";
    /// Query parameter `max-keys`.
    MaxKeys = "s3:max-keys";
    /// Query parameter `versionId`.
    VersionId = "s3:versionid";
    /// Region in the body of CreateBucket.
    LocationConstraint = "s3:locationconstraint";
    /// Canned ACL.
    Acl = "s3:x-amz-acl";
    /// Header of that name.
    GrantRead = "s3:x-amz-grant-read";
    /// Header of that name.
    GrantWrite = "s3:x-amz-grant-write";
    /// Header of that name.
    GrantReadAcp = "s3:x-amz-grant-read-acp";
    /// Header of that name.
    GrantWriteAcp = "s3:x-amz-grant-write-acp";
    /// Header of that name.
    GrantFullControl = "s3:x-amz-grant-full-control";
    /// Source of a copy, `bucket/key`, decoded.
    CopySource = "s3:x-amz-copy-source";
    /// Header of that name.
    MetadataDirective = "s3:x-amz-metadata-directive";
    /// Header of that name.
    StorageClass = "s3:x-amz-storage-class";
    /// Header of that name: what the request asks for, not what the bucket's default adds.
    Sse = "s3:x-amz-server-side-encryption";
    /// Header of that name.
    SseKeyId = "s3:x-amz-server-side-encryption-aws-kms-key-id";
    /// Header of that name.
    SseCustomerAlgorithm = "s3:x-amz-server-side-encryption-customer-algorithm";
    /// Header of that name.
    ContentSha256 = "s3:x-amz-content-sha256";
    /// Header of that name.
    WebsiteRedirect = "s3:x-amz-website-redirect-location";
    /// Header of that name.
    ObjectOwnership = "s3:x-amz-object-ownership";
    /// Header `x-amz-object-lock-mode`, or the mode in the body of PutObjectRetention.
    ObjectLockMode = "s3:object-lock-mode";
    /// Header `x-amz-object-lock-retain-until-date`, or the date in the body.
    ObjectLockRetainUntil = "s3:object-lock-retain-until-date";
    /// Days from now to that date.
    ObjectLockRemainingDays = "s3:object-lock-remaining-retention-days";
    /// Header `x-amz-object-lock-legal-hold`, or the status in the body.
    ObjectLockLegalHold = "s3:object-lock-legal-hold";
    /// Header `If-Match`.
    IfMatch = "s3:if-match";
    /// Header `If-None-Match`.
    IfNoneMatch = "s3:if-none-match";
    /// `true` where the request makes an object, `false` where it writes a part of one.
    ObjectCreation = "s3:objectcreationoperation";
    /// Names of the tags that the request would give an object.
    RequestObjectTagKeys = "s3:requestobjecttagkeys";
    /// `AWS4-HMAC-SHA256`, or `AWS`: Version 2.
    SignatureVersion = "s3:signatureversion";
    /// `REST-HEADER`, `REST-QUERY-STRING` or `POST`.
    AuthType = "s3:authtype";
    /// Milliseconds since the request was signed.
    SignatureAge = "s3:signatureage";
    /// `1.2` or `1.3`.
    TlsVersion = "s3:tlsversion";
}

const ELSEWHERE: &[&str] = &[
    "aws:calledvia",
    "aws:calledviafirst",
    "aws:calledvialast",
    "aws:federatedprovider",
    "aws:multifactorauthage",
    "aws:multifactorauthpresent",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalservicename",
    "aws:principalservicenameslist",
    "aws:resourceorgid",
    "aws:resourceorgpaths",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:tokenissuetime",
    "aws:vpcsourceip",
    "s3:accessgrantsinstancearn",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
    "s3:accesspointnetworkorigin",
];

impl Key {
    /// The key of a name; `None` for one that does not exist.
    pub(crate) fn parse(name: &str) -> Option<Key> {
        let lower = name.to_ascii_lowercase();
        // The tag's own name keeps its case.
        for (start, tag) in [
            (
                "s3:existingobjecttag/",
                Key::ExistingObjectTag as fn(String) -> Key,
            ),
            ("s3:requestobjecttag/", Key::RequestObjectTag),
        ] {
            if lower.starts_with(start) && name.len() > start.len() {
                return Some(tag(name[start.len()..].to_owned()));
            }
        }
        if ELSEWHERE.contains(&lower.as_str()) {
            return Some(Key::Elsewhere);
        }
        let known = NAMES.iter().find(|(text, _)| *text == lower);
        known.map(|(_, key)| key.clone())
    }
}

/// What a request says to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Values {
    /// Its values; empty where the request has none.
    Known(Vec<String>),
    /// Decided by an earlier request that this one goes on with: the encryption of an upload's
    /// parts was decided when the upload was created. Conditions on it are passed over.
    Settled,
}

impl Values {
    /// The key is not in the request.
    pub(crate) const ABSENT: Values = Values::Known(Vec::new());

    /// One value, or none.
    pub(crate) fn of(value: Option<impl Into<String>>) -> Values {
        Values::Known(value.into_iter().map(Into::into).collect())
    }
}

/// A request, as conditions see it.
pub(crate) trait Context {
    /// The values of a key.
    fn values(&self, key: &Key) -> Values;
}

/// A request that says nothing.
pub(super) struct Nothing;

impl Context for Nothing {
    fn values(&self, _: &Key) -> Values {
        Values::ABSENT
    }
}
