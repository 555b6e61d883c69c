//! Header and trailer fields as guests have them: names, values, and what they may not set.
//!
//! What comes in: names and values from guests and connections. What goes out: hyper's header maps. A guest can neither
//! set nor see the fields that belong to the connection ([`FORBIDDEN`]): those are hyper's business.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Fields that no guest may set or see.
const FORBIDDEN: [HeaderName; 9] = [
    header::CONNECTION,
    header::HOST,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Bytes that the fields of one resource may take, names and values and [`OVERHEAD`] each.
const LARGEST: usize = 128 << 10;

/// What a field takes besides its name and value.
const OVERHEAD: usize = 32;

/// Why fields cannot be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldsError {
    InvalidSyntax,
    Forbidden,
    Immutable,
    /// More than [`LARGEST`] bytes, for which the interface has no word.
    TooLarge,
}

/// `map` without what is the connection's.
pub(crate) fn without_forbidden(mut map: HeaderMap) -> HeaderMap {
    for name in &FORBIDDEN {
        map.remove(name);
    }
    map
}

/// A `fields` resource.
#[derive(Debug)]
pub(crate) enum Fields {
    /// The guest's own.
    Mutable(Mutable),
    /// Those of a message.
    Immutable(Arc<HeaderMap>),
}

/// Fields that the guest may change.
#[derive(Debug, Default)]
pub(crate) struct Mutable {
    map: HeaderMap,
    size: usize,
}

impl Fields {
    /// Fields without any.
    pub(crate) fn new() -> Self {
        Fields::Mutable(Mutable::default())
    }

    /// Those of a message, which cannot be changed.
    pub(crate) fn immutable(map: Arc<HeaderMap>) -> Self {
        Fields::Immutable(map)
    }

    pub(crate) fn from_list(entries: Vec<(String, Vec<u8>)>) -> Result<Self, FieldsError> {
        let mut fields = Mutable::default();
        fields.map.reserve(entries.len().min(64));
        for (name, value) in entries {
            let name = settable(&name)?;
            fields.append(name, parse_value(value)?)?;
        }
        Ok(Fields::Mutable(fields))
    }

    pub(crate) fn map(&self) -> &HeaderMap {
        match self {
            Fields::Mutable(fields) => &fields.map,
            Fields::Immutable(map) => map,
        }
    }

    pub(crate) fn get(&self, name: &str) -> Vec<Vec<u8>> {
        self.map().get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.map().contains_key(name)
    }

    pub(crate) fn entries(&self) -> Vec<(String, Vec<u8>)> {
        self.map().iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
    }

    pub(crate) fn set(&mut self, name: &str, values: Vec<Vec<u8>>) -> Result<(), FieldsError> {
        let fields = self.mutable()?;
        let name = settable(name)?;
        let values = values.into_iter().map(parse_value).collect::<Result<Vec<_>, _>>()?;
        fields.remove(&name);
        values.into_iter().try_for_each(|value| fields.append(name.clone(), value))
    }

    pub(crate) fn append(&mut self, name: &str, value: Vec<u8>) -> Result<(), FieldsError> {
        let fields = self.mutable()?;
        fields.append(settable(name)?, parse_value(value)?)
    }

    pub(crate) fn delete(&mut self, name: &str) -> Result<(), FieldsError> {
        let fields = self.mutable()?;
        fields.remove(&settable(name)?);
        Ok(())
    }

    /// A copy that can be changed.
    pub(crate) fn copy(&self) -> Self {
        let map = self.map().clone();
        let size = map.iter().map(|(name, value)| size(name, value)).sum();
        Fields::Mutable(Mutable { map, size })
    }

    /// What a message is sent with.
    pub(crate) fn into_shared(self) -> Arc<HeaderMap> {
        match self {
            Fields::Mutable(fields) => Arc::new(fields.map),
            Fields::Immutable(map) => map,
        }
    }

    fn mutable(&mut self) -> Result<&mut Mutable, FieldsError> {
        match self {
            Fields::Mutable(fields) => Ok(fields),
            Fields::Immutable(_) => Err(FieldsError::Immutable),
        }
    }
}

impl Mutable {
    fn append(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), FieldsError> {
        let grown = self.size + size(&name, &value);
        if grown > LARGEST {
            return Err(FieldsError::TooLarge);
        }
        self.map.try_append(name, value).map_err(|_| FieldsError::TooLarge)?;
        self.size = grown;
        Ok(())
    }

    fn remove(&mut self, name: &HeaderName) {
        if let header::Entry::Occupied(entry) = self.map.entry(name) {
            let (name, values) = entry.remove_entry_mult();
            self.size -= values.map(|value| size(&name, &value)).sum::<usize>();
        }
    }
}

fn size(name: &HeaderName, value: &HeaderValue) -> usize {
    name.as_str().len() + value.len() + OVERHEAD
}

/// The name of a field that guests may set.
fn settable(name: &str) -> Result<HeaderName, FieldsError> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| FieldsError::InvalidSyntax)?;
    if FORBIDDEN.contains(&name) { Err(FieldsError::Forbidden) } else { Ok(name) }
}

fn parse_value(value: Vec<u8>) -> Result<HeaderValue, FieldsError> {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(value)).map_err(|_| FieldsError::InvalidSyntax)
}

/// The length that a message says its body has: an error if it says two, or none that can be read.
pub(crate) fn content_length(map: &HeaderMap) -> Result<Option<u64>, FieldsError> {
    let mut length = None;
    for value in map.get_all(header::CONTENT_LENGTH) {
        let text = value.to_str().map_err(|_| FieldsError::InvalidSyntax)?;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(FieldsError::InvalidSyntax);
        }
        let this = text.parse::<u64>().map_err(|_| FieldsError::InvalidSyntax)?;
        if length.replace(this).is_some_and(|before| before != this) {
            return Err(FieldsError::InvalidSyntax);
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(entries: &[(&str, &str)]) -> Result<Fields, FieldsError> {
        Fields::from_list(entries.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect())
    }

    #[test]
    fn names_are_alike_in_any_case() {
        let mut fields = fields(&[("X-A", "1"), ("x-a", "2"), ("b", "3")]).unwrap();
        assert_eq!(fields.get("x-A"), [b"1", b"2"]);
        assert!(fields.has("B") && !fields.has("c") && !fields.has("no name"));
        fields.set("X-a", vec![b"4".to_vec()]).unwrap();
        assert_eq!(fields.get("x-a"), [b"4"]);
        fields.delete("b").unwrap();
        assert_eq!(fields.entries(), [("x-a".to_string(), b"4".to_vec())]);
    }

    #[test]
    fn what_is_the_connections_is_refused_and_hidden() {
        for name in ["Connection", "host", "keep-alive", "Transfer-Encoding", "upgrade", "proxy-connection"] {
            assert_eq!(fields(&[(name, "x")]).unwrap_err(), FieldsError::Forbidden, "{name}");
        }
        let map = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("a"))]);
        assert!(without_forbidden(map).is_empty());
    }

    #[test]
    fn bad_syntax_is_refused() {
        assert_eq!(fields(&[("a b", "x")]).unwrap_err(), FieldsError::InvalidSyntax);
        assert_eq!(fields(&[("", "x")]).unwrap_err(), FieldsError::InvalidSyntax);
        assert_eq!(fields(&[("a", "x\r\ny: z")]).unwrap_err(), FieldsError::InvalidSyntax);
    }

    #[test]
    fn a_messages_fields_cannot_be_changed_but_a_copy_can() {
        let mut shared = Fields::immutable(fields(&[("a", "1")]).unwrap().into_shared());
        assert_eq!(shared.set("a", vec![]), Err(FieldsError::Immutable));
        assert_eq!(shared.append("a", vec![]), Err(FieldsError::Immutable));
        assert_eq!(shared.delete("a"), Err(FieldsError::Immutable));
        let mut copy = shared.copy();
        copy.append("a", b"2".to_vec()).unwrap();
        assert_eq!((copy.get("a").len(), shared.get("a").len()), (2, 1));
    }

    #[test]
    fn a_guest_cannot_fill_the_hosts_memory() {
        let mut fields = Fields::new();
        let large = || vec![b'x'; LARGEST / 2];
        fields.append("a", large()).unwrap();
        assert_eq!(fields.append("b", large()), Err(FieldsError::TooLarge));
        fields.delete("a").unwrap();
        fields.append("b", large()).unwrap();
    }

    #[test]
    fn lengths_that_contradict_are_errors() {
        let length = |entries: &[(&str, &str)]| content_length(fields(entries).unwrap().map());
        assert_eq!(length(&[]), Ok(None));
        assert_eq!(length(&[("content-length", "5"), ("content-length", "5")]), Ok(Some(5)));
        assert_eq!(length(&[("content-length", "5"), ("content-length", "6")]), Err(FieldsError::InvalidSyntax));
        assert_eq!(length(&[("content-length", "+5")]), Err(FieldsError::InvalidSyntax));
    }
}
