//! Which part of the key space a reencryptor does first, where a keystore has several: each its own, and
//! then whatever the others have left, so that little is re-wrapped twice and nothing is left by one that
//! is down. All reencryptors of the manifest count, whichever keystore they serve.

use protocol::page::ChunkRange;
use protocol::{ProcessId, VersionId};

/// A part of the key space; ids of versions are random, so that parts of like size hold like many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share(ChunkRange);

impl Share {
    /// Of one of these reencryptors.
    pub(crate) fn of(who: ProcessId, reencryptors: impl Iterator<Item = ProcessId>) -> Self {
        let mut all: Vec<_> = reencryptors.collect();
        all.sort_unstable();
        match all.iter().position(|one| *one == who) {
            Some(index) => Self::nth(index as u128, all.len() as u128),
            None => Self(ChunkRange::WHOLE),
        }
    }

    fn nth(index: u128, count: u128) -> Self {
        let end = |index: u128| match index {
            index if index == count => ChunkRange::WHOLE.upto,
            index => VersionId::from_bytes((u128::MAX / count * index).to_be_bytes()),
        };
        Self(ChunkRange { after: end(index), upto: end(index + 1) })
    }

    /// Whether there is nobody to share with.
    pub(crate) fn is_whole(self) -> bool {
        self.0 == ChunkRange::WHOLE
    }

    /// What of these ranges lies in it.
    pub(crate) fn within(self, ranges: &[ChunkRange]) -> Vec<ChunkRange> {
        let within = |range: &ChunkRange| {
            let (after, upto) = (range.after.max(self.0.after), range.upto.min(self.0.upto));
            (after < upto).then_some(ChunkRange { after, upto })
        };
        ranges.iter().filter_map(within).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> ProcessId {
        ProcessId::from_bytes([number; 16])
    }

    #[test]
    fn shares_tile_the_key_space() {
        for count in 1..=7 {
            let all = || (0..count).map(id);
            let shares: Vec<_> = all().map(|who| Share::of(who, all())).collect();
            assert_eq!(shares[0].0.after, ChunkRange::WHOLE.after);
            assert_eq!(shares[shares.len() - 1].0.upto, ChunkRange::WHOLE.upto);
            assert!(shares.windows(2).all(|pair| pair[0].0.upto == pair[1].0.after));
            assert!(shares.iter().all(|share| share.0.after < share.0.upto));
            assert_eq!(shares[0].is_whole(), count == 1);
        }
        assert!(Share::of(id(9), (0..3).map(id)).is_whole(), "one that the manifest does not name");
    }

    #[test]
    fn what_lies_within_is_cut_at_its_ends() {
        let at = |number: u128| VersionId::from_bytes(number.to_be_bytes());
        let share = Share(ChunkRange { after: at(10), upto: at(20) });
        let range = |after, upto| ChunkRange { after: at(after), upto: at(upto) };
        let ranges = [range(0, 5), range(5, 12), range(14, 15), range(18, 30), range(30, 31)];
        assert_eq!(share.within(&ranges), [range(10, 12), range(14, 15), range(18, 20)]);
        assert_eq!(share.within(&[range(0, 10), range(20, 21)]), []);
    }
}
