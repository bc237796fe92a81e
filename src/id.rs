//! Identifiers: 16 bytes each, no secret among them.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// Sixteen bytes from the kernel's random source.
            ///
            /// # Errors
            /// The kernel's random source cannot be read.
            pub fn random() -> Result<Self, getrandom::Error> {
                let mut bytes = [0; 16];
                getrandom::fill(&mut bytes)?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

id! {
    /// One write of one object, made before its first byte (F-54).
    InstanceId
}
id! {
    /// A bucket, for as long as it exists; its name is a label on it.
    BucketId
}
id! {
    /// One blob: the writer's incarnation (little-endian, 8 bytes), then 8 random bytes (F-54).
    BlobId
}
id! {
    /// One entry in the history of a key: for an object, the instance it was first written as.
    VersionId
}
id! {
    /// A root: one master key in all its versions.
    RootId
}
