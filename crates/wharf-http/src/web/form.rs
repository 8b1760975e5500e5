//! What a form sends: names and values, each bounded by the body's limit.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use wharf_base::Secret;

use crate::api::Problem;
use crate::body::{CollectError, RequestBody};

/// The longest form that is read, in bytes; a policy's rule is at most a quarter of it.
const FORM_MAX_BYTES: u64 = 64 << 10;

/// The most fields of a form.
const FIELDS_MAX: usize = 256;

/// The fields of a form, in their order.
#[derive(Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the body of a request.
    ///
    /// # Errors
    ///
    /// It is no form, too long, or did not arrive.
    pub(super) async fn read(headers: &HeaderMap, body: RequestBody) -> Result<Self, Problem> {
        let is_form = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
            value.split(';').next().is_some_and(|kind| kind.trim() == "application/x-www-form-urlencoded")
        });
        if !is_form {
            let message = "this page takes what its own form sends, and nothing else";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let bytes = body.collect(FORM_MAX_BYTES).await.map_err(|error| match error {
            CollectError::TooLarge => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("what was sent has more than {FORM_MAX_BYTES} bytes; send less"),
            ),
            CollectError::Body(_) => Problem::invalid("the form did not arrive as a whole; send it again"),
        })?;
        let fields: Vec<_> = url::form_urlencoded::parse(&bytes).into_owned().take(FIELDS_MAX + 1).collect();
        if fields.len() > FIELDS_MAX {
            return Err(Problem::invalid(format!("a form may have at most {FIELDS_MAX} fields")));
        }
        Ok(Self(fields))
    }

    /// The first field of that name, without blanks around it; empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The first field of that name as it was typed.
    pub(super) fn secret(&self, name: &str) -> Secret<String> {
        self.raw(name).into()
    }

    /// Whether the box of that name was ticked.
    pub(super) fn is_ticked(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }

    /// All fields of that name.
    pub(super) fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The words of a field, which people separate by commas, blanks or line ends.
    pub(super) fn words(&self, name: &str) -> Vec<String> {
        let words = self.raw(name).split(|c: char| c == ',' || c.is_whitespace());
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    }
}
