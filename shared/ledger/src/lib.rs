//! What a process keeps: its sealed state and its identity in a folder of its own, and the
//! coordinator's records and audit log in a database.

pub mod folder;
pub mod records;

pub use folder::{Folder, FolderError};
pub use records::{Acquired, AuditQuery, Batch, Records, RecordsError, Saved};
