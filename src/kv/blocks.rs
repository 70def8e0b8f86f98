//! Which blocks of a pool are whose: counted, since sequences with the same beginning share them.

use crate::{Error, Result};

/// The blocks of a pool.
#[derive(Clone, Debug)]
pub struct Blocks {
    /// How many sequences have each block.
    owners: Vec<u32>,
    /// Those that none has; the last is the next to be taken.
    free: Vec<u32>,
}

impl Blocks {
    /// So many, all free.
    pub fn new(count: u32) -> Self {
        Self { owners: vec![0; count as usize], free: (0..count).rev().collect() }
    }

    /// All of them.
    pub fn count(&self) -> u64 {
        self.owners.len() as u64
    }

    /// Those that none has.
    pub fn free(&self) -> u64 {
        self.free.len() as u64
    }

    /// Takes so many, or none.
    ///
    /// # Errors
    /// [`Error::Full`] if there are fewer.
    pub fn take(&mut self, count: u64, tokens: u64) -> Result<Vec<u32>> {
        let Some(left) = self.free().checked_sub(count) else {
            return Err(Error::Full(format!(
                "the cache is full: {count} more blocks of {tokens} tokens are needed, {} of {} are free; nothing has changed. \
                 Free or truncate sequences, or make a cache of more tokens",
                self.free(),
                self.count()
            )));
        };
        let taken = self.free.split_off(left as usize);
        taken.iter().for_each(|&block| self.owners[block as usize] = 1);
        Ok(taken)
    }

    /// One more sequence has it.
    pub fn share(&mut self, block: u32) {
        self.owners[block as usize] += 1;
    }

    /// How many sequences have it: if several do, it must not be written.
    pub fn owners(&self, block: u32) -> u64 {
        self.owners[block as usize].into()
    }

    /// One sequence less has it.
    pub fn release(&mut self, block: u32) {
        let owners = &mut self.owners[block as usize];
        *owners = owners.saturating_sub(1);
        if *owners == 0 {
            self.free.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_free_again_when_its_last_owner_releases_it() {
        let mut blocks = Blocks::new(3);
        let taken = blocks.take(2, 32).unwrap();
        blocks.share(taken[0]);
        assert_eq!((blocks.owners(taken[0]), blocks.owners(taken[1])), (2, 1));
        assert!(blocks.take(2, 32).unwrap_err().to_string().contains("1 of 3 are free"));
        assert_eq!(blocks.free(), 1);
        blocks.release(taken[0]);
        assert_eq!((blocks.free(), blocks.owners(taken[0])), (1, 1));
        taken.iter().for_each(|&block| blocks.release(block));
        assert_eq!(blocks.free(), 3);
        let mut all = blocks.take(3, 32).unwrap();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
    }
}
