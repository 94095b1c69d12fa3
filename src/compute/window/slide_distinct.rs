//! How many different values a sliding window has, as `distinct.rs` counts them.

use std::ops::Range;

use crate::window::{
    Function, Output, Series,
    distinct::{FEW, RANKS, estimate, hash, place},
    slide::Contents,
};

const FREE: u32 = u32::MAX;

/// Each different value of the series has a number; the window counts how often it has each.
#[derive(Default)]
pub(super) struct SlidingDistinct {
    /// Per event the number of its value.
    numbers: Vec<u32>,
    /// Per number the value's hash, and how often it is in the window.
    hashes: Vec<u64>,
    counts: Vec<u32>,
    /// Numbers that are in the window.
    present: usize,
    /// Open addressing: the numbers by hash.
    slots: Vec<u32>,
    /// For series with more values than are counted one by one; all 0 with any other.
    registers: Option<Box<Registers>>,
}

/// HyperLogLog registers that can forget.
struct Registers {
    /// Per register and rank: how many values of the window have it.
    counts: Vec<[u32; RANKS]>,
    /// Per register: the greatest rank with a count.
    greatest: Vec<u8>,
    /// How many registers have each greatest rank.
    ranks: [u32; RANKS],
}

impl Default for Registers {
    fn default() -> Self {
        let mut ranks = [0; RANKS];
        ranks[0] = 1 << 12;
        Registers { counts: vec![[0; RANKS]; 1 << 12], greatest: vec![0; 1 << 12], ranks }
    }
}

impl Registers {
    fn set(&mut self, register: usize, rank: u8) {
        let held = std::mem::replace(&mut self.greatest[register], rank);
        self.ranks[usize::from(held)] -= 1;
        self.ranks[usize::from(rank)] += 1;
    }

    fn enter(&mut self, hash: u64) {
        let (register, rank) = place(hash);
        self.counts[register][usize::from(rank)] += 1;
        if rank > self.greatest[register] {
            self.set(register, rank);
        }
    }

    fn leave(&mut self, hash: u64) {
        let (register, rank) = place(hash);
        let counts = &mut self.counts[register];
        counts[usize::from(rank)] -= 1;
        if rank == self.greatest[register] && counts[usize::from(rank)] == 0 {
            let next = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
            self.set(register, next as u8);
        }
    }
}

impl SlidingDistinct {
    fn number(&mut self, hash: u64, mask: usize) -> u32 {
        let mut at = hash as usize & mask;
        loop {
            match self.slots[at] {
                FREE => {
                    let number = self.hashes.len() as u32;
                    self.slots[at] = number;
                    self.hashes.push(hash);
                    return number;
                }
                number if self.hashes[number as usize] == hash => return number,
                _ => at = (at + 1) & mask,
            }
        }
    }
}

impl Contents for SlidingDistinct {
    fn load(&mut self, series: &Series<'_>) {
        let events = series.times.len();
        let mask = (2 * events).next_power_of_two() - 1;
        self.slots.clear();
        self.slots.resize(mask + 1, FREE);
        self.numbers.clear();
        self.hashes.clear();
        for row in 0..events {
            let number = series.values.get(row).map_or(FREE, |value| self.number(hash(value), mask));
            self.numbers.push(number);
        }
        self.counts.clear();
        self.counts.resize(self.hashes.len(), 0);
        self.present = 0;
        if self.hashes.len() > FEW {
            self.registers.get_or_insert_default();
        }
    }

    fn clear(&mut self, series: &Series<'_>, held: Range<usize>) {
        self.remove(series, held);
    }

    fn add(&mut self, _: &Series<'_>, events: Range<usize>) {
        for &number in &self.numbers[events] {
            let Some(count) = self.counts.get_mut(number as usize) else { continue };
            *count += 1;
            if *count == 1 {
                self.present += 1;
                if let Some(registers) = &mut self.registers
                    && self.hashes.len() > FEW
                {
                    registers.enter(self.hashes[number as usize]);
                }
            }
        }
    }

    fn remove(&mut self, _: &Series<'_>, events: Range<usize>) {
        for &number in &self.numbers[events] {
            let Some(count) = self.counts.get_mut(number as usize) else { continue };
            *count -= 1;
            if *count == 0 {
                self.present -= 1;
                if let Some(registers) = &mut self.registers
                    && self.hashes.len() > FEW
                {
                    registers.leave(self.hashes[number as usize]);
                }
            }
        }
    }

    fn finish(&self, _: &Series<'_>, _: Range<usize>, _: Function, _: i64) -> Output {
        let count = match &self.registers {
            Some(registers) if self.present > FEW => estimate(&registers.ranks),
            _ => self.present as u64,
        };
        Output::Int(count.try_into().unwrap_or(i64::MAX))
    }
}
