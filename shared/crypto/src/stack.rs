//! The stack below whoever works with secrets. Ciphers, hashes and the compiler leave copies of keys
//! there, in frames that nothing wipes: what is left is overwritten when the work is done.

use zeroize::Zeroize;

/// As deep as any of this crate's work goes, and that of the unit machine around it: 128 KiB.
const WORDS: usize = 16 * 1024;

/// Does the work and wipes the stack that it has used.
pub fn wiping_stack<T>(work: impl FnOnce() -> T) -> T {
    let done = apart(work);
    wipe();
    done
}

/// In a frame of its own, where [`wipe`] has its own after it.
#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn wipe() {
    let mut words = [0_u64; WORDS];
    words.zeroize();
    std::hint::black_box(&words);
}
