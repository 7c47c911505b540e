//! Looking for secrets in the memory of a process that stands still, as a debugger or a core dump
//! would show it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use anyhow::Context;

use crate::leaks::Finder;

/// How much is read at once; windows overlap, so that nothing is cut in two.
const WINDOW: usize = 1 << 20;
const OVERLAP: usize = 256;

/// A piece of a process's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub start: u64,
    /// Behind the last one.
    pub end: u64,
    /// What it is, as the kernel names it.
    pub name: String,
    /// It is never swapped out (`lo`).
    pub is_locked: bool,
    /// It is left out of core dumps (`dd`).
    pub is_undumped: bool,
    is_readable: bool,
}

impl Region {
    /// Whether a secret may lie in it.
    pub const fn is_guarded(&self) -> bool {
        self.is_locked && self.is_undumped
    }
}

/// A secret that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub secret: String,
    /// Where.
    pub region: Region,
}

/// All of a process's memory, from `/proc/PID/smaps`.
pub fn regions(process: u32) -> anyhow::Result<Vec<Region>> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps"))?;
    let mut regions: Vec<Region> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if let (Some((start, end)), false) = (first.split_once('-'), first.ends_with(':')) {
            let rights = words.next().context("no rights")?;
            regions.push(Region {
                start: u64::from_str_radix(start, 16)?,
                end: u64::from_str_radix(end, 16)?,
                name: words.nth(3).unwrap_or("anonymous").to_owned(),
                is_locked: false,
                is_undumped: false,
                is_readable: rights.starts_with('r'),
            });
        } else if let (Some(region), "VmFlags:") = (regions.last_mut(), first) {
            for flag in words {
                region.is_locked |= flag == "lo";
                region.is_undumped |= flag == "dd";
            }
        }
    }
    Ok(regions)
}

/// Looks through all of a process's memory; answers what was found, and how many bytes were read.
pub fn look(process: u32, finder: &Finder) -> anyhow::Result<(Vec<Found>, u64)> {
    let memory = File::open(format!("/proc/{process}/mem"))?;
    let (mut found, mut read) = (Vec::new(), 0);
    let mut buffer = vec![0; WINDOW];
    for region in regions(process)? {
        // The kernel's own pages cannot be read by others.
        if !region.is_readable || matches!(region.name.as_str(), "[vvar]" | "[vsyscall]") {
            continue;
        }
        let mut names = std::collections::BTreeSet::new();
        let mut at = region.start;
        while at < region.end {
            let length = usize::try_from(region.end - at)?.min(WINDOW);
            // Pages of files that have shrunk since, and of devices.
            let Ok(count) = memory.read_at(&mut buffer[..length], at) else { break };
            if count == 0 {
                break;
            }
            names.extend(finder.found(&buffer[..count]).into_iter().map(str::to_owned));
            read += count as u64;
            let step =
                if count > OVERLAP && at + (count as u64) < region.end { OVERLAP } else { 0 };
            at += (count - step) as u64;
        }
        found.extend(names.into_iter().map(|secret| Found { secret, region: region.clone() }));
    }
    Ok((found, read))
}
