//! MongoDB.
mod document;
mod entry_codec;
mod errors;
