//! Named places at which a test build ends at once, as if its machine had lost power there: between
//! save, publish, confirm and acknowledgement, around each transaction, within the save of a file.
//!
//! Without the feature `armed` nothing of this is in the program. With it, a process that is given
//! `KEYHELM_TESTING_CRASH_FILE` looks into that file each time it passes a point; the file says
//! `<point> <n>`: at the n-th pass since it was written the file is removed and the process aborts.

#[cfg(feature = "armed")]
mod armed;

/// A place at which a process can be made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point(&'static str);

impl Point {
    /// Its name, as it stands in the file.
    pub const fn name(self) -> &'static str {
        self.0
    }
}

/// The two sides of a transaction's COMMIT.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// Everything is written, nothing of it is committed.
    pub before: Point,
    /// It is committed, and nobody has heard of it: the answer is lost.
    pub after: Point,
}

/// Ends the process here if a test wants it; in what is shipped, nothing.
#[inline(always)]
pub fn reach(point: Point) {
    #[cfg(feature = "armed")]
    armed::reach(point);
    let _ = point;
}

/// Whether a test can end this process: never in what is shipped.
pub const fn is_armed() -> bool {
    cfg!(feature = "armed")
}

macro_rules! points {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Point = Point(concat!("fail-point.", $text));)*
        /// Every place but those of transactions.
        pub const PLACES: &[Point] = &[$($name),*];
    };
}

macro_rules! commits {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Commit = Commit {
            before: Point(concat!("fail-point.", $text, ".before-commit")),
            after: Point(concat!("fail-point.", $text, ".after-commit")),
        };)*
        /// Every transaction.
        pub const COMMITS: &[Commit] = &[$($name),*];
    };
}

points! {
    /// A message is handled, its outcome not yet saved.
    HANDLED = "driver.handled";
    /// What was decided is saved, and nothing sent.
    SAVED = "driver.saved";
    /// Everything is sent and confirmed, the message not acknowledged.
    PUBLISHED = "driver.published";
    /// The message is acknowledged.
    ACKED = "driver.acked";
    /// A message is given to the broker, its confirm not awaited.
    SENT = "broker.sent";
    /// The broker has confirmed a message.
    CONFIRMED = "broker.confirmed";
    /// A page is worked on, its answer not sent.
    PAGE_DONE = "unit.page-done";
    /// The answer to a page is confirmed, the page not acknowledged.
    PAGE_ANSWERED = "unit.page-answered";
    /// The new content of a file is written beside it, perhaps not on the disk.
    FILE_WRITTEN = "file.written";
    /// It is on the disk, the old file still in its place.
    FILE_SYNCED = "file.synced";
    /// The new file is in its place, the folder perhaps not on the disk.
    FILE_RENAMED = "file.renamed";
    /// The folder is on the disk, and nobody has been told.
    FILE_DURABLE = "file.durable";
}

commits! {
    /// A generation is opened: the gate closes.
    KEYSTORE_OPEN = "keystore.open";
    /// Chunks and their blobs are written.
    KEYSTORE_CHUNKS = "keystore.chunks";
    /// The new generation is complete.
    KEYSTORE_COMPLETE = "keystore.complete";
    /// The new generation is the active one.
    KEYSTORE_FLIP = "keystore.flip";
    /// The flip was read back.
    KEYSTORE_MARK_FLIPPED = "keystore.mark-flipped";
    /// A rotation ends before its flip.
    KEYSTORE_ABORT = "keystore.abort";
    /// Retired generations are let go of.
    KEYSTORE_DROP = "keystore.drop";
    /// A table of one of them is dropped.
    KEYSTORE_DROP_TABLE = "keystore.drop-table";
    /// Keys are created.
    KEYSTORE_CREATE = "keystore.create";
    /// A key is deleted.
    KEYSTORE_DELETE = "keystore.delete";
    /// A key is purged.
    KEYSTORE_PURGE = "keystore.purge";
    /// A coordinator takes the lease.
    RECORD_LEASE = "record.lease";
    /// It renews it.
    RECORD_RENEW = "record.renew";
    /// A step's record, documents, answers to requests and entries of the audit log are saved, at the end
    /// of a rotation with its receipt.
    RECORD_SAVE = "record.save";
}
