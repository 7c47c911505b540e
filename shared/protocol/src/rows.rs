//! Wrapped keys of a page, one behind the other as they go over the wire: a page is one piece of
//! memory, whatever the number of its keys.
//!
//! On the wire these are what `Vec<WrappedRow>` and `Vec<Vec<u8>>` would be.

use std::fmt;

use bincode::de::Decoder;
use bincode::de::read::Reader;
use bincode::enc::Encoder;
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};

use crate::codec::LIMIT_BYTES;
use crate::ids::{KeyId, VersionId};
use crate::page::WrappedRow;

/// Version, key, attributes.
const HEAD_BYTES: usize = 33;
const LENGTH_BYTES: usize = 8;

/// A wrapped key version in a page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RowRef<'a> {
    /// The version.
    pub version: VersionId,
    /// Its key.
    pub key: KeyId,
    /// `crypto::KeyAttributes` in a byte.
    pub attributes: u8,
    /// The blob as stored.
    pub blob: &'a [u8],
}

/// Wrapped key versions.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Rows {
    count: u64,
    /// Each: version, key, attributes, length of the blob (8 bytes, little-endian), blob.
    bytes: Vec<u8>,
}

/// Blobs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Blobs {
    count: u64,
    /// Each: length (8 bytes, little-endian), blob.
    bytes: Vec<u8>,
}

impl Rows {
    /// None, with room for so many bytes of them.
    pub fn with_room(bytes: usize) -> Self {
        Self { count: 0, bytes: Vec::with_capacity(bytes) }
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes they have on the wire.
    pub const fn byte_count(&self) -> usize {
        self.bytes.len()
    }

    /// Adds one.
    pub fn push(&mut self, row: RowRef<'_>) {
        self.bytes.extend_from_slice(row.version.bytes());
        self.bytes.extend_from_slice(row.key.bytes());
        self.bytes.push(row.attributes);
        self.bytes.extend_from_slice(&(row.blob.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(row.blob);
        self.count += 1;
    }

    /// Each in turn.
    pub fn iter(&self) -> impl Iterator<Item = RowRef<'_>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (version, tail) = rest.split_first_chunk::<16>()?;
            let (key, tail) = tail.split_first_chunk::<16>()?;
            let (attributes, tail) = tail.split_first()?;
            let blob = next_blob(tail)?;
            rest = &tail[LENGTH_BYTES + blob.len()..];
            Some(RowRef {
                version: VersionId::from_bytes(*version),
                key: KeyId::from_bytes(*key),
                attributes: *attributes,
                blob,
            })
        })
    }

    /// Each as a value of its own.
    pub fn to_vec(&self) -> Vec<WrappedRow> {
        self.iter().map(RowRef::to_owned).collect()
    }
}

impl Blobs {
    /// None, with room for so many bytes of them.
    pub fn with_room(bytes: usize) -> Self {
        Self { count: 0, bytes: Vec::with_capacity(bytes) }
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds one.
    pub fn push(&mut self, blob: &[u8]) {
        self.bytes.extend_from_slice(&(blob.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(blob);
        self.count += 1;
    }

    /// Adds one that `write` appends; nothing, where it fails.
    pub fn push_with<T, E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<T, E>,
    ) -> Result<&[u8], E> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH_BYTES]);
        if let Err(error) = write(&mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        let begin = start + LENGTH_BYTES;
        let length = (self.bytes.len() - begin) as u64;
        self.bytes[start..begin].copy_from_slice(&length.to_le_bytes());
        self.count += 1;
        Ok(&self.bytes[begin..])
    }

    /// Each in turn.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let blob = next_blob(rest)?;
            rest = &rest[LENGTH_BYTES + blob.len()..];
            Some(blob)
        })
    }
}

/// The blob behind its length; none at the end.
fn next_blob(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    rest.get(..u64::from_le_bytes(*length) as usize)
}

impl RowRef<'_> {
    /// As a value of its own.
    pub fn to_owned(self) -> WrappedRow {
        let Self { version, key, attributes, blob } = self;
        WrappedRow { version, key, attributes, blob: blob.to_vec() }
    }
}

impl WrappedRow {
    /// As it would be in a page.
    pub fn as_ref(&self) -> RowRef<'_> {
        let Self { version, key, attributes, ref blob } = *self;
        RowRef { version, key, attributes, blob }
    }
}

impl<'a> FromIterator<RowRef<'a>> for Rows {
    fn from_iter<T: IntoIterator<Item = RowRef<'a>>>(rows: T) -> Self {
        let mut all = Self::default();
        rows.into_iter().for_each(|row| all.push(row));
        all
    }
}

impl<'a> FromIterator<&'a WrappedRow> for Rows {
    fn from_iter<T: IntoIterator<Item = &'a WrappedRow>>(rows: T) -> Self {
        rows.into_iter().map(WrappedRow::as_ref).collect()
    }
}

impl From<Vec<WrappedRow>> for Rows {
    fn from(rows: Vec<WrappedRow>) -> Self {
        rows.iter().collect()
    }
}

impl<'a> FromIterator<&'a [u8]> for Blobs {
    fn from_iter<T: IntoIterator<Item = &'a [u8]>>(blobs: T) -> Self {
        let mut all = Self::default();
        blobs.into_iter().for_each(|blob| all.push(blob));
        all
    }
}

impl From<Vec<Vec<u8>>> for Blobs {
    fn from(blobs: Vec<Vec<u8>>) -> Self {
        blobs.iter().map(Vec::as_slice).collect()
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rows({} of {} bytes)", self.count, self.bytes.len())
    }
}

impl fmt::Debug for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blobs({} of {} bytes)", self.count, self.bytes.len())
    }
}

impl Encode for Rows {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.count.encode(encoder)?;
        encoder.writer().write(&self.bytes)
    }
}

impl Encode for Blobs {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.count.encode(encoder)?;
        encoder.writer().write(&self.bytes)
    }
}

impl<C> Decode<C> for Rows {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let (count, bytes) = decoded(decoder, HEAD_BYTES)?;
        Ok(Self { count, bytes })
    }
}

impl<C> Decode<C> for Blobs {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let (count, bytes) = decoded(decoder, 0)?;
        Ok(Self { count, bytes })
    }
}

bincode::impl_borrow_decode!(Rows);
bincode::impl_borrow_decode!(Blobs);

/// So many items, each of a head and a blob behind its length. They are of like length: the first one says
/// how much room they want, within what one message may have.
fn decoded<D: Decoder>(decoder: &mut D, head: usize) -> Result<(u64, Vec<u8>), DecodeError> {
    let count = u64::decode(decoder)?;
    let mut bytes = Vec::new();
    for index in 0..count {
        if index == 1 {
            let rest = (count - 1).saturating_mul(bytes.len() as u64);
            bytes.reserve(rest.min(LIMIT_BYTES as u64) as usize);
        }
        let at = bytes.len() + head;
        take(decoder, head + LENGTH_BYTES, &mut bytes)?;
        let Some(length) = bytes.get(at..).and_then(|length| length.first_chunk()) else {
            return Err(DecodeError::Other("a length is cut short"));
        };
        let length =
            usize::try_from(u64::from_le_bytes(*length)).map_err(|_| DecodeError::LimitExceeded)?;
        take(decoder, length, &mut bytes)?;
    }
    Ok((count, bytes))
}

/// So many bytes more. A length that lies is refused before anything is made room for.
fn take<D: Decoder>(decoder: &mut D, count: usize, into: &mut Vec<u8>) -> Result<(), DecodeError> {
    decoder.claim_bytes_read(count)?;
    let reader = decoder.reader();
    if let Some(found) = reader.peek_read(count) {
        into.extend_from_slice(found);
        reader.consume(count);
        return Ok(());
    }
    let at = into.len();
    into.resize(at + count, 0);
    reader.read(&mut into[at..])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::codec;

    fn rows() -> Vec<WrappedRow> {
        let row = |index: u8| WrappedRow {
            version: VersionId::from_bytes([index; 16]),
            key: KeyId::from_bytes([index + 1; 16]),
            attributes: index,
            blob: vec![index; usize::from(index)],
        };
        (0..9).map(row).collect()
    }

    #[test]
    fn they_are_on_the_wire_what_vectors_would_be() {
        let single = rows();
        let packed = Rows::from(single.clone());
        assert_eq!(packed.to_vec(), single);
        let bytes = codec::encode(&packed);
        assert_eq!(bytes, codec::encode(&single));
        assert_eq!(codec::decode::<Rows>(&bytes).unwrap(), packed);
        let single: Vec<_> = single.into_iter().map(|row| row.blob).collect();
        let packed = Blobs::from(single.clone());
        assert_eq!(packed.iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), single);
        let bytes = codec::encode(&packed);
        assert_eq!(bytes, codec::encode(&single));
        assert_eq!(codec::decode::<Blobs>(&bytes).unwrap(), packed);
    }

    #[test]
    fn a_length_that_lies_is_refused() {
        let bytes = codec::encode(&Rows::from(rows()));
        for cut in 1..bytes.len() {
            assert!(codec::decode::<Rows>(&bytes[..cut]).is_err(), "{cut}");
        }
        for lie in [u64::MAX, 1 << 40, 5_000_000] {
            let mut bytes = codec::encode(&Blobs::from(vec![vec![1, 2, 3]]));
            bytes[1..9].copy_from_slice(&lie.to_le_bytes());
            assert!(codec::decode::<Blobs>(&bytes).is_err());
            let mut bytes = codec::encode(&Blobs::from(vec![vec![1, 2, 3]]));
            bytes[9..17].copy_from_slice(&lie.to_le_bytes());
            assert!(codec::decode::<Blobs>(&bytes).is_err());
        }
    }

    #[test]
    fn what_fails_to_be_added_is_not_there() {
        let mut blobs = Blobs::default();
        blobs.push(&[1, 2]);
        let failed = blobs.push_with(|into| {
            into.extend_from_slice(&[9; 50]);
            Err::<(), _>("no")
        });
        assert_eq!(failed, Err("no"));
        let added = blobs.push_with(|into| {
            into.push(3);
            Ok::<_, ()>(())
        });
        assert_eq!(added, Ok([3].as_slice()));
        assert_eq!(blobs.iter().collect::<Vec<_>>(), [&[1, 2][..], &[3]]);
    }
}
