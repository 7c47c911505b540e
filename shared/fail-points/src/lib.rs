//! Named places at which a test build ends at once, as if its machine had lost power there: between
//! save, publish, confirm and acknowledgement, around each transaction, within the save of a file.
//!
//! Without the feature `armed` nothing of this is in the program, not even the names. With it, a process
//! that is given `KEYHELM_TESTING_CRASH_FILE` looks into that file each time it passes a point; the file
//! says `<point> <n>`: at the n-th pass since it was written the file is removed and the process aborts.

#[cfg(feature = "armed")]
mod armed;

macro_rules! named {
    ($(#[$of:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$of])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

named! {
    /// A place in the code.
    Place {
        /// A message is handled, its outcome not yet saved.
        Handled = "driver.handled",
        /// What was decided is saved, and nothing sent.
        Saved = "driver.saved",
        /// Everything is sent and confirmed, the message not acknowledged.
        Published = "driver.published",
        /// The message is acknowledged.
        Acked = "driver.acked",
        /// A message is given to the broker, its confirm not awaited.
        Sent = "broker.sent",
        /// The broker has confirmed a message.
        Confirmed = "broker.confirmed",
        /// A page is worked on, its answer not sent.
        PageDone = "unit.page-done",
        /// The answer to a page is confirmed, the page not acknowledged.
        PageAnswered = "unit.page-answered",
        /// The new content of a file is written beside it, perhaps not on the disk.
        FileWritten = "file.written",
        /// It is on the disk, the old file still in its place.
        FileSynced = "file.synced",
        /// The new file is in its place, the folder perhaps not on the disk.
        FileRenamed = "file.renamed",
        /// The folder is on the disk, and nobody has been told.
        FileDurable = "file.durable",
    }
}

named! {
    /// A transaction of PostgreSQL.
    Transaction {
        /// A generation is opened: the gate closes.
        KeystoreOpen = "keystore.open",
        /// Chunks and their blobs are written.
        KeystoreChunks = "keystore.chunks",
        /// The new generation is complete.
        KeystoreComplete = "keystore.complete",
        /// The new generation is the active one.
        KeystoreFlip = "keystore.flip",
        /// The flip was read back.
        KeystoreMarkFlipped = "keystore.mark-flipped",
        /// A rotation ends before its flip.
        KeystoreAbort = "keystore.abort",
        /// Retired generations are let go of.
        KeystoreDrop = "keystore.drop",
        /// A table of one of them is dropped.
        KeystoreDropTable = "keystore.drop-table",
        /// Keys are created.
        KeystoreCreate = "keystore.create",
        /// A key is deleted.
        KeystoreDelete = "keystore.delete",
        /// A key is purged.
        KeystorePurge = "keystore.purge",
        /// A coordinator takes the lease.
        RecordLease = "record.lease",
        /// It renews it.
        RecordRenew = "record.renew",
        /// A step's record, documents, answers to requests and entries of the audit log are saved, at
        /// the end of a rotation with its receipt.
        RecordSave = "record.save",
    }
}

/// Where a process can be made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// In the code.
    At(Place),
    /// Everything is written, nothing of it is committed.
    BeforeCommit(Transaction),
    /// It is committed, and nobody has heard of it: the answer is lost.
    AfterCommit(Transaction),
}

impl Point {
    /// Its name, as it stands in the file.
    pub fn name(self) -> String {
        match self {
            Self::At(place) => format!("fail-point.{}", place.word()),
            Self::BeforeCommit(of) => format!("fail-point.{}.before-commit", of.word()),
            Self::AfterCommit(of) => format!("fail-point.{}.after-commit", of.word()),
        }
    }

    /// Every point.
    pub fn all() -> impl Iterator<Item = Self> {
        let both = |of: &Transaction| [Self::BeforeCommit(*of), Self::AfterCommit(*of)];
        let places = Place::ALL.iter().copied().map(Self::At);
        places.chain(Transaction::ALL.iter().flat_map(both))
    }
}

/// Ends the process at this place if a test wants it; in what is shipped, nothing.
#[inline(always)]
pub fn reach(place: Place) {
    pass(Point::At(place));
}

/// Ends the process at this point if a test wants it; in what is shipped, nothing.
#[inline(always)]
pub fn pass(point: Point) {
    #[cfg(feature = "armed")]
    armed::pass(point);
    let _ = point;
}

/// Version of a program, and whether a test can end it: never in what is shipped.
pub const VERSION: &str = if cfg!(feature = "armed") {
    concat!(env!("CARGO_PKG_VERSION"), " TESTING: ends at fail points, never use it")
} else {
    env!("CARGO_PKG_VERSION")
};
