//! Pages of wrapped keys out of one table and into another, by binary COPY. The bytes of a row go
//! from the server's stream into its page and back again; nothing is made for a row by itself.

use std::pin::{Pin, pin};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use deadpool_postgres::{Object, Transaction};
use futures_util::{SinkExt, StreamExt};
use protocol::page::ChunkRange;
use protocol::{InstanceId, KeyId, RowRef, Rows, VersionId};
use tokio::sync::mpsc;
use tokio_postgres::{CopyInSink, CopyOutStream};

use super::{PostgresKeystore, database, table};
use crate::{Cut, KeystoreError, PAGES_AHEAD, PageStream};

/// Most pages of one COPY: what is left of it when its reader goes away has still to be received.
const PAGES_A_COPY: usize = 64;
/// What begins every binary COPY: its signature, no flags, no more header.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// So many bytes are sent at once.
const SEND_BYTES: usize = 64 * 1024;
/// Bytes of a row around its blob, on the wire of a COPY.
const AROUND: usize = 2 + 5 * 4 + 16 + 16 + 2 + 8;

impl PostgresKeystore {
    /// Reads the rows of each range out of generation `number`, but those born under generation
    /// `not_born`, in the order given, cut into pages; a few are read ahead.
    pub fn pages(
        &self,
        instance: InstanceId,
        number: u32,
        ranges: Vec<ChunkRange>,
        not_born: u32,
        cut: Cut,
    ) -> PageStream {
        let (pages, stream) = mpsc::channel(PAGES_AHEAD);
        let of = Source { store: self.clone(), table: table(instance, number), not_born, pages };
        tokio::spawn(async move {
            let read = match cut {
                Cut::Never => of.copy_whole(&ranges).await,
                Cut::Every(most) => of.copy_cut(&ranges, most).await,
            };
            // Whoever has gone away needs no error either.
            if let Err(Stopped::Failed(error)) = read {
                let _ = of.pages.send(Err(error)).await;
            }
        });
        stream
    }
}

/// Why reading ends before its end.
enum Stopped {
    Failed(KeystoreError),
    NobodyListens,
}

impl From<KeystoreError> for Stopped {
    fn from(error: KeystoreError) -> Self {
        Self::Failed(error)
    }
}

/// Which rows of which table, and for whom.
struct Source {
    store: PostgresKeystore,
    table: String,
    not_born: u32,
    pages: mpsc::Sender<Result<(ChunkRange, Rows), KeystoreError>>,
}

impl Source {
    /// Each range is one page; one COPY reads many that lie one behind the other.
    async fn copy_whole(&self, mut ranges: &[ChunkRange]) -> Result<(), Stopped> {
        while let (Some(first), run) = (ranges.first(), adjacent(ranges)) {
            let upto = ranges[run - 1].upto;
            let mut client = self.store.client().await?;
            let tx = by_key(&mut client).await?;
            let mut reader = self.reader(&tx, ChunkRange { upto, ..*first }, None).await?;
            let mut room = 0;
            for range in &ranges[..run] {
                let mut rows = Rows::with_room(room);
                reader.read(|row, _| row.version <= range.upto, &mut rows).await?;
                room = self.send(*range, rows).await?;
            }
            reader.finish(tx).await?;
            ranges = &ranges[run..];
        }
        Ok(())
    }

    /// Each range is cut into pages; one COPY reads many of them.
    async fn copy_cut(&self, ranges: &[ChunkRange], most: u32) -> Result<(), Stopped> {
        let cut = Cut::Every(most);
        let mut room = 0;
        for range in ranges {
            let mut rest = *range;
            while rest.after < rest.upto {
                let mut left = PAGES_A_COPY * most.max(1) as usize;
                let mut client = self.store.client().await?;
                let tx = by_key(&mut client).await?;
                let mut reader = self.reader(&tx, rest, Some(left)).await?;
                while left > 0 && rest.after < rest.upto {
                    let mut rows = Rows::with_room(room);
                    reader.read(|_, rows| !cut.is_full(rows), &mut rows).await?;
                    left = left.saturating_sub(rows.len());
                    // Nothing behind the last row, though the COPY was allowed more: the range ends.
                    let is_end = left > 0 && !reader.has_more();
                    let last = rows.iter().last().map(|row| row.version);
                    let upto = last.filter(|_| !is_end).unwrap_or(rest.upto);
                    room = self.send(ChunkRange { upto, ..rest }, rows).await?;
                    rest.after = upto;
                }
                reader.finish(tx).await?;
            }
        }
        Ok(())
    }

    async fn reader(
        &self,
        tx: &Transaction<'_>,
        range: ChunkRange,
        limit: Option<usize>,
    ) -> Result<Reader, KeystoreError> {
        let Self { table, not_born, .. } = self;
        let limit = limit.map_or(String::new(), |limit| format!("LIMIT {limit}"));
        // COPY takes no parameters; ids and numbers have no text that could be anything else.
        let sql = format!(
            "COPY (SELECT version, key, attributes, blob FROM {table} WHERE version > '{}'
             AND version <= '{}' AND born <> {not_born} ORDER BY version {limit})
             TO STDOUT (FORMAT binary)",
            range.after, range.upto
        );
        let stream = tx.copy_out(&sql).await.map_err(database)?;
        Ok(Reader { stream: Box::pin(stream), part: Bytes::new(), has_header: false })
    }

    /// Gives a page out; answers how much room the next one will want: rows are of like length.
    async fn send(&self, range: ChunkRange, rows: Rows) -> Result<usize, Stopped> {
        let room = rows.byte_count() + rows.byte_count() / 16;
        let sent = self.pages.send(Ok((range, rows))).await;
        sent.map(|()| room).map_err(|_| Stopped::NobodyListens)
    }
}

/// A transaction in which rows are read along the primary key, whatever the planner knows of a table
/// that has just been filled: it would sort all that is left for each COPY. It holds up no writer, so that
/// its reader may take its time between two pages.
async fn by_key(client: &mut Object) -> Result<Transaction<'_>, KeystoreError> {
    let tx = client.build_transaction().read_only(true).start().await.map_err(database)?;
    tx.batch_execute(
        "SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off;
         SET LOCAL enable_seqscan = off; SET LOCAL jit = off;
         SET LOCAL idle_in_transaction_session_timeout = 0",
    )
    .await
    .map_err(database)?;
    Ok(tx)
}

/// How many of the first ranges lie one behind the other, so that one COPY reads them.
fn adjacent(ranges: &[ChunkRange]) -> usize {
    let is_gap = |pair: &[ChunkRange]| pair[0].upto != pair[1].after;
    let run = ranges.windows(2).position(is_gap).map_or(ranges.len(), |last| last + 1);
    run.min(PAGES_A_COPY)
}

/// Takes rows off the stream; the one after a page's end waits for the next page.
struct Reader {
    stream: Pin<Box<CopyOutStream>>,
    part: Bytes,
    has_header: bool,
}

impl Reader {
    /// Adds rows for as long as they are wanted.
    async fn read(
        &mut self,
        is_wanted: impl Fn(&RowRef<'_>, &Rows) -> bool,
        rows: &mut Rows,
    ) -> Result<(), KeystoreError> {
        loop {
            while self.part.is_empty() {
                let Some(part) = self.stream.next().await else { return Ok(()) };
                self.part = part.map_err(database)?;
                if !self.has_header {
                    self.skip_header()?;
                }
            }
            match row(&self.part)? {
                Some((row, length)) if is_wanted(&row, rows) => {
                    rows.push(row);
                    self.part.advance(length);
                }
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// Whether a row waits for the next page.
    fn has_more(&self) -> bool {
        // The end has a mark of its own.
        self.part.first_chunk().is_some_and(|count| i16::from_be_bytes(*count) != -1)
    }

    /// Takes what is left, so that the connection is clean when it goes back.
    async fn finish(mut self, tx: Transaction<'_>) -> Result<(), KeystoreError> {
        while let Some(part) = self.stream.next().await {
            part.map_err(database)?;
        }
        tx.commit().await.map_err(database)
    }

    fn skip_header(&mut self) -> Result<(), KeystoreError> {
        let is_known = self.part.len() >= HEADER.len() && self.part.starts_with(&HEADER[..11]);
        let more = self.part.get(15..19).and_then(|length| length.first_chunk());
        let (true, Some(more)) = (is_known, more) else { return Err(torn()) };
        let end = HEADER.len() + u32::from_be_bytes(*more) as usize;
        if self.part.len() < end {
            return Err(torn());
        }
        self.part.advance(end);
        self.has_header = true;
        Ok(())
    }
}

/// The first row of a part, and how long it is there; none behind the last one. The server sends
/// whole rows.
fn row(part: &[u8]) -> Result<Option<(RowRef<'_>, usize)>, KeystoreError> {
    let (count, mut rest) = part.split_first_chunk().ok_or_else(torn)?;
    match i16::from_be_bytes(*count) {
        -1 => return Ok(None),
        4 => {}
        _ => return Err(torn()),
    }
    let mut field = || {
        let (length, tail) = rest.split_first_chunk()?;
        // Null has a length below zero; no column is ever null.
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let (value, tail) = tail.split_at_checked(length)?;
        rest = tail;
        Some(value)
    };
    let (version, key, attributes, blob) = (field(), field(), field(), field());
    let id = |value: Option<&[u8]>| value?.try_into().ok();
    let attributes = attributes.and_then(|value| value.try_into().ok()).map(i16::from_be_bytes);
    let (Some(version), Some(key), Some(attributes), Some(blob)) =
        (id(version), id(key), attributes, blob)
    else {
        return Err(torn());
    };
    let row = RowRef {
        version: VersionId::from_bytes(version),
        key: KeyId::from_bytes(key),
        attributes: super::read::attributes_of(attributes)?,
        blob,
    };
    Ok(Some((row, part.len() - rest.len())))
}

fn torn() -> KeystoreError {
    KeystoreError::Database("a row of a COPY is not as it should be".to_owned())
}

/// Writes rows into the table of a generation.
pub(super) async fn copy_in(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
    pages: impl Iterator<Item = &Rows>,
) -> Result<(), KeystoreError> {
    let sql = format!(
        "COPY {} (version, key, attributes, born, blob) FROM STDIN (FORMAT binary)",
        table(instance, number)
    );
    let sink = tx.copy_in(&sql).await.map_err(database)?;
    let mut sink: Pin<&mut CopyInSink<Bytes>> = pin!(sink);
    let mut out = BytesMut::with_capacity(SEND_BYTES + SEND_BYTES / 4);
    out.put_slice(HEADER);
    for row in pages.flat_map(Rows::iter) {
        put(&mut out, row);
        if out.len() >= SEND_BYTES {
            sink.feed(out.split().freeze()).await.map_err(database)?;
            out.reserve(SEND_BYTES + SEND_BYTES / 4);
        }
    }
    out.put_i16(-1);
    sink.send(out.freeze()).await.map_err(database)?;
    sink.finish().await.map_err(database)?;
    Ok(())
}

fn put(out: &mut BytesMut, row: RowRef<'_>) {
    out.reserve(AROUND + row.blob.len());
    out.put_i16(5);
    out.put_i32(16);
    out.put_slice(row.version.bytes());
    out.put_i32(16);
    out.put_slice(row.key.bytes());
    out.put_i32(2);
    out.put_i16(i16::from(row.attributes));
    // Born before any generation was open.
    out.put_i32(8);
    out.put_i64(0);
    out.put_i32(row.blob.len() as i32);
    out.put_slice(row.blob);
}
