//! Slots of 32 bytes in pages that are locked into memory and left out of core dumps; the only
//! module of the workspace with unsafe code.
//!
//! A page holds 128 slots, so that thousands of keys stay far below the usual limit of locked
//! memory. Where locking is refused the program goes on and [`lock_status`] says so.

use std::ptr::{self, NonNull};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::mm::{self, Advice, MapFlags, ProtFlags};

const SLOT_BYTES: usize = 32;
const PAGE_BYTES: usize = 4096;

static IS_EVERYTHING_LOCKED: AtomicBool = AtomicBool::new(true);
static FREE_SLOTS: Mutex<FreeSlots> = Mutex::new(FreeSlots(Vec::new()));

struct FreeSlots(Vec<NonNull<[u8; SLOT_BYTES]>>);

// SAFETY: the pointers are to mappings that live as long as the process, each handed out once.
unsafe impl Send for FreeSlots {}

/// Whether every secret so far lies in memory that is locked and left out of dumps.
pub fn lock_status() -> bool {
    IS_EVERYTHING_LOCKED.load(Ordering::Relaxed)
}

/// One slot, wiped when it is dropped.
pub(crate) struct Slot(NonNull<[u8; SLOT_BYTES]>);

// SAFETY: a slot is owned by one value at a time, as a box is.
unsafe impl Send for Slot {}
// SAFETY: a shared slot is only read.
unsafe impl Sync for Slot {}

impl Slot {
    /// A slot of zeros.
    pub(crate) fn new() -> Self {
        let mut free = match FREE_SLOTS.lock() {
            Ok(free) => free,
            // Slots are pushed and popped whole: a panic elsewhere leaves the list sound.
            Err(poisoned) => poisoned.into_inner(),
        };
        if free.0.is_empty() {
            add_page(&mut free.0);
        }
        match free.0.pop() {
            Some(slot) => Self(slot),
            None => Self(NonNull::from(Box::leak(Box::new([0; SLOT_BYTES])))),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8; SLOT_BYTES] {
        // SAFETY: the slot is initialised, aligned for bytes, and ours until it is dropped.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; SLOT_BYTES] {
        // SAFETY: as above, and the borrow is unique.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(self.bytes_mut());
        if let Ok(mut free) = FREE_SLOTS.lock() {
            free.0.push(self.0);
        }
    }
}

/// Maps one more page. If that fails the list stays as it is, and a slot comes from the heap.
fn add_page(free: &mut Vec<NonNull<[u8; SLOT_BYTES]>>) {
    let flags = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: an anonymous private mapping at an address that the kernel chooses.
    let mapped =
        unsafe { mm::mmap_anonymous(ptr::null_mut(), PAGE_BYTES, flags, MapFlags::PRIVATE) };
    let Ok(page) = mapped else {
        IS_EVERYTHING_LOCKED.store(false, Ordering::Relaxed);
        return;
    };
    // SAFETY: the page was mapped just now and is never unmapped.
    let is_locked = unsafe {
        mm::mlock(page, PAGE_BYTES).is_ok()
            && mm::madvise(page, PAGE_BYTES, Advice::LinuxDontDump).is_ok()
    };
    if !is_locked {
        IS_EVERYTHING_LOCKED.store(false, Ordering::Relaxed);
    }
    for index in 0..PAGE_BYTES / SLOT_BYTES {
        // SAFETY: the offset lies inside the page.
        let slot = unsafe { page.cast::<[u8; SLOT_BYTES]>().add(index) };
        free.extend(NonNull::new(slot));
    }
}
