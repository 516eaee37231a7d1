//! One object from its text; pure.
//!
//! Field managers' records are cut out first, and so is a blueprint's document: they may be nested as deep as the API server
//! lets them, and nobody needs them here. What is left is read as its kind; where that fails, what identifies the object is
//! known all the same. No text of an object gets into a message.

use std::{borrow::Cow, ops::Range};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{error::Category, value::RawValue};
use serde_path_to_error::{Segment, Track};

/// What is cut out of an object before it is read, and how long the rest may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Field managers' records, of an object of Kubernetes' own kinds. A longer one than [`WHOLE_BYTES`] is none of ours, or
    /// is one that somebody has blown up.
    Records,
    /// The same of a custom resource. Its spec may have [`SPEC_BYTES`]; its status is ours.
    Resource,
    /// The same, and `spec.document`, which reads as an empty object then.
    Document,
}

/// Longest object, bytes.
const WHOLE_BYTES: usize = 256 * 1024;
/// Longest spec without its document, bytes.
const SPEC_BYTES: usize = 64 * 1024;

/// An object as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen<K> {
    /// As its kind.
    Readable(K),
    /// Its kind has no such fields or values, as far as this program knows.
    Unreadable(Box<Unreadable>),
}

/// What is known of an object that can't be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Unreadable {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) version: String,
    pub(crate) generation: Option<i64>,
    pub(crate) deleted: Option<Time>,
    pub(crate) finalizers: Vec<String>,
    /// The conditions of its status, if they can be read.
    pub(crate) conditions: Vec<Condition>,
    /// Where it has what form.
    pub(crate) problem: String,
}

/// The text does not even tell which object it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nameless;

#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    spec: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMetadata<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    namespace: Option<&'a RawValue>,
    #[serde(borrow, default)]
    uid: Option<&'a RawValue>,
    #[serde(borrow, default)]
    resource_version: Option<&'a RawValue>,
    #[serde(borrow, default)]
    generation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    deletion_timestamp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    finalizers: Option<&'a RawValue>,
    #[serde(borrow, default)]
    managed_fields: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Spec<'a> {
    #[serde(borrow, default)]
    document: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawStatus<'a> {
    #[serde(borrow, default)]
    conditions: Option<&'a RawValue>,
}

impl<'a> Outline<'a> {
    fn document(&self) -> Option<&'a RawValue> {
        let spec: Spec<'a> = serde_json::from_str(self.spec?.get()).ok()?;
        spec.document
    }
}

fn length(raw: &RawValue) -> usize {
    raw.get().len()
}

/// A value, if it has the form that is wanted.
fn get<T: DeserializeOwned>(raw: Option<&RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// Reads an object.
///
/// # Errors
/// [`Nameless`].
pub(crate) fn read<K: DeserializeOwned>(text: &[u8], cut: Cut) -> Result<Seen<K>, Nameless> {
    let outline: Outline<'_> = serde_json::from_slice(text).map_err(|_| Nameless)?;
    let metadata: RawMetadata<'_> =
        serde_json::from_str(outline.metadata.ok_or(Nameless)?.get()).map_err(|_| Nameless)?;
    let name: String = get(metadata.name).filter(|name: &String| !name.is_empty()).ok_or(Nameless)?;
    let document = outline.document().filter(|_| cut == Cut::Document);
    let rest = without(text, metadata.managed_fields, document);
    let spec = outline.spec.map_or(0, length) - document.map_or(0, length);
    let fits = match cut {
        Cut::Records if rest.len() > WHOLE_BYTES => {
            Err(format!("the object is longer than {WHOLE_BYTES} bytes"))
        }
        Cut::Resource | Cut::Document if spec > SPEC_BYTES => {
            Err(format!("spec is longer than {SPEC_BYTES} bytes"))
        }
        _ => Ok(()),
    };
    match fits.and_then(|()| parse(&rest)) {
        Ok(object) => Ok(Seen::Readable(object)),
        Err(problem) => {
            let status: Option<RawStatus<'_>> =
                outline.status.and_then(|raw| serde_json::from_str(raw.get()).ok());
            Ok(Seen::Unreadable(Box::new(Unreadable {
                namespace: get(metadata.namespace).unwrap_or_default(),
                name,
                uid: get(metadata.uid).unwrap_or_default(),
                version: get(metadata.resource_version).unwrap_or_default(),
                generation: get(metadata.generation),
                deleted: get(metadata.deletion_timestamp),
                finalizers: get(metadata.finalizers).unwrap_or_default(),
                conditions: status.and_then(|status| get(status.conditions)).unwrap_or_default(),
                problem,
            })))
        }
    }
}

/// The version of whatever is in a text, for a watch to go on from there.
pub(crate) fn version(text: &[u8]) -> Option<String> {
    let outline: Outline<'_> = serde_json::from_slice(text).ok()?;
    let metadata: RawMetadata<'_> = serde_json::from_str(outline.metadata?.get()).ok()?;
    get(metadata.resource_version).filter(|version: &String| !version.is_empty())
}

/// What tells one state of an object from another.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) uid: String,
    pub(crate) version: String,
    pub(crate) deleted: bool,
    pub(crate) finalizers: Vec<String>,
}

/// Which object a text is, and in which state. `None`: that can't be read.
pub(crate) fn identity(text: &[u8]) -> Option<Identity> {
    let outline: Outline<'_> = serde_json::from_slice(text).ok()?;
    let metadata: RawMetadata<'_> = serde_json::from_str(outline.metadata?.get()).ok()?;
    Some(Identity {
        uid: get(metadata.uid).unwrap_or_default(),
        version: get(metadata.resource_version)?,
        deleted: metadata.deletion_timestamp.is_some(),
        finalizers: if metadata.finalizers.is_some() { get(metadata.finalizers)? } else { Vec::new() },
    })
}

/// The text of a blueprint's document, if it has one.
pub(crate) fn document(text: &[u8]) -> Option<&str> {
    let outline: Outline<'_> = serde_json::from_slice(text).ok()?;
    outline.document().map(RawValue::get)
}

/// The text without what nobody needs.
fn without<'a>(text: &'a [u8], records: Option<&RawValue>, document: Option<&RawValue>) -> Cow<'a, [u8]> {
    let mut parts: Vec<(Range<usize>, &[u8])> = Vec::new();
    parts.extend(records.map(|raw| (place(text, raw), &b"[]"[..])));
    parts.extend(document.map(|raw| (place(text, raw), &b"{}"[..])));
    if parts.is_empty() {
        return Cow::Borrowed(text);
    }
    parts.sort_by_key(|(place, _)| place.start);
    let (mut shorter, mut from) = (Vec::new(), 0);
    for (place, instead) in parts {
        shorter.extend_from_slice(text.get(from..place.start).unwrap_or_default());
        shorter.extend_from_slice(instead);
        from = place.end;
    }
    shorter.extend_from_slice(text.get(from..).unwrap_or_default());
    Cow::Owned(shorter)
}

/// Where in a text a part of it stands.
fn place(text: &[u8], part: &RawValue) -> Range<usize> {
    let start = (part.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    start..start + part.get().len()
}

fn parse<K: DeserializeOwned>(text: &[u8]) -> Result<K, String> {
    let mut track = Track::new();
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = K::deserialize(serde_path_to_error::Deserializer::new(&mut reader, &mut track));
    read.map_err(|error| match field(&track.path(), error.to_string().starts_with("unknown field")) {
        // The place in the text moves with what is written into the status.
        Some(field) => format!("{field} {}", what(&error)),
        None => format!("the object {}", form(&error)),
    })
}

/// The first names of the way to a field: they are those of the kind, further ones may be the user's, and so is the last one
/// if the kind has no such field.
fn field(path: &serde_path_to_error::Path, is_unknown: bool) -> Option<String> {
    let names = path.iter().map_while(|segment| match segment {
        Segment::Map { key } => Some(key.as_str()),
        _ => None,
    });
    let known = path.iter().len().saturating_sub(is_unknown.into());
    let names: Vec<&str> =
        names.take(known).take(if path.to_string().starts_with("spec.") { 3 } else { 2 }).collect();
    let known = |name: &&str| name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_alphabetic());
    (!names.is_empty() && names.iter().all(known)).then(|| names.join("."))
}

/// What is wrong with JSON: never the value.
fn what(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        _ if error.to_string().starts_with("recursion limit") => "is nested deeper than 127 levels",
        Category::Data => "has a field, value or type that this version does not know",
        Category::Syntax => "is not JSON",
        Category::Eof => "ends too early",
        Category::Io => "can't be read",
    }
}

/// The same with the place.
pub(crate) fn form(error: &serde_json::Error) -> String {
    format!("{} (line {} column {})", what(error), error.line(), error.column())
}

#[cfg(test)]
mod tests;
