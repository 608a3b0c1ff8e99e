//! `--shard K/N`: distributes the phases of a run over several machines.

use std::str::FromStr;

use anyhow::{Context, Result, ensure};

use super::plan::Unit;

/// One share of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its number, from 1.
    number: usize,
    /// Number of shares.
    of: usize,
}

impl FromStr for Shard {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (number, of) = text
            .split_once('/')
            .and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)))
            .context("a shard is K/N, such as 1/3")?;
        ensure!(
            (1..=of).contains(&number),
            "there is no shard {number} of {of}"
        );
        Ok(Self { number, of })
    }
}

impl Shard {
    /// The units of this shard, in the given order.
    ///
    /// # Errors
    /// If there are fewer units than shards: a shard without any would prove nothing.
    pub fn of(self, units: Vec<Unit>) -> Result<Vec<Unit>> {
        ensure!(
            self.of <= units.len(),
            "shard {}/{} would have no phase: there are only {}",
            self.number,
            self.of,
            units.len()
        );
        let shares = deal(&units, self.of);
        let mine = shares.into_iter().zip(units);
        Ok(mine
            .filter(|(share, _)| *share == self.number - 1)
            .map(|(_, unit)| unit)
            .collect())
    }
}

/// The share of each unit: the heaviest first, each to the share with the least weight so far.
fn deal(units: &[Unit], shares: usize) -> Vec<usize> {
    let mut heaviest: Vec<usize> = (0..units.len()).collect();
    // A stable sort, so that every machine gets the same result.
    heaviest.sort_by_key(|&unit| std::cmp::Reverse(units[unit].weight()));
    let mut loads = vec![0; shares];
    let mut share_of = vec![0; units.len()];
    for unit in heaviest {
        let lightest = (0..shares).min_by_key(|&share| loads[share]).unwrap_or(0);
        loads[lightest] += units[unit].weight();
        share_of[unit] = lightest;
    }
    share_of
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::plan;

    #[test]
    fn every_phase_is_in_exactly_one_shard() {
        let all = plan::everything();
        for of in 1..=all.len() {
            let mut seen: Vec<String> = Vec::new();
            for number in 1..=of {
                let mine = Shard { number, of }.of(plan::everything()).unwrap();
                assert!(!mine.is_empty(), "{number}/{of}");
                seen.extend(mine.iter().map(Unit::name));
            }
            seen.sort();
            let mut names: Vec<String> = all.iter().map(Unit::name).collect();
            names.sort();
            assert_eq!(seen, names, "{of} shards");
        }
        let more = Shard {
            number: 1,
            of: all.len() + 1,
        };
        assert!(more.of(plan::everything()).is_err());
    }

    #[test]
    fn two_shards_are_balanced() {
        let loads = [1, 2].map(|number| {
            let mine = Shard { number, of: 2 }.of(plan::everything()).unwrap();
            mine.iter().map(Unit::weight).sum::<u32>()
        });
        let whole: u32 = loads.iter().sum();
        assert!(loads[0].abs_diff(loads[1]) * 5 <= whole, "{loads:?}");
    }

    #[test]
    fn a_shard_is_a_number_of_a_number() {
        let parse = |text: &str| text.parse::<Shard>().ok();
        assert_eq!(parse("2/3"), Some(Shard { number: 2, of: 3 }));
        for text in ["0/3", "4/3", "1", "1/x", "a/2", "0/0"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
