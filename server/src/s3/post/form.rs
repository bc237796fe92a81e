//! A form as it travels: fields, which are small and come first, and the file, which is streamed.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http_body::Frame;
use mime::Mime;
use s3s::{Body, S3Error, S3ErrorCode, S3Result, StdError};
use s3s_multipart::{Boundary, Error as FormError, Multipart, Part, PartDataStream};
use zeroize::Zeroizing;

use crate::s3::body::body_error;
use crate::s3::errors::{error, invalid_argument, with_detail};

/// A form that was read up to its file.
pub(super) struct Form {
    pub(super) fields: Fields,
    file: PartDataStream<Chunks>,
}

/// The fields before the file: names in lower case, each once. A value may be a customer key.
pub(super) struct Fields(Vec<(String, Zeroizing<String>)>);

/// The body as the parser takes it.
type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, FormError>> + Send + Sync>>;

impl Form {
    /// Reads all fields. In every value, `${filename}` stands for the name of the file, without
    /// the directories that some browsers send along.
    ///
    /// # Errors
    /// `MalformedPOSTRequest`, `MaxPostPreDataLengthExceededError`, or that there is no file.
    pub(super) async fn read(kind: &Mime, body: Body) -> S3Result<Form> {
        let boundary = kind
            .get_param(mime::BOUNDARY)
            .and_then(|boundary| Boundary::new(boundary.as_str().as_bytes()).ok())
            .ok_or_else(malformed)?;
        let stream: Chunks = Box::pin(body.map(|next| next.map_err(FormError::stream_read_failed)));
        let mut parts = Multipart::new(stream, &boundary, MOST_BYTES);
        let mut fields = Fields(Vec::new());
        let mut size = 0;
        loop {
            let mut part = parts.next_part().await.map_err(unread)?.ok_or_else(|| {
                invalid_argument(
                    "file",
                    "0",
                    "POST requires exactly one file upload per request.",
                )
            })?;
            let (name, file_name) = named(&mut part).await?;
            if name == "file" {
                fields.substitute(file_name.as_deref().unwrap_or_default());
                let file = part.take_data_stream().map_err(unread)?;
                return Ok(Form { fields, file });
            }
            size += name.len();
            let mut value = Zeroizing::new(Vec::new());
            while let Some(chunk) = part.next_data().await.map_err(unread)? {
                size += chunk.len();
                if size > MOST_BYTES {
                    return Err(too_long());
                }
                value.extend_from_slice(&chunk);
            }
            let text = std::str::from_utf8(&value).map_err(|_| malformed())?;
            fields.add(name, text)?;
        }
    }

    /// The fields, and the content of the file as a body: it fails when the file turns out not to
    /// be of a permitted size.
    pub(super) fn into_file(self, least: u64, most: u64) -> Body {
        Body::http_body(File {
            content: self.file,
            read: 0,
            least,
            most,
        })
    }
}

impl Fields {
    fn add(&mut self, name: String, value: &str) -> S3Result<()> {
        if self.get(&name).is_some() {
            // Which of them the policy means, and which would count, must be no question.
            return Err(invalid_argument(
                &name,
                "",
                "A field of the form is there more than once.",
            ));
        }
        self.0.push((name, Zeroizing::new(value.to_owned())));
        Ok(())
    }

    /// The value of a field, by its name in lower case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(value)
    }

    /// The value of a field that has to be there.
    pub(super) fn required(&self, name: &str) -> S3Result<&str> {
        self.get(&name.to_ascii_lowercase())
            .ok_or_else(|| missing(name))
    }

    /// All of them, in the order of the form.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn substitute(&mut self, file_name: &str) {
        let bare = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
        for (name, value) in &mut self.0 {
            // These are what was signed, not what is stored.
            if !matches!(name.as_str(), "policy" | "signature" | "x-amz-signature")
                && value.contains(FILE_NAME)
            {
                *value = Zeroizing::new(value.replace(FILE_NAME, bare));
            }
        }
    }

    #[cfg(test)]
    pub(super) fn of_test(fields: &[(&str, &str)]) -> Fields {
        let fields = fields.iter();
        Fields(
            fields
                .map(|(name, value)| ((*name).to_owned(), Zeroizing::new((*value).to_owned())))
                .collect(),
        )
    }
}

/// A field that must be there, and before the file.
pub(super) fn missing(field: &str) -> S3Error {
    invalid_argument(
        field,
        "",
        format!(
            "Bucket POST must contain a field named '{field}'.  If it is specified, please check the order of the fields."
        ),
    )
}

/// Name of the field, and of its file if it has one.
async fn named(part: &mut Part<'_, Chunks>) -> S3Result<(String, Option<String>)> {
    let mut found = None;
    while let Some(header) = part.next_header().await.map_err(unread)? {
        if !header.name.eq_ignore_ascii_case("content-disposition") {
            continue;
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| malformed());
        let disposition =
            s3s_multipart::parse_content_disposition(header.value).ok_or_else(malformed)?;
        let name = text(disposition.name.ok_or_else(malformed)?)?.to_ascii_lowercase();
        let file_name = disposition.file_name.map(text).transpose()?;
        found = Some((name, file_name));
    }
    found
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(malformed)
}

/// The content of the file, counted as it passes.
struct File {
    content: PartDataStream<Chunks>,
    read: u64,
    least: u64,
    most: u64,
}

impl http_body::Body for File {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let refused = |size: WrongSize| Poll::Ready(Some(Err(StdError::from(size))));
        match ready!(Pin::new(&mut self.content).poll_next(cx)) {
            Some(Ok(bytes)) => {
                self.read += bytes.len() as u64;
                if self.read > self.most {
                    return refused(WrongSize::Above(self.most));
                }
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Some(Err(cause)) => Poll::Ready(Some(Err(cause.into()))),
            None if self.read < self.least => refused(WrongSize::Below {
                size: self.read,
                least: self.least,
            }),
            None => Poll::Ready(None),
        }
    }
}

/// A file of a size that the policy does not permit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(in crate::s3) enum WrongSize {
    /// At least one byte above this many.
    #[error("the file is larger than the {0} bytes that its policy permits")]
    Above(u64),
    /// Below the least.
    #[error("the file has {size} bytes where its policy wants {least}")]
    Below {
        /// Bytes of the file.
        size: u64,
        /// Bytes that the policy wants.
        least: u64,
    },
}

impl WrongSize {
    /// As S3 says it.
    pub(in crate::s3) fn refusal(&self) -> S3Error {
        match self {
            Self::Above(most) => with_detail(
                error(
                    S3ErrorCode::EntityTooLarge,
                    "Your proposed upload exceeds the maximum allowed size",
                ),
                &[("MaxSizeAllowed", &most.to_string())],
            ),
            Self::Below { size, least } => with_detail(
                error(
                    S3ErrorCode::EntityTooSmall,
                    "Your proposed upload is smaller than the minimum allowed size",
                ),
                &[
                    ("ProposedSize", &size.to_string()),
                    ("MinSizeAllowed", &least.to_string()),
                ],
            ),
        }
    }
}

/// What could not be read up to the file: a broken connection, or no form.
fn unread(cause: FormError) -> S3Error {
    match cause {
        FormError::StreamReadFailed(cause) => body_error(&*cause),
        FormError::HeaderSizeExceeded { .. } => too_long(),
        _ => malformed(),
    }
}

pub(super) fn malformed() -> S3Error {
    error(
        S3ErrorCode::MalformedPOSTRequest,
        "The body of your POST request is not well-formed multipart/form-data.",
    )
}

fn too_long() -> S3Error {
    error(
        S3ErrorCode::MaxPostPreDataLengthExceededError,
        "Your POST request fields preceding the upload file were too large.",
    )
}

/// Names and values of all fields together, and the headers of one.
const MOST_BYTES: usize = 64 << 10;
const FILE_NAME: &str = "${filename}";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http_body_util::BodyExt;

    use super::*;

    fn text(fields: &[(&str, &str)], file: &str) -> String {
        let mut text: String = fields
            .iter()
            .map(|(name, value)| {
                format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            })
            .collect();
        text.push_str(file);
        text
    }

    const FILE: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"C:\\d\\a.txt\"\r\n\r\ncontent\r\n--b--\r\n";

    async fn read(text: String) -> S3Result<Form> {
        let kind = "multipart/form-data; boundary=b".parse().unwrap();
        Form::read(&kind, Body::from(text)).await
    }

    async fn content(body: Body) -> Result<Bytes, StdError> {
        Ok(BodyExt::collect(body).await?.to_bytes())
    }

    async fn code(text: String) -> String {
        match read(text).await {
            Ok(_) => "none".to_owned(),
            Err(refused) => refused.code().as_str().to_owned(),
        }
    }

    #[tokio::test]
    async fn fields_are_read_and_the_file_is_left_to_be_streamed() {
        let form = read(text(
            &[("Key", "up/${filename}"), ("policy", "${filename}")],
            FILE,
        ));
        let form = form.await.unwrap();
        assert_eq!(form.fields.get("key"), Some("up/a.txt"));
        assert_eq!(form.fields.get("policy"), Some("${filename}"));
        let file = content(form.into_file(0, u64::MAX)).await.unwrap();
        assert_eq!(file, "content");
    }

    #[tokio::test]
    async fn a_field_with_a_file_name_is_a_field() {
        let named =
            "--b\r\nContent-Disposition: form-data; name=\"key\"; filename=\"key\"\r\n\r\nk\r\n";
        let form = read(format!("{named}{FILE}")).await.unwrap();
        assert_eq!(form.fields.get("key"), Some("k"));
    }

    #[tokio::test]
    async fn what_is_no_form_is_refused() {
        let long = "x".repeat(MOST_BYTES);
        let nameless = "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n";
        for (text, expected) in [
            (text(&[("key", "k")], "--b--\r\n"), "InvalidArgument"),
            (text(&[("key", "k"), ("KEY", "l")], FILE), "InvalidArgument"),
            (
                text(&[("a", &long)], FILE),
                "MaxPostPreDataLengthExceededError",
            ),
            (text(&[("a", &long[9..]), ("b", "1234567")], FILE), "none"),
            (
                text(&[("a", &long[9..]), ("b", "12345678")], FILE),
                "MaxPostPreDataLengthExceededError",
            ),
            (format!("{nameless}{FILE}"), "MalformedPOSTRequest"),
            (text(&[("key", "k")], ""), "MalformedPOSTRequest"),
            ("no form".to_owned(), "MalformedPOSTRequest"),
        ] {
            assert_eq!(code(text).await, expected);
        }
    }

    #[tokio::test]
    async fn a_file_of_another_size_than_permitted_does_not_end_well() {
        for (least, most, expected) in [
            (7, 7, None),
            (0, 6, Some(WrongSize::Above(6))),
            (8, 9, Some(WrongSize::Below { size: 7, least: 8 })),
        ] {
            let form = read(text(&[], FILE)).await.unwrap();
            let read = content(form.into_file(least, most)).await;
            let refused = read
                .err()
                .map(|cause| *cause.downcast::<WrongSize>().unwrap());
            assert_eq!(refused, expected);
        }
    }

    #[tokio::test]
    async fn a_file_that_is_cut_off_does_not_end_well() {
        let cut = &FILE[..FILE.len() - 7];
        let form = read(text(&[], cut)).await.unwrap();
        assert!(content(form.into_file(0, 99)).await.is_err());
    }
}
